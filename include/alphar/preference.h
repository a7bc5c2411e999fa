/* Training on preferences: of two completions of one prompt the chosen one is to become likelier than the rejected one.
 *
 * log p: of a completion, the sum over its tokens (DPO) or their mean (ORPO, SimPO).  Per pair, and the mean over the pairs:
 *
 *     DPO     d = (log p(c) − log p_ref(c)) − (log p(r) − log p_ref(r))
 *             −(1 − e) log σ(β d) − e log σ(−β d)                              arXiv 2305.18290
 *     ORPO    −log p(c) − β log σ(log odds(c) − log odds(r))                   arXiv 2403.07691, β is its λ
 *     SimPO   x = β (log p(c) − log p(r)) − γ
 *             −(1 − e) log σ(x) − e log σ(−x)                                  arXiv 2405.14734
 *
 * docs/preference.md has the gradients, and what the reference is. */
#ifndef ALPHAR_PREFERENCE_H
#define ALPHAR_PREFERENCE_H

#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum ar_objective {
    AR_OBJECTIVE_NONE, /* samples that are learned, not compared */
    AR_OBJECTIVE_DPO,
    AR_OBJECTIVE_ORPO,
    AR_OBJECTIVE_SIMPO
} ar_objective;

typedef struct ar_preference {
    ar_objective objective;
    double beta; /* 0: 0.1, for SimPO 2 */
    bool gamma_given;
    double gamma;           /* of SimPO; where it is not given β/2 */
    double label_smoothing; /* e, the share of pairs that are labelled the wrong way round; of DPO and SimPO */
} ar_preference;

#ifdef __cplusplus
}
#endif
#endif
