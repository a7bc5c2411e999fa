/* s as something that is learned: groups of sites, each with a factor 1 + δ on the s that its sites begin with.
 *
 *     s_i = s_i0 (1 + δ_g)        dL/dδ_g = sum over the group's sites of s_i0 dL/ds_i
 *
 * δ begins at 0, and weight decay pulls it back there.  --train-scale has a group for each site, tune those that are asked for. */
#ifndef AR_TRAIN_SCALES_H
#define AR_TRAIN_SCALES_H

#include "model/attach.h"

typedef enum ar_scale_groups { AR_SCALES_BY_SITE, AR_SCALES_BY_ROLE, AR_SCALES_BY_LAYER, AR_SCALES_AS_ONE } ar_scale_groups;

typedef struct ar_scales {
    size_t count;    /* of groups */
    float *delta;    /* [count], which operators know of (ops/memory.h) */
    float *gradient; /* [count] scratch */
    size_t known;    /* floats of delta that they were told of; 0: none */
    const ar_runtime *rt;
    char **name;     /* [count]: "model.layers.0.self_attn.q_proj", "q_proj", "layer 0", "all" */
    uint32_t *group; /* [pairs] */
    double *start;   /* [pairs] */
    double *slope;   /* [pairs] dL/ds, added to by the ops; */
    double *second;  /* [pairs] the part of the second linear at which a pair stands */
} ar_scales;

/* Over the pairs of an attachment, whose ops then add to the slopes. */
ar_status ar__scales_open(ar_scales *out, ar_attachment *at, ar_scale_groups groups, ar_error *err);
void ar__scales_release(ar_scales *s); /* safe on a zeroed one */
void ar__scales_zero(ar_scales *s, const ar_attachment *at);
/* From slopes to the groups' gradients, added to grad [count], which is the operators'. */
void ar__scales_gather(float *grad, const ar_scales *s, const ar_attachment *at);
/* To the operators a δ that the host wrote. */
void ar__scales_put(const ar_scales *s);
/* From δ, as operators left it, to the adapter's s and alpha, and to the ops, and those of others that have none of their own. */
void ar__scales_apply(const ar_scales *s, ar_attachment *at, ar_pair_op *others);

#endif
