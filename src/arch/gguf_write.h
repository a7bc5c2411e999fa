/* A model's architecture as a GGUF file has it: the inverse of ar__gguf_config, by the same table.
 *
 * Where llama.cpp's converter leaves a value to the defaults of llama.cpp's code, it is written out.  What a file has no place for is not
 * looked for here: who writes a file reads it again, and ar__arch_check_same says what it lacks. */
#ifndef AR_ARCH_GGUF_WRITE_H
#define AR_ARCH_GGUF_WRITE_H

#include <jansson.h>

#include "arch/arch.h"
#include "format/gguf.h"

/* a: read from config.  Sets general.architecture and everything below it. */
ar_status ar__gguf_put_arch(ar_gguf_writer *w, const ar_arch *a, const json_t *config, const char *place, ar_error *err);

/* A list of factors of RoPE's frequencies, which GGUF keeps as a tensor. */
typedef struct ar_gguf_factors {
    const char *name;
    float *value; /* owned */
    int64_t count;
} ar_gguf_factors;

enum { AR_GGUF_FACTORS = 2 };

/* Those of the architecture; *count of them.  The caller frees the values. */
ar_status ar__gguf_rope_factors(ar_gguf_factors out[AR_GGUF_FACTORS], int *count, const ar_arch *a, ar_error *err);

/* Whether `found`, read from a file that was written for `wanted`, is the same model; else AR_ERR_UNSUPPORTED, naming what differs.
 * *windowless (not NULL): the file has no window, though the model has one; allowed, and for the caller to tell. */
ar_status ar__arch_check_same(bool *windowless, const ar_arch *wanted, const ar_arch *found, const char *place, ar_error *err);

#endif
