/* Every kernel of every instruction set against plain C on random input, and timed: what the groups share.
 *
 * A group is one file and one function.  It is called once per instruction set that the CPU has, with that set's
 * runtime; it reports each kernel by check_result.  Bounds are those of float error analysis: u = 2^-24, and a sum of n
 * products in any order is off by at most n u / (1 - n u) of the sum of their magnitudes. */
#ifndef ALPHAR_CHECKASM_H
#define ALPHAR_CHECKASM_H

#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kern/runtime.h"

#define UNIT 0x1p-24

enum { CHECK_SMALL = 71 }; /* sizes 0..70 are all tried */

/* ---- reporting: lines of TAP ---- */
void check_result(const char *isa, const char *kernel, const char *what_failed); /* NULL: passed */
void check_skip(const char *isa, const char *kernel, const char *why);
/* Formats a failure; keeps the first one of a kernel. */
typedef struct check_failure {
    char text[256];
    bool set;
} check_failure;
void check_fail(check_failure *f, const char *format, ...) __attribute__((format(printf, 2, 3)));
static inline const char *check_text(const check_failure *f) { return f->set ? f->text : NULL; }

/* ---- input ---- */
uint32_t check_random(void);
size_t check_below(size_t n);                        /* 0..n-1 */
int check_rounds(int n);                             /* how many of n random cases are tried: fewer with --few */
void check_fill(float *x, size_t n);                 /* signs and magnitudes 2^-4..2^4 mixed, exact bf16 never */
void check_fill_type(void *w, ar_dtype t, size_t n); /* the same, rounded to the type */

/* ---- memory with guards: n elements at `shift` bytes past a 64-byte boundary, canaries on both sides ---- */
typedef struct check_block {
    char *base, *data;
    size_t bytes, room;
} check_block;
check_block check_block_new(size_t bytes, size_t shift);
static inline float *check_f32(const check_block *b) { return (float *)(void *)b->data; }
bool check_block_intact(const check_block *b); /* nothing was written around it */
void check_block_free(check_block *b);

/* ---- comparing ---- */
double check_gamma(size_t n); /* n u / (1 - n u) */
static inline bool check_same_bits(const void *a, const void *b, size_t bytes) { return bytes == 0 || memcmp(a, b, bytes) == 0; }

/* ---- groups ---- */
void check_elementwise(const ar_runtime *rt);
void check_packing(const ar_runtime *rt);
void check_tiles(const ar_runtime *rt);
void check_gradients(const ar_runtime *rt); /* makes runtimes of its own for the threads */
void check_products(const ar_runtime *rt);  /* makes runtimes of its own for the backends */
void check_groups(const ar_runtime *rt);

/* `--bench`: medians and ratios */
void bench_all(const char *isa, int threads);

#endif
