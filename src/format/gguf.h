/* GGUF, versions 2 and 3, little-endian: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
 *
 *     "GGUF" | u32 version | u64 tensors | u64 key-values | key-values | tensor infos | padding | tensor data
 *     string       u64 n | n bytes, no NUL
 *     key-value    string key | u32 type | value           value of an array: u32 type | u64 n | n values
 *     tensor info  string name | u32 dims | u64 ne[dims] | u32 type | u64 offset into the tensor data
 *
 * The tensor data and every tensor in it begin at a multiple of `general.alignment` (32 where the key is absent).
 * ne[0] is the dimension that lies together: a matrix [rows, cols] has ne {cols, rows}.
 * Opening reads and checks everything but the tensors' bytes; strings and tensors are views of the mapped file. */
#ifndef AR_FORMAT_GGUF_H
#define AR_FORMAT_GGUF_H

#include "alphar/error.h"
#include "base/file.h"
#include "kern/dtype.h"

enum { AR_GGUF_MAX_DIMS = 4, AR_GGUF_MAX_NAME = 63 /* what ggml takes, without the closing NUL */ };

/* The value types, numbered as in the file. */
typedef enum ar_gguf_type {
    AR_GGUF_U8,
    AR_GGUF_I8,
    AR_GGUF_U16,
    AR_GGUF_I16,
    AR_GGUF_U32,
    AR_GGUF_I32,
    AR_GGUF_F32,
    AR_GGUF_BOOL,
    AR_GGUF_STRING,
    AR_GGUF_ARRAY,
    AR_GGUF_U64,
    AR_GGUF_I64,
    AR_GGUF_F64,
    AR_GGUF_TYPE_COUNT
} ar_gguf_type;

/* Bytes of the map, any of them, without a closing NUL. */
typedef struct ar_gguf_string {
    const char *at;
    size_t len;
} ar_gguf_string;

/* One key-value.  A scalar is a list of one, so the element readers below take both. */
typedef struct ar_gguf_kv {
    const char *key;   /* UTF-8 */
    ar_gguf_type type; /* of the scalar, or of the array's elements */
    bool is_array;
    size_t count;              /* elements; 1 for a scalar */
    const unsigned char *data; /* the first element */
    const size_t *mark;        /* of a string array: where every 16th element begins, from data */
    const unsigned char *raw;  /* type word and value as the file has them */
    size_t raw_bytes;
} ar_gguf_kv;

typedef struct ar_gguf_tensor {
    const char *name;      /* UTF-8 */
    uint32_t type;         /* ggml's number */
    ar_dtype dtype;        /* AR_DTYPE_COUNT where Alphar has no such type (Q4_K, …) */
    const char *type_name; /* as ggml writes it: "F16", "Q4_K"; "type 57" of a number that nobody knows here */
    /* 0, or of a type without a known size the file's alignment: the bytes reach to the next tensor, padding included. */
    size_t padded_to;
    char type_text[16]; /* what type_name points to where the table has no name */
    int dims;
    int64_t ne[AR_GGUF_MAX_DIMS]; /* 1 beyond dims */
    size_t count, bytes;
    uint64_t offset; /* into the tensor data */
    const void *data;
} ar_gguf_tensor;

typedef struct ar_gguf ar_gguf;

ar_status ar__gguf_open(ar_gguf **out, const char *path, ar_error *err);
void ar__gguf_close(ar_gguf *g); /* NULL is fine */
const char *ar__gguf_path(const ar_gguf *g);
bool ar__gguf_is_name(const char *path); /* a file's, by its ending */

/* Tensors, in the order of the file. */
int ar__gguf_count(const ar_gguf *g);
const ar_gguf_tensor *ar__gguf_at(const ar_gguf *g, int i);
const ar_gguf_tensor *ar__gguf_find(const ar_gguf *g, const char *name); /* NULL if absent */
/* The tensor, which must be there and of a type whose row of the dtype table has to_f32. */
ar_status ar__gguf_need(const ar_gguf_tensor **out, const ar_gguf *g, const char *name, ar_error *err);

/* Key-values, in the order of the file. */
int ar__gguf_kv_count(const ar_gguf *g);
const ar_gguf_kv *ar__gguf_kv_at(const ar_gguf *g, int i);
const ar_gguf_kv *ar__gguf_kv_find(const ar_gguf *g, const char *key); /* NULL if absent */

/* Typed getters: *out is left alone where the key is absent; a value of another type fails with
 * `FILE: 'key': found string, wanted integer`.  Every integer type is an integer, which is also a number. */
ar_status ar__gguf_get_int(int64_t *out, const ar_gguf *g, const char *key, ar_error *err);
ar_status ar__gguf_get_double(double *out, const ar_gguf *g, const char *key, ar_error *err);
ar_status ar__gguf_get_bool(bool *out, const ar_gguf *g, const char *key, ar_error *err);
ar_status ar__gguf_get_string(ar_gguf_string *out, const ar_gguf *g, const char *key, ar_error *err);
/* An array whose elements are of that type. */
ar_status ar__gguf_get_array(const ar_gguf_kv **out, const ar_gguf *g, const char *key, ar_gguf_type of, ar_error *err);
/* Fails unless the key is there. */
ar_status ar__gguf_need_key(const ar_gguf *g, const char *key, ar_error *err);

/* Element i < count of a scalar or array; false where its type is another, or the integer is past 63 bits. */
bool ar__gguf_int_at(int64_t *out, const ar_gguf_kv *kv, size_t i);
bool ar__gguf_double_at(double *out, const ar_gguf_kv *kv, size_t i);
bool ar__gguf_bool_at(bool *out, const ar_gguf_kv *kv, size_t i);
bool ar__gguf_string_at(ar_gguf_string *out, const ar_gguf_kv *kv, size_t i); /* walks at most 15 strings */
bool ar__gguf_string_is(ar_gguf_string s, const char *text);
/* "string", "u32", "list of f32", …; for messages. */
const char *ar__gguf_type_name(const ar_gguf_kv *kv);

/* ggml's tensor types. */
typedef struct ar_ggml_type {
    const char *name;    /* NULL: nobody knows this number */
    size_t block, bytes; /* 0: a type that ggml removed */
    ar_dtype dtype;      /* AR_DTYPE_COUNT where Alphar has no such row */
} ar_ggml_type;

ar_ggml_type ar__ggml_type(uint32_t type);
bool ar__ggml_type_of(uint32_t *out, ar_dtype t); /* false where GGUF has no such type */
/* Elements and bytes of a tensor; false on overflow, a negative size, or rows that are no whole number of blocks. */
bool ar__ggml_size(size_t *count, size_t *bytes, const ar_ggml_type *type, int dims, const int64_t *ne);

/* Writing version 3, alignment 32: describe everything, then save.  Tensors lie in the order they were added. */
typedef struct ar_gguf_writer ar_gguf_writer;
ar_status ar__gguf_writer_new(ar_gguf_writer **out, ar_error *err);
void ar__gguf_writer_free(ar_gguf_writer *w); /* NULL is fine */

/* Key-values lie in the order first set; setting one again replaces its value.  Keys and text must be UTF-8.
 * `general.alignment` is the writer's own: setting it is an error, copying it does nothing. */
ar_status ar__gguf_writer_set_u32(ar_gguf_writer *w, const char *key, uint32_t value, ar_error *err);
ar_status ar__gguf_writer_set_i32(ar_gguf_writer *w, const char *key, int32_t value, ar_error *err);
ar_status ar__gguf_writer_set_u64(ar_gguf_writer *w, const char *key, uint64_t value, ar_error *err);
ar_status ar__gguf_writer_set_f32(ar_gguf_writer *w, const char *key, float value, ar_error *err);
ar_status ar__gguf_writer_set_f64(ar_gguf_writer *w, const char *key, double value, ar_error *err);
ar_status ar__gguf_writer_set_bool(ar_gguf_writer *w, const char *key, bool value, ar_error *err);
ar_status ar__gguf_writer_set_string(ar_gguf_writer *w, const char *key, const char *text, ar_error *err);
ar_status ar__gguf_writer_set_strings(ar_gguf_writer *w, const char *key, const char *const *text, size_t count, ar_error *err);
/* Numbers or flags: count elements of the type as they lie in memory (bool: a byte each). */
ar_status ar__gguf_writer_set_array(ar_gguf_writer *w, const char *key, ar_gguf_type type, size_t count, const void *data, ar_error *err);
/* The key-value of another file as it is, of any type. */
ar_status ar__gguf_writer_copy_kv(ar_gguf_writer *w, const ar_gguf_kv *kv, ar_error *err);

/* Names of at most AR_GGUF_MAX_NAME bytes, 1 to 4 dimensions, ne[0] the one that lies together. */
ar_status ar__gguf_writer_add(ar_gguf_writer *w, const char *name, ar_dtype t, int dims, const int64_t *ne, const void *data,
                              ar_error *err); /* data borrowed until save */
/* As above, for data that need not exist before it is written: save calls stream(user, …) once, in the order of the file. */
ar_status ar__gguf_writer_add_stream(ar_gguf_writer *w, const char *name, ar_dtype t, int dims, const int64_t *ne, ar_stream_fn stream,
                                     void *user, ar_error *err);
/* The tensor of another file as it is, of any type; that file stays open until save.  Errors: AR_ERR_UNSUPPORTED for one
 * whose size is not known, from a file that pads to more than this writer does. */
ar_status ar__gguf_writer_copy(ar_gguf_writer *w, const ar_gguf_tensor *t, ar_error *err);
/* Atomic (ar_writer). */
ar_status ar__gguf_writer_save(ar_gguf_writer *w, const char *path, ar_error *err);

#endif
