#include "adapter/name_list.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/fail.h"
#include "base/mem.h"

static bool is_space(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

const char *ar__trimmed(size_t *n, const char *text) {
    while (*n && is_space(*text)) {
        text++;
        --*n;
    }
    while (*n && is_space(text[*n - 1])) --*n;
    return text;
}

ar_status ar__strings_parse(ar_strings *out, const char *option, const char *text, ar_error *err) {
    for (const char *p = text; p;) {
        const char *comma = strchr(p, ',');
        size_t n = comma ? (size_t)(comma - p) : strlen(p);
        const char *name = ar__trimmed(&n, p);
        if (!n) return ar__fail(err, AR_ERR_USAGE, "%s: found '%s' with an empty name, wanted names as in q_proj,v_proj", option, text);
        char *one = ar__strndup(name, n);
        bool ok = one && ar__strings_add(out, one);
        free(one);
        if (!ok) return ar__fail_memory(err, option);
        p = comma ? comma + 1 : NULL;
    }
    return AR_OK;
}

ar_status ar__names_parse(ar_names *out, const char *option, const char *text, ar_error *err) {
    size_t n = strlen(text);
    const char *begin = ar__trimmed(&n, text);
    bool all = n == 10 && !strncasecmp(begin, "all-linear", n);
    if (n >= 6 && !strncmp(begin, "regex:", 6)) {
        n -= 6;
        begin = ar__trimmed(&n, begin + 6);
    } else if (!all) {
        return ar__strings_parse(&out->list, option, text, err);
    }
    if (!n) return ar__fail(err, AR_ERR_USAGE, "%s: found '%s', wanted a pattern behind regex:", option, text);
    out->regex = ar__strndup(begin, n);
    return out->regex ? AR_OK : ar__fail_memory(err, option);
}
