/* One tensor of a file, and the tensors of a model, whatever they are stored in: a safetensors file, a Hugging Face folder with its
 * shards, a GGUF file or the parts of one.
 *
 * A shape stands as Hugging Face has it, the dimension that lies together last (GGUF's `ne` turned round).  Names, and what a
 * writer did to the order of rows, are the file's own: see weights/base.h. */
#ifndef AR_FORMAT_TENSOR_H
#define AR_FORMAT_TENSOR_H

#include <stddef.h>
#include <stdint.h>

#include "alphar/error.h"
#include "kern/dtype.h"

enum { AR_TENSOR_DIMS = 8 };

typedef struct ar_tensor {
    const char *name;
    ar_dtype dtype;         /* AR_DTYPE_COUNT where Alphar has no such type (F8_E4M3, IQ1_S, …) */
    const char *dtype_name; /* as the file writes it */
    int dims;
    int64_t shape[AR_TENSOR_DIMS];
    size_t count, bytes;
    const void *data; /* into the map; not necessarily aligned to the element size */
    int file;         /* index of the shard or part */
} ar_tensor;

typedef struct ar_tensors ar_tensors;
struct ar_st_set;
struct ar_gguf;
struct ar_gguf_tensor;

/* path: a folder with model.safetensors or its index, a .safetensors file, or a .gguf file (of a split one the first part, whose
 * others lie beside it).  Opening reads headers only. */
ar_status ar__tensors_open(ar_tensors **out, const char *path, ar_error *err);
void ar__tensors_close(ar_tensors *t); /* NULL is fine */
int ar__tensors_count(const ar_tensors *t);
const ar_tensor *ar__tensors_at(const ar_tensors *t, int i);              /* safetensors in name order, GGUF in the file's */
const ar_tensor *ar__tensors_find(const ar_tensors *t, const char *name); /* NULL if absent */
const char *ar__tensors_path(const ar_tensors *t, int file);              /* of a shard or part, for messages */
size_t ar__tensors_bytes(const ar_tensors *t);                            /* of all */

/* What is behind it: one of the two, the other NULL.  Of a split GGUF file the first part, which has the key-values. */
const struct ar_st_set *ar__tensors_safetensors(const ar_tensors *t);
const struct ar_gguf *ar__tensors_gguf(const ar_tensors *t);
/* Tensor i as the GGUF file has it. */
const struct ar_gguf_tensor *ar__tensors_gguf_at(const ar_tensors *t, int i);

#endif
