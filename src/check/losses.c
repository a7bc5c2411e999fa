#include "check/losses.h"

#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/mem.h"

enum { HEAD_ROWS = 256 }; /* its weight is packed once for so many */

/* The samples [at, at + n) of the data under each of pairs: the base's weights are read and packed once for all in a batch. */
static void measure(double *nll, ar_pass *p, ar_batcher *b, double *batch_nll, ar_part *parts, size_t count, size_t at) {
    size_t all = ar__dataset_count(b->data);
    ar__batcher_begin(b, parts, count);
    for (const ar_batch *batch; (batch = ar__batcher_next(b));) {
        ar__pass_forward(p, batch, NULL);
        ar__pass_loss(p, batch, batch_nll, NULL, 0.0f);
        for (size_t s = 0; s < batch->rows.segment_count; s++) {
            const ar_segment *seg = &batch->rows.segments[s];
            size_t part = b->segment_part[s], own = b->first_sample + seg->first - parts[part].first;
            memcpy(nll + part * all + at + own, batch_nll + seg->first, (seg->last - seg->first) * sizeof *nll);
        }
    }
}

ar_status ar__losses(double *nll, size_t *tokens, size_t *supervised, const ar_session *s, ar_batcher *b, const ar_pair_op *const *pairs,
                     size_t count, ar_error *err) {
    ar_pass *pass = NULL;
    uint32_t list[AR_LOSSES_BATCH];
    size_t n = ar__dataset_count(b->data);
    ar_part *parts = ar__alloc(count, sizeof *parts);
    double *batch_nll = ar__alloc(b->max_samples, sizeof *batch_nll);
    size_t rows = b->max_tokens < HEAD_ROWS ? b->max_tokens : HEAD_ROWS, block = n < AR_LOSSES_BATCH ? n : AR_LOSSES_BATCH;
    ar_status st = parts && batch_nll
                       ? ar__session_pass(&pass, s, b->max_tokens, b->max_samples, (size_t)ar__dataset_longest(b->data), rows, err)
                       : ar__fail_memory(err, "batches");
    *tokens = *supervised = 0;
    for (size_t at = 0; !st && at < n; at += AR_LOSSES_BATCH) {
        size_t take = n - at < AR_LOSSES_BATCH ? n - at : AR_LOSSES_BATCH, at_once = b->max_samples / block;
        for (size_t i = 0; i < take; i++) list[i] = (uint32_t)(at + i);
        for (size_t i = 0; i < count; i++) parts[i] = (ar_part){.sample = list, .count = (int)take, .pairs = pairs[i]};
        for (size_t i = 0; i < count; i += at_once)
            measure(nll + i * n, pass, b, batch_nll, parts + i, count - i < at_once ? count - i : at_once, at);
        *supervised += parts[0].supervised;
        *tokens += parts[0].tokens;
    }
    ar__pass_free(pass);
    free(parts);
    free(batch_nll);
    return st;
}
