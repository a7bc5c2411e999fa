/* What a base's configuration says, read leniently: names need a family, GGUF's row orders a number of heads, and an
 * unknown field is none of the toolkit's business.  A multimodal configuration keeps the language model's in
 * text_config. */
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/mem.h"
#include "format/json.h"
#include "weights/impl.h"

enum { CONFIG_MAX = 16 << 20, HEADS_MAX = 1 << 20 };

struct config {
    const json_t *root, *text; /* text: NULL where nothing is nested */
};

static const json_t *find(const struct config *c, const char *key) {
    const json_t *v = json_object_get(c->root, key);
    return v && !json_is_null(v) ? v : json_object_get(c->text, key);
}

/* The first of the spellings that is a number of that size; 0 if none is. */
static int64_t number(const struct config *c, const char *const *keys) {
    for (; *keys; keys++) {
        int64_t n;
        if (ar__json_as_int(&n, find(c, *keys)) && n > 0 && n <= HEADS_MAX) return n;
    }
    return 0;
}

static void read_numbers(ar_base *base, const struct config *c) {
    static const char *const heads[] = {"num_attention_heads", "n_head", NULL};
    static const char *const kv[] = {"num_key_value_heads", NULL};
    static const char *const size[] = {"head_dim", NULL};
    static const char *const layers[] = {"num_hidden_layers", "n_layer", NULL};
    static const char *const dim[] = {"hidden_size", "n_embd", NULL};
    static const char *const key_heads[] = {"linear_num_key_heads", NULL}, *const value_heads[] = {"linear_num_value_heads", NULL};
    static const char *const value_dim[] = {"linear_value_head_dim", NULL};
    ar_base_info *info = &base->info;
    const json_t *tied = find(c, "tie_word_embeddings");
    info->count.heads = number(c, heads);
    info->count.kv_heads = number(c, kv);
    if (!info->count.kv_heads) info->count.kv_heads = info->count.heads;
    info->head_dim = number(c, size);
    if (!info->head_dim && info->count.heads) info->head_dim = number(c, dim) / info->count.heads;
    info->layers = number(c, layers);
    info->count.key_heads = number(c, key_heads);
    info->count.value_heads = number(c, value_heads);
    info->count.value_dim = number(c, value_dim);
    base->says_tied = json_is_boolean(tied) ? (signed char)json_is_true(tied) : -1;
}

static const json_t *text_config(const json_t *root) {
    static const char *const keys[] = {"text_config", "llm_config", "language_config"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        const json_t *v = json_object_get(root, keys[i]);
        if (json_is_object(v)) return v;
    }
    return NULL;
}

static ar_status read_family(ar_base *base, const struct config *c, ar_error *err) {
    const char *type = json_string_value(json_object_get(c->root, "model_type"));
    const char *inner = json_string_value(json_object_get(c->text, "model_type"));
    const ar_name_map *names = type ? ar__names_for_model_type(type) : NULL;
    if (!names && inner) names = ar__names_for_model_type(inner);
    base->info.names = names;
    if (!type) type = inner;
    if (!type) return AR_OK;
    base->info.model_type = base->model_type = ar__strdup(type);
    return base->model_type ? AR_OK : ar__fail_memory(err, base->path);
}

ar_status ar__base_config_read(ar_base *base, const char *dir, ar_error *err) {
    char *path = ar__path_join(dir, "config.json");
    json_t *root = NULL;
    base->says_tied = -1;
    if (!path) return ar__fail_memory(err, dir);
    ar_status s = ar__path_exists(path) ? ar__json_load_object(&root, path, CONFIG_MAX, err) : AR_OK;
    free(path);
    if (s || !root) return s;
    struct config c = {root, text_config(root)};
    s = read_family(base, &c, err);
    if (!s) read_numbers(base, &c);
    if (!s) s = ar__base_quantised_read(base, c.root, c.text, err);
    const char *name = json_string_value(json_object_get(root, "_name_or_path"));
    if (!s && name && *name && !(base->info.own_name = base->own_name = ar__strdup(name))) s = ar__fail_memory(err, dir);
    json_decref(root);
    return s;
}

/* `ARCH.attention.head_count` and the like; 0 where it is missing, no integer, or differs from layer to layer. */
static int64_t gguf_number(const ar_base *base, const char *key) {
    ar_buf full = {0};
    int64_t n = 0;
    ar__buf_printf(&full, "%s.%s", base->model_type, key);
    const ar_gguf_kv *kv = full.failed ? NULL : ar__gguf_kv_find(base->gguf, full.data);
    ar__buf_release(&full);
    return kv && !kv->is_array && ar__gguf_int_at(&n, kv, 0) && n > 0 && n <= HEADS_MAX ? n : 0;
}

static bool has_number(const void *base, const char *key) { return gguf_number(base, key) > 0; }

static ar_status check_gguf(const ar_base *base, ar_error *err) {
    ar_gguf_string type = {"model", 5};
    ar_status s = ar__gguf_get_string(&type, base->gguf, "general.type", err);
    if (s) return s;
    if (!ar__gguf_string_is(type, "model"))
        return ar__fail(err, AR_ERR_MISMATCH, "%s: general.type is '%.*s', wanted a model", base->path,
                        (int)(type.len < 40 ? type.len : 40), type.at);
    return AR_OK;
}

ar_status ar__base_gguf_read(ar_base *base, ar_error *err) {
    ar_base_info *info = &base->info;
    ar_gguf_string arch = {0};
    ar_status s = check_gguf(base, err);
    base->says_tied = -1;
    if (!s) s = ar__gguf_need_key(base->gguf, "general.architecture", err);
    if (!s) s = ar__gguf_get_string(&arch, base->gguf, "general.architecture", err);
    if (s) return s;
    info->model_type = base->model_type = ar__strndup(arch.at, arch.len);
    if (!base->model_type) return ar__fail_memory(err, base->path);
    info->names = ar__names_for_file(base->model_type, has_number, base);
    info->count.heads = gguf_number(base, "attention.head_count");
    info->count.kv_heads = gguf_number(base, "attention.head_count_kv");
    if (!info->count.kv_heads) info->count.kv_heads = info->count.heads;
    info->head_dim = gguf_number(base, "attention.key_length");
    if (!info->head_dim && info->count.heads) info->head_dim = gguf_number(base, "embedding_length") / info->count.heads;
    info->layers = gguf_number(base, "block_count");
    info->count.key_heads = gguf_number(base, "ssm.group_count");
    info->count.value_heads = gguf_number(base, "ssm.time_step_rank");
    if (info->count.value_heads) info->count.value_dim = gguf_number(base, "ssm.inner_size") / info->count.value_heads;
    return AR_OK;
}
