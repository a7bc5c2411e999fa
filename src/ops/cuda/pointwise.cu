/* Activations, caps, cuts, rotations. */
#include "ops/cuda/cuda.h"
#include "ops/cuda/mma.h"

/* ---- activations (ops/activation.h) ---- */

CU_FN float sigmoid(float x) { return 1.0f / (1.0f + expf(-x)); }
CU_FN float below(float x, float most) { return x > most ? most : x; } /* NaN stays */
CU_FN float inner(float x) { return tanhf(0.79788456080286535588f * (x + 0.044715f * x * x * x)); }

CU_FN float value(const ar_activation &f, float x) {
    switch (f.kind) {
    case AR_SILU: return x * sigmoid(x);
    case AR_GELU_TANH: return 0.5f * x * (1.0f + inner(x));
    case AR_GELU: return 0.5f * x * (1.0f + erff(x * 0.70710678118654752440f));
    case AR_RELU2: return x > 0.0f ? x * x : 0.0f;
    case AR_XIELU: return x > 0.0f ? f.positive * x * x + f.beta * x : f.negative * (expm1f(fminf(x, f.eps)) - x) + f.beta * x;
    case AR_SIGMOID: return sigmoid(x);
    case AR_SWIGLU: return below(x, f.limit) * sigmoid(f.alpha * below(x, f.limit));
    case AR_IDENTITY: break;
    }
    return x;
}

CU_FN float slope(const ar_activation &f, float x) {
    float s, t;
    switch (f.kind) {
    case AR_SILU: s = sigmoid(x); return s + x * s * (1.0f - s);
    case AR_GELU_TANH:
        t = inner(x);
        return 0.5f * (1.0f + t) + 0.5f * x * (1.0f - t * t) * 0.79788456080286535588f * (1.0f + 3.0f * 0.044715f * x * x);
    case AR_GELU: return 0.5f * (1.0f + erff(x * 0.70710678118654752440f)) + x * 0.39894228040143267794f * expf(-0.5f * x * x);
    case AR_RELU2: return x > 0.0f ? 2.0f * x : 0.0f;
    case AR_XIELU: return x > 0.0f ? 2.0f * f.positive * x + f.beta : f.negative * ((x <= f.eps ? expf(x) : 0.0f) - 1.0f) + f.beta;
    case AR_SIGMOID: s = sigmoid(x); return s * (1.0f - s);
    case AR_SWIGLU: s = sigmoid(f.alpha * x); return x > f.limit ? 0.0f : s * (1.0f + f.alpha * x * (1.0f - s));
    case AR_IDENTITY: break;
    }
    return 1.0f;
}

/* What f(gate) is multiplied by, and its slope. */
CU_FN float factor(const ar_activation &f, float up) { return f.kind == AR_SWIGLU ? -below(-below(up, f.limit), f.limit) + 1.0f : up; }
CU_FN float factor_slope(const ar_activation &f, float up) { return f.kind == AR_SWIGLU && fabsf(up) > f.limit ? 0.0f : 1.0f; }

__global__ void activate(ar_activation f, float *y, const float *gate, const float *up, size_t ld, size_t rows, size_t n) {
    for (size_t i = CU_FIRST; i < rows * n; i += CU_STRIDE) {
        size_t at = i / n * ld + i % n;
        y[i] = gate ? value(f, gate[at]) * factor(f, up[at]) : value(f, up[at]);
    }
}

__global__ void activate_bwd(ar_activation f, float *gate, float *up, size_t ld, const float *dy, size_t rows, size_t n) {
    for (size_t i = CU_FIRST; i < rows * n; i += CU_STRIDE) {
        size_t at = i / n * ld + i % n;
        float d = dy[i], u = up[at], g = gate ? gate[at] : 0.0f;
        up[at] = gate ? d * value(f, g) * factor_slope(f, u) : d * slope(f, u);
        if (gate) gate[at] = d * slope(f, g) * factor(f, u);
    }
}

void ar__cuda_activation_fwd(const ar_runtime *rt, const ar_activation *f, float *y, const float *gate, const float *up, size_t ld,
                             size_t rows, size_t n) {
    cu_device *d = cu_of(rt);
    CU_LAUNCH_FLAT(d, activate, cu_grid(rows * n), CU_THREADS, *f, cu_at(d, y), cu_at(d, gate), cu_at(d, up), ld, rows, n);
}

void ar__cuda_activation_bwd(const ar_runtime *rt, const ar_activation *f, float *gate, float *up, size_t ld, const float *dy, size_t rows,
                             size_t n) {
    cu_device *d = cu_of(rt);
    CU_LAUNCH_FLAT(d, activate_bwd, cu_grid(rows * n), CU_THREADS, *f, cu_at(d, gate), cu_at(d, up), ld, cu_at(d, dy), rows, n);
}

/* Under bf16 arithmetic, of a row `before` halves of the gate and then n of up. */
__global__ void keep_rounded(uint16_t *kept, const float *gate, const float *up, size_t ld, size_t before, size_t rows, size_t n) {
    for (size_t i = CU_FIRST; i < rows * n; i += CU_STRIDE) {
        size_t row = i / n, j = i % n, to = row * (before + n) + j;
        if (gate) kept[to] = (uint16_t)bf16_bits(gate[row * ld + j]);
        kept[to + before] = (uint16_t)bf16_bits(up[row * ld + j]);
    }
}

__global__ void activate_kept(ar_activation f, float *y, const uint16_t *kept, size_t before, size_t rows, size_t n) {
    for (size_t i = CU_FIRST; i < rows * n; i += CU_STRIDE) {
        const uint16_t *at = kept + i / n * (before + n) + i % n;
        float u = bf16_value(at[before]);
        y[i] = before ? value(f, bf16_value(at[0])) * factor(f, u) : value(f, u);
    }
}

__global__ void widen_kept(float *gate, float *up, size_t ld, const uint16_t *kept, size_t before, size_t rows, size_t n) {
    for (size_t i = CU_FIRST; i < rows * n; i += CU_STRIDE) {
        const uint16_t *at = kept + i / n * (before + n) + i % n;
        if (gate) gate[i / n * ld + i % n] = bf16_value(at[0]);
        up[i / n * ld + i % n] = bf16_value(at[before]);
    }
}

void ar__cuda_activation_keep(const ar_runtime *rt, const ar_activation *f, float *y, uint16_t *kept, const float *gate, const float *up,
                              size_t ld, size_t rows, size_t n) {
    cu_device *d = cu_of(rt);
    CU_LAUNCH_FLAT(d, keep_rounded, cu_grid(rows * n), CU_THREADS, cu_at(d, kept), cu_at(d, gate), cu_at(d, up), ld, gate ? n : (size_t)0,
                   rows, n);
    if (y) ar__cuda_activation_again(rt, f, y, kept, gate != NULL, rows, n);
}

void ar__cuda_activation_again(const ar_runtime *rt, const ar_activation *f, float *y, const uint16_t *kept, bool gated, size_t rows,
                               size_t n) {
    cu_device *d = cu_of(rt);
    CU_LAUNCH_FLAT(d, activate_kept, cu_grid(rows * n), CU_THREADS, *f, cu_at(d, y), cu_at(d, kept), gated ? n : (size_t)0, rows, n);
}

void ar__cuda_activation_bwd_kept(const ar_runtime *rt, const ar_activation *f, float *gate, float *up, size_t ld, const uint16_t *kept,
                                  const float *dy, size_t rows, size_t n) {
    cu_device *d = cu_of(rt);
    CU_LAUNCH_FLAT(d, widen_kept, cu_grid(rows * n), CU_THREADS, cu_at(d, gate), cu_at(d, up), ld, cu_at(d, kept), gate ? n : (size_t)0,
                   rows, n);
    ar__cuda_activation_bwd(rt, f, gate, up, ld, dy, rows, n);
}

__global__ void cap_numbers(float *x, float cap, size_t n) {
    for (size_t i = CU_FIRST; i < n; i += CU_STRIDE) x[i] = cap * tanhf(x[i] / cap);
}

__global__ void cut_numbers(float *x, float limit, size_t n) {
    for (size_t i = CU_FIRST; i < n; i += CU_STRIDE)
        if (fabsf(x[i]) > limit) x[i] = copysignf(limit, x[i]);
}

__global__ void cut_slopes(float *dx, const float *x, float limit, size_t n) {
    for (size_t i = CU_FIRST; i < n; i += CU_STRIDE)
        if (fabsf(x[i]) >= limit) dx[i] = 0.0f;
}

void ar__cuda_softcap(const ar_runtime *rt, float *x, double cap, size_t rows, size_t n) {
    cu_device *d = cu_of(rt);
    if (cap > 0.0) CU_LAUNCH_FLAT(d, cap_numbers, cu_grid(rows * n), CU_THREADS, cu_at(d, x), (float)cap, rows * n);
}

void ar__cuda_clip(const ar_runtime *rt, float *x, double limit, size_t n) {
    cu_device *d = cu_of(rt);
    if (limit > 0.0) CU_LAUNCH_FLAT(d, cut_numbers, cu_grid(n), CU_THREADS, cu_at(d, x), (float)limit, n);
}

void ar__cuda_clip_bwd(const ar_runtime *rt, float *dx, const float *x, double limit, size_t n) {
    cu_device *d = cu_of(rt);
    if (limit > 0.0) CU_LAUNCH_FLAT(d, cut_slopes, cu_grid(n), CU_THREADS, cu_at(d, dx), cu_at(d, x), (float)limit, n);
}

/* ---- rotations (ops/rope.h) ---- */

/* The angle is an f32 product by definition, its sine and cosine are formed in double: once, and positions may be far from 0. */
__global__ void fill_angles(float *cosines, float *sines, const float *inv_freq, float scale, size_t positions, size_t half) {
    for (size_t i = CU_FIRST; i < positions * half; i += CU_STRIDE) {
        float angle = (float)(i / half) * inv_freq[i % half];
        cosines[i] = (float)(cos((double)angle) * (double)scale);
        sines[i] = (float)(sin((double)angle) * (double)scale);
    }
}

void ar__cuda_rope_fill(const ar_runtime *rt, ar_rope *t, const float *inv_freq, float scale) {
    cu_device *d = cu_of(rt);
    const float *staged = cu_stage(d, inv_freq, t->half);
    if (t->half)
        CU_LAUNCH_FLAT(d, fill_angles, cu_grid(t->positions * t->half), CU_THREADS, cu_at(d, t->cos), cu_at(d, t->sin), staged, scale,
                       t->positions, t->half);
}

struct turning {
    const float *cosines, *sines, *far_cosines, *far_sines, *gain;
    const unsigned char *far;
    size_t half, head;
    int neighbours;
    float sign;
};

/* A thread a pair of numbers, or one of those that are not turned. */
__global__ void turn_rows(float *y, const float *x, turning t, cu_row_tables rows, size_t count, size_t heads) {
    size_t each = t.head - t.half;
    for (size_t i = CU_FIRST; i < count * heads * each; i += CU_STRIDE) {
        size_t j = i % each, at = i / each, row = at / heads, position = (size_t)rows.position[row];
        bool far = t.far && t.far[rows.sample[row]];
        float gain = t.gain ? t.gain[position] : 1.0f;
        const float *in = x + at * t.head;
        float *out = y + at * t.head;
        if (j >= t.half) {
            out[j + t.half] = gain * in[j + t.half];
            continue;
        }
        size_t first = t.neighbours ? 2 * j : j, second = t.neighbours ? 2 * j + 1 : j + t.half, angle = position * t.half + j;
        float c = far ? t.far_cosines[angle] : t.cosines[angle], s = t.sign * (far ? t.far_sines[angle] : t.sines[angle]);
        float a = in[first], b = in[second];
        out[first] = gain * (a * c - b * s);
        out[second] = gain * (b * c + a * s);
    }
}

void ar__cuda_rope_apply(const ar_runtime *rt, float *y, const float *x, const ar_rope *r, const ar_rows *rows, const size_t *past,
                         size_t heads, int direction, bool query) {
    cu_device *d = cu_of(rt);
    turning t = {cu_at(d, r->cos),
                 cu_at(d, r->sin),
                 r->far ? cu_at(d, r->far_cos) : NULL,
                 r->far ? cu_at(d, r->far_sin) : NULL,
                 query ? cu_at(d, r->gain) : NULL,
                 r->far ? (const unsigned char *)cu_stage(d, r->far, rows->samples) : NULL,
                 r->half,
                 r->head,
                 r->neighbours,
                 direction > 0 ? 1.0f : -1.0f};
    ar_rows all = *rows;
    all.position = NULL; /* of the sample as it is here */
    if (rows->count)
        CU_LAUNCH_FLAT(d, turn_rows, cu_grid(rows->count * heads * (r->head - r->half)), CU_THREADS, cu_at(d, y), cu_at(d, x), t,
                       cu_rows(d, &all, past), rows->count, heads);
}
