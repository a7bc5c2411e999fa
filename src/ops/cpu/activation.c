#include <math.h>

#include "base/size.h"
#include "ops/cpu/cpu.h"

/* f at one point, for what has no kernel. */
typedef struct point {
    float value, slope;
} point;

static point silu_at(float x) {
    float s = 1.0f / (1.0f + expf(-x));
    return (point){x * s, s * (1.0f + x * (1.0f - s))};
}

static point sigmoid_at(float x) {
    float s = 1.0f / (1.0f + expf(-x));
    return (point){s, s * (1.0f - s)};
}

static point gelu_tanh_at(float x) {
    float c = 0.79788456f, t = tanhf(c * (x + 0.044715f * x * x * x)), half = 0.5f * (1.0f + t);
    return (point){x * half, half + 0.5f * x * (1.0f - t * t) * c * (1.0f + 0.134145f * x * x)};
}

static point gelu_at(float x) {
    float half = 0.5f * (1.0f + erff(x * 0.70710678f));
    return (point){x * half, half + x * 0.39894228f * expf(-0.5f * x * x)};
}

static point relu2_at(float x) {
    float r = x > 0.0f ? x : 0.0f;
    return (point){r * r, 2.0f * r};
}

/* min(x, e) has no slope where it is e. */
static point xielu_at(const ar_activation *f, float x) {
    if (x > 0.0f) return (point){x * (f->positive * x + f->beta), 2.0f * f->positive * x + f->beta};
    float inner = fminf(x, f->eps), slope = x <= f->eps ? expf(x) : 0.0f;
    return (point){(expm1f(inner) - x) * f->negative + f->beta * x, (slope - 1.0f) * f->negative + f->beta};
}

/* As torch.clamp: the slope at the limit is that within, NaN stays. */
static point swiglu_at(const ar_activation *f, float x) {
    float c = x > f->limit ? f->limit : x, s = 1.0f / (1.0f + expf(-f->alpha * c));
    return (point){c * s, x > f->limit ? 0.0f : s * (1.0f + f->alpha * c * (1.0f - s))};
}

static point point_at(const ar_activation *f, float x) {
    switch (f->kind) {
    case AR_SILU: return silu_at(x);
    case AR_GELU_TANH: return gelu_tanh_at(x);
    case AR_GELU: return gelu_at(x);
    case AR_RELU2: return relu2_at(x);
    case AR_XIELU: return xielu_at(f, x);
    case AR_SIGMOID: return sigmoid_at(x);
    case AR_SWIGLU: return swiglu_at(f, x);
    case AR_IDENTITY: break;
    }
    return (point){x, 1.0f};
}

/* What f(gate) is multiplied by. */
static point factor_at(const ar_activation *f, float up) {
    if (f->kind != AR_SWIGLU) return (point){up, 1.0f};
    if (fabsf(up) > f->limit) return (point){copysignf(f->limit, up) + 1.0f, 0.0f};
    return (point){up + 1.0f, 1.0f};
}

static void row_fwd(const ar_kernels *kn, const ar_activation *f, float *y, const float *gate, const float *up, size_t n) {
    if (f->kind == AR_SILU && gate)
        kn->silu_mul(y, gate, up, n);
    else if (f->kind == AR_GELU_TANH && gate)
        kn->gelu_mul(y, gate, up, n);
    else if (f->kind == AR_GELU_TANH)
        kn->gelu(y, up, n);
    else if (f->kind == AR_IDENTITY && gate)
        for (size_t i = 0; i < n; i++) y[i] = gate[i] * up[i];
    else
        for (size_t i = 0; i < n; i++) y[i] = gate ? point_at(f, gate[i]).value * factor_at(f, up[i]).value : point_at(f, up[i]).value;
}

static void point_bwd(const ar_activation *f, float *gate, float *up, float dy) {
    point p = point_at(f, gate ? *gate : *up);
    float slope = dy * p.slope;
    point by = factor_at(f, *up);
    if (gate) *gate = slope * by.value;
    *up = gate ? dy * p.value * by.slope : slope;
}

static void product_bwd(float *restrict gate, float *restrict up, const float *restrict dy, size_t n) {
    for (size_t i = 0; i < n; i++) {
        float g = gate[i];
        gate[i] = dy[i] * up[i];
        up[i] = dy[i] * g;
    }
}

static void row_bwd(const ar_kernels *kn, const ar_activation *f, float *gate, float *up, const float *dy, size_t n) {
    if (f->kind == AR_SILU && gate)
        kn->silu_mul_bwd(gate, up, dy, n);
    else if (f->kind == AR_GELU_TANH && gate)
        kn->gelu_mul_bwd(gate, up, dy, n);
    else if (f->kind == AR_GELU_TANH)
        kn->gelu_bwd(up, dy, n);
    else if (f->kind == AR_IDENTITY && gate)
        product_bwd(gate, up, dy, n);
    else
        for (size_t i = 0; i < n; i++) point_bwd(f, gate ? gate + i : NULL, up + i, dy[i]);
}

void ar__cpu_activation_fwd(const ar_runtime *rt, const ar_activation *f, float *y, const float *gate, const float *up, size_t ld,
                            size_t rows, size_t n) {
#pragma omp parallel for num_threads(ar__team(rt, rows *n * 8)) schedule(static)
    for (size_t i = 0; i < rows; i++) row_fwd(&rt->kern, f, y + i * n, gate ? gate + i * ld : NULL, up + i * ld, n);
}

void ar__cpu_activation_bwd(const ar_runtime *rt, const ar_activation *f, float *gate, float *up, size_t ld, const float *dy, size_t rows,
                            size_t n) {
#pragma omp parallel for num_threads(ar__team(rt, rows *n * 8)) schedule(static)
    for (size_t i = 0; i < rows; i++) row_bwd(&rt->kern, f, gate ? gate + i * ld : NULL, up + i * ld, dy + i * n, n);
}

/* ---- kept as bf16 ----------------------------------------------------------------------------------------------------*/

enum { PART = 512 }; /* of a row, that is widened at a time */

static void part_again(const ar_runtime *rt, const ar_activation *f, float *y, const uint16_t *gate, const uint16_t *up, size_t n) {
    float g[PART], u[PART];
    if (gate) rt->kern.from_bf16(g, gate, n);
    rt->kern.from_bf16(u, up, n);
    row_fwd(&rt->kern, f, y, gate ? g : NULL, u, n);
}

void ar__cpu_activation_keep(const ar_runtime *rt, const ar_activation *f, float *y, uint16_t *kept, const float *gate, const float *up,
                             size_t ld, size_t rows, size_t n) {
    size_t before = gate ? n : 0;
#pragma omp parallel for num_threads(ar__team(rt, rows *n * 8)) schedule(static)
    for (size_t i = 0; i < rows; i++) {
        uint16_t *g = kept + i * (n + before), *u = g + before;
        for (size_t j = 0; j < n; j += PART) {
            size_t len = ar__min(PART, n - j);
            if (gate) rt->kern.to_bf16(g + j, gate + i * ld + j, len);
            rt->kern.to_bf16(u + j, up + i * ld + j, len);
            if (y) part_again(rt, f, y + i * n + j, gate ? g + j : NULL, u + j, len);
        }
    }
}

void ar__cpu_activation_again(const ar_runtime *rt, const ar_activation *f, float *y, const uint16_t *kept, bool gated, size_t rows,
                              size_t n) {
    size_t before = gated ? n : 0;
#pragma omp parallel for num_threads(ar__team(rt, rows *n * 8)) schedule(static)
    for (size_t i = 0; i < rows; i++)
        for (size_t j = 0; j < n; j += PART) {
            const uint16_t *g = kept + i * (n + before) + j;
            part_again(rt, f, y + i * n + j, gated ? g : NULL, g + before, ar__min(PART, n - j));
        }
}

void ar__cpu_activation_bwd_kept(const ar_runtime *rt, const ar_activation *f, float *gate, float *up, size_t ld, const uint16_t *kept,
                                 const float *dy, size_t rows, size_t n) {
    size_t before = gate ? n : 0;
#pragma omp parallel for num_threads(ar__team(rt, rows *n * 8)) schedule(static)
    for (size_t i = 0; i < rows; i++)
        for (size_t j = 0; j < n; j += PART) {
            const uint16_t *from = kept + i * (n + before) + j;
            float *g = gate ? gate + i * ld + j : NULL, *u = up + i * ld + j;
            size_t len = ar__min(PART, n - j);
            if (g) rt->kern.from_bf16(g, from, len);
            rt->kern.from_bf16(u, from + before, len);
            row_bwd(&rt->kern, f, g, u, dy + i * n + j, len);
        }
}

void ar__cpu_softcap(const ar_runtime *rt, float *x, double cap, size_t rows, size_t n) {
    if (cap <= 0.0) return;
#pragma omp parallel for num_threads(ar__team(rt, rows *n * 8)) schedule(static)
    for (size_t i = 0; i < rows; i++) rt->kern.softcap(x + i * n, (float)cap, n);
}

void ar__cpu_clip(const ar_runtime *rt, float *x, double limit, size_t n) {
    float most = (float)limit;
    if (limit <= 0.0) return;
#pragma omp parallel for num_threads(ar__team(rt, n)) schedule(static)
    for (size_t i = 0; i < n; i++) x[i] = x[i] > most ? most : x[i] < -most ? -most : x[i];
}

void ar__cpu_clip_bwd(const ar_runtime *rt, float *dx, const float *x, double limit, size_t n) {
    float most = (float)limit;
    if (limit <= 0.0) return;
#pragma omp parallel for num_threads(ar__team(rt, n)) schedule(static)
    for (size_t i = 0; i < n; i++)
        if (fabsf(x[i]) >= most) dx[i] = 0.0f;
}
