#include "data/order.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>

#include "base/fail.h"
#include "base/mem.h"
#include "base/rng.h"

/* Uniform in [0, n): the high half of a 64 × 64 bit product; the bias is below n / 2^64. */
static uint64_t below(uint64_t word, uint64_t n) {
    uint64_t hi = word >> 32, lo = word & 0xffffffffu; /* n < 2^32 */
    return (hi * n + (lo * n >> 32)) >> 32;
}

void ar__order_epoch(uint32_t *perm, size_t n, uint64_t seed, uint64_t epoch, bool shuffle) {
    for (size_t i = 0; i < n; i++) perm[i] = (uint32_t)i;
    if (!shuffle) return;
    ar_rng rng = ar__rng_stream(seed, AR_RNG_ORDER, epoch, 0);
    for (size_t i = n; i > 1; i--) {
        size_t j = (size_t)below(ar__rng_u64(&rng, i), i);
        uint32_t swap = perm[i - 1];
        perm[i - 1] = perm[j];
        perm[j] = swap;
    }
}

ar_status ar__stream_init(ar_stream *out, size_t n, size_t batch, uint64_t limit, uint64_t seed, bool shuffle, ar_error *err) {
    assert(n > 0 && batch > 0 && batch <= INT32_MAX);
    *out = (ar_stream){.n = n, .batch = batch, .limit = limit, .seed = seed, .shuffle = shuffle};
    if (n > UINT32_MAX) return ar__fail(err, AR_ERR_UNSUPPORTED, "data: found %zu samples, wanted at most %u", n, UINT32_MAX);
    out->perm = ar__alloc(n, sizeof *out->perm);
    if (!out->perm) return ar__fail_memory(err, "order of samples");
    ar__order_epoch(out->perm, n, seed, 0, shuffle);
    return AR_OK;
}

void ar__stream_release(ar_stream *s) {
    free(s->perm);
    *s = (ar_stream){0};
}

int ar__stream_get(uint32_t *out, ar_stream *s, uint64_t step) {
    assert(step >= 1);
    uint64_t at;
    if (__builtin_mul_overflow(step - 1, (uint64_t)s->batch, &at) || at >= s->limit) return 0;
    uint64_t count = s->limit - at < s->batch ? s->limit - at : s->batch;
    for (uint64_t i = 0; i < count; i++) {
        uint64_t epoch = ar__stream_epoch(s, at + i);
        if (epoch != s->epoch) {
            ar__order_epoch(s->perm, s->n, s->seed, epoch, s->shuffle);
            s->epoch = epoch;
        }
        out[i] = s->perm[(at + i) % s->n];
    }
    return (int)count;
}

uint64_t ar__epoch_samples(double epochs, size_t n) {
    double samples = epochs * (double)n, whole = nearbyint(samples);
    /* 0.1 epochs of 30 samples are 3, not the 4 that 3.0000000000000004 would round up to. */
    if (fabs(samples - whole) > 1e-9 * (whole + 1)) whole = ceil(samples);
    if (whole >= 0x1p63) return UINT64_MAX;
    return whole < 1 ? 1 : (uint64_t)whole;
}

uint64_t ar__stream_steps(uint64_t samples, size_t batch) { return samples / batch + (samples % batch != 0); }

int ar__pack_rows(ar_row *rows, const int *lengths, int count, int row_tokens, bool pack, bool pairs) {
    int used = 0;
    for (int i = 0; i < count; i++) {
        ar_row *row = used ? &rows[used - 1] : NULL;
        int room = lengths[i];
        if (pairs && i % 2 == 0 && i + 1 < count && room <= row_tokens - lengths[i + 1]) room += lengths[i + 1];
        if (pack && row && room <= row_tokens - row->tokens) {
            row->count++;
            row->tokens += lengths[i];
        } else {
            rows[used++] = (ar_row){.first = i, .count = 1, .tokens = lengths[i]};
        }
    }
    return used;
}
