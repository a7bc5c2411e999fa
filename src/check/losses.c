/* Every micro-batch is run once with a copy of its samples for each attachment, each copy a segment of its own:
 *
 *     rows      | s0 s0 s0 s1 s1 | s0 s0 s0 s1 s1 | …
 *     segments  |     pairs 0    |     pairs 1    | …        the base's weights are read and packed once for all
 *
 * As many copies as keep the rows within bounds; further attachments take another turn at the same micro-batch. */
#include "check/losses.h"

#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/mem.h"

enum { ROWS = 2048, MOST = 16 };

typedef struct copies {
    size_t most; /* at a time */
    int32_t *ids, *targets;
    size_t *start;
    double *nll;
    ar_segment segments[MOST];
    ar_pass *pass;
} copies;

static void release(copies *c) {
    free(c->ids);
    free(c->targets);
    free(c->start);
    free(c->nll);
    ar__pass_free(c->pass);
}

static ar_status prepare(copies *c, const ar_session *s, const ar_batcher *b, size_t count, ar_error *err) {
    size_t fit = ROWS / b->max_tokens;
    c->most = fit < 1 ? 1 : fit > MOST ? MOST : fit;
    if (c->most > count) c->most = count;
    size_t tokens = c->most * b->max_tokens, samples = c->most * b->max_samples;
    c->ids = ar__alloc(tokens, sizeof *c->ids);
    c->targets = ar__alloc(tokens, sizeof *c->targets);
    c->start = ar__alloc(samples + 1, sizeof *c->start);
    c->nll = ar__alloc(samples, sizeof *c->nll);
    if (!c->ids || !c->targets || !c->start || !c->nll) return ar__fail_memory(err, "batches");
    return ar__session_pass(&c->pass, s, tokens, samples, (size_t)ar__dataset_longest(b->data), err);
}

/* `count` copies of the batch, one for each of pairs. */
static ar_batch copy(copies *c, const ar_batch *b, const ar_pair_op *const *pairs, size_t count) {
    size_t rows = b->rows.count, samples = b->rows.samples;
    for (size_t i = 0; i < count; i++) {
        memcpy(c->ids + i * rows, b->ids, rows * sizeof *c->ids);
        memcpy(c->targets + i * rows, b->targets, rows * sizeof *c->targets);
        for (size_t q = 0; q <= samples; q++) c->start[i * samples + q] = i * rows + b->rows.start[q];
        c->segments[i] = (ar_segment){i * samples, (i + 1) * samples, pairs[i]};
    }
    return (ar_batch){
        .rows = {.count = count * rows, .samples = count * samples, .start = c->start, .segments = c->segments, .segment_count = count},
        .ids = c->ids,
        .targets = c->targets};
}

/* nll: of the batch's first sample; all: samples of the data. */
static void measure(double *nll, size_t all, copies *c, const ar_batch *b, const ar_pair_op *const *pairs, size_t count) {
    for (size_t at = 0; at < count; at += c->most) {
        size_t n = count - at < c->most ? count - at : c->most;
        ar_batch copied = copy(c, b, pairs + at, n);
        ar__pass_forward(c->pass, &copied, NULL);
        ar__pass_loss(c->pass, &copied, c->nll, NULL, 0.0f);
        for (size_t i = 0; i < n; i++) memcpy(nll + (at + i) * all, c->nll + i * b->rows.samples, b->rows.samples * sizeof *nll);
    }
}

ar_status ar__losses(double *nll, size_t *tokens, size_t *supervised, const ar_session *s, ar_batcher *b, const ar_pair_op *const *pairs,
                     size_t count, ar_error *err) {
    copies c = {0};
    uint32_t list[AR_LOSSES_BATCH];
    size_t n = ar__dataset_count(b->data);
    ar_status st = prepare(&c, s, b, count, err);
    *tokens = *supervised = 0;
    for (size_t at = 0; !st && at < n; at += AR_LOSSES_BATCH) {
        size_t take = n - at < AR_LOSSES_BATCH ? n - at : AR_LOSSES_BATCH, part;
        for (size_t i = 0; i < take; i++) list[i] = (uint32_t)(at + i);
        *supervised += ar__batcher_begin(b, list, (int)take, 0, &part);
        *tokens += part;
        for (const ar_batch *batch; (batch = ar__batcher_next(b, NULL));)
            measure(nll + at + (size_t)b->first_sample, n, &c, batch, pairs, count);
    }
    release(&c);
    return st;
}
