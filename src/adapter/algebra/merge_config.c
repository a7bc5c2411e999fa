/* config.json of a merged base: the written dtype and the end of a tie, edited in the text, so that every other byte
 * stays.  The text has been parsed before, so that scanning it needs no checks of its own. */
#include <string.h>

#include "adapter/algebra/merge.h"
#include "base/fail.h"
#include "base/file.h"
#include "format/json.h"

enum { CONFIG_MAX = 64 << 20 };

static const char *skip_space(const char *p) { return p + strspn(p, " \t\r\n"); }

static const char *skip_string(const char *p) {
    for (p++; *p && *p != '"'; p++)
        if (*p == '\\' && p[1]) p++;
    return *p ? p + 1 : p;
}

static const char *skip_value(const char *p) {
    int depth = 0;
    do {
        if (*p == '"') {
            p = skip_string(p);
            continue;
        }
        depth += (*p == '{' || *p == '[') - (*p == '}' || *p == ']');
        p++;
    } while (*p && (depth > 0 || !strchr(",}] \t\r\n", *p)));
    return p;
}

/* The member's value in the object at p, NULL if absent; *close: where the object ends; *last: behind its last member. */
static const char *find_member(const char *p, const char *key, const char **last) {
    size_t n = strlen(key);
    *last = p + 1;
    for (p = skip_space(p + 1); *p == '"';) {
        const char *name = p + 1, *end = skip_string(p);
        const char *value = skip_space(skip_space(end) + 1);
        if ((size_t)(end - 1 - name) == n && !memcmp(name, key, n)) return value;
        p = *last = skip_value(value);
        p = skip_space(p);
        if (*p == ',') p = skip_space(p + 1);
    }
    return NULL;
}

static void splice(ar_buf *text, size_t at, size_t length, const char *with) {
    ar_buf out = {0};
    ar__buf_add(&out, text->data, at);
    ar__buf_puts(&out, with);
    ar__buf_add(&out, text->data + at + length, text->len - at - length);
    out.failed |= text->failed;
    ar__buf_release(text);
    *text = out;
}

bool ar__json_edit(ar_buf *text, const char *inside, const char *key, const char *value, bool add) {
    const char *last, *object = skip_space(text->data);
    if (inside && (!(object = find_member(object, inside, &last)) || *object != '{')) return true;
    const char *old = find_member(object, key, &last);
    if (old) {
        splice(text, (size_t)(old - text->data), (size_t)(skip_value(old) - old), value);
    } else if (add) {
        ar_buf member = {0};
        ar__buf_printf(&member, "%s\n  \"%s\": %s", last == object + 1 ? "" : ",", key, value);
        splice(text, (size_t)(last - text->data), 0, member.failed ? "" : member.data);
        text->failed |= member.failed;
        ar__buf_release(&member);
    }
    return !text->failed;
}

/* Where multimodal configurations keep the language model's. */
static const char *const nested[] = {"text_config", "llm_config", "language_config"};
enum { NESTED = sizeof nested / sizeof *nested };

static bool set_dtype(ar_buf *text, const ar_merging *m) {
    const char *name = m->dtype == AR_F32 ? "\"float32\"" : m->dtype == AR_F16 ? "\"float16\"" : "\"bfloat16\"";
    static const char *const keys[] = {"torch_dtype", "dtype"};
    bool any = false;
    for (int i = 0; i < 2; i++) {
        any |= json_object_get(m->config, keys[i]) != NULL;
        if (!ar__json_edit(text, NULL, keys[i], name, false)) return false;
        for (int k = 0; k < NESTED; k++)
            if (!ar__json_edit(text, nested[k], keys[i], name, false)) return false;
    }
    return any || ar__json_edit(text, NULL, "torch_dtype", name, true);
}

static bool set_untied(ar_buf *text) {
    for (int k = 0; k < NESTED; k++)
        if (!ar__json_edit(text, nested[k], "tie_word_embeddings", "false", false)) return false;
    return ar__json_edit(text, NULL, "tie_word_embeddings", "false", true);
}

/* vocab_size stands inside where there is a nested configuration, else at the top. */
static bool set_vocabulary(ar_buf *text, const ar_merging *m) {
    ar_buf value = {0};
    bool inside = false, ok;
    ar__buf_printf(&value, "%lld", (long long)m->vocabulary);
    ok = !value.failed;
    for (int k = 0; ok && k < NESTED; k++) {
        inside |= json_object_get(json_object_get(m->config, nested[k]), "vocab_size") != NULL;
        ok = ar__json_edit(text, nested[k], "vocab_size", value.data, false);
    }
    if (ok) ok = ar__json_edit(text, NULL, "vocab_size", value.data, !inside);
    ar__buf_release(&value);
    return ok;
}

ar_status ar__merge_config(ar_buf *text, const ar_merging *m, ar_error *err) {
    char *path = ar__path_join(m->o->model, "config.json");
    json_t *check = NULL;
    *text = (ar_buf){0};
    ar_status s = path ? ar__file_read(text, path, CONFIG_MAX, err) : ar__fail_memory(err, m->o->model);
    bool ok = true;
    if (!s) splice(text, 0, ar__json_bom(text->data, text->len), ""); /* Python's json refuses one */
    if (!s && m->has_dtype) ok = set_dtype(text, m);
    if (!s && ok && (m->untied || m->info->has_own_head)) ok = set_untied(text);
    if (!s && ok && m->vocabulary) ok = set_vocabulary(text, m);
    if (!s && !ok) s = ar__fail_memory(err, "config.json");
    if (!s) s = ar__json_parse(&check, text->data, text->len, path, err);
    json_decref(check);
    free(path);
    if (s) ar__buf_release(text);
    return s;
}
