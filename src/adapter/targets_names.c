/* Names that mean nothing, and the names there are. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "adapter/targets.h"
#include "base/fail.h"

static const char *last_name(const char *path) {
    const char *dot = strrchr(path, '.');
    return dot ? dot + 1 : path;
}

/* Where the two share a word ("up_proj", "gate_up_proj") they are nearer than their letters say. */
static size_t far_apart(const char *name, const char *wanted) {
    const char *end = last_name(wanted);
    size_t d = ar_word_distance(name, end);
    return strstr(end, name) || strstr(name, end) ? d / 4 : d;
}

void ar__targets_list(ar_buf *out, const ar_module_list *base, const char *wanted, bool with_norms) {
    ar_strings seen = {0};
    for (int i = 0; i < base->count; i++) {
        const char *name = last_name(base->at[i].path);
        bool counts = (with_norms || base->at[i].kind != AR_MODULE_NORM) && !ar__strings_has(&seen, name);
        if (counts && !ar__strings_add(&seen, name)) break;
    }
    for (size_t n = 0; n < seen.count; n++) {
        size_t best = n;
        for (size_t i = n + 1; wanted && *wanted && i < seen.count; i++)
            if (far_apart(seen.at[i], wanted) < far_apart(seen.at[best], wanted)) best = i;
        char *name = seen.at[best];
        memmove(&seen.at[n + 1], &seen.at[n], (best - n) * sizeof *seen.at); /* the others keep their order */
        seen.at[n] = name;
        ar__buf_printf(out, "%s%s", n ? ", " : "", name);
    }
    ar__strings_release(&seen);
}

ar_status ar__targets_no_such(const char *field, const char *name, const ar_module_list *base, bool with_norms, ar_error *err) {
    ar_buf names = {0};
    ar__targets_list(&names, base, name, with_norms);
    ar_status s = ar__fail(err, AR_ERR_NOT_FOUND, "%s: '%.200s' matches no module of the base; there are: %.500s%s", field, name,
                           names.data ? names.data : "none", strcasecmp(name, "all-linear") ? "" : " (all-linear stands alone)");
    ar__buf_release(&names);
    return s;
}

static ar_status check_list(const char *field, const ar_strings *list, const ar_module_list *base, ar_error *err) {
    for (size_t k = 0; k < list->count; k++) {
        ar_strings one = {.at = &list->at[k], .count = 1};
        bool hit = false, exact;
        for (int i = 0; !hit && i < base->count; i++) hit = ar__targets_in_list(&one, base->at[i].path, &exact);
        for (int i = 0; !hit && i < base->count; i++) { /* a module that holds others is refused elsewhere, in its own words */
            size_t n = strlen(one.at[0]);
            const char *at = strcmp(field, "exclude") ? strstr(base->at[i].path, one.at[0]) : NULL;
            hit = at && (at == base->at[i].path || at[-1] == '.') && at[n] == '.';
        }
        if (!hit) return ar__targets_no_such(field, list->at[k], base, false, err);
    }
    return AR_OK;
}

static ar_status check_pattern(const char *field, const char *text, const ar_module_list *base, ar_error *err) {
    ar_regex *regex;
    bool hit = false;
    ar_status s = ar__regex_new(&regex, NULL, text, AR_REGEX_FULL, err);
    for (int i = 0; !s && !hit && i < base->count; i++) s = ar__regex_match(&hit, NULL, regex, base->at[i].path, err);
    ar__regex_free(regex);
    if (s || hit) return s;
    return ar__fail(err, AR_ERR_NOT_FOUND, "%s: the pattern '%.200s' matches no whole module path, such as '%s'", field, text,
                    base->count ? base->at[base->count - 1].path : "none");
}

ar_status ar__targets_check_names(const ar_adapter_settings *s, const ar_module_list *base, ar_error *err) {
    ar_status st = check_list("targets", &s->targets.list, base, err);
    if (!st) st = check_list("exclude", &s->exclude.list, base, err);
    if (!st && s->exclude.regex) st = check_pattern("exclude", s->exclude.regex, base, err);
    return st;
}
