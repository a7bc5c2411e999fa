/* Between bind.c and bind_experts.c. */
#ifndef AR_MODEL_BIND_IMPL_H
#define AR_MODEL_BIND_IMPL_H

#include "model/bind.h"
#include "weights/base.h"

typedef struct ar_binder {
    ar_model *m;
    bool *used; /* by index of the base's weights */
    ar_error *err;
} ar_binder;

/* The error for a tensor that is not there, `path` and `suffix` its name. */
ar_status ar__bind_missing(const ar_binder *b, const char *path, const char *suffix);
void ar__bind_mark_used(ar_binder *b, const ar_base_weight *w);
/* The module's weight, a matrix of the module's shape. */
void ar__bind_set(ar_model *m, size_t i, const void *data, ar_dtype type);
/* An expert's matrix of a base that holds those of a layer in one tensor. */
ar_status ar__bind_in_stack(ar_binder *b, size_t i);

#endif
