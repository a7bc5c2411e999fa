/* Adapters: pairs A [r, n_in], B [n_out, r] with a scale s per site, and what is saved whole beside them.
 *
 *     y = W x + s · B (A x)        s = α / r (standard)  or  α / √r (rslora)
 *
 * Numbers stay in the file that an adapter was opened from until something needs them, so that work on one site after
 * another costs memory for one; the file must stay as it is as long as the adapter lives.  Not thread-safe for changes. */
#ifndef ALPHAR_ADAPTER_H
#define ALPHAR_ADAPTER_H

#include <stdbool.h>
#include <stdint.h>

#include "alphar/error.h"
#include "alphar/runtime.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct ar_adapter ar_adapter;

/* The rule that turns (α, r) into s. */
typedef enum ar_policy { AR_POLICY_STANDARD, AR_POLICY_RSLORA } ar_policy;
AR_API const char *ar_policy_name(ar_policy policy); /* "standard", "rslora" */

/* Which biases of the base train and are saved with the adapter (PEFT's `bias`). */
typedef enum ar_bias_mode { AR_BIAS_NONE, AR_BIAS_ALL, AR_BIAS_LORA_ONLY } ar_bias_mode;

/* What to believe where a file's metadata and its configuration give different s. */
typedef enum ar_trust { AR_TRUST_NONE /* refuse */, AR_TRUST_CONFIG, AR_TRUST_METADATA } ar_trust;

typedef struct ar_adapter_options {
    bool has_alpha; /* alpha stands in where the file has none */
    double alpha;
    ar_trust trust;
    const char *model;       /* the base, for what a file does not say: module names, head counts; NULL: not given */
    bool leaves_base_unsaid; /* no warning where model is not what the adapter was trained on: the caller tells */
    bool keeps_stacks;       /* pairs of stacked experts stay `PATH.gate_up_proj[e]`, however the files of model hold the experts */
    int heads, kv_heads;     /* the same by hand, for a GGUF file of architecture llama; 0: not given */
    ar_log_fn log;           /* warnings of the reader; NULL: none */
    void *log_user;
} ar_adapter_options;

/* path: a PEFT or MLX folder, a GGUF file, or a kohya .safetensors file.  options NULL: all zero.
 * Caller frees with ar_adapter_free. */
AR_API ar_status ar_adapter_open(ar_adapter **out, const char *path, const ar_adapter_options *options, ar_error *err);
AR_API void ar_adapter_free(ar_adapter *ad); /* NULL is fine */

/* "peft", "gguf", "mlx" or "kohya" */
AR_API const char *ar_adapter_format(const ar_adapter *ad);
/* The base that the adapter names; NULL where it names none. */
AR_API const char *ar_adapter_base(const ar_adapter *ad);

/* One site.  The name is the Hugging Face module path and lives as long as the adapter.  For an embedding n_in is the
 * vocabulary and n_out the width: the update of its [vocab, dim] weight is s · (B A)ᵀ. */
typedef struct ar_site {
    const char *name;
    int64_t n_out, n_in;
    int rank;
    double alpha, scale;
    ar_policy policy;
    bool dora, embedding;
} ar_site;

AR_API int ar_adapter_site_count(const ar_adapter *ad);
AR_API ar_site ar_adapter_site(const ar_adapter *ad, int i); /* 0 ≤ i < count */
/* Tensors saved whole (modules_to_save, biases): "lm_head.weight", … */
AR_API int ar_adapter_whole_count(const ar_adapter *ad);
AR_API const char *ar_adapter_whole_name(const ar_adapter *ad, int i);

/* s of every site; α follows by each site's policy and rank.  Errors: AR_ERR_NUMERIC for NaN or infinity. */
AR_API ar_status ar_adapter_set_scale(ar_adapter *ad, double scale, ar_error *err);
/* α of the adapter: s follows per site by its policy and rank; sites with an α of their own keep its ratio to the
 * adapter's.  Errors: AR_ERR_VALUE where that ratio is lost because the adapter's own α is 0. */
AR_API ar_status ar_adapter_set_alpha(ar_adapter *ad, double alpha, ar_error *err);
/* Multiplies s and α of every site. */
AR_API ar_status ar_adapter_multiply_scale(ar_adapter *ad, double factor, ar_error *err);

typedef struct ar_write_options {
    const char *format;  /* "peft", "gguf", "mlx", "kohya"; NULL: the adapter's own */
    const char *dtype;   /* "f32", "f16", "bf16", or "keep": each factor's own; NULL: keep */
    const char *model;   /* the base, for names and head counts that the format needs; NULL: not given */
    int heads, kv_heads; /* the same by hand, for a base of llama.cpp's architecture llama */
    bool fold;           /* multiply s into B first, so that the file's scale is 1 */
    bool overwrite;      /* replace an adapter of this format; nothing else is ever replaced */
} ar_write_options;

/* What reading the written file back, by the format's own rule, showed. */
typedef struct ar_proof {
    int sites;
    double max_relative; /* of ‖s·B·A(source) − s·B·A(file)‖ / ‖s·B·A(source)‖ over the sites */
    double max_abs;      /* largest difference of one element */
    double bound;        /* what max_relative had to stay under: 1e-6 for f32, the dtype's rounding otherwise */
    char worst[256];     /* the site of max_relative */
    int folded;          /* sites whose B was multiplied because the format holds one alpha or scale */
    double alpha;        /* what the file says: alpha (peft, gguf; of most sites in kohya), scale (mlx) */
    char names[64];      /* the loader in whose list of modules every name in the file stands; "": nobody looked */
} ar_proof;

/* Writes the adapter in a format, reads it back by the format's own rule and compares s·B·A per site; past the bound
 * nothing is left.  The file or folder takes its name when all of that is done.  proof may be NULL.
 * An output that is, holds or lies in something that the adapter was made of, or in the model, is an error, whatever overwrite says.
 * Errors: AR_ERR_UNSUPPORTED names what the format cannot hold; AR_ERR_MISMATCH a failed proof. */
AR_API ar_status ar_adapter_write(ar_proof *proof, ar_adapter *ad, const ar_runtime *rt, const char *path, const ar_write_options *options,
                                  ar_error *err);

/* Writes a PEFT folder: adapter_model.safetensors (f32), then adapter_config.json, each whole or not at all, so that a
 * failure leaves no configuration without weights.  Files of these names already in dir are an error unless overwrite. */
AR_API ar_status ar_adapter_save(const ar_adapter *ad, const char *dir, bool overwrite, ar_error *err);

#ifdef __cplusplus
}
#endif
#endif
