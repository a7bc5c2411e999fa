/* Reading tokenizer.json. */
#include <float.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/file.h"
#include "text/config.h"
#include "text/post.h"
#include "text/tokenizer_impl.h"

static ar_status bad_id(const char *token, ar_error *err) {
    return ar__fail(err, AR_ERR_FORMAT, "model: the id of token '%.60s' is not a whole number below %d", token, AR_VOCAB_MAX_ID);
}

static ar_status read_vocab(ar_tokenizer *tk, const json_t *vocab, ar_error *err) {
    if (!json_is_object(vocab)) return ar__fail(err, AR_ERR_FORMAT, "model: 'vocab' is not an object");
    if (!ar__vocab_reserve(&tk->vocab, json_object_size(vocab))) return ar__fail_memory(err, "vocabulary");
    json_t *v = (json_t *)(uintptr_t)vocab; /* iteration only reads, but is not declared so */
    for (void *i = json_object_iter(v); i; i = json_object_iter_next(v, i)) {
        const char *token = json_object_iter_key(i);
        const json_t *id = json_object_iter_value(i);
        if (!json_is_integer(id) || json_integer_value(id) < 0 || json_integer_value(id) >= AR_VOCAB_MAX_ID) return bad_id(token, err);
        int32_t number = (int32_t)json_integer_value(id);
        size_t n;
        const char *other = ar__vocab_text(&tk->vocab, number, &n);
        if (other) return ar__fail(err, AR_ERR_FORMAT, "model: tokens '%.60s' and '%.60s' have the same id %d", other, token, (int)number);
        if (!ar__vocab_add(&tk->vocab, token, json_object_iter_key_len(i), number)) return ar__fail_memory(err, "vocabulary");
    }
    return AR_OK;
}

/* A merge's halves: "a b" or ["a", "b"].  false: neither. */
static bool merge_halves(const json_t *one, const char **a, size_t *na, const char **b, size_t *nb) {
    if (json_is_array(one)) {
        const json_t *x = json_array_get(one, 0), *y = json_array_get(one, 1);
        if (json_array_size(one) != 2 || !json_is_string(x) || !json_is_string(y)) return false;
        *a = json_string_value(x);
        *na = json_string_length(x);
        *b = json_string_value(y);
        *nb = json_string_length(y);
        return true;
    }
    if (!json_is_string(one)) return false;
    *a = json_string_value(one);
    size_t n = json_string_length(one);
    const char *space = memchr(*a, ' ', n);
    if (!space) return false;
    *na = (size_t)(space - *a);
    *b = space + 1;
    *nb = n - *na - 1;
    return !memchr(*b, ' ', *nb);
}

static ar_status add_merge(ar_tokenizer *tk, ar_buf *text, const json_t *one, size_t rank, ar_error *err) {
    const char *a, *b;
    size_t na, nb, skip = tk->bpe.prefix ? strlen(tk->bpe.prefix) : 0;
    if (!merge_halves(one, &a, &na, &b, &nb)) return ar__fail(err, AR_ERR_FORMAT, "model: merge %zu is not two tokens", rank);
    int32_t left = ar__vocab_find(&tk->vocab, a, na), right = ar__vocab_find(&tk->vocab, b, nb), id = -1;
    if (left >= 0 && right >= 0 && nb >= skip) {
        ar__buf_clear(text);
        ar__buf_add(text, a, na);
        ar__buf_add(text, b + skip, nb - skip);
        if (text->failed) return ar__fail_memory(err, "merges");
        id = ar__vocab_find(&tk->vocab, text->data, text->len);
    }
    if (id < 0) {
        return ar__fail(err, AR_ERR_FORMAT, "model: merge %zu, '%.40s' and '%.40s': one of them or what they make is not in the vocabulary",
                        rank, a, b);
    }
    return ar__bpe_add(&tk->bpe, left, right, (uint32_t)rank, id) ? AR_OK : ar__fail_memory(err, "merges");
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
        if ((s = add_merge(tk, &text, one, i, err))) break;
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

static ar_status read_bpe(ar_tokenizer *tk, const json_t *model, ar_error *err) {
    ar_bpe *m = &tk->bpe;
    ar_status s;
    tk->kind = AR_MODEL_BPE;
    if ((s = read_vocab(tk, json_object_get(model, "vocab"), err))) return s;
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
    if ((s = read_merges(tk, json_object_get(model, "merges"), err))) return s;
    ar__bpe_finish(m);
    return AR_OK;
}

static ar_status add_unigram_piece(ar_tokenizer *tk, const json_t *one, size_t i, double *low, ar_error *err) {
    const json_t *text = json_array_get(one, 0), *score = json_array_get(one, 1);
    if (json_array_size(one) != 2 || !json_is_string(text) || !json_is_number(score)) {
        return ar__fail(err, AR_ERR_FORMAT, "model: piece %zu is not [text, score]", i);
    }
    const char *s = json_string_value(text);
    size_t n = json_string_length(text);
    double v = json_number_value(score);
    tk->unigram.score[i] = v;
    if (v < *low) *low = v;
    bool ok = ar__vocab_add(&tk->vocab, s, n, (int32_t)i) && (n == 0 || ar__trie_add(&tk->unigram.trie, s, n, (int32_t)i));
    return ok ? AR_OK : ar__fail_memory(err, "vocabulary");
}

static ar_status read_unigram(ar_tokenizer *tk, const json_t *model, ar_error *err) {
    ar_unigram *m = &tk->unigram;
    const json_t *vocab = json_object_get(model, "vocab"), *unk = json_object_get(model, "unk_id"), *one;
    size_t i, count = json_array_size(vocab);
    ar_status s;
    tk->kind = AR_MODEL_UNIGRAM;
    if (!json_is_array(vocab) || count == 0 || count > AR_VOCAB_MAX_ID)
        return ar__fail(err, AR_ERR_FORMAT, "model: 'vocab' is not an array of pieces");
    if ((s = ar__config_bool(&m->byte_fallback, model, "byte_fallback", err))) return s;
    m->unk = -1;
    if (json_is_integer(unk)) {
        if (json_integer_value(unk) < 0 || (size_t)json_integer_value(unk) >= count)
            return ar__fail(err, AR_ERR_FORMAT, "model: unk_id is outside the vocabulary");
        m->unk = (int32_t)json_integer_value(unk);
    }
    m->vocab = &tk->vocab;
    m->score_count = count;
    m->score = ar__alloc(count, sizeof *m->score);
    if (!m->score || !ar__vocab_reserve(&tk->vocab, count)) return ar__fail_memory(err, "vocabulary");
    double low = DBL_MAX;
    json_array_foreach(vocab, i, one) {
        if ((s = add_unigram_piece(tk, one, i, &low, err))) return s;
    }
    m->unk_score = low - 10.0;
    ar__byte_tokens(m->byte_id, &tk->vocab);
    return AR_OK;
}

static ar_status read_model(ar_tokenizer *tk, const json_t *model, ar_error *err) {
    const char *type = ar__config_type(model);
    if (!json_is_object(model)) return ar__fail(err, AR_ERR_FORMAT, "no 'model': not a tokenizer.json");
    if (!type)
        type = json_is_array(json_object_get(model, "merges")) ? "BPE" : json_is_array(json_object_get(model, "vocab")) ? "Unigram" : NULL;
    if (type && !strcmp(type, "BPE")) return read_bpe(tk, model, err);
    if (type && !strcmp(type, "Unigram")) return read_unigram(tk, model, err);
    return ar__fail(err, AR_ERR_UNSUPPORTED, "model '%.40s' is not supported; BPE and Unigram are", type ? type : "(no type)");
}

static ar_status read_all(ar_tokenizer *tk, const json_t *root, ar_error *err) {
    ar_status s;
    if ((s = read_model(tk, json_object_get(root, "model"), err)) ||
        (s = ar__normal_read(&tk->normal, json_object_get(root, "normalizer"), err)) ||
        (s = ar__pretok_read(&tk->pretok, json_object_get(root, "pre_tokenizer"), err)) ||
        (s = ar__post_read(&tk->post, json_object_get(root, "post_processor"), err)) ||
        (s = ar__decoder_read(&tk->decoder, json_object_get(root, "decoder"), err)))
        return s;
    ar_matcher *matcher = ar__matcher_new();
    if (!matcher) return ar__fail_memory(err, "tokenizer");
    s = ar__added_read(&tk->added, json_object_get(root, "added_tokens"), &tk->vocab, &tk->normal, matcher, &tk->unicode, err);
    ar__matcher_free(matcher);
    return s;
}

ar_status ar__tokenizer_read_json(ar_tokenizer *tk, const char *path, ar_error *err) {
    ar_filemap map;
    json_error_t at;
    ar_status s = ar__filemap_open(&map, path, err);
    if (s) return s;
    json_t *root = json_loadb(map.data ? (const char *)map.data : "", map.size, JSON_ALLOW_NUL, &at);
    if (root)
        s = read_all(tk, root, err);
    else
        s = ar__fail(err, AR_ERR_FORMAT, "not JSON: line %d: %.200s", at.line, at.text);
    if (s) ar__fail_at(err, s, path);
    json_decref(root);
    ar__filemap_close(&map);
    return s;
}
