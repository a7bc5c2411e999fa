/* What a person should know about the course of a run: settings under which little is learned, and a loss that rose.  Said
 * when it can be known, and kept in the model card. */
#ifndef AR_TRAIN_REMARKS_H
#define AR_TRAIN_REMARKS_H

#include "train/curve.h"
#include "train/learner.h"

enum { AR_REMARK_MAX = 8, AR_REMARK_CHARS = 240 };

typedef struct ar_remarks {
    int count;
    char text[AR_REMARK_MAX][AR_REMARK_CHARS];
} ar_remarks;

/* Of the settings alone: known before the first step. */
void ar__remarks_start(ar_remarks *out, const ar_learner *l);
/* Those, and what the curve shows. */
void ar__remarks_end(ar_remarks *out, const ar_learner *l, const ar_curve *curve);

#endif
