/* Which fields of config.json are understood, and which are known to change nothing in the forward pass. */
#ifndef AR_ARCH_CONFIG_FIELDS_H
#define AR_ARCH_CONFIG_FIELDS_H

#include <jansson.h>

#include "alphar/error.h"

typedef enum ar_field_set { AR_FIELDS_CONFIG, AR_FIELDS_ROPE } ar_field_set;

/* Fails on the first key that is neither listed, nor private (leading '_'), nor off (null, false, "", [], {}). */
ar_status ar__fields_check(const json_t *object, ar_field_set set, const char *what, const char *place, ar_error *err);

#endif
