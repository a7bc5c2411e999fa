/* The fingerprints of adapter/fingerprint.h of a base that is bound for running. */
#ifndef AR_MODEL_FINGERPRINT_H
#define AR_MODEL_FINGERPRINT_H

#include "adapter/fingerprint.h"
#include "model/model.h"

/* Of the base itself: what an adapter put in place of a weight gives no values, and of one that was quantised here its files count. */
ar_status ar__model_fingerprint(char architecture[AR_FINGERPRINT_CHARS], ar_buf *weights, const ar_model *m, ar_error *err);

#endif
