/* DIR/README.md, the model card: base, data, settings, what happened, the loss curve. */
#ifndef AR_TRAIN_CARD_H
#define AR_TRAIN_CARD_H

#include "train/learner.h"
#include "train/remarks.h"

ar_status ar__card_write(const ar_learner *l, const char *dir, const ar_curve *curve, const ar_remarks *remarks, ar_error *err);

#endif
