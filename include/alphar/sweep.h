/* A sweep: many candidates trained at once over one base, each the adapter that it would be alone, to the bit.
 *
 *   OUT/run-01, run-02, …      a run's folder each (alphar/train.h)
 *   OUT/sweep.json             candidates, their losses, who was left behind
 *   OUT/best                   the adapter with the least loss on the evaluation data
 *
 * Halving: at 1/2^k … 1/4, 1/2 of the steps all are evaluated, and the worse half goes no further. */
#ifndef ALPHAR_SWEEP_H
#define ALPHAR_SWEEP_H

#include "alphar/train.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct ar_sweep_progress {
    int candidates, active;
    int64_t done, steps; /* of all candidates together */
    double tokens_per_second, seconds_left;
    double best_loss; /* of the last evaluations; negative: none yet */
} ar_sweep_progress;

typedef struct ar_sweep_options {
    ar_train_options common;              /* run.out is the sweep's folder; its learner is not looked at, but for the seed; with
                                             ranks the candidates are shared out among them */
    const ar_learner_options *candidates; /* [count]; methods other than lora, whole tensors and biases change the shared base: refused */
    int count;
    bool halving;
    void (*on_progress)(void *user, const ar_sweep_progress *p); /* after each step; NULL: none */
    void *user;
} ar_sweep_options;

typedef enum ar_candidate_state {
    AR_CANDIDATE_RUNNING, /* or not begun */
    AR_CANDIDATE_DONE,
    AR_CANDIDATE_HALVED, /* left behind */
    AR_CANDIDATE_FAILED  /* its loss or gradient became infinite, or NaN */
} ar_candidate_state;

AR_API const char *ar_candidate_state_name(ar_candidate_state s); /* "running", "done", "halved", "failed" */

typedef struct ar_candidate {
    char dir[16];                   /* "run-03" */
    int rank;                       /* as resolved */
    double alpha, scale;            /* likewise; s of its first site, */
    double scale_least, scale_most; /* and over all: patterns make it differ */
    ar_candidate_state state;
    int64_t steps;    /* done */
    double loss;      /* smoothed, at the end of what was done */
    double eval_loss; /* the last that was measured; negative: none */
    char error[512];  /* of a failed one */
} ar_candidate;

typedef struct ar_sweep_result {
    ar_candidate *candidates;
    int count;
    int best; /* of candidates; −1: none is done */
    double seconds;
} ar_sweep_result;

/* Trains all.  With common.run.resume it goes on where it stopped, with the same candidates.  Errors as ar_train has them; that one
 * candidate fails is none.  Caller releases, also after an error. */
AR_API ar_status ar_sweep(ar_sweep_result *out, const ar_runtime *rt, const ar_sweep_options *o, ar_error *err);
AR_API void ar_sweep_result_release(ar_sweep_result *r);

#ifdef __cplusplus
}
#endif
#endif
