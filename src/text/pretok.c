#include "text/pretok.h"

#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "text/bytemap.h"
#include "text/utf8.h"

/* Receives the alternating stretches of one piece and emits new pieces as the behaviour says.  A stretch that may
 * still grow (or merge with its successor) waits in [from, to). */
typedef struct cutter {
    ar_split behavior;
    bool invert, waiting, last_match;
    size_t from, to;
    const ar_piece *piece;
    ar_pieces *out;
} cutter;

static void emit(cutter *c, size_t from, size_t to) {
    if (from == to) return;
    ar__pieces_add(c->out, (ar_piece){.at = c->piece->at + from, .len = to - from, .id = -1, .first = c->piece->first && from == 0});
}

static void flush(cutter *c) {
    if (c->waiting) emit(c, c->from, c->to);
    c->waiting = false;
}

static void stretch(cutter *c, size_t from, size_t to, bool match) {
    match ^= c->invert;
    switch (c->behavior) {
    case AR_SPLIT_REMOVED:
        if (!match) emit(c, from, to);
        return;
    case AR_SPLIT_ISOLATED: emit(c, from, to); return;
    case AR_SPLIT_CONTIGUOUS:
    case AR_SPLIT_PREVIOUS: {
        bool grow = c->behavior == AR_SPLIT_CONTIGUOUS ? match == c->last_match : match && !c->last_match;
        if (c->waiting && grow)
            c->to = to;
        else {
            flush(c);
            c->from = from;
            c->to = to;
            c->waiting = true;
        }
        c->last_match = match;
        return;
    }
    case AR_SPLIT_NEXT:
        if (c->waiting && !match) {
            emit(c, c->from, to);
            c->waiting = false;
        } else if (!match)
            emit(c, from, to);
        else {
            flush(c);
            c->from = from;
            c->to = to;
            c->waiting = true;
        }
        return;
    }
}

static ar_status cut_pattern(cutter *c, const ar_pretok_step *step, const char *text, size_t n, ar_matcher *matcher, ar_error *err) {
    ar_scan scan = {.pattern = step->pattern, .matcher = matcher, .text = text, .n = n};
    size_t last = 0, from, to;
    int r;
    while ((r = ar__scan_next(&scan, &from, &to, err)) == 1) {
        if (last != from) stretch(c, last, from, false);
        stretch(c, from, to, true);
        last = to;
    }
    if (r < 0) return AR_ERR_UNSUPPORTED;
    if (last != n) stretch(c, last, n, false);
    return AR_OK;
}

static void cut_class(cutter *c, uint32_t mask, const char *text, size_t n, const ar_unicode *unicode) {
    size_t last = 0, len;
    for (size_t i = 0; i < n; i += len) {
        uint32_t point = ar__utf8_get(text + i, &len);
        if (!(ar__unicode_get(unicode, point) & mask)) continue;
        if (last < i) stretch(c, last, i, false);
        stretch(c, i, i + len, true);
        last = i + len;
    }
    if (last < n) stretch(c, last, n, false);
}

/* 0: \s, 1: \w, 2: neither, as Rust's regex crate sees them. */
static int word_kind(const ar_unicode *unicode, const char *s, size_t *len) {
    uint32_t v = ar__unicode_get(unicode, ar__utf8_get(s, len));
    return v & AR_UC_RUST_WORD ? 1 : v & AR_UC_SPACE ? 0 : 2;
}

static void cut_words(cutter *c, const char *text, size_t n, const ar_unicode *unicode) {
    size_t len;
    for (size_t i = 0; i < n;) {
        size_t from = i;
        int kind = word_kind(unicode, text + i, &len);
        for (i += len; i < n && word_kind(unicode, text + i, &len) == kind; i += len) {}
        if (kind) emit(c, from, i);
    }
}

static ar_status cut_piece(const ar_pretok_step *step, const ar_pieces *in, const ar_piece *piece, ar_pieces *out, ar_matcher *matcher,
                           const ar_unicode *unicode, ar_error *err) {
    cutter c = {.behavior = step->behavior, .invert = step->invert, .piece = piece, .out = out};
    const char *text = in->text.data + piece->at;
    ar_status s = AR_OK;
    if (step->kind == AR_PRETOK_PATTERN)
        s = cut_pattern(&c, step, text, piece->len, matcher, err);
    else if (step->kind == AR_PRETOK_CLASS)
        cut_class(&c, step->mask, text, piece->len, unicode);
    else
        cut_words(&c, text, piece->len, unicode);
    flush(&c);
    return s;
}

/* Appends a copy in which every space is the mark. */
static void put_marked(ar_buf *out, const char *s, size_t n, const char *mark) {
    while (n) {
        const char *space = memchr(s, ' ', n);
        size_t k = space ? (size_t)(space - s) : n;
        ar__buf_add(out, s, k);
        if (!space) return;
        ar__buf_puts(out, mark);
        s += k + 1;
        n -= k + 1;
    }
}

static void rewrite_piece(const ar_pretok_step *step, const ar_piece *piece, const char *s, ar_buf *out, bool no_prefix) {
    bool skip = no_prefix && piece->first;
    size_t mark_len = strlen(step->mark);
    switch (step->kind) {
    case AR_PRETOK_PREFIX_SPACE:
        if (s[0] != ' ') ar__buf_puts(out, " ");
        ar__buf_add(out, s, piece->len);
        return;
    case AR_PRETOK_META: {
        bool marked = s[0] == ' ' || (piece->len >= mark_len && memcmp(s, step->mark, mark_len) == 0);
        bool wanted = step->prepend == AR_PREPEND_ALWAYS || (step->prepend == AR_PREPEND_FIRST && piece->first);
        if (wanted && !marked && !skip) ar__buf_puts(out, step->mark);
        put_marked(out, s, piece->len, step->mark);
        return;
    }
    default: ar__bytemap_put(out, s, piece->len);
    }
}

/* Places up to the end of the piece, which is to begin at `at`: the first place behind it. */
static size_t move_places(const ar_pretok_step *step, const ar_piece *p, const char *s, size_t at, bool no_prefix, ar_track *t,
                          size_t place) {
    for (; place < t->count && t->now[place] < p->at + p->len; place++) {
        size_t offset = t->now[place] > p->at ? t->now[place] - p->at : 0;
        ar_piece before = *p;
        before.len = offset;
        ar__buf_clear(&t->part);
        if (offset && p->id < 0) rewrite_piece(step, &before, s, &t->part, no_prefix);
        t->now[place] = at + (p->id < 0 ? t->part.len : offset);
    }
    return place;
}

/* A step that changes text writes the pieces behind one another into the spare buffer; ids keep their place. */
static void rewrite_all(const ar_pretok_step *step, ar_pieces *pieces, ar_pieces *spare, bool no_prefix, ar_track *track) {
    size_t place = 0;
    for (size_t i = 0; i < pieces->count; i++) {
        ar_piece *p = &pieces->piece[i];
        size_t at = spare->text.len;
        const char *s = pieces->text.data + p->at;
        if (p->id < 0)
            rewrite_piece(step, p, s, &spare->text, no_prefix);
        else if (track)
            ar__buf_add(&spare->text, s, p->len);
        if (track) place = move_places(step, p, s, at, no_prefix, track, place);
        p->at = at;
        p->len = spare->text.len - at;
    }
    for (; track && place < track->count; place++) track->now[place] = spare->text.len;
    ar_buf text = pieces->text;
    pieces->text = spare->text;
    spare->text = text;
}

static ar_status cut_all(const ar_pretok_step *step, ar_pieces *pieces, ar_pieces *spare, ar_matcher *matcher, const ar_unicode *unicode,
                         ar_error *err) {
    ar_status s = AR_OK;
    for (size_t i = 0; !s && i < pieces->count; i++) {
        if (pieces->piece[i].id >= 0)
            ar__pieces_add(spare, pieces->piece[i]);
        else
            s = cut_piece(step, pieces, &pieces->piece[i], spare, matcher, unicode, err);
    }
    ar_pieces was = *pieces; /* the pieces move, the text stays */
    *pieces = *spare;
    *spare = was;
    ar_buf text = pieces->text;
    pieces->text = spare->text;
    spare->text = text;
    return s;
}

ar_status ar__pretok_run(const ar_pretok *p, ar_pieces *pieces, ar_pieces *spare, ar_matcher *matcher, const ar_unicode *unicode,
                         bool no_prefix, ar_track *track, ar_error *err) {
    ar_status s = AR_OK;
    for (size_t i = 0; !s && i < p->count; i++) {
        ar__pieces_clear(spare);
        if (p->step[i].kind >= AR_PRETOK_PREFIX_SPACE)
            rewrite_all(&p->step[i], pieces, spare, no_prefix, track);
        else
            s = cut_all(&p->step[i], pieces, spare, matcher, unicode, err);
        if (!s && (pieces->failed || spare->failed || pieces->text.failed)) s = ar__fail_memory(err, "tokenize");
    }
    return s;
}

void ar__pieces_release(ar_pieces *p) {
    ar__buf_release(&p->text);
    free(p->piece);
    *p = (ar_pieces){0};
}

void ar__pretok_release(ar_pretok *p) {
    for (size_t i = 0; i < p->count; i++) ar__pattern_free(p->step[i].pattern);
    free(p->step);
    *p = (ar_pretok){0};
}
