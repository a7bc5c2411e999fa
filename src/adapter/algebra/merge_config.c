/* config.json of a merged base: the written dtype and the end of a tie, edited in the text, so that every other byte
 * stays.  The text has been parsed before, so that scanning it needs no checks of its own. */
#include <string.h>

#include "adapter/algebra/merge.h"
#include "base/fail.h"
#include "base/file.h"
#include "format/json.h"
#include "store/json_edit.h"

enum { CONFIG_MAX = 64 << 20 };

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
    if (!s) ar__json_splice(text, 0, ar__json_bom(text->data, text->len), ""); /* Python's json refuses one */
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
