/* How a product's operands are packed and multiplied, per arithmetic.
 *
 *     left    [panel of mr rows][k][mr]        right   [sliver of nr columns][k][nr]       f32
 *     left    as the tile wants it             right   [sliver][k / 2][nr][2]              bf16
 *     the same                                 right   [sliver][k / 2][2 nr][2]            halves
 *
 * Halves: an f32 operand as the sum of two bf16, b = upper + lower to 2^-17, whose columns stand side by side; what the
 * tile makes of them is added up.
 *
 * Rows, columns and k past the end are zeros; k is rounded up to kr.  A slice of k begins at a multiple of kr, so it
 * starts mr (nr) times that many elements into its panel (sliver). */
#ifndef AR_KERN_PANELS_H
#define AR_KERN_PANELS_H

#include "kern/gemm.h"

typedef struct ar_panels {
    const ar_kernels *kn;
    const ar_bf16_tile *bf16;       /* NULL: f32 tiles */
    bool rounded;                   /* f32 tiles on operands that are rounded to bf16: the arithmetic without the unit for it */
    bool halves;                    /* the right operand is not rounded */
    size_t step;                    /* a tile may be as short as this, or a multiple */
    size_t mr, nr, kr;              /* nr: columns of the operand in a sliver */
    size_t left_bytes, right_bytes; /* of a packed element */
} ar_panels;

ar_panels ar__panels_f32(const ar_kernels *kn, bool rounded, bool halves);
ar_panels ar__panels_bf16(const ar_kernels *kn, const ar_bf16_tile *t, bool halves);
static inline size_t ar__panels_depth(const ar_panels *p, size_t k) { return (k + p->kr - 1) / p->kr * p->kr; }

/* One panel of up to mr rows, all of k. */
void ar__panels_left(const ar_panels *p, void *dst, const float *a, size_t a_row, size_t a_col, size_t rows, size_t k);

/* The right operand: as in ar_gemm. */
typedef struct ar_right {
    const void *b;
    ar_dtype type;
    size_t ld;
    bool rows;
} ar_right;

const void *ar__right_element(const ar_right *b, size_t row, size_t col); /* of what is stored; whole blocks only */

/* Columns j0..j0+cols, slice p0..p0+len, sliver after sliver; both begin at whole blocks of the operand.  copy: memory for
 * cols * len packed elements, used where the operand is of a type that the kernels do not take. */
void ar__panels_right(const ar_panels *p, void *dst, void *copy, const ar_right *b, size_t j0, size_t cols, size_t p0, size_t len);

/* Up to one panel of C: rows x cols (+)= panel · slivers of depth k (already rounded up), `sliver` elements apart. */
void ar__panels_multiply(const ar_panels *p, float *c, size_t c_ld, const void *panel, const void *slivers, size_t sliver, size_t rows,
                         size_t cols, size_t k, bool accumulate);

/* The pieces, for loops that run inside one thread (attention), on f32 operands.  Packed sizes in floats are at most m (or n) rounded up to
 * AR_TILE_MAX_NR, times k; a panel takes rows only (a_col = 1) in bf16.  copy: room for n * k elements of bf16. */
ar_panels ar__panels_inside(const ar_runtime *rt); /* in the arithmetic of the runtime */
void ar__pack_left(const ar_panels *p, void *dst, const float *a, size_t a_row, size_t a_col, size_t m, size_t k);
void ar__pack_right(const ar_panels *p, void *dst, void *copy, const float *b, size_t b_ld, bool b_rows, size_t n, size_t k);
void ar__gemm_packed(const ar_panels *p, float *c, size_t c_ld, const void *left, const void *right, size_t m, size_t n, size_t k,
                     bool accumulate);

/* Products of one left operand on packed panels; false: too many or too deep for the scratch.  The second: one plain
 * product of any depth. */
bool ar__packed_group(const ar_runtime *rt, const ar_gemm *g, const ar_panels *panels, size_t count);
void ar__packed_deep(const ar_runtime *rt, const ar_gemm *g, const ar_panels *panels);

#endif
