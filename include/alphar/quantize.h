/* Whole models written anew: in fewer bits, or in the other format. */
#ifndef ALPHAR_QUANTIZE_H
#define ALPHAR_QUANTIZE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "alphar/error.h"
#include "alphar/runtime.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct ar_rewrite_options {
    const char *model; /* a Hugging Face folder, or a GGUF file (of a split one the first part) */
    const char *out;
    /* ar_quantize: "q8_0", "q4_k", …, "bf16", "f16", "f32": one GGUF file; "nf4", "nf4-dq": a folder as transformers and bitsandbytes
     * save it, of a folder alone.  ar_convert_model: of the floats; NULL or "keep": as the model has it. */
    const char *type;
    bool to_folder; /* ar_convert_model: GGUF file → Hugging Face folder; else folder → GGUF file */
    bool overwrite; /* replace what an earlier run of the same command wrote, never anything else */
    /* Called now and then with bytes written and to write; returning false stops (AR_ERR_INTERRUPTED).  NULL: none. */
    bool (*on_progress)(void *user, uint64_t done, uint64_t total);
    void *user;
} ar_rewrite_options;

typedef struct ar_rewritten {
    char *name;       /* the tensor's, in what was written */
    const char *type; /* as written; not owned */
    const char *from; /* as the model had it; not owned by the caller, valid until release */
    /* ‖W − Q(W)‖_F / ‖W‖_F, W being the model's own values: 0 where nothing was rounded, or of a W of zeros. */
    double noise;
    bool is_other; /* another type than was asked for, since its rows are no multiple of the block, or it is embedding or head */
} ar_rewritten;

typedef struct ar_rewrite_result {
    ar_rewritten *matrices; /* every matrix that was written; vectors stay exact */
    size_t count;
    uint64_t bytes_before, bytes_after; /* of all tensors */
    double bits;                        /* of a weight, over the matrices, scales included */
    double noise;                       /* over the matrices together; 0 without any */
    size_t worst;                       /* place of the matrix with the most noise */
    size_t other;                       /* matrices with is_other */
    char *type_names;                   /* owns what `from` points to */
} ar_rewrite_result;

/* Writes the model with its layers' matrices in the type.  Norms and biases stay exact (F32 in a GGUF file).  The head, and an embedding
 * that is the head as well, get at least q6_k.  out appears whole or not at all, and what was written is read back before it takes
 * its name: architecture and ids must be the model's.  Caller releases the result, also after an error.
 * Errors: AR_ERR_USAGE for a type that does not exist; AR_ERR_EXISTS for an out that may not be taken; AR_ERR_UNSUPPORTED for a family,
 * a tokenizer or a tensor that GGUF has no place for. */
AR_API ar_status ar_quantize(ar_rewrite_result *result, const ar_runtime *rt, const ar_rewrite_options *o, ar_error *err);

/* Writes the model in the other format, in floats.  A GGUF file that is converted to a folder gets config.json, shards of at most 5 GB and
 * the tokenizer; what it has quantised is widened.
 * Errors: as above; AR_ERR_UNSUPPORTED for a GGUF file of an architecture that does not run here. */
AR_API ar_status ar_convert_model(ar_rewrite_result *result, const ar_runtime *rt, const ar_rewrite_options *o, ar_error *err);
/* Whether path is a whole model (a folder with config.json and no adapter_config.json, a GGUF file of type "model") and no adapter. */
AR_API bool ar_path_is_model(const char *path);
AR_API void ar_rewrite_result_release(ar_rewrite_result *r); /* safe on a zeroed one */

#ifdef __cplusplus
}
#endif
#endif
