#include "text/nfc.h"

#include <stdlib.h>

#include <utf8proc.h>

#include "text/utf8.h"

typedef struct points {
    int32_t *c;
    size_t count, cap;
    bool failed;
} points;

bool ar__form_is_set(ar_form form, const char *s, size_t n, const ar_unicode *unicode) {
    size_t i = 0, len;
    for (; i < n; i += len) {
        uint32_t c = ar__utf8_get(s + i, &len);
        if (c < 0x80) continue;
        if (form != AR_NFC || ar__unicode_get(unicode, c) & AR_UC_NFC_UNSAFE) return false;
    }
    return true;
}

static void add(points *p, int32_t c) {
    int32_t *grown = p->failed ? NULL : ar__grow(p->c, &p->cap, p->count + 1, sizeof *grown);
    if (!grown) {
        p->failed = true;
        return;
    }
    p->c = grown;
    grown[p->count++] = c;
}

static int class_of(int32_t c) { return utf8proc_get_property(c)->combining_class; }

typedef struct marked {
    int32_t c;
    int class;
    size_t at;
} marked;

static int by_class(const void *a, const void *b) {
    const marked *x = a, *y = b;
    if (x->class != y->class) return x->class < y->class ? -1 : 1;
    return x->at < y->at ? -1 : 1;
}

/* Stable sort of one run of marks by combining class; long runs must not cost their square. */
static void sort_marks(points *p, size_t from, size_t to) {
    if (to - from < 2) return;
    marked *m = ar__alloc(to - from, sizeof *m);
    if (!m) {
        p->failed = true;
        return;
    }
    for (size_t i = from; i < to; i++) m[i - from] = (marked){.c = p->c[i], .class = class_of(p->c[i]), .at = i};
    qsort(m, to - from, sizeof *m, by_class);
    for (size_t i = from; i < to; i++) p->c[i] = m[i - from].c;
    free(m);
}

/* Orders, composes and writes what has gathered since the last inert code point. */
static void finish(points *p, bool compose, ar_buf *out) {
    size_t run = 0;
    for (size_t i = 0; i <= p->count; i++) {
        if (i < p->count && class_of(p->c[i]) > 0) continue;
        sort_marks(p, run, i);
        run = i + 1;
    }
    utf8proc_ssize_t n = (utf8proc_ssize_t)p->count;
    if (compose && n) n = utf8proc_normalize_utf32(p->c, n, UTF8PROC_COMPOSE | UTF8PROC_STABLE);
    char bytes[4];
    for (utf8proc_ssize_t i = 0; i < n; i++) ar__buf_add(out, bytes, ar__utf8_put(bytes, (uint32_t)p->c[i]));
    p->count = 0;
}

static void decompose(points *p, uint32_t c, bool compat) {
    int32_t parts[32];
    int last = 0;
    utf8proc_option_t options = UTF8PROC_DECOMPOSE | UTF8PROC_STABLE | (compat ? UTF8PROC_COMPAT : 0);
    utf8proc_ssize_t n = c < 0x80 ? -1 : utf8proc_decompose_char((int32_t)c, parts, 32, options, &last);
    if (n <= 0 || n > 32) add(p, (int32_t)c);
    for (utf8proc_ssize_t k = 0; k < n && n <= 32; k++) add(p, parts[k]);
}

void ar__form_put(ar_buf *out, ar_form form, const char *s, size_t n, const ar_unicode *unicode) {
    points p = {0};
    bool compose = form == AR_NFC || form == AR_NFKC, compat = form == AR_NFKC || form == AR_NFKD;
    size_t len;
    for (size_t i = 0; i < n; i += len) {
        uint32_t c = ar__utf8_get(s + i, &len);
        if (ar__unicode_get(unicode, c) & AR_UC_INERT) {
            finish(&p, compose, out);
            ar__buf_add(out, s + i, len);
        } else
            decompose(&p, c, compat);
    }
    finish(&p, compose, out);
    if (p.failed) out->failed = true;
    free(p.c);
}
