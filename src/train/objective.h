/* The objectives of preference training: a pair's loss and its slopes, from what the model says of both completions. */
#ifndef AR_TRAIN_OBJECTIVE_H
#define AR_TRAIN_OBJECTIVE_H

#include "alphar/error.h"
#include "alphar/preference.h"
#include "alphar/train.h"

/* "dpo", "orpo", "simpo"; NULL for none. */
const char *ar__objective_name(ar_objective o);
/* Fills in beta and gamma.  Errors: AR_ERR_USAGE for values that make no sense, alone or with the objective. */
ar_status ar__preference_resolve(ar_preference *p, ar_error *err);
static inline bool ar__has_objective(const ar_train_options *o) { return o->learner.preference.objective != AR_OBJECTIVE_NONE; }
/* Whether log-probabilities of the reference are asked for. */
static inline bool ar__has_reference(const ar_preference *p) { return p->objective == AR_OBJECTIVE_DPO; }

/* What a model says of one completion: the sum of −log p over its tokens, and their number; reference: the same sum under
 * the reference, of DPO alone. */
typedef struct ar_said {
    double nll, reference;
    int tokens;
} ar_said;

typedef struct ar_verdict {
    double loss, margin;     /* margin: the chosen reward less the rejected one; the chosen one wins above 0 */
    double chosen, rejected; /* slopes of the loss by the sums of −log p */
} ar_verdict;

/* p: resolved. */
ar_verdict ar__judge(const ar_preference *p, const ar_said *chosen, const ar_said *rejected);

/* Of pairs, added in their order. */
typedef struct ar_judged {
    double loss, margin, accuracy; /* sums; accuracy: of the pairs that were won */
    size_t pairs;
} ar_judged;
void ar__judged_add(ar_judged *sum, const ar_verdict *v);
ar_judged ar__judged_mean(const ar_judged *sum);

#endif
