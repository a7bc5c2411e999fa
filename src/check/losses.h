/* The losses of a dataset's samples under several attachments of one base at once. */
#ifndef AR_CHECK_LOSSES_H
#define AR_CHECK_LOSSES_H

#include "gen/session.h"
#include "train/batcher.h"
#include "train/comm.h"

enum { AR_LOSSES_BATCH = 64 };

/* nll [count, samples of the data]: sums of −log p of each sample under pairs[i] (NULL: the base alone), to the bit what each
 * alone gives.  b serves a multiple of AR_LOSSES_BATCH samples at a time (of all, where there are fewer), and
 * that many of pairs are taken at once.  Over ranks each measures a run of the samples, and all have all losses behind it. */
ar_status ar__losses(double *nll, const ar_session *s, ar_batcher *b, const ar_pair_op *const *pairs, size_t count, ar_ranks *ranks,
                     ar_error *err);

#endif
