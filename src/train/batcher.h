/* Samples to batches: a list of samples is cut into micro-batches of whole rows, and each becomes flat arrays for the
 * model.  All memory is taken once. */
#ifndef AR_TRAIN_BATCHER_H
#define AR_TRAIN_BATCHER_H

#include "data/dataset.h"
#include "data/order.h"
#include "model/pass.h"

typedef struct ar_batcher {
    const ar_dataset *data;
    size_t max_samples, max_tokens; /* of one list, of one micro-batch */
    int row_tokens, micro_rows;
    bool pack, pairs; /* pairs: as ar__pack_rows has it; set after ar__batcher_init */
    /* the list being served */
    const uint32_t *sample;
    int count, row_count, next_row;
    uint64_t first_key;
    int *lengths;
    ar_row *rows;
    /* the current micro-batch */
    int32_t *ids, *targets;
    size_t *start;
    uint64_t *key;
    ar_segment segment;
    ar_batch batch;
    int first_sample; /* index in the list of the batch's first sample */
} ar_batcher;

/* micro_rows rows at a time; no list is longer than max_samples. */
ar_status ar__batcher_init(ar_batcher *out, const ar_dataset *data, size_t max_samples, size_t max_tokens, int row_tokens, int micro_rows,
                           bool pack, ar_error *err);
void ar__batcher_release(ar_batcher *b);
/* Most tokens that micro_rows rows can hold, with samples of up to `longest` tokens. */
size_t ar__batcher_tokens(size_t longest, size_t max_samples, int row_tokens, int micro_rows, bool pack);

/* Starts on a list of samples (borrowed until the last batch); the i-th has dropout key first_key + i.
 * Returns the supervised tokens of the whole list; *tokens gets all of them. */
size_t ar__batcher_begin(ar_batcher *b, const uint32_t *sample, int count, uint64_t first_key, size_t *tokens);
/* The next micro-batch under the given pairs (NULL: none); NULL when the list is done. */
const ar_batch *ar__batcher_next(ar_batcher *b, const ar_pair_op *pairs);

/* Mean loss over every sample of the dataset, in file order; *supervised and *tokens may be NULL. */
double ar__mean_loss(ar_pass *p, ar_batcher *b, const ar_pair_op *pairs, size_t *tokens, size_t *supervised);

#endif
