#include <math.h>

#include "ops/ref/ref.h"

/* The angle is an f32 product by definition (ops/rope.h). */
void ar__ref_rope_fill(const ar_runtime *rt, ar_rope *t, const float *inv_freq, float scale) {
    (void)rt;
    for (size_t p = 0; p < t->positions; p++)
        for (size_t i = 0; i < t->half; i++) {
            float angle = (float)p * inv_freq[i];
            t->cos[p * t->half + i] = (float)(cos((double)angle) * (double)scale);
            t->sin[p * t->half + i] = (float)(sin((double)angle) * (double)scale);
        }
}

/* One head by the angles of one position; `sign` is that of the sine. */
static void turn(float *y, const float *x, const ar_rope *t, const float *c, const float *s, double sign, double gain) {
    for (size_t j = 0; j < t->half; j++) {
        size_t first = t->neighbours ? 2 * j : j, second = t->neighbours ? 2 * j + 1 : j + t->half;
        double a = (double)x[first], b = (double)x[second];
        y[first] = (float)(gain * (a * (double)c[j] - b * sign * (double)s[j]));
        y[second] = (float)(gain * (b * (double)c[j] + a * sign * (double)s[j]));
    }
    for (size_t j = 2 * t->half; j < t->head; j++) y[j] = (float)(gain * (double)x[j]);
}

void ar__ref_rope_apply(const ar_runtime *rt, float *y, const float *x, const ar_rope *t, const ar_rows *rows, const size_t *past,
                        size_t heads, int direction, bool query) {
    (void)rt;
    for (size_t q = 0; q < rows->samples; q++)
        for (size_t i = rows->start[q]; i < rows->start[q + 1]; i++) {
            size_t position = i - rows->start[q] + (past ? past[q] : 0);
            bool far = t->far && t->far[q];
            const float *c = (far ? t->far_cos : t->cos) + position * t->half, *s = (far ? t->far_sin : t->sin) + position * t->half;
            double gain = query && t->gain ? (double)t->gain[position] : 1.0;
            for (size_t h = i * heads; h < (i + 1) * heads; h++)
                turn(y + h * t->head, x + h * t->head, t, c, s, direction > 0 ? 1.0 : -1.0, gain);
        }
}
