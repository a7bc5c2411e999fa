/* The BPE model of a tokenizer.json: vocabulary and merges, from jansson's tree or streamed past it (json_big.h). */
#include <jansson.h>
#include <string.h>

#include "base/fail.h"
#include "text/config.h"
#include "text/json_big.h"
#include "text/tokenizer_impl.h"

enum { BYTES_PER_ENTRY = 22 }; /* of a vocabulary or list of merges, about: only a guess at the size of the tables */

/* The streaming reader gives up; the caller tries again with jansson, so nobody sees this. */
static ar_status surprise(ar_error *err) { return ar__fail(err, AR_ERR_FORMAT, "model: not of the plain form"); }

static ar_status add_token(ar_tokenizer *tk, const char *token, size_t n, int64_t id, ar_error *err) {
    if (id < 0 || id >= AR_VOCAB_MAX_ID) {
        return ar__fail(err, AR_ERR_FORMAT, "model: the id of token '%.60s' is not a whole number below %d", token, AR_VOCAB_MAX_ID);
    }
    size_t other_n;
    const char *other = ar__vocab_text(&tk->vocab, (int32_t)id, &other_n);
    if (other) return ar__fail(err, AR_ERR_FORMAT, "model: tokens '%.60s' and '%.60s' have the same id %d", other, token, (int)id);
    return ar__vocab_add(&tk->vocab, token, n, (int32_t)id) ? AR_OK : ar__fail_memory(err, "vocabulary");
}

static ar_status read_vocab(ar_tokenizer *tk, const json_t *vocab, ar_error *err) {
    if (!json_is_object(vocab)) return ar__fail(err, AR_ERR_FORMAT, "model: 'vocab' is not an object");
    if (!ar__vocab_reserve(&tk->vocab, json_object_size(vocab))) return ar__fail_memory(err, "vocabulary");
    json_t *v = (json_t *)(uintptr_t)vocab; /* iteration only reads, but is not declared so */
    for (void *i = json_object_iter(v); i; i = json_object_iter_next(v, i)) {
        const char *token = json_object_iter_key(i);
        const json_t *id = json_object_iter_value(i);
        int64_t number = json_is_integer(id) ? json_integer_value(id) : -1;
        ar_status s = add_token(tk, token, json_object_iter_key_len(i), number, err);
        if (s) return s;
    }
    return AR_OK;
}

static ar_status stream_vocab(ar_tokenizer *tk, const ar_json_span *span, ar_error *err) {
    ar_json_walk w = {.at = span->at, .end = span->end};
    ar_json_text token;
    int64_t id;
    int more = -1;
    ar_status s =
        ar__vocab_reserve(&tk->vocab, (size_t)(span->end - span->at) / BYTES_PER_ENTRY) ? AR_OK : ar__fail_memory(err, "vocabulary");
    while (!s && (more = ar__json_walk_vocab(&w, &token, &id)) == 1) {
        if (ar__vocab_find(&tk->vocab, token.s, token.n) >= 0) break; /* which of the two counts is for jansson to say */
        s = add_token(tk, token.s, token.n, id, err);
    }
    ar__json_walk_release(&w);
    return s || more == 0 ? s : surprise(err);
}

/* A merge's halves: "a b" or ["a", "b"].  false: neither. */
static bool merge_halves(const json_t *one, ar_json_text *a, ar_json_text *b) {
    if (json_is_array(one)) {
        const json_t *x = json_array_get(one, 0), *y = json_array_get(one, 1);
        if (json_array_size(one) != 2 || !json_is_string(x) || !json_is_string(y)) return false;
        *a = (ar_json_text){json_string_value(x), json_string_length(x)};
        *b = (ar_json_text){json_string_value(y), json_string_length(y)};
        return true;
    }
    if (!json_is_string(one)) return false;
    const char *s = json_string_value(one);
    size_t n = json_string_length(one);
    const char *space = memchr(s, ' ', n);
    if (!space) return false;
    *a = (ar_json_text){s, (size_t)(space - s)};
    *b = (ar_json_text){space + 1, n - a->n - 1};
    return !memchr(b->s, ' ', b->n);
}

static ar_status add_merge(ar_tokenizer *tk, ar_buf *text, const ar_json_text *a, const ar_json_text *b, size_t rank, ar_error *err) {
    size_t skip = tk->bpe.prefix ? strlen(tk->bpe.prefix) : 0;
    int32_t left = ar__vocab_find(&tk->vocab, a->s, a->n), right = ar__vocab_find(&tk->vocab, b->s, b->n), id = -1;
    if (left >= 0 && right >= 0 && b->n >= skip) {
        ar__buf_clear(text);
        ar__buf_add(text, a->s, a->n);
        ar__buf_add(text, b->s + skip, b->n - skip);
        if (text->failed) return ar__fail_memory(err, "merges");
        id = ar__vocab_find(&tk->vocab, text->data, text->len);
    }
    if (id < 0) {
        return ar__fail(err, AR_ERR_FORMAT, "model: merge %zu, '%.*s' and '%.*s': one of them or what they make is not in the vocabulary",
                        rank, a->n > 40 ? 40 : (int)a->n, a->s, b->n > 40 ? 40 : (int)b->n, b->s);
    }
    return ar__bpe_add(&tk->bpe, left, right, (uint32_t)rank, id) ? AR_OK : ar__fail_memory(err, "merges");
}

static ar_status stream_merges(ar_tokenizer *tk, const ar_json_span *span, ar_error *err) {
    ar_json_walk w = {.at = span->at, .end = span->end};
    ar_json_text a, b;
    ar_buf text = {0};
    int more = -1;
    ar_status s = ar__bpe_reserve(&tk->bpe, (size_t)(span->end - span->at) / BYTES_PER_ENTRY) ? AR_OK : ar__fail_memory(err, "merges");
    for (size_t rank = 0; !s && (more = ar__json_walk_merges(&w, &a, &b)) == 1; rank++) s = add_merge(tk, &text, &a, &b, rank, err);
    ar__buf_release(&text);
    ar__json_walk_release(&w);
    return s || more == 0 ? s : surprise(err);
}

static ar_status read_merges(ar_tokenizer *tk, const json_t *merges, ar_error *err) {
    const json_t *one;
    size_t i;
    ar_buf text = {0};
    ar_status s = AR_OK;
    if (!json_is_array(merges)) return ar__fail(err, AR_ERR_FORMAT, "model: 'merges' is not an array");
    if (!ar__bpe_reserve(&tk->bpe, json_array_size(merges))) return ar__fail_memory(err, "merges");
    json_array_foreach(merges, i, one) {
        const char *line = json_string_value(one);
        if (line && !strncmp(line, "#version", 8)) continue;
        ar_json_text a, b;
        if (merge_halves(one, &a, &b))
            s = add_merge(tk, &text, &a, &b, i, err);
        else
            s = ar__fail(err, AR_ERR_FORMAT, "model: merge %zu is not two tokens", i);
        if (s) break;
    }
    ar__buf_release(&text);
    return s;
}

static ar_status read_affix(char **out, const json_t *model, const char *key, ar_error *err) {
    const json_t *v = json_object_get(model, key);
    if (!v || json_is_null(v)) return AR_OK;
    if (!json_is_string(v)) return ar__fail(err, AR_ERR_FORMAT, "model: '%s' is not a string", key);
    if (!json_string_length(v)) return AR_OK;
    *out = ar__strdup(json_string_value(v));
    return *out ? AR_OK : ar__fail_memory(err, "model");
}

ar_status ar__tokenizer_read_bpe(ar_tokenizer *tk, const json_t *model, const ar_json_span big[2], ar_error *err) {
    ar_bpe *m = &tk->bpe;
    ar_status s;
    tk->kind = AR_MODEL_BPE;
    if ((s = big ? stream_vocab(tk, &big[0], err) : read_vocab(tk, json_object_get(model, "vocab"), err))) return s;
    ar__bpe_init(m, &tk->vocab);
    if ((s = ar__config_bool(&m->fuse_unk, model, "fuse_unk", err)) ||
        (s = ar__config_bool(&m->byte_fallback, model, "byte_fallback", err)) ||
        (s = ar__config_bool(&m->ignore_merges, model, "ignore_merges", err)) ||
        (s = read_affix(&m->prefix, model, "continuing_subword_prefix", err)) ||
        (s = read_affix(&m->suffix, model, "end_of_word_suffix", err)))
        return s;
    if (json_number_value(json_object_get(model, "dropout")) != 0.0) {
        return ar__fail(err, AR_ERR_UNSUPPORTED, "model: BPE dropout makes ids random; set it to null");
    }
    const json_t *unk = json_object_get(model, "unk_token");
    if (json_is_string(unk)) {
        m->unk = ar__vocab_find(&tk->vocab, json_string_value(unk), json_string_length(unk));
        if (m->unk < 0) return ar__fail(err, AR_ERR_FORMAT, "model: unk_token '%.60s' is not in the vocabulary", json_string_value(unk));
    }
    if ((s = big ? stream_merges(tk, &big[1], err) : read_merges(tk, json_object_get(model, "merges"), err))) return s;
    ar__bpe_finish(m);
    return AR_OK;
}
