/* The modules that mlx-lm's LoRA can stand on, by model type: what its models really have, listed by asking each one
 * (tools/make-mlx-names).  A name that is not here is dropped, or refused, by mlx-lm's load_adapters. */
#ifndef AR_ARCH_NAMES_MLX_H
#define AR_ARCH_NAMES_MLX_H

#include "base/mem.h"

/* Lists are words with a space between; '*' before one: a SwitchLinear, whose pair has all experts (lora_a [E, r, in],
 * lora_b [E, out, r]); '#' inside: the number of a layer. */
typedef struct ar_mlx_family {
    const char *type;            /* mlx_lm/models/TYPE.py */
    const char *prefix;          /* before a layer's number: "language_model.model.layers." */
    const char *inside, *others; /* below a layer; whole paths */
} ar_mlx_family;
typedef struct ar_mlx_alias {
    const char *model_type, *type;
} ar_mlx_alias;
extern const ar_mlx_family ar__mlx_families[]; /* end with type NULL */
extern const ar_mlx_alias ar__mlx_aliases[];   /* end with NULL */
extern const char *const ar__mlx_lm_version;

typedef enum ar_mlx_kind { AR_MLX_NONE, AR_MLX_MODULE, AR_MLX_SWITCH } ar_mlx_kind;

const ar_mlx_family *ar__mlx_family(const char *model_type); /* of config.json; NULL: not known */
ar_mlx_kind ar__mlx_module(const ar_mlx_family *f, const char *path);
/* Does the model stand in a multimodal one, so that all paths begin with "language_model."? */
bool ar__mlx_is_wrapped(const ar_mlx_family *f);
/* Appends the path of the module that holds all experts of a layer, by the last part of its name ("up_proj"); nothing where there is none.
 */
void ar__mlx_switch(ar_buf *out, const ar_mlx_family *f, long long layer, const char *part);
/* Appends the family's path of a module of another spelling: its own prefix and the part below the layer (rest, of layer
 * `layer` ≥ 0), or the one whole path that ends as `path` does.  Nothing where the family has no such module. */
void ar__mlx_respell(ar_buf *out, const ar_mlx_family *f, const char *path, long long layer, const char *rest);

#endif
