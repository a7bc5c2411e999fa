/* A tokenizer.model as a tokenizer: SentencePiece's normalisation, and its pieces as a BPE or unigram model. */
#include "text/spm.h"

#include <float.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/file.h"
#include "text/post.h"
#include "text/tokenizer_impl.h"
#include "text/utf8.h"

static const char MARK[] = "\xE2\x96\x81";

void ar__spm_release(ar_spm *spm) {
    ar__charsmap_release(&spm->map);
    ar__trie_release(&spm->user);
    ar__trie_release(&spm->control);
    free(spm->type);
    free(spm->rstrip);
    free(spm->byte);
    free(spm->unk_surface);
    *spm = (ar_spm){0};
}

/* The replacement of the longest rule (or user-defined piece, or character) that s starts with; returns the bytes it replaces. */
static size_t next_part(const ar_spm *spm, const char *s, size_t n, const char **to, size_t *to_len) {
    int32_t id;
    size_t len = ar__trie_longest(&spm->user, s, n, &id);
    if (!len)
        len = ar__charsmap_find(&spm->map, s, n, true, to, to_len);
    else {
        *to = s;
        *to_len = len;
    }
    if (len) return len;
    *to = s;
    return *to_len = ar__utf8_size(*s);
}

static void put_space(ar_buf *out, const ar_spm *spm) { ar__buf_puts(out, spm->escape ? MARK : " "); }

static void put_part(ar_buf *out, const ar_spm *spm, const char *s, size_t n) {
    const char *space;
    while (spm->escape && (space = memchr(s, ' ', n))) {
        ar__buf_add(out, s, (size_t)(space - s));
        put_space(out, spm);
        n -= (size_t)(space - s) + 1;
        s = space + 1;
    }
    ar__buf_add(out, s, n);
}

void ar__spm_normalize(ar_buf *out, const ar_spm *spm, const char *s, size_t n, bool no_prefix) {
    const char *to, *end = s + n;
    size_t to_len, used, start = out->len;
    while (spm->squeeze && s < end) { /* spaces in front */
        used = next_part(spm, s, (size_t)(end - s), &to, &to_len);
        if (to_len != 1 || *to != ' ') break;
        s += used;
    }
    if (s == end) return;
    if (spm->dummy_prefix && !spm->suffix_space && !no_prefix) put_space(out, spm);
    bool after_space = spm->squeeze;
    while (s < end) {
        used = next_part(spm, s, (size_t)(end - s), &to, &to_len);
        while (after_space && to_len && *to == ' ') {
            to++;
            to_len--;
        }
        if (to_len) {
            put_part(out, spm, to, to_len);
            after_space = spm->squeeze && to[to_len - 1] == ' ';
        }
        s += used;
    }
    size_t k = spm->escape ? 3 : 1;
    while (spm->squeeze && out->len >= start + k && memcmp(out->data + out->len - k, spm->escape ? MARK : " ", k) == 0) out->len -= k;
    if (spm->dummy_prefix && spm->suffix_space) put_space(out, spm);
}

/* ---- loading ---------------------------------------------------------------------------------------------------*/

static bool matches_text(ar_spm_type t) { return t == AR_SPM_NORMAL || t == AR_SPM_USER || t == AR_SPM_UNUSED; }

static ar_status check_piece(const ar_spm_file *f, size_t i, int32_t *unk, ar_error *err) {
    const ar_spm_piece *p = &f->piece[i];
    if (p->type == AR_SPM_UNUSED) {
        return ar__fail(err, AR_ERR_UNSUPPORTED, "SentencePiece model: piece '%.*s' is marked unused, which is not supported", (int)p->len,
                        p->text);
    }
    if (p->type != AR_SPM_UNKNOWN) return AR_OK;
    if (*unk >= 0) return ar__fail(err, AR_ERR_FORMAT, "SentencePiece model: two unknown pieces");
    *unk = (int32_t)i;
    return AR_OK;
}

/* All pieces go into the tokenizer's vocabulary; those that text can match also into `matched`. */
static ar_status add_pieces(ar_tokenizer *tk, ar_vocab *matched, const ar_spm_file *f, int32_t *unk, ar_error *err) {
    ar_spm *spm = &tk->spm;
    spm->type = ar__alloc(f->count, 1);
    spm->rstrip = ar__alloc(f->count, sizeof *spm->rstrip);
    spm->byte = ar__alloc(f->count, sizeof *spm->byte);
    if (!spm->type || !spm->rstrip || !spm->byte || !ar__vocab_reserve(&tk->vocab, f->count) || !ar__vocab_reserve(matched, f->count)) {
        return ar__fail_memory(err, "SentencePiece model");
    }
    for (size_t i = 0; i < f->count; i++) {
        const ar_spm_piece *p = &f->piece[i];
        ar_status s = check_piece(f, i, unk, err);
        if (s) return s;
        bool match = matches_text(p->type);
        if (match ? ar__vocab_find(matched, p->text, p->len) >= 0
                  : ar__vocab_find(&tk->vocab, p->text, p->len) >= 0 && ar__vocab_find(matched, p->text, p->len) < 0) {
            return ar__fail(err, AR_ERR_FORMAT, "SentencePiece model: piece '%.*s' is there twice", (int)p->len, p->text);
        }
        spm->type[i] = (uint8_t)p->type;
        spm->rstrip[i] = p->rstrip;
        spm->byte[i] = -1;
        if (!ar__vocab_add(&tk->vocab, p->text, p->len, (int32_t)i) || (match && !ar__vocab_add(matched, p->text, p->len, (int32_t)i)) ||
            (p->type == AR_SPM_USER && !ar__trie_add(&spm->user, p->text, p->len, (int32_t)i)) ||
            (p->type == AR_SPM_CONTROL && p->len && !ar__trie_add(&spm->control, p->text, p->len, (int32_t)i)))
            return ar__fail_memory(err, "SentencePiece model");
    }
    return *unk < 0 ? ar__fail(err, AR_ERR_FORMAT, "SentencePiece model: no unknown piece") : AR_OK;
}

static ar_status find_bytes(ar_tokenizer *tk, const ar_spm_file *f, int32_t byte_id[256], ar_error *err) {
    if (!f->byte_fallback) return AR_OK;
    bool all = ar__byte_tokens(byte_id, &tk->vocab);
    for (int b = 0; all && b < 256; b++) {
        all = tk->spm.type[byte_id[b]] == AR_SPM_BYTE;
        tk->spm.byte[byte_id[b]] = (int16_t)b;
    }
    return all ? AR_OK : ar__fail(err, AR_ERR_FORMAT, "SentencePiece model: byte_fallback without all of <0x00> … <0xFF>");
}

typedef struct scored {
    float score;
    int32_t id;
} scored;

static int by_score(const void *a, const void *b) {
    const scored *x = a, *y = b;
    return x->score > y->score ? -1 : x->score < y->score;
}

/* Any two neighbours whose joined text is a piece merge, the higher score first: written down as merges of every cut of every piece.
 * A half that is neither a piece nor a character cannot come about. */
static bool add_cuts(ar_bpe *m, const ar_vocab *matched, const ar_spm *spm, const ar_spm_piece *p, int32_t id, uint32_t rank) {
    for (size_t cut = ar__utf8_size(p->text[0]); cut < p->len; cut += ar__utf8_size(p->text[cut])) {
        const char *right = p->text + cut;
        size_t n = p->len - cut;
        int32_t a = cut == ar__utf8_size(p->text[0]) ? ar__bpe_symbol(m, p->text, cut) : ar__vocab_find(matched, p->text, cut);
        int32_t b = n == ar__utf8_size(right[0]) ? ar__bpe_symbol(m, right, n) : ar__vocab_find(matched, right, n);
        bool there = (a >= 0 || cut == ar__utf8_size(p->text[0])) && (b >= 0 || n == ar__utf8_size(right[0]));
        if (there && a >= 0 && spm->type[a] == AR_SPM_USER) there = false; /* frozen */
        if (there && b >= 0 && spm->type[b] == AR_SPM_USER) there = false;
        if (there && !ar__bpe_add(m, a, b, rank, id)) return false;
    }
    return true;
}

static ar_status make_bpe(ar_tokenizer *tk, const ar_vocab *matched, const ar_spm_file *f, int32_t unk, ar_error *err) {
    ar_bpe *m = &tk->bpe;
    scored *order = ar__alloc(f->count, sizeof *order);
    size_t n = 0;
    ar__bpe_init(m, matched);
    m->unk = unk;
    m->late_unk = true;
    ar_status s = find_bytes(tk, f, m->byte_id, err);
    m->byte_fallback = f->byte_fallback;
    for (size_t i = 0; order && i < f->count; i++) {
        if (matches_text(f->piece[i].type)) order[n++] = (scored){.score = f->piece[i].score, .id = (int32_t)i};
    }
    if (order) qsort(order, n, sizeof *order, by_score);
    bool ok = order != NULL;
    uint32_t rank = 0;
    for (size_t i = 0; ok && i < n; i++) {
        if (i && order[i].score != order[i - 1].score) rank++; /* of equal scores the leftmost merges first */
        ok = add_cuts(m, matched, &tk->spm, &f->piece[order[i].id], order[i].id, rank);
    }
    free(order);
    if (!ok && !s) s = ar__fail_memory(err, "SentencePiece model");
    if (!s) ar__bpe_finish(m);
    tk->kind = AR_MODEL_BPE;
    return s;
}

static ar_status make_unigram(ar_tokenizer *tk, const ar_vocab *matched, const ar_spm_file *f, int32_t unk, ar_error *err) {
    ar_unigram *m = &tk->unigram;
    float low = FLT_MAX, high = FLT_MIN; /* FLT_MIN, the smallest positive: so in SentencePiece */
    bool ok = (m->score = ar__alloc(f->count, sizeof *m->score)) != NULL;
    m->score_count = f->count;
    m->vocab = matched;
    m->unk = unk;
    m->sentencepiece = true;
    m->byte_fallback = f->byte_fallback;
    tk->kind = AR_MODEL_UNIGRAM;
    for (size_t i = 0; i < f->count; i++) {
        if (f->piece[i].type != AR_SPM_NORMAL) continue;
        low = f->piece[i].score < low ? f->piece[i].score : low;
        high = f->piece[i].score > high ? f->piece[i].score : high;
    }
    m->unk_score = (double)(low - 10.0f);
    for (size_t i = 0; ok && i < f->count; i++) {
        const ar_spm_piece *p = &f->piece[i];
        if (!matches_text(p->type)) continue;
        m->score[i] = p->type == AR_SPM_USER ? (double)((float)p->len * high) - 0.1 : (double)p->score;
        ok = ar__trie_add(&m->trie, p->text, p->len, (int32_t)i);
    }
    return ok ? find_bytes(tk, f, m->byte_id, err) : ar__fail_memory(err, "SentencePiece model");
}

static ar_status add_ends(ar_tokenizer *tk, const ar_spm_file *f, bool add_bos, bool add_eos, ar_error *err) {
    tk->bos = f->bos >= 0 && (size_t)f->bos < f->count ? f->bos : -1;
    tk->eos = f->eos >= 0 && (size_t)f->eos < f->count ? f->eos : -1;
    bool ok = !(add_bos && tk->bos >= 0) || ar__ids_add(&tk->post, tk->bos);
    ok = ok && ar__ids_add(&tk->post, AR_POST_TEXT);
    if (ok && add_eos && tk->eos >= 0) ok = ar__ids_add(&tk->post, tk->eos);
    return ok ? AR_OK : ar__fail_memory(err, "SentencePiece model");
}

ar_status ar__tokenizer_build_spm(ar_tokenizer *tk, const ar_spm_file *f, bool add_bos, bool add_eos, ar_error *err) {
    ar_spm *spm = &tk->spm;
    int32_t unk = -1;
    ar_status s;
    if (f->model_type != 1 && f->model_type != 2) {
        return ar__fail(err, AR_ERR_UNSUPPORTED, "SentencePiece model: type %d (word or character) is not supported; unigram and BPE are",
                        f->model_type);
    }
    tk->is_spm = true;
    spm->suffix_space = f->suffix_space;
    spm->dummy_prefix = f->dummy_prefix;
    spm->squeeze = f->squeeze;
    spm->escape = f->escape;
    spm->unk_surface_len = f->unk_surface_len;
    if (!(spm->unk_surface = ar__strndup(f->unk_surface, f->unk_surface_len))) return ar__fail_memory(err, "SentencePiece model");
    if ((s = ar__charsmap_read(&spm->map, f->charsmap, f->charsmap_len, err)) || (s = add_pieces(tk, &tk->spm_matched, f, &unk, err)))
        return s;
    s = f->model_type == 2 ? make_bpe(tk, &tk->spm_matched, f, unk, err) : make_unigram(tk, &tk->spm_matched, f, unk, err);
    return s ? s : add_ends(tk, f, add_bos, add_eos, err);
}

ar_status ar__tokenizer_read_model(ar_tokenizer *tk, const char *path, bool add_bos, bool add_eos, ar_error *err) {
    ar_filemap map;
    ar_spm_file file;
    ar_status s = ar__filemap_open(&map, path, err);
    if (s) return s;
    if (!(s = ar__spm_parse(&file, map.data, map.size, err))) {
        s = ar__tokenizer_build_spm(tk, &file, add_bos, add_eos, err);
        free(file.piece);
    }
    if (s) ar__fail_at(err, s, path);
    ar__filemap_close(&map);
    return s;
}
