/* `checkasm --bench`: what the groups of measurements share. */
#ifndef ALPHAR_CHECKASM_BENCH_H
#define ALPHAR_CHECKASM_BENCH_H

#include "checkasm.h"

enum { BENCH_ROUNDS = 7 };

/* Seconds of this thread's processor time with one thread, of the clock with several: other programs share the cores. */
double bench_now(int threads);

typedef struct bench_stat {
    double value[BENCH_ROUNDS];
} bench_stat;
double bench_median(const bench_stat *s);
double bench_quartile(const bench_stat *s, int upper);

/* GFLOP/s per core of fused multiply-adds on registers alone, for the instruction set; 0: no probe. */
double bench_peak(const char *isa, bool bf16, int threads);

void bench_group(const ar_runtime *rt, size_t m, int threads);

#endif
