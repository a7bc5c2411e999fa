#include <math.h>

#include "arch/arch.h"

int64_t ar__rope_dim(const ar_arch *a, int rope) {
    bool whole = a->rope[rope].kind == AR_ROPE_PROPORTIONAL || a->full_head_dim != a->head_dim;
    return !whole ? a->rotary_dim : a->ropes > 1 && rope == 1 ? a->head_dim : a->full_head_dim;
}

static const double two_pi = 6.283185307179586476925;

/* In f32 where the reference is in f32. */
static void plain(float *inv, double theta, int64_t dim) {
    for (int64_t i = 0; i < dim / 2; i++) {
        float exponent = (float)(2 * i) / (float)dim;
        inv[i] = 1.0f / (float)pow(theta, (double)exponent);
    }
}

static void llama3(float *inv, const ar_rope_config *r, int64_t half) {
    double low_wave = r->original_max / r->low_freq, high_wave = r->original_max / r->high_freq;
    for (int64_t i = 0; i < half; i++) {
        float f = inv[i];
        double wave = two_pi / (double)f;
        if (wave < high_wave) continue;
        if (wave > low_wave) {
            inv[i] = (float)((double)f / r->factor);
            continue;
        }
        double smooth = (r->original_max / wave - r->low_freq) / (r->high_freq - r->low_freq);
        inv[i] = (float)((1.0 - smooth) * (double)f / r->factor + smooth * (double)f);
    }
}

static double correction_dim(double rotations, double dim, double theta, double max) {
    return dim * log(max / (rotations * two_pi)) / (2.0 * log(theta));
}

static double mscale_of(double factor, double mscale) { return factor <= 1.0 ? 1.0 : 0.1 * mscale * log(factor) + 1.0; }

static float yarn(float *inv, const ar_rope_config *r, int64_t dim) {
    double low = correction_dim(r->beta_fast, (double)dim, r->theta, r->original_max);
    double high = correction_dim(r->beta_slow, (double)dim, r->theta, r->original_max);
    if (r->truncate) {
        low = floor(low);
        high = ceil(high);
    }
    low = fmax(low, 0.0);
    high = fmin(high, (double)dim - 1.0);
    if (low == high) high += 0.001;
    for (int64_t i = 0; i < dim / 2; i++) {
        double ramp = fmin(fmax(((double)i - low) / (high - low), 0.0), 1.0);
        double extrapolated = (double)inv[i], interpolated = extrapolated / r->factor;
        inv[i] = (float)(interpolated * ramp + extrapolated * (1.0 - ramp));
    }
    if (r->attention_factor > 0.0) return (float)r->attention_factor;
    if (r->mscale > 0.0 && r->mscale_all_dim > 0.0)
        return (float)(mscale_of(r->factor, r->mscale) / mscale_of(r->factor, r->mscale_all_dim));
    return (float)mscale_of(r->factor, 1.0);
}

bool ar__rope_is_dynamic(const ar_arch *a) {
    bool dynamic = false;
    for (int i = 0; i < a->ropes; i++) dynamic = dynamic || (a->rope[i].kind == AR_ROPE_DYNAMIC && a->rope[i].alpha == 0.0);
    return dynamic;
}

double ar__rope_query_gain(const ar_arch *a, size_t position) {
    const ar_rope_config *r = &a->rope[0];
    return 1.0 + r->query_beta * log(1.0 + floor((double)position / r->original_max));
}

bool ar__rope_is_long(const ar_rope_config *r, size_t length) { return r->kind == AR_ROPE_LONG && (double)length > r->original_max; }

/* arXiv 2402.13753; the factor on cos and sin as transformers has it. */
static float longrope(float *inv, const ar_rope_config *r, double theta, int64_t dim, size_t length) {
    const double *by = ar__rope_is_long(r, length) ? r->long_factor : r->short_factor;
    for (int64_t i = 0; i < dim / 2; i++) {
        float exponent = (float)(2 * i) / (float)dim;
        inv[i] = 1.0f / ((float)by[i] * (float)pow(theta, (double)exponent));
    }
    if (r->attention_factor > 0.0) return (float)r->attention_factor;
    return r->factor <= 1.0 ? 1.0f : (float)sqrt(1.0 + log(r->factor) / log(r->original_max));
}

/* The first of a whole head's frequencies; the other pairs keep where they are. */
static void proportional(float *inv, const ar_rope_config *r, int64_t dim) {
    int64_t turned = (int64_t)(r->partial * (double)dim / 2.0);
    for (int64_t i = 0; i < dim / 2; i++) inv[i] = i < turned ? inv[i] / (float)r->factor : 0.0f;
}

void ar__rope_frequencies(float *inv_freq, float *scale, const ar_arch *a, int rope, size_t length) {
    const ar_rope_config *r = &a->rope[rope];
    int64_t turned = ar__rope_dim(a, rope);
    double theta = r->theta, dim = (double)turned;
    *scale = 1.0f;
    if (r->alpha != 0.0) theta *= pow(r->alpha, dim / (dim - 2.0));
    if (r->kind == AR_ROPE_DYNAMIC && r->alpha == 0.0 && (double)length > (double)a->max_positions)
        theta *= pow(r->factor * (double)length / (double)a->max_positions - (r->factor - 1.0), dim / (dim - 2.0));
    plain(inv_freq, theta, turned);
    if (r->kind == AR_ROPE_LINEAR)
        for (int64_t i = 0; i < turned / 2; i++) inv_freq[i] /= (float)r->factor;
    if (r->kind == AR_ROPE_PROPORTIONAL) proportional(inv_freq, r, turned);
    if (r->kind == AR_ROPE_LLAMA3) llama3(inv_freq, r, turned / 2);
    if (r->kind == AR_ROPE_YARN) *scale = yarn(inv_freq, r, turned);
    if (r->kind == AR_ROPE_LONG) *scale = longrope(inv_freq, r, theta, turned, length);
}
