/* kohya's and diffusers' adapter files: one .safetensors file.  docs/kohya.md describes it. */
#ifndef AR_ADAPTER_KOHYA_H
#define AR_ADAPTER_KOHYA_H

#include "adapter/formats.h"
#include "adapter/peft.h"
#include "adapter/provenance.h"
#include "adapter/targets.h"
#include "base/map.h"

/* What a tensor's name says. */
typedef enum ar_kohya_part {
    AR_KOHYA_DOWN,
    AR_KOHYA_UP,
    AR_KOHYA_ALPHA,
    AR_KOHYA_PART_COUNT, /* those above make a pair */
    AR_KOHYA_OTHER,      /* another method's, which no plain pair can stand for */
    AR_KOHYA_UNKNOWN
} ar_kohya_part;

typedef struct ar_kohya_key {
    ar_kohya_part part;
    size_t module;      /* length of the module's name, with which the tensor's begins */
    bool is_diffusers;  /* no ".lora_down.weight": loaders of such files go by s = 1 or by configuration */
    const char *method; /* of AR_KOHYA_OTHER, for messages: "LoHa" */
} ar_kohya_key;
/* Does the name begin with a part of a pipeline ("transformer.")? */
bool ar__kohya_has_component(const char *name);

/* The configurations in diffusers' metadata.  The zeroed struct: none. */
typedef struct ar_diffusers {
    const ar_read_context *c;
    const ar_st_set *st;
    json_t *all;
    char *component; /* whose settings these are, "" where keys have none; NULL: none yet */
    bool is_told;    /* the metadata has some for it */
    ar_adapter_settings settings;
    ar_pattern_set ranks, alphas;
} ar_diffusers;
ar_status ar__diffusers_init(ar_diffusers *out, const ar_st_set *st, const ar_read_context *c, ar_error *err);
/* Does the file itself say what alpha a module has (the first `module` bytes of name), so that a PEFT-like name without a
 * component is no part of a PEFT folder? */
bool ar__diffusers_tells(const ar_diffusers *d, const char *name, size_t module);
/* α and policy of a module; *is_told false, and the rest left alone, where the metadata say nothing of it. */
ar_status ar__diffusers_find(bool *is_told, double *alpha, ar_policy *policy, ar_diffusers *d, const char *module, int rank, ar_error *err);
/* Has the metadata a configuration without a component, and this module a component for which it has none? */
bool ar__diffusers_passes_over(const ar_diffusers *d, const char *module);
/* The alpha tensor that diffusers gives to modules of the same component without one; NULL where it gives none. */
const ar_tensor *ar__diffusers_lender(const ar_diffusers *d, const char *module);
void ar__diffusers_release(ar_diffusers *d);

ar_kohya_key ar__kohya_key_parse(const char *name, const ar_diffusers *d);

/* The sites behind the modules' names: by metadata "alphar.sites", else `lora_te_` + path with `.` → `_` by the paths of
 * a base, else the name itself.  The zeroed struct knows neither. */
typedef struct ar_kohya_names {
    json_t *told; /* module → path; NULL: none */
    const struct ar_base *base;
    ar_map known; /* underscored → index */
    ar_strings path;
    ar_strings rival; /* "" or another path with the same underscores, parallel to path */
} ar_kohya_names;
/* base NULL: not given.  Release also after failure. */
ar_status ar__kohya_names_init(ar_kohya_names *out, const ar_st_set *st, const struct ar_base *base, ar_error *err);
/* name: the path, or what the family's bare model calls it (kohya's text encoders are bare: no leading "model."). */
ar_status ar__kohya_names_add(ar_kohya_names *names, const char *name, const char *path, ar_error *err);
/* *site is borrowed from names or module.  Errors: AR_ERR_MISMATCH where no path of the base gives the name, or two do. */
ar_status ar__kohya_names_find(const char **site, const ar_kohya_names *names, const char *module, ar_error *err);
void ar__kohya_names_release(ar_kohya_names *names);

/* Settings and notes out of a file's metadata, once its pairs are there. */
ar_status ar__kohya_settings_read(ar_adapter *ad, const ar_st_set *st, ar_error *err);
/* The same into a file's metadata; alpha_of: what the file will say per pair. */
ar_status ar__kohya_settings_write(ar_st_writer *w, const ar_adapter *ad, double (*alpha_of)(const ar_pair *p), ar_error *err);

ar_status ar__kohya_read(ar_adapter **out, const ar_read_context *c, ar_error *err);
bool ar__kohya_is_it(const char *path);

#endif
