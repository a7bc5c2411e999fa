/* Norms of weights and updates (ops/magnitude.h): few numbers, rarely asked, so the host makes most of them from its own memory; but DoRA's
 * A Wᵀ, which every step asks for, is a product here. */
#include "ops/cuda/cuda.h"

void ar__cuda_weight_norms(const ar_runtime *rt, double *out, const ar_weight *w, size_t count) {
    cu_of(rt)->host->weight_norms(rt, out, w, count);
}

ar_status ar__cuda_row_squares(const ar_runtime *rt, double *out, const ar_weight *w, bool by_column) {
    return cu_of(rt)->host->row_squares(rt, out, w, by_column);
}

static void bring(const ar_runtime *rt, const ar_factors *f) {
    ar__cuda_memory.get(rt, (void *)f->a, f->rank * f->n_in * sizeof *f->a);
    ar__cuda_memory.get(rt, (void *)f->b, f->rank * f->n_out * sizeof *f->b);
}

void ar__cuda_update_norms(const ar_runtime *rt, double *out, const ar_factors *f, size_t count) {
    for (size_t i = 0; i < count; i++) bring(rt, &f[i]);
    cu_of(rt)->host->update_norms(rt, out, f, count);
}

__global__ void gram_rows(double *gram, const float *a, size_t r, size_t k) {
    for (size_t i = CU_FIRST; i < r * r; i += CU_STRIDE) {
        const float *x = a + i / r * k, *y = a + i % r * k;
        double sum = 0.0;
        for (size_t j = 0; j < k; j++) sum += (double)x[j] * (double)y[j];
        gram[i] = sum;
    }
}

/* Of row j: <W, BA> = B_j · (W Aᵀ)_j and |BA|² = B_j (A Aᵀ) B_jᵀ. */
__global__ void measure_rows(double *cross, double *update2, const float *b, const float *wa, const double *gram, size_t n, size_t r) {
    for (size_t j = CU_FIRST; j < n; j += CU_STRIDE) {
        double c = 0.0, u = 0.0;
        for (size_t q = 0; q < r; q++) {
            double sum = 0.0;
            c += (double)b[j * r + q] * (double)wa[j * r + q];
            for (size_t p = 0; p < r; p++) sum += (double)b[j * r + p] * gram[p * r + q];
            u += sum * (double)b[j * r + q];
        }
        cross[j] = c;
        update2[j] = u;
    }
}

void ar__cuda_row_norms_measure(const ar_runtime *rt, ar_row_norms *out, const ar_factors *f, const ar_weight *w, bool by_column) {
    cu_device *d = cu_of(rt);
    if (by_column) {
        bring(rt, f);
        ar_row_norms own = *out;
        own.aw = (float *)cu_table(d, f->rank * f->n_out * sizeof *own.aw);
        if (own.aw) d->host->row_norms_measure(rt, &own, f, w, true);
        return;
    }
    size_t n = f->n_out, r = f->rank, k = f->n_in;
    ar_runtime whole = *rt; /* in f32, whatever products with the base are in */
    whole.bf16 = false;
    char *memory = (char *)cu_scratch(d, CU_SLOT_SUMS, (2 * n + r * r) * sizeof(double) + n * r * sizeof(float));
    double *cross = (double *)memory, *update2 = cross + n, *gram = update2 + n;
    float *wa = (float *)(gram + r * r);
    const float *a = cu_at(d, f->a);
    cu_operand right = {a, false, k, true};
    size_t step = cu_weight_step(&whole, w);
    for (size_t at = 0; at < n; at += step) {
        size_t end = at + step < n ? at + step : n;
        cu_gemm(d, wa + at * r, r, false, 1.0f, cu_weight_rows(&whole, w, at, end), right, end - at, r, k);
    }
    CU_LAUNCH_FLAT(d, gram_rows, cu_grid(r * r), CU_THREADS, gram, a, r, k);
    CU_LAUNCH_FLAT(d, measure_rows, cu_grid(n), CU_THREADS, cross, update2, cu_at(d, f->b), (const float *)wa, (const double *)gram, n, r);
    cu_download(d, out->cross, cross, n * sizeof *cross);
    cu_download(d, out->update2, update2, n * sizeof *update2);
}

void ar__cuda_dora_gains(const ar_runtime *rt, float *gain, float *inv_norm, const float *magnitude, const ar_row_norms *r, size_t n_out,
                         double s) {
    ar__cuda_memory.get(rt, (void *)magnitude, n_out * sizeof *magnitude);
    cu_of(rt)->host->dora_gains(rt, gain, inv_norm, magnitude, r, n_out, s);
    ar__cuda_memory.put(rt, gain, n_out * sizeof *gain);
    ar__cuda_memory.put(rt, inv_norm, n_out * sizeof *inv_norm);
}
