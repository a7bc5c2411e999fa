/* Looking paths up in the list of mlx-lm's modules. */
#include "arch/names_mlx.h"

#include <string.h>

const ar_mlx_family *ar__mlx_family(const char *model_type) {
    for (const ar_mlx_alias *a = ar__mlx_aliases; a->model_type; a++)
        if (!strcmp(a->model_type, model_type)) model_type = a->type;
    for (const ar_mlx_family *f = ar__mlx_families; f->type; f++)
        if (!strcmp(f->type, model_type)) return f;
    return NULL;
}

bool ar__mlx_is_wrapped(const ar_mlx_family *f) { return !strncmp(f->prefix, "language_model.", 15); }

/* Is the word of n bytes the path, with digits wherever it has '#'? */
static bool is_word(const char *word, size_t n, const char *path) {
    for (size_t i = 0; i < n; i++) {
        if (word[i] != '#') {
            if (word[i] != *path++) return false;
            continue;
        }
        size_t digits = strspn(path, "0123456789");
        if (!digits) return false;
        path += digits;
    }
    return !*path;
}

/* The next word of a list into *n; NULL at its end. */
static const char *next_word(size_t *n, const char **list) {
    const char *word = *list + strspn(*list, " ");
    *n = strcspn(word, " ");
    *list = word + *n;
    return *n ? word : NULL;
}

static ar_mlx_kind find(const char *list, const char *path) {
    size_t n;
    for (const char *word; (word = next_word(&n, &list));) {
        bool is_switch = *word == '*';
        if (is_word(word + is_switch, n - is_switch, path)) return is_switch ? AR_MLX_SWITCH : AR_MLX_MODULE;
    }
    return AR_MLX_NONE;
}

ar_mlx_kind ar__mlx_module(const ar_mlx_family *f, const char *path) {
    size_t n = strlen(f->prefix), digits = strncmp(path, f->prefix, n) ? 0 : strspn(path + n, "0123456789");
    ar_mlx_kind kind = n && digits && path[n + digits] == '.' ? find(f->inside, path + n + digits + 1) : AR_MLX_NONE;
    return kind ? kind : find(f->others, path);
}

void ar__mlx_respell(ar_buf *out, const ar_mlx_family *f, const char *path, long long layer, const char *rest) {
    const char *dot = strrchr(path, '.'), *last = dot ? dot + 1 : path, *list = f->others;
    size_t n, length = strlen(last);
    if (layer >= 0) {
        if (find(f->inside, rest)) ar__buf_printf(out, "%s%lld.%s", f->prefix, layer, rest);
        return;
    }
    for (const char *word; (word = next_word(&n, &list));) {
        if (n < length || strncmp(word + n - length, last, length) != 0 || (n > length && word[n - length - 1] != '.')) continue;
        ar__buf_add(out, word, n);
        return;
    }
}

void ar__mlx_switch(ar_buf *out, const ar_mlx_family *f, long long layer, const char *part) {
    const char *list = f->inside;
    size_t n, length = strlen(part);
    for (const char *word; (word = next_word(&n, &list));) {
        if (*word != '*' || n < length + 2 || strncmp(word + n - length, part, length) != 0 || word[n - length - 1] != '.') continue;
        ar__buf_printf(out, "%s%lld.%.*s", f->prefix, layer, (int)(n - 1), word + 1);
        return;
    }
}
