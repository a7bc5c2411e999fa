/* "%s" % values and "{}".format(values).
 *
 *     %[(key)][flags][width][.precision]type              flags of # 0 - + and space; * takes a value
 *     {[field][!conversion][:[[fill]align][sign][#][0][width][,][.precision][type]]} */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "text/template/markup.h"
#include "text/template/run.h"
#include "text/template/text_ops.h"
#include "text/utf8.h"

typedef struct spec {
    char align, sign, type, group; /* 0: not given */
    bool alternate, zero;
    bool markup;              /* the format is: what goes in is escaped */
    int64_t width, precision; /* -1: not given */
    ar_jstr fill;
} spec;

enum { MAX_WIDTH = 1 << 20, MAX_PRECISION = 300 };

/* ---- one value -------------------------------------------------------------------------------------------------------*/

/* Digits of a number of any base, with the sign apart. */
static void digits_of(char *out, size_t size, uint64_t value, unsigned base, bool upper) {
    char back[72];
    size_t n = 0, k = 0;
    do back[n++] = (upper ? "0123456789ABCDEF" : "0123456789abcdef")[value % base];
    while (value /= base);
    while (n && k + 1 < size) out[k++] = back[--n];
    out[k] = 0;
}

/* Writes sign, prefix, zeros and digits to the width. */
static bool put_number(ar_jinja *j, const spec *s, const char *sign, const char *prefix, const char *digits) {
    size_t start = ar__j_here(j);
    int64_t used = (int64_t)(strlen(sign) + strlen(prefix) + strlen(digits));
    bool zeros = s->zero && (!s->align || s->align == '=');
    ar__j_puts(j, sign);
    ar__j_puts(j, prefix);
    for (int64_t i = used; (zeros || s->align == '=') && i < s->width && !j->status; i++)
        if (zeros)
            ar__j_puts(j, "0");
        else
            ar__j_put_str(j, &s->fill);
    ar__j_puts(j, digits);
    ar_jstr *text = ar__j_take(j, start);
    return text && ar__j_put_padded(j, text, s->width, s->align && s->align != '=' ? s->align : '>', &s->fill);
}

static const char *sign_of(bool negative, const spec *s) {
    if (negative) return "-";
    return s->sign == '+' ? "+" : s->sign == ' ' ? " " : "";
}

/* A comma (or underline) between every three digits. */
static void group_digits(char *out, size_t size, const char *digits, char with) {
    size_t whole = strspn(digits, "0123456789"), k = 0;
    for (size_t i = 0; digits[i] && k + 2 < size; i++) {
        if (i && i < whole && (whole - i) % 3 == 0) out[k++] = with;
        out[k++] = digits[i];
    }
    out[k] = 0;
}

static bool put_integer(ar_jinja *j, const spec *s, int64_t i, bool percent) {
    char digits[80], grouped[120];
    unsigned base = s->type == 'x' || s->type == 'X' ? 16 : s->type == 'o' ? 8 : s->type == 'b' ? 2 : 10;
    const char *prefix = !s->alternate    ? ""
                         : s->type == 'x' ? "0x"
                         : s->type == 'X' ? "0X"
                         : s->type == 'o' ? "0o"
                         : s->type == 'b' ? "0b"
                                          : "";
    digits_of(digits, sizeof digits, i < 0 ? 0 - (uint64_t)i : (uint64_t)i, base, s->type == 'X');
    size_t n = strlen(digits);
    if (percent && s->precision > (int64_t)n && s->precision < 60) { /* at least so many digits */
        memmove(digits + s->precision - (int64_t)n, digits, n + 1);
        memset(digits, '0', (size_t)s->precision - n);
    }
    if (s->group) group_digits(grouped, sizeof grouped, digits, s->group);
    return put_number(j, s, sign_of(i < 0, s), prefix, s->group ? grouped : digits);
}

static bool put_real(ar_jinja *j, const spec *s, double f, char type) {
    char digits[700], grouped[900], pattern[] = "%.*f", alternate[] = "%#.*f";
    int precision = s->precision < 0 ? 6 : (int)s->precision;
    bool percent = type == '%', negative = signbit(f) && !isnan(f);
    if (percent) {
        f *= 100;
        type = 'f';
    }
    if (isnan(f) || isinf(f)) {
        bool upper = type == 'F' || type == 'E' || type == 'G';
        snprintf(digits, sizeof digits, "%s", isnan(f) ? (upper ? "NAN" : "nan") : upper ? "INF" : "inf");
    } else {
        pattern[3] = alternate[4] = type;
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
        snprintf(digits, sizeof digits, s->alternate ? alternate : pattern, precision, fabs(f));
#pragma GCC diagnostic pop
    }
    if (percent) strncat(digits, "%", sizeof digits - strlen(digits) - 1);
    if (s->group) group_digits(grouped, sizeof grouped, digits, s->group);
    return put_number(j, s, sign_of(negative, s), "", s->group ? grouped : digits);
}

static bool put_text(ar_jinja *j, const spec *s, ar_jstr *text, char align) {
    if (s->precision >= 0 && ar__j_points(text) > s->precision) text = ar__j_part(j, text, 0, ar__j_offset(text, s->precision));
    return text && ar__j_put_padded(j, text, s->width, s->align && s->align != '=' ? s->align : align, &s->fill);
}

/* repr(v), or ascii(v). */
static ar_jstr *repr_of(ar_jinja *j, ar_jvalue v, bool ascii) {
    size_t start = ar__j_here(j), len;
    ar_jstr *text = ar__j_put_repr(j, v) ? ar__j_take(j, start) : NULL;
    if (!text || !ascii) return text;
    for (size_t i = 0; i < text->size; i += len) {
        char spelt[16];
        uint32_t c = ar__utf8_get(text->data + i, &len);
        if (c < 0x80) {
            ar__j_put_part(j, text, i, i + 1);
            continue;
        }
        snprintf(spelt, sizeof spelt, c < 0x100 ? "\\x%02x" : c < 0x10000 ? "\\u%04x" : "\\U%08x", (unsigned)c);
        ar__j_put(j, spelt, strlen(spelt), text->marks ? text->marks[i] : text->mark);
    }
    return ar__j_take(j, start);
}

/* ---- percent ---------------------------------------------------------------------------------------------------------*/

typedef struct percent {
    ar_jinja *j;
    ar_jstr *format;
    ar_jvalue values;
    size_t at, used; /* values taken so far */
    bool mapped;     /* a key was asked for */
} percent;

static bool next_value(ar_jvalue *out, percent *p) {
    bool tuple = p->values.type == AR_J_TUPLE;
    if (p->used >= (tuple ? p->values.list->count : 1)) return ar__j_fail(p->j, "not enough arguments for format string");
    *out = tuple ? p->values.list->item[p->used] : p->values;
    p->used++;
    return true;
}

static char peek(const percent *p) { return p->at < p->format->size ? p->format->data[p->at] : 0; }

static bool read_key(ar_jvalue *out, percent *p) {
    size_t from = ++p->at, open = 1;
    while (p->at < p->format->size && (open += (peek(p) == '(') - (size_t)(peek(p) == ')'))) p->at++;
    if (p->at >= p->format->size) return ar__j_fail(p->j, "incomplete format key");
    ar_jstr key = {.data = p->format->data + from, .size = p->at++ - from};
    if (p->values.type != AR_J_DICT) return ar__j_fail(p->j, "format requires a mapping");
    ar_jvalue *v = ar__j_dict_find_text(p->values.dict, key.data, key.size);
    if (!v) return ar__j_fail(p->j, "the format names '%.*s', which the mapping has not", (int)(key.size < 60 ? key.size : 60), key.data);
    p->mapped = true;
    *out = *v;
    return true;
}

static bool read_count(int64_t *out, percent *p) {
    if (peek(p) == '*') {
        ar_jvalue v;
        p->at++;
        if (!next_value(&v, p)) return false;
        if (!ar__j_is_integer(v)) return ar__j_fail(p->j, "* wants int");
        *out = ar__j_as_int(v);
    } else if (peek(p) >= '0' && peek(p) <= '9') {
        for (*out = 0; peek(p) >= '0' && peek(p) <= '9' && *out < MAX_WIDTH; p->at++) *out = 10 * *out + (peek(p) - '0');
    }
    return *out <= MAX_WIDTH || ar__j_fail(p->j, "a width is too large");
}

static bool read_percent(spec *s, percent *p) {
    for (; peek(p) && strchr("#0- +", peek(p)); p->at++) {
        if (peek(p) == '#') s->alternate = true;
        if (peek(p) == '0') s->zero = true;
        if (peek(p) == '-') s->align = '<';
        if (peek(p) == '+' || (peek(p) == ' ' && s->sign != '+')) s->sign = peek(p);
    }
    s->width = 0;
    if (!read_count(&s->width, p)) return false;
    if (s->width < 0) {
        s->align = '<';
        s->width = -s->width;
    }
    if (peek(p) == '.') {
        p->at++;
        s->precision = 0;
        if (!read_count(&s->precision, p)) return false;
        if (s->precision < 0) s->precision = 0;
        if (s->precision > MAX_PRECISION) return ar__j_fail(p->j, "a precision is too large");
    }
    if (peek(p) && strchr("hlL", peek(p))) p->at++;
    if (!(s->type = peek(p))) return ar__j_fail(p->j, "incomplete format");
    p->at++;
    return true;
}

static bool put_percent_integer(ar_jinja *j, spec *s, ar_jvalue v) {
    bool decimal = strchr("diu", s->type) != NULL;
    if (v.type == AR_J_FLOAT && decimal && isfinite(v.f) && fabs(v.f) < 9.2e18) v = ar__j_int((int64_t)v.f);
    if (!ar__j_is_integer(v)) return ar__j_fail(j, "%%%c format: a number is required, not %s", s->type, ar__j_type_name(v));
    return put_integer(j, s, ar__j_as_int(v), true);
}

static bool put_character(ar_jinja *j, const spec *s, ar_jvalue v) {
    char bytes[4];
    ar_jstr *text = v.type == AR_J_STRING ? v.s : NULL;
    if (ar__j_is_integer(v) && ar__j_as_int(v) >= 0 && ar__j_as_int(v) <= 0x10FFFF && (ar__j_as_int(v) & ~0x7FF) != 0xD800)
        text = ar__j_text(j, bytes, ar__utf8_put(bytes, (uint32_t)ar__j_as_int(v)));
    if (!text || ar__j_points(text) != 1) return ar__j_fail(j, "%%c requires int or char");
    spec plain = *s;
    plain.precision = -1;
    return put_text(j, &plain, text, '>');
}

static bool put_converted(ar_jinja *j, spec *s, ar_jvalue v) {
    if (!s->fill.size) return false;
    switch (s->type) {
    case 's':
        if (s->markup && !ar__j_escape(&v, j, v)) return false;
        return put_text(j, s, ar__j_str(j, v), '>');
    case 'r':
    case 'a': {
        ar_jstr *text = repr_of(j, v, s->type == 'a');
        if (!text) return false;
        v = ar__j_string(text);
        if (s->markup && !ar__j_escape(&v, j, v)) return false;
        return put_text(j, s, v.s, '>');
    }
    case 'c': return put_character(j, s, v);
    case 'd':
    case 'i':
    case 'u':
    case 'x':
    case 'X':
    case 'o': return put_percent_integer(j, s, v);
    case 'e':
    case 'E':
    case 'f':
    case 'F':
    case 'g':
    case 'G':
        if (!ar__j_is_number(v)) return ar__j_fail(j, "must be real number, not %s", ar__j_type_name(v));
        return put_real(j, s, ar__j_as_float(v), s->type);
    default: return ar__j_fail(j, "unsupported format character '%c'", s->type);
    }
}

static bool put_field(percent *p) {
    spec s = {.precision = -1, .markup = p->format->markup, .fill = {.data = " ", .size = 1, .points = 1}};
    ar_jvalue v = {0};
    if (peek(p) == '%') {
        p->at++;
        ar__j_puts(p->j, "%");
        return true;
    }
    if (peek(p) == '(' && !read_key(&v, p)) return false;
    bool keyed = v.type != AR_J_ABSENT;
    if (!read_percent(&s, p)) return false;
    return (keyed || next_value(&v, p)) && put_converted(p->j, &s, v);
}

bool ar__j_percent(ar_jvalue *out, ar_jinja *j, ar_jstr *format, ar_jvalue values) {
    percent p = {.j = j, .format = format, .values = values};
    size_t start = ar__j_here(j), from = 0;
    for (const char *at; (at = memchr(format->data + from, '%', format->size - from)) != NULL; from = p.at) {
        ar__j_put_part(j, format, from, (size_t)(at - format->data));
        p.at = (size_t)(at - format->data) + 1;
        if (!put_field(&p)) return j->status ? false : ar__j_fail(j, "a format is wrong");
    }
    ar__j_put_part(j, format, from, format->size);
    bool indexed = values.type == AR_J_DICT || values.type == AR_J_LIST || values.type == AR_J_RANGE || values.type == AR_J_UNDEFINED;
    bool all = values.type == AR_J_TUPLE ? p.used == values.list->count : p.used || p.mapped || indexed;
    if (!all) return ar__j_fail(j, "not all arguments converted during string formatting");
    if (!ar__j_take_value(out, j, start)) return false;
    out->s->markup = format->markup;
    return true;
}

/* ---- format ------------------------------------------------------------------------------------------------------------*/

typedef struct formatter {
    ar_jinja *j;
    const ar_jargs *args;
    size_t next; /* {} */
    bool automatic, numbered;
    bool markup; /* what goes in is escaped */
    unsigned depth;
} formatter;

static bool is_align(char c) { return c == '<' || c == '>' || c == '^' || c == '='; }

static bool read_spec(spec *out, ar_jinja *j, const ar_jstr *s) {
    size_t at = 0, first = s->size ? ar__utf8_size(s->data[0]) : 0;
    *out = (spec){.precision = -1, .fill = {.data = " ", .size = 1, .points = 1}};
    bool filled = first && first < s->size && is_align(s->data[first]);
    if (filled) {
        out->fill = (ar_jstr){.data = s->data, .size = first, .points = 1};
        out->align = s->data[first];
        at = first + 1;
    } else if (s->size && is_align(s->data[0])) {
        out->align = s->data[at++];
    }
#define PEEK (at < s->size ? s->data[at] : 0)
    if (PEEK && strchr("+- ", PEEK)) out->sign = s->data[at++];
    if (PEEK == '#') out->alternate = at++ < s->size;
    if (PEEK == '0' && !filled) {
        out->zero = !out->align;
        out->fill = (ar_jstr){.data = "0", .size = 1, .points = 1};
        at++;
    }
    for (; PEEK >= '0' && PEEK <= '9' && out->width < MAX_WIDTH; at++) out->width = 10 * out->width + (PEEK - '0');
    if (PEEK == ',' || PEEK == '_') out->group = s->data[at++];
    if (PEEK == '.') {
        out->precision = 0;
        if (at + 1 >= s->size || s->data[at + 1] < '0' || s->data[at + 1] > '9') return ar__j_fail(j, "format: a precision is missing");
        for (at++; PEEK >= '0' && PEEK <= '9' && out->precision < MAX_WIDTH; at++) out->precision = 10 * out->precision + (PEEK - '0');
    }
    if (PEEK) out->type = s->data[at++];
#undef PEEK
    if (out->width >= MAX_WIDTH || out->precision > MAX_PRECISION) return ar__j_fail(j, "format: a width or precision is too large");
    return at == s->size || ar__j_fail(j, "format: invalid format specifier");
}

static bool put_code_point(ar_jinja *j, const spec *s, int64_t c) {
    char bytes[4];
    if (s->sign || s->alternate || s->group || c < 0 || c > 0x10FFFF || (c & ~0x7FF) == 0xD800)
        return ar__j_fail(j, "format: %%c wants a code point, and no sign");
    ar_jstr *text = ar__j_text(j, bytes, ar__utf8_put(bytes, (uint32_t)c));
    return text && put_text(j, s, text, '>');
}

/* A number to so many digits: with an exponent where it has as many before the point, else with a point. */
static void put_short(ar_jinja *j, double f, int precision) {
    char text[400];
    snprintf(text, sizeof text, "%.*e", precision - 1, f);
    char *e = strchr(text, 'e');
    bool exponent = e && strtol(e + 1, NULL, 10) + 1 > precision - 1;
    snprintf(text, sizeof text, "%.*g", precision, f);
    if (exponent && !strchr(text, 'e') && isfinite(f)) {
        snprintf(text, sizeof text, "%.*e", precision - 1, f);
        e = strchr(text, 'e');
        char *to = e;
        while (strchr(text, '.') < e && (to[-1] == '0' || to[-1] == '.') && strchr(text, '.')) {
            bool point = to[-1] == '.';
            to--;
            if (point) break;
        }
        memmove(to, e, strlen(e) + 1);
    }
    if (isfinite(f) && !strpbrk(text, ".e")) strncat(text, ".0", sizeof text - strlen(text) - 1);
    ar__j_puts(j, text);
}

static bool put_formatted(ar_jinja *j, spec *s, ar_jvalue v) {
    if (v.type == AR_J_STRING) {
        if ((s->type && s->type != 's') || s->sign || s->alternate || s->group || s->align == '=')
            return ar__j_fail(j, "format: the specifier is none of strings");
        return put_text(j, s, v.s, '<');
    }
    bool integer = ar__j_is_integer(v), real = s->type && strchr("eEfFgG%", s->type);
    if (integer && !real) {
        if (s->precision >= 0 || (s->type && !strchr("dxXobnc", s->type)))
            return ar__j_fail(j, "format: the specifier is none of integers");
        if (s->type == 'c') return put_code_point(j, s, ar__j_as_int(v));
        return put_integer(j, s, ar__j_as_int(v), false);
    }
    if (v.type != AR_J_FLOAT && !integer) return ar__j_fail(j, "format: %s takes no specifier", ar__j_type_name(v));
    if (s->type && !real && s->type != 'n') return ar__j_fail(j, "format: the specifier is none of floats");
    if (s->type) return put_real(j, s, ar__j_as_float(v), s->type);
    size_t start = ar__j_here(j);
    if (s->precision >= 0)
        put_short(j, fabs(v.f), s->precision ? (int)s->precision : 1);
    else
        ar__j_put_float(j, fabs(v.f));
    ar_jstr *digits = ar__j_take(j, start);
    char grouped[120];
    if (digits && s->group) group_digits(grouped, sizeof grouped, digits->data, s->group);
    return digits && put_number(j, s, sign_of(signbit(v.f) && !isnan(v.f), s), "", s->group ? grouped : digits->data);
}

/* "", "0", "name": the argument of that name. */
static bool argument(ar_jvalue *out, formatter *f, const ar_jstr *name) {
    size_t i = 0;
    bool digits = name->size != 0;
    for (size_t k = 0; k < name->size && digits; k++) digits = name->data[k] >= '0' && name->data[k] <= '9' && name->size < 9;
    for (size_t k = 0; k < name->size && digits; k++) i = 10 * i + (size_t)(name->data[k] - '0');
    if (!name->size) i = f->next++;
    if (!name->size || digits) {
        f->automatic = f->automatic || !name->size;
        f->numbered = f->numbered || digits;
        if (f->automatic && f->numbered) return ar__j_fail(f->j, "format: cannot switch between numbered and automatic fields");
        if (i >= f->args->count) return ar__j_fail(f->j, "format: there is no argument %zu", i);
        *out = f->args->plain[i];
        return true;
    }
    for (i = 0; i < f->args->named_count; i++)
        if (ar__j_same(f->args->named[i].key.s, name)) {
            *out = f->args->named[i].value;
            return true;
        }
    return ar__j_fail(f->j, "format: there is no argument '%.*s'", (int)(name->size < 60 ? name->size : 60), name->data);
}

/* "0.name[key]". */
static bool field_value(ar_jvalue *out, formatter *f, const ar_jstr *field) {
    size_t at = 0;
    while (at < field->size && field->data[at] != '.' && field->data[at] != '[') at++;
    ar_jstr first = {.data = field->data, .size = at, .points = -1};
    if (!argument(out, f, &first)) return false;
    while (at < field->size) {
        bool item = field->data[at] == '[';
        size_t from = at + 1, to = from;
        while (to < field->size && (item ? field->data[to] != ']' : field->data[to] != '.' && field->data[to] != '[')) to++;
        if (to == from || (item && to == field->size)) return ar__j_fail(f->j, "format: a field is wrong");
        ar_jstr *name = ar__j_text(f->j, field->data + from, to - from);
        if (!name) return false;
        int64_t index = 0;
        bool digits = item && name->size < 9;
        for (size_t k = 0; k < name->size && digits; k++) {
            digits = name->data[k] >= '0' && name->data[k] <= '9';
            index = 10 * index + (name->data[k] - '0');
        }
        bool ok =
            !item ? ar__j_attribute(out, f->j, *out, name) : ar__j_item(out, f->j, *out, digits ? ar__j_int(index) : ar__j_string(name));
        if (!ok) return false;
        at = to + item;
    }
    return true;
}

static ar_jstr *take_formatted(formatter *f, const ar_jstr *s);

/* What is between the braces. */
static bool put_replacement(formatter *f, const ar_jstr *inside) {
    size_t at = 0, depth = 0;
    while (at < inside->size && (depth || (inside->data[at] != '!' && inside->data[at] != ':'))) {
        depth += (inside->data[at] == '[') - (size_t)(inside->data[at] == ']' && depth);
        at++;
    }
    ar_jstr field = {.data = inside->data, .size = at, .points = -1}, rest = {.data = "", .points = -1};
    char conversion = 0;
    ar_jvalue v;
    if (at < inside->size && inside->data[at] == '!') {
        if (at + 1 >= inside->size) return ar__j_fail(f->j, "format: a conversion is missing");
        conversion = inside->data[at + 1];
        at += 2;
        if (at < inside->size && inside->data[at] != ':') return ar__j_fail(f->j, "format: expected ':' after the conversion");
    }
    if (at < inside->size) rest = (ar_jstr){.data = inside->data + at + 1, .size = inside->size - at - 1, .points = -1};
    if (!field_value(&v, f, &field)) return false;
    if (conversion == 's' || conversion == 'r' || conversion == 'a')
        v = ar__j_string(conversion == 's' ? ar__j_str(f->j, v) : repr_of(f->j, v, conversion == 'a'));
    else if (conversion)
        return ar__j_fail(f->j, "format: conversion '%c' is unknown", conversion);
    if (f->j->status) return false;
    size_t start = ar__j_here(f->j);
    if (memchr(rest.data, '{', rest.size)) { /* fields in the specifier */
        ar_jstr *made = f->depth ? NULL : take_formatted(f, &rest);
        if (!made) return f->j->status ? false : ar__j_fail(f->j, "format: fields are nested too deep");
        rest = *made;
    }
    if (f->markup && rest.size && v.type == AR_J_STRING && v.s->markup) return ar__j_fail(f->j, "format: Markup takes no specifier");
    spec s;
    bool ok = !rest.size ? ar__j_put_value(f->j, v) : read_spec(&s, f->j, &rest) && put_formatted(f->j, &s, v);
    if (!ok || !f->markup || (v.type == AR_J_STRING && v.s->markup)) return ok;
    ar_jstr *text = ar__j_take(f->j, start);
    if (text) ar__j_put_escaped(f->j, text, true);
    return text != NULL;
}

static bool put_format(formatter *f, const ar_jstr *s) {
    ar_jinja *j = f->j;
    size_t from = 0;
    for (size_t at = 0; at < s->size; from = at) {
        while (at < s->size && s->data[at] != '{' && s->data[at] != '}') at++;
        ar__j_put_part(j, s, from, at);
        if (at == s->size) break;
        if (at + 1 < s->size && s->data[at + 1] == s->data[at]) {
            ar__j_put_part(j, s, at, at + 1);
            at += 2;
            continue;
        }
        if (s->data[at] == '}') return ar__j_fail(j, "format: a single '}'");
        size_t to = ++at, open = 1;
        while (to < s->size && (open += (s->data[to] == '{') - (size_t)(s->data[to] == '}'))) to++;
        if (to == s->size) return ar__j_fail(j, "format: a single '{'");
        ar_jstr inside = {.data = s->data + at, .size = to - at, .points = -1};
        if (!put_replacement(f, &inside)) return false;
        at = to + 1;
    }
    return !j->status;
}

static ar_jstr *take_formatted(formatter *f, const ar_jstr *s) {
    size_t start = ar__j_here(f->j);
    f->depth++;
    bool ok = put_format(f, s);
    f->depth--;
    return ok ? ar__j_take(f->j, start) : NULL;
}

bool ar__j_format(ar_jvalue *out, ar_jinja *j, ar_jstr *s, const ar_jargs *args) {
    formatter f = {.j = j, .args = args, .markup = s->markup};
    size_t start = ar__j_here(j);
    return put_format(&f, s) && ar__j_take_value(out, j, start);
}
