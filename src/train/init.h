/* What --init names: where weights or pairs begin.
 *
 *     base       W as it is; A random, B = 0              random    weights of a configuration alone
 *     pissa      the largest singular triples of W        loftq:N   what quantising took off W, as far as the rank holds it */
#ifndef AR_TRAIN_INIT_H
#define AR_TRAIN_INIT_H

#include "alphar/train.h"

typedef enum ar_init_kind { AR_INIT_BASE, AR_INIT_RANDOM, AR_INIT_PISSA, AR_INIT_LOFTQ } ar_init_kind;

typedef struct ar_init {
    ar_init_kind kind;
    int rounds; /* of loftq */
} ar_init;

/* text NULL: base.  Errors: AR_ERR_USAGE for what is none of them. */
ar_status ar__init_read(ar_init *out, const char *text, ar_error *err);
/* Options that contradict it, by name. */
ar_status ar__init_check(const ar_train_options *o, ar_error *err);

/* Pairs begin with numbers that were computed from W. */
static inline bool ar__init_from_weights(const ar_init *init) { return init->kind == AR_INIT_PISSA || init->kind == AR_INIT_LOFTQ; }

#endif
