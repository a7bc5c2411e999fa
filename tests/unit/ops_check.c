#include "ops_check.h"

#include <dlfcn.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

ar_runtime *ops_cpu, *ops_ref;
static ar_arena memory;
static uint64_t draws;

bool ops_on_device(void) { return getenv("ALPHAR_TEST_DEVICE") != NULL; }

static size_t used(void) { return memory.used; }

/* In the CPU's place a device, by way of the table around its own (tests/emulator/around.cc). */
static int use_device(const char *library) {
    typedef const ar_ops *around_fn(const ar_runtime *rt, void *base, size_t bytes, size_t (*used)(void));
    void *handle = dlopen(library, RTLD_NOW);
    around_fn *around = handle ? (around_fn *)dlsym(handle, "ops_around") : NULL;
    const ar_ops *ops = around ? around(ops_cpu, memory.base, memory.size, used) : NULL;
    if (!ops) return 1;
    ar__runtime_use_ops(ops_cpu, ops);
    return 0;
}

int ops_start(void **state) {
    const char *library = getenv("ALPHAR_TEST_DEVICE");
    ar_error err = {0};
    (void)state;
    ar_runtime_options o = {.threads = 2, .device = library ? "cuda" : NULL};
    if (ar_runtime_new(&ops_cpu, &o, &err) || ar_runtime_new(&ops_ref, NULL, &err)) {
        fprintf(stderr, "%s\n", err.message);
        return 1;
    }
    ar__runtime_use_ops(ops_ref, &ar__ops_ref);
    if (!ar__arena_init(&memory, (size_t)1 << (library ? 28 : 30))) return 1;
    return library ? use_device(library) : 0;
}

int ops_stop(void **state) {
    (void)state;
    ar_runtime_free(ops_cpu);
    ar_runtime_free(ops_ref);
    ar__arena_release(&memory);
    return 0;
}

void *ops_memory(size_t bytes) { return memset(ar__arena_take(&memory, bytes), 0, bytes); }
void ops_forget(void) { ar__arena_reset(&memory, 0); }
float *ops_zeros(size_t n) { return ops_memory(n * sizeof(float)); }
float *ops_copy(const float *x, size_t n) { return memcpy(ops_zeros(n), x, n * sizeof *x); }

float *ops_random(size_t n) {
    float *x = random_f32(n, ++draws, 1.0f), *kept = ops_copy(x, n);
    free(x);
    return kept;
}

float *ops_abs(const float *x, size_t n) {
    float *y = ops_zeros(n);
    for (size_t i = 0; i < n; i++) y[i] = fabsf(x[i]);
    return y;
}

double ops_largest(const float *x, size_t n) {
    double most = 0.0;
    for (size_t i = 0; i < n; i++) most = fmax(most, fabs((double)x[i]));
    return most;
}

static void check_one(float got, float want, double bound, size_t i, const char *what) {
    if (!(fabs((double)got - (double)want) <= bound))
        fail_msg("%s: [%zu] is %.9g, by definition %.9g: %.3g apart, at most %.3g by its roundings", what, i, (double)got, (double)want,
                 fabs((double)got - (double)want), bound);
}

void ops_assert_rounding(const float *got, const float *want, const float *size, size_t n, double roundings, const char *what) {
    for (size_t i = 0; i < n; i++) check_one(got[i], want[i], roundings * 0x1p-24 * (double)size[i], i, what);
}

void ops_assert_within(const float *got, const float *want, double size, size_t n, double roundings, const char *what) {
    for (size_t i = 0; i < n; i++) check_one(got[i], want[i], roundings * 0x1p-24 * size, i, what);
}

void ops_assert_same(const float *got, const float *want, size_t n, const char *what) {
    if (memcmp(got, want, n * sizeof *got)) fail_msg("%s: not the same bits", what);
}

ops_sum ops_weigh(const float *weight, const float *y, size_t n) {
    ops_sum s = {0};
    for (size_t i = 0; i < n; i++) {
        double term = (double)weight[i] * (double)y[i];
        s.value += term;
        s.size += fabs(term);
    }
    return s;
}

typedef struct line {
    ops_forward_fn *f;
    void *user;
    float *x;
    const float *origin;
    const double *way;
    size_t n;
} line;

static ops_sum value_at(const line *l, double t) {
    for (size_t i = 0; i < l->n; i++) l->x[i] = (float)((double)l->origin[i] + t * l->way[i]);
    return l->f(l->user);
}

static double slope(const line *l, double t) { return (value_at(l, t).value - value_at(l, -t).value) / (2.0 * t); }

/* Half along the gradient, so that it is not drowned in rounding, and half random, so that a wrong element shows.  What is left of
 * the slope's error after Richardson's step is of the order of t^4; both values and operands were rounded. */
void ops_assert_slope(ops_forward_fn *f, void *user, float *x, const float *grad, size_t n, const char *what) {
    float *origin = ops_copy(x, n), *draw = ops_random(n);
    double *way = ops_memory(n * sizeof *way), norm = 0.0, length = 0.0, along = 0.0, t = 0x1p-6, moved = 0.0;
    for (size_t i = 0; i < n; i++) norm += (double)grad[i] * (double)grad[i];
    for (size_t i = 0; i < n; i++) {
        way[i] = (double)grad[i] / sqrt(norm + 1e-30) + (double)draw[i] / sqrt((double)n);
        length += way[i] * way[i];
    }
    for (size_t i = 0; i < n; i++) {
        along += (double)grad[i] * (way[i] /= sqrt(length));
        moved += fabs((double)grad[i] * (double)origin[i]);
    }
    line l = {f, user, x, origin, way, n};
    double numeric = (4.0 * slope(&l, t / 2) - slope(&l, t)) / 3.0, size = value_at(&l, 0.0).size;
    double bound = 1e-4 * fabs(numeric) + 0x1p-24 * (size + moved) * 3.0 / t;
    if (!(fabs(along - numeric) <= bound))
        fail_msg("%s: backward says %.7g, finite differences %.7g, %.2g apart at most", what, along, numeric, bound);
}
