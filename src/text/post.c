#include "text/post.h"

#include <string.h>

#include "base/fail.h"
#include "text/config.h"
#include "text/model.h"

static ar_status add(ar_ids *out, int32_t id, ar_error *err) {
    return ar__ids_add(out, id) ? AR_OK : ar__fail_memory(err, "post-processor");
}

static ar_status add_json(ar_ids *out, const json_t *id, ar_error *err) {
    if (!json_is_integer(id) || json_integer_value(id) < 0 || json_integer_value(id) >= AR_VOCAB_MAX_ID) {
        return ar__fail(err, AR_ERR_FORMAT, "post-processor: a special token's id is not one");
    }
    return add(out, (int32_t)json_integer_value(id), err);
}

static ar_status add_special(ar_ids *out, const json_t *piece, const json_t *tokens, ar_error *err) {
    const char *name = json_string_value(json_object_get(piece, "id"));
    const json_t *ids = json_object_get(name ? json_object_get(tokens, name) : NULL, "ids"), *id;
    size_t i;
    if (!json_is_array(ids))
        return ar__fail(err, AR_ERR_FORMAT, "post-processor 'TemplateProcessing': special token '%.60s' is not defined", name ? name : "?");
    json_array_foreach(ids, i, id) {
        ar_status s = add_json(out, id, err);
        if (s) return s;
    }
    return AR_OK;
}

static ar_status read_template(ar_ids *out, const json_t *config, ar_error *err) {
    const json_t *list, *piece;
    size_t i;
    ar_status s = ar__config_array(&list, config, "single", err);
    if (s) return s;
    if (out->count)
        return ar__fail(err, AR_ERR_UNSUPPORTED, "post-processor: two that add tokens, one behind the other, are not supported");
    json_array_foreach(list, i, piece) {
        const json_t *special = json_object_get(piece, "SpecialToken"), *sequence = json_object_get(piece, "Sequence");
        const char *which = json_string_value(json_object_get(sequence, "id"));
        if (special)
            s = add_special(out, special, json_object_get(config, "special_tokens"), err);
        else if (which && !strcmp(which, "A"))
            s = add(out, AR_POST_TEXT, err);
        else
            s = ar__fail(err, AR_ERR_FORMAT, "post-processor 'TemplateProcessing': a piece is neither a special token nor sequence A");
        if (s) return s;
    }
    return AR_OK;
}

/* BERT's and RoBERTa's: ["<s>", 0] in front, ["</s>", 2] behind. */
static ar_status read_pair(ar_ids *out, const json_t *config, ar_error *err) {
    ar_status s;
    if (out->count)
        return ar__fail(err, AR_ERR_UNSUPPORTED, "post-processor: two that add tokens, one behind the other, are not supported");
    if ((s = add_json(out, json_array_get(json_object_get(config, "cls"), 1), err)) || (s = add(out, AR_POST_TEXT, err))) return s;
    return add_json(out, json_array_get(json_object_get(config, "sep"), 1), err);
}

static ar_status read_part(ar_ids *out, const json_t *config, ar_error *err) {
    const char *type = ar__config_type(config);
    if (!type) return ar__config_refuse("post-processor", config, err);
    if (!strcmp(type, "ByteLevel")) return AR_OK; /* offsets only */
    if (!strcmp(type, "TemplateProcessing")) return read_template(out, config, err);
    if (!strcmp(type, "BertProcessing") || !strcmp(type, "RobertaProcessing")) return read_pair(out, config, err);
    if (strcmp(type, "Sequence") != 0) return ar__config_refuse("post-processor", config, err);
    const json_t *list, *one;
    size_t i;
    ar_status s = ar__config_array(&list, config, "processors", err);
    if (s) return s;
    json_array_foreach(list, i, one) {
        if ((s = read_part(out, one, err))) return s;
    }
    return AR_OK;
}

ar_status ar__post_read(ar_ids *out, const json_t *config, ar_error *err) {
    ar_status s = config && !json_is_null(config) ? read_part(out, config, err) : AR_OK;
    return s || out->count ? s : add(out, AR_POST_TEXT, err);
}

bool ar__post_trims(const json_t *config) {
    const char *type = ar__config_type(config);
    const json_t *list = json_object_get(config, "processors"), *one;
    size_t i;
    if (type && (!strcmp(type, "ByteLevel") || !strcmp(type, "RobertaProcessing")))
        return json_is_true(json_object_get(config, "trim_offsets"));
    json_array_foreach(list, i, one) {
        if (ar__post_trims(one)) return true;
    }
    return false;
}
