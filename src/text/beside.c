#include "text/beside.h"

#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/file.h"
#include "base/mem.h"
#include "format/gguf.h"
#include "format/json.h"
#include "text/utf8.h"

enum { MAX_CONFIG_BYTES = 64 << 20 };

char *ar__tokenizer_folder(const char *path) {
    const char *base = ar__path_base(path);
    if (ar__path_is_dir(path)) return ar__strdup(path);
    return base == path ? ar__strdup(".") : ar__strndup(path, (size_t)(base - path));
}

/* A key that stands twice counts as in Python: the last. */
static ar_status read_config(json_t **out, const char *folder, const char *name, ar_error *err) {
    char *path = ar__path_join(folder, name);
    ar_buf text = {0};
    ar_status s = path ? AR_OK : ar__fail_memory(err, folder);
    if (!s && ar__path_exists(path)) {
        s = ar__file_read(&text, path, MAX_CONFIG_BYTES, err);
        if (!s) s = ar__json_read(out, text.data, text.len, JSON_ALLOW_NUL, path, err);
        if (!s && !json_is_object(*out)) s = ar__fail(err, AR_ERR_FORMAT, "%s: found %s, wanted an object", path, ar__json_type(*out));
    }
    ar__buf_release(&text);
    free(path);
    return s;
}

/* ---- GGUF ------------------------------------------------------------------------------------------------------------*/

static bool is_text(ar_gguf_string s) { return ar__utf8_valid(s.at, s.len) == s.len; }

static ar_status put_token(json_t *config, const char *name, const ar_gguf *g, const char *key, ar_error *err) {
    const ar_gguf_kv *tokens = NULL;
    ar_gguf_string text;
    int64_t id = -1;
    ar_status s = ar__gguf_get_int(&id, g, key, err);
    if (!s) s = ar__gguf_get_array(&tokens, g, "tokenizer.ggml.tokens", AR_GGUF_STRING, err);
    if (s || id < 0 || !tokens || (size_t)id >= tokens->count || !ar__gguf_string_at(&text, tokens, (size_t)id) || !is_text(text)) return s;
    return json_object_set_new(config, name, json_stringn(text.at, text.len)) ? ar__fail_memory(err, key) : AR_OK;
}

static ar_status put_flag(json_t *config, const char *name, const ar_gguf *g, const char *key, ar_error *err) {
    bool flag = false;
    ar_status s = ar__gguf_get_bool(&flag, g, key, err);
    if (s || !ar__gguf_kv_find(g, key)) return s;
    return json_object_set_new(config, name, json_boolean(flag)) ? ar__fail_memory(err, key) : AR_OK;
}

/* One template, or a list of names each with a key of its own, which becomes transformers 4's list of {name, template}. */
static ar_status put_templates(json_t *config, const ar_gguf *g, ar_error *err) {
    static const char prefix[] = "tokenizer.chat_template.";
    json_t *list = json_array();
    ar_status s = list ? AR_OK : ar__fail_memory(err, "chat template");
    for (int i = 0; !s && i < ar__gguf_kv_count(g); i++) {
        const ar_gguf_kv *kv = ar__gguf_kv_at(g, i);
        ar_gguf_string text;
        bool alone = !strcmp(kv->key, "tokenizer.chat_template");
        if ((!alone && strncmp(kv->key, prefix, sizeof prefix - 1) != 0) || kv->is_array || !ar__gguf_string_at(&text, kv, 0)) continue;
        if (!is_text(text)) {
            s = ar__fail(err, AR_ERR_FORMAT, "%s: '%s' is not UTF-8", ar__gguf_path(g), kv->key);
            continue;
        }
        json_t *one =
            json_pack("{s:s, s:o}", "name", alone ? "default" : kv->key + sizeof prefix - 1, "template", json_stringn(text.at, text.len));
        if (!one || json_array_append_new(list, one)) s = ar__fail_memory(err, "chat template");
    }
    if (!s && json_array_size(list) && json_object_set(config, "chat_template", list)) s = ar__fail_memory(err, "chat template");
    json_decref(list);
    return s;
}

static ar_status read_gguf(json_t **config, const char *path, ar_error *err) {
    static const char *const tokens[][2] = {{"bos_token", "tokenizer.ggml.bos_token_id"},
                                            {"eos_token", "tokenizer.ggml.eos_token_id"},
                                            {"unk_token", "tokenizer.ggml.unknown_token_id"},
                                            {"pad_token", "tokenizer.ggml.padding_token_id"}};
    static const char *const flags[][2] = {{"add_bos_token", "tokenizer.ggml.add_bos_token"},
                                           {"add_eos_token", "tokenizer.ggml.add_eos_token"}};
    ar_gguf *g;
    ar_status s = ar__gguf_open(&g, path, err);
    if (s) return s;
    *config = json_object();
    if (!*config) s = ar__fail_memory(err, path);
    for (size_t i = 0; !s && i < sizeof tokens / sizeof *tokens; i++) s = put_token(*config, tokens[i][0], g, tokens[i][1], err);
    for (size_t i = 0; !s && i < sizeof flags / sizeof *flags; i++) s = put_flag(*config, flags[i][0], g, flags[i][1], err);
    if (!s) s = put_templates(*config, g, err);
    ar__gguf_close(g);
    return s;
}

ar_status ar__tokenizer_beside(json_t **config, json_t **map, const char *path, ar_error *err) {
    *config = *map = NULL;
    char *folder = ar__gguf_is_name(path) ? NULL : ar__tokenizer_folder(path);
    ar_status s = ar__gguf_is_name(path) ? read_gguf(config, path, err) : folder ? AR_OK : ar__fail_memory(err, path);
    if (!s && folder) s = read_config(config, folder, "tokenizer_config.json", err);
    if (!s && folder) s = read_config(map, folder, "special_tokens_map.json", err);
    free(folder);
    if (!s) return AR_OK;
    json_decref(*config);
    json_decref(*map);
    *config = *map = NULL;
    return s;
}
