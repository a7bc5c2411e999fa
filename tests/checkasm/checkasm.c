/* checkasm [ISA] [--bench] [--threads N] [--seed N] [--few]: runs every group on every instruction set of this CPU; --few with a quarter of
 * the random products, where an emulator or a sanitizer makes each of them slow. */
#include "checkasm.h"

#include <stdarg.h>

#include "../blocks.h"
#include "base/mem.h"

static int failures;
static bool few;
static uint64_t state = 0x9e3779b97f4a7c15u;

void check_result(const char *isa, const char *kernel, const char *what_failed) {
    if (what_failed) {
        printf("not ok %s/%s: %s\n", isa, kernel, what_failed);
        failures++;
    } else {
        printf("ok %s/%s\n", isa, kernel);
    }
}

void check_skip(const char *isa, const char *kernel, const char *why) { printf("skip %s/%s %s\n", isa, kernel, why); }

void check_fail(check_failure *f, const char *format, ...) {
    if (f->set) return;
    f->set = true;
    va_list args;
    va_start(args, format);
    vsnprintf(f->text, sizeof f->text, format, args);
    va_end(args);
}

uint32_t check_random(void) { /* SplitMix64 */
    uint64_t z = state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return (uint32_t)(z >> 32);
}

size_t check_below(size_t n) { return check_random() % n; }

int check_rounds(int n) { return few ? (n + 3) / 4 : n; }

void check_fill(float *x, size_t n) {
    for (size_t i = 0; i < n; i++) {
        uint32_t r = check_random();
        float v = ldexpf((float)(r & 0xffffff) + 0x1p24f, (int)(r >> 24 & 7) - 28);
        x[i] = r >> 31 ? -v : v;
    }
}

void check_fill_type(void *w, ar_dtype t, size_t n) {
    if (ar__dtype(t)->block > 1) {
        blocks_fill(w, t, n, check_random());
        return;
    }
    float *x = ar__alloc(n, sizeof *x);
    if (!x) abort();
    check_fill(x, n);
    ar__dtype(t)->from_f32(w, x, n);
    free(x);
}

enum { GUARD = 256, CANARY = 0xa5 };

check_block check_block_new(size_t bytes, size_t shift) {
    check_block b = {.bytes = bytes, .room = bytes + 2 * GUARD + shift};
    b.base = ar__alloc(b.room, 1);
    if (!b.base) abort();
    memset(b.base, CANARY, b.room);
    b.data = b.base + GUARD + shift;
    return b;
}

bool check_block_intact(const check_block *b) {
    const unsigned char *p = (const unsigned char *)b->base;
    size_t first = (size_t)(b->data - b->base);
    for (size_t i = 0; i < b->room; i++)
        if ((i < first || i >= first + b->bytes) && p[i] != CANARY) return false;
    return true;
}

void check_block_free(check_block *b) { free(b->base); }

double check_gamma(size_t n) { return (double)n * UNIT / (1 - (double)n * UNIT); }

static void check_isa(const char *isa) {
    ar_runtime *rt;
    ar_error err;
    if (ar__runtime_new(&rt, &(ar_runtime_options){.isa = isa, .threads = 1}, &err)) {
        check_skip(isa, "all", err.message);
        return;
    }
    check_elementwise(rt);
    check_packing(rt);
    check_tiles(rt);
    check_gradients(rt);
    check_products(rt);
    check_groups(rt);
    ar__runtime_free(rt);
}

int main(int argc, char **argv) {
    bool bench = false;
    const char *isa = NULL;
    int threads = 1;
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--bench"))
            bench = true;
        else if (!strcmp(argv[i], "--few"))
            few = true;
        else if (!strcmp(argv[i], "--threads") && i + 1 < argc)
            threads = atoi(argv[++i]);
        else if (!strcmp(argv[i], "--seed") && i + 1 < argc)
            state = strtoull(argv[++i], NULL, 10);
        else
            isa = argv[i];
    }
    static const char *const isas[] = {
        "c",
#if defined(__x86_64__)
        "avx2",
        "avx512"
#elif defined(__aarch64__)
        "neon"
#endif
    };
    for (size_t i = 0; i < sizeof isas / sizeof *isas; i++) {
        if (isa && strcmp(isa, isas[i])) continue;
        if (bench)
            bench_all(isas[i], threads);
        else
            check_isa(isas[i]);
    }
    return failures > 0;
}
