/* A training in memory: everything that ar_train opens, decides and keeps. */
#ifndef AR_TRAIN_TRAINER_H
#define AR_TRAIN_TRAINER_H

#include "alphar/train.h"
#include "train/batcher.h"
#include "train/objective.h"
#include "train/trainable.h"

/* What the plan decided. */
typedef struct ar_choice {
    int micro_rows;
    size_t again, mlp_again; /* layers that are computed again in backward: whole, their MLP (struct ar_pass_spec) */
    size_t head_pieces;      /* that are formed at a time */
    size_t tokens;           /* most in a micro-batch */
    size_t bytes;            /* of the pass */
    size_t packing;          /* bytes of the runtime's scratch that its products touch */
    bool fits;
} ar_choice;

/* What training on pairs knows of its samples (train/pairs.h). */
typedef struct ar_pairs {
    double *reference, *eval_reference; /* [samples] sum of −log p under the reference; NaN: not asked yet */
    float *weight;                      /* [samples of a step] */
    uint32_t *missing;                  /* [samples of a step] */
} ar_pairs;

typedef struct ar_trainer {
    const ar_runtime *rt;
    ar_train_options o, asked; /* with every default resolved; as they were given */
    char *tokenizer_path;
    ar_model *model;
    ar_tokenizer *tokenizer;
    ar_chat *chat;       /* how conversations are written; NULL: no way is known */
    bool own_template;   /* that way is the run's, not the base's: it is kept with what is trained */
    bool turns;          /* pairs of plain texts are conversations, written so */
    ar_adapter *adapter; /* NULL with method full */
    ar_attachment *attachment;
    ar_pair_op *eval_ops; /* the attachment's ops without dropout */
    ar_trainables list;
    ar_dataset *data, *eval_data;
    ar_data_stats stats, eval_stats;
    ar_stream stream;
    ar_choice choice;
    int64_t fixed_bytes; /* anonymous memory before the pass: parameters, state, tokenizer, data, libraries */
    int64_t budget;      /* what is left for the pass; 0: unknown */
    ar_pass *pass;
    ar_batcher batcher, eval_batcher;
    uint32_t *samples;  /* [samples of a step] of the current one */
    double *sample_nll; /* [samples of a step] */
    ar_pairs pairs;
    double *weight_norm; /* ||W||_F by pair, negative until measured */

    int64_t steps, step; /* in all; done */
    double loss, grad_norm, eval_loss, strength;
    size_t step_tokens, step_supervised;
    ar_judged judged, eval_judged; /* with an objective: means of the step, of the evaluation */
    double best_eval;
    int64_t best_step, evals_since_best;
} ar_trainer;

static inline bool ar__has_objective(const ar_train_options *o) { return o->learner.preference.objective != AR_OBJECTIVE_NONE; }
/* Samples of a whole step: a pair has two. */
static inline size_t ar__step_samples(const ar_trainer *t) { return (size_t)t->o.learner.batch * (ar__has_objective(&t->o) ? 2 : 1); }

typedef enum ar_data_when {
    AR_DATA_NOT,   /* a plan may do without */
    AR_DATA_PART,  /* enough of it for an estimate */
    AR_DATA_FIRST, /* all of it before anything else */
    AR_DATA_AHEAD  /* while the first steps run, where that is possible */
} ar_data_when;

/* Opens everything that can fail because of its input: nothing is written yet. */
ar_status ar__trainer_open(ar_trainer *t, const ar_runtime *rt, const ar_train_options *o, ar_data_when data, ar_error *err);
/* The memory of the steps. */
ar_status ar__trainer_allocate(ar_trainer *t, ar_error *err);
void ar__trainer_close(ar_trainer *t);

/* Forward, backward, update: step t->step + 1 is done afterwards.  AR_ERR_NUMERIC when loss or gradient is not finite. */
ar_status ar__trainer_step(ar_trainer *t, ar_error *err);
/* Gradients of the samples of one step, without an update; sets loss, step_tokens, step_supervised. */
ar_status ar__trainer_gradients(ar_trainer *t, int64_t step, ar_error *err);
/* The samples of step t ≥ 1 in out [samples of a step], and their number.  Allocates nothing. */
int ar__step_get(uint32_t *out, ar_trainer *t, uint64_t step);
/* The loss on the evaluation data; with an objective eval_judged too. */
double ar__trainer_evaluate(ar_trainer *t);
/* Mean over the pairs of ||s B A||_F / ||W||_F. */
double ar__trainer_strength(ar_trainer *t);

/* What the data and the options allow for a pass; the trainer's plan. */
ar_choice ar__plan_choose(const ar_trainer *t, size_t longest);
ar_pass_spec ar__plan_spec(const ar_trainer *t, const ar_choice *c, size_t longest);
int64_t ar__memory_anonymous(void); /* RssAnon of this process */

#endif
