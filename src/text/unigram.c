#include <stdlib.h>

#include "base/fail.h"
#include "base/mem.h"
#include "text/model.h"
#include "text/model_work.h"
#include "text/utf8.h"

void ar__unigram_release(ar_unigram *m) {
    ar__trie_release(&m->trie);
    free(m->score);
    *m = (ar_unigram){0};
}

static void offer(const ar_unigram *m, ar_best *to, double score, size_t from, int32_t id) {
    if (to->from != SIZE_MAX && score <= to->score) return;
    to->score = m->sentencepiece ? (double)(float)score : score;
    to->from = from;
    to->id = id;
}

/* Fills the best way to every character boundary. */
static void search(const ar_unigram *m, const char *s, size_t n, ar_best *best) {
    for (size_t i = 0; i <= n; i++) best[i] = (ar_best){.from = SIZE_MAX};
    for (size_t from = 0; from < n;) {
        size_t len = ar__utf8_size(s[from]);
        double here = best[from].score;
        bool single = false;
        uint32_t node = 0;
        for (size_t at = from; at < n;) {
            node = ar__trie_step(&m->trie, node, (unsigned char)s[at++]);
            if (!node) break;
            int32_t id = m->trie.value[node];
            if (id < 0) continue;
            offer(m, &best[at], m->score[id] + here, from, id);
            if (at - from == len) single = true;
        }
        if (!single) {
            double score = m->unk_score + here;
            offer(m, &best[from + len], m->sentencepiece ? (double)(float)score : score, from, m->unk);
        }
        from += len;
    }
}

static bool trace(ar_model_work *w, size_t n) {
    w->path_count = 0;
    for (size_t at = n; at > 0; at = w->best[at].from) {
        if (w->path_count == w->path_cap) {
            size_t *p = ar__grow(w->path, &w->path_cap, w->path_count + 1, sizeof *p);
            if (!p) return false;
            w->path = p;
        }
        w->path[w->path_count++] = at;
    }
    return true;
}

/* A run of unknown characters: a token that happens to spell it (Hugging Face looks), bytes, or unk. */
static bool emit_unknown(ar_ids *out, const ar_unigram *m, const char *s, size_t n) {
    int32_t id = m->sentencepiece ? -1 : ar__vocab_find(m->vocab, s, n);
    if (id >= 0) return ar__ids_add(out, id);
    bool bytes = m->byte_fallback, ok = true;
    for (size_t i = 0; i < n && bytes; i++) bytes = m->byte_id[(unsigned char)s[i]] >= 0;
    for (size_t i = 0; i < n && bytes && ok; i++) ok = ar__ids_add(out, m->byte_id[(unsigned char)s[i]]);
    return ok && (bytes || ar__ids_add(out, m->unk));
}

static bool emit_path(ar_ids *out, const ar_unigram *m, const char *s, const ar_model_work *w) {
    bool ok = true;
    for (size_t i = w->path_count; ok && i-- > 0;) {
        const ar_best *b = &w->best[w->path[i]];
        if (b->id != m->unk) {
            ok = ar__ids_add(out, b->id);
            continue;
        }
        size_t from = b->from;
        while (i > 0 && w->best[w->path[i - 1]].id == m->unk) i--;
        ok = emit_unknown(out, m, s + from, w->path[i] - from);
    }
    return ok;
}

ar_status ar__unigram_encode(ar_ids *out, const ar_unigram *m, const char *s, size_t n, ar_model_work *w, ar_error *err) {
    ar_best *best = n < SIZE_MAX / sizeof *best ? ar__grow(w->best, &w->best_cap, n + 1, sizeof *best) : NULL;
    if (!best) return ar__fail_memory(err, "tokenize");
    w->best = best;
    search(m, s, n, best);
    if (!trace(w, n)) return ar__fail_memory(err, "tokenize");
    for (size_t i = 0; i < w->path_count && m->unk < 0; i++) {
        if (best[w->path[i]].id < 0) {
            return ar__fail(err, AR_ERR_VALUE, "text: '%.*s' is not in the vocabulary, and the tokenizer has no unknown token",
                            (int)(w->path[i] - best[w->path[i]].from), s + best[w->path[i]].from);
        }
    }
    return emit_path(out, m, s, w) ? AR_OK : ar__fail_memory(err, "tokenize");
}
