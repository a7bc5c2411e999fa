/* A group of products with one left operand, laid out for the packed product (gemm_own.c): which operands there are, where
 * their packed rows lie, how the work is cut. */
#ifndef AR_KERN_GEMM_GROUP_H
#define AR_KERN_GEMM_GROUP_H

#include "kern/panels.h"
#include "kern/runtime.h"

enum {
    AR_GROUP_MEMBERS = 12,
    AR_GROUP_FACTORS = 64, /* A·B pairs: products and terms; q, k, v with 16 segments have 51 */
    AR_PACKED_LINE = 64,   /* packed operands begin at multiples of it */
    AR_ONE_SLICE = 1024    /* k up to which an f32 product is one slice; deeper ones are cut at multiples of its half */
};

/* One A·B: the product itself or a term. */
typedef struct ar_factor {
    ar_panels panels;
    size_t first, last; /* rows of C */
    size_t k, slice;
    ar_right right;
    const float *a; /* row `first` */
    size_t a_row, a_col;
    char *left; /* packed; of the product itself shared by the members of one arithmetic */
    bool shared;
} ar_factor;

typedef struct ar_member {
    const ar_gemm *g;
    size_t factor, factor_count;
    size_t columns, parts, jobs; /* columns per job; row parts */
} ar_member;

typedef struct ar_group {
    const ar_runtime *rt;
    size_t count, factor_count;
    ar_member member[AR_GROUP_MEMBERS];
    ar_factor factor[AR_GROUP_FACTORS];
    size_t row0, rows; /* the block at hand */
} ar_group;

/* False where there are too many.  whole_k: of the product that g may be a part of. */
bool ar__group_prepare(ar_group *gr, const ar_runtime *rt, const ar_gemm *g, const ar_panels *panels, size_t count, size_t whole_k);
/* The most rows in a block, cut evenly, whose packed operands fit, each given its place in rt->left; 0 where those are too few
 * to be worth packing B again. */
size_t ar__group_rows(ar_group *gr, size_t m);
/* Of an f32 product's k. */
size_t ar__packed_slice(size_t k);
/* Scale and bias of a row's columns from j0 on. */
void ar__gemm_finish_row(const ar_gemm *g, size_t row, size_t j0, size_t cols);
/* Cuts the block at hand into jobs. */
void ar__group_divide(ar_group *gr);

#endif
