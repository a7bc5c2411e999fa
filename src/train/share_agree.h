/* What ranks have to have in common before they share out a step: version, settings, base, samples.  Each reads its own files, from one
 * disk or its own; rank 0's are what the others are compared with. */
#ifndef AR_TRAIN_SHARE_AGREE_H
#define AR_TRAIN_SHARE_AGREE_H

#include "train/learner.h"

/* AR_ERR_MISMATCH names what differs, on the rank where it does. */
ar_status ar__share_agree(const ar_learner *l, ar_ranks *ranks, ar_error *err);
/* Who takes part, with how many threads, and what that may be short of. */
void ar__share_tell(const ar_learner *l);

#endif
