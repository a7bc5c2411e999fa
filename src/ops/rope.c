#include "ops/rope.h"

#include <math.h>

void ar__rope_fill(ar_rope *t, const float *inv_freq, float scale) {
    for (size_t p = 0; p < t->positions; p++)
        for (size_t i = 0; i < t->half; i++) {
            float angle = (float)p * inv_freq[i];
            t->cos[p * t->half + i] = (float)cos((double)angle) * scale;
            t->sin[p * t->half + i] = (float)sin((double)angle) * scale;
        }
}

void ar__rope_apply(const ar_runtime *rt, float *y, const float *x, const ar_rope *t, const ar_rows *rows, size_t past, size_t heads, int direction) {
    size_t half = t->half, width = heads * 2 * half;
#pragma omp parallel num_threads(rt->threads)
    for (size_t s = 0; s < rows->samples; s++)
#pragma omp for schedule(static) nowait
        for (size_t i = rows->start[s]; i < rows->start[s + 1]; i++) {
            const float *c = t->cos + (past + i - rows->start[s]) * half, *sn = t->sin + (past + i - rows->start[s]) * half;
            for (size_t h = 0; h < heads; h++) {
                const float *from = x + i * width + h * 2 * half;
                float *to = y + i * width + h * 2 * half;
                for (size_t j = 0; j < half; j++) {
                    float a = from[j], b = from[j + half], sine = direction > 0 ? sn[j] : -sn[j];
                    to[j] = a * c[j] - b * sine;
                    to[j + half] = b * c[j] + a * sine;
                }
            }
        }
}
