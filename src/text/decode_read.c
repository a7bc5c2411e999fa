/* The "decoder" of a tokenizer.json, as the steps of decode.h. */
#include <string.h>

#include "base/fail.h"
#include "text/config.h"
#include "text/decode.h"

static ar_status add(ar_decode_step **out, ar_decoder *d, ar_decode_kind kind, ar_error *err) {
    ar_decode_step *s = ar__grow(d->step, &d->cap, d->count + 1, sizeof *s);
    if (!s) return ar__fail_memory(err, "decoder");
    d->step = s;
    s += d->count++;
    *s = (ar_decode_step){.kind = kind};
    *out = s;
    return AR_OK;
}

static ar_status keep_text(ar_decode_step *step, const json_t *config, const char *key, ar_error *err) {
    const char *s;
    ar_status status = ar__config_text(&s, &step->text_len, config, key, err);
    if (status) return status;
    step->text = ar__strndup(s, step->text_len);
    return step->text ? AR_OK : ar__fail_memory(err, "decoder");
}

static ar_status read_plain(ar_decoder *d, const json_t *config, ar_error *err) {
    const char *type = ar__config_type(config);
    ar_decode_step *step;
    return add(&step, d,
               !strcmp(type, "ByteLevel") ? AR_DECODE_BYTES
               : !strcmp(type, "Fuse")    ? AR_DECODE_FUSE
                                          : AR_DECODE_BYTE_FALLBACK,
               err);
}

static ar_status read_strip(ar_decoder *d, const json_t *config, ar_error *err) {
    ar_decode_step *step = NULL;
    ar_status s;
    if ((s = add(&step, d, AR_DECODE_STRIP, err)) || (s = keep_text(step, config, "content", err)) ||
        (s = ar__config_size(&step->start, config, "start", err)) || (s = ar__config_size(&step->stop, config, "stop", err)))
        return s;
    return step->text_len ? AR_OK : ar__fail(err, AR_ERR_FORMAT, "decoder 'Strip': content is empty");
}

static ar_status read_replace(ar_decoder *d, const json_t *config, ar_error *err) {
    const json_t *pattern = json_object_get(config, "pattern");
    const json_t *literal = json_object_get(pattern, "String"), *regex = json_object_get(pattern, "Regex");
    ar_decode_step *step = NULL;
    ar_status s;
    if ((s = add(&step, d, AR_DECODE_REPLACE, err)) || (s = keep_text(step, config, "content", err))) return s;
    if (json_is_string(literal)) return ar__pattern_literal(&step->pattern, json_string_value(literal), json_string_length(literal), err);
    if (json_is_string(regex)) return ar__pattern_regex(&step->pattern, json_string_value(regex), json_string_length(regex), err);
    return ar__fail(err, AR_ERR_FORMAT, "decoder 'Replace': its pattern is neither {\"String\"} nor {\"Regex\"}");
}

static ar_status read_metaspace(ar_decoder *d, const json_t *config, ar_error *err) {
    ar_decode_step *step = NULL;
    const char *scheme = json_string_value(json_object_get(config, "prepend_scheme"));
    bool prefix = true;
    ar_status s;
    if ((s = add(&step, d, AR_DECODE_META, err)) || (s = keep_text(step, config, "replacement", err)) ||
        (s = ar__config_bool(&prefix, config, "add_prefix_space", err)))
        return s;
    step->drop = prefix && !(scheme && !strcmp(scheme, "never"));
    return AR_OK;
}

static ar_status read_suffix(ar_decoder *d, const json_t *config, ar_error *err) {
    ar_decode_step *step = NULL;
    ar_status s = add(&step, d, AR_DECODE_SUFFIX, err);
    return s ? s : keep_text(step, config, "suffix", err);
}

static ar_status read_wordpiece(ar_decoder *d, const json_t *config, ar_error *err) {
    ar_decode_step *step = NULL;
    ar_status s = add(&step, d, AR_DECODE_WORDPIECE, err);
    if (s || (s = keep_text(step, config, "prefix", err))) return s;
    return ar__config_bool(&step->drop, config, "cleanup", err);
}

static ar_status read_part(ar_decoder *d, const json_t *config, ar_error *err);

static ar_status read_sequence(ar_decoder *d, const json_t *config, ar_error *err) {
    const json_t *list, *one;
    size_t i;
    ar_status s = ar__config_array(&list, config, "decoders", err);
    if (s) return s;
    json_array_foreach(list, i, one) {
        if ((s = read_part(d, one, err))) return s;
    }
    return AR_OK;
}

static ar_status read_part(ar_decoder *d, const json_t *config, ar_error *err) {
    static const struct {
        const char *type;
        ar_status (*read)(ar_decoder *, const json_t *, ar_error *);
    } kinds[] = {{"ByteLevel", read_plain},   {"ByteFallback", read_plain},  {"Fuse", read_plain},
                 {"Strip", read_strip},       {"Replace", read_replace},     {"Metaspace", read_metaspace},
                 {"BPEDecoder", read_suffix}, {"WordPiece", read_wordpiece}, {"Sequence", read_sequence}};
    const char *type = ar__config_type(config);
    for (size_t i = 0; type && i < sizeof kinds / sizeof *kinds; i++) {
        if (!strcmp(type, kinds[i].type)) return kinds[i].read(d, config, err);
    }
    return ar__config_refuse("decoder", config, err);
}

ar_status ar__decoder_read(ar_decoder *out, const json_t *config, ar_error *err) {
    out->none = !config || json_is_null(config);
    return out->none ? AR_OK : read_part(out, config, err);
}
