#include "data/scan.h"

#include <string.h>

enum { MAX_LINE = 256 << 10, MAX_DEPTH = 16, MAX_NUMBER = 40 };

typedef enum field { MESSAGES, PROMPT, COMPLETION, QUESTION, ANSWER, INSTRUCTION, INPUT, OUTPUT, TEXT, FIELDS } field;

static const char *const names[FIELDS] = {"messages",    "prompt", "completion", "question", "answer",
                                          "instruction", "input",  "output",     "text"};

/* What an object said of a field; there is false for null as well. */
typedef struct said {
    ar_extent text;
    char first;
    bool met, there;
} said;

typedef struct cursor {
    const unsigned char *p, *end;
} cursor;

static void skip_space(cursor *c) {
    while (c->p < c->end && (*c->p == ' ' || *c->p == '\t' || *c->p == '\r' || *c->p == '\n')) c->p++;
}

static bool take(cursor *c, char want) {
    skip_space(c);
    if (c->p == c->end || *c->p != (unsigned char)want) return false;
    c->p++;
    return true;
}

/* Eight bytes, none of which is a quote, a backslash, a control character or above ASCII. */
static bool is_plain(const unsigned char *p) {
    const uint64_t ones = 0x0101010101010101u, high = 0x8080808080808080u;
    uint64_t w;
    memcpy(&w, p, 8);
    uint64_t quote = w ^ ones * '"', slash = w ^ ones * '\\';
    return !((w | (w - ones * 0x20) | (quote - ones) | (slash - ones)) & high);
}

static bool hex4(uint32_t *out, cursor *c) {
    *out = 0;
    if (c->end - c->p < 4) return false;
    for (int i = 0; i < 4; i++) {
        unsigned char x = *c->p++, low = x | 0x20;
        if (x >= '0' && x <= '9')
            *out = *out << 4 | (uint32_t)(x - '0');
        else if (low >= 'a' && low <= 'f')
            *out = *out << 4 | (uint32_t)(low - 'a' + 10);
        else
            return false;
    }
    return true;
}

/* Behind a backslash. */
static bool escape(ar_extent *text, cursor *c) {
    uint32_t code, second;
    unsigned char kind = c->p < c->end ? *c->p++ : 0;
    if (kind != 'u') {
        text->ascii++;
        return kind && strchr("\"\\/bfnrt", kind);
    }
    if (!hex4(&code, c) || code == 0) return false;
    if (code < 0x80) {
        text->ascii++;
        return true;
    }
    text->other += code < 0x800 ? 2 : 3;
    if (code < 0xd800 || code > 0xdfff) return true;
    text->other++;
    if (code > 0xdbff || c->end - c->p < 6 || *c->p++ != '\\' || *c->p++ != 'u') return false;
    return hex4(&second, c) && second >= 0xdc00 && second <= 0xdfff;
}

/* Behind the opening quote; the line is known to be UTF-8. */
static bool string(ar_extent *text, cursor *c) {
    *text = (ar_extent){0};
    for (;;) {
        while (c->end - c->p >= 8 && is_plain(c->p)) c->p += 8, text->ascii += 8;
        if (c->p == c->end || *c->p < 0x20) return false;
        unsigned char b = *c->p++;
        if (b == '"') return true;
        if (b == '\\') {
            if (!escape(text, c)) return false;
        } else if (b < 0x80) {
            text->ascii++;
        } else {
            text->other++;
        }
    }
}

static size_t digits(cursor *c) {
    const unsigned char *from = c->p;
    while (c->p < c->end && *c->p >= '0' && *c->p <= '9') c->p++;
    return (size_t)(c->p - from);
}

static bool number(cursor *c) {
    const unsigned char *from = c->p;
    if (*c->p == '-') c->p++;
    bool zero = c->p < c->end && *c->p == '0';
    size_t whole = digits(c);
    if (!whole || (zero && whole > 1)) return false;
    if (c->p < c->end && *c->p == '.') {
        c->p++;
        if (!digits(c)) return false;
    }
    return c->p - from <= MAX_NUMBER;
}

static bool word(cursor *c, const char *want) {
    size_t n = strlen(want);
    if ((size_t)(c->end - c->p) < n || memcmp(c->p, want, n) != 0) return false;
    c->p += n;
    return true;
}

static bool value(cursor *c, int depth);

static bool container(cursor *c, bool object, int depth) {
    ar_extent text;
    char close = object ? '}' : ']';
    if (depth == MAX_DEPTH) return false;
    if (take(c, close)) return true;
    do {
        if (object && (!take(c, '"') || !string(&text, c) || !take(c, ':'))) return false;
        if (!value(c, depth + 1)) return false;
    } while (take(c, ','));
    return take(c, close);
}

static bool value(cursor *c, int depth) {
    ar_extent text;
    skip_space(c);
    if (c->p == c->end) return false;
    switch (*c->p) {
    case '"': c->p++; return string(&text, c);
    case '{': c->p++; return container(c, true, depth);
    case '[': c->p++; return container(c, false, depth);
    case 't': return word(c, "true");
    case 'f': return word(c, "false");
    case 'n': return word(c, "null");
    default: return number(c);
    }
}

/* One name and its value; of the fields that count only strings and null are understood. */
static bool member(said *all, cursor *c) {
    ar_extent name;
    if (!take(c, '"')) return false;
    const unsigned char *from = c->p;
    if (!string(&name, c)) return false;
    size_t n = (size_t)(c->p - from) - 1;
    if (memchr(from, '\\', n) || !take(c, ':')) return false;
    said *s = NULL;
    for (int f = 0; f < FIELDS && !s; f++)
        if (strlen(names[f]) == n && memcmp(names[f], from, n) == 0) s = &all[f];
    if (!s) return value(c, 1);
    skip_space(c);
    if (s->met) return false;
    s->met = true;
    if (c->p < c->end && *c->p == 'n') return word(c, "null");
    if (!take(c, '"')) return false;
    s->there = true;
    s->first = c->p < c->end && *c->p != '"' ? (char)*c->p : 0;
    return string(&s->text, c);
}

static bool choose(ar_scanned *out, const said *all) {
    static const struct {
        ar_data_kind kind;
        field prompt, learned;
    } pairs[] = {{AR_DATA_COMPLETION, PROMPT, COMPLETION}, {AR_DATA_ANSWER, QUESTION, ANSWER}, {AR_DATA_ALPACA, INSTRUCTION, OUTPUT}};
    if (all[MESSAGES].there) return false;
    for (size_t i = 0; i < 3; i++) {
        const said *prompt = &all[pairs[i].prompt], *learned = &all[pairs[i].learned];
        if (!prompt->there || !learned->there) continue;
        *out = (ar_scanned){pairs[i].kind, prompt->text, learned->text, learned->first};
        if (out->kind == AR_DATA_ANSWER) out->prompt.ascii++;
        if (out->kind == AR_DATA_ALPACA) {
            out->prompt.ascii += strlen(ar__parts_alpaca_text()) + all[INPUT].text.ascii;
            out->prompt.other += all[INPUT].text.other;
        }
        return true;
    }
    *out = (ar_scanned){AR_DATA_TEXT, {0}, all[TEXT].text, all[TEXT].first};
    return all[TEXT].there;
}

bool ar__scan_line(ar_scanned *out, const ar_line *line) {
    said all[FIELDS] = {0};
    if (line->size > MAX_LINE || ar__utf8_bad_at(line->text, line->size) < line->size) return false;
    cursor c = {(const unsigned char *)line->text, (const unsigned char *)line->text + line->size};
    if (!take(&c, '{')) return false;
    do {
        if (!member(all, &c)) return false;
    } while (take(&c, ','));
    return take(&c, '}') && c.p == c.end && choose(out, all);
}
