/* How fast this machine trains and decodes with a base, against what its cores and its memory can do. */
#ifndef ALPHAR_BENCH_H
#define ALPHAR_BENCH_H

#include <stdbool.h>
#include <stdint.h>

#include "alphar/error.h"
#include "alphar/runtime.h"
#include "alphar/train.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct ar_bench_options {
    const char *model;               /* a Hugging Face folder; with config_only its config.json (or a folder that has one) */
    bool config_only;                /* random bf16 weights in a temporary folder of $TMPDIR, gone afterwards; no tokenizer needed */
    int rank;                        /* 16, on all linears */
    int tokens;                      /* 512 a training step: one sample of random text */
    int rounds;                      /* 5 */
    uint64_t seed;                   /* 1 */
    bool (*should_stop)(void *user); /* polled between rounds; true: AR_ERR_INTERRUPTED */
    void *user;
} ar_bench_options;

/* Over the rounds. */
typedef struct ar_bench_range {
    double median, least, most;
} ar_bench_range;

typedef struct ar_bench_result {
    int threads, rounds, rank;
    int64_t parameters;
    int64_t weight_bytes; /* that decoding reads for a token: all linears and the head, as the file has them */
    /* The machine: FLOP/s of the best of products, in the arithmetic of training, [512, 2048] x [2048, 2048], of which backend and weight
     * type; bytes/s that all threads read from memory. */
    ar_bench_range product, reading;
    const char *product_backend, *product_dtype;
    /* A training step. */
    int64_t tokens, supervised;
    double step_flops;    /* useful work: no credit for what is computed twice, the head on supervised tokens only */
    ar_bench_range start; /* seconds from opening the files to the first layer of the first step */
    ar_bench_range train; /* tokens/s */
    ar_bench_range mfu;   /* step_flops a step / the round's product rate */
    bool checkpoint_layers;
    int64_t anonymous_bytes, file_bytes; /* resident after the steps: own memory; pages of mapped files */
    int64_t peak_bytes;                  /* most of both together */
    /* What ar_plan_training said in the same round. */
    ar_bench_range plan_train; /* predicted tokens/s / measured */
    int64_t plan_anonymous_bytes;
    /* Decoding one sequence, without sampling. */
    ar_bench_range decode;       /* tokens/s */
    ar_bench_range decode_share; /* of reading / weight_bytes */
} ar_bench_result;

AR_API void ar_bench_options_init(ar_bench_options *o);

/* Measures everything in turns, `rounds` times.  Times of one round belong together: on a machine that does something
 * else too, the ratios (mfu, plan_train, decode_share) say more than the rates.  Warnings and a line per round go to
 * the runtime's log. */
AR_API ar_status ar_bench(ar_bench_result *out, const ar_runtime *rt, const ar_bench_options *o, ar_error *err);

#ifdef __cplusplus
}
#endif
#endif
