#include "ops/cpu/cpu.h"

#include <math.h>

void ar__cpu_rope_fill(const ar_runtime *rt, ar_rope *t, const float *inv_freq, float scale) {
    (void)rt;
    for (size_t p = 0; p < t->positions; p++)
        for (size_t i = 0; i < t->half; i++) {
            float angle = (float)p * inv_freq[i];
            t->cos[p * t->half + i] = (float)cos((double)angle) * scale;
            t->sin[p * t->half + i] = (float)sin((double)angle) * scale;
        }
}

static void rotate_neighbours(float *to, const float *from, const float *c, const float *s, size_t heads, size_t head, size_t half,
                              float sign, float gain) {
    for (size_t h = 0; h < heads; h++, from += head, to += head)
        for (size_t j = 0; j < half; j++) {
            float a = from[2 * j], b = from[2 * j + 1], cosine = gain * c[j], sine = gain * (sign * s[j]);
            to[2 * j] = a * cosine - b * sine;
            to[2 * j + 1] = b * cosine + a * sine;
        }
}

static void rotate_row(float *to, const float *from, const float *c, const float *s, size_t heads, size_t head, size_t half, float sign,
                       float gain) {
    for (size_t h = 0; h < heads; h++, from += head, to += head)
        for (size_t j = 0; j < half; j++) {
            float a = from[j], b = from[j + half], cosine = gain * c[j], sine = gain * (sign * s[j]);
            to[j] = a * cosine - b * sine;
            to[j + half] = b * cosine + a * sine;
        }
}

/* What is not turned. */
static void pass_on(float *to, const float *from, size_t heads, size_t head, size_t turned, float gain) {
    if (turned == head || (to == from && gain == 1.0f)) return;
    for (size_t h = 0; h < heads; h++)
        for (size_t j = turned; j < head; j++) to[h * head + j] = gain * from[h * head + j];
}

void ar__cpu_rope_apply(const ar_runtime *rt, float *y, const float *x, const ar_rope *t, const ar_rows *rows, const size_t *past,
                        size_t heads, int direction, bool query) {
    size_t half = t->half, head = t->head, width = heads * head;
#pragma omp parallel for num_threads(ar__team(rt, rows->count *width)) schedule(static)
    for (size_t i = 0; i < rows->count; i++) {
        size_t low = 0, high = rows->samples; /* the sample of row i: start[low] <= i < start[low + 1] */
        while (high - low > 1) {
            size_t mid = (low + high) / 2;
            if (rows->start[mid] <= i)
                low = mid;
            else
                high = mid;
        }
        size_t position = i - rows->start[low] + (past ? past[low] : 0);
        bool far = t->far && t->far[low];
        const float *c = (far ? t->far_cos : t->cos) + position * half, *s = (far ? t->far_sin : t->sin) + position * half;
        float sign = direction > 0 ? 1.0f : -1.0f, gain = query && t->gain ? t->gain[position] : 1.0f;
        if (t->neighbours)
            rotate_neighbours(y + i * width, x + i * width, c, s, heads, head, half, sign, gain);
        else
            rotate_row(y + i * width, x + i * width, c, s, heads, head, half, sign, gain);
        pass_on(y + i * width, x + i * width, heads, head, 2 * half, gain);
    }
}
