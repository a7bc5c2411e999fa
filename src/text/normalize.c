#include "text/normalize.h"

#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "text/bytemap.h"
#include "text/utf8.h"

/* What one step sees. */
typedef struct run {
    const char *s;
    size_t n;
    ar_buf *out;
    bool *kept_start;
    ar_matcher *matcher;
    const ar_unicode *unicode;
    ar_error *err;
} run;

static ar_status replace(const ar_normal_step *step, run *r) {
    if (!r->n) return AR_OK;
    ar_scan scan = {.pattern = step->pattern, .matcher = r->matcher, .text = r->s, .n = r->n};
    size_t last = 0, from, to;
    int found;
    while ((found = ar__scan_next(&scan, &from, &to, r->err)) == 1) {
        ar__buf_add(r->out, r->s + last, from - last);
        ar__buf_add(r->out, step->text, step->text_len);
        if (from == 0 && to > ar__utf8_size(r->s[0])) *r->kept_start = false; /* stands for the last character it replaced */
        last = to;
    }
    ar__buf_add(r->out, r->s + last, r->n - last);
    return found < 0 ? AR_ERR_UNSUPPORTED : AR_OK;
}

static void lower(run *r) {
    size_t len;
    for (size_t i = 0; i < r->n; i += len) {
        uint32_t c[2];
        char bytes[4];
        int n = ar__unicode_to_lower(c, ar__utf8_get(r->s + i, &len));
        for (int k = 0; k < n; k++) ar__buf_add(r->out, bytes, ar__utf8_put(bytes, c[k]));
    }
}

static bool is_space(const run *r, size_t at, size_t *len) {
    return ar__unicode_get(r->unicode, ar__utf8_get(r->s + at, len)) & AR_UC_SPACE;
}

static void strip(const ar_normal_step *step, run *r) {
    size_t from = 0, to = r->n, len;
    while (step->left && from < to && is_space(r, from, &len)) from += len;
    while (step->right && to > from && is_space(r, ar__utf8_back(r->s, to), &len)) to -= len;
    if (from) *r->kept_start = false;
    ar__buf_add(r->out, r->s + from, to - from);
}

/* Keeps what `want` maps to a code point; 0 drops (a NUL in the text maps to itself, as UINT32_MAX says). */
static void filter(run *r, uint32_t (*want)(uint32_t c, const ar_unicode *unicode)) {
    size_t len;
    for (size_t i = 0; i < r->n; i += len) {
        uint32_t c = want(ar__utf8_get(r->s + i, &len), r->unicode);
        char bytes[4];
        if (c)
            ar__buf_add(r->out, bytes, ar__utf8_put(bytes, c == UINT32_MAX ? 0 : c));
        else if (!r->out->len)
            *r->kept_start = false;
    }
}

static uint32_t without_marks(uint32_t c, const ar_unicode *unicode) {
    if (ar__unicode_get(unicode, c) & AR_UC_MARK) return 0;
    return c ? c : UINT32_MAX;
}

/* The clean-up of SentencePiece's nmt rules. */
static uint32_t nmt(uint32_t c, const ar_unicode *unicode) {
    (void)unicode;
    if ((c >= 1 && c <= 8) || c == 0x0B || (c >= 0x0E && c <= 0x1F) || c == 0x7F || c == 0x8F || c == 0x9F) return 0;
    if (c == 9 || c == 0x0A || c == 0x0C || c == 0x0D || c == 0x1680 || (c >= 0x200B && c <= 0x200F) || c == 0x2028 || c == 0x2029 ||
        c == 0x2581 || c == 0xFEFF || c == 0xFFFD)
        return ' ';
    return c ? c : UINT32_MAX;
}

static bool is_jamo(uint32_t c) { return (c >= 0x1100 && c <= 0x11FF) || (c >= 0xA960 && c <= 0xA97C) || (c >= 0xD7B0 && c <= 0xD7FB); }

/* Whether a grapheme goes on from a to b (Unicode annex 29).  Only clusters below six bytes are ever looked up whole, so the rules
 * for flags, emoji sequences and Indic conjuncts, whose clusters are longer, need no exactness beyond "longer". */
static bool joined(const ar_unicode *unicode, uint32_t a, uint32_t b) {
    uint32_t va = ar__unicode_get(unicode, a), vb = ar__unicode_get(unicode, b);
    if (a == 0x0D && b == 0x0A) return true;
    if ((va | vb) & AR_UC_CONTROL) return false;
    if (vb & AR_UC_JOIN || va & AR_UC_PREPEND) return true;
    return is_jamo(b) && (is_jamo(a) || (a >= 0xAC00 && a <= 0xD7A3));
}

static void charsmap(const ar_charsmap *map, run *r) {
    const char *to;
    size_t to_len, len;
    for (size_t i = 0; i < r->n;) {
        size_t end = i;
        uint32_t last = ar__utf8_get(r->s + i, &len);
        for (end += len; end < r->n; end += len) {
            uint32_t next = ar__utf8_get(r->s + end, &len);
            if (!joined(r->unicode, last, next)) break;
            last = next;
        }
        /* Hugging Face asks with the whole cluster, takes the shortest key that fits, and drops the rest. */
        if (end - i < 6 && ar__charsmap_find(map, r->s + i, end - i, false, &to, &to_len)) {
            ar__buf_add(r->out, to, to_len);
            i = end;
        }
        for (; i < end; i += len) {
            len = ar__utf8_size(r->s[i]);
            if (ar__charsmap_find(map, r->s + i, len, false, &to, &to_len))
                ar__buf_add(r->out, to, to_len);
            else
                ar__buf_add(r->out, r->s + i, len);
        }
    }
}

static ar_status run_step(const ar_normal_step *step, run *r, bool no_prefix) {
    switch (step->kind) {
    case AR_NORMAL_FORM: ar__form_put(r->out, step->form, r->s, r->n, r->unicode); break;
    case AR_NORMAL_PREPEND:
        if (r->n && !no_prefix) ar__buf_add(r->out, step->text, step->text_len);
        ar__buf_add(r->out, r->s, r->n);
        break;
    case AR_NORMAL_REPLACE: return replace(step, r);
    case AR_NORMAL_LOWER: lower(r); break;
    case AR_NORMAL_STRIP: strip(step, r); break;
    case AR_NORMAL_STRIP_ACCENTS: filter(r, without_marks); break;
    case AR_NORMAL_NMT: filter(r, nmt); break;
    case AR_NORMAL_CHARSMAP: charsmap(&step->map, r); break;
    case AR_NORMAL_BYTES: ar__bytemap_put(r->out, r->s, r->n); break;
    }
    return AR_OK;
}

ar_status ar__normal_run(const ar_normal *normal, ar_buf *io, ar_buf *spare, bool *kept_start, ar_matcher *matcher,
                         const ar_unicode *unicode, bool no_prefix, ar_error *err) {
    for (size_t i = 0; i < normal->count; i++) {
        const ar_normal_step *step = &normal->step[i];
        if (step->kind == AR_NORMAL_FORM && ar__form_is_set(step->form, io->data, io->len, unicode)) continue;
        ar__buf_clear(spare);
        ar__buf_add(spare, "", 0);
        run r = {.s = io->data, .n = io->len, .out = spare, .kept_start = kept_start, .matcher = matcher, .unicode = unicode, .err = err};
        ar_status s = run_step(step, &r, no_prefix);
        if (s) return s;
        if (spare->failed) return ar__fail_memory(err, "normalize");
        ar_buf was = *io;
        *io = *spare;
        *spare = was;
    }
    return AR_OK;
}

void ar__normal_release(ar_normal *n) {
    for (size_t i = 0; i < n->count; i++) {
        ar__pattern_free(n->step[i].pattern);
        ar__charsmap_release(&n->step[i].map);
        free(n->step[i].text);
    }
    free(n->step);
    *n = (ar_normal){0};
}
