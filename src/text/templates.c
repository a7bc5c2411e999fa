#include "text/templates.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/file.h"
#include "base/mem.h"

enum { MAX_TEMPLATE_BYTES = 4 << 20 };

static ar_status add(json_t *list, const char *name, json_t *text, const char *place, ar_error *err) {
    if (!text) return ar__fail(err, AR_ERR_FORMAT, "%s: chat template '%.40s' is no UTF-8 text", place, name);
    json_t *one = json_pack("{s:s, s:o}", "name", name, "template", text);
    return one && json_array_append_new(list, one) == 0 ? AR_OK : ar__fail_memory(err, place);
}

static ar_status add_file(json_t *list, const char *name, const char *path, const char *place, ar_error *err) {
    ar_buf text = {0};
    ar_status s = ar__file_read(&text, path, MAX_TEMPLATE_BYTES, err);
    if (!s) s = add(list, name, json_stringn(text.data ? text.data : "", text.len), place, err);
    ar__buf_release(&text);
    return s;
}

/* NAME.jinja files of additional_chat_templates. */
static ar_status add_more(json_t *list, const char *folder, const char *place, ar_error *err) {
    char *dir = ar__path_join(folder, "additional_chat_templates");
    DIR *d = dir ? opendir(dir) : NULL;
    ar_status s = dir ? AR_OK : ar__fail_memory(err, folder);
    for (struct dirent *e; !s && d && (e = readdir(d));) {
        size_t n = strlen(e->d_name);
        if (n < 7 || strcmp(e->d_name + n - 6, ".jinja") != 0) continue;
        char *path = ar__path_join(dir, e->d_name), *name = ar__strndup(e->d_name, n - 6);
        s = path && name ? add_file(list, name, path, place, err) : ar__fail_memory(err, folder);
        free(path);
        free(name);
    }
    if (d) closedir(d);
    free(dir);
    return s;
}

/* A text; {"default": "…", "tool_use": "…"}; or a list of {"name", "template"}. */
static ar_status add_configured(json_t *list, const json_t *config, const char *place, ar_error *err) {
    json_t *v = json_object_get(config, "chat_template"), *one;
    const char *name;
    size_t i;
    ar_status s = AR_OK;
    if (json_is_string(v)) return add(list, "default", json_incref(v), place, err);
    json_object_foreach(v, name, one) {
        if (!s && !json_is_string(one)) s = ar__fail(err, AR_ERR_FORMAT, "%s: chat template '%.40s' is no text", place, name);
        if (!s) s = add(list, name, json_incref(one), place, err);
    }
    json_array_foreach(v, i, one) {
        json_t *source = json_object_get(one, "template");
        name = json_string_value(json_object_get(one, "name"));
        if (!name || !json_is_string(source)) return ar__fail(err, AR_ERR_FORMAT, "%s: a chat template without name and template", place);
        if ((s = add(list, name, json_incref(source), place, err))) return s;
    }
    return s;
}

ar_status ar__chat_templates(json_t **out, const char *folder, const json_t *config, const char *place, ar_error *err) {
    json_t *list = *out = json_array();
    char *path = folder ? ar__path_join(folder, "chat_template.jinja") : NULL;
    ar_status s = list && (path || !folder) ? AR_OK : ar__fail_memory(err, place);
    if (!s && path && ar__path_exists(path)) s = add_file(list, "default", path, place, err);
    free(path);
    if (!s && folder) s = add_more(list, folder, place, err);
    if (!s && !json_array_size(list)) s = add_configured(list, config, place, err);
    if (!s) return AR_OK;
    json_decref(list);
    *out = NULL;
    return s;
}
