/* The public tokenizer: opening, the pool of scratch memory, encoding. */
#include <assert.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "arch/folder.h"
#include "base/fail.h"
#include "base/file.h"
#include "format/gguf.h"
#include "text/beside.h"
#include "text/gguf_vocab.h"
#include "text/post.h"
#include "text/tokenizer_impl.h"
#include "text/utf8.h"

void ar_ids_release(ar_ids *ids) {
    free(ids->id);
    *ids = (ar_ids){0};
}

static void scratch_free(ar_scratch *s) {
    ar__matcher_free(s->matcher);
    ar__model_work_free(s->work);
    ar__pieces_release(&s->pieces);
    ar__pieces_release(&s->spare);
    ar__buf_release(&s->text);
    ar__buf_release(&s->text_spare);
    ar__track_release(&s->track);
    free(s);
}

static ar_scratch *scratch_new(void) {
    ar_scratch *s = calloc(1, sizeof *s);
    if (!s) return NULL;
    s->matcher = ar__matcher_new();
    s->work = ar__model_work_new();
    if (s->matcher && s->work) return s;
    scratch_free(s);
    return NULL;
}

/* The pool is the one part of a tokenizer that changes; who holds a const tokenizer sees no difference. */
static ar_tokenizer *pool_of(const ar_tokenizer *tk) { return (ar_tokenizer *)(uintptr_t)tk; }

ar_scratch *ar__scratch_take(const ar_tokenizer *tk) {
    ar_tokenizer *t = pool_of(tk);
    pthread_mutex_lock(&t->lock);
    ar_scratch *s = t->pool;
    if (s) t->pool = s->next;
    pthread_mutex_unlock(&t->lock);
    return s ? s : scratch_new();
}

void ar__scratch_give(const ar_tokenizer *tk, ar_scratch *s) {
    ar_tokenizer *t = pool_of(tk);
    if (s->pieces.failed || s->spare.failed || s->pieces.text.failed || s->spare.text.failed || s->text.failed || s->text_spare.failed ||
        s->track.part.failed || s->track.spare.failed) {
        scratch_free(s);
        return;
    }
    pthread_mutex_lock(&t->lock);
    s->next = t->pool;
    t->pool = s;
    pthread_mutex_unlock(&t->lock);
}

/* ---- opening ---------------------------------------------------------------------------------------------------*/

static ar_status tokenizer_new(ar_tokenizer **out, ar_error *err) {
    ar_tokenizer *tk = calloc(1, sizeof *tk);
    if (!tk) return ar__fail_memory(err, "tokenizer");
    tk->bos = tk->eos = -1;
    pthread_mutex_init(&tk->lock, NULL);
    if (!ar__unicode_init(&tk->unicode)) {
        ar_tokenizer_free(tk);
        return ar__fail_memory(err, "tokenizer");
    }
    *out = tk;
    return AR_OK;
}

void ar__tokenizer_clear(ar_tokenizer *tk) {
    ar__vocab_release(&tk->vocab);
    ar__vocab_release(&tk->spm_matched);
    ar__added_release(&tk->added);
    ar__normal_release(&tk->normal);
    ar__pretok_release(&tk->pretok);
    ar__decoder_release(&tk->decoder);
    ar__bpe_release(&tk->bpe);
    ar__unigram_release(&tk->unigram);
    ar__spm_release(&tk->spm);
    ar_ids_release(&tk->post);
    tk->kind = AR_MODEL_NONE;
}

void ar_tokenizer_free(ar_tokenizer *tk) {
    if (!tk) return;
    for (ar_scratch *s = tk->pool, *next; s; s = next) {
        next = s->next;
        scratch_free(s);
    }
    ar__tokenizer_clear(tk);
    ar__unicode_release(&tk->unicode);
    pthread_mutex_destroy(&tk->lock);
    free(tk);
}

/* The content of "bos_token": a string, or an object that an older library wrote. */
static void take_token(int32_t *id, const ar_tokenizer *tk, const json_t *config, const char *key) {
    const json_t *v = json_object_get(config, key);
    if (!v) return;
    if (json_is_object(v)) v = json_object_get(v, "content");
    *id = json_is_string(v) ? ar_tokenizer_find(tk, json_string_value(v)) : -1;
}

static bool is_json(const char *path) {
    size_t n = strlen(path);
    return n >= 5 && !strcmp(path + n - 5, ".json");
}

/* The file to read. */
static ar_status find_file(char **file, const char *path, ar_error *err) {
    static const char *const names[] = {"tokenizer.json", "tokenizer.model"};
    *file = NULL;
    if (!ar__path_exists(path)) {
        ar_status s = ar__folder_check(path, err);
        assert(s);
        return s;
    }
    if (!ar__path_is_dir(path)) {
        *file = ar__strdup(path);
        return *file ? AR_OK : ar__fail_memory(err, path);
    }
    for (int i = 0; i < 2; i++) {
        *file = ar__path_join(path, names[i]);
        if (!*file) return ar__fail_memory(err, path);
        if (ar__path_exists(*file)) return AR_OK;
        free(*file);
        *file = NULL;
    }
    bool other = ar__dir_holds(path, "adapter_config.json") || ar__dir_holds(path, "snapshots"); /* an adapter, a cache folder */
    ar_status s = other && !ar__dir_holds(path, "config.json") ? ar__folder_check(path, err) : AR_OK;
    if (s) return s;
    return ar__fail(err, AR_ERR_NOT_FOUND, "%s: neither tokenizer.json nor tokenizer.model is there", path);
}

static ar_status read_tokenizer(ar_tokenizer *tk, const char *file, const json_t *config, const json_t *map, ar_error *err) {
    const json_t *bos = json_object_get(config, "add_bos_token"), *eos = json_object_get(config, "add_eos_token");
    if (ar__gguf_is_name(file)) return ar__tokenizer_read_gguf(tk, file, err);
    ar_status s = is_json(file) ? ar__tokenizer_read_json(tk, file, err)
                                : ar__tokenizer_read_model(tk, file, !bos || !json_is_false(bos), eos && json_is_true(eos), err);
    if (s) return s;
    tk->spm.legacy = json_is_true(json_object_get(config, "legacy"));
    size_t count = tk->vocab.id_count > tk->added.by_id_count ? tk->vocab.id_count : tk->added.by_id_count;
    tk->count = (int32_t)count;
    take_token(&tk->bos, tk, map, "bos_token");
    take_token(&tk->eos, tk, map, "eos_token");
    take_token(&tk->bos, tk, config, "bos_token");
    take_token(&tk->eos, tk, config, "eos_token");
    return AR_OK;
}

ar_status ar_tokenizer_open(ar_tokenizer **out, const char *path, ar_error *err) {
    ar_tokenizer *tk = NULL;
    json_t *config = NULL, *map = NULL;
    char *file;
    *out = NULL;
    ar_status s = find_file(&file, path, err);
    if (!s) s = ar__tokenizer_beside(&config, &map, path, err);
    if (!s) s = tokenizer_new(&tk, err);
    if (!s) s = read_tokenizer(tk, file, config, map, err);
    json_decref(config);
    json_decref(map);
    free(file);
    if (s)
        ar_tokenizer_free(tk);
    else
        *out = tk;
    return s;
}

int32_t ar_tokenizer_count(const ar_tokenizer *tk) { return tk->count; }
int32_t ar_tokenizer_bos(const ar_tokenizer *tk) { return tk->bos; }
int32_t ar_tokenizer_eos(const ar_tokenizer *tk) { return tk->eos; }

int32_t ar_tokenizer_find(const ar_tokenizer *tk, const char *content) {
    size_t n = strlen(content);
    int32_t id = ar__vocab_find(&tk->added.content, content, n);
    return id >= 0 ? id : ar__vocab_find(&tk->vocab, content, n);
}

/* ---- encoding --------------------------------------------------------------------------------------------------*/

ar_status ar__tokenizer_run(ar_ids *out, const ar_tokenizer *tk, const char *s, size_t n, ar_scratch *w, ar_error *err) {
    if (tk->kind == AR_MODEL_BPE) return ar__bpe_encode(out, &tk->bpe, s, n, w->work, err);
    return ar__unigram_encode(out, &tk->unigram, s, n, w->work, err);
}

/* ---- places ------------------------------------------------------------------------------------------------------*/

/* A stretch between added tokens, as it came and as it was normalised. */
typedef struct stretch {
    const ar_tokenizer *tk;
    const char *s;
    size_t n, from; /* from: of the text */
    const char *made;
    size_t made_n, at; /* at: of the pieces' text */
    bool no_prefix;
} stretch;

static ar_status normalise_part(ar_track *t, const stretch *st, size_t from, size_t to, bool no_prefix, ar_matcher *matcher,
                                ar_error *err) {
    bool kept = true;
    ar__buf_clear(&t->part);
    ar__buf_add(&t->part, st->s + from, to - from);
    if (t->part.failed) return ar__fail_memory(err, "tokenize");
    return ar__normal_run(&st->tk->normal, &t->part, &t->spare, &kept, matcher, &st->tk->unicode, no_prefix, err);
}

static size_t common(const char *a, size_t n, const char *b, size_t m) {
    size_t i = 0;
    while (i < n && i < m && a[i] == b[i]) i++;
    while (i > 0 && i < m && (b[i] & 0xC0) == 0x80) i--; /* not within a character */
    return i;
}

/* Places inside the stretch.  What was normalised is mostly the parts normalised one by one; where it is not (a letter and its accent on
 * both sides of the place), the place is where the text before it, normalised alone, ends to agree. */
static ar_status move_stretch(ar_track *t, const stretch *st, ar_matcher *matcher, ar_error *err) {
    bool same = st->n == st->made_n && !memcmp(st->s, st->made, st->n), by_parts = true;
    size_t last = 0, made = 0;
    for (; t->moved < t->count && t->source[t->moved] < st->from + st->n; t->moved++) {
        size_t offset = t->source[t->moved] - st->from, to = offset;
        if (!same && offset > last && by_parts) {
            ar_status s = normalise_part(t, st, last, offset, last ? true : st->no_prefix, matcher, err);
            if (s) return s;
            by_parts = st->made_n - made >= t->part.len && !memcmp(st->made + made, t->part.data, t->part.len);
            made += t->part.len;
            last = offset;
        }
        if (!same) to = offset ? made : 0;
        if (!same && offset && !by_parts) {
            ar_status s = normalise_part(t, st, 0, offset, st->no_prefix, matcher, err);
            if (s) return s;
            to = common(t->part.data, t->part.len, st->made, st->made_n);
        }
        t->now[t->moved] = st->at + to;
    }
    return AR_OK;
}

/* An added token keeps its text, so that places in it stay apart. */
static void move_token(ar_track *t, ar_piece *p, ar_pieces *out, const char *text) {
    size_t at = out->text.len;
    for (; t->moved < t->count && t->source[t->moved] < p->at + p->len; t->moved++) t->now[t->moved] = at + t->source[t->moved] - p->at;
    ar__buf_add(&out->text, text + p->at, p->len);
    p->at = at;
}

/* Normalises one stretch between raw added tokens and appends it, cut at the normalised ones, to the pieces. */
static ar_status add_stretch(const ar_tokenizer *tk, ar_pieces *out, const char *s, size_t n, bool first, bool no_prefix, ar_scratch *w,
                             ar_track *track, size_t from, ar_error *err) {
    size_t at = out->text.len;
    if (!tk->normal.count)
        ar__buf_add(&out->text, s, n);
    else {
        ar__buf_clear(&w->text);
        ar__buf_add(&w->text, s, n);
        if (w->text.failed) return ar__fail_memory(err, "tokenize");
        bool kept = true;
        ar_status status = ar__normal_run(&tk->normal, &w->text, &w->text_spare, &kept, w->matcher, &tk->unicode, no_prefix && first, err);
        if (status) return status;
        ar__buf_add(&out->text, w->text.data, w->text.len);
        first = first && kept;
    }
    if (out->text.failed) return ar__fail_memory(err, "tokenize");
    if (track) {
        stretch moved = {tk, s, n, from, out->text.data + at, out->text.len - at, at, no_prefix && first};
        ar_status status = move_stretch(track, &moved, w->matcher, err);
        if (status) return status;
    }
    ar__added_cut(&tk->added, &tk->added.normal, out, at, out->text.len - at, first, &tk->unicode, track);
    return AR_OK;
}

ar_status ar__tokenizer_cut(const ar_tokenizer *tk, const char *text, size_t n, bool no_prefix, ar_scratch *w, ar_track *track,
                            ar_error *err) {
    ar_pieces *raw = &w->spare, *out = &w->pieces;
    ar_status s = AR_OK;
    ar__pieces_clear(raw);
    ar__pieces_clear(out);
    ar__buf_add(&raw->text, text, n);
    if (raw->text.failed) return ar__fail_memory(err, "tokenize");
    ar__added_cut(&tk->added, &tk->added.raw, raw, 0, n, true, &tk->unicode, track);
    for (size_t i = 0; !s && i < raw->count; i++) {
        ar_piece p = raw->piece[i];
        if (p.id >= 0 && track) move_token(track, &p, out, raw->text.data);
        if (p.id >= 0)
            ar__pieces_add(out, p);
        else
            s = add_stretch(tk, out, raw->text.data + p.at, p.len, p.first, no_prefix, w, track, p.at, err);
    }
    if (!s && (raw->failed || out->failed)) s = ar__fail_memory(err, "tokenize");
    return s ? s : ar__pretok_run(&tk->pretok, out, raw, w->matcher, &tk->unicode, no_prefix, track, err);
}

static ar_status encode_json(ar_ids *out, const ar_tokenizer *tk, const char *text, size_t n, bool no_prefix, ar_scratch *w,
                             ar_error *err) {
    ar_status s = ar__tokenizer_cut(tk, text, n, no_prefix, w, NULL, err);
    for (size_t i = 0; !s && i < w->pieces.count; i++) {
        ar_piece p = w->pieces.piece[i];
        if (p.id < 0)
            s = ar__tokenizer_run(out, tk, w->pieces.text.data + p.at, p.len, w, err);
        else if (!ar__ids_add(out, p.id))
            s = ar__fail_memory(err, "tokenize");
    }
    return s;
}

ar_status ar__tokenizer_run_spm(ar_ids *out, const ar_tokenizer *tk, const char *text, size_t n, ar_scratch *w, ar_error *err) {
    if (tk->kind == AR_MODEL_UNIGRAM) return ar__tokenizer_run(out, tk, text, n, w, err);
    ar_status s = AR_OK;
    size_t last = 0;
    for (size_t i = 0; !s && i < n && tk->spm.user.node_count;) {
        int32_t id = 0;
        size_t k = ar__trie_longest(&tk->spm.user, text + i, n - i, &id);
        if (k) {
            if (last < i) s = ar__tokenizer_run(out, tk, text + last, i - last, w, err);
            if (!s && !ar__ids_add(out, id)) s = ar__fail_memory(err, "tokenize");
            last = i + k;
        }
        i += k ? k : ar__utf8_size(text[i]);
    }
    return s || last == n ? s : ar__tokenizer_run(out, tk, text + last, n - last, w, err);
}

static ar_status encode_spm(ar_ids *out, const ar_tokenizer *tk, const char *text, size_t n, bool no_prefix, ar_scratch *w, ar_error *err) {
    ar_buf *buf = &w->text;
    ar__buf_clear(buf);
    ar__buf_add(buf, "", 0);
    ar__spm_normalize(buf, &tk->spm, text, n, no_prefix);
    if (buf->failed) return ar__fail_memory(err, "tokenize");
    return ar__tokenizer_run_spm(out, tk, buf->data, buf->len, w, err);
}

ar_status ar_tokenizer_encode(ar_ids *out, const ar_tokenizer *tk, const char *text, size_t n, unsigned flags, ar_error *err) {
    size_t valid = ar__utf8_valid(text, n), before = out->count;
    if (valid != n) return ar__fail(err, AR_ERR_VALUE, "text: byte %zu is not UTF-8", valid);
    ar_scratch *w = ar__scratch_take(tk);
    if (!w) return ar__fail_memory(err, "tokenize");
    bool no_prefix = flags & AR_TOKENIZE_NO_PREFIX, special = flags & AR_TOKENIZE_SPECIAL;
    ar_status s = AR_OK;
    for (size_t i = 0; !s && i < tk->post.count; i++) {
        int32_t id = tk->post.id[i];
        if (id != AR_POST_TEXT) {
            if (special && !ar__ids_add(out, id)) s = ar__fail_memory(err, "tokenize");
        } else if (n)
            s = (tk->is_spm ? encode_spm : encode_json)(out, tk, text, n, no_prefix, w, err);
    }
    if (s) out->count = before;
    ar__scratch_give(tk, w);
    return s;
}
