#include "check/losses.h"

#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/mem.h"
#include "base/size.h"
#include "train/share_cut.h"

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

/* The runs of the samples that the ranks measure. */
static ar_status cut(size_t *bound, const ar_session *s, const ar_dataset *data, const ar_ranks *r, ar_error *err) {
    size_t n = ar__dataset_count(data), *need = ar__alloc(n, sizeof *need);
    double *cost = ar__alloc(n, sizeof *cost);
    ar_status st = need && cost ? AR_OK : ar__fail_memory(err, "ranks");
    for (size_t i = 0; !st && i < n; i++) cost[i] = ar__cut_cost(&s->model->arch, ar__dataset_at(data, i).count);
    if (!st) ar__cut(bound, &(ar_cut){cost, need, n, 1, 0}, r->count);
    free(need);
    free(cost);
    return st;
}

/* The samples [at, end). */
static ar_status measure_run(double *nll, const ar_session *s, ar_batcher *b, const ar_pair_op *const *pairs, size_t count, size_t at,
                             size_t end, ar_error *err) {
    ar_pass *pass = NULL;
    uint32_t list[AR_LOSSES_BATCH];
    size_t n = ar__dataset_count(b->data);
    ar_part *parts = ar__alloc(count, sizeof *parts);
    double *batch_nll = ar__alloc(b->max_samples, sizeof *batch_nll);
    size_t rows = ar__min(b->max_tokens, HEAD_ROWS), at_once = b->max_samples / ar__min(n, AR_LOSSES_BATCH);
    ar_status st = parts && batch_nll
                       ? ar__session_pass(&pass, s, b->max_tokens, b->max_samples, (size_t)ar__dataset_longest(b->data), rows, err)
                       : ar__fail_memory(err, "batches");
    for (; !st && at < end; at += AR_LOSSES_BATCH) {
        size_t take = ar__min(end - at, AR_LOSSES_BATCH);
        for (size_t i = 0; i < take; i++) list[i] = (uint32_t)(at + i);
        for (size_t i = 0; i < count; i++) parts[i] = (ar_part){.sample = list, .count = (int)take, .pairs = pairs[i]};
        for (size_t i = 0; i < count; i += at_once) measure(nll + i * n, pass, b, batch_nll, parts + i, ar__min(count - i, at_once), at);
    }
    if (!st) st = s->rt->ops->memory->settle(s->rt, err);
    ar__pass_free(pass);
    free(parts);
    free(batch_nll);
    return st;
}

ar_status ar__losses(double *nll, const ar_session *s, ar_batcher *b, const ar_pair_op *const *pairs, size_t count, ar_ranks *ranks,
                     ar_error *err) {
    size_t n = ar__dataset_count(b->data), *bound;
    if (!ar__is_shared(ranks)) return measure_run(nll, s, b, pairs, count, 0, n, err);
    bound = ar__alloc((size_t)ranks->count + 1, sizeof *bound);
    ar_status st = bound ? cut(bound, s, b->data, ranks, err) : ar__fail_memory(err, "ranks");
    if (!st) st = measure_run(nll, s, b, pairs, count, bound[ranks->index], bound[ranks->index + 1], err);
    for (size_t i = 0; !st && i < count; i++) st = ar__comm_gather(ranks, nll + i * n, bound, err);
    free(bound);
    return st;
}
