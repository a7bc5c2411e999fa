#include <math.h>

#include "ops/ref/ref.h"

/* 1 / sqrt 2, 1 / sqrt(2 pi), sqrt(2 / pi) */
static const double half_root = 0.70710678118654752440, bell = 0.39894228040143267794, tanh_root = 0.79788456080286535588;

static double sigmoid(double x) { return 1.0 / (1.0 + exp(-x)); }
static double below(double x, double most) { return x > most ? most : x; } /* NaN stays */
static double inner(double x) { return tanh(tanh_root * (x + 0.044715 * x * x * x)); }

static double value(const ar_activation *f, double x) {
    double e = (double)f->eps;
    switch (f->kind) {
    case AR_SILU: return x * sigmoid(x);
    case AR_GELU_TANH: return 0.5 * x * (1.0 + inner(x));
    case AR_GELU: return 0.5 * x * (1.0 + erf(x * half_root));
    case AR_RELU2: return x > 0.0 ? x * x : 0.0;
    case AR_XIELU:
        if (x > 0.0) return (double)f->positive * x * x + (double)f->beta * x;
        return (double)f->negative * (expm1(fmin(x, e)) - x) + (double)f->beta * x;
    case AR_SIGMOID: return sigmoid(x);
    case AR_SWIGLU: return below(x, (double)f->limit) * sigmoid((double)f->alpha * below(x, (double)f->limit));
    case AR_IDENTITY: break;
    }
    return x;
}

/* What f(gate) is multiplied by, and its slope. */
static double factor(const ar_activation *f, double up) {
    double most = (double)f->limit;
    return f->kind == AR_SWIGLU ? -below(-below(up, most), most) + 1.0 : up;
}

static double factor_slope(const ar_activation *f, double up) { return f->kind == AR_SWIGLU && fabs(up) > (double)f->limit ? 0.0 : 1.0; }

static double slope(const ar_activation *f, double x) {
    double e = (double)f->eps, s = sigmoid(x), t = inner(x), a = (double)f->alpha;
    switch (f->kind) {
    case AR_SILU: return s + x * s * (1.0 - s);
    case AR_GELU_TANH: return 0.5 * (1.0 + t) + 0.5 * x * (1.0 - t * t) * tanh_root * (1.0 + 3.0 * 0.044715 * x * x);
    case AR_GELU: return 0.5 * (1.0 + erf(x * half_root)) + x * bell * exp(-0.5 * x * x);
    case AR_RELU2: return x > 0.0 ? 2.0 * x : 0.0;
    case AR_XIELU:
        if (x > 0.0) return 2.0 * (double)f->positive * x + (double)f->beta;
        return (double)f->negative * ((x <= e ? exp(x) : 0.0) - 1.0) + (double)f->beta;
    case AR_SIGMOID: return s * (1.0 - s);
    case AR_SWIGLU: return x > (double)f->limit ? 0.0 : sigmoid(a * x) * (1.0 + a * x * (1.0 - sigmoid(a * x)));
    case AR_IDENTITY: break;
    }
    return 1.0;
}

void ar__ref_activation_fwd(const ar_runtime *rt, const ar_activation *f, float *y, const float *gate, const float *up, size_t ld,
                            size_t rows, size_t n) {
    (void)rt;
    for (size_t i = 0; i < rows; i++)
        for (size_t j = 0; j < n; j++) {
            double u = (double)up[i * ld + j];
            y[i * n + j] = (float)(gate ? value(f, (double)gate[i * ld + j]) * factor(f, u) : value(f, u));
        }
}

void ar__ref_activation_bwd(const ar_runtime *rt, const ar_activation *f, float *gate, float *up, size_t ld, const float *dy, size_t rows,
                            size_t n) {
    (void)rt;
    for (size_t i = 0; i < rows; i++)
        for (size_t j = 0; j < n; j++) {
            double d = (double)dy[i * n + j], u = (double)up[i * ld + j], g = gate ? (double)gate[i * ld + j] : 0.0;
            up[i * ld + j] = (float)(gate ? d * value(f, g) * factor_slope(f, u) : d * slope(f, u));
            if (gate) gate[i * ld + j] = (float)(d * slope(f, g) * factor(f, u));
        }
}

void ar__ref_activation_keep(const ar_runtime *rt, const ar_activation *f, float *y, uint16_t *kept, const float *gate, const float *up,
                             size_t ld, size_t rows, size_t n) {
    size_t width = gate ? 2 * n : n;
    for (size_t i = 0; i < rows; i++)
        for (size_t j = 0; j < n; j++) {
            if (gate) ar__dtype(AR_BF16)->from_f32(&kept[i * width + j], &gate[i * ld + j], 1);
            ar__dtype(AR_BF16)->from_f32(&kept[(i + 1) * width - n + j], &up[i * ld + j], 1);
        }
    if (y) ar__ref_activation_again(rt, f, y, kept, gate != NULL, rows, n);
}

void ar__ref_activation_again(const ar_runtime *rt, const ar_activation *f, float *y, const uint16_t *kept, bool gated, size_t rows,
                              size_t n) {
    size_t width = gated ? 2 * n : n;
    for (size_t i = 0; i < rows; i++)
        for (size_t j = 0; j < n; j++) {
            float g, u;
            ar__dtype(AR_BF16)->to_f32(&g, &kept[i * width + j], 1);
            ar__dtype(AR_BF16)->to_f32(&u, &kept[(i + 1) * width - n + j], 1);
            ar__ref_activation_fwd(rt, f, &y[i * n + j], gated ? &g : NULL, &u, 1, 1, 1);
        }
}

void ar__ref_activation_bwd_kept(const ar_runtime *rt, const ar_activation *f, float *gate, float *up, size_t ld, const uint16_t *kept,
                                 const float *dy, size_t rows, size_t n) {
    size_t width = gate ? 2 * n : n;
    for (size_t i = 0; i < rows; i++) {
        if (gate) ar__dtype(AR_BF16)->to_f32(&gate[i * ld], &kept[i * width], n);
        ar__dtype(AR_BF16)->to_f32(&up[i * ld], &kept[(i + 1) * width - n], n);
        ar__ref_activation_bwd(rt, f, gate ? &gate[i * ld] : NULL, &up[i * ld], ld, &dy[i * n], 1, n);
    }
}

void ar__ref_softcap(const ar_runtime *rt, float *x, double cap, size_t rows, size_t n) {
    (void)rt;
    for (size_t i = 0; cap > 0.0 && i < rows * n; i++) x[i] = (float)(cap * tanh((double)x[i] / cap));
}

void ar__ref_clip(const ar_runtime *rt, float *x, double limit, size_t n) {
    (void)rt;
    for (size_t i = 0; limit > 0.0 && i < n; i++)
        if (fabs((double)x[i]) > (double)(float)limit) x[i] = copysignf((float)limit, x[i]);
}

void ar__ref_clip_bwd(const ar_runtime *rt, float *dx, const float *x, double limit, size_t n) {
    (void)rt;
    for (size_t i = 0; limit > 0.0 && i < n; i++)
        if (fabs((double)x[i]) >= (double)(float)limit) dx[i] = 0.0f;
}
