/* DIR/README.md, the model card: base, data, settings, what happened, the loss curve. */
#ifndef AR_TRAIN_CARD_H
#define AR_TRAIN_CARD_H

#include "train/remarks.h"
#include "train/trainer.h"

ar_status ar__card_write(const ar_trainer *t, const char *dir, const ar_curve *curve, const ar_remarks *remarks, ar_error *err);

#endif
