/* The table of contents of a zip archive (PKWARE's APPNOTE, zip64 included).  Nothing is unpacked here.
 *
 *     | local header, data | … | central directory | zip64 end | zip64 locator | end | comment |
 */
#ifndef AR_FORMAT_ZIP_H
#define AR_FORMAT_ZIP_H

#include "alphar/error.h"
#include "base/file.h"

typedef struct ar_zip_entry {
    const char *name; /* in the map: no closing NUL, any bytes */
    size_t name_len;
    unsigned method; /* 0: stored, 8: deflated */
    bool encrypted;
    const unsigned char *data; /* as stored; inside the map */
    size_t bytes, unpacked_bytes;
} ar_zip_entry;

typedef struct ar_zip {
    const ar_filemap *map;
    const char *path;
    size_t directory, at, end; /* of the central directory; `at` moves */
} ar_zip;

/* Finds the central directory.  The map and the path stay the caller's. */
ar_status ar__zip_begin(ar_zip *out, const ar_filemap *map, const char *path, ar_error *err);
/* The next entry, checked against its local header; *found is false behind the last. */
ar_status ar__zip_next(ar_zip_entry *out, bool *found, ar_zip *z, ar_error *err);

#endif
