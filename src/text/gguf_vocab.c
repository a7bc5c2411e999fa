#include "text/gguf_vocab.h"

#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/mem.h"
#include "format/gguf.h"
#include "text/post.h"
#include "text/tokenizer_impl.h"
#include "text/utf8.h"

typedef struct reader {
    const ar_gguf *g;
    const ar_gguf_kv *tokens, *types, *scores, *merges;
    int64_t bos, eos, unk; /* -1: none */
    bool add_bos, add_eos;
    bool is_gemma4; /* tokenizer.ggml.model: its own way of cutting texts, without tokenizer.ggml.pre */
    ar_error *err;
} reader;

static ar_status bad(const reader *r, const char *key, const char *wanted) {
    return ar__fail(r->err, AR_ERR_FORMAT, "'%s': found %s, wanted %s", key, ar__gguf_type_name(ar__gguf_kv_find(r->g, key)), wanted);
}

static ar_status find_list(const ar_gguf_kv **out, const reader *r, const char *key) {
    *out = ar__gguf_kv_find(r->g, key);
    if (*out && !(*out)->is_array) return bad(r, key, "a list");
    if (*out && r->tokens && (*out)->count != r->tokens->count)
        return ar__fail(r->err, AR_ERR_FORMAT, "'%s' has %zu elements, 'tokenizer.ggml.tokens' %zu", key, (*out)->count, r->tokens->count);
    return AR_OK;
}

/* An id; what lies outside (4294967295 stands for none) is -1. */
static ar_status get_id(int64_t *out, const reader *r, const char *key) {
    *out = -1;
    ar_status s = ar__gguf_get_int(out, r->g, key, r->err);
    if (*out < 0 || (size_t)*out >= r->tokens->count) *out = -1;
    return s;
}

static ar_status read_lists(reader *r) {
    ar_status s = find_list(&r->tokens, r, "tokenizer.ggml.tokens");
    if (s) return s;
    if (!r->tokens || r->tokens->type != AR_GGUF_STRING || !r->tokens->count)
        return ar__fail(r->err, AR_ERR_NOT_FOUND, "no tokens inside ('tokenizer.ggml.tokens'): wanted a GGUF file with its vocabulary");
    if (r->tokens->count > AR_VOCAB_MAX_ID)
        return ar__fail(r->err, AR_ERR_FORMAT, "%zu tokens, more than %d", r->tokens->count, AR_VOCAB_MAX_ID);
    if ((s = find_list(&r->types, r, "tokenizer.ggml.token_type")) || (s = find_list(&r->scores, r, "tokenizer.ggml.scores")) ||
        (s = get_id(&r->bos, r, "tokenizer.ggml.bos_token_id")) || (s = get_id(&r->eos, r, "tokenizer.ggml.eos_token_id")) ||
        (s = get_id(&r->unk, r, "tokenizer.ggml.unknown_token_id")))
        return s;
    return ar__gguf_get_array(&r->merges, r->g, "tokenizer.ggml.merges", AR_GGUF_STRING, r->err);
}

static ar_status token_at(ar_gguf_string *out, int64_t *type, const reader *r, size_t i) {
    *type = AR_SPM_NORMAL;
    if (!ar__gguf_string_at(out, r->tokens, i)) return bad(r, "tokenizer.ggml.tokens", "strings");
    if (r->types && !ar__gguf_int_at(type, r->types, i)) return bad(r, "tokenizer.ggml.token_type", "whole numbers");
    if (ar__utf8_valid(out->at, out->len) != out->len || memchr(out->at, 0, out->len))
        return ar__fail(r->err, AR_ERR_FORMAT, "token %zu is not UTF-8, or holds a zero byte", i);
    return AR_OK;
}

static ar_status put_ends(ar_tokenizer *tk, const reader *r) {
    tk->bos = (int32_t)r->bos;
    tk->eos = (int32_t)r->eos;
    tk->count = (int32_t)r->tokens->count;
    ar_ids_release(&tk->post);
    bool ok = !(r->add_bos && tk->bos >= 0) || ar__ids_add(&tk->post, tk->bos);
    ok = ok && ar__ids_add(&tk->post, AR_POST_TEXT);
    if (ok && r->add_eos && tk->eos >= 0) ok = ar__ids_add(&tk->post, tk->eos);
    return ok ? AR_OK : ar__fail_memory(r->err, "vocabulary");
}

/* ---- llama -----------------------------------------------------------------------------------------------------------*/

/* Some writers give every piece one score.  Ids then tell the order of training: a vocabulary made from merges counts them so. */
static bool scores_say_nothing(const ar_spm_file *f) {
    float first = 0;
    bool seen = false;
    for (size_t i = 0; i < f->count; i++) {
        if (f->piece[i].type != AR_SPM_NORMAL) continue;
        if (seen && f->piece[i].score != first) return false;
        first = f->piece[i].score;
        seen = true;
    }
    return true;
}

/* One unknown piece: the one that is named, else the first of the type, else the first of all.  Others, and unused ones, match no text. */
static void settle_types(ar_spm_file *f, int64_t unk) {
    for (size_t i = 0; unk < 0 && i < f->count; i++)
        if (f->piece[i].type == AR_SPM_UNKNOWN) unk = (int64_t)i;
    if (unk < 0) unk = 0;
    for (size_t i = 0; i < f->count; i++) {
        ar_spm_piece *p = &f->piece[i];
        if (p->type == AR_SPM_UNKNOWN || p->type == AR_SPM_UNUSED) p->type = AR_SPM_CONTROL;
        if (i == (size_t)unk) p->type = AR_SPM_UNKNOWN;
        f->byte_fallback |= p->type == AR_SPM_BYTE;
    }
    bool rank = scores_say_nothing(f);
    for (size_t i = 0; rank && i < f->count; i++) f->piece[i].score = -(float)i;
}

static ar_status read_pieces(ar_spm_file *f, const reader *r) {
    f->piece = ar__alloc(r->tokens->count, sizeof *f->piece);
    if (!f->piece) return ar__fail_memory(r->err, "vocabulary");
    for (f->count = 0; f->count < r->tokens->count; f->count++) {
        ar_gguf_string text;
        int64_t type;
        double score = 0;
        ar_status s = token_at(&text, &type, r, f->count);
        if (s) return s;
        if (r->scores && !ar__gguf_double_at(&score, r->scores, f->count)) return bad(r, "tokenizer.ggml.scores", "numbers");
        if (!(score > -1e30 && score < 1e30)) return ar__fail(r->err, AR_ERR_FORMAT, "the score of token %zu is %g", f->count, score);
        if (type < AR_SPM_NORMAL || type > AR_SPM_BYTE)
            return ar__fail(r->err, AR_ERR_FORMAT, "the type of token %zu is %lld, wanted 1 to 6", f->count, (long long)type);
        f->piece[f->count] = (ar_spm_piece){.text = text.at, .len = text.len, .score = (float)score, .type = (ar_spm_type)type};
    }
    return AR_OK;
}

static bool is_piece(const ar_spm_piece *p, const char *text) { return p->len == strlen(text) && !memcmp(p->text, text, p->len); }

/* Whether the text behind a control piece begins with a space again, as the text itself does, is not in the file.  llama.cpp puts one, as
 * do the tokenizers of Llama 2, its kin and Phi 3; of Mistral, those that know [INST] as a piece of its own put none. */
static bool prefixes_again(const ar_spm_file *f) {
    for (size_t i = 0; i < f->count; i++)
        if (f->piece[i].type == AR_SPM_CONTROL && is_piece(&f->piece[i], AR_GGUF_NO_SPACE)) return false;
    return f->dummy_prefix;
}

/* What the tokenizer of Phi 3 does and its GGUF files do not say: control pieces take the whitespace behind them. */
static void settle_phi3(ar_spm_file *f) {
    static const char *const plain[] = {"<unk>", "<s>", "<|endoftext|>"};
    for (size_t i = 0; i < f->count; i++) {
        ar_spm_piece *p = &f->piece[i];
        p->rstrip = p->type == AR_SPM_CONTROL;
        for (size_t k = 0; k < sizeof plain / sizeof *plain; k++)
            if (is_piece(p, plain[k])) p->rstrip = false;
    }
}

/* The caller frees f->piece. */
static ar_status read_spm_file(ar_spm_file *f, bool *legacy, const reader *r) {
    static const char question[] = " \xE2\x81\x87 ";
    *f = (ar_spm_file){.model_type = 2,
                       .bos = (int)r->bos,
                       .eos = (int)r->eos,
                       .dummy_prefix = true,
                       .escape = true,
                       .unk_surface = question,
                       .unk_surface_len = sizeof question - 1};
    ar_gguf_string architecture = {0};
    ar_status s = ar__gguf_get_bool(&f->dummy_prefix, r->g, "tokenizer.ggml.add_space_prefix", r->err);
    if (!s) s = ar__gguf_get_bool(&f->squeeze, r->g, "tokenizer.ggml.remove_extra_whitespaces", r->err);
    if (!s) s = read_pieces(f, r);
    if (!s) settle_types(f, r->unk);
    if (!s) s = ar__gguf_get_string(&architecture, r->g, "general.architecture", r->err);
    *legacy = !s && prefixes_again(f);
    if (!s && ar__gguf_string_is(architecture, "phi3")) settle_phi3(f);
    return s;
}

static ar_status read_spm(ar_tokenizer *tk, const reader *r) {
    ar_spm_file f;
    ar_status s = read_spm_file(&f, &tk->spm.legacy, r);
    bool legacy = tk->spm.legacy;
    if (!s) s = ar__tokenizer_build_spm(tk, &f, r->add_bos, r->add_eos, r->err);
    tk->spm.legacy = legacy;
    free(f.piece);
    return s;
}

/* ---- gpt2 ------------------------------------------------------------------------------------------------------------*/

static json_t *added_token(const ar_gguf_string *text, size_t id, bool special) {
    json_t *content = json_stringn(text->at, text->len);
    if (!content) return NULL;
    return json_pack("{s:I, s:o, s:b, s:b, s:b, s:b, s:b}", "id", (json_int_t)id, "content", content, "single_word", 0, "lstrip", 0,
                     "rstrip", 0, "normalized", 0, "special", (int)special);
}

/* Every token is in the vocabulary, so that ids are the file's; control and user-defined ones are texts of their own as well. */
static ar_status put_tokens(json_t *vocab, json_t *added, const reader *r) {
    for (size_t i = 0; i < r->tokens->count; i++) {
        ar_gguf_string text;
        int64_t type;
        ar_status s = token_at(&text, &type, r, i);
        if (s) return s;
        bool own = text.len && (type == AR_SPM_CONTROL || type == AR_SPM_USER);
        if (json_object_setn_new(vocab, text.at, text.len, json_integer((json_int_t)i)) ||
            (own && json_array_append_new(added, added_token(&text, i, type == AR_SPM_CONTROL))))
            return ar__fail_memory(r->err, "vocabulary");
    }
    return AR_OK;
}

static ar_status put_merges(json_t *merges, const reader *r) {
    for (size_t i = 0; r->merges && i < r->merges->count; i++) {
        ar_gguf_string text;
        if (!ar__gguf_string_at(&text, r->merges, i)) return bad(r, "tokenizer.ggml.merges", "strings");
        json_t *line = json_stringn(text.at, text.len);
        if (!line) return ar__fail(r->err, AR_ERR_FORMAT, "merge %zu is not UTF-8", i);
        if (json_array_append_new(merges, line)) return ar__fail_memory(r->err, "merges");
    }
    return AR_OK;
}

static ar_status find_pretok(const ar_gguf_pretok **out, const reader *r) {
    static const char own[] = "gpt-2", gemma4[] = "gemma4";
    ar_gguf_string name = {0}, architecture = {0};
    ar_status s = ar__gguf_get_string(&name, r->g, "tokenizer.ggml.pre", r->err);
    if (!s) s = ar__gguf_get_string(&architecture, r->g, "general.architecture", r->err);
    if (s) return s;
    if (!name.at && ar__gguf_string_is(architecture, "gpt2")) name = (ar_gguf_string){own, sizeof own - 1};
    if (r->is_gemma4) name = (ar_gguf_string){gemma4, sizeof gemma4 - 1};
    if (!name.at)
        return ar__fail(
            r->err, AR_ERR_UNSUPPORTED,
            "no tokenizer.ggml.pre, as in files from before May 2024, so that nothing says how texts are cut: convert the model "
            "again, or use its Hugging Face folder");
    *out = ar__gguf_pretok_find(name.at, name.len);
    if (*out) return AR_OK;
    return ar__fail(
        r->err, AR_ERR_UNSUPPORTED,
        "tokenizer.ggml.pre is '%.*s', a way of cutting texts that Alphar does not know: use the Hugging Face folder of the model",
        (int)(name.len < 60 ? name.len : 60), name.at);
}

/* As the tokenizer.json that it was made from; the caller's. */
static ar_status bpe_root(json_t **out, const reader *r) {
    const ar_gguf_pretok *p;
    ar_status s = find_pretok(&p, r);
    *out = NULL;
    if (s) return s;
    if (!r->merges) return ar__fail(r->err, AR_ERR_NOT_FOUND, "no merges inside ('tokenizer.ggml.merges')");
    json_t *vocab = json_object(), *merges = json_array(), *added = json_array();
    json_t *root =
        json_pack("{s:{s:s, s:o, s:o, s:b, s:b, s:b}, s:o}", "model", "type", "BPE", "vocab", vocab, "merges", merges, "ignore_merges",
                  (int)p->whole, "byte_fallback", (int)p->marks, "fuse_unk", (int)p->marks, "added_tokens", added);
    if (!root || !ar__gguf_pretok_put(root, p)) s = ar__fail_memory(r->err, "vocabulary");
    if (!s) s = put_tokens(vocab, added, r);
    if (!s) s = put_merges(merges, r);
    if (s) json_decref(root);
    *out = s ? NULL : root;
    return s;
}

static ar_status read_bpe(ar_tokenizer *tk, const reader *r) {
    json_t *root;
    ar_status s = bpe_root(&root, r);
    if (!s) s = ar__tokenizer_read_root(tk, root, r->err);
    json_decref(root);
    return s;
}

/* ----------------------------------------------------------------------------------------------------------------------*/

/* Everything but the model itself. */
static ar_status read_head(bool *is_llama, reader *r) {
    ar_gguf_string model = {0}, pre = {0};
    ar_status s = ar__gguf_get_string(&model, r->g, "tokenizer.ggml.model", r->err);
    if (!s) s = ar__gguf_get_string(&pre, r->g, "tokenizer.ggml.pre", r->err);
    if (!s) s = read_lists(r);
    if (s) return s;
    bool llama = *is_llama = ar__gguf_string_is(model, "llama");
    r->is_gemma4 = ar__gguf_string_is(model, "gemma4");
    if (!llama && !r->is_gemma4 && !ar__gguf_string_is(model, "gpt2"))
        return ar__fail(r->err, AR_ERR_UNSUPPORTED, "tokenizer.ggml.model is '%.*s', wanted llama, gpt2 or gemma4",
                        (int)(model.len < 40 ? model.len : 40), model.at);
    const ar_gguf_pretok *p = pre.len ? ar__gguf_pretok_find(pre.at, pre.len) : NULL;
    r->add_bos = llama || (p && p->bos);
    s = ar__gguf_get_bool(&r->add_bos, r->g, "tokenizer.ggml.add_bos_token", r->err);
    return s ? s : ar__gguf_get_bool(&r->add_eos, r->g, "tokenizer.ggml.add_eos_token", r->err);
}

static ar_status read_all(ar_tokenizer *tk, reader *r) {
    bool llama;
    ar_status s = read_head(&llama, r);
    if (!s) s = llama ? read_spm(tk, r) : read_bpe(tk, r);
    return s ? s : put_ends(tk, r);
}

ar_status ar__gguf_vocab_open(ar_gguf_vocab *out, const ar_gguf *g, ar_error *err) {
    reader r = {.g = g, .err = err};
    bool llama;
    *out = (ar_gguf_vocab){0};
    ar_status s = read_head(&llama, &r);
    if (!s) s = llama ? read_spm_file(&out->pieces, &out->legacy, &r) : bpe_root(&out->root, &r);
    out->bos = r.add_bos ? r.bos : -1;
    out->eos = r.add_eos ? r.eos : -1;
    return s;
}

void ar__gguf_vocab_close(ar_gguf_vocab *v) {
    json_decref(v->root);
    free(v->pieces.piece);
    *v = (ar_gguf_vocab){0};
}

ar_status ar__tokenizer_read_gguf(ar_tokenizer *tk, const char *path, ar_error *err) {
    ar_gguf *g;
    ar_status s = ar__gguf_open(&g, path, err);
    if (s) return s;
    reader r = {.g = g, .err = err};
    s = read_all(tk, &r);
    ar__gguf_close(g);
    return s ? ar__fail_at(err, s, path) : AR_OK;
}
