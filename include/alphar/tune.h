/* Alpha fitted after training: one scale for each group of sites, by gradient descent on held-out data.  A and B stay as they are.
 *
 *     s_i = s_i0 (1 + δ_g)        δ begins at 0, and is pulled there
 *
 * A second split, on which nothing is fitted, chooses where to stop: the result is never worse there than the start. */
#ifndef ALPHAR_TUNE_H
#define ALPHAR_TUNE_H

#include "alphar/eval.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum ar_tune_groups { AR_TUNE_SITES, AR_TUNE_ROLES, AR_TUNE_LAYERS, AR_TUNE_ALL } ar_tune_groups;

typedef struct ar_tune_progress {
    int64_t step, steps;
    double loss;      /* of the step's batch */
    double test_loss; /* of the second split when last measured */
} ar_tune_progress;

typedef struct ar_tune_options {
    ar_eval_options eval;     /* its data are fitted on; alphas, scales and objective are not for this */
    ar_data_source test_data; /* the second split; empty: every fifth sample of the data, which then is not fitted on */
    ar_tune_groups groups;
    int64_t steps;  /* 100 */
    int batch;      /* 16 samples a step */
    double lr;      /* 0.05: the most that δ moves in a step */
    double pull;    /* 0.1: decoupled decay of δ */
    double prune;   /* 0: none; else sites are switched off, the weakest first, as long as the loss of the second split stays within (1 +
                       prune) times */
    int64_t memory; /* as in ar_train_options */
    uint64_t seed;  /* 1: of the order of samples */
    void (*on_progress)(void *user, const ar_tune_progress *p); /* NULL: none */
    bool (*should_stop)(void *user);                            /* asked between steps; true: AR_ERR_INTERRUPTED */
    void *user;
} ar_tune_options;

typedef struct ar_tuned_site {
    const char *name;     /* the session's adapter's */
    double before, after; /* s */
    double alpha;         /* by which the site's policy and rank give the latter */
    int group;            /* of group_name */
    bool pruned;
} ar_tuned_site;

typedef struct ar_tune_result {
    double before, after;           /* loss on the second split */
    double data_before, data_after; /* on what was fitted on */
    int64_t step;                   /* whose scales were best; 0: the start */
    int groups, pruned;
    char **group_name; /* [groups] "model.layers.0.self_attn.q_proj", "q_proj", "layer 0", "all" */
    ar_tuned_site *sites;
    int site_count;
} ar_tune_result;

AR_API void ar_tune_options_init(ar_tune_options *o);
/* Fits the scales of the session's one adapter, which has them afterwards.  Caller releases the result, also after an error. */
AR_API ar_status ar_tune(ar_tune_result *out, ar_session *s, const ar_tune_options *o, ar_error *err);
AR_API void ar_tune_result_release(ar_tune_result *r); /* safe on a zeroed one */
/* Whether an adapter may be written there: a folder that does not exist or is empty, or with overwrite one that holds an adapter; never
 * one of a training or a model. */
AR_API ar_status ar_session_check_folder(const char *dir, bool overwrite, ar_error *err);
/* The session's one adapter as it stands, as a PEFT folder, where ar_session_check_folder allows it. */
AR_API ar_status ar_session_save_adapter(const ar_session *s, const char *dir, bool overwrite, ar_error *err);

#ifdef __cplusplus
}
#endif
#endif
