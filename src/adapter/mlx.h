/* MLX adapters, as mlx-lm reads them (tuner/utils.py, lora.py, dora.py); docs/mlx.md.
 *
 *     adapter_config.json   {"fine_tune_type": "lora"|"dora", "num_layers": N, "model": …,
 *                            "lora_parameters": {"rank": r, "scale": s, "dropout": p, "keys": […]}}
 *     adapters.safetensors  MODULE.lora_a [n_in, r]   MODULE.lora_b [r, n_out]   DoRA: MODULE.m [n_out]
 *     adapters.npz          the same, before 2024-03; read only
 *
 * Experts are one module a layer (SwitchLinear): lora_a [E, r, in], lora_b [E, out, r], not transposed.
 *
 * mlx-vlm's folders until 2026 have {"rank": r, "alpha": s, "dropout": p} and MODULE.A, MODULE.B instead; read only.
 *
 * s is `scale` itself, for all sites: rank is not in its formula, and an `alpha` beside it does nothing.  An embedding's
 * lora_a is [vocab, r], lora_b [r, dim]. */
#ifndef AR_ADAPTER_MLX_H
#define AR_ADAPTER_MLX_H

#include "adapter/formats.h"
#include "arch/names.h"
#include "arch/names_mlx.h"
#include "base/mem.h"
#include "weights/base.h"

#define AR_MLX_CONFIG "adapter_config.json"
#define AR_MLX_WEIGHTS "adapters.safetensors"
#define AR_MLX_OLD_WEIGHTS "adapters.npz"
/* The note that keeps the configuration's other fields (a trainer's settings), so that they are written again. */
#define AR_NOTE_MLX_CONFIG "mlx.config"

/* What a configuration says; the zeroed struct says nothing. */
typedef struct ar_mlx_config {
    double scale, dropout;
    int rank;            /* 0: not given */
    int64_t last_layers; /* only the last so many blocks; 0 or less: all */
    bool dora, has_keys;
    bool is_vlm;     /* an older mlx-vlm's */
    ar_strings keys; /* block-relative, or whole paths */
    char *model;     /* NULL: not given */
    char *rest;      /* JSON of the fields that nothing here goes by; NULL: none */
} ar_mlx_config;

/* Reads dir/adapter_config.json.  A missing scale comes from --alpha, as α / r, or is an error. */
ar_status ar__mlx_config_read(ar_mlx_config *out, const char *dir, const ar_read_context *c, ar_error *err);
void ar__mlx_config_release(ar_mlx_config *m);
/* Does mlx-lm make a LoRA layer of the module?  layers: of the base; 0: not known, then at least `seen`.  A module that
 * it does not make one of is an error that says why. */
ar_status ar__mlx_instantiates(const ar_mlx_config *m, const char *module, int64_t layers, int64_t seen, ar_error *err);
/* `12` of "model.layers.12.mlp.up_proj" and what follows; -1 and NULL outside the blocks. */
int64_t ar__mlx_block(const char **rest, const char *module);

/* One expert's module; stem bytes of the site stand before ".experts.". */
typedef struct ar_mlx_expert {
    size_t stem;
    int64_t index;
    const char *part; /* "up_proj", "w1"; borrowed from the site */
} ar_mlx_expert;
bool ar__mlx_expert_read(ar_mlx_expert *out, const char *site); /* false: it is none */
/* Appends the module that holds all of them in mlx-lm, as far as below the layer; and one expert's module of such a stack, in
 * mixtral's spelling or the usual one (nothing where it is no stack). */
void ar__mlx_expert_stack(ar_buf *out, const char *site, const ar_mlx_expert *x);
void ar__mlx_expert_site(ar_buf *out, const char *stack, int64_t index, bool mixtral);
/* How many experts the base has of that kind in that layer. */
int64_t ar__mlx_expert_count(const ar_base *base, const char *site, const ar_mlx_expert *x);

ar_status ar__mlx_read(ar_adapter **out, const ar_read_context *c, ar_error *err);

/* How sites are called in the file. */
typedef struct ar_mlx_naming {
    const ar_name_map *map;
    const ar_mlx_family *family; /* of the base; NULL: no base says which */
    bool wrapped;
} ar_mlx_naming;
/* The base's model type; NULL: a GGUF file does not say which Hugging Face model it was. */
const char *ar__mlx_type_of(const ar_base *base);
ar_mlx_naming ar__mlx_naming_of(const ar_adapter *ad, const ar_base *base);
/* The path of the site in mlx-lm: by the table of names, else as the family spells such a module; that of the module which holds
 * the experts of all. */
void ar__mlx_print_module(ar_buf *out, const ar_mlx_naming *n, const char *site);
void ar__mlx_print_stack(ar_buf *out, const ar_mlx_naming *n, const char *site, const ar_mlx_expert *x);
/* The format's check: what the file cannot hold, or the loader would not find. */
ar_status ar__mlx_check(const ar_adapter *ad, const ar_write_context *c, ar_error *err);

#endif
