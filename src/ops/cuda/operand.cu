/* What products read: activations as they are, or rounded to bf16 where that is the arithmetic; weights where they lie, or unpacked. */
#include "ops/cuda/mma.h"

__global__ void round_rows(uint16_t *to, size_t to_ld, const float *x, size_t ld, size_t rows, size_t n) {
    for (size_t i = CU_FIRST; i < rows * to_ld; i += CU_STRIDE) {
        size_t r = i / to_ld, c = i % to_ld;
        to[i] = c < n ? bf16_bits(x[r * ld + c]) : (uint16_t)0;
    }
}

cu_operand cu_ready(const ar_runtime *rt, cu_slot slot, const float *x, size_t ld, size_t rows, size_t n) {
    cu_device *d = cu_of(rt);
    size_t to_ld = (n + 7) / 8 * 8;
    x = cu_at(d, x);
    if (!rt->bf16) return cu_operand{x, false, ld, false};
    uint16_t *to = (uint16_t *)cu_scratch(d, slot, rows * to_ld * sizeof *to);
    CU_LAUNCH_FLAT(d, round_rows, cu_grid(rows * to_ld), CU_THREADS, to, to_ld, x, ld, rows, n);
    return cu_operand{to, true, to_ld, false};
}

void cu_round(cu_device *d, uint16_t *to, const float *x, size_t n) {
    if (n) CU_LAUNCH_FLAT(d, round_rows, cu_grid(n), CU_THREADS, to, n, x, n, (size_t)1, n);
}

/* ---- weights ---- */

CU_FN float number_at(const void *at, int type, size_t i) {
    if (type == AR_F32) return ((const float *)at)[i];
    uint32_t bits = ((const uint16_t *)at)[i];
    return type == AR_BF16 ? bf16_value(bits) : f16_value(bits);
}

__global__ void widen_numbers(float *to, const void *from, int type, size_t n) {
    for (size_t i = CU_FIRST; i < n; i += CU_STRIDE) to[i] = number_at(from, type, i);
}

__global__ void round_numbers(uint16_t *to, const void *from, int type, size_t n) {
    for (size_t i = CU_FIRST; i < n; i += CU_STRIDE) to[i] = bf16_bits(number_at(from, type, i));
}

static const char *row_of(const cu_device *d, const ar_weight *w, size_t row) {
    const ar_dtype_info *t = ar__dtype(w->type);
    return (const char *)cu_address(d, w->data) + row * (w->cols / t->block * t->bytes);
}

static bool is_direct(const ar_runtime *rt, const ar_weight *w) { return w->type == (rt->bf16 ? AR_BF16 : AR_F32); }

size_t cu_weight_step(const ar_runtime *rt, const ar_weight *w) {
    size_t rows = CU_STEP_BYTES / (w->cols * (rt->bf16 ? 2 : 4)) / 64 * 64;
    return is_direct(rt, w) || rows > w->rows ? w->rows : rows < 64 ? 64 : rows;
}

cu_operand cu_weight_rows(const ar_runtime *rt, const ar_weight *w, size_t first, size_t last) {
    cu_device *d = cu_of(rt);
    size_t n = (last - first) * w->cols;
    const char *from = row_of(d, w, first);
    if (is_direct(rt, w)) return cu_operand{from, rt->bf16, w->cols, false};
    void *to = cu_scratch(d, CU_SLOT_WEIGHT, n * (rt->bf16 ? 2 : 4));
    if (!ar__dtype_is_float(w->type))
        cu_unpack(d, to, rt->bf16, from, w->type, n);
    else if (rt->bf16)
        CU_LAUNCH_FLAT(d, round_numbers, cu_grid(n), CU_THREADS, (uint16_t *)to, (const void *)from, (int)w->type, n);
    else
        CU_LAUNCH_FLAT(d, widen_numbers, cu_grid(n), CU_THREADS, (float *)to, (const void *)from, (int)w->type, n);
    return cu_operand{to, rt->bf16, w->cols, false};
}

__global__ void gather_numbers(float *out, const void *from, int type, const int32_t *ids, size_t count, size_t n) {
    for (size_t i = CU_FIRST; i < count * n; i += CU_STRIDE) out[i] = number_at(from, type, (size_t)ids[i / n] * n + i % n);
}

void cu_weight_gather(const ar_runtime *rt, float *out, const ar_weight *w, const int32_t *ids, size_t count) {
    cu_device *d = cu_of(rt);
    if (!ar__dtype_is_float(w->type))
        cu_unpack_rows(d, out, row_of(d, w, 0), w->type, ids, count, w->cols);
    else
        CU_LAUNCH_FLAT(d, gather_numbers, cu_grid(count * w->cols), CU_THREADS, out, (const void *)row_of(d, w, 0), (int)w->type, ids,
                       count, w->cols);
}
