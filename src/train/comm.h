/* Between the ranks of a training: one seam, two fillings.
 *
 *     comm.c        what both have: who was started, where each stands, how many threads it takes
 *     comm_none.c   a build without MPI: one rank
 *     comm_mpi.c    Open MPI (make MPI=1).  All of MPI is called by one thread of its own, the clerk, so that lists travel while
 *                   the caller computes, a wait takes no core, and a rank that is gone is noticed by anyone
 *
 * Calls are made by all ranks in the same order, from one thread.  Each fails when a rank has failed or is lost. */
#ifndef AR_TRAIN_COMM_H
#define AR_TRAIN_COMM_H

#include <stdbool.h>
#include <stdint.h>

#include "alphar/ranks.h"

/* Numbers that travel at a time: long beside what a message costs, short beside the whole. */
enum { AR_HOST_CHARS = 64, AR_CHUNK = 1 << 18 };

/* Where a rank runs. */
typedef struct ar_place {
    char host[AR_HOST_CHARS];
    uint64_t mask; /* of the cores that it may use: a hash */
    int32_t cores; /* of them, as far as control groups allow */
    int32_t machine_cores;
} ar_place;

struct ar_ranks {
    int index, count;
    ar_place *place;      /* [count] */
    struct ar_clerk *own; /* the filling's */
    uint64_t sent;        /* bytes of gradients that this rank sent, */
    double waited;        /* and seconds that its caller waited for them */
};

/* A piece of the flat list that travels by itself, once backward has left `layer`. */
typedef struct ar_chunk {
    size_t at, count;
    int layer;
} ar_chunk;

/* Lists that are kept apart, of the numbers begin .. of the flat one. */
typedef struct ar_slots {
    const float *at; /* the first list; the next is `stride` behind it */
    ptrdiff_t stride;
    size_t begin, count; /* count: lists of this step */
} ar_slots;

/* A sum that is carried from rank to rank, as one process would have added, and back:
 *
 *     rank 0: sum     ->  rank 1: ((sum + slot 0) + slot 1) + …  ->  rank 2: …        each element by itself, chunk by chunk
 *             sum     <-          the last rank's                <-
 *
 * Afterwards `sum` is the same on all. */
typedef struct ar_carry {
    float *sum;            /* of rank 0: its own; of the others: room */
    ar_slots slots[2];     /* of the others: what they add; the second's numbers are behind the first's */
    const ar_chunk *chunk; /* in the order in which they become ready; each is in one of the two */
    size_t chunks;
    void (*add)(float *y, float a, const float *x, size_t n); /* y += a x */
} ar_carry;

/* What the launcher says: processes in all, 0: it says nothing. */
int ar__comm_launched(void);

/* Bytes that the slowest link passes, one after the other, until a sum of `bytes` has been carried around. */
double ar__carry_bytes(double bytes, int ranks);

/* The filling: joins ar__comm_launched() ≥ 2 processes; fills index, count, place, own. */
ar_status ar__comm_open(ar_ranks *r, const ar_place *mine, ar_ranks_end_fn on_end, void *user, ar_error *err);
void ar__comm_close(ar_ranks *r);
void ar__comm_fail(ar_ranks *r, ar_status status, const char *message);
bool ar__comm_is_lost(const ar_ranks *r);
/* Whether a rank has failed or is lost, so that the next call will. */
bool ar__comm_is_over(const ar_ranks *r);

/* Rank 0's bytes to all. */
ar_status ar__comm_broadcast(ar_ranks *r, void *data, size_t bytes, ar_error *err);
/* list[bound[i] .. bound[i + 1]) is rank i's, and in all of them afterwards.  bound: count + 1. */
ar_status ar__comm_gather(ar_ranks *r, double *list, const size_t *bound, ar_error *err);
/* Rank `from`'s bytes to rank `to`; the others do nothing. */
ar_status ar__comm_hand(ar_ranks *r, int from, int to, void *data, size_t bytes, ar_error *err);
/* Begins; says that the first `chunks` of it are formed here; waits until all is there.  No other call in between. */
ar_status ar__comm_carry_begin(ar_ranks *r, const ar_carry *carry, ar_error *err);
void ar__comm_carry_ready(ar_ranks *r, size_t chunks);
ar_status ar__comm_carry_end(ar_ranks *r, ar_error *err);

static inline bool ar__is_shared(const ar_ranks *r) { return r && r->count > 1; }
/* Ranks on this machine. */
int ar__ranks_here(const ar_ranks *r);
/* Whether this rank writes. */
static inline bool ar__is_first(const ar_ranks *r) { return !r || r->index == 0; }

#endif
