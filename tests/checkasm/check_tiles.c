/* The product tiles: every k from 0 to 70 and slices as long as products use, with and without accumulation, rows of C
 * apart by odd strides; and the sums of narrow gradients, of which nothing may be read past the last row's end.  Against the sum in double.
 */
#include "checkasm.h"

static void one(check_failure *f, const ar_kernels *kn, size_t k, bool accumulate) {
    size_t mr = (size_t)kn->mr, nr = (size_t)kn->nr, ld = nr + check_below(40);
    check_block a = check_block_new(k * mr * sizeof(float), 0), b = check_block_new(k * nr * sizeof(float), 0);
    check_block c = check_block_new(((mr - 1) * ld + nr) * sizeof(float), 4 * check_below(16));
    check_block before = check_block_new(c.bytes, 0);
    check_fill(check_f32(&a), k * mr);
    check_fill(check_f32(&b), k * nr);
    check_fill(check_f32(&c), c.bytes / sizeof(float));
    memcpy(before.data, c.data, c.bytes);
    kn->tile(k, check_f32(&a), check_f32(&b), check_f32(&c), ld, accumulate);
    for (size_t i = 0; i < mr; i++)
        for (size_t j = 0; j < (i + 1 < mr ? ld : nr); j++) {
            float got = check_f32(&c)[i * ld + j], old = check_f32(&before)[i * ld + j];
            if (j >= nr) {
                if (!check_same_bits(&got, &old, sizeof got)) check_fail(f, "k %zu, ld %zu: written between rows", k, ld);
                continue;
            }
            double sum = accumulate ? (double)old : 0, size = fabs(sum);
            for (size_t p = 0; p < k; p++) {
                double v = (double)check_f32(&a)[p * mr + i] * (double)check_f32(&b)[p * nr + j];
                sum += v;
                size += fabs(v);
            }
            if (!(fabs((double)got - sum) <= check_gamma(k + 1) * size))
                check_fail(f, "k %zu%s [%zu][%zu]: found %a, wanted %a to %g", k, accumulate ? ", accumulating" : "", i, j, (double)got,
                           sum, check_gamma(k + 1) * size);
        }
    if (!check_block_intact(&c)) check_fail(f, "k %zu, ld %zu: written outside", k, ld);
    check_block_free(&a);
    check_block_free(&b);
    check_block_free(&c);
    check_block_free(&before);
}

void check_tiles(const ar_runtime *rt) {
    check_failure f = {0};
    for (size_t k = 0; k < CHECK_SMALL; k++)
        for (int accumulate = 0; accumulate < 2; accumulate++) one(&f, &rt->kern, k, accumulate != 0);
    one(&f, &rt->kern, 512, false);
    one(&f, &rt->kern, 1023, true);
    check_result(rt->kern.isa, "tile", check_text(&f));
}
