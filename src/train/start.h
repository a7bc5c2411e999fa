/* Pairs that begin with numbers computed from W, by --init.
 *
 * pissa (arXiv 2404.02948): B₀ A₀ = (1/s) U_r Σ_r V_rᵀ, the largest r singular triples, √(Σ/s) to each side; what trains is W = W_res + s B
 * A with W_res = W − s B₀ A₀.  W_res is never formed.  The pair has rank 2r, of which the second half stands still:
 *
 *     B' = [B, −B₀]    A' = [A ; A₀]         s B' A' = s (B A − B₀ A₀): nothing at the start, and what was learned at the end
 *
 * so that the base stays the file's, and the adapter is a plain one over it: alpha is 2α (rslora: √2·α), by which s stays.
 *
 * loftq (arXiv 2310.08659): s B₀ A₀ is the best approximation in rank r of W − Q(W), what quantising took away.  Algorithm 1 there goes on
 * with Q ← q(W − s B A) and so ends on a base that nobody else has.  Here Q stays Q(W), which everyone makes of the folder: then B₀ A₀ is
 * best after the first round, and further ones find it again.  The correction is divided by s, since it is multiplied by it. */
#ifndef AR_TRAIN_START_H
#define AR_TRAIN_START_H

#include "train/learner.h"

#define AR_START_FOLDER "start" /* of a run of loftq: the pairs that it began with, as an adapter */

/* Rank and alpha, and those of patterns, as the pairs of pissa have them; nothing of another start. */
void ar__start_settings(ar_adapter_settings *s, const ar_init *init);
/* Fills the attached, fresh pairs, and says which parts of them are frozen.  Errors: AR_ERR_VALUE for a rank that W does not have. */
ar_status ar__start_pairs(ar_learner *l, ar_error *err);
/* Writes DIR/start, where there is to be one. */
ar_status ar__start_save(ar_learner *l, const char *dir, ar_error *err);

#endif
