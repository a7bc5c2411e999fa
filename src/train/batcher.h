/* Samples to batches.  A list has parts, each under pairs of its own; it is laid out as rows, cut into micro-batches of whole rows,
 * and each becomes flat arrays for the model:
 *
 *     parts      | a a a a a     | b b b       | c c |          pairs A, B, C
 *     rows       | a a a | a a b | b b c | c   |                a row may hold the end of one part and the beginning of the next
 *     segments   | A       | B   | B   | C     |                of micro-batches of two rows
 *
 * All memory is taken once. */
#ifndef AR_TRAIN_BATCHER_H
#define AR_TRAIN_BATCHER_H

#include "data/dataset.h"
#include "data/order.h"
#include "model/pass.h"

typedef struct ar_part {
    const uint32_t *sample; /* borrowed until the last batch */
    int count;
    uint64_t first_key;      /* the i-th sample has dropout key first_key + i */
    const ar_pair_op *pairs; /* NULL: the base alone */
    /* filled in by ar__batcher_begin */
    size_t first; /* its place in the list */
    size_t tokens, supervised;
} ar_part;

typedef struct ar_batcher {
    const ar_dataset *data;
    size_t max_samples, max_tokens; /* of one list, of one micro-batch */
    int row_tokens, micro_rows;
    bool pack, pairs; /* pairs: as ar__pack_rows has it; set after ar__batcher_init */
    /* the list being served */
    const ar_part *part;
    int count, row_count;
    int next, next_row; /* sample; the row that it is in */
    int *lengths;
    uint32_t *owner; /* part of each sample */
    ar_row *rows;
    /* the current micro-batch */
    int32_t *ids, *targets;
    size_t *start;
    uint64_t *key;
    ar_segment segments[AR_SEGMENTS];
    size_t segment_part[AR_SEGMENTS];
    ar_batch batch;
    size_t first_sample; /* of the batch, in the list */
} ar_batcher;

/* micro_rows rows at a time; no list is longer than max_samples. */
ar_status ar__batcher_init(ar_batcher *out, const ar_dataset *data, size_t max_samples, size_t max_tokens, int row_tokens, int micro_rows,
                           bool pack, ar_error *err);
void ar__batcher_release(ar_batcher *b);
/* Most tokens that micro_rows rows can hold, with samples of up to `longest` tokens. */
size_t ar__batcher_tokens(size_t longest, size_t max_samples, int row_tokens, int micro_rows, bool pack);

/* Starts on a list; parts are borrowed until its last batch. */
void ar__batcher_begin(ar_batcher *b, ar_part *parts, size_t count);
/* The next micro-batch; NULL when the list is done.  One of more than AR_SEGMENTS parts comes in several. */
const ar_batch *ar__batcher_next(ar_batcher *b);

#endif
