#include "text/template/lex.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "text/template/escape.h"
#include "text/utf8.h"

static ar_status fail(const ar_jlexer *x, const char *what) {
    return ar__fail(x->err, AR_ERR_FORMAT, "line %u: %s", (unsigned)x->line, what);
}

static ar_jtoken *add(ar_jlexer *x, ar_jlexeme kind, const char *text, size_t size) {
    ar_jtoken *grown = ar__jpool_grow(x->pool, x->token, &x->cap, x->count + 1, sizeof *grown);
    if (!grown) return NULL;
    x->token = grown;
    grown[x->count] = (ar_jtoken){.kind = kind, .line = x->line, .text = text, .size = size};
    return &grown[x->count++];
}

static size_t space_at(const ar_jlexer *x, size_t at) {
    size_t len = 0;
    return at < x->n && ar__j_is_space(ar__utf8_get(x->s + at, &len)) ? len : 0;
}

static size_t skip_space(const ar_jlexer *x, size_t at) {
    for (size_t k; (k = space_at(x, at)) != 0;) at += k;
    return at;
}

static bool stands(const ar_jlexer *x, size_t at, const char *what) {
    size_t n = strlen(what);
    return x->n - at >= n && !memcmp(x->s + at, what, n);
}

/* Moves on to `to`, counting lines. */
static void advance(ar_jlexer *x, size_t to) {
    for (size_t i = x->at; i < to; i++) x->line += x->s[i] == '\n';
    if (to > x->at) x->line_starts = x->s[to - 1] == '\n';
    x->at = to;
}

/* ---- text between brackets -----------------------------------------------------------------------------------------*/

/* The text [from, to) before a bracket with that sign, without what the bracket takes of it. */
static size_t trimmed(const ar_jlexer *x, size_t from, size_t to, char sign, bool print) {
    if (sign == '-') {
        while (to > from) {
            size_t back = ar__utf8_back(x->s, to), len;
            if (back < from || !ar__j_is_space(ar__utf8_get(x->s + back, &len))) break;
            to = back;
        }
        return to;
    }
    if (sign == '+' || print) return to;
    size_t line = to;
    while (line > from && x->s[line - 1] != '\n') line--;
    if (line == from && !x->line_starts) return to;
    return skip_space(x, line) >= to ? line : to;
}

static ar_status add_data(ar_jlexer *x, size_t from, size_t to) {
    if (from < to && !add(x, AR_L_DATA, x->s + from, to - from)) return ar__fail_memory(x->err, "template");
    return AR_OK;
}

/* `{%- raw %}` at that place: the place behind it, 0 where it is something else. */
static size_t raw_begin(const ar_jlexer *x, size_t at) {
    size_t i = at + 2;
    if (x->s[i] == '-' || x->s[i] == '+') i++;
    i = skip_space(x, i);
    if (!stands(x, i, "raw")) return 0;
    i = skip_space(x, i + 3);
    if (stands(x, i, "-%}")) return skip_space(x, i + 3);
    return stands(x, i, "%}") ? i + 2 : 0;
}

/* Behind the end of a tag or comment whose closing text (without sign) is `close`; 0: it does not end here. */
static size_t tag_end(const ar_jlexer *x, size_t at, const char *close) {
    bool signed_ = x->s[at] == '-' || x->s[at] == '+';
    if (!stands(x, at + signed_, close)) return 0;
    size_t end = at + signed_ + strlen(close);
    if (x->s[at] == '-') return skip_space(x, end);
    return x->s[at] != '+' && x->s[end] == '\n' && end < x->n ? end + 1 : end;
}

/* `{%- endraw -%}` at that place: the place behind it, or 0. */
static size_t raw_end(const ar_jlexer *x, size_t at) {
    size_t i = at + 2;
    if (!stands(x, at, "{%")) return 0;
    if (x->s[i] == '-' || x->s[i] == '+') i++;
    i = skip_space(x, i);
    return stands(x, i, "endraw") ? tag_end(x, skip_space(x, i + 6), "%}") : 0;
}

static ar_status read_raw(ar_jlexer *x) {
    size_t from = x->at;
    for (size_t i = from; i < x->n; i++) {
        size_t end = raw_end(x, i);
        if (!end) continue;
        char sign = x->s[i + 2];
        ar_status s = add_data(x, from, trimmed(x, from, i, sign, false));
        advance(x, end);
        return s;
    }
    return fail(x, "{% raw %} is not closed, wanted {% endraw %}");
}

static ar_status read_comment(ar_jlexer *x) {
    for (size_t i = x->at; i + 1 < x->n; i++) {
        size_t end = tag_end(x, i, "#}");
        if (!end) continue;
        advance(x, end);
        return AR_OK;
    }
    return fail(x, "a comment is not closed, wanted #}");
}

/* ---- inside brackets -----------------------------------------------------------------------------------------------*/

static const struct {
    char text[3];
    ar_jlexeme kind;
} operators[] = {
    {"//", AR_L_FLOORDIV}, {"**", AR_L_POW},      {"==", AR_L_EQ},    {"!=", AR_L_NE},       {">=", AR_L_GE},     {"<=", AR_L_LE},
    {"+", AR_L_ADD},       {"-", AR_L_SUB},       {"*", AR_L_MUL},    {"/", AR_L_DIV},       {"%", AR_L_MOD},     {"~", AR_L_TILDE},
    {"<", AR_L_LT},        {">", AR_L_GT},        {"=", AR_L_ASSIGN}, {".", AR_L_DOT},       {",", AR_L_COMMA},   {":", AR_L_COLON},
    {";", AR_L_SEMICOLON}, {"|", AR_L_PIPE},      {"(", AR_L_PAREN},  {")", AR_L_PAREN_END}, {"[", AR_L_BRACKET}, {"]", AR_L_BRACKET_END},
    {"{", AR_L_BRACE},     {"}", AR_L_BRACE_END},
};

static bool is_digit(char c) { return c >= '0' && c <= '9'; }
static bool is_word(char c) {
    return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || (unsigned char)c >= 0x80;
}

/* Digits of a base with single underlines between them: their end. */
static size_t digits(const ar_jlexer *x, size_t at, const char *allowed) {
    size_t i = at;
    while (i < x->n && x->s[i] && (strchr(allowed, x->s[i]) || (x->s[i] == '_' && i > at && x->s[i + 1] && strchr(allowed, x->s[i + 1]))))
        i++;
    return i;
}

/* The end of a float at that place; `at` where there is none. */
static size_t float_end(const ar_jlexer *x, size_t at) {
    static const char decimal[] = "0123456789";
    if (at && x->s[at - 1] == '.') return at;
    size_t whole = digits(x, at, decimal), end = whole;
    if (x->s[whole] == '.' && is_digit(x->s[whole + 1])) end = digits(x, whole + 1, decimal);
    if (x->s[end] == 'e' || x->s[end] == 'E') {
        size_t sign = x->s[end + 1] && strchr("+-", x->s[end + 1]) ? 1 : 0;
        if (is_digit(x->s[end + 1 + sign])) return digits(x, end + 1 + sign, decimal);
    }
    return end > whole ? end : at;
}

static void without_underlines(ar_buf *out, const char *s, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (s[i] != '_') ar__buf_add(out, s + i, 1);
}

static size_t integer_end(const ar_jlexer *x, size_t at, int *base) {
    static const struct {
        char letter;
        int base;
        const char *digits;
    } bases[] = {{'b', 2, "01"}, {'o', 8, "01234567"}, {'x', 16, "0123456789abcdefABCDEF"}};
    *base = 10;
    for (size_t k = 0; x->s[at] == '0' && k < 3; k++) {
        if ((x->s[at + 1] | 0x20) != bases[k].letter) continue;
        size_t from = at + 2 + (size_t)(x->s[at + 2] == '_'), end = digits(x, from, bases[k].digits);
        if (end == from) break;
        *base = bases[k].base;
        return end;
    }
    return digits(x, at, x->s[at] == '0' ? "0" : "0123456789");
}

static ar_status read_number(ar_jlexer *x) {
    int base = 10;
    size_t at = x->at, end = float_end(x, at);
    bool real = end > at;
    if (!real) end = integer_end(x, at, &base);
    ar_buf text = {0};
    without_underlines(&text, x->s + at + (base == 10 ? 0 : 2), end - at - (base == 10 ? 0 : 2));
    ar_jtoken *t = text.failed ? NULL : add(x, real ? AR_L_FLOAT : AR_L_INT, x->s + at, end - at);
    errno = 0;
    if (t && text.data && real)
        t->f = strtod(text.data, NULL);
    else if (t && text.data)
        t->i = strtoll(text.data, NULL, base);
    bool large = !real && errno == ERANGE;
    ar__buf_release(&text);
    advance(x, end);
    if (!t) return ar__fail_memory(x->err, "template");
    return large ? fail(x, "found an integer of more than 64 bits, which is not supported") : AR_OK;
}

static ar_status read_string(ar_jlexer *x) {
    char quote = x->s[x->at];
    size_t end = x->at + 1;
    while (end < x->n && x->s[end] != quote) end += x->s[end] == '\\' ? 2 : 1;
    if (end >= x->n) return fail(x, "a string is not closed");
    ar_buf text = {0};
    const char *problem = ar__j_unescape(&text, x->s + x->at + 1, end - x->at - 1);
    char *kept = text.failed || problem ? NULL : ar__jpool_take(x->pool, text.len + 1);
    if (kept && text.len) memcpy(kept, text.data, text.len);
    size_t size = text.len;
    ar__buf_release(&text);
    if (problem) return fail(x, problem);
    if (!kept || !add(x, AR_L_STRING, kept, size)) return ar__fail_memory(x->err, "template");
    advance(x, end + 1);
    return AR_OK;
}

/* Inside a bracket of an expression, the end of a tag is two operators. */
static ar_status balance(ar_jlexer *x, ar_jlexeme kind) {
    static const char pairs[] = "()[]{}";
    if (kind < AR_L_PAREN) return AR_OK;
    char c = pairs[kind - AR_L_PAREN];
    if ((kind - AR_L_PAREN) % 2 == 0) {
        if (x->open == sizeof x->close) return fail(x, "brackets are nested too deep");
        x->close[x->open++] = pairs[kind - AR_L_PAREN + 1];
    } else if (!x->open || x->close[--x->open] != c) {
        char what[] = "unexpected ' '";
        what[12] = c;
        return fail(x, what);
    }
    return AR_OK;
}

static ar_status read_operator(ar_jlexer *x) {
    for (size_t i = 0; i < sizeof operators / sizeof *operators; i++) {
        if (!stands(x, x->at, operators[i].text)) continue;
        ar_status s = balance(x, operators[i].kind);
        if (!s && !add(x, operators[i].kind, x->s + x->at, strlen(operators[i].text))) s = ar__fail_memory(x->err, "template");
        advance(x, x->at + strlen(operators[i].text));
        return s;
    }
    char what[] = "unexpected character ' '";
    what[22] = x->s[x->at];
    return fail(x, (unsigned char)x->s[x->at] < 0x80 && x->s[x->at] >= ' ' ? what : "unexpected character");
}

static ar_status read_token(ar_jlexer *x) {
    char c = x->s[x->at];
    if (space_at(x, x->at)) {
        advance(x, skip_space(x, x->at));
        return AR_OK;
    }
    if (is_digit(c)) return read_number(x);
    if (c == '"' || c == '\'') return read_string(x);
    if (!is_word(c)) return read_operator(x);
    size_t end = x->at;
    while (end < x->n && is_word(x->s[end])) end++;
    if (!add(x, AR_L_NAME, x->s + x->at, end - x->at)) return ar__fail_memory(x->err, "template");
    advance(x, end);
    return AR_OK;
}

static size_t print_end(const ar_jlexer *x) {
    if (stands(x, x->at, "-}}")) return skip_space(x, x->at + 3);
    return stands(x, x->at, "}}") ? x->at + 2 : 0;
}

/* What is between {{ and }} or {% and %}. */
static ar_status read_inside(ar_jlexer *x, bool print) {
    if (!add(x, print ? AR_L_PRINT : AR_L_TAG, x->s + x->at, 0)) return ar__fail_memory(x->err, "template");
    ar_status s = AR_OK;
    for (x->open = 0; !s && x->at < x->n;) {
        size_t end = x->open ? 0 : print ? print_end(x) : tag_end(x, x->at, "%}");
        if (end) {
            if (!add(x, print ? AR_L_PRINT_END : AR_L_TAG_END, x->s + x->at, 0)) return ar__fail_memory(x->err, "template");
            advance(x, end);
            return AR_OK;
        }
        s = read_token(x);
    }
    return s ? s : fail(x, print ? "an expression is not closed, wanted }}" : "a tag is not closed, wanted %}");
}

/* The next bracket at or behind `at`. */
static size_t next_bracket(const ar_jlexer *x, size_t at) {
    for (; at + 1 < x->n; at++)
        if (x->s[at] == '{' && (x->s[at + 1] == '{' || x->s[at + 1] == '%' || x->s[at + 1] == '#')) return at;
    return x->n;
}

ar_status ar__j_lex(ar_jlexer *x) {
    ar_status s = AR_OK;
    x->line = 1;
    x->line_starts = true;
    while (!s && x->at < x->n) {
        size_t from = x->at, to = next_bracket(x, from);
        if (to == x->n) {
            s = add_data(x, from, to);
            advance(x, to);
            break;
        }
        char what = x->s[to + 1], sign = x->s[to + 2];
        size_t raw = what == '%' ? raw_begin(x, to) : 0;
        s = add_data(x, from, trimmed(x, from, to, sign, what == '{'));
        advance(x, raw ? raw : to + 2 + (sign == '-' || sign == '+'));
        if (s) break;
        s = raw ? read_raw(x) : what == '#' ? read_comment(x) : read_inside(x, what == '{');
    }
    return s || add(x, AR_L_END, x->s + x->n, 0) ? s : ar__fail_memory(x->err, "template");
}
