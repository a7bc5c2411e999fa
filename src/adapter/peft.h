/* PEFT folders: adapter_config.json + adapter_model.safetensors.  docs/peft.md describes both. */
#ifndef AR_ADAPTER_PEFT_H
#define AR_ADAPTER_PEFT_H

#include "adapter/formats.h"
#include "adapter/targets.h"
#include "format/safetensors.h"

#define AR_PEFT_CONFIG "adapter_config.json"
#define AR_PEFT_WEIGHTS "adapter_model.safetensors"

/* Settings from a configuration alone.  Every field is handled, known to be harmless, or refused by name; a missing
 * alpha is taken from the options or is an error.  *out is released on failure. */
ar_status ar__peft_config_read(ar_adapter_settings *out, const char *path, const ar_adapter_options *options, ar_error *err);
/* The same of an object that stands elsewhere; place is for messages. */
ar_status ar__peft_config_parse(ar_adapter_settings *out, const json_t *root, const char *place, const ar_adapter_options *options,
                                ar_error *err);

/* One switch for all sites: DoRA and lora_bias everywhere or nowhere. */
ar_status ar__peft_check(const ar_adapter *ad, const ar_write_context *c, ar_error *err);
/* *alpha: what lora_alpha says. */
ar_status ar__peft_config_write(double *alpha, const ar_adapter *ad, const char *path, ar_error *err);
/* Is everything there that the configuration says was saved whole?  AR_ERR_MISMATCH names what is not. */
ar_status ar__peft_check_whole(const ar_adapter *ad, const ar_read_context *c, ar_error *err);
/* Does modules_to_save name the module, or one above it? */
bool ar__peft_is_announced(const ar_adapter_settings *s, const char *module);
/* Does it do so by a name of which the base has no module: a classifier that the training brought along? */
bool ar__peft_is_own_head(const ar_adapter *ad, const struct ar_base *base, const char *module);
/* target_modules of null becomes the default of the base's family; a warning where that is not known. */
ar_status ar__peft_default_targets(ar_adapter *ad, const ar_read_context *c, ar_error *err);
/* The tensors of one level of stacked experts. */
typedef struct ar_peft_stack {
    const char *place, *path; /* of the file; of the module, the inner level with `.base_layer` behind it */
    const ar_tensor *a, *b;
    const ar_tensor *other_a, *other_b; /* of the other level; NULL: there is none */
    const ar_pattern_set *ranks, *alphas;
} ar_peft_stack;
bool ar__peft_is_stack(const ar_adapter_settings *s, const char *path);
/* Do target_parameters name this parameter of the module whose path is the first n bytes? */
bool ar__peft_targets_parameter(const ar_adapter_settings *s, const char *path, size_t n, const char *parameter);
/* Adds one pair per expert. */
ar_status ar__peft_read_stack(ar_adapter *ad, const ar_read_context *c, const ar_peft_stack *x, ar_error *err);
ar_status ar__peft_read(ar_adapter **out, const ar_read_context *c, ar_error *err);

/* What a tensor's key says.  path is malloc'ed: the site, or the tensor's whole name for AR_PEFT_WHOLE. */
typedef enum ar_peft_part {
    AR_PEFT_A,
    AR_PEFT_B,
    AR_PEFT_EMBEDDING_A,
    AR_PEFT_EMBEDDING_B,
    AR_PEFT_MAGNITUDE,
    AR_PEFT_B_BIAS,
    AR_PEFT_PART_COUNT, /* those above belong to a pair */
    AR_PEFT_WHOLE,
    AR_PEFT_COPY, /* of the base */
    AR_PEFT_TOKENS,
    AR_PEFT_UNKNOWN
} ar_peft_part;
/* Whether PEFT finds its module by such a key. */
typedef enum ar_peft_spelling {
    AR_PEFT_PLAIN,
    AR_PEFT_NAMED, /* has the adapter's name behind the part: since 0.21 */
    AR_PEFT_ODD    /* not in a plain model */
} ar_peft_spelling;
/* The other method of PEFT that names its parameters so ("IA3"); NULL: none is known. */
const char *ar__peft_other_method(const char *key);
/* *path NULL: out of memory, or nothing to name. */
ar_peft_part ar__peft_key_parse(char **path, ar_peft_spelling *spelling, const char *key);

#endif
