#include "text/template/letters.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include "text/utf8.h"

static utf8proc_category_t category(uint32_t c) { return utf8proc_category((utf8proc_int32_t)c); }

static bool is_upper(uint32_t c) {
    return category(c) == UTF8PROC_CATEGORY_LU || (c >= 0x2160 && c < 0x2170) || (c >= 0x24B6 && c < 0x24D0);
}
static bool is_title(uint32_t c) { return category(c) == UTF8PROC_CATEGORY_LT; }
/* Ll and Other_Lowercase. */
static bool is_lower(uint32_t c) {
    return category(c) == UTF8PROC_CATEGORY_LL || c == 0xAA || c == 0xBA || (c >= 0x2B0 && c <= 0x2B8) || (c >= 0x2170 && c < 0x2180) ||
           (c >= 0x24D0 && c < 0x24EA) || (c >= 0x1D2C && c <= 0x1D6A) || c == 0x2071 || c == 0x207F || (c >= 0x2090 && c <= 0x209C);
}
static bool is_cased(uint32_t c) { return is_upper(c) || is_lower(c) || is_title(c); }

static bool is_case_ignorable(uint32_t c) {
    switch (category(c)) {
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_SK: return true;
    default: return c == '\'' || c == '.' || c == ':' || c == 0xB7 || c == 0x2019 || c == 0x2018 || c == 0x2027;
    }
}

/* A character in another case: up to three code points. */
typedef struct points {
    uint32_t c[4];
    int count;
} points;

static points one(utf8proc_int32_t c) { return (points){{(uint32_t)c}, 1}; }

/* Full case folding; it also tells which characters become several in upper case (ß: SS). */
static points fold(uint32_t c) {
    utf8proc_int32_t out[4];
    int last = 0;
    utf8proc_ssize_t n = utf8proc_decompose_char((utf8proc_int32_t)c, out, 4, UTF8PROC_CASEFOLD, &last);
    points p = {.count = n > 0 && n <= 4 ? (int)n : 1};
    p.c[0] = c;
    for (int i = 0; n > 0 && n <= 4 && i < p.count; i++) p.c[i] = (uint32_t)out[i];
    return p;
}

static points upper(uint32_t c) {
    points p = category(c) == UTF8PROC_CATEGORY_LU ? one((utf8proc_int32_t)c) : fold(c);
    if (p.count < 2) return one(utf8proc_toupper((utf8proc_int32_t)c));
    for (int i = 0; i < p.count; i++) p.c[i] = (uint32_t)utf8proc_toupper((utf8proc_int32_t)p.c[i]);
    return p;
}

static points title(uint32_t c) {
    points p = category(c) == UTF8PROC_CATEGORY_LL ? fold(c) : one((utf8proc_int32_t)c);
    utf8proc_int32_t simple = utf8proc_totitle((utf8proc_int32_t)c);
    if (p.count < 2 || ((uint32_t)simple != c && is_title((uint32_t)simple))) return one(simple);
    int i = 0;
    while (i + 1 < p.count && !is_cased(p.c[i])) i++;
    p.c[i] = (uint32_t)utf8proc_totitle((utf8proc_int32_t)p.c[i]);
    return p;
}

static points lower(uint32_t c) {
    if (c == 0x130) return (points){{'i', 0x307}, 2};
    return one(utf8proc_tolower((utf8proc_int32_t)c));
}

/* Σ at the end of a word is ς. */
static bool ends_word(const ar_jstr *s, size_t at, size_t from, size_t to) {
    size_t i = at, len;
    bool before = false;
    while (i > from) {
        i = ar__utf8_back(s->data, i);
        uint32_t c = ar__utf8_get(s->data + i, &len);
        if (is_case_ignorable(c)) continue;
        before = is_cased(c);
        break;
    }
    for (i = at + 2; before && i < to; i += len) {
        uint32_t c = ar__utf8_get(s->data + i, &len);
        if (!is_case_ignorable(c)) return !is_cased(c);
    }
    return before;
}

/* The character c in another case; low: what it is in lower case where it stands. */
static points recase(uint32_t c, points low, ar_jcase how, bool first, bool inside) {
    switch (how) {
    case AR_CASE_UPPER: return upper(c);
    case AR_CASE_LOWER: return low;
    case AR_CASE_FOLD: return fold(c);
    case AR_CASE_SWAP: return is_upper(c) ? low : is_lower(c) ? upper(c) : one((utf8proc_int32_t)c);
    case AR_CASE_TITLE: return inside ? low : title(c);
    case AR_CASE_CAPITALIZE: return first ? title(c) : low;
    }
    return one((utf8proc_int32_t)c);
}

void ar__j_put_case(ar_jinja *j, const ar_jstr *s, size_t from, size_t to, ar_jcase how) {
    bool inside = false; /* a word */
    size_t len;
    for (size_t i = from; i < to && ar__j_spend(j, 4) && !j->status; i += len) {
        uint32_t c = ar__utf8_get(s->data + i, &len);
        points low = c == 0x3A3 ? one(ends_word(s, i, from, to) ? 0x3C2 : 0x3C3) : lower(c);
        points p = recase(c, low, how, i == from, inside);
        inside = is_cased(c);
        char bytes[16];
        size_t n = 0;
        for (int k = 0; k < p.count; k++) n += ar__utf8_put(bytes + n, p.c[k]);
        ar__j_put(j, bytes, n, s->marks ? s->marks[i] : s->mark);
    }
}

bool ar__j_is_cased(const ar_jstr *s, bool upper_) {
    bool any = false;
    size_t len;
    for (size_t i = 0; i < s->size; i += len) {
        uint32_t c = ar__utf8_get(s->data + i, &len);
        if (is_title(c) || (upper_ ? is_lower(c) : is_upper(c))) return false;
        any = any || is_cased(c);
    }
    return any;
}

bool ar__j_is_title(const ar_jstr *s) {
    bool any = false, inside = false;
    size_t len;
    for (size_t i = 0; i < s->size; i += len) {
        uint32_t c = ar__utf8_get(s->data + i, &len);
        bool up = is_upper(c) || is_title(c), low = is_lower(c);
        if ((up && inside) || (low && !inside)) return false;
        any = any || up || low;
        inside = up || low;
    }
    return any;
}

bool ar__j_is_printable(uint32_t c) {
    if (c < 0x7F) return c >= ' ';
    switch (category(c)) {
    case UTF8PROC_CATEGORY_CN:
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CS:
    case UTF8PROC_CATEGORY_CO:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
    case UTF8PROC_CATEGORY_ZS: return false;
    default: return true;
    }
}

static bool is_letter(uint32_t c) {
    utf8proc_category_t k = category(c);
    return k >= UTF8PROC_CATEGORY_LU && k <= UTF8PROC_CATEGORY_LO;
}

/* Digits that are no decimals: superscripts, subscripts, in circles and brackets. */
static bool is_digit(uint32_t c) {
    static const uint32_t ranges[][2] = {{0xB2, 0xB3},     {0xB9, 0xB9},     {0x1369, 0x1371}, {0x2070, 0x2070},
                                         {0x2074, 0x2079}, {0x2080, 0x2089}, {0x2460, 0x2468}, {0x2474, 0x247C},
                                         {0x2488, 0x2490}, {0x24EA, 0x24EA}, {0x24F5, 0x24FD}, {0x24FF, 0x24FF},
                                         {0x2776, 0x277E}, {0x2780, 0x2788}, {0x278A, 0x2792}, {0x1F100, 0x1F10A}};
    if (category(c) == UTF8PROC_CATEGORY_ND) return true;
    for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++)
        if (c >= ranges[i][0] && c <= ranges[i][1]) return true;
    return false;
}

/* Numbers, and the ideographs that are numbers. */
static bool is_numeric(uint32_t c) {
    static const uint32_t ideographs[] = {0x3405, 0x3483, 0x382A, 0x3B4D, 0x4E00, 0x4E03, 0x4E07, 0x4E09, 0x4E5D, 0x4E8C, 0x4E94, 0x4E96,
                                          0x4EBF, 0x4EC0, 0x4EDF, 0x4EE8, 0x4F0D, 0x4F70, 0x5104, 0x5146, 0x5169, 0x516B, 0x516D, 0x5341,
                                          0x5343, 0x5344, 0x5345, 0x534C, 0x53C1, 0x53C2, 0x53C3, 0x53C4, 0x56DB, 0x58F1, 0x58F9, 0x5E7A,
                                          0x5EFE, 0x5EFF, 0x5F0C, 0x5F0D, 0x5F0E, 0x5F10, 0x62FE, 0x634C, 0x67D2, 0x6F06, 0x7396, 0x767E,
                                          0x8086, 0x842C, 0x8CAE, 0x8CB3, 0x8D30, 0x9621, 0x9646, 0x964C, 0x9678, 0x96F6, 0x3007};
    utf8proc_category_t k = category(c);
    if (k == UTF8PROC_CATEGORY_ND || k == UTF8PROC_CATEGORY_NL || k == UTF8PROC_CATEGORY_NO) return true;
    for (size_t i = 0; i < sizeof ideographs / sizeof *ideographs; i++)
        if (c == ideographs[i]) return true;
    return false;
}

bool ar__j_is_decimal(uint32_t c) { return category(c) == UTF8PROC_CATEGORY_ND; }

/* Digits of a script stand in a row, from 0; several rows may touch. */
int ar__j_digit(uint32_t c) {
    uint32_t first = c;
    while (first && ar__j_is_decimal(first - 1)) first--;
    return (int)((c - first) % 10);
}

bool ar__j_starts_name(uint32_t c) { return c == '_' || is_letter(c) || category(c) == UTF8PROC_CATEGORY_NL; }

bool ar__j_is_word(uint32_t c) { return c == '_' || is_letter(c) || is_numeric(c); }

static bool is(uint32_t c, ar_jletters what) {
    switch (what) {
    case AR_ARE_ALPHA: return is_letter(c);
    case AR_ARE_ALNUM: return is_letter(c) || is_numeric(c);
    case AR_ARE_DIGIT: return is_digit(c);
    case AR_ARE_DECIMAL: return category(c) == UTF8PROC_CATEGORY_ND;
    case AR_ARE_NUMERIC: return is_numeric(c);
    case AR_ARE_SPACE: return ar__j_is_space(c);
    case AR_ARE_PRINTABLE: return ar__j_is_printable(c);
    }
    return false;
}

bool ar__j_are(const ar_jstr *s, ar_jletters what) {
    size_t len;
    for (size_t i = 0; i < s->size; i += len)
        if (!is(ar__utf8_get(s->data + i, &len), what)) return false;
    return s->size || what == AR_ARE_PRINTABLE;
}
