/* Memory that is freed at once: chunks, of which pieces are handed out.
 *
 *     chunk → chunk → chunk      each twice as large as the one before, up to a limit over all of them */
#ifndef AR_TEXT_TEMPLATE_POOL_H
#define AR_TEXT_TEMPLATE_POOL_H

#include <stdbool.h>
#include <stddef.h>

typedef struct ar_jchunk ar_jchunk;

typedef struct ar_jpool {
    ar_jchunk *chunks; /* the newest first */
    size_t taken, limit;
    bool exhausted; /* the limit was met; otherwise memory ran out */
} ar_jpool;

/* Zeroed, aligned for any value; NULL past the limit or without memory. */
void *ar__jpool_take(ar_jpool *p, size_t bytes);
/* As ar__grow in such memory: the old array is left behind. */
void *ar__jpool_grow(ar_jpool *p, void *array, size_t *cap, size_t need, size_t size);
void ar__jpool_release(ar_jpool *p); /* safe on a zeroed one */

#endif
