/* safetensors: https://github.com/huggingface/safetensors#format
 *
 *     u64 little-endian n | n bytes of JSON header | tensor data
 *     header: {"__metadata__": {string: string}, "NAME": {"dtype": "F32", "shape": […], "data_offsets": [begin, end]}, …}
 *
 * Offsets count from the end of the header; the tensors must fill the file exactly: no overlap, no gap, nothing behind
 * the last one, each of dtype × shape bytes (the reference library's rules).
 * A set is one file, or a Hugging Face folder's shards joined by `model.safetensors.index.json`.  Data is never read
 * here: a tensor is a view of the mapped file. */
#ifndef AR_FORMAT_SAFETENSORS_H
#define AR_FORMAT_SAFETENSORS_H

#include <jansson.h>

#include "alphar/error.h"
#include "base/file.h"
#include "format/tensor.h"

typedef struct ar_st_set ar_st_set;

/* path: a .safetensors file, or a folder with model.safetensors or model.safetensors.index.json. */
ar_status ar__st_open(ar_st_set **out, const char *path, ar_error *err); /* reads headers only */
void ar__st_close(ar_st_set *st);                                        /* NULL is fine */
int ar__st_count(const ar_st_set *st);
const ar_tensor *ar__st_at(const ar_st_set *st, int i);              /* in name order */
const ar_tensor *ar__st_find(const ar_st_set *st, const char *name); /* NULL if absent */
/* The tensor, which must be there and of a weight dtype (f32, f16, bf16); the message says where it was looked for.  A
 * file may hold tensors of types that Alphar cannot use, as long as nobody asks for them. */
ar_status ar__st_need(const ar_tensor **out, const ar_st_set *st, const char *name, ar_error *err);
/* Value of a __metadata__ key of the first file, NULL if absent. */
const char *ar__st_metadata(const ar_st_set *st, const char *key);
/* All of it: an object of strings, NULL where there is none.  Borrowed. */
const json_t *ar__st_metadata_all(const ar_st_set *st);
/* The files of the set; `file` of a tensor counts them. */
int ar__st_file_count(const ar_st_set *st);
const json_t *ar__st_file_metadata(const ar_st_set *st, int file);
/* Path of the shard that holds a tensor, for messages. */
const char *ar__st_path(const ar_st_set *st, int file);

/* Writing: describe all tensors, then stream their bytes in the order described. */
typedef struct ar_st_writer ar_st_writer;
ar_status ar__st_writer_new(ar_st_writer **out, ar_error *err);
ar_status ar__st_writer_add(ar_st_writer *w, const char *name, ar_dtype t, int dims, const int64_t *shape, const void *data,
                            ar_error *err); /* data borrowed until save */
/* As above, for data that need not exist before it is written: save calls stream(user, …) once, in the order of the file. */
ar_status ar__st_writer_add_stream(ar_st_writer *w, const char *name, ar_dtype t, int dims, const int64_t *shape, ar_stream_fn stream,
                                   void *user, ar_error *err);
/* As above, with name, type and shape of a tensor read elsewhere, which may be of a type that Alphar only carries; t's
 * strings live until save. */
ar_status ar__st_writer_add_like(ar_st_writer *w, const ar_tensor *t, ar_stream_fn stream, void *user, ar_error *err);
ar_status ar__st_writer_meta(ar_st_writer *w, const char *key, const char *value, ar_error *err);
/* Atomic (ar_writer).  Tensors are laid out sorted by alignment then name, as the reference library does. */
ar_status ar__st_writer_save(ar_st_writer *w, const char *path, ar_error *err);
void ar__st_writer_free(ar_st_writer *w);

#endif
