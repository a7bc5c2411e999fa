/* rank_pattern and alpha_pattern: regular expressions against module paths, the first that matches wins. */
#include <stdlib.h>
#include <string.h>

#include "adapter/targets.h"
#include "base/fail.h"
#include "base/mem.h"

ar_status ar__pattern_set_init(ar_pattern_set *out, const ar_patterns *patterns, ar_error *err) {
    *out = (ar_pattern_set){.patterns = patterns, .regex = ar__alloc(patterns->count, sizeof(ar_regex *))};
    if (!out->regex) return ar__fail_memory(err, "patterns");
    for (size_t i = 0; i < patterns->count; i++) {
        ar_status s = ar__regex_new(&out->regex[i], "(.*\\.)?(%s)$", patterns->at[i].key, AR_REGEX_PREFIX, err);
        if (s) return s;
    }
    return AR_OK;
}

void ar__pattern_set_release(ar_pattern_set *set) {
    for (size_t i = 0; set->regex && i < set->patterns->count; i++) ar__regex_free(set->regex[i]);
    free(set->regex);
    *set = (ar_pattern_set){0};
}

ar_status ar__pattern_set_find(double *out, const ar_pattern_set *set, const char *path, ar_error *err) {
    const ar_patterns *p = set->patterns;
    for (size_t i = 0; i < p->count; i++) {
        bool hit;
        ar_status s = ar__regex_match(&hit, NULL, set->regex[i], path, err);
        if (s) return s;
        if (!hit) continue;
        *out = p->at[i].value;
        return AR_OK;
    }
    for (size_t i = 0; i < p->count; i++) /* PEFT's last resort: the path itself as a key */
        if (!strcmp(p->at[i].key, path)) *out = p->at[i].value;
    return AR_OK;
}

ar_status ar__pattern_set_find_site(double *out, const ar_pattern_set *set, const char *site, ar_error *err) {
    size_t n = strlen(site);
    const char *bracket = n && site[n - 1] == ']' ? strrchr(site, '[') : NULL;
    char *parameter = bracket ? ar__strndup(site, (size_t)(bracket - site)) : NULL;
    ar_status s = bracket && !parameter ? ar__fail_memory(err, site) : AR_OK;
    if (parameter) s = ar__pattern_set_find(out, set, parameter, err);
    free(parameter);
    return s ? s : ar__pattern_set_find(out, set, site, err);
}
