/* The "normalizer" of a tokenizer.json, as the steps of normalize.h. */
#include <string.h>

#include "base/fail.h"
#include "text/config.h"
#include "text/normalize.h"

static ar_status add(ar_normal_step **out, ar_normal *n, ar_normal_kind kind, ar_error *err) {
    ar_normal_step *s = ar__grow(n->step, &n->cap, n->count + 1, sizeof *s);
    if (!s) return ar__fail_memory(err, "normalizer");
    n->step = s;
    s += n->count++;
    *s = (ar_normal_step){.kind = kind};
    *out = s;
    return AR_OK;
}

static ar_status keep_text(ar_normal_step *step, const json_t *config, const char *key, ar_error *err) {
    const char *s;
    ar_status status = ar__config_text(&s, &step->text_len, config, key, err);
    if (status) return status;
    step->text = ar__strndup(s, step->text_len);
    return step->text ? AR_OK : ar__fail_memory(err, "normalizer");
}

static ar_status read_form(ar_normal *n, const json_t *config, ar_error *err) {
    static const char *const names[] = {"NFC", "NFD", "NFKC", "NFKD"};
    ar_normal_step *step = NULL;
    ar_status s = add(&step, n, AR_NORMAL_FORM, err);
    for (int i = 0; !s && i < 4; i++) {
        if (!strcmp(names[i], ar__config_type(config))) step->form = (ar_form)i;
    }
    return s;
}

static ar_status read_prepend(ar_normal *n, const json_t *config, ar_error *err) {
    ar_normal_step *step = NULL;
    ar_status s = add(&step, n, AR_NORMAL_PREPEND, err);
    return s ? s : keep_text(step, config, "prepend", err);
}

static ar_status read_replace(ar_normal *n, const json_t *config, ar_error *err) {
    const json_t *pattern = json_object_get(config, "pattern");
    const json_t *literal = json_object_get(pattern, "String"), *regex = json_object_get(pattern, "Regex");
    ar_normal_step *step = NULL;
    ar_status s;
    if ((s = add(&step, n, AR_NORMAL_REPLACE, err)) || (s = keep_text(step, config, "content", err))) return s;
    if (json_is_string(literal)) return ar__pattern_literal(&step->pattern, json_string_value(literal), json_string_length(literal), err);
    if (json_is_string(regex)) return ar__pattern_regex(&step->pattern, json_string_value(regex), json_string_length(regex), err);
    return ar__fail(err, AR_ERR_FORMAT, "normalizer 'Replace': its pattern is neither {\"String\"} nor {\"Regex\"}");
}

static ar_status read_strip(ar_normal *n, const json_t *config, ar_error *err) {
    ar_normal_step *step = NULL;
    ar_status s;
    if ((s = add(&step, n, AR_NORMAL_STRIP, err)) || (s = ar__config_bool(&step->left, config, "strip_left", err))) return s;
    return ar__config_bool(&step->right, config, "strip_right", err);
}

static ar_status read_charsmap(ar_normal *n, const json_t *config, ar_error *err) {
    ar_normal_step *step = NULL;
    const char *text;
    size_t len;
    ar_status s;
    if ((s = add(&step, n, AR_NORMAL_CHARSMAP, err)) || (s = ar__config_text(&text, &len, config, "precompiled_charsmap", err))) return s;
    ar_buf blob = {0};
    if (!ar__base64_decode(&blob, text, len))
        s = ar__fail(err, AR_ERR_FORMAT, "normalizer 'Precompiled': the charsmap is not base64");
    else
        s = ar__charsmap_read(&step->map, blob.data, blob.len, err);
    ar__buf_release(&blob);
    return s;
}

static ar_status read_plain(ar_normal *n, const json_t *config, ar_error *err) {
    const char *type = ar__config_type(config);
    ar_normal_step *step = NULL;
    return add(&step, n,
               !strcmp(type, "Lowercase")   ? AR_NORMAL_LOWER
               : !strcmp(type, "Nmt")       ? AR_NORMAL_NMT
               : !strcmp(type, "ByteLevel") ? AR_NORMAL_BYTES
                                            : AR_NORMAL_STRIP_ACCENTS,
               err);
}

static ar_status read_sequence(ar_normal *n, const json_t *config, ar_error *err) {
    const json_t *list, *one;
    size_t i;
    ar_status s = ar__config_array(&list, config, "normalizers", err);
    if (s) return s;
    json_array_foreach(list, i, one) {
        if ((s = ar__normal_read(n, one, err))) return s;
    }
    return AR_OK;
}

ar_status ar__normal_read(ar_normal *out, const json_t *config, ar_error *err) {
    static const struct {
        const char *type;
        ar_status (*read)(ar_normal *, const json_t *, ar_error *);
    } kinds[] = {{"NFC", read_form},
                 {"NFD", read_form},
                 {"NFKC", read_form},
                 {"NFKD", read_form},
                 {"Prepend", read_prepend},
                 {"Replace", read_replace},
                 {"Strip", read_strip},
                 {"StripAccents", read_plain},
                 {"Lowercase", read_plain},
                 {"Nmt", read_plain},
                 {"Precompiled", read_charsmap},
                 {"ByteLevel", read_plain},
                 {"Sequence", read_sequence}};
    if (!config || json_is_null(config)) return AR_OK;
    const char *type = ar__config_type(config);
    for (size_t i = 0; type && i < sizeof kinds / sizeof *kinds; i++) {
        if (!strcmp(type, kinds[i].type)) return kinds[i].read(out, config, err);
    }
    return ar__config_refuse("normalizer", config, err);
}
