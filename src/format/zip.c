#include "format/zip.h"

#include <string.h>

#include "base/bytes.h"
#include "base/fail.h"

enum { END_BYTES = 22, LOCATOR_BYTES = 20, END64_BYTES = 56, CENTRAL_BYTES = 46, LOCAL_BYTES = 30, COMMENT_MAX = 65535 };

static bool has_magic(const unsigned char *p, const char *magic) { return !memcmp(p, magic, 4); }

static ar_status bad(const ar_zip *z, const char *what, ar_error *err) {
    return ar__fail(err, AR_ERR_FORMAT, "%s: %s: the archive is cut short or damaged, download or save it again", z->path, what);
}

/* The end record is the last whose comment reaches exactly to the end of the file. */
static const unsigned char *find_end(const ar_filemap *m) {
    size_t least = m->size > END_BYTES + COMMENT_MAX ? m->size - END_BYTES - COMMENT_MAX : 0;
    if (m->size < END_BYTES) return NULL;
    for (size_t at = m->size - END_BYTES + 1; at-- > least;)
        if (has_magic(m->data + at, "PK\5\6") && ar__le_load(m->data + at + 20, 2) == m->size - END_BYTES - at) return m->data + at;
    return NULL;
}

/* In a zip64 archive the end record's fields are all ones, and the locator before it leads to the real ones. */
static ar_status find_directory(uint64_t *begin, uint64_t *bytes, const ar_zip *z, const unsigned char *end, ar_error *err) {
    const ar_filemap *m = z->map;
    size_t end_at = (size_t)(end - m->data);
    *bytes = ar__le_load(end + 12, 4);
    *begin = ar__le_load(end + 16, 4);
    if (end_at < LOCATOR_BYTES || !has_magic(end - LOCATOR_BYTES, "PK\6\7")) return AR_OK;
    uint64_t at = ar__le_load(end - LOCATOR_BYTES + 8, 8);
    if (end_at < LOCATOR_BYTES + END64_BYTES || at > end_at - LOCATOR_BYTES - END64_BYTES || !has_magic(m->data + at, "PK\6\6"))
        return bad(z, "no zip64 end record where the locator points", err);
    *bytes = ar__le_load(m->data + at + 40, 8);
    *begin = ar__le_load(m->data + at + 48, 8);
    return AR_OK;
}

ar_status ar__zip_begin(ar_zip *z, const ar_filemap *map, const char *path, ar_error *err) {
    uint64_t begin, bytes;
    *z = (ar_zip){.map = map, .path = path};
    const unsigned char *end = find_end(map);
    if (!end) return bad(z, "no end of a zip archive", err);
    ar_status s = find_directory(&begin, &bytes, z, end, err);
    if (s) return s;
    size_t limit = (size_t)(end - map->data);
    if (begin > limit || bytes > limit - begin) return bad(z, "the table of contents lies outside the file", err);
    z->directory = z->at = begin;
    z->end = begin + bytes;
    return AR_OK;
}

/* Replaces the fields that are all ones by those of the zip64 extra field, which holds only these, in this order. */
static bool read_zip64(uint64_t *field[3], const unsigned char *extra, size_t n) {
    while (n >= 4) {
        size_t id = ar__le_load(extra, 2), size = ar__le_load(extra + 2, 2);
        if (size > n - 4) return false;
        if (id == 1) {
            const unsigned char *p = extra + 4, *end = p + size;
            for (int i = 0; i < 3; i++) {
                if (*field[i] != UINT32_MAX) continue;
                if (end - p < 8) return false;
                *field[i] = ar__le_load(p, 8);
                p += 8;
            }
            return true;
        }
        extra += 4 + size;
        n -= 4 + size;
    }
    return true;
}

static ar_status place_data(ar_zip_entry *e, const ar_zip *z, uint64_t at, ar_error *err) {
    if (at > z->directory || z->directory - at < LOCAL_BYTES || !has_magic(z->map->data + at, "PK\3\4"))
        return bad(z, "an entry's header is missing", err);
    const unsigned char *p = z->map->data + at;
    size_t room = z->directory - at - LOCAL_BYTES, name_len = ar__le_load(p + 26, 2), skip = name_len + ar__le_load(p + 28, 2);
    if (skip > room || e->bytes > room - skip) return bad(z, "an entry reaches past the end of the data", err);
    if (name_len != e->name_len || memcmp(p + LOCAL_BYTES, e->name, name_len) != 0 || ar__le_load(p + 8, 2) != e->method)
        return bad(z, "an entry's header differs from the table of contents", err);
    e->data = p + LOCAL_BYTES + skip;
    return AR_OK;
}

ar_status ar__zip_next(ar_zip_entry *e, bool *found, ar_zip *z, ar_error *err) {
    const unsigned char *p = z->map->data + z->at;
    size_t room = z->end - z->at;
    *found = room > 0;
    if (!room) return AR_OK;
    if (room < CENTRAL_BYTES || !has_magic(p, "PK\1\2")) return bad(z, "the table of contents is broken", err);
    size_t name = ar__le_load(p + 28, 2), extra = ar__le_load(p + 30, 2), all = CENTRAL_BYTES + name + extra + ar__le_load(p + 32, 2);
    uint64_t unpacked = ar__le_load(p + 24, 4), packed = ar__le_load(p + 20, 4), at = ar__le_load(p + 42, 4);
    if (all > room || !read_zip64((uint64_t *[]){&unpacked, &packed, &at}, p + CENTRAL_BYTES + name, extra))
        return bad(z, "the table of contents is broken", err);
    *e = (ar_zip_entry){.name = (const char *)p + CENTRAL_BYTES,
                        .name_len = name,
                        .method = (unsigned)ar__le_load(p + 10, 2),
                        .encrypted = p[8] & 1,
                        .bytes = packed,
                        .unpacked_bytes = unpacked};
    z->at += all;
    return place_data(e, z, at, err);
}
