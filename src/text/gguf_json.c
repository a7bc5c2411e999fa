/* A GGUF file's vocabulary as tokenizer.json and tokenizer_config.json.
 *
 * SentencePiece's BPE merges by the scores of what comes out; as merges by rank, every two pieces that make a third are listed, in the
 * order of its score, those of one piece by their ids: as transformers converts a tokenizer.model. */
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/map.h"
#include "base/mem.h"
#include "text/beside.h"
#include "text/gguf_vocab.h"

#define MARK "\xE2\x96\x81"

enum { MOST_PIECE = 4096 }; /* bytes; what is longer is no piece of a text, and costs the square of its length */

typedef struct merge {
    float score;
    size_t made, left, right;
} merge;

typedef struct merges {
    merge *at;
    size_t count, cap;
} merges;

static int by_rank(const void *a, const void *b) {
    const merge *x = a, *y = b;
    if (x->score != y->score) return x->score > y->score ? -1 : 1;
    if (x->made != y->made) return x->made < y->made ? -1 : 1;
    if (x->left != y->left) return x->left < y->left ? -1 : 1;
    return x->right < y->right ? -1 : x->right > y->right;
}

static bool index_pieces(ar_map *ids, const ar_spm_file *f) {
    bool ok = true;
    for (size_t i = 0; ok && i < f->count; i++)
        if (f->piece[i].type == AR_SPM_NORMAL) ok = ar__map_put(ids, f->piece[i].text, f->piece[i].len, i);
    return ok;
}

static bool add_merges(merges *out, const ar_spm_file *f, const ar_map *ids, size_t made) {
    const ar_spm_piece *p = &f->piece[made];
    for (size_t n = 1; n < p->len; n++) {
        if (((unsigned char)p->text[n] & 0xC0) == 0x80) continue; /* inside a character */
        size_t left = ar__map_find(ids, p->text, n), right = ar__map_find(ids, p->text + n, p->len - n);
        if (left == AR_MAP_NONE || right == AR_MAP_NONE) continue;
        merge *list = ar__grow(out->at, &out->cap, out->count + 1, sizeof *list);
        if (!list) return false;
        out->at = list;
        list[out->count++] = (merge){p->score, made, left, right};
    }
    return true;
}

static json_t *piece_text(const ar_spm_file *f, size_t i) { return json_stringn(f->piece[i].text, f->piece[i].len); }

static json_t *merges_of(const ar_spm_file *f) {
    merges all = {0};
    ar_map ids = {0};
    bool ok = index_pieces(&ids, f);
    for (size_t i = 0; ok && i < f->count; i++)
        if (f->piece[i].type == AR_SPM_NORMAL) ok = add_merges(&all, f, &ids, i);
    if (all.count) qsort(all.at, all.count, sizeof *all.at, by_rank);
    json_t *list = ok ? json_array() : NULL;
    for (size_t i = 0; list && i < all.count; i++)
        json_array_append_new(list, json_pack("[o, o]", piece_text(f, all.at[i].left), piece_text(f, all.at[i].right)));
    free(all.at);
    ar__map_release(&ids);
    return list;
}

/* Control and unknown pieces are special, user-defined ones texts of their own; what pads the vocabulary is neither. */
static json_t *added_of(const ar_spm_file *f) {
    json_t *list = json_array();
    for (size_t i = 0; list && i < f->count; i++) {
        const ar_spm_piece *p = &f->piece[i];
        bool special = p->type == AR_SPM_CONTROL || p->type == AR_SPM_UNKNOWN;
        if (!(special || p->type == AR_SPM_USER) || (p->len > 4 && !memcmp(p->text, "[PAD", 4))) continue;
        json_array_append_new(list,
                              json_pack("{s:I, s:o, s:b, s:b, s:b, s:b, s:b}", "id", (json_int_t)i, "content", piece_text(f, i),
                                        "single_word", 0, "lstrip", 0, "rstrip", (int)p->rstrip, "normalized", 0, "special", (int)special));
    }
    return list;
}

static json_t *vocab_of(const ar_spm_file *f) {
    json_t *vocab = json_object();
    for (size_t i = 0; vocab && i < f->count; i++)
        json_object_setn_new(vocab, f->piece[i].text, f->piece[i].len, json_integer((json_int_t)i));
    return vocab;
}

static json_t *unknown_of(const ar_spm_file *f) {
    for (size_t i = 0; i < f->count; i++)
        if (f->piece[i].type == AR_SPM_UNKNOWN) return piece_text(f, i);
    return json_null();
}

static json_t *replace(const char *what, const char *with) {
    return json_pack("{s:s, s:{s:s}, s:s}", "type", "Replace", "pattern", "String", what, "content", with);
}

/* Spaces as marks, and one in front: before every text between special tokens, or before the whole. */
static void put_spaces(json_t *root, const ar_gguf_vocab *v) {
    bool prefix = v->pieces.dummy_prefix;
    json_t *decoders = json_pack("[o, {s:s}, {s:s}]", replace(MARK, " "), "type", "ByteFallback", "type", "Fuse");
    if (prefix) json_array_append_new(decoders, json_pack("{s:s, s:s, s:i, s:i}", "type", "Strip", "content", " ", "start", 1, "stop", 0));
    json_object_set_new(root, "decoder", json_pack("{s:s, s:o}", "type", "Sequence", "decoders", decoders));
    if (!prefix)
        json_object_set_new(root, "normalizer", replace(" ", MARK));
    else if (v->legacy)
        json_object_set_new(root, "normalizer",
                            json_pack("{s:s, s:[{s:s, s:s}, o]}", "type", "Sequence", "normalizers", "type", "Prepend", "prepend", MARK,
                                      replace(" ", MARK)));
    else
        json_object_set_new(
            root, "pre_tokenizer",
            json_pack("{s:s, s:s, s:s, s:b}", "type", "Metaspace", "replacement", MARK, "prepend_scheme", "first", "split", 0));
}

static json_t *pieces_root(const ar_gguf_vocab *v) {
    const ar_spm_file *f = &v->pieces;
    json_t *root =
        json_pack("{s:o, s:{s:s, s:b, s:b, s:o, s:o, s:o}}", "added_tokens", added_of(f), "model", "type", "BPE", "fuse_unk", 1,
                  "byte_fallback", (int)f->byte_fallback, "unk_token", unknown_of(f), "vocab", vocab_of(f), "merges", merges_of(f));
    if (root) put_spaces(root, v);
    return root;
}

/* ---- what goes around a text ------------------------------------------------------------------------------------------------- */

static bool put_special(json_t *single, json_t *pair, json_t *tokens, const ar_gguf_kv *names, int64_t id) {
    ar_gguf_string text;
    if (id < 0) return true;
    if (!ar__gguf_string_at(&text, names, (size_t)id)) return false;
    json_t *one = json_pack("{s:{s:o, s:i}}", "SpecialToken", "id", json_stringn(text.at, text.len), "type_id", 0);
    json_t *token = json_pack("{s:o, s:[I], s:[o]}", "id", json_stringn(text.at, text.len), "ids", (json_int_t)id, "tokens",
                              json_stringn(text.at, text.len));
    return one && token && !json_array_append(pair, one) && !json_array_append_new(single, one) &&
           !json_object_setn_new(tokens, text.at, text.len, token);
}

static json_t *sequence(const char *id, int type) { return json_pack("{s:{s:s, s:i}}", "Sequence", "id", id, "type_id", type); }

static bool put_ends(json_t *root, const ar_gguf *g, const ar_gguf_vocab *v) {
    const ar_gguf_kv *names = ar__gguf_kv_find(g, "tokenizer.ggml.tokens");
    if (v->bos < 0 && v->eos < 0) return true;
    json_t *single = json_array(), *pair = json_array(), *tokens = json_object();
    bool ok = put_special(single, pair, tokens, names, v->bos) && !json_array_append_new(single, sequence("A", 0)) &&
              !json_array_append_new(pair, sequence("A", 0)) && !json_array_append_new(pair, sequence("B", 1)) &&
              put_special(single, pair, tokens, names, v->eos);
    json_t *post =
        json_pack("{s:s, s:o, s:o, s:o}", "type", "TemplateProcessing", "single", single, "pair", pair, "special_tokens", tokens);
    return ok && post && !json_object_set_new(root, "post_processor", post);
}

static ar_status check_pieces(const ar_gguf_vocab *v, ar_error *err) {
    if (v->pieces.squeeze)
        return ar__fail(err, AR_ERR_UNSUPPORTED, "'tokenizer.ggml.remove_extra_whitespaces' is on, which no tokenizer.json is formed for");
    for (size_t i = 0; i < v->pieces.count; i++)
        if (v->pieces.piece[i].len > MOST_PIECE)
            return ar__fail(err, AR_ERR_UNSUPPORTED, "token %zu has %zu bytes, wanted at most %d", i, v->pieces.piece[i].len, MOST_PIECE);
    return AR_OK;
}

static ar_status form(json_t **out, const ar_gguf *g, ar_error *err) {
    ar_gguf_vocab v;
    ar_status s = ar__gguf_vocab_open(&v, g, err);
    if (!s) s = check_pieces(&v, err);
    json_t *root = s ? NULL : v.root ? json_incref(v.root) : pieces_root(&v);
    if (!s && (!root || json_object_set_new(root, "version", json_string("1.0")) || !put_ends(root, g, &v)))
        s = ar__fail_memory(err, "tokenizer");
    ar__gguf_vocab_close(&v);
    if (s) json_decref(root);
    *out = s ? NULL : root;
    return s;
}

/* bos_token, …, as the file says, and a class that takes tokenizer.json as it stands. */
static ar_status form_config(json_t **out, const char *path, ar_error *err) {
    json_t *map = NULL;
    ar_status s = ar__tokenizer_beside(out, &map, path, err);
    if (s) return s;
    json_t *templates = json_object_get(*out, "chat_template"), *only = json_array_get(templates, 0);
    const char *name = json_string_value(json_object_get(only, "name"));
    if (json_array_size(templates) == 1 && name && !strcmp(name, "default"))
        json_object_set(*out, "chat_template", json_object_get(only, "template"));
    bool ok = !json_object_set_new(*out, "tokenizer_class", json_string("PreTrainedTokenizerFast")) &&
              !json_object_set_new(*out, "clean_up_tokenization_spaces", json_false());
    json_decref(map);
    return ok ? AR_OK : ar__fail_memory(err, path);
}

ar_status ar__gguf_tokenizer_json(char **json, char **config, const char *path, ar_error *err) {
    ar_gguf *g;
    json_t *root = NULL, *beside = NULL;
    *json = *config = NULL;
    ar_status s = ar__gguf_open(&g, path, err);
    if (s) return s;
    if ((s = form(&root, g, err))) ar__fail_at(err, s, path);
    if (!s) s = form_config(&beside, path, err);
    if (!s && (!(*json = json_dumps(root, JSON_INDENT(1))) || !(*config = json_dumps(beside, JSON_INDENT(2) | JSON_SORT_KEYS))))
        s = ar__fail_memory(err, path);
    json_decref(root);
    json_decref(beside);
    ar__gguf_close(g);
    return s;
}
