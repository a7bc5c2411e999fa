/* An adapter on a base: one ar_pair_op per module, DoRA gains kept fresh, whole tensors put in place.
 *
 * DoRA's row norms for any s come from three numbers a row (ops/magnitude.h): no pass over W per s, one product per refresh. */
#ifndef AR_MODEL_ATTACH_H
#define AR_MODEL_ATTACH_H

#include "adapter/adapter.h"
#include "model/model.h"
#include "ops/ops.h"

typedef struct ar_dora_site {
    size_t module;
    ar_pair *pair;
    ar_row_norms rows;      /* of the last refresh */
    float *gain, *inv_norm; /* what the op points to */
} ar_dora_site;

typedef struct ar_attachment {
    const ar_model *model;
    ar_adapter *adapter;
    ar_pair_op *ops; /* by module index */
    int *ranks;      /* by module index */
    size_t *module;  /* [pairs] where each stands, */
    size_t *second;  /* and of experts' gate and up together, up: the pair's B has gate's rows first; SIZE_MAX: nowhere else */
    ar_dora_site *dora;
    size_t dora_count;
    const void **mirrored; /* [mirrored_count] what operators were told of: the pairs' values, and what DoRA has */
    size_t mirrored_count;
} ar_attachment;

/* Binds the adapter's pairs to the base (both must outlive the attachment).  factor multiplies every s.  Shapes and
 * names must fit: AR_ERR_MISMATCH otherwise. */
ar_status ar__attach_new(ar_attachment **out, const ar_model *m, ar_adapter *ad, double factor, ar_error *err);
void ar__attach_free(ar_attachment *at);
/* To the operators what the host wrote to the pairs' values; and to the host what operators made of them. */
void ar__attach_put(const ar_attachment *at);
void ar__attach_get(const ar_attachment *at);

/* s of a pair in `ops`, those of the attachment or a copy. */
void ar__attach_set_scale(const ar_attachment *at, ar_pair_op *ops, size_t pair, double scale);

/* Puts the adapter's whole tensors (modules_to_save, biases) in place of the base's; they stay the adapter's. */
ar_status ar__attach_wholes(ar_model *m, const ar_adapter *ad, ar_error *err);

/* Recomputes norms and gains after A, B, m or s changed. */
void ar__attach_refresh(ar_attachment *at);
/* m = ||W + sBA|| per row: the start value. */
void ar__attach_init_magnitudes(ar_attachment *at);

#endif
