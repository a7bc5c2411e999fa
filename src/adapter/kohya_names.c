/* `lora_te_model_layers_0_mlp_up_proj` → `model.layers.0.mlp.up_proj`, by the paths that a base has. */
#include <stdlib.h>
#include <string.h>

#include "adapter/kohya.h"
#include "base/fail.h"
#include "base/mem.h"

static const char prefix[] = "lora_te_";

ar_status ar__kohya_names_add(ar_kohya_names *names, const char *name, const char *path, ar_error *err) {
    char *key = ar__strdup(name);
    if (!key) return ar__fail_memory(err, path);
    for (char *p = key; *p; p++)
        if (*p == '.') *p = '_';
    size_t at = ar__map_find_str(&names->sites, key);
    ar_status s = AR_OK;
    if (at == AR_MAP_NONE) {
        bool ok = ar__map_put(&names->sites, key, strlen(key), names->path.count) && ar__strings_add(&names->path, path) &&
                  ar__strings_add(&names->rival, "");
        if (!ok) s = ar__fail_memory(err, path);
    } else if (strcmp(names->path.at[at], path) != 0) {
        char *rival = ar__strdup(path);
        if (!rival) s = ar__fail_memory(err, path);
        if (rival) free(names->rival.at[at]);
        if (rival) names->rival.at[at] = rival;
    }
    free(key);
    return s;
}

ar_status ar__kohya_names_find(const char **path, const ar_kohya_names *names, const char *key, ar_error *err) {
    *path = NULL;
    if (strncmp(key, prefix, sizeof prefix - 1) != 0) return AR_OK;
    size_t at = ar__map_find_str(&names->sites, key + sizeof prefix - 1);
    if (at == AR_MAP_NONE) return AR_OK;
    if (*names->rival.at[at])
        return ar__fail(err, AR_ERR_MISMATCH, "'%s' may be '%s' or '%s' of the base: underscores do not tell them apart", key,
                        names->path.at[at], names->rival.at[at]);
    *path = names->path.at[at];
    return AR_OK;
}

void ar__kohya_names_release(ar_kohya_names *names) {
    ar__map_release(&names->sites);
    ar__strings_release(&names->path);
    ar__strings_release(&names->rival);
}
