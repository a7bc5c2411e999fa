/* Reading tokenizer.json. */
#include <float.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/file.h"
#include "format/json.h"
#include "text/config.h"
#include "text/json_big.h"
#include "text/post.h"
#include "text/tokenizer_impl.h"

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

static ar_status read_model(ar_tokenizer *tk, const json_t *model, const ar_json_span *big, ar_error *err) {
    const char *type = ar__config_type(model);
    if (!json_is_object(model)) return ar__fail(err, AR_ERR_FORMAT, "no 'model': not a tokenizer.json");
    if (!type)
        type = json_is_array(json_object_get(model, "merges")) ? "BPE" : json_is_array(json_object_get(model, "vocab")) ? "Unigram" : NULL;
    if (type && !strcmp(type, "BPE")) return ar__tokenizer_read_bpe(tk, model, big, err);
    if (type && !strcmp(type, "Unigram") && !big) return read_unigram(tk, model, err);
    return ar__fail(err, AR_ERR_UNSUPPORTED, "model '%.40s' is not supported; BPE and Unigram are", type ? type : "(no type)");
}

static ar_status read_all(ar_tokenizer *tk, const json_t *root, const ar_json_span *big, ar_error *err) {
    ar_status s;
    if ((s = read_model(tk, json_object_get(root, "model"), big, err)) ||
        (s = ar__normal_read(&tk->normal, json_object_get(root, "normalizer"), err)) ||
        (s = ar__pretok_read(&tk->pretok, json_object_get(root, "pre_tokenizer"), err)) ||
        (s = ar__post_read(&tk->post, json_object_get(root, "post_processor"), err)) ||
        (s = ar__decoder_read(&tk->decoder, json_object_get(root, "decoder"), err)))
        return s;
    tk->trims = ar__post_trims(json_object_get(root, "post_processor"));
    ar_matcher *matcher = ar__matcher_new();
    if (!matcher) return ar__fail_memory(err, "tokenizer");
    s = ar__added_read(&tk->added, json_object_get(root, "added_tokens"), &tk->vocab, &tk->normal, matcher, &tk->unicode, err);
    ar__matcher_free(matcher);
    return s;
}

/* The quick way, for the plain form of a BPE file: vocabulary and merges past jansson.  false: try the other. */
static bool read_streamed(ar_tokenizer *tk, const char *data, size_t n) {
    ar_json_span big[2];
    ar_buf rest = {0};
    bool ok = false;
    if (ar__json_big_find(&big[0], &big[1], &rest, data, n)) {
        json_t *root = NULL;
        ok = !ar__json_read(&root, rest.data, rest.len, JSON_ALLOW_NUL, "", NULL) && read_all(tk, root, big, NULL) == AR_OK;
        json_decref(root);
    }
    ar__buf_release(&rest);
    return ok;
}

ar_status ar__tokenizer_read_root(ar_tokenizer *tk, const json_t *root, ar_error *err) { return read_all(tk, root, NULL, err); }

ar_status ar__tokenizer_read_json(ar_tokenizer *tk, const char *path, ar_error *err) {
    ar_filemap map;
    ar_status s = ar__filemap_open(&map, path, err);
    if (s) return s;
    const char *data = map.data ? (const char *)map.data : "";
    if (!read_streamed(tk, data, map.size)) {
        ar__tokenizer_clear(tk);
        json_t *root = NULL;
        s = ar__json_read(&root, data, map.size, JSON_ALLOW_NUL, path, err);
        if (!s && (s = read_all(tk, root, NULL, err))) ar__fail_at(err, s, path);
        json_decref(root);
    }
    ar__filemap_close(&map);
    return s;
}
