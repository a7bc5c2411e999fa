/* What a training's ranks have to have in common (train/agree.h): settings, base, samples. */
#ifndef AR_TRAIN_SHARE_AGREE_H
#define AR_TRAIN_SHARE_AGREE_H

#include "train/learner.h"

/* Adds settings as they are named, but for those that ranks may differ in. */
void ar__agree_settings(json_t *card, const json_t *settings);
/* Adds what a course has read. */
ar_status ar__agree_course(json_t *card, const ar_course *c, ar_error *err);

/* AR_ERR_MISMATCH names what differs, on the rank where it does. */
ar_status ar__share_agree(const ar_learner *l, ar_ranks *ranks, ar_error *err);
/* Who takes part, and what goes around between them. */
void ar__share_tell(const ar_learner *l);

#endif
