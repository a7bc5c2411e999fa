/* adapter_config.json of mlx-lm, in the spellings since 2024, and what its reader makes of it. */
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "adapter/mlx.h"
#include "base/fail.h"
#include "format/json.h"

enum { CONFIG_MAX = 64 << 20 };

static ar_status read_kind(ar_mlx_config *m, const json_t *root, const char *path, ar_error *err) {
    const char *type = NULL;
    ar_status s = ar__json_get_bool(&m->dora, root, "use_dora", path, err); /* August and September 2024 */
    if (!s) s = ar__json_get_string(&type, root, "fine_tune_type", path, err);
    if (s || !type || !strcmp(type, "lora")) return s;
    if (!strcmp(type, "dora")) {
        m->dora = true;
        return AR_OK;
    }
    if (!strcmp(type, "full"))
        return ar__fail(err, AR_ERR_UNSUPPORTED,
                        "%s: fine_tune_type is full: these are whole weights of a trained model, no pairs; alphar extract makes an adapter "
                        "of two models",
                        path);
    return ar__fail(err, AR_ERR_UNSUPPORTED, "%s: fine_tune_type is '%s', wanted lora or dora", path, type);
}

static ar_status read_keys(ar_mlx_config *m, const json_t *parameters, const char *path, ar_error *err) {
    const json_t *keys = NULL;
    ar_status s = ar__json_get_array(&keys, parameters, "keys", path, err);
    m->has_keys = keys != NULL;
    for (size_t i = 0; !s && i < json_array_size(keys); i++) {
        const char *key = json_string_value(json_array_get(keys, i));
        if (!key)
            s = ar__fail(err, AR_ERR_FORMAT, "%s: 'keys' holds %s, wanted names", path, ar__json_type(json_array_get(keys, i)));
        else if (!ar__strings_add(&m->keys, key))
            s = ar__fail_memory(err, path);
    }
    return s;
}

static ar_status read_layers(ar_mlx_config *m, const json_t *root, const char *path, const ar_log *log, ar_error *err) {
    bool old = !ar__json_has(root, "num_layers") && ar__json_has(root, "lora_layers");
    if (json_object_size(root) && !old && !ar__json_has(root, "num_layers"))
        ar__log_warn(log, "%s: 'num_layers' is missing, without which mlx-lm does not load the adapter: read as -1, all layers", path);
    return ar__json_get_int(&m->last_layers, root, old ? "lora_layers" : "num_layers", path, err);
}

/* `alpha` stands in many files because mlx-lm once had it among its defaults. */
static ar_status read_scale(ar_mlx_config *m, const json_t *parameters, const char *path, const ar_read_context *c, bool old,
                            ar_error *err) {
    double alpha = NAN;
    ar_status s = ar__json_get_double(&m->scale, parameters, "scale", path, err);
    if (!s) s = ar__json_get_double(&alpha, parameters, "alpha", path, err);
    if (s) return s;
    if (!ar__json_has(parameters, "scale")) {
        if (!c->options.has_alpha || !m->rank)
            return ar__fail(err, AR_ERR_FORMAT,
                            "%s: 'scale' of lora_parameters is missing%s, and tools guess it differently; supply it as alpha with --alpha "
                            "(s = alpha / rank)",
                            path, m->rank ? "" : ", and 'rank' too");
        m->scale = c->options.alpha / m->rank;
    }
    if (!isfinite(m->scale)) return ar__fail(err, AR_ERR_NUMERIC, "%s: 'scale' is %g, wanted a finite number", path, m->scale);
    bool told = isfinite(alpha) && m->rank && ar__json_has(parameters, "scale") && alpha / m->rank != m->scale;
    if (told && old)
        ar__log_warn(&c->log,
                     "%s: s is 'scale', %g; mlx-lm of March to May 2024 multiplied it by alpha / rank: if the adapter was trained then, "
                     "rescale it by %g",
                     path, m->scale, alpha / m->rank);
    else if (told)
        ar__log_warn(&c->log, "%s: 'alpha' %g does nothing in mlx-lm: s is 'scale', %g (alpha / rank would be %g)", path, alpha, m->scale,
                     alpha / m->rank);
    return AR_OK;
}

static ar_status read_parameters(ar_mlx_config *m, const json_t *root, const char *path, const ar_read_context *c, ar_error *err) {
    const json_t *parameters = NULL;
    int64_t rank = 0;
    bool old = ar__json_has(root, "lora_layers") && !ar__json_has(root, "num_layers");
    ar_status s = ar__json_get_object(&parameters, root, "lora_parameters", path, err);
    if (!s) s = ar__json_get_int(&rank, parameters, "rank", path, err);
    if (!s && ar__json_has(parameters, "rank") && (rank < 1 || rank > INT_MAX))
        s = ar__fail(err, AR_ERR_FORMAT, "%s: 'rank' is %lld, wanted a rank from 1", path, (long long)rank);
    m->rank = (int)rank;
    if (!s) s = ar__json_get_double(&m->dropout, parameters, "dropout", path, err);
    if (!s) s = read_keys(m, parameters, path, err);
    return s ? s : read_scale(m, parameters, path, c, old, err);
}

/* mlx-vlm before its configuration became mlx-lm's.  Up to 0.4.4 its layers multiplied by alpha itself, since 0.5.0 by
 * alpha / rank (trainer/lora.py), also when they load an older file: s is what such files were trained with. */
static ar_status read_vlm(ar_mlx_config *m, const json_t *root, const char *path, const ar_read_context *c, ar_error *err) {
    int64_t rank = 0;
    ar_status s;
    if ((s = ar__json_get_int(&rank, root, "rank", path, err)) || (s = ar__json_get_double(&m->scale, root, "alpha", path, err)) ||
        (s = ar__json_get_double(&m->dropout, root, "dropout", path, err)))
        return s;
    if (rank < 1 || rank > INT_MAX) return ar__fail(err, AR_ERR_FORMAT, "%s: 'rank' is %lld, wanted a rank from 1", path, (long long)rank);
    if (!isfinite(m->scale)) return ar__fail(err, AR_ERR_NUMERIC, "%s: 'alpha' is %g, wanted a finite number", path, m->scale);
    m->rank = (int)rank;
    if (c->options.has_alpha)
        m->scale = c->options.alpha / m->rank;
    else
        ar__log_warn(&c->log,
                     "%s: an adapter of mlx-vlm, whose versions disagree: up to 0.4.4 s is 'alpha', %g, since 0.5.0 alpha / rank, %g; read "
                     "as the former, which trained nearly all such files; --alpha %g gives the latter",
                     path, m->scale, m->scale / m->rank, m->scale);
    return AR_OK;
}

static bool is_vlm(const json_t *root) {
    return ar__json_has(root, "rank") && ar__json_has(root, "alpha") && !ar__json_has(root, "lora_parameters") &&
           !ar__json_has(root, "fine_tune_type");
}

static bool is_known(const char *key, const char *const *known) {
    while (*known && strcmp(key, *known) != 0) known++;
    return *known;
}

/* What the trainer noted beside what counts is kept; beside the parameters of LoRA it might count one day. */
static ar_status keep_rest(ar_mlx_config *m, const json_t *root, const char *path, const ar_log *log, ar_error *err) {
    static const char *const top[] = {"fine_tune_type", "use_dora", "num_layers", "lora_layers", "lora_parameters", "model", NULL};
    static const char *const vlm[] = {"rank", "alpha", "dropout", NULL};
    static const char *const parameters[] = {"rank", "scale", "alpha", "dropout", "keys", NULL};
    json_t *rest = json_object(), *value;
    const char *key;
    json_object_foreach((json_t *)(uintptr_t)root, key, value) {
        if (rest && !is_known(key, m->is_vlm ? vlm : top)) json_object_set(rest, key, value);
    }
    json_object_foreach(json_object_get(root, "lora_parameters"), key, value) {
        if (!is_known(key, parameters)) ar__log_warn(log, "%s: '%s' of lora_parameters is not known here and left out", path, key);
    }
    if (json_object_size(rest)) m->rest = json_dumps(rest, JSON_COMPACT | JSON_REAL_PRECISION(17));
    ar_status s = rest && (m->rest || !json_object_size(rest)) ? AR_OK : ar__fail_memory(err, path);
    json_decref(rest);
    return s;
}

static ar_status read_root(ar_mlx_config *m, const json_t *root, const char *path, const ar_read_context *c, ar_error *err) {
    const char *model = NULL;
    ar_status s;
    m->is_vlm = is_vlm(root);
    if ((s = keep_rest(m, root, path, &c->log, err)) || m->is_vlm) return s ? s : read_vlm(m, root, path, c, err);
    if ((s = read_kind(m, root, path, err)) || (s = read_layers(m, root, path, &c->log, err)) ||
        (s = read_parameters(m, root, path, c, err)) || (s = ar__json_get_string(&model, root, "model", path, err)))
        return s;
    if (model && !(m->model = ar__strdup(model))) return ar__fail_memory(err, path);
    return AR_OK;
}

ar_status ar__mlx_config_read(ar_mlx_config *out, const char *dir, const ar_read_context *c, ar_error *err) {
    char *path = ar__path_join(dir, AR_MLX_CONFIG);
    json_t *root = NULL;
    *out = (ar_mlx_config){0};
    if (!path) return ar__fail_memory(err, dir);
    ar_status s = ar__path_exists(path) ? ar__json_load_object(&root, path, CONFIG_MAX, err)
                                        : ar__fail(err, AR_ERR_NOT_FOUND,
                                                   "%s: is missing, and 'scale' stands in it: weights alone do not say what they do", path);
    if (!s) s = read_root(out, root, path, c, err);
    if (s) ar__mlx_config_release(out);
    json_decref(root);
    free(path);
    return s;
}

void ar__mlx_config_release(ar_mlx_config *m) {
    ar__strings_release(&m->keys);
    free(m->model);
    free(m->rest);
    *m = (ar_mlx_config){0};
}

int64_t ar__mlx_block(const char **rest, const char *module) {
    for (const char *p = strchr(module, '.'); p; p = strchr(p, '.')) {
        size_t n = strspn(++p, "0123456789");
        if (!n || n > 6 || p[n] != '.') continue;
        *rest = p + n + 1;
        return strtol(p, NULL, 10);
    }
    *rest = NULL;
    return -1;
}

/* model.layers[-num_layers:] by block-relative keys, then every module whose whole path is a key.  Without keys all linears
 * and embeddings of those blocks (q and v in mlx-lm before October 2025, which dropped the others). */
ar_status ar__mlx_instantiates(const ar_mlx_config *m, const char *module, int64_t layers, int64_t seen, ar_error *err) {
    const char *rest;
    int64_t block = ar__mlx_block(&rest, module), total = layers > seen ? layers : seen;
    if (m->has_keys && ar__strings_has(&m->keys, module)) return AR_OK;
    if (block < 0)
        return ar__fail(err, AR_ERR_MISMATCH,
                        "site '%s': outside the layers mlx-lm adapts only what 'keys' names, so it drops this; add the path to 'keys'",
                        module);
    if (m->has_keys && !ar__strings_has(&m->keys, rest))
        return ar__fail(err, AR_ERR_MISMATCH, "site '%s': 'keys' does not name '%s', so mlx-lm drops it; add it to 'keys'", module, rest);
    if (m->last_layers > 0 && block < total - m->last_layers)
        return ar__fail(
            err, AR_ERR_MISMATCH,
            "site '%s': num_layers is %lld, which leaves out layer %lld of %lld%s, so mlx-lm drops it; -1 means all (mlx-lm from "
            "October 2024 to February 2025 adapted all layers whatever num_layers said)",
            module, (long long)m->last_layers, (long long)block, (long long)total, layers ? "" : " or more");
    return AR_OK;
}
