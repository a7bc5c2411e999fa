/* Gradients dW = dY^T · X of samples, added up or kept apart (ops/rows.h).
 *
 *     added up      dW = ((dW + slice 0) + slice 1) + …      an element of a slice is summed from zero, then added
 *     kept apart    slot[s] + j = 0 + slice j
 *
 * so that who adds the slots to dW in their order gets the bits that dW would have had. */
#include "ops/cpu/outer.h"
#include "base/size.h"
#include "kern/gemm.h"

static void keep_sample(const ar_runtime *rt, const ar_outer *p, const ar_rows *rows, size_t sample, size_t base) {
    size_t t = rows->start[sample] - base, end = rows->start[sample + 1] - base, slot = rows->slot[sample];
    for (size_t slice = ar__gemm_dytx_slice(rt, end - t, p->n, p->k); t < end; slot++) {
        size_t len = ar__min(slice, end - t);
        ar__gemm_dytx(rt, p->dw + (ptrdiff_t)slot * rows->slot_stride, p->dy + t * p->dy_ld, p->dy_ld, p->x + t * p->x_ld, p->x_ld,
                      (const size_t[]){0, len}, 1, p->n, p->k);
        t += len;
    }
}

void ar__outer(const ar_runtime *rt, const ar_outer *p, const ar_rows *rows, size_t first, size_t last) {
    if (!rows->slot) {
        ar__gemm_dytx(rt, p->dw, p->dy, p->dy_ld, p->x, p->x_ld, &rows->start[first], last - first, p->n, p->k);
        return;
    }
    for (size_t s = first; s < last; s++) keep_sample(rt, p, rows, s, rows->start[first]);
}
