/* A step shared out over ranks, with the bits that one process has.
 *
 *     the step's samples    | 0 1 2 | 3 4 | 5 6 7 |         each rank computes a run of them, so cut that the longest takes least
 *     gradients             g = ((0 + 0 + 1 + 2) + 3 + 4) + 5 + 6 + 7
 *
 * One process adds what each slice of each sample gives, one after the other (ops/rows.h).  So do the ranks: rank 0 into its list, the
 * others keep each slice's in a slot of its own, and the sum is carried from rank to rank (train/comm.h), which add their slots to
 * it.  Where the runs are cut, and how many ranks there are, changes nothing.  Losses are exchanged and then added in order by all.
 *
 * Behind the layers a sample comes in pieces (model/head.c), often more than it has slices, so that what learns there has slots of its own.
 * Both kinds grow towards each other, in one piece of memory:
 *
 *     slots     | slice 0 | slice 1 | slice 2 | …          … | piece 2 | piece 1 | piece 0 |                */
#ifndef AR_TRAIN_SHARE_H
#define AR_TRAIN_SHARE_H

#include "base/mem.h"
#include "data/dataset.h"
#include "train/comm.h"

struct ar_course;
struct ar_learner;

typedef struct ar_share {
    ar_ranks *ranks; /* NULL: nothing is shared out, and all that follows is empty */
    size_t *bound;   /* [ranks + 1] of the list at work: rank i has bound[i] .. bound[i + 1) */
    double *cost;    /* [most samples of a list] */
    size_t *need;    /* the same: floats that each keeps apart */
    double *said;    /* [most of a step] scratch */
    size_t width[2]; /* numbers that learn: before and in layers, and behind them */
    size_t *slot[2]; /* [most of a step + 1] first slot of each own sample */
    float *slots;    /* [slot_floats]; of rank 0 none */
    size_t slot_floats;
    /* What each adds to dL/ds: each sample of a step to each pair's, [most of a step, stride], and each piece to the head's; NULL: s is not
     * learned. */
    double *slope[2];
    size_t slope_stride, head_pair; /* head_pair: SIZE_MAX where the head has none */
    size_t *piece;                  /* [most of a step + 1] first piece of each sample of a step */
    size_t *slope_bound;
    ar_chunk *chunk;
    size_t chunks, ready; /* ready: of this step */
    bool last;            /* the step's last micro-batch is at work */
    ar_carry carry;
} ar_share;

/* What the ranks do next; rank 0 says. */
typedef enum ar_go { AR_GO_STEP, AR_GO_STOP, AR_GO_DONE } ar_go;

static inline bool ar__share_is_on(const ar_share *s) { return s->ranks != NULL; }

/* Bytes that a rank keeps apart for a usual sample of the learner's, and for the longest; without data, for one of `longest` tokens. */
void ar__share_sizes(double *mean, double *most, const struct ar_learner *l, size_t longest);

/* For a learner that was opened: what cannot be shared out is refused, what ranks have to agree on is compared, memory is taken.  Nothing
 * happens on one rank. */
ar_status ar__share_open(struct ar_learner *l, ar_error *err);
void ar__share_close(ar_share *s);

/* Cuts a list of samples; runs begin at multiples of `unit`.  In training no rank but the first gets more than it has slots for. */
void ar__share_cut(struct ar_course *c, const ar_dataset *data, const uint32_t *sample, size_t count, bool training);
/* The own run of the list that was cut; without sharing [0, count). */
size_t ar__share_first(const ar_share *s);
size_t ar__share_count(const ar_share *s, size_t count);
/* Everyone's part of a list that was cut, in all. */
ar_status ar__share_gather(ar_share *s, double *list, ar_error *err);

/* Tells the micro-batch at hand where each of its samples' gradients go. */
void ar__share_place(struct ar_course *c);
/* Of a list in training: the slopes of s, of all samples, added in their order. */
ar_status ar__share_slopes(struct ar_learner *l, ar_error *err);

/* Around a step's last micro-batch; the end waits for the sum. */
ar_status ar__share_begin(struct ar_course *c, ar_error *err);
ar_status ar__share_end(struct ar_course *c, ar_error *err);

/* What rank 0 resumes, or begins with, in all: step, values, moments. */
ar_status ar__share_state(struct ar_learner *l, ar_error *err);
ar_status ar__share_go(ar_go *go, ar_share *s, ar_error *err);

#endif
