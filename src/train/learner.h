/* A learner: an adapter (or all weights) on a course, with its optimizer, its schedule and its order of samples. */
#ifndef AR_TRAIN_LEARNER_H
#define AR_TRAIN_LEARNER_H

#include "train/course.h"
#include "train/objective.h"
#include "train/trainable.h"

/* What training on pairs knows of its samples (train/pairs.h). */
typedef struct ar_pairs {
    double *reference, *eval_reference; /* [samples] sum of −log p under the reference; NaN: not asked yet */
} ar_pairs;

typedef struct ar_learner {
    ar_course *course;
    ar_train_options o, asked; /* with every default resolved; as they were given */
    ar_adapter *adapter;       /* NULL with method full */
    ar_attachment *attachment;
    bool borrows;         /* these two are another's */
    ar_pair_op *eval_ops; /* the attachment's ops without dropout */
    ar_scales scales;     /* of --train-scale; none: count 0 */
    ar_trainables list;
    ar_stream stream;
    uint32_t *samples; /* [samples of a step] of the current one, */
    int sample_count;  /* which has so many */
    ar_pairs pairs;
    double *corrected; /* of a start that makes up for quantising: ‖W − Q(W) − s B A‖ / ‖W‖ by pair then, negative where it does not; else
                          NULL */
    double *weight_norm;   /* ||W||_F by pair, negative until measured */
    int rank_used;         /* the most directions that hold 99 % of a site's update, when measured; 0: not yet */
    double *site_strength; /* ||s B A||_F / ||W||_F by pair, when last measured */
    ar_factors *factors;   /* [pairs] scratch of that, as are */
    ar_weight *weights;    /* these */

    int64_t steps, step; /* in all; done */
    double loss, grad_norm, eval_loss, strength;
    size_t step_tokens, step_supervised;
    ar_judged judged, eval_judged; /* with an objective: means of the step, of the evaluation */
    double uneven;                 /* the step's mean load-balancing loss, where it has one */
    double best_eval;
    int64_t best_step, evals_since_best;
    ar_status status; /* why it cannot go on: AR_ERR_NUMERIC */
    ar_error error;
} ar_learner;

/* Samples of a whole step: a pair has two. */
static inline size_t ar__step_samples(const ar_train_options *o) { return (size_t)o->learner.batch * (ar__has_objective(o) ? 2 : 1); }

/* The model that it begins with is not the base alone: its pairs do something already. */
static inline bool ar__begins_with_pairs(const ar_learner *l) { return l->o.course.init_adapter || l->course->init.kind == AR_INIT_LOFTQ; }

/* On an open course, which then knows what this learner needs of a pass.  Nothing is written.  Close in any case. */
ar_status ar__learner_open(ar_learner *l, ar_course *c, const ar_train_options *o, ar_error *err);
void ar__learner_close(ar_learner *l);
/* Parameters, gradients, moments. */
int64_t ar__learner_state_bytes(const ar_learner *l);
/* One that learns the scales of an adapter alone, which stays the caller's, as its attachment does. */
ar_status ar__learner_open_scales(ar_learner *l, ar_course *c, const ar_train_options *o, ar_attachment *at, ar_scale_groups groups,
                                  ar_error *err);

/* Forward, backward, update of `count` learners of one course, each its own next step: step l->step + 1 is done afterwards, with
 * the bits that it has alone; but of one whose loss or gradient is not finite, which gets a status and an error instead.  Errors: of
 * the data, or of ranks that are gone. */
ar_status ar__learners_step(ar_course *c, ar_learner *const *learners, size_t count, ar_error *err);
/* Gradients of each one's next step, without an update; sets loss, step_tokens, step_supervised. */
ar_status ar__learners_gradients(ar_course *c, ar_learner *const *learners, size_t count, ar_error *err);
/* After values have changed: s of learned scales, DoRA's norms. */
void ar__learner_refresh(ar_learner *l);
/* The samples of step t ≥ 1 in out [samples of a step], and their number.  Allocates nothing. */
int ar__step_get(uint32_t *out, ar_learner *l, uint64_t step);

/* Sets each one's eval_loss (with an objective eval_judged too): over the course's eval_data, without dropout. */
ar_status ar__learners_evaluate(ar_course *c, ar_learner *const *learners, size_t count, ar_error *err);

/* Mean over the sites of ||s B A||_F / ||W||_F. */
double ar__learner_strength(ar_learner *l);
/* s over the pairs, of which there is one at least. */
void ar__learner_scales(double *least, double *most, const ar_learner *l);
/* Sets rank_used. */
void ar__learner_measure_rank(ar_learner *l);

#endif
