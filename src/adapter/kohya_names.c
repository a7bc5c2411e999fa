/* `lora_te_model_layers_0_mlp_up_proj`, `lycoris_model_layers_0_mlp_up_proj` → `model.layers.0.mlp.up_proj`, by what the file says or by
 * the paths of a base. */
#include <stdlib.h>
#include <string.h>

#include "adapter/kohya.h"
#include "base/fail.h"
#include "base/mem.h"
#include "format/json.h"
#include "weights/base.h"

/* sd-scripts' text encoders; what LyCORIS' wrapper calls modules of any model. */
static const char *const prefixes[] = {"lora_te_", "lycoris_"};

/* What stands behind the prefix; NULL: the name has none of them. */
static const char *behind_prefix(const char *module) {
    for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes; i++) {
        size_t n = strlen(prefixes[i]);
        if (!strncmp(module, prefixes[i], n)) return module + n;
    }
    return NULL;
}

ar_status ar__kohya_names_add(ar_kohya_names *names, const char *name, const char *path, ar_error *err) {
    char *key = ar__strdup(name), *rival = NULL;
    if (!key) return ar__fail_memory(err, path);
    for (char *p = key; *p; p++)
        if (*p == '.') *p = '_';
    size_t at = ar__map_find_str(&names->known, key);
    bool ok = true;
    if (at == AR_MAP_NONE) {
        ok = ar__map_put(&names->known, key, strlen(key), names->path.count) && ar__strings_add(&names->path, path) &&
             ar__strings_add(&names->rival, "");
    } else if (strcmp(names->path.at[at], path) != 0 && (ok = (rival = ar__strdup(path)))) {
        free(names->rival.at[at]);
        names->rival.at[at] = rival;
    }
    free(key);
    return ok ? AR_OK : ar__fail_memory(err, path);
}

static ar_status add_module(ar_kohya_names *names, const ar_name_map *map, const char *path, ar_error *err) {
    size_t n = map ? strlen(map->prefix) : 0;
    ar_status s = ar__kohya_names_add(names, path, path, err);
    return s || !n || strncmp(path, map->prefix, n) != 0 ? s : ar__kohya_names_add(names, path + n, path, err);
}

static ar_status add_base(ar_kohya_names *names, ar_error *err) {
    const ar_name_map *map = ar__base_info(names->base)->names;
    ar_status s = AR_OK;
    for (int i = 0; !s && i < ar__base_count(names->base); i++) {
        const ar_base_weight *w = ar__base_at(names->base, i);
        if (w->kind != AR_MODULE_NORM) s = add_module(names, map, w->site, err);
    }
    for (const ar_name_row *row = map ? map->top : NULL; !s && row && row->hf; row++) /* a tied head has no tensor */
        if (row->kind == AR_MODULE_HEAD) s = add_module(names, map, row->hf, err);
    return s;
}

ar_status ar__kohya_names_init(ar_kohya_names *out, const ar_st_set *st, const ar_base *base, ar_error *err) {
    const char *text = ar__st_metadata(st, AR_NOTE_PREFIX "sites");
    *out = (ar_kohya_names){.base = base};
    ar_status s = text ? ar__json_parse(&out->told, text, strlen(text), "metadata alphar.sites", err) : AR_OK;
    return s || !base ? s : add_base(out, err);
}

void ar__kohya_names_release(ar_kohya_names *names) {
    json_decref(names->told);
    ar__map_release(&names->known);
    ar__strings_release(&names->path);
    ar__strings_release(&names->rival);
}

static ar_status find_in_base(const char **site, const ar_kohya_names *names, const char *module, ar_error *err) {
    size_t at = ar__map_find_str(&names->known, behind_prefix(module));
    if (at == AR_MAP_NONE)
        return ar__fail(err, AR_ERR_MISMATCH, "'%s' is no module of the base: give the base that the adapter was trained on", module);
    if (*names->rival.at[at])
        return ar__fail(err, AR_ERR_MISMATCH, "'%s' may be '%s' or '%s' of the base: underscores do not tell them apart", module,
                        names->path.at[at], names->rival.at[at]);
    *site = names->path.at[at];
    const ar_base_weight *w = names->base ? ar__base_find(names->base, *site) : NULL;
    if (w && w->kind == AR_MODULE_EMBEDDING && !w->is_tied)
        return ar__fail(err, AR_ERR_UNSUPPORTED, "'%s' is an embedding of the base, for which kohya files have no pairs", module);
    return AR_OK;
}

/* The length of what stands before the path in the name, SIZE_MAX where the name does not end so. */
static size_t before(const char *name, const char *path) {
    size_t n = strlen(name), m = strlen(path);
    if (!m || n < m) return SIZE_MAX;
    for (size_t i = 0; i < m; i++)
        if (name[n - m + i] != (path[i] == '.' ? '_' : path[i])) return SIZE_MAX;
    return n - m;
}

/* May the module be called so?  A name ends as its path, or is a prefix and the path in the bare model. */
static bool fits(const char *name, const char *path) {
    const char *bare = strchr(path, '.');
    size_t rest = before(name, path);
    return (rest < SIZE_MAX && (!rest || name[rest - 1] == '_')) || (bare && before(name, bare + 1) <= sizeof "lora_te1_" - 1);
}

ar_status ar__kohya_names_find(const char **site, const ar_kohya_names *names, const char *module, ar_error *err) {
    const char *path = json_string_value(json_object_get(names->told, module));
    *site = path ? path : module;
    if (path && !fits(module, path))
        return ar__fail(err, AR_ERR_FORMAT, "metadata alphar.sites: module '%s' is said to be '%s', which gives another name", module,
                        path);
    bool is_looked_up = !path && names->path.count && behind_prefix(module);
    return is_looked_up ? find_in_base(site, names, module, err) : AR_OK;
}
