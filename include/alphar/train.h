/* Training: LoRA on a frozen base, or all weights.  One call runs a whole training and leaves a folder:
 *
 *   DIR/adapter_config.json, adapter_model.safetensors     the adapter, in PEFT's layout, f32     (method lora)
 *   DIR/config.json, model.safetensors, tokenizer files    the model                              (method full)
 *   DIR/README.md        model card            DIR/run.json       every setting, resolved
 *   DIR/metrics.jsonl    one line a step       DIR/checkpoints/step-N/     the adapter, and state.safetensors
 *
 * From the first checkpoint on DIR is the adapter of the newest one.  One run at a time writes into a folder.
 *
 * The same seed gives the same bits for any number of threads, any micro-batch and any number of ranks. */
#ifndef ALPHAR_TRAIN_H
#define ALPHAR_TRAIN_H

#include <stdbool.h>
#include <stdint.h>

#include "alphar/adapter.h"
#include "alphar/data.h"
#include "alphar/error.h"
#include "alphar/preference.h"
#include "alphar/ranks.h"
#include "alphar/runtime.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum ar_method { AR_METHOD_LORA, AR_METHOD_FULL } ar_method;
typedef enum ar_schedule { AR_SCHEDULE_COSINE, AR_SCHEDULE_LINEAR, AR_SCHEDULE_CONSTANT } ar_schedule;
typedef enum ar_optimizer { AR_OPTIMIZER_ADAMW, AR_OPTIMIZER_SGD } ar_optimizer;
typedef enum ar_switch { AR_SWITCH_AUTO, AR_SWITCH_ON, AR_SWITCH_OFF } ar_switch;

/* One progress report; numbers of the step just done. */
typedef struct ar_progress {
    int64_t step, steps;
    double loss, lr, grad_norm;
    double tokens_per_second; /* real tokens, over the last steps */
    double seconds_left;
    double scale;                                        /* s of the adapter (the first site's); 0 with method full */
    double strength;                                     /* mean of ||sBA|| / ||W|| over the sites when last measured; negative: never */
    double eval_loss;                                    /* negative: not evaluated at this step */
    bool compared;                                       /* there is an objective, and so there are these: */
    double margin, accuracy, eval_margin, eval_accuracy; /* alphar/preference.h; of this step, and of its evaluation */
} ar_progress;

/* What all that is trained at once over one base has in common: the base, the samples, and the memory of a pass. */
typedef struct ar_course_options {
    const char *model;         /* a Hugging Face folder; required, but with init random */
    const char *init;          /* "base" (also NULL); "random": weights of model_config, needs method full; where pairs begin:
                                * "pissa", the largest singular triples of W, or "loftq:1", what quantize took off W */
    const char *model_config;  /* config.json of the random base; its folder's tokenizer is used */
    const char *quantize;      /* the layers' matrices in a type of fewer bits, in memory: "nf4", "q4_k", …; NULL: as they are */
    const char *init_adapter;  /* start from this adapter's pairs; NULL: anew */
    ar_data_source data;       /* required */
    ar_data_source eval_data;  /* read like data; empty: nothing is evaluated */
    const char *map;           /* "prompt=question,completion=sql,context=schema": other fields of rows; NULL: none */
    const char *ignore_fields; /* "id,source": fields that are meant to be left out; NULL: none */
    const char *chat_template; /* a file, the name of one of the base's, or chatml; NULL: the base's own, for conversations */
    ar_train_on train_on;      /* AR_TRAIN_ON_COMPLETION */
    bool skip_bad;             /* skip bad lines of data, counted */
    int max_length;            /* 0: 1024, or the base's positions where these are fewer */
    bool pack;                 /* true */
    int micro_batch;           /* rows at a time; 0: from memory */
    ar_switch checkpoint_layers;
    int64_t memory;     /* bytes for everything but the mapped base; 0: what the machine has free */
    ar_compute compute; /* what the runtime was made for; training takes the runtime's (ar_runtime_compute) */
    const char *device; /* likewise (ar_runtime_device): "auto", "cpu", "cuda:N" */
} ar_course_options;

/* What learns, and how. */
typedef struct ar_learner_options {
    ar_method method;
    int rank;        /* 16 */
    bool rank_given; /* rank was asked for (matters with init_adapter) */
    double alpha;    /* 2 * rank where alpha_given is false */
    bool alpha_given;
    ar_policy policy;
    bool policy_given;
    bool dora;
    const char *targets;                    /* "all-linear", "q_proj,v_proj", "regex:RE"; NULL: all-linear, or as init_adapter has them */
    const char *exclude;                    /* names or regex:RE; NULL: none */
    const char *layers;                     /* "0-11", "0,3,5-7"; NULL: all */
    ar_texts rank_patterns, alpha_patterns; /* "RE=N", "RE=X" */
    double dropout;
    double init_scale;           /* A begins at so many times its usual size; 0 counts as 1 */
    int64_t alpha_warmup;        /* steps over which s rises to what is saved; 0: none */
    bool train_scale;            /* s of each site is learned too, as a factor of what alpha says */
    const char *modules_to_save; /* "lm_head,embed_tokens"; NULL: none */
    ar_bias_mode bias;
    ar_preference preference; /* compare two completions instead of learning one; samples are pairs then */

    double epochs;               /* 3 */
    int64_t steps;               /* 0: from epochs */
    int batch;                   /* 8 samples a step, or pairs */
    bool shuffle;                /* true */
    double lr, lr_ratio, min_lr; /* 2e-4, 1, 0 */
    ar_schedule schedule;
    double warmup; /* 0.03: below 1 a fraction of the steps, from 1 on steps */
    ar_optimizer optimizer;
    double weight_decay, beta1, beta2, eps, clip; /* 0, 0.9, 0.999, 1e-8, 1 */
    double router_aux_loss; /* the load-balancing loss of a mixture's routers, times this, is learned too; else what the base says */
    bool router_aux_loss_given;
    uint64_t seed; /* 1 */
} ar_learner_options;

/* A run's folder, and what happens between its steps. */
typedef struct ar_run_options {
    const char *out; /* required */
    bool resume, overwrite;
    int64_t eval_every; /* steps; 0: each epoch */
    int early_stop;     /* evaluations without improvement; 0: off */
    int64_t save_every; /* steps; 0: every ten minutes */
    int keep;           /* 2 checkpoints */
    int strength_every; /* 10 steps; 0: never */
    bool tensorboard;   /* an event file beside metrics.jsonl */
} ar_run_options;

typedef struct ar_train_options {
    ar_course_options course;
    ar_learner_options learner;
    ar_run_options run;
    void (*on_progress)(void *user, const ar_progress *p); /* after each step; NULL: none */
    bool (*should_stop)(void *user);                       /* polled between steps; true: checkpoint, then AR_ERR_INTERRUPTED */
    void *user;
    ar_ranks *ranks; /* that share the work out among them (alphar/ranks.h); NULL: this process is alone */
} ar_train_options;

enum { AR_CURVE_POINTS = 32 };

typedef struct ar_train_result {
    int64_t steps;
    double loss;          /* of the last step: one batch, noisy */
    double smoothed_loss; /* mean over the last tenth of the steps, 50 at most */
    double eval_loss;     /* negative: never evaluated */
    double seconds;
    int curve_count; /* the loss from the first step to the last, in stretches of equal length */
    double curve[AR_CURVE_POINTS];
} ar_train_result;

/* The defaults noted above. */
AR_API void ar_train_options_init(ar_train_options *o);
/* Values that make no sense alone or together: AR_ERR_USAGE.  ar_train and the others check them too. */
AR_API ar_status ar_train_options_check(const ar_train_options *o, ar_error *err);

/* What the runtime of this training is to be made for: course.compute, and where that is auto and a run in run.out is resumed,
 * what that run was started with. */
AR_API ar_compute ar_train_compute(const ar_train_options *o);

/* Trains.  Errors leave no half-written file; AR_ERR_EXISTS where out exists and neither overwrite nor resume is set. */
AR_API ar_status ar_train(ar_train_result *result, const ar_runtime *rt, const ar_train_options *o, ar_error *err);

/* The result of a run that was stopped, from its newest checkpoint (the best, where it was to stop early): nothing is trained,
 * and resume may still go on.  With method full this writes the model; an adapter's folder holds it already.
 * AR_ERR_NOT_FOUND without a whole checkpoint, AR_ERR_EXISTS while a run is writing there. */
AR_API ar_status ar_train_finish(ar_train_result *result, const ar_runtime *rt, const char *dir, ar_error *err);

/* What a run amounts to.  0: not known. */
typedef struct ar_outlook {
    int64_t samples, tokens, supervised; /* of one pass over the data; with an objective samples are pairs */
    bool pairs;
    int64_t lines_read, lines; /* the three are an estimate from so many lines; 0, 0: they are exact */
    double error;              /* of it: a standard error of the tokens, as a share */
    int64_t steps;
    int batch;
    double tokens_per_second, seconds; /* seconds: of all steps and evaluations */
    double eval_work;                  /* of all evaluations, in tokens of training: forward is half of that, a third of all weights' */
    int64_t disk_bytes;                /* of the result and its checkpoints */
    int64_t hour_steps;                /* steps that take about an hour; 0: all take less than two */
    int short_length;                  /* a --max-length that cuts few samples and saves much; 0: none */
    double short_cut, short_saved;     /* what it cuts, what it saves, as shares */
    double rank_share;                 /* of the work that the pairs make */
    int rank;
} ar_outlook;

/* In sentences: the work, the time, and what a sensible first run would be; "" for what is not known or not needed. */
typedef struct ar_outlook_text {
    char work[200], time[200], advice[300];
} ar_outlook_text;
AR_API void ar_outlook_describe(ar_outlook_text *out, const ar_outlook *o);

/* What a training would need: bytes by purpose, work per token, and a measured guess of its speed. */
typedef struct ar_plan {
    int64_t base_bytes;       /* of the mapped files */
    int64_t adapter_bytes;    /* parameters, gradients, optimizer state */
    int64_t activation_bytes; /* kept, working set and head, as the step will allocate them */
    int64_t other_bytes;      /* runtime scratch, libraries, data */
    int64_t anonymous_bytes;  /* all but the base: the predicted peak of anonymous memory */
    int64_t trainable, parameters;
    double flops_per_token;   /* every token supervised; useful work, no recompute */
    double tokens_per_second; /* from a short measurement; 0: not measured */
    int micro_batch;
    bool checkpoint_layers;       /* some layers keep less than all; of them: */
    int layers_again, mlps_again; /* that are formed again whole, and of which the MLP is */
    int max_length;
    int64_t memory; /* the limit that was planned for */
    bool fits;
    ar_outlook outlook;          /* of the data, where there is any */
    double kept_mean, kept_most; /* bytes of gradients that a rank would keep apart for a usual sample, for the longest */
} ar_plan;

/* Decides micro-batch and layer checkpointing as ar_train would; measure: also time a short run on random tokens, about
 * ten seconds at most.  Data of more than 2 MiB is judged by a part of its lines. */
AR_API ar_status ar_plan_training(ar_plan *plan, const ar_runtime *rt, const ar_train_options *o, bool measure, ar_error *err);

/* A step of a planned training over several ranks, each as fast as this machine was measured to be. */
typedef struct ar_ranks_plan {
    int ranks;
    int64_t gradient_bytes; /* that pass each link, each way, in a step */
    int64_t kept_bytes;     /* most that ranks but the first keep of gradients, for samples like these */
    double link_bits;       /* a second */
    double carry_seconds;   /* that takes; hidden as far as backward goes on meanwhile */
    double alone_seconds;   /* of a step on one; 0: the speed is not known */
    double step_seconds;    /* over the ranks, at most: nothing hidden */
} ar_ranks_plan;
AR_API void ar_plan_over_ranks(ar_ranks_plan *out, const ar_plan *plan, int ranks, double link_bits);

#ifdef __cplusplus
}
#endif
#endif
