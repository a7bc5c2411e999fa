/* Gradients kept apart (ops/rows.h): what each slice of a sample adds, in a slot of its own.
 *
 *     ar__gemm_dytx     dW = ((dW + slice 0) + slice 1) + …      an element of a slice is summed from zero, then added
 *     here              slot[s] + j = 0 + slice j
 *
 * so that who adds the slots to dW in their order gets the bits that dW would have had. */
#include <string.h>

#include "base/size.h"
#include "ops/cpu/linear_impl.h"

static float *slot_at(float *of, const ar_rows *rows, size_t slot) { return of + slot * rows->slot_stride; }

void ar__slots_dytx(const ar_runtime *rt, const ar_slot_product *p, const ar_rows *rows, const ar_segment *seg) {
    size_t base = rows->start[seg->first];
    for (size_t s = seg->first; s < seg->last; s++) {
        size_t t = rows->start[s], end = rows->start[s + 1], slice = ar__gemm_dytx_slice(rt, end - t, p->n, p->k);
        for (size_t slot = rows->slot[s]; slot < rows->slot[s + 1]; slot++) {
            size_t len = ar__min(slice, end - t), at = t - base;
            float *dw = slot_at(p->dw, rows, slot);
            memset(dw, 0, p->n * p->k * sizeof *dw);
            if (len)
                ar__gemm_dytx(rt, dw, p->dy + at * p->dy_ld, p->dy_ld, p->x + at * p->x_ld, p->x_ld, (const size_t[]){0, len}, 1, p->n,
                              p->k);
            t += len;
        }
    }
}

float *ar__slots_column(float *out, const ar_rows *rows, size_t sample, size_t at, size_t len) {
    for (size_t slot = rows->slot[sample]; slot < rows->slot[sample + 1]; slot++)
        memset(slot_at(out, rows, slot) + at, 0, len * sizeof *out);
    return slot_at(out, rows, rows->slot[sample]);
}
