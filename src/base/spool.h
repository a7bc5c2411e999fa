/* Numbers that wait to be written: an unlinked file beside the output, so that they cost disk and not memory, and vanish
 * with the process. */
#ifndef AR_BASE_SPOOL_H
#define AR_BASE_SPOOL_H

#include <stddef.h>
#include <stdint.h>

#include "alphar/error.h"

typedef struct ar_spool ar_spool;

/* In dir, or in the nearest folder above it that is there. */
ar_status ar__spool_new(ar_spool **out, const char *dir, ar_error *err);
void ar__spool_free(ar_spool *spool); /* NULL is fine */
/* Appends n bytes; *at says where they are. */
ar_status ar__spool_put(uint64_t *at, ar_spool *spool, const void *bytes, size_t n, ar_error *err);
ar_status ar__spool_get(void *out, const ar_spool *spool, uint64_t at, size_t n, ar_error *err);

#endif
