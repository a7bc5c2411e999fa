/* Reading what differs from layer to layer. */
#ifndef AR_ARCH_LAYERS_H
#define AR_ARCH_LAYERS_H

#include "arch/family.h"

typedef struct ar_layer_source {
    const ar_family *family;
    const ar_config *c;
    const json_t *config;
    const char *place;
    const ar_log *log;
    ar_error *err;
} ar_layer_source;

/* Behind sizes and windows, before rotary embeddings, of any family. */
ar_status ar__arch_take_layers(ar_arch *a, const ar_layer_source *r);

#endif
