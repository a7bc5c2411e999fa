/* SentencePiece's precompiled character map.
 *
 *     u32 little-endian n | n bytes of double-array units (u32 each) | NUL-terminated replacement texts
 *     unit: label = u & 0x800000FF | leaf = u >> 8 & 1 | offset = (u >> 10) << ((u & 0x200) >> 6) | value = u & 0x7FFFFFFF
 *
 * A key's value is where its replacement starts. */
#ifndef AR_TEXT_CHARSMAP_H
#define AR_TEXT_CHARSMAP_H

#include <stdint.h>

#include "alphar/error.h"
#include "base/mem.h"

typedef struct ar_charsmap {
    uint32_t *unit; /* NULL: no map, nothing matches */
    size_t unit_count;
    char *text; /* closed by a NUL */
    size_t text_len;
} ar_charsmap;

/* An empty blob is no map. */
ar_status ar__charsmap_read(ar_charsmap *out, const void *blob, size_t n, ar_error *err);
void ar__charsmap_release(ar_charsmap *m);

/* The key that s starts with, the longest or the shortest: returns its bytes (0: none), *to and *to_len its replacement. */
size_t ar__charsmap_find(const ar_charsmap *m, const char *s, size_t n, bool longest, const char **to, size_t *to_len);

#endif
