/* One chunk of the delta rule, as forward and backward see it, in one thread's scratch. */
#ifndef AR_OPS_CPU_DELTA_CHUNK_H
#define AR_OPS_CPU_DELTA_CHUNK_H

#include "kern/panels.h"
#include "ops/delta.h"

/* A thread's: operands of products, and matrices of chunks, each row of them one of the chunk's.  Where two matrices stand
 * on a line the second follows the first, CHUNK rows each, so that one product serves both; rows beyond the chunk's are zeros. */
typedef struct ar_delta_room {
    ar_panels panels;
    float *left, *right, *copy;
    /* Of the chunk in use: */
    float *q, *k;                              /* [CHUNK, key_dim] the vectors of the rule */
    float *p, *kk;                             /* [CHUNK, CHUNK] q_i · k_j and k_i · k_j, times */
    float *decay;                              /* [CHUNK, CHUNK] e^(G_i - G_j) for j <= i, zeros above */
    float *pull;                               /* [CHUNK, CHUNK] -M */
    float *seen;                               /* [CHUNK, value_dim] S^T k of the state before the chunk */
    float *u;                                  /* [CHUNK, value_dim] */
    float *beta, *from_start, *to_end, *slope; /* [CHUNK] e^(G_i), e^(G_last - G_i); of g by a */
    float *keys;                               /* [CHUNK, key_dim] vectors weighed row by row */
    float *state;                              /* [key_dim, value_dim] */
    /* Backward's (delta_bwd.c): */
    float *d_state, *states;
    float *w, *sent;           /* [CHUNK, value_dim] */
    float *product, *d_weight; /* [CHUNK, CHUNK] */
    float *dk, *dq;            /* [CHUNK, key_dim] */
    float *part_w, *part_sent; /* the same */
    float *chunks;             /* memory of those that can be in use */
    size_t chunk_floats;
} ar_delta_room;

/* Chunks of a head that are kept from backward's way there to its way back; those beyond are formed again. */
enum { AR_DELTA_KEPT = 32 };
/* Memory for chunk c, one for each of the first AR_DELTA_KEPT, one for all others. */
void ar__delta_use(ar_delta_room *room, const ar_delta *d, size_t c);

/* What all chunks of a call read. */
typedef struct ar_delta_in {
    const ar_delta *d;
    const float *x, *b, *a;
} ar_delta_in;

/* The calling thread's part of the scratch. */
void ar__delta_room(ar_delta_room *room, const ar_runtime *rt, const ar_delta *d, float *scratch, size_t each);
/* Floats of a room: `longest` as ar_delta_scratch_fn takes it. */
size_t ar__delta_room_floats(const ar_delta *d, size_t longest);

/* C [m, n] (+)= A B: element (i, k) of A at i * row + k * col, one of which is 1; B as k rows of n, or by columns as n rows of k. */
typedef struct ar_delta_operand {
    const float *at;
    size_t row, col;
} ar_delta_operand;
void ar__delta_product(const ar_delta_room *room, float *c, size_t ld, ar_delta_operand a, const float *b, size_t b_ld, bool by_columns,
                       size_t m, size_t n, size_t k, bool accumulate);

/* q, k, beta, decays, kk and p of a value head's rows [row, row + n). */
void ar__delta_load(ar_delta_room *room, const ar_runtime *rt, const ar_delta_in *in, size_t row, size_t n, size_t head);
/* seen and u, from room->state. */
void ar__delta_solve(ar_delta_room *room, const ar_runtime *rt, const ar_delta_in *in, size_t row, size_t n, size_t head);
/* y := (1 - pull)^-1 y, or with its transpose; y [n, value_dim]. */
void ar__delta_substitute(const ar_delta_room *room, const ar_runtime *rt, float *y, size_t n, size_t width, bool transposed);
/* room->state behind the chunk. */
void ar__delta_advance(ar_delta_room *room, const ar_runtime *rt, const ar_delta *d, size_t n);
/* to[i] = sign by[i] from[i], rows of `width`; in place is fine. */
void ar__delta_weigh(const ar_runtime *rt, float *to, const float *from, float sign, const float *by, size_t n, size_t width);
/* Rows n to CHUNK are zeros from now on. */
void ar__delta_end(float *rows, size_t n, size_t width);

#endif
