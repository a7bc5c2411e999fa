/* What the files of the GGUF reader share.  Internal to the format's own files. */
#ifndef AR_FORMAT_GGUF_FILE_H
#define AR_FORMAT_GGUF_FILE_H

#include "base/map.h"
#include "format/gguf.h"

struct ar_gguf {
    char *path;
    ar_filemap map;
    ar_gguf_kv *kv;
    size_t kv_count, kv_cap;
    ar_gguf_tensor *tensor;
    size_t count, cap;
    size_t alignment;
    ar_map keys, names; /* → index */
};

enum { AR_GGUF_MARK_STEP = 16 /* strings between two marks */ };

/* Where reading stands.  Every message comes from here, so that it can say at which byte. */
typedef struct ar_gguf_cursor {
    const ar_gguf *file;
    size_t at;
    char what[160]; /* "key-value 'general.name'" */
    ar_error *err;
} ar_gguf_cursor;

/* `FILE: WHAT: message`; a macro, so that whoever reads the code sees that it never comes to AR_OK. */
#define ar__gguf_bad(c, ...) (ar__gguf_say(c, __VA_ARGS__), AR_ERR_FORMAT)
void ar__gguf_say(const ar_gguf_cursor *c, const char *format, ...) AR_PRINTF(2, 3);
/* The next n bytes, which must be in the file. */
ar_status ar__gguf_take(const unsigned char **out, ar_gguf_cursor *c, size_t n);
ar_status ar__gguf_take_u32(uint32_t *out, ar_gguf_cursor *c);
ar_status ar__gguf_take_u64(uint64_t *out, ar_gguf_cursor *c);
/* A key or a tensor's name: UTF-8 without NUL, copied; the caller frees. */
ar_status ar__gguf_take_name(char **out, ar_gguf_cursor *c);
/* Reads `count` key-values into the file. */
ar_status ar__gguf_read_kvs(ar_gguf *g, ar_gguf_cursor *c, uint64_t count);

size_t ar__gguf_value_bytes(ar_gguf_type t); /* 0 for strings and arrays */

#endif
