/* Which samples a step takes, and how they lie in rows.
 *
 *     stream:  epoch 0 permuted | epoch 1 permuted | …        joined end to end
 *     step t (from 1) takes samples [(t-1)·batch, t·batch) of the stream, across epoch ends
 *
 * A permutation is a function of (seed, epoch) alone, so a resumed run asks for any step and gets the same one. */
#ifndef AR_DATA_ORDER_H
#define AR_DATA_ORDER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "alphar/error.h"

/* The order of epoch `epoch` in perm[n]: Fisher-Yates over the stream (seed, epoch); file order without shuffle. */
void ar__order_epoch(uint32_t *perm, size_t n, uint64_t seed, uint64_t epoch, bool shuffle);

typedef struct ar_stream {
    uint32_t *perm; /* [n], of the epoch below */
    size_t n, batch;
    uint64_t seed, epoch, limit; /* limit: samples in all */
    bool shuffle;
} ar_stream;

/* limit: samples that the stream holds (ar__epoch_samples), UINT64_MAX: it goes on as long as asked. */
ar_status ar__stream_init(ar_stream *out, size_t n, size_t batch, uint64_t limit, uint64_t seed, bool shuffle, ar_error *err);
void ar__stream_release(ar_stream *s); /* safe on a zeroed one */
/* The samples of step t ≥ 1 in out[batch]; returns their number: batch, less at the last step, 0 past the end.
 * Allocates nothing. */
int ar__stream_get(uint32_t *out, ar_stream *s, uint64_t step);
/* The epoch (from 0) of the stream's sample at `position`, (t-1)·batch + i for the i-th sample of step t. */
static inline uint64_t ar__stream_epoch(const ar_stream *s, uint64_t position) { return position / s->n; }

/* Samples in `epochs` (may be a fraction) passes over n, rounded up. */
uint64_t ar__epoch_samples(double epochs, size_t n);
/* Steps that take `samples`, the last one short. */
uint64_t ar__stream_steps(uint64_t samples, size_t batch);

/* A row of tokens: samples [first, first + count) of the step, laid end to end, each seeing only itself. */
typedef struct ar_row {
    int first, count, tokens;
} ar_row;

/* Next-fit: a row takes the following samples while they fit into row_tokens, so that the rows one after the other
 * are the step's samples in their order, and sums formed in that order do not change with packing.  Without `pack`
 * a row is a sample.  rows holds `count` entries; returns the rows used.  A sample longer than row_tokens gets a row
 * of its own.  pairs: samples 2k and 2k + 1 share a row where both fit into one. */
int ar__pack_rows(ar_row *rows, const int *lengths, int count, int row_tokens, bool pack, bool pairs);

#endif
