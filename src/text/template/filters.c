/* The tables of filters and tests, the tests, and filters of numbers and of anything. */
#include "text/template/filters.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "text/template/letters.h"
#include "text/utf8.h"

/* ---- filters -------------------------------------------------------------------------------------------------------*/

#define ROW(name)                                                                                                                          \
    { #name, ar__j_filter_##name }

const ar_jfilter *ar__j_filter_find(const char *name, size_t n) {
    static const ar_jfilter filters[] = {
        ROW(abs),
        ROW(attr),
        ROW(batch),
        ROW(capitalize),
        ROW(center),
        {"count", ar__j_filter_length},
        {"d", ar__j_filter_default},
        ROW(default),
        ROW(dictsort),
        {"e", ar__j_filter_escape},
        ROW(escape),
        ROW(filesizeformat),
        ROW(first),
        ROW(float),
        ROW(forceescape),
        ROW(format),
        ROW(groupby),
        ROW(indent),
        ROW(int),
        ROW(items),
        ROW(join),
        ROW(last),
        ROW(length),
        ROW(list),
        ROW(lower),
        ROW(map),
        ROW(max),
        ROW(min),
        ROW(reject),
        ROW(rejectattr),
        ROW(replace),
        ROW(reverse),
        ROW(round),
        ROW(safe),
        ROW(select),
        ROW(selectattr),
        ROW(slice),
        ROW(sort),
        ROW(string),
        ROW(striptags),
        ROW(sum),
        ROW(title),
        ROW(tojson),
        ROW(trim),
        ROW(truncate),
        ROW(unique),
        ROW(upper),
        ROW(urlencode),
        ROW(wordcount),
        ROW(wordwrap),
        ROW(xmlattr),
    };
    for (size_t i = 0; i < sizeof filters / sizeof *filters; i++)
        if (strlen(filters[i].name) == n && !memcmp(filters[i].name, name, n)) return &filters[i];
    return NULL;
}

AR_J_FILTER(default) {
    ar_jvalue v[2];
    if (!ar__j_bind(v, j, "default", args, "default_value,boolean", 0)) return false;
    bool missing = in.type == AR_J_UNDEFINED || (ar__j_truth(v[1]) && !ar__j_truth(in));
    *out = missing ? v[0] : in;
    if (!missing || v[0].type != AR_J_ABSENT) return true;
    ar_jstr *nothing = ar__j_text(j, "", 0);
    if (nothing) *out = ar__j_string(nothing);
    return nothing != NULL;
}

AR_J_FILTER(attr) {
    ar_jvalue name;
    ar_jstr *s = NULL;
    if (!ar__j_bind(&name, j, "attr", args, "name", 1) || !ar__j_arg_str(&s, j, "attr", name)) return false;
    if (in.type == AR_J_DICT) { /* the attribute alone, not the item of that name */
        *out = (ar_jvalue){0};
        if (!ar__j_method(out, j, in, s)) return false;
        if (out->type == AR_J_ABSENT) *out = ar__j_undefined(s, AR_J_NO_MEMBER + (uint32_t)in.type);
        return true;
    }
    return ar__j_attribute(out, j, in, s);
}

AR_J_FILTER(length) {
    int64_t n;
    if (!ar__j_bind(NULL, j, "length", args, "", 0) || !ar__j_length(&n, j, in)) return false;
    *out = ar__j_int(n);
    return true;
}

AR_J_FILTER(abs) {
    if (!ar__j_bind(NULL, j, "abs", args, "", 0)) return false;
    if (in.type == AR_J_FLOAT) {
        *out = ar__j_float(fabs(in.f));
        return true;
    }
    return ar__j_negate(out, j, in, ar__j_is_integer(in) && ar__j_as_int(in) < 0);
}

/* The text of a number as Python takes it: without white space around, digits of any script as ASCII.  The bytes; 0: it is none. */
static size_t number_text(char *out, size_t size, const ar_jstr *s) {
    size_t from = 0, to = s->size, n = 0, len;
    while (from < to && ar__j_is_space(ar__utf8_get(s->data + from, &len))) from += len;
    while (to > from) {
        size_t back = ar__utf8_back(s->data, to);
        if (!ar__j_is_space(ar__utf8_get(s->data + back, &len))) break;
        to = back;
    }
    for (size_t i = from; i < to; i += len) {
        uint32_t c = ar__utf8_get(s->data + i, &len);
        if (c >= 0x80 && ar__j_is_decimal(c)) c = '0' + (uint32_t)ar__j_digit(c);
        if (c >= 0x80 || !c || n + 1 >= size) return 0;
        out[n++] = (char)c;
    }
    out[n] = 0;
    return n;
}

static bool is_digit(char c) { return c >= '0' && c <= '9'; }

/* Takes single underlines between digits out; false where others stand. */
static bool drop_underlines(char *text, size_t n, bool (*digit)(char)) {
    size_t k = 0;
    for (size_t i = 0; i < n; i++) {
        if (text[i] == '_' && !(i && digit(text[i - 1]) && digit(text[i + 1]))) return false;
        if (text[i] != '_') text[k++] = text[i];
    }
    text[k] = 0;
    return true;
}

static bool read_float(double *out, ar_jvalue v) {
    char text[512], *end;
    if (ar__j_is_number(v)) {
        *out = ar__j_as_float(v);
        return true;
    }
    size_t n = v.type == AR_J_STRING ? number_text(text, sizeof text, v.s) : 0;
    if (!n || strpbrk(text, "xX(pP") || ar__j_is_space((unsigned char)text[0]) || !drop_underlines(text, n, is_digit)) return false;
    *out = strtod(text, &end);
    return end > text && !*end;
}

AR_J_FILTER(float) {
    ar_jvalue def;
    double f;
    if (!ar__j_bind(&def, j, "float", args, "default", 0)) return false;
    if (in.type == AR_J_UNDEFINED) return ar__j_fail_undefined(j, in);
    if (read_float(&f, in))
        *out = ar__j_float(f);
    else
        *out = def.type == AR_J_ABSENT ? ar__j_float(0) : def;
    return true;
}

static bool is_letter_or_digit(char c) { return is_digit(c) || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z'); }

/* int(text, base): the prefix of the base may stand before the digits; base 0 takes the base from it. */
static bool read_int(int64_t *out, const ar_jstr *s, int64_t base) {
    static const struct {
        char letter;
        int base;
    } prefixes[] = {{'x', 16}, {'o', 8}, {'b', 2}};
    char text[512], *end;
    if (base < 0 || base == 1 || base > 36 || !number_text(text, sizeof text, s)) return false;
    bool negative = *text == '-';
    char *digits = text + (negative || *text == '+');
    for (int i = 0; i < 3; i++) {
        if (digits[0] != '0' || (digits[1] | 0x20) != prefixes[i].letter || (base && base != prefixes[i].base)) continue;
        base = prefixes[i].base;
        digits += 2 + (digits[2] == '_');
        break;
    }
    if (!base && digits[0] == '0' && strspn(digits, "0_") < strlen(digits)) return false; /* 012 */
    if (!base) base = 10;
    if (!is_letter_or_digit(*digits) || !drop_underlines(digits, strlen(digits), is_letter_or_digit)) return false;
    if (base == 16 && digits[0] == '0' && (digits[1] | 0x20) == 'x') return false; /* strtoll would take a second prefix */
    *out = strtoll(digits, &end, (int)base);
    if (*end || *out == INT64_MAX) return false;
    if (negative) *out = -*out;
    return true;
}

AR_J_FILTER(int) {
    ar_jvalue v[2];
    int64_t base = 10, i;
    double f;
    if (!ar__j_bind(v, j, "int", args, "default,base", 0) || !ar__j_arg_int(&base, j, "int: base", v[1])) return false;
    if (in.type == AR_J_UNDEFINED) return ar__j_fail_undefined(j, in);
    if (in.type == AR_J_STRING && read_int(&i, in.s, base))
        *out = ar__j_int(i);
    else if (ar__j_is_integer(in))
        *out = ar__j_int(ar__j_as_int(in));
    else if (in.type == AR_J_FLOAT && isinf(in.f))
        return ar__j_fail(j, "int: cannot convert float infinity to integer");
    else if (read_float(&f, in) && isfinite(f)) {
        if (fabs(f) >= 9.2e18) return ar__j_fail(j, "int: makes an integer of more than 64 bits, which is not supported");
        *out = ar__j_int((int64_t)f);
    } else
        *out = v[0].type == AR_J_ABSENT ? ar__j_int(0) : v[0];
    return true;
}

/* To so many decimal places, ties to even, of the number's exact decimal value: printf rounds so. */
static double round_places(double f, int64_t places) {
    char text[700];
    if (places > 300 || !isfinite(f)) return f;
    if (places < -308) return 0 * f;
    if (places >= 0) {
        snprintf(text, sizeof text, "%.*f", (int)places, f);
        return strtod(text, NULL);
    }
    double unit = pow(10, (double)-places), scaled = f / unit, whole = nearbyint(scaled);
    return whole * unit;
}

static bool round_int(ar_jvalue *out, int64_t i, int64_t places) {
    if (places < 0 && places > -19) {
        int64_t unit = 1;
        for (int64_t k = 0; k < -places; k++) unit *= 10;
        int64_t rest = i % unit, whole = i - rest, half = unit / 2, size = rest < 0 ? -rest : rest;
        if (size > half || (size == half && (whole / unit) % 2)) whole += rest < 0 ? -unit : unit;
        i = whole;
    } else if (places <= -19) {
        i = 0;
    }
    *out = ar__j_int(i);
    return true;
}

AR_J_FILTER(round) {
    ar_jvalue v[2];
    int64_t places = 0;
    ar_jstr *method = NULL;
    bool whole = false;
    if (!ar__j_bind(v, j, "round", args, "precision,method", 0)) return false;
    if (v[0].type == AR_J_NONE) v[0] = (ar_jvalue){0}, whole = true;
    if (!ar__j_arg_int(&places, j, "round", v[0]) || !ar__j_arg_str(&method, j, "round", v[1])) return false;
    if (in.type == AR_J_UNDEFINED) return ar__j_fail_undefined(j, in);
    if (!ar__j_is_number(in)) return ar__j_fail(j, "round: found %s, wanted a number", ar__j_type_name(in));
    if (!method || ar__j_is(method, "common")) {
        if (in.type != AR_J_FLOAT) return round_int(out, ar__j_as_int(in), places);
        *out = ar__j_float(round_places(in.f, places));
        if (whole && fabs(in.f) < 9e18) *out = ar__j_int((int64_t)out->f);
        return true;
    }
    bool up = ar__j_is(method, "ceil");
    if (!up && !ar__j_is(method, "floor")) return ar__j_fail(j, "round: method must be common, ceil or floor");
    if (in.type != AR_J_FLOAT && places >= 0) { /* there is nothing to round */
        *out = ar__j_float(ar__j_as_float(in));
        return true;
    }
    double unit = pow(10, (double)places), f = ar__j_as_float(in) * unit;
    if (!isfinite(f)) return ar__j_fail(j, "round: the number is too large");
    *out = ar__j_float(((up ? ceil(f) : floor(f)) + 0.0) / unit);
    return true;
}

AR_J_FILTER(filesizeformat) {
    static const char letters[] = "kMGTPEZY";
    char text[64];
    ar_jvalue binary;
    double size, base, unit;
    if (!ar__j_bind(&binary, j, "filesizeformat", args, "binary", 0)) return false;
    if (!read_float(&size, in)) return ar__j_fail(j, "filesizeformat: found %s, wanted a number", ar__j_type_name(in));
    base = unit = ar__j_truth(binary) ? 1024 : 1000;
    int i = 0;
    while (i < 7 && !(size < unit * base)) unit *= base, i++; /* to the last one, where it is no number */
    if (size == 1)
        snprintf(text, sizeof text, "1 Byte");
    else if (size < base)
        snprintf(text, sizeof text, "%.0f Bytes", trunc(size) + 0.0);
    else
        snprintf(text, sizeof text, "%.1f %c%sB", base * size / (unit * base), i || base < 1024 ? letters[i] : 'K', base > 1000 ? "i" : "");
    ar_jstr *s = ar__j_text(j, text, strlen(text));
    if (s) *out = ar__j_string(s);
    return s != NULL;
}

/* ---- tests ---------------------------------------------------------------------------------------------------------*/

#define TEST(name) static bool test_##name(bool *out, ar_jinja *j, ar_jvalue in, const ar_jargs *args)
/* A test without arguments. */
#define IS(name, condition)                                                                                                                \
    TEST(name) {                                                                                                                           \
        *out = (condition);                                                                                                                \
        return ar__j_bind(NULL, j, #name, args, "", 0);                                                                                    \
    }
/* A comparison. */
#define COMPARES(name, op)                                                                                                                 \
    TEST(name) {                                                                                                                           \
        ar_jvalue other;                                                                                                                   \
        return ar__j_bind(&other, j, #name, args, "other", 1) && ar__j_compare(out, j, op, in, other);                                     \
    }

static bool is_callable(ar_jtype t) {
    return t == AR_J_UNDEFINED || t == AR_J_FUNCTION || t == AR_J_METHOD || t == AR_J_MACRO || t == AR_J_LOOP || t == AR_J_JOINER;
}
static bool is_sequence(ar_jtype t) {
    return t == AR_J_UNDEFINED || t == AR_J_STRING || t == AR_J_LIST || t == AR_J_TUPLE || t == AR_J_RANGE || t == AR_J_DICT;
}

IS(defined, in.type != AR_J_UNDEFINED)
IS(undefined, in.type == AR_J_UNDEFINED)
IS(none, in.type == AR_J_NONE)
IS(boolean, in.type == AR_J_BOOL)
IS(yes, in.type == AR_J_BOOL && in.b)
IS(no, in.type == AR_J_BOOL && !in.b)
IS(integer, in.type == AR_J_INT)
IS(float, in.type == AR_J_FLOAT)
IS(number, ar__j_is_number(in))
IS(string, in.type == AR_J_STRING)
IS(mapping, in.type == AR_J_DICT)
IS(sequence, is_sequence(in.type))
IS(iterable, ar__j_can_walk(in) || in.type == AR_J_LOOP)
IS(callable, is_callable(in.type))
IS(escaped, in.type == AR_J_STRING && in.s->markup)
COMPARES(eq, AR_OP_EQ)
COMPARES(ne, AR_OP_NE)
COMPARES(lt, AR_OP_LT)
COMPARES(le, AR_OP_LE)
COMPARES(gt, AR_OP_GT)
COMPARES(ge, AR_OP_GE)

TEST(in) {
    ar_jvalue seq;
    return ar__j_bind(&seq, j, "in", args, "seq", 1) && ar__j_contains(out, j, seq, in);
}

static bool leaves(bool *out, ar_jinja *j, ar_jvalue v, ar_jvalue by, int64_t rest) {
    ar_jvalue r;
    if (!ar__j_binary(&r, j, AR_OP_MOD, v, by)) return false;
    *out = ar__j_equal(j, r, ar__j_int(rest));
    return true;
}

TEST(odd) { return ar__j_bind(NULL, j, "odd", args, "", 0) && leaves(out, j, in, ar__j_int(2), 1); }
TEST(even) { return ar__j_bind(NULL, j, "even", args, "", 0) && leaves(out, j, in, ar__j_int(2), 0); }
TEST(divisibleby) {
    ar_jvalue by;
    return ar__j_bind(&by, j, "divisibleby", args, "num", 1) && leaves(out, j, in, by, 0);
}

/* Python's `is`: small values and equal literals are one object there. */
TEST(sameas) {
    ar_jvalue other;
    if (!ar__j_bind(&other, j, "sameas", args, "other", 1)) return false;
    bool plain = in.type < AR_J_STRING || (in.type == AR_J_STRING && other.type == AR_J_STRING);
    *out = in.type == other.type && (plain ? ar__j_equal(j, in, other) : in.list == other.list);
    return true;
}

static bool cased(bool *out, ar_jinja *j, ar_jvalue in, bool upper) {
    ar_jstr *s = ar__j_str(j, in);
    if (s) *out = ar__j_is_cased(s, upper);
    return s != NULL;
}

TEST(lower) { return ar__j_bind(NULL, j, "lower", args, "", 0) && cased(out, j, in, false); }
TEST(upper) { return ar__j_bind(NULL, j, "upper", args, "", 0) && cased(out, j, in, true); }

TEST(filter) {
    if (!ar__j_bind(NULL, j, "filter", args, "", 0) || !ar__j_check_key(j, in)) return false;
    *out = in.type == AR_J_STRING && ar__j_filter_find(in.s->data, in.s->size);
    return true;
}

TEST(test) {
    if (!ar__j_bind(NULL, j, "test", args, "", 0) || !ar__j_check_key(j, in)) return false;
    *out = in.type == AR_J_STRING && ar__j_test_find(in.s->data, in.s->size);
    return true;
}

const ar_jtest *ar__j_test_find(const char *name, size_t n) {
    static const ar_jtest tests[] = {
        {"defined", test_defined},
        {"undefined", test_undefined},
        {"none", test_none},
        {"boolean", test_boolean},
        {"true", test_yes},
        {"false", test_no},
        {"integer", test_integer},
        {"float", test_float},
        {"number", test_number},
        {"string", test_string},
        {"mapping", test_mapping},
        {"sequence", test_sequence},
        {"iterable", test_iterable},
        {"callable", test_callable},
        {"escaped", test_escaped},
        {"odd", test_odd},
        {"even", test_even},
        {"divisibleby", test_divisibleby},
        {"sameas", test_sameas},
        {"lower", test_lower},
        {"upper", test_upper},
        {"in", test_in},
        {"filter", test_filter},
        {"test", test_test},
        {"==", test_eq},
        {"eq", test_eq},
        {"equalto", test_eq},
        {"!=", test_ne},
        {"ne", test_ne},
        {">", test_gt},
        {"gt", test_gt},
        {"greaterthan", test_gt},
        {"ge", test_ge},
        {">=", test_ge},
        {"<", test_lt},
        {"lt", test_lt},
        {"lessthan", test_lt},
        {"<=", test_le},
        {"le", test_le},
    };
    for (size_t i = 0; i < sizeof tests / sizeof *tests; i++)
        if (strlen(tests[i].name) == n && !memcmp(tests[i].name, name, n)) return &tests[i];
    return NULL;
}
