#include "text/codeset.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "text/unicode.h"

void ar__codeset_add(ar_codeset *s, uint32_t first, uint32_t last) {
    ar_coderange *r = s->failed ? NULL : ar__grow(s->range, &s->cap, s->count + 1, sizeof *r);
    if (!r) {
        s->failed = true;
        return;
    }
    s->range = r;
    r[s->count++] = (ar_coderange){first, last};
}

void ar__codeset_add_masked(ar_codeset *s, uint32_t mask, uint32_t want, bool nonzero) {
    for (size_t i = 0; i < ar__unicode_run_count; i++) {
        uint32_t v = ar__unicode_runs[i].value & mask;
        if (nonzero ? v == 0 : v != want) continue;
        uint32_t next = i + 1 < ar__unicode_run_count ? ar__unicode_runs[i + 1].first : AR_UNICODE_COUNT;
        ar__codeset_add(s, ar__unicode_runs[i].first, next - 1);
    }
}

void ar__codeset_add_set(ar_codeset *s, const ar_codeset *other) {
    if (other->failed) s->failed = true;
    for (size_t i = 0; i < other->count; i++) ar__codeset_add(s, other->range[i].first, other->range[i].last);
}

static int by_first(const void *a, const void *b) {
    const ar_coderange *x = a, *y = b;
    return x->first < y->first ? -1 : x->first > y->first;
}

void ar__codeset_sort(ar_codeset *s) {
    if (!s->count) return;
    qsort(s->range, s->count, sizeof *s->range, by_first);
    size_t n = 1;
    for (size_t i = 1; i < s->count; i++) {
        ar_coderange *last = &s->range[n - 1], r = s->range[i];
        if (r.first > last->last + 1)
            s->range[n++] = r;
        else if (r.last > last->last)
            last->last = r.last;
    }
    s->count = n;
}

void ar__codeset_invert(ar_codeset *s) {
    ar__codeset_sort(s);
    ar_codeset out = {.failed = s->failed};
    uint32_t next = 0;
    for (size_t i = 0; i < s->count; i++) {
        if (s->range[i].first > next) ar__codeset_add(&out, next, s->range[i].first - 1);
        next = s->range[i].last + 1;
    }
    if (next < AR_UNICODE_COUNT) ar__codeset_add(&out, next, AR_UNICODE_COUNT - 1);
    ar__codeset_release(s);
    *s = out;
}

void ar__codeset_intersect(ar_codeset *s, ar_codeset *other) {
    /* a ∩ b = ¬(¬a ∪ ¬b) */
    ar__codeset_invert(s);
    ar__codeset_invert(other);
    ar__codeset_add_set(s, other);
    ar__codeset_invert(s);
    ar__codeset_invert(other);
}

void ar__codeset_release(ar_codeset *s) {
    free(s->range);
    *s = (ar_codeset){0};
}

/* Property names compare without case, blanks, '-' and '_'. */
static bool same_name(const char *want, const char *name, size_t len) {
    for (size_t i = 0; i < len; i++) {
        if (name[i] == ' ' || name[i] == '_' || name[i] == '-') continue;
        while (*want == ' ' || *want == '_' || *want == '-') want++;
        if (tolower((unsigned char)*want) != tolower((unsigned char)name[i])) return false;
        want++;
    }
    return *want == '\0';
}

static bool add_category(ar_codeset *s, const char *name, size_t len) {
    static const struct {
        const char *name, *code;
    } longer[] = {{"Letter", "L"},
                  {"Mark", "M"},
                  {"Number", "N"},
                  {"Punctuation", "P"},
                  {"Symbol", "S"},
                  {"Separator", "Z"},
                  {"Other", "C"},
                  {"Uppercase_Letter", "Lu"},
                  {"Lowercase_Letter", "Ll"},
                  {"Titlecase_Letter", "Lt"},
                  {"Modifier_Letter", "Lm"},
                  {"Other_Letter", "Lo"},
                  {"Nonspacing_Mark", "Mn"},
                  {"Decimal_Number", "Nd"}};
    for (size_t i = 0; i < sizeof longer / sizeof *longer; i++) {
        if (same_name(longer[i].name, name, len)) return add_category(s, longer[i].code, strlen(longer[i].code));
    }
    bool found = false;
    for (uint32_t g = 0; ar__unicode_categories[g]; g++) {
        const char *code = ar__unicode_categories[g];
        bool whole = same_name(code, name, len);
        if (!whole && !(len == 1 && toupper((unsigned char)name[0]) == code[0])) continue;
        ar__codeset_add_masked(s, AR_UC_CATEGORY, g, false);
        found = true;
    }
    return found;
}

bool ar__codeset_property(ar_codeset *s, const char *name, size_t len) {
    if (add_category(s, name, len)) return true;
    for (uint32_t i = 0; ar__unicode_scripts[i]; i++) {
        if (!same_name(ar__unicode_scripts[i], name, len)) continue;
        ar__codeset_add_masked(s, AR_UC_SCRIPT, (i + 1) << 5, false);
        return true;
    }
    if (same_name("Any", name, len)) {
        ar__codeset_add(s, 0, AR_UNICODE_COUNT - 1);
        return true;
    }
    return ar__codeset_posix(s, name, len);
}

bool ar__codeset_posix(ar_codeset *s, const char *name, size_t len) {
    if (same_name("alpha", name, len))
        ar__codeset_add_masked(s, AR_UC_ALPHA, 0, true);
    else if (same_name("word", name, len))
        ar__codeset_add_masked(s, AR_UC_WORD, 0, true);
    else if (same_name("space", name, len))
        ar__codeset_add_masked(s, AR_UC_SPACE, 0, true);
    else if (same_name("digit", name, len))
        return add_category(s, "Nd", 2);
    else if (same_name("alnum", name, len)) {
        ar__codeset_add_masked(s, AR_UC_ALPHA, 0, true);
        return add_category(s, "Nd", 2);
    } else if (same_name("punct", name, len))
        return add_category(s, "P", 1) && add_category(s, "S", 1);
    else if (same_name("cntrl", name, len))
        return add_category(s, "Cc", 2);
    else if (same_name("ascii", name, len))
        ar__codeset_add(s, 0, 0x7F);
    else if (same_name("xdigit", name, len)) {
        ar__codeset_add(s, '0', '9');
        ar__codeset_add(s, 'a', 'f');
        ar__codeset_add(s, 'A', 'F');
    } else
        return false;
    return true;
}
