/* Oniguruma's syntax to PCRE2's: one pass, with the start of the last atom kept so that {n,m}+ (in Ruby's syntax a
 * repetition of a repetition, not a possessive one) can be wrapped. */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "text/codeset.h"
#include "text/pattern.h"
#include "text/unicode.h"
#include "text/utf8.h"

enum { MAX_DEPTH = 64, MAX_PATTERN = 1 << 16 };

typedef struct rewriter {
    const char *s;
    size_t n, at;
    ar_buf *out;
    size_t atom;             /* where in out the last atom starts */
    size_t group[MAX_DEPTH]; /* where in out each open group starts */
    int depth;
    ar_error *err;
} rewriter;

static ar_status refuse(rewriter *w, const char *what) {
    return ar__fail(w->err, AR_ERR_UNSUPPORTED, "pattern '%.*s': %s at byte %zu is not supported", w->n > 200 ? 200 : (int)w->n, w->s, what,
                    w->at);
}

static ar_status broken(rewriter *w, const char *what) {
    return ar__fail(w->err, AR_ERR_FORMAT, "pattern '%.*s': %s", w->n > 200 ? 200 : (int)w->n, w->s, what);
}

static bool next_is(const rewriter *w, const char *text) {
    size_t k = strlen(text);
    return w->n - w->at >= k && memcmp(w->s + w->at, text, k) == 0;
}

static ar_status put_set(rewriter *w, ar_codeset *set) {
    ar__codeset_sort(set);
    if (set->failed) return ar__fail_memory(w->err, "pattern");
    if (!set->count)
        ar__buf_puts(w->out, "(?!)");
    else {
        ar__buf_puts(w->out, "[");
        for (size_t i = 0; i < set->count; i++) {
            ar_coderange r = set->range[i];
            /* UTF-8 text has no surrogates, and PCRE2 does not let a class name them. */
            if (r.first >= 0xD800 && r.first <= 0xDFFF) r.first = 0xE000;
            if (r.last >= 0xD800 && r.last <= 0xDFFF) r.last = 0xD7FF;
            if (r.first <= r.last) ar__buf_printf(w->out, "\\x{%X}-\\x{%X}", (unsigned)r.first, (unsigned)r.last);
        }
        ar__buf_puts(w->out, "]");
    }
    return AR_OK;
}

/* The set behind \s, \W, \p{…}; at is on the letter.  found is false for escapes that name no set. */
static ar_status escape_set(rewriter *w, ar_codeset *set, bool *found) {
    char c = w->s[w->at];
    *found = true;
    switch (tolower((unsigned char)c)) {
    case 's': ar__codeset_posix(set, "space", 5); break;
    case 'w': ar__codeset_posix(set, "word", 4); break;
    case 'd': ar__codeset_posix(set, "digit", 5); break;
    case 'h': ar__codeset_posix(set, "xdigit", 6); break;
    case 'p': break;
    default: *found = false; return AR_OK;
    }
    w->at++;
    bool negate = isupper((unsigned char)c);
    if (c == 'p' || c == 'P') {
        const char *close = w->at < w->n && w->s[w->at] == '{' ? memchr(w->s + w->at, '}', w->n - w->at) : NULL;
        if (!close) return broken(w, "\\p without {name}");
        const char *name = w->s + w->at + 1;
        if (*name == '^') {
            negate = !negate;
            name++;
        }
        if (!ar__codeset_property(set, name, (size_t)(close - name))) {
            return ar__fail(w->err, AR_ERR_UNSUPPORTED, "pattern: \\p{%.*s} is a property that is not supported", (int)(close - name),
                            name);
        }
        w->at = (size_t)(close - w->s) + 1;
    }
    if (negate) ar__codeset_invert(set);
    return AR_OK;
}

static bool read_hex(rewriter *w, int most, uint32_t *value) {
    int digits = 0;
    *value = 0;
    while (digits < most && w->at < w->n && isxdigit((unsigned char)w->s[w->at])) {
        char c = w->s[w->at++];
        *value = *value * 16 + (uint32_t)(c <= '9' ? c - '0' : (c | 32) - 'a' + 10);
        digits++;
    }
    return digits > 0 && *value < AR_UNICODE_COUNT;
}

/* The code point behind an escape that is one character; at is on the letter and moves behind it. */
static ar_status escape_char(rewriter *w, uint32_t *c) {
    static const char letters[] = "nrtfvae0", values[] = "\n\r\t\f\v\a\x1b";
    const char *hit = strchr(letters, w->s[w->at]);
    if (w->s[w->at] == 'x' || w->s[w->at] == 'u') {
        bool four = w->s[w->at++] == 'u';
        bool braced = !four && w->at < w->n && w->s[w->at] == '{';
        w->at += braced;
        if (!read_hex(w, four ? 4 : braced ? 6 : 2, c) || (*c >= 0xD800 && *c <= 0xDFFF)) return broken(w, "a bad \\x or \\u escape");
        if (braced && (w->at >= w->n || w->s[w->at++] != '}')) return broken(w, "\\x{ without }");
        return AR_OK;
    }
    if (isalnum((unsigned char)w->s[w->at]) && !(hit && *hit)) return refuse(w, "an escape");
    if (hit && *hit) {
        *c = *hit == '0' ? 0 : (uint32_t)values[hit - letters];
        w->at++;
        return AR_OK;
    }
    size_t len;
    *c = ar__utf8_get(w->s + w->at, &len);
    w->at += len;
    return AR_OK;
}

static ar_status class_set(rewriter *w, ar_codeset *set, int depth);

/* One member of a bracket class: a set (is_char false) or a character that may start a range. */
static ar_status class_item(rewriter *w, ar_codeset *set, uint32_t *c, bool *is_char, int depth) {
    *is_char = false;
    if (next_is(w, "[:")) {
        const char *name = w->s + w->at + 2, *end = memmem(name, w->n - w->at - 2, ":]", 2);
        if (end) {
            ar_codeset part = {0};
            bool negate = *name == '^';
            name += negate;
            if (!ar__codeset_posix(&part, name, (size_t)(end - name))) return refuse(w, "a POSIX class");
            if (negate) ar__codeset_invert(&part);
            ar__codeset_add_set(set, &part);
            ar__codeset_release(&part);
            w->at = (size_t)(end - w->s) + 2;
            return AR_OK;
        }
    }
    if (w->s[w->at] == '[') {
        ar_codeset part = {0};
        w->at++;
        ar_status s = class_set(w, &part, depth + 1);
        ar__codeset_add_set(set, &part);
        ar__codeset_release(&part);
        return s;
    }
    if (w->s[w->at] == '\\') {
        if (++w->at >= w->n) return broken(w, "ends in a backslash");
        ar_codeset part = {0};
        bool found;
        ar_status s = escape_set(w, &part, &found);
        if (!s && found) ar__codeset_add_set(set, &part);
        ar__codeset_release(&part);
        if (s || found) return s;
        *is_char = true;
        if (w->s[w->at] == 'b') { /* in a class: backspace */
            *c = 8;
            w->at++;
            return AR_OK;
        }
        return escape_char(w, c);
    }
    size_t len;
    *c = ar__utf8_get(w->s + w->at, &len);
    w->at += len;
    *is_char = true;
    return AR_OK;
}

/* Adds what stands between here and the next "&&" or the closing ']'. */
static ar_status class_part(rewriter *w, ar_codeset *set, bool first, int depth) {
    while (w->at < w->n && (w->s[w->at] != ']' || first) && !next_is(w, "&&")) {
        uint32_t low = 0, high = 0;
        bool is_char;
        first = false;
        ar_status s = class_item(w, set, &low, &is_char, depth);
        if (s) return s;
        if (!is_char) continue;
        high = low;
        if (w->at + 1 < w->n && w->s[w->at] == '-' && w->s[w->at + 1] != ']') {
            size_t dash = w->at++;
            if ((s = class_item(w, set, &high, &is_char, depth))) return s;
            if (!is_char) { /* `a-\d`: the dash is itself */
                ar__codeset_add(set, '-', '-');
                high = low;
            } else if (high < low) {
                w->at = dash;
                return broken(w, "a class range that runs backwards");
            }
        }
        ar__codeset_add(set, low, high);
    }
    return AR_OK;
}

/* at is behind '['; moves behind ']'. */
static ar_status class_set(rewriter *w, ar_codeset *set, int depth) {
    if (depth > MAX_DEPTH) return refuse(w, "such deep nesting");
    bool negate = w->at < w->n && w->s[w->at] == '^';
    w->at += negate;
    ar_status s = class_part(w, set, true, depth);
    while (!s && next_is(w, "&&")) {
        ar_codeset part = {0};
        w->at += 2;
        s = class_part(w, &part, false, depth);
        if (!s) ar__codeset_intersect(set, &part);
        ar__codeset_release(&part);
    }
    if (s) return s;
    if (w->at >= w->n) return broken(w, "[ without ]");
    w->at++;
    if (negate) ar__codeset_invert(set);
    return AR_OK;
}

static ar_status put_boundary(rewriter *w, bool negate) {
    ar_codeset word = {0};
    ar_buf text = {0}, *out = w->out;
    ar__codeset_posix(&word, "word", 4);
    w->out = &text;
    ar_status s = put_set(w, &word);
    w->out = out;
    const char *set = text.data;
    if (!s && !text.failed) {
        if (negate)
            ar__buf_printf(out, "(?:(?<=%s)(?=%s)|(?<!%s)(?!%s))", set, set, set, set);
        else
            ar__buf_printf(out, "(?:(?<=%s)(?!%s)|(?<!%s)(?=%s))", set, set, set, set);
    } else if (!s)
        s = ar__fail_memory(w->err, "pattern");
    ar__codeset_release(&word);
    ar__buf_release(&text);
    return s;
}

static ar_status put_char(rewriter *w, uint32_t c) {
    ar__buf_printf(w->out, "\\x{%X}", (unsigned)c);
    return AR_OK;
}

static ar_status rewrite_escape(rewriter *w) {
    w->atom = w->out->len;
    if (++w->at >= w->n) return broken(w, "ends in a backslash");
    char c = w->s[w->at];
    if (c == 'b' || c == 'B') {
        w->at++;
        return put_boundary(w, c == 'B');
    }
    if (c == 'A' || c == 'z' || c == 'Z') {
        w->at++;
        ar__buf_printf(w->out, "\\%c", c);
        return AR_OK;
    }
    ar_codeset set = {0};
    bool found;
    ar_status s = escape_set(w, &set, &found);
    if (!s && found) s = put_set(w, &set);
    ar__codeset_release(&set);
    uint32_t point;
    if (s || found) return s;
    return (s = escape_char(w, &point)) ? s : put_char(w, point);
}

/* `(`: what kind of group, and the flags that Ruby spells differently. */
static ar_status open_group(rewriter *w) {
    static const char *const plain[] = {"(?:", "(?=", "(?!", "(?<=", "(?<!", "(?>"};
    if (w->depth == MAX_DEPTH) return refuse(w, "such deep nesting");
    size_t start = w->out->len;
    if (!next_is(w, "(?")) {
        ar__buf_puts(w->out, "(");
        w->at++;
        w->group[w->depth++] = start;
        return AR_OK;
    }
    for (size_t i = 0; i < sizeof plain / sizeof *plain; i++) {
        if (!next_is(w, plain[i])) continue;
        ar__buf_puts(w->out, plain[i]);
        w->at += strlen(plain[i]);
        w->group[w->depth++] = start;
        return AR_OK;
    }
    ar__buf_puts(w->out, "(?");
    for (w->at += 2; w->at < w->n && strchr("im-", w->s[w->at]); w->at++) {
        char c = w->s[w->at] == 'm' ? 's' : w->s[w->at]; /* Ruby's m lets the dot match a newline */
        ar__buf_add(w->out, &c, 1);
    }
    if (w->at >= w->n || (w->s[w->at] != ':' && w->s[w->at] != ')')) return refuse(w, "a kind of group");
    ar__buf_add(w->out, w->s + w->at, 1);
    if (w->s[w->at++] == ':')
        w->group[w->depth++] = start;
    else
        w->atom = w->out->len;
    return AR_OK;
}

static bool read_count(const rewriter *w, size_t *at, int *value) {
    size_t from = *at;
    *value = 0;
    while (*at < w->n && isdigit((unsigned char)w->s[*at]) && *at - from < 6) *value = *value * 10 + (w->s[(*at)++] - '0');
    return *at > from;
}

/* Puts "(?:" in front of the last atom and ")" behind it. */
static ar_status wrap_atom(rewriter *w) {
    char *tail = ar__strndup(w->out->data + w->atom, w->out->len - w->atom);
    if (!tail) return ar__fail_memory(w->err, "pattern");
    size_t n = w->out->len - w->atom;
    w->out->len = w->atom;
    ar__buf_puts(w->out, "(?:");
    ar__buf_add(w->out, tail, n);
    ar__buf_puts(w->out, ")");
    free(tail);
    return AR_OK;
}

/* `{`: a repetition if it reads like one, otherwise itself. */
static ar_status rewrite_brace(rewriter *w) {
    size_t at = w->at + 1;
    int low = 0, high = -1;
    bool has_low = read_count(w, &at, &low), comma = at < w->n && w->s[at] == ',';
    if (comma) at++;
    bool has_high = comma && read_count(w, &at, &high);
    if (at >= w->n || w->s[at] != '}' || (!has_low && !has_high) || low > 65535 || high > 65535) {
        w->atom = w->out->len;
        w->at++;
        return put_char(w, '{');
    }
    w->at = at + 1;
    if (!comma)
        ar__buf_printf(w->out, "{%d}", low);
    else if (has_high)
        ar__buf_printf(w->out, "{%d,%d}", low, high);
    else
        ar__buf_printf(w->out, "{%d,}", low);
    char next = w->at < w->n ? w->s[w->at] : '\0';
    return next == '+' || (next == '?' && !comma) ? wrap_atom(w) : AR_OK;
}

static ar_status rewrite_one(rewriter *w) {
    size_t len;
    switch (w->s[w->at]) {
    case '\\': return rewrite_escape(w);
    case '(': return open_group(w);
    case '{': return rewrite_brace(w);
    case '[': {
        ar_codeset set = {0};
        w->atom = w->out->len;
        w->at++;
        ar_status s = class_set(w, &set, 0);
        if (!s) s = put_set(w, &set);
        ar__codeset_release(&set);
        return s;
    }
    case ')':
        if (!w->depth) return broken(w, ") without (");
        w->atom = w->group[--w->depth];
        break;
    case '*':
    case '+':
    case '?': break;
    default: w->atom = w->out->len;
    }
    ar__utf8_get(w->s + w->at, &len);
    ar__buf_add(w->out, w->s + w->at, len);
    w->at += len;
    return AR_OK;
}

ar_status ar__pattern_rewrite(ar_buf *out, const char *s, size_t n, ar_error *err) {
    rewriter w = {.s = s, .n = n, .out = out, .err = err};
    if (n > MAX_PATTERN) return ar__fail(err, AR_ERR_UNSUPPORTED, "pattern of %zu bytes: longer than %d", n, MAX_PATTERN);
    ar__buf_add(out, "", 0);
    while (w.at < n) {
        ar_status status = rewrite_one(&w);
        if (status) return status;
        if (out->failed) return ar__fail_memory(err, "pattern");
    }
    return w.depth ? broken(&w, "( without )") : AR_OK;
}
