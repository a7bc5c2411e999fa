#include "adapter/site_name.h"

#include <stdlib.h>
#include <string.h>

/* The part behind `word` and a dot, NULL if it does not begin so. */
static const char *behind(const char *path, const char *word) {
    size_t n = strlen(word);
    return !strncmp(path, word, n) && path[n] == '.' ? path + n + 1 : NULL;
}

static const char *wrapper_at(const char *part, size_t n) {
    static const char *const wrappers[] = {"_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module", "_forward_module", "module"};
    for (size_t i = 0; i < sizeof wrappers / sizeof *wrappers; i++)
        if (strlen(wrappers[i]) == n && !strncmp(wrappers[i], part, n)) return wrappers[i];
    return NULL;
}

void ar__site_unwrapped(ar_buf *out, const char *path, const char **found) {
    size_t begun = out->len;
    if (found) *found = NULL;
    for (const char *p = path; *p;) {
        size_t n = strcspn(p, ".");
        const char *wrapper = wrapper_at(p, n);
        if (wrapper && found && !*found) *found = wrapper;
        if (!wrapper && out->len > begun) ar__buf_puts(out, ".");
        if (!wrapper) ar__buf_add(out, p, n);
        p += n + (p[n] == '.');
    }
    if (!out->data) ar__buf_puts(out, "");
}

/* Does a path of this spelling stand in some family's table? */
static bool is_known(const char *path) {
    static const char *const top[] = {"model.embed_tokens", "model.norm", "lm_head"};
    for (size_t i = 0; i < sizeof top / sizeof *top; i++)
        if (!strcmp(path, top[i])) return true;
    return ar__names_guess(path) != NULL;
}

/* `model.model.layers.0…` and `model.lm_head`: one "model." too many, as long as the rest is the name of a module. */
static const char *undoubled(const char *path) {
    const char *inner = path, *next;
    while ((next = behind(inner, "model")) && (behind(next, "model") || !strcmp(next, "lm_head"))) inner = next;
    return inner != path && is_known(inner) ? inner : path;
}

/* The base's weight, behind what may stand before its own names.  What transformers 5 renames keeps the new name: it is
 * the module's, by which PEFT finds it. */
static const ar_base_weight *find(const ar_base *base, const char **path) {
    static const char *const prefixes[] = {"base_model", "model", "language_model", "text_model", "llm"};
    const ar_base_weight *w;
    while (!(w = ar__base_find_exact(base, *path))) {
        const char *inner = NULL;
        for (size_t i = 0; !inner && i < sizeof prefixes / sizeof *prefixes; i++) inner = behind(*path, prefixes[i]);
        if (!inner) return NULL;
        *path = inner;
    }
    return w;
}

static void name_by_base(ar_buf *out, const ar_base *base, const char *path) {
    const char *inner = path;
    const ar_base_weight *w = find(base, &inner);
    size_t n = w ? strlen(w->tensor) : 0;
    if (n > 7 && !strcmp(w->tensor + n - 7, ".weight")) n -= 7;
    char *own = w ? ar__strndup(w->tensor, n) : NULL;
    bool multimodal = own && ar__names_unwrap(own) != own;
    bool as_it_is = !own || multimodal || !strcmp(own, inner);
    if (w && !own) out->failed = true;
    ar__buf_puts(out, !own ? undoubled(path) : as_it_is ? inner : w->site);
    free(own);
}

void ar__site_name(ar_buf *out, const ar_base *base, const char *path) {
    ar_buf plain = {0};
    ar__site_unwrapped(&plain, path, NULL);
    out->failed |= plain.failed;
    if (plain.data && base)
        name_by_base(out, base, plain.data);
    else if (plain.data)
        ar__buf_puts(out, undoubled(plain.data));
    ar__buf_release(&plain);
}

static const char *bare(const char *path) {
    const char *inner = ar__names_unwrap(path), *below = behind(inner, "model");
    return below ? below : inner;
}

bool ar__site_is_same(const char *a, const char *b) { return !strcmp(bare(a), bare(b)); }

long ar__site_layer(const char *path) {
    const char *at = strstr(path, ".layers.");
    return at && at[8] >= '0' && at[8] <= '9' ? strtol(at + 8, NULL, 10) : -1;
}

const char *ar__site_role(const char *path) {
    const char *dot = strrchr(path, '.');
    return dot ? dot + 1 : path;
}
