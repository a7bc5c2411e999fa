#include "text/model.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/fail.h"
#include "base/mem.h"
#include "text/model_work.h"
#include "text/utf8.h"

#define BPE_FREE UINT64_MAX
#define NO_RANK UINT32_MAX

static const char MARK[] = "\xE2\x96\x81"; /* U+2581, SentencePiece's visible space */
enum { MARK_LEN = 3, SHORT_WORD = 40 };

static uint64_t key_of(int32_t left, int32_t right) { return (uint64_t)(uint32_t)left << 32 | (uint32_t)right; }

static size_t slot_of(const ar_bpe *m, uint64_t key) {
    size_t at = (size_t)((key * 0x9e3779b97f4a7c15u) >> 24) & (m->slot_count - 1);
    while (m->merge[at].key != key && m->merge[at].key != BPE_FREE) at = (at + 1) & (m->slot_count - 1);
    return at;
}

static uint32_t rank_of(const ar_bpe *m, int32_t left, int32_t right, int32_t *id) {
    const ar_bpe_merge *e = &m->merge[slot_of(m, key_of(left, right))];
    if (e->key == BPE_FREE) return NO_RANK;
    *id = e->id;
    return e->rank;
}

bool ar__bpe_reserve(ar_bpe *m, size_t merges) {
    size_t slots = 64;
    while (slots < merges * 2 && slots < SIZE_MAX / 64) slots *= 2;
    if (slots <= m->slot_count) return true;
    ar_bpe old = *m;
    m->merge = ar__alloc(slots, sizeof *m->merge);
    if (!m->merge) {
        m->merge = old.merge;
        return false;
    }
    m->slot_count = slots;
    for (size_t i = 0; i < slots; i++) m->merge[i].key = BPE_FREE;
    for (size_t i = 0; i < old.slot_count; i++) {
        if (old.merge[i].key != BPE_FREE) m->merge[slot_of(m, old.merge[i].key)] = old.merge[i];
    }
    free(old.merge);
    return true;
}

bool ar__bpe_add(ar_bpe *m, int32_t left, int32_t right, uint32_t rank, int32_t id) {
    if (!ar__bpe_reserve(m, m->merge_count + 1)) return false;
    ar_bpe_merge *e = &m->merge[slot_of(m, key_of(left, right))];
    if (e->key == BPE_FREE) m->merge_count++;
    *e = (ar_bpe_merge){.key = key_of(left, right), .rank = rank, .id = id};
    return true;
}

bool ar__byte_tokens(int32_t byte_id[256], const ar_vocab *vocab) {
    bool all = true;
    for (int b = 0; b < 256; b++) {
        char text[8];
        int n = snprintf(text, sizeof text, "<0x%02X>", (unsigned)b);
        byte_id[b] = ar__vocab_find(vocab, text, (size_t)n);
        all &= byte_id[b] >= 0;
    }
    return all;
}

void ar__bpe_init(ar_bpe *m, const ar_vocab *vocab) {
    *m = (ar_bpe){.vocab = vocab, .unk = -1};
    for (uint32_t c = 0; c < 0x800; c++) {
        char s[4];
        m->char_id[c] = ar__vocab_find(vocab, s, ar__utf8_put(s, c));
    }
    ar__byte_tokens(m->byte_id, vocab);
}

int32_t ar__bpe_symbol(const ar_bpe *m, const char *s, size_t n) {
    size_t len;
    uint32_t c = ar__utf8_get(s, &len);
    int32_t id = c < 0x800 ? m->char_id[c] : ar__vocab_find(m->vocab, s, n);
    return id >= 0 ? id : -1 - (int32_t)c;
}

/* Whether the mark stands anywhere but in the run that a token starts with. */
static bool has_inner_mark(const char *s, size_t n) {
    while (n >= MARK_LEN && memcmp(s, MARK, MARK_LEN) == 0) {
        s += MARK_LEN;
        n -= MARK_LEN;
    }
    return memmem(s, n, MARK, MARK_LEN) != NULL;
}

void ar__bpe_finish(ar_bpe *m) {
    m->cut_at_mark = !m->prefix && !m->suffix && !m->ignore_merges && ar__vocab_find(m->vocab, MARK, MARK_LEN) >= 0;
    for (size_t i = 0; i < m->slot_count && m->cut_at_mark; i++) {
        const ar_bpe_merge *e = &m->merge[i];
        if (e->key == BPE_FREE) continue;
        int32_t left = (int32_t)(e->key >> 32);
        size_t n;
        const char *text = ar__vocab_text(m->vocab, e->id, &n);
        /* A byte token does not spell what it covers, so its merges prove nothing. */
        for (int b = 0; b < 256; b++) m->cut_at_mark &= left != m->byte_id[b] || left < 0;
        if (!text || has_inner_mark(text, n)) m->cut_at_mark = false;
    }
}

void ar__bpe_release(ar_bpe *m) {
    free(m->merge);
    free(m->prefix);
    free(m->suffix);
    m->merge = NULL;
    m->merge_count = m->slot_count = 0;
    m->prefix = m->suffix = NULL;
}

/* ---- one word --------------------------------------------------------------------------------------------------*/

static bool push_id(ar_model_work *w, int32_t id) {
    if (w->id_count == w->id_cap) {
        int32_t *p = ar__grow(w->id, &w->id_cap, w->id_count + 1, sizeof *p);
        if (!p) return false;
        w->id = p;
    }
    w->id[w->id_count++] = id;
    return true;
}

/* One character dressed with prefix and suffix: its id, or -1. */
static int32_t dressed_id(const ar_bpe *m, ar_buf *text, const char *s, size_t n, bool first, bool last) {
    ar__buf_clear(text);
    if (!first && m->prefix) ar__buf_puts(text, m->prefix);
    ar__buf_add(text, s, n);
    if (last && m->suffix) ar__buf_puts(text, m->suffix);
    return text->failed ? -1 : ar__vocab_find(m->vocab, text->data, text->len);
}

static bool put_bytes(const ar_bpe *m, const char *s, size_t n, ar_model_work *w, bool *ok) {
    for (size_t i = 0; i < n; i++) {
        if (m->byte_id[(unsigned char)s[i]] < 0) return false;
    }
    for (size_t i = 0; i < n; i++) *ok &= push_id(w, m->byte_id[(unsigned char)s[i]]);
    return true;
}

/* The symbols that a word starts as.  A pending unk is only written when a known character (or the end) comes: bytes of the
 * fallback overtake it, as they do in Hugging Face. */
static bool split_word(const ar_bpe *m, const char *s, size_t n, ar_model_work *w) {
    ar_buf dressed = {0};
    bool pending = false, ok = true, plain = !m->prefix && !m->suffix;
    w->id_count = 0;
    for (size_t i = 0, len; ok && i < n; i += len) {
        len = ar__utf8_size(s[i]);
        int32_t id = plain ? ar__bpe_symbol(m, s + i, len) : dressed_id(m, &dressed, s + i, len, i == 0, i + len == n);
        if (id >= 0 || m->late_unk) {
            if (pending) ok &= push_id(w, m->unk);
            pending = false;
            ok &= push_id(w, id);
            continue;
        }
        const char *bytes = plain ? s + i : dressed.data;
        if (m->byte_fallback && put_bytes(m, bytes, plain ? len : dressed.len, w, &ok)) continue;
        if (m->unk < 0) continue;
        if (pending && !m->fuse_unk) ok &= push_id(w, m->unk);
        pending = true;
    }
    if (pending) ok &= push_id(w, m->unk);
    ok &= !dressed.failed;
    ar__buf_release(&dressed);
    return ok;
}

/* Few symbols: look for the lowest rank each time. */
static void merge_short(const ar_bpe *m, int32_t *id, size_t *count) {
    uint32_t rank[SHORT_WORD];
    int32_t merged[SHORT_WORD];
    size_t n = *count;
    for (size_t i = 0; i + 1 < n; i++) rank[i] = rank_of(m, id[i], id[i + 1], &merged[i]);
    while (n > 1) {
        size_t best = 0;
        for (size_t i = 1; i + 1 < n; i++) {
            if (rank[i] < rank[best]) best = i;
        }
        if (rank[best] == NO_RANK) break;
        id[best] = merged[best];
        n--;
        memmove(id + best + 1, id + best + 2, (n - best - 1) * sizeof *id);
        memmove(rank + best, rank + best + 1, (n - best) * sizeof *rank);
        memmove(merged + best, merged + best + 1, (n - best) * sizeof *merged);
        if (best + 1 < n) rank[best] = rank_of(m, id[best], id[best + 1], &merged[best]);
        if (best > 0) rank[best - 1] = rank_of(m, id[best - 1], id[best], &merged[best - 1]);
    }
    *count = n;
}

static void heap_push(ar_model_work *w, uint64_t v) {
    size_t i = w->heap_count++;
    while (i && w->heap[(i - 1) / 2] > v) {
        w->heap[i] = w->heap[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    w->heap[i] = v;
}

static uint64_t heap_pop(ar_model_work *w) {
    uint64_t top = w->heap[0], v = w->heap[--w->heap_count];
    size_t i = 0, child;
    while ((child = 2 * i + 1) < w->heap_count) {
        if (child + 1 < w->heap_count && w->heap[child + 1] < w->heap[child]) child++;
        if (w->heap[child] >= v) break;
        w->heap[i] = w->heap[child];
        i = child;
    }
    w->heap[i] = v;
    return top;
}

static void rate_pair(const ar_bpe *m, ar_model_work *w, int32_t at) {
    if (at < 0) return;
    ar_symbol *s = &w->symbol[at];
    s->rank = s->next < 0 ? NO_RANK : rank_of(m, s->id, w->symbol[s->next].id, &s->merged);
    if (s->rank != NO_RANK) heap_push(w, (uint64_t)s->rank << 32 | (uint32_t)at);
}

/* Many symbols: a heap.  An entry is stale when its symbol is gone or its pair has another rank by now. */
static bool merge_long(const ar_bpe *m, ar_model_work *w) {
    size_t n = w->id_count;
    if (n > INT32_MAX / 4) return false;
    ar_symbol *s = ar__grow(w->symbol, &w->symbol_cap, n, sizeof *s);
    if (!s) return false;
    w->symbol = s;
    uint64_t *heap = ar__grow(w->heap, &w->heap_cap, 3 * n, sizeof *heap); /* n at first, and two for each merge */
    if (!heap) return false;
    w->heap = heap;
    w->heap_count = 0;
    for (size_t i = 0; i < n; i++) {
        s[i] = (ar_symbol){.id = w->id[i], .prev = (int32_t)i - 1, .next = i + 1 < n ? (int32_t)i + 1 : -1};
    }
    for (size_t i = 0; i < n; i++) rate_pair(m, w, (int32_t)i);
    while (w->heap_count) {
        uint64_t top = heap_pop(w);
        int32_t at = (int32_t)(uint32_t)top;
        if (s[at].rank != (uint32_t)(top >> 32)) continue;
        int32_t right = s[at].next;
        s[at].id = s[at].merged;
        s[at].next = s[right].next;
        s[right].rank = NO_RANK;
        if (s[at].next >= 0) s[s[at].next].prev = at;
        rate_pair(m, w, s[at].prev);
        rate_pair(m, w, at);
    }
    size_t count = 0;
    for (int32_t at = 0; at >= 0; at = s[at].next) w->id[count++] = s[at].id;
    w->id_count = count;
    return true;
}

static bool encode_word(const ar_bpe *m, const char *s, size_t n, ar_model_work *w) {
    if (m->ignore_merges) {
        int32_t id = ar__vocab_find(m->vocab, s, n);
        if (id >= 0) {
            w->id_count = 0;
            return push_id(w, id);
        }
    }
    if (!split_word(m, s, n, w)) return false;
    if (w->id_count < 2 || !m->slot_count) return true;
    if (w->id_count > SHORT_WORD) return merge_long(m, w);
    merge_short(m, w->id, &w->id_count);
    return true;
}

static bool emit(ar_ids *out, const int32_t *id, size_t count) {
    if (out->count + count > out->cap) {
        int32_t *p = ar__grow(out->id, &out->cap, out->count + count, sizeof *p);
        if (!p) return false;
        out->id = p;
    }
    for (size_t i = 0; i < count; i++) out->id[out->count + i] = id[i];
    out->count += count;
    return true;
}

bool ar__ids_add(ar_ids *out, int32_t id) { return emit(out, &id, 1); }

/* What is still unknown after merging: bytes where the model has them, else one unk for a run. */
static bool emit_late(ar_ids *out, const ar_bpe *m, const ar_model_work *w) {
    bool ok = true, unk = false;
    for (size_t i = 0; ok && i < w->id_count; i++) {
        if (w->id[i] >= 0) {
            ok = ar__ids_add(out, w->id[i]);
            unk = false;
        } else if (m->byte_fallback) {
            char s[4];
            size_t n = ar__utf8_put(s, (uint32_t)(-1 - w->id[i]));
            for (size_t k = 0; ok && k < n; k++) ok = ar__ids_add(out, m->byte_id[(unsigned char)s[k]]);
        } else {
            if (!unk) ok = ar__ids_add(out, m->unk);
            unk = true;
        }
    }
    return ok;
}

static bool word_to_ids(ar_ids *out, const ar_bpe *m, const char *s, size_t n, ar_model_work *w) {
    ar_cached *slot = NULL;
    if (n <= AR_CACHE_KEY) {
        slot = &w->cache[ar__hash_bytes(s, n) & (AR_CACHE_SLOTS - 1)];
        if (slot->len == n && memcmp(slot->key, s, n) == 0) return emit(out, slot->id, slot->count);
    }
    size_t before = out->count;
    if (!encode_word(m, s, n, w)) return false;
    if (!(m->late_unk ? emit_late(out, m, w) : emit(out, w->id, w->id_count))) return false;
    size_t count = out->count - before;
    if (slot && count <= AR_CACHE_IDS) {
        slot->len = (uint8_t)n;
        slot->count = (uint8_t)count;
        memcpy(slot->key, s, n);
        if (count) memcpy(slot->id, out->id + before, count * sizeof *slot->id);
    }
    return true;
}

ar_status ar__bpe_encode(ar_ids *out, const ar_bpe *m, const char *s, size_t n, ar_model_work *work, ar_error *err) {
    bool ok = true;
    for (size_t from = 0; ok && from < n;) {
        size_t to = n;
        if (m->cut_at_mark) { /* a word: marks, then anything up to the next mark */
            for (to = from; n - to >= MARK_LEN && memcmp(s + to, MARK, MARK_LEN) == 0;) to += MARK_LEN;
            const char *next = memmem(s + to, n - to, MARK, MARK_LEN);
            to = next ? (size_t)(next - s) : n;
        }
        ok = word_to_ids(out, m, s + from, to - from, work);
        from = to;
    }
    return ok ? AR_OK : ar__fail_memory(err, "tokenize");
}

ar_model_work *ar__model_work_new(void) {
    ar_model_work *w = calloc(1, sizeof *w);
    if (!w) return NULL;
    w->cache = ar__alloc(AR_CACHE_SLOTS, sizeof *w->cache);
    if (!w->cache) {
        free(w);
        return NULL;
    }
    return w;
}

void ar__model_work_free(ar_model_work *w) {
    if (!w) return;
    free(w->cache);
    free(w->id);
    free(w->symbol);
    free(w->heap);
    free(w->best);
    free(w->path);
    free(w);
}
