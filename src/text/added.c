#include "text/added.h"

#include <stdlib.h>

#include "base/fail.h"
#include "text/config.h"
#include "text/utf8.h"

static bool is(const ar_unicode *unicode, const char *s, uint32_t mask) {
    size_t len;
    return ar__unicode_get(unicode, ar__utf8_get(s, &len)) & mask;
}

/* Whether the token may stand at [from, to) of s; moves the ends over the spaces that it strips. */
static bool fits(const ar_added_token *t, const char *s, size_t n, size_t last, size_t *from, size_t *to, const ar_unicode *unicode) {
    if (t->single_word) {
        if (*from > 0 && is(unicode, s + ar__utf8_back(s, *from), AR_UC_RUST_WORD)) return false;
        if (*to < n && is(unicode, s + *to, AR_UC_RUST_WORD)) return false;
    }
    if (t->lstrip) {
        while (*from > 0 && is(unicode, s + ar__utf8_back(s, *from), AR_UC_SPACE)) *from = ar__utf8_back(s, *from);
        if (*from < last) *from = last;
    }
    while (t->rstrip && *to < n && is(unicode, s + *to, AR_UC_SPACE)) *to += ar__utf8_size(s[*to]);
    return true;
}

void ar__added_cut(const ar_added *a, const ar_trie *trie, ar_pieces *out, size_t at, size_t len, bool first, const ar_unicode *unicode,
                   const ar_track *track) {
    bool raw = trie == &a->raw;
    const size_t *places = track ? raw ? track->source : track->now : NULL;
    size_t place_count = track ? raw ? track->count : track->moved : 0;
    const char *s = out->text.data + at;
    size_t last = 0;
    for (size_t i = 0; i < len;) {
        int32_t index = 0;
        size_t n = trie->root[(unsigned char)s[i]] ? ar__trie_longest(trie, s + i, len - i, &index) : 0;
        if (!n) {
            i++;
            continue;
        }
        if (track && !ar__track_allows(track, places, place_count, at + i, at + i + n, (size_t)index)) {
            i++;
            continue;
        }
        size_t from = i, to = i + n;
        i = to; /* the search goes on behind the token itself, even when spaces behind it were stripped */
        if (!fits(&a->token[index], s, len, last, &from, &to, unicode)) continue;
        if (last < from) ar__pieces_add(out, (ar_piece){.at = at + last, .len = from - last, .id = -1, .first = first && last == 0});
        ar__pieces_add(out, (ar_piece){.at = at + from, .len = to - from, .id = a->token[index].id});
        last = to;
    }
    if (last < len) ar__pieces_add(out, (ar_piece){.at = at + last, .len = len - last, .id = -1, .first = first && last == 0});
}

static ar_status read_flags(ar_added_token *t, const json_t *config, ar_error *err) {
    ar_status s;
    if ((s = ar__config_bool(&t->single_word, config, "single_word", err)) || (s = ar__config_bool(&t->lstrip, config, "lstrip", err)) ||
        (s = ar__config_bool(&t->rstrip, config, "rstrip", err)) || (s = ar__config_bool(&t->normalized, config, "normalized", err)))
        return s;
    return ar__config_bool(&t->special, config, "special", err);
}

/* Where what: the token's normalised form; kept only when it differs. */
static ar_status normalise(ar_added_token *t, const char *s, size_t n, const ar_normal *normal, ar_matcher *matcher,
                           const ar_unicode *unicode, ar_error *err) {
    ar_buf text = {0}, spare = {0};
    bool kept = true;
    ar__buf_add(&text, s, n);
    ar_status status =
        text.failed ? ar__fail_memory(err, "added tokens") : ar__normal_run(normal, &text, &spare, &kept, matcher, unicode, false, err);
    if (!status && (text.len != n || memcmp(text.data, s, n) != 0)) {
        t->shown = text.data;
        t->shown_len = text.len;
        text = (ar_buf){0};
    }
    ar__buf_release(&text);
    ar__buf_release(&spare);
    return status;
}

/* The token's place in the list: where its text was seen before, or a new one. */
static ar_added_token *place(ar_added *a, const char *s, size_t n) {
    int32_t seen = ar__vocab_find(&a->number, s, n);
    if (seen >= 0) return &a->token[seen];
    ar_added_token *t = ar__grow(a->token, &a->cap, a->count + 1, sizeof *t);
    if (!t) return NULL;
    a->token = t;
    return ar__vocab_add(&a->number, s, n, (int32_t)a->count) ? &t[a->count++] : NULL;
}

static ar_status add_one(ar_added *a, const json_t *config, int32_t *next, const ar_vocab *vocab, const ar_normal *normal,
                         ar_matcher *matcher, const ar_unicode *unicode, ar_error *err) {
    const char *s;
    size_t n;
    ar_status status = ar__config_text(&s, &n, config, "content", err);
    if (status || n == 0) return status;
    ar_added_token t = {.normalized = true};
    if ((status = read_flags(&t, config, err))) return status;
    t.id = ar__vocab_find(&a->content, s, n);
    if (t.id < 0) t.id = ar__vocab_find(vocab, s, n);
    if (t.id < 0) t.id = (*next)++;
    if (t.id >= AR_VOCAB_MAX_ID) return ar__fail(err, AR_ERR_FORMAT, "added tokens: more than %d ids", AR_VOCAB_MAX_ID);
    if (t.normalized && (status = normalise(&t, s, n, normal, matcher, unicode, err))) return status;
    ar_added_token *to = place(a, s, n);
    if (!to || (ar__vocab_find(&a->content, s, n) < 0 && !ar__vocab_add(&a->content, s, n, t.id))) {
        free(t.shown);
        return ar__fail_memory(err, "added tokens");
    }
    t.special |= to->special; /* once special, always special */
    free(to->shown);
    *to = t;
    return AR_OK;
}

static bool index_tokens(ar_added *a) {
    int32_t most = -1;
    for (size_t i = 0; i < a->count; i++) most = a->token[i].id > most ? a->token[i].id : most;
    a->by_id_count = (size_t)(most + 1);
    a->by_id = ar__alloc(a->by_id_count, sizeof *a->by_id);
    if (!a->by_id) return false;
    for (size_t i = 0; i < a->count; i++) {
        const ar_added_token *t = &a->token[i];
        size_t n = 0;
        const char *s = t->shown ? t->shown : ar__vocab_text(&a->number, (int32_t)i, &n);
        if (t->shown) n = t->shown_len;
        a->by_id[t->id] = (uint32_t)i + 1;
        if (n && !ar__trie_add(t->normalized ? &a->normal : &a->raw, s, n, (int32_t)i)) return false;
    }
    return true;
}

ar_status ar__added_read(ar_added *out, const json_t *list, const ar_vocab *vocab, const ar_normal *normal, ar_matcher *matcher,
                         const ar_unicode *unicode, ar_error *err) {
    const json_t *one;
    size_t i;
    int32_t next = (int32_t)vocab->count;
    if (list && !json_is_null(list) && !json_is_array(list)) return ar__fail(err, AR_ERR_FORMAT, "'added_tokens' is not an array");
    if (json_array_size(list) > AR_VOCAB_MAX_ID) return ar__fail(err, AR_ERR_FORMAT, "added tokens: more than %d", AR_VOCAB_MAX_ID);
    json_array_foreach(list, i, one) {
        ar_status s = add_one(out, one, &next, vocab, normal, matcher, unicode, err);
        if (s) return s;
    }
    return index_tokens(out) ? AR_OK : ar__fail_memory(err, "added tokens");
}

const ar_added_token *ar__added_find(const ar_added *a, int32_t id) {
    if (id < 0 || (size_t)id >= a->by_id_count || !a->by_id[id]) return NULL;
    return &a->token[a->by_id[id] - 1];
}

bool ar__added_is_special(const ar_added *a, const char *s, size_t n) {
    int32_t index = ar__vocab_find(&a->number, s, n);
    return index >= 0 && a->token[index].special;
}

void ar__added_release(ar_added *a) {
    for (size_t i = 0; i < a->count; i++) free(a->token[i].shown);
    free(a->token);
    free(a->by_id);
    ar__vocab_release(&a->content);
    ar__vocab_release(&a->number);
    ar__trie_release(&a->raw);
    ar__trie_release(&a->normal);
    *a = (ar_added){0};
}
