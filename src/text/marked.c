#include "text/marked.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "text/template/run.h"
#include "text/tokenizer_impl.h"
#include "text/utf8.h"

static bool is_blank(const char *s, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (!strchr(" \t\n\r", s[i])) return false;
    return true;
}

ar_status ar__control_init(ar_control *out, const ar_tokenizer *tk, const ar_template *t, ar_error *err) {
    const ar_added *a = &tk->added;
    out->token = ar__alloc(a->count + 1, 1);
    if (!out->token) return ar__fail_memory(err, "tokenizer");
    for (size_t i = 0; i < a->count; i++) {
        size_t n;
        const char *text = ar__vocab_text(&a->number, (int32_t)i, &n);
        bool written = text && !is_blank(text, n) && ar__template_writes(t, text, n);
        int32_t id = text ? ar_tokenizer_find(tk, text) : -1;
        bool special = a->token[i].special || (id >= 0 && (id == tk->bos || id == tk->eos)); /* whatever the flag says */
        out->token[i] = special ? AR_TOKEN_SPECIAL : written ? AR_TOKEN_WRITTEN : AR_TOKEN_ORDINARY;
    }
    return AR_OK;
}

void ar__control_release(ar_control *c) {
    free(c->token);
    *c = (ar_control){0};
}

/* ---- which tokens touch ------------------------------------------------------------------------------------------*/

typedef struct marking {
    ar_buf *learned;
    const ar_tokenizer *tk;
    const ar_track *track;
    size_t cursor;
} marking;

static void mark(marking *m, size_t from, size_t to) {
    char touches = ar__track_touches(m->track, from, to, &m->cursor);
    ar__buf_add(m->learned, &touches, 1);
}

/* The bytes of s that a token stands for.  A token of the vocabulary stands there as it is; one for a byte is that byte; one for what is
 * unknown is as many characters as it takes until the next token (-1: none) stands there. */
static size_t token_size(const ar_tokenizer *tk, int32_t id, int32_t next, const char *s, size_t n) {
    size_t size, next_size = 0, at = 0;
    unsigned byte;
    const char *text = ar__vocab_text(&tk->vocab, id, &size), *behind = next < 0 ? NULL : ar__vocab_text(&tk->vocab, next, &next_size);
    if (text && size && size <= n && !memcmp(text, s, size)) return size;
    if (text && size == 6 && n && sscanf(text, "<0x%2X>", &byte) == 1 && byte == (unsigned char)*s) return 1;
    if (!behind) return n;
    do at += ar__utf8_size(s[at]);
    while (at < n && !(next_size <= n - at && !memcmp(behind, s + at, next_size)));
    return at < n ? at : n;
}

/* Without the white space at its ends, which the byte alphabet spells Ġ (trim_offsets).  A token of spaces alone is empty, at its end. */
static void trim(size_t *from, size_t *to, const char *s) {
    size_t len;
    while (*from < *to) {
        uint32_t c = ar__utf8_get(s + *from, &len);
        if (c != 0x120 && !ar__j_is_space(c)) break;
        *from += len;
    }
    while (*to > *from) {
        size_t back = ar__utf8_back(s, *to);
        uint32_t c = ar__utf8_get(s + back, &len);
        if (c != 0x120 && !ar__j_is_space(c)) break;
        *to = back;
    }
}

/* The tokens ids[first…] that the text s [n] became, which lies at `at` of what is followed. */
static void mark_tokens(marking *m, const ar_ids *ids, size_t first, const char *s, size_t n, size_t at) {
    size_t from = 0;
    for (size_t i = first; i < ids->count; i++) {
        int32_t next = i + 1 < ids->count ? ids->id[i + 1] : -1;
        size_t to = from + token_size(m->tk, ids->id[i], next, s + from, n - from), inner_from = from, inner_to = to;
        if (m->tk->trims) trim(&inner_from, &inner_to, s);
        mark(m, at + inner_from, at + inner_to);
        from = to;
    }
}

static ar_status encode_json(ar_ids *ids, marking *m, const char *text, size_t n, ar_scratch *w, ar_error *err) {
    ar_status s = ar__tokenizer_cut(m->tk, text, n, false, w, &w->track, err);
    for (size_t i = 0; !s && i < w->pieces.count; i++) {
        ar_piece p = w->pieces.piece[i];
        size_t first = ids->count;
        if (p.id < 0) {
            s = ar__tokenizer_run(ids, m->tk, w->pieces.text.data + p.at, p.len, w, err);
            if (!s) mark_tokens(m, ids, first, w->pieces.text.data + p.at, p.len, p.at);
        } else if (ar__ids_add(ids, p.id)) {
            size_t from = 0, to = p.len;
            if (m->tk->trims) trim(&from, &to, w->pieces.text.data + p.at);
            mark(m, p.at + from, p.at + to);
        } else {
            s = ar__fail_memory(err, "tokenize");
        }
    }
    return s;
}

/* ---- SentencePiece -----------------------------------------------------------------------------------------------*/

/* A text on its way: cut at the control pieces that the template wrote; what is between them is normalised, one behind the other. */
typedef struct passage {
    const char *text;
    size_t n, at;   /* at: so much of the normalised text is made */
    bool no_prefix; /* of the next stretch */
    ar_scratch *w;
} passage;

/* Places up to `to` lie at p->at and behind it; before each, the text from `from` on was normalised alone. */
static void move_places(marking *m, passage *p, ar_track *t, size_t from, size_t to) {
    for (; t->moved < t->count && t->source[t->moved] < to; t->moved++) {
        size_t before = t->source[t->moved] - from;
        ar__buf_clear(&t->part);
        if (before) ar__spm_normalize(&t->part, &m->tk->spm, p->text + from, before, p->no_prefix);
        t->now[t->moved] = p->at + t->part.len;
    }
}

static ar_status encode_stretch(ar_ids *ids, marking *m, passage *p, size_t from, size_t to, ar_error *err) {
    ar_buf *made = &p->w->text;
    size_t first = ids->count;
    if (p->text[from] == ' ') p->no_prefix = true; /* it has one */
    ar__buf_clear(made);
    ar__buf_add(made, "", 0);
    ar__spm_normalize(made, &m->tk->spm, p->text + from, to - from, p->no_prefix);
    move_places(m, p, &p->w->track, from, to);
    if (made->failed || p->w->track.part.failed) return ar__fail_memory(err, "tokenize");
    ar_status s = ar__tokenizer_run_spm(ids, m->tk, made->data, made->len, p->w, err);
    if (!s) mark_tokens(m, ids, first, made->data, made->len, p->at);
    p->at += made->len;
    return s;
}

static ar_status encode_control(ar_ids *ids, marking *m, passage *p, int32_t id, size_t from, size_t to, ar_error *err) {
    ar_track *t = &p->w->track;
    for (; t->moved < t->count && t->source[t->moved] < to; t->moved++) t->now[t->moved] = p->at + t->source[t->moved] - from;
    if (!ar__ids_add(ids, id)) return ar__fail_memory(err, "tokenize");
    mark(m, p->at, p->at + to - from);
    p->at += to - from;
    p->no_prefix = !m->tk->spm.legacy; /* as in transformers: templates write the spaces that are wanted */
    return AR_OK;
}

static bool wrote_all(const ar_track *t, size_t from, size_t to) {
    for (size_t i = 0; i < t->count && t->source[i] < to; i++) {
        size_t end = i + 1 < t->count ? t->source[i + 1] : SIZE_MAX;
        if (end > from && t->mark[i] & AR_FROM_MASK) return false;
    }
    return true;
}

static size_t behind_spaces(const ar_tokenizer *tk, const char *text, size_t i, size_t n) {
    size_t len;
    while (i < n && ar__unicode_get(&tk->unicode, ar__utf8_get(text + i, &len)) & AR_UC_SPACE) i += len;
    return i;
}

static ar_status encode_spm(ar_ids *ids, marking *m, const char *text, size_t n, ar_scratch *w, ar_error *err) {
    const ar_trie *control = &m->tk->spm.control;
    passage p = {text, n, 0, false, w};
    ar_status s = AR_OK;
    size_t last = 0;
    for (size_t i = 0; !s && i < n;) {
        int32_t id = 0;
        size_t k = control->node_count ? ar__trie_longest(control, text + i, n - i, &id) : 0;
        if (!k || !wrote_all(&w->track, i, i + k)) {
            i += ar__utf8_size(text[i]);
            continue;
        }
        size_t to = m->tk->spm.rstrip[id] ? behind_spaces(m->tk, text, i + k, n) : i + k;
        if (last < i) s = encode_stretch(ids, m, &p, last, i, err);
        if (!s) s = encode_control(ids, m, &p, id, i, to, err);
        last = i = to;
    }
    return s || last == n ? s : encode_stretch(ids, m, &p, last, n, err);
}

ar_status ar__tokenizer_encode_marked(ar_ids *ids, ar_buf *learned, const ar_tokenizer *tk, const char *text, const uint8_t *marks,
                                      size_t n, const ar_control *control, ar_error *err) {
    ar_scratch *w = ar__scratch_take(tk);
    if (!w) return ar__fail_memory(err, "tokenize");
    size_t before = ids->count, bytes = learned->len;
    marking m = {learned, tk, &w->track, 0};
    ar_status s = ar__track_begin(&w->track, marks, n, control->token) ? AR_OK : ar__fail_memory(err, "tokenize");
    if (!s && n) s = tk->is_spm ? encode_spm(ids, &m, text, n, w, err) : encode_json(ids, &m, text, n, w, err);
    if (!s && learned->failed) s = ar__fail_memory(err, "tokenize");
    if (s) {
        ids->count = before;
        learned->len = bytes;
    }
    ar__scratch_give(tk, w);
    return s;
}
