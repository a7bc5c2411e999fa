#include "adapter/base_name.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/mem.h"

/* `ORG--NAME` of …/models--ORG--NAME/snapshots/HASH; NULL: no such path. */
static const char *cached(size_t *n, const char *path) {
    const char *at = NULL;
    for (const char *p = path; (p = strstr(p, "models--")); p++)
        if (p == path || p[-1] == '/') at = p;
    const char *name = at ? at + strlen("models--") : NULL, *end = name ? strchr(name, '/') : NULL;
    if (!end || end == name || strncmp(end, "/snapshots/", 11) != 0) return NULL;
    *n = (size_t)(end - name);
    return name;
}

char *ar__base_reference(const char *path) {
    size_t n;
    char *full = realpath(path, NULL);
    const char *typed = cached(&n, path), *name = typed ? typed : full ? cached(&n, full) : NULL;
    ar_buf out = {0};
    for (const char *p = name; name && p < name + n; p++) {
        bool parts = p + 1 < name + n && p[0] == '-' && p[1] == '-' && !memchr(out.data ? out.data : "", '/', out.len);
        ar__buf_add(&out, parts ? "/" : p, 1);
        p += parts;
    }
    if (!name) ar__buf_puts(&out, full ? full : path);
    free(full);
    if (out.failed) ar__buf_release(&out);
    return out.data;
}

static bool is_format(const char *word) {
    static const char *const words[] = {"bnb", "4bit", "8bit", "unsloth", "gguf", "gptq", "awq", "fp8", "int4",    "int8",  "mlx",
                                        "hf",  "bf16", "f16",  "fp16",    "f32",  "fp32", "nf4", "q8",  "dynamic", "w4a16", "w8a16"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (!strcasecmp(words[i], word)) return true;
    return false;
}

/* The last part's letters and digits in lower case, word by word. */
static void plain(ar_buf *out, const char *name) {
    size_t n;
    const char *hub = cached(&n, name);
    if (!hub) {
        hub = name;
        n = strlen(name);
    }
    while (n && hub[n - 1] == '/') n--;
    size_t begin = n;
    while (begin && hub[begin - 1] != '/' && !(begin > 1 && hub[begin - 1] == '-' && hub[begin - 2] == '-')) begin--;
    if (n > begin + 5 && !strncasecmp(hub + n - 5, ".gguf", 5)) n -= 5;
    for (size_t i = begin; i < n;) {
        char word[64];
        size_t k = 0, j = i;
        for (; j < n && hub[j] != '-' && hub[j] != '_' && hub[j] != ' '; j++)
            if (isalnum((unsigned char)hub[j]) && k + 1 < sizeof word) word[k++] = (char)tolower((unsigned char)hub[j]);
        word[k] = '\0';
        if (!is_format(word)) ar__buf_puts(out, word);
        i = j + (j < n);
    }
    if (!out->data) ar__buf_puts(out, "");
}

bool ar__base_name_is_like(const char *a, const char *b) {
    ar_buf x = {0}, y = {0};
    plain(&x, a);
    plain(&y, b);
    bool same = x.failed || y.failed || !strcmp(x.data, y.data);
    ar__buf_release(&x);
    ar__buf_release(&y);
    return same;
}
