#include "weights/quantise.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/mem.h"
#include "kern/pack.h"

static bool is_choice(ar_dtype t) {
    const ar_dtype_info *d = ar__dtype(t);
    return d->block > 1 && d->is_weight && d->from_f32 && t != AR_NF4_BF16 && t != AR_NF4_F16;
}

ar_status ar__quantisation_read(ar_quantisation *out, const char *name, ar_error *err) {
    *out = (ar_quantisation){.type = AR_NF4, .twice = !strcmp(name, "nf4-dq")};
    if (out->twice || (ar__dtype_from_name(&out->type, name) && is_choice(out->type))) return AR_OK;
    ar_buf list = {0};
    for (int t = 0; t < AR_DTYPE_COUNT; t++)
        if (is_choice((ar_dtype)t)) ar__buf_printf(&list, "%s, ", ar__dtype((ar_dtype)t)->name);
    ar_status s = ar__fail(err, AR_ERR_USAGE, "quantize '%s': wanted one of %snf4-dq", name, list.data ? list.data : "");
    ar__buf_release(&list);
    return s;
}

ar_dtype ar__quantisation_type(const ar_quantisation *q, ar_dtype from) {
    if (q->type != AR_NF4) return q->type;
    return from == AR_BF16 ? AR_NF4_BF16 : from == AR_F16 ? AR_NF4_F16 : AR_NF4;
}

ar_rounding ar__rounding_of(const float *w, const float *q, size_t n) {
    ar_rounding s = {0};
    for (size_t i = 0; i < n; i++) {
        double x = w[i], d = x - (double)q[i];
        s.whole += x * x;
        s.lost += d * d;
    }
    return s;
}

ar_status ar__quantise(const ar_runtime *rt, void *dst, double *noise, ar_dtype to, bool twice, const void *src, ar_dtype from, size_t rows,
                       size_t cols, ar_error *err) {
    const ar_dtype_info *in = ar__dtype(from), *out = ar__dtype(to);
    size_t in_row = cols / in->block * in->bytes, out_row = cols / out->block * out->bytes;
    ar_rounding *sums = ar__alloc(rows, sizeof *sums);
    bool ok = sums != NULL;
#pragma omp parallel num_threads(ar__team(rt, rows *cols))
    {
        float *w = ar__alloc(2 * cols, sizeof *w);
        if (!w) {
#pragma omp atomic write
            ok = false;
        }
#pragma omp for schedule(dynamic, 16)
        for (size_t i = 0; i < rows; i++) {
            if (!w || !sums) continue;
            in->to_f32(w, (const char *)src + i * in_row, cols);
            out->from_f32((char *)dst + i * out_row, w, cols);
        }
#pragma omp single
        if (twice && !ar__nf4_quantise_scales(dst, rows * (cols / out->block))) ok = false;
#pragma omp for schedule(dynamic, 16)
        for (size_t i = 0; i < rows; i++) {
            if (!w || !sums) continue;
            in->to_f32(w, (const char *)src + i * in_row, cols);
            out->to_f32(w + cols, (const char *)dst + i * out_row, cols);
            sums[i] = ar__rounding_of(w, w + cols, cols);
        }
        free(w);
    }
    ar_rounding all = {0};
    for (size_t i = 0; ok && i < rows; i++) {
        all.whole += sums[i].whole;
        all.lost += sums[i].lost;
    }
    free(sums);
    *noise = all.whole > 0 ? sqrt(all.lost / all.whole) : 0;
    return ok ? AR_OK : ar__fail_memory(err, "quantize");
}
