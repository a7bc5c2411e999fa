#include "text/json_big.h"

#include <string.h>

#include "text/utf8.h"

static const char *space(const char *p, const char *end) {
    while (p < end && (*p == ' ' || *p == '\n' || *p == '\r' || *p == '\t')) p++;
    return p;
}

/* Behind the string that starts at p, NULL if there is none. */
static const char *skip_string(const char *p, const char *end) {
    if (p >= end || *p != '"') return NULL;
    for (p++; p < end; p++) {
        if (*p == '"') return p + 1;
        if (*p == '\\') p++;
    }
    return NULL;
}

/* Behind the value that starts at p.  Brackets are only counted: what is inside is read by somebody else. */
static const char *skip_value(const char *p, const char *end) {
    size_t depth = 0;
    while (p && p < end) {
        if (*p == '"')
            p = skip_string(p, end);
        else if (*p == '{' || *p == '[') {
            depth++;
            p++;
        } else if (*p == '}' || *p == ']') {
            if (!depth) return p;
            depth--;
            p++;
        } else if (!depth && *p == ',')
            return p;
        else
            p++;
        if (p && !depth && (p[-1] == '"' || p[-1] == '}' || p[-1] == ']')) return p;
    }
    return NULL;
}

/* The value of a member of the object that starts at p; false if it is not there, or there twice. */
static bool member(ar_json_span *out, const char *p, const char *end, const char *key) {
    size_t n = strlen(key);
    bool found = false;
    p = space(p, end);
    if (p >= end || *p != '{') return false;
    p = space(p + 1, end);
    while (p < end && *p == '"') {
        const char *name = p + 1;
        if (!(p = skip_string(p, end))) return false;
        bool hit = (size_t)(p - 1 - name) == n && memcmp(name, key, n) == 0;
        p = space(p, end);
        if (p >= end || *p++ != ':') return false;
        const char *value = p = space(p, end);
        if (!(p = skip_value(p, end)) || (hit && found)) return false;
        if (hit) *out = (ar_json_span){value, p};
        found |= hit;
        p = space(p, end);
        if (p < end && *p == ',') p = space(p + 1, end);
    }
    return found;
}

bool ar__json_big_find(ar_json_span *vocab, ar_json_span *merges, ar_buf *rest, const char *s, size_t n) {
    const char *end = s + n;
    ar_json_span model;
    if (!member(&model, s, end, "model") || !member(vocab, model.at, model.end, "vocab") || !member(merges, model.at, model.end, "merges"))
        return false;
    if (*vocab->at != '{' || *merges->at != '[' || ar__utf8_valid(s, n) != n) return false;
    bool vocab_first = vocab->at < merges->at;
    const ar_json_span *first = vocab_first ? vocab : merges, *second = vocab_first ? merges : vocab;
    ar__buf_add(rest, s, (size_t)(first->at - s));
    ar__buf_puts(rest, vocab_first ? "{}" : "[]");
    ar__buf_add(rest, first->end, (size_t)(second->at - first->end));
    ar__buf_puts(rest, vocab_first ? "[]" : "{}");
    ar__buf_add(rest, second->end, (size_t)(end - second->end));
    return !rest->failed;
}

static bool hex4(const char *p, const char *end, uint32_t *v) {
    *v = 0;
    for (int i = 0; i < 4; i++, p++) {
        if (p >= end) return false;
        char c = *p;
        if (c >= '0' && c <= '9')
            *v = *v * 16 + (uint32_t)(c - '0');
        else if ((c | 32) >= 'a' && (c | 32) <= 'f')
            *v = *v * 16 + (uint32_t)((c | 32) - 'a' + 10);
        else
            return false;
    }
    return true;
}

/* One escape, at behind the backslash; NULL for anything but the letters of JSON and whole code points. */
static const char *unescape(ar_buf *out, const char *p, const char *end) {
    static const char letters[] = "\"\\/bfnrt", values[] = "\"\\/\b\f\n\r\t";
    const char *hit = p < end && *p ? strchr(letters, *p) : NULL;
    if (hit) {
        ar__buf_add(out, &values[hit - letters], 1);
        return p + 1;
    }
    uint32_t c, low;
    if (p >= end || *p != 'u' || !hex4(p + 1, end, &c)) return NULL;
    p += 5;
    if (c >= 0xD800 && c < 0xDC00) {
        if (end - p < 6 || p[0] != '\\' || p[1] != 'u' || !hex4(p + 2, end, &low) || low < 0xDC00 || low > 0xDFFF) return NULL;
        c = 0x10000 + ((c - 0xD800) << 10) + (low - 0xDC00);
        p += 6;
    } else if (c >= 0xDC00 && c <= 0xDFFF)
        return NULL;
    char bytes[4];
    ar__buf_add(out, bytes, ar__utf8_put(bytes, c));
    return p;
}

static bool read_text(ar_json_walk *w, ar_json_text *out, ar_buf *buf) {
    const char *p = w->at;
    if (p >= w->end || *p != '"') return false;
    const char *start = ++p;
    while (p < w->end && *p != '"' && *p != '\\' && (unsigned char)*p >= 0x20) p++;
    if (p < w->end && *p == '"') {
        *out = (ar_json_text){start, (size_t)(p - start)};
        w->at = p + 1;
        return true;
    }
    ar__buf_clear(buf);
    while (p && p < w->end && *p == '\\') {
        ar__buf_add(buf, start, (size_t)(p - start));
        start = p = unescape(buf, p + 1, w->end);
        while (p && p < w->end && *p != '"' && *p != '\\' && (unsigned char)*p >= 0x20) p++;
    }
    if (!p || p >= w->end || *p != '"') return false;
    ar__buf_add(buf, start, (size_t)(p - start));
    *out = (ar_json_text){buf->data, buf->len};
    w->at = p + 1;
    return !buf->failed;
}

/* To the next member: 1 at one, 0 behind the end. */
static int advance(ar_json_walk *w, char open, char close) {
    w->at = space(w->at, w->end);
    if (w->at >= w->end) return -1;
    char c = *w->at++;
    if (c != (w->started ? ',' : open) && c != close) return -1;
    if (c == close) return w->started && space(w->at, w->end) == w->end ? 0 : -1;
    w->at = space(w->at, w->end);
    if (!w->started && w->at < w->end && *w->at == close) return space(w->at + 1, w->end) == w->end ? 0 : -1;
    w->started = true;
    return 1;
}

int ar__json_walk_vocab(ar_json_walk *w, ar_json_text *key, int64_t *id) {
    int r = advance(w, '{', '}');
    if (r != 1) return r;
    if (!read_text(w, key, &w->text[0])) return -1;
    w->at = space(w->at, w->end);
    if (w->at >= w->end || *w->at++ != ':') return -1;
    w->at = space(w->at, w->end);
    const char *first = w->at;
    *id = 0;
    while (w->at < w->end && *w->at >= '0' && *w->at <= '9' && w->at - first < 9) *id = *id * 10 + (*w->at++ - '0');
    bool plain = w->at > first && (*first != '0' || w->at - first == 1);
    return plain && w->at < w->end && (*w->at == ',' || *w->at == '}' || space(w->at, w->end) != w->at) ? 1 : -1;
}

int ar__json_walk_merges(ar_json_walk *w, ar_json_text *a, ar_json_text *b) {
    int r = advance(w, '[', ']');
    if (r != 1) return r;
    if (w->at < w->end && *w->at == '[') {
        w->at = space(w->at + 1, w->end);
        if (!read_text(w, a, &w->text[0])) return -1;
        w->at = space(w->at, w->end);
        if (w->at >= w->end || *w->at++ != ',') return -1;
        w->at = space(w->at, w->end);
        if (!read_text(w, b, &w->text[1])) return -1;
        w->at = space(w->at, w->end);
        return w->at < w->end && *w->at++ == ']' ? 1 : -1;
    }
    if (!read_text(w, a, &w->text[0])) return -1;
    const char *gap = memchr(a->s, ' ', a->n);
    if (!gap || (a->n >= 8 && !memcmp(a->s, "#version", 8))) return -1;
    *b = (ar_json_text){gap + 1, a->n - (size_t)(gap + 1 - a->s)};
    a->n = (size_t)(gap - a->s);
    return memchr(b->s, ' ', b->n) ? -1 : 1;
}

void ar__json_walk_release(ar_json_walk *w) {
    ar__buf_release(&w->text[0]);
    ar__buf_release(&w->text[1]);
}
