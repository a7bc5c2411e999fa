/* A base model: a Hugging Face folder (config.json, safetensors, tokenizer), memory-mapped and read-only. */
#ifndef ALPHAR_MODEL_H
#define ALPHAR_MODEL_H

#include <stdint.h>

#include "alphar/error.h"
#include "alphar/runtime.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct ar_model ar_model;

/* path: a folder with config.json and model.safetensors (or its shards with an index).  Reads headers only; weights
 * come in as they are used.  The runtime must outlive the model.  Caller frees with ar_model_free.
 * Errors: AR_ERR_UNSUPPORTED for a family or configuration field that Alphar does not know, by name; AR_ERR_FORMAT,
 * AR_ERR_MISMATCH for files that are broken or do not fit the configuration. */
AR_API ar_status ar_model_open(ar_model **out, const ar_runtime *rt, const char *path, ar_error *err);
AR_API void ar_model_free(ar_model *m); /* NULL is fine */

AR_API const char *ar_model_family(const ar_model *m);
AR_API int64_t ar_model_vocab(const ar_model *m);
AR_API int64_t ar_model_max_positions(const ar_model *m);
/* Parameters, a tied head counted once. */
AR_API int64_t ar_model_parameters(const ar_model *m);

#ifdef __cplusplus
}
#endif
#endif
