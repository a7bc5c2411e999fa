/* The element-wise kernels, once, in plain C; each kernels_*.c compiles them for its ISA.
 *
 * Not a header in the usual sense: it is included once per ISA, and elem_fill puts its loops into the table.  They are
 * written so that the compiler vectorises them without reordering sums: reductions keep LANES partial sums. */
#include <math.h>
#include <string.h>

#include "kern/dtype.h"
#include "kern/half.h"
#include "kern/kernels.h"

enum { LANES = 16 };

typedef union bits {
    float f;
    uint32_t u;
} bits;

/* test ? a : b without a branch, which the compiler would not turn into one either. */
static inline float pick(int test, float a, float b) {
    uint32_t mask = 0u - (uint32_t)test;
    bits x = {.f = a}, y = {.f = b}, r = {.u = (x.u & mask) | (y.u & ~mask)};
    return r.f;
}

/* exp(x) for x <= 88: x = n ln 2 + r, |r| <= ln 2 / 2, a degree-6 polynomial in r, n added to the exponent.
 * Coefficients: Cephes expf. */
static inline float exp_fast(float x) {
    int tiny = x < -87.0f;
    x = pick(tiny, -87.0f, x);
    float shifted = x * 1.44269504088896341f + 12582912.0f; /* 1.5 * 2^23: the integer lands in the low mantissa bits */
    float n = shifted - 12582912.0f;
    float r = (x - n * 0.693359375f) - n * -2.12194440e-4f;
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * r * r + r + 1.0f;
    bits s = {.f = shifted};
    s.u = (s.u + 127) << 23; /* the low bits of the shifted number are n in two's complement */
    return pick(tiny, 0.0f, p * s.f);
}

static inline float lane_sum(const float acc[LANES]) {
    float s = 0.0f;
    for (int l = 0; l < LANES; l++) s += acc[l];
    return s;
}

static float dot(const float *x, const float *y, size_t n) {
    float acc[LANES] = {0};
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (int l = 0; l < LANES; l++) acc[l] += x[i + (size_t)l] * y[i + (size_t)l];
    for (int l = 0; i < n; i++, l++) acc[l] += x[i] * y[i];
    return lane_sum(acc);
}

static void dots(float out[AR_DOTS], const float *w, size_t ld, size_t rows, const float *x, size_t n) {
    for (size_t i = 0; i < rows; i++) out[i] = dot(w + i * ld, x, n);
}

static void dots_bf16(float out[AR_DOTS], const uint16_t *w, size_t ld, size_t rows, const float *x, size_t n) {
    for (size_t r = 0; r < rows; r++) {
        float acc[LANES] = {0};
        size_t i = 0;
        for (; i + LANES <= n; i += LANES)
            for (int l = 0; l < LANES; l++) acc[l] += ar__bf16_to_f32(w[r * ld + i + (size_t)l]) * x[i + (size_t)l];
        for (int l = 0; i < n; i++, l++) acc[l] += ar__bf16_to_f32(w[r * ld + i]) * x[i];
        out[r] = lane_sum(acc);
    }
}

static void axpy(float *restrict y, float a, const float *restrict x, size_t n) {
    for (size_t i = 0; i < n; i++) y[i] += a * x[i];
}

/* y may be x. */
static void multiple(float *y, float a, const float *x, size_t n) {
#pragma omp simd
    for (size_t i = 0; i < n; i++) y[i] = a * x[i];
}

static void four_taps(float *restrict y, const float *restrict a, const float *restrict b, const float *restrict c, const float *restrict d,
                      const float *const *w, size_t n) {
    const float *wa = w[0], *wb = w[1], *wc = w[2], *wd = w[3];
#pragma omp simd
    for (size_t i = 0; i < n; i++) y[i] = ((wa[i] * a[i] + wb[i] * b[i]) + wc[i] * c[i]) + wd[i] * d[i];
}

static void one_tap(float *restrict y, const float *restrict x, const float *restrict w, size_t n, int add) {
    for (size_t i = 0; i < n; i++) y[i] = (add ? y[i] : 0.0f) + w[i] * x[i];
}

static void taps(float *y, const float *const *x, const float *const *w, size_t count, size_t n) {
    if (count == 4) {
        four_taps(y, x[0], x[1], x[2], x[3], w, n);
        return;
    }
    for (size_t t = 0; t < count; t++) one_tap(y, x[t], w[t], n, t > 0);
}

static float sum_squares(const float *x, size_t n) { return dot(x, x, n); }

static float max_of(const float *x, size_t n) {
    float acc[LANES];
    for (int l = 0; l < LANES; l++) acc[l] = -INFINITY;
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (int l = 0; l < LANES; l++) acc[l] = x[i + (size_t)l] > acc[l] ? x[i + (size_t)l] : acc[l];
    for (; i < n; i++) acc[0] = x[i] > acc[0] ? x[i] : acc[0];
    float m = acc[0];
    for (int l = 1; l < LANES; l++) m = acc[l] > m ? acc[l] : m;
    return m;
}

static float exp_sum(float *x, float shift, size_t n) {
    float acc[LANES] = {0};
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (int l = 0; l < LANES; l++) {
            float e = exp_fast(x[i + (size_t)l] - shift);
            x[i + (size_t)l] = e;
            acc[l] += e;
        }
    for (int l = 0; i < n; i++, l++) acc[l] += x[i] = exp_fast(x[i] - shift);
    return lane_sum(acc);
}

static inline float sigmoid(float x) {
    float e = exp_fast(-fabsf(x)); /* e <= 1: no overflow on either side */
    return pick(x < 0.0f, e, 1.0f) / (1.0f + e);
}

static void silu_mul(float *restrict h, const float *restrict gate, const float *restrict up, size_t n) {
    for (size_t i = 0; i < n; i++) h[i] = gate[i] * sigmoid(gate[i]) * up[i];
}

static void silu_mul_bwd(float *restrict gate, float *restrict up, const float *restrict dh, size_t n) {
    for (size_t i = 0; i < n; i++) {
        float g = gate[i], s = sigmoid(g);
        gate[i] = dh[i] * up[i] * s * (1.0f + g * (1.0f - s));
        up[i] = dh[i] * g * s;
    }
}

/* The tanh form of gelu (arXiv 1606.08415) is x times the sigmoid of 2u, u = sqrt(2/pi) (x + 0.044715 x^3). */
static inline float gelu_gate(float x) { return sigmoid(x * (1.59576912f + 0.0713548128f * x * x)); }

/* Its derivative, given that sigmoid. */
static inline float gelu_slope(float x, float s) { return s + x * s * (1.0f - s) * (1.59576912f + 0.214064438f * x * x); }

static void gelu(float *restrict y, const float *restrict x, size_t n) {
    for (size_t i = 0; i < n; i++) y[i] = x[i] * gelu_gate(x[i]);
}

static void gelu_bwd(float *restrict x, const float *restrict dy, size_t n) {
    for (size_t i = 0; i < n; i++) x[i] = dy[i] * gelu_slope(x[i], gelu_gate(x[i]));
}

static void gelu_mul(float *restrict h, const float *restrict gate, const float *restrict up, size_t n) {
    for (size_t i = 0; i < n; i++) h[i] = gate[i] * gelu_gate(gate[i]) * up[i];
}

static void gelu_mul_bwd(float *restrict gate, float *restrict up, const float *restrict dh, size_t n) {
    for (size_t i = 0; i < n; i++) {
        float g = gate[i], s = gelu_gate(g);
        gate[i] = dh[i] * up[i] * gelu_slope(g, s);
        up[i] = dh[i] * g * s;
    }
}

/* Near zero an odd polynomial, fitted to tanh(x) / x on |x| <= 0.6; beyond (1 - e) / (1 + e), e = exp(-2 |x|). */
static inline float tanh_fast(float x) {
    float a = fabsf(x), q = x * x, e = exp_fast(-2.0f * a), p = -5.9059504e-3f;
    p = p * q + 2.0805473e-2f;
    p = p * q - 5.3786714e-2f;
    p = p * q + 1.3331959e-1f;
    p = p * q - 3.33333e-1f;
    float far = (1.0f - e) / (1.0f + e);
    return pick(a < 0.6f, x + x * (q * p), pick(x < 0.0f, -far, far));
}

static void softcap(float *x, float cap, size_t n) {
    for (size_t i = 0; i < n; i++) x[i] = cap * tanh_fast(x[i] / cap);
}

static void adamw(float *restrict w, float *restrict m, float *restrict v, const float *restrict g, size_t n, const ar_adamw_step *st) {
    ar_adamw_step s = *st;
    for (size_t i = 0; i < n; i++) {
        float gi = g[i] * s.grad_scale;
        m[i] += (gi - m[i]) * s.rest1;
        v[i] = v[i] * s.beta2 + gi * gi * s.rest2;
        w[i] = w[i] * s.shrink - s.step * (m[i] / (sqrtf(v[i]) / s.correction2 + s.eps));
    }
}

/* Magnitudes are compared as bits, in which NaN is above infinity above all else. */
static void to_codes(int16_t *restrict q, float *restrict scale, float *restrict sum, const float *restrict x, size_t n) {
    for (size_t b = 0; b < n / AR_CODES_RUN; b++, q += AR_CODES_RUN, x += AR_CODES_RUN) {
        bits most = {.u = 0};
        int32_t total = 0;
        for (int i = 0; i < AR_CODES_RUN; i++) {
            bits v = {.f = x[i]};
            v.u &= 0x7fffffffu;
            most.u = most.u > v.u ? most.u : v.u;
        }
        bool odd = most.u >= 0x7f800000u, none = most.f < 0x1p-100f; /* whose reciprocal may be infinite */
        float by = odd || none ? 0.0f : 32767.0f / most.f, step = odd ? NAN : none ? 0.0f : most.f / 32767.0f;
        for (int i = 0; i < AR_CODES_RUN; i++) {
            bits v = {.f = (odd ? 0.0f : x[i]) * by + 12582912.0f}; /* as in exp_fast */
            int32_t code = (int32_t)(v.u - 0x4b400000u);
            q[i] = (int16_t)code;
            total += code;
        }
        scale[b] = step;
        sum[b] = step * (float)total;
    }
}

static void to_bf16(uint16_t *restrict dst, const float *restrict src, size_t n) {
    for (size_t i = 0; i < n; i++) dst[i] = (uint16_t)ar__bf16_bits(ar__bits_of(src[i]));
}

static void widen_bf16(float *restrict dst, const uint16_t *restrict src, size_t n) {
    for (size_t i = 0; i < n; i++) dst[i] = ar__bf16_to_f32(src[i]);
}

static void elem_fill(ar_kernels *k) {
    k->to_bf16 = to_bf16;
    k->from_bf16 = widen_bf16;
    k->to_codes = to_codes;
    k->dot = dot;
    k->dots = dots;
    k->dots_bf16 = dots_bf16;
    k->axpy = axpy;
    k->taps = taps;
    k->multiple = multiple;
    k->sum_squares = sum_squares;
    k->max = max_of;
    k->exp_sum = exp_sum;
    k->silu_mul = silu_mul;
    k->silu_mul_bwd = silu_mul_bwd;
    k->gelu = gelu;
    k->gelu_bwd = gelu_bwd;
    k->gelu_mul = gelu_mul;
    k->gelu_mul_bwd = gelu_mul_bwd;
    k->softcap = softcap;
    k->adamw = adamw;
}
