/* The "pre_tokenizer" of a tokenizer.json, as the steps of pretok.h. */
#include <string.h>

#include "base/fail.h"
#include "text/config.h"
#include "text/pretok.h"

static const char GPT2[] = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

ar_pretok_step *ar__pretok_add(ar_pretok *p, ar_pretok_kind kind) {
    ar_pretok_step *s = ar__grow(p->step, &p->cap, p->count + 1, sizeof *s);
    if (!s) return NULL;
    p->step = s;
    s += p->count++;
    *s = (ar_pretok_step){.kind = kind, .behavior = AR_SPLIT_ISOLATED};
    return s;
}

static ar_status add(ar_pretok_step **out, ar_pretok *p, ar_pretok_kind kind, ar_error *err) {
    *out = ar__pretok_add(p, kind);
    return *out ? AR_OK : ar__fail_memory(err, "pre-tokenizer");
}

static ar_status read_behavior(ar_split *out, const json_t *config, ar_error *err) {
    static const char *const names[] = {"Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"};
    const json_t *v = json_object_get(config, "behavior");
    if (!v) return AR_OK;
    const char *name = json_string_value(v);
    for (size_t i = 0; name && i < sizeof names / sizeof *names; i++) {
        if (strcmp(name, names[i])) continue;
        *out = (ar_split)i;
        return AR_OK;
    }
    return ar__fail(err, AR_ERR_FORMAT, "pre-tokenizer: '%.40s' is no split behavior", name ? name : "(not a string)");
}

static ar_status read_byte_level(ar_pretok *p, const json_t *config, ar_error *err) {
    bool prefix = true, regex = true;
    ar_pretok_step *step;
    ar_status s;
    if ((s = ar__config_bool(&prefix, config, "add_prefix_space", err)) || (s = ar__config_bool(&regex, config, "use_regex", err)))
        return s;
    if (prefix && (s = add(&step, p, AR_PRETOK_PREFIX_SPACE, err))) return s;
    if (regex && ((s = add(&step, p, AR_PRETOK_PATTERN, err)) || (s = ar__pattern_regex(&step->pattern, GPT2, sizeof GPT2 - 1, err))))
        return s;
    return add(&step, p, AR_PRETOK_BYTES, err);
}

static ar_status read_split(ar_pretok *p, const json_t *config, ar_error *err) {
    const json_t *pattern = json_object_get(config, "pattern");
    const json_t *literal = json_object_get(pattern, "String"), *regex = json_object_get(pattern, "Regex");
    ar_pretok_step *step;
    ar_status s;
    if ((s = add(&step, p, AR_PRETOK_PATTERN, err)) || (s = read_behavior(&step->behavior, config, err)) ||
        (s = ar__config_bool(&step->invert, config, "invert", err)))
        return s;
    if (json_is_string(literal)) return ar__pattern_literal(&step->pattern, json_string_value(literal), json_string_length(literal), err);
    if (json_is_string(regex)) return ar__pattern_regex(&step->pattern, json_string_value(regex), json_string_length(regex), err);
    return ar__fail(err, AR_ERR_FORMAT, "pre-tokenizer 'Split': its pattern is neither {\"String\"} nor {\"Regex\"}");
}

static ar_status add_class(ar_pretok *p, uint32_t mask, ar_split behavior, ar_error *err) {
    ar_pretok_step *step;
    ar_status s = add(&step, p, AR_PRETOK_CLASS, err);
    if (s) return s;
    step->mask = mask;
    step->behavior = behavior;
    return AR_OK;
}

static ar_status read_digits(ar_pretok *p, const json_t *config, ar_error *err) {
    bool each = false;
    ar_status s = ar__config_bool(&each, config, "individual_digits", err);
    return s ? s : add_class(p, AR_UC_NUMERIC, each ? AR_SPLIT_ISOLATED : AR_SPLIT_CONTIGUOUS, err);
}

static ar_status read_punctuation(ar_pretok *p, const json_t *config, ar_error *err) {
    ar_split behavior = AR_SPLIT_ISOLATED;
    ar_status s = read_behavior(&behavior, config, err);
    return s ? s : add_class(p, AR_UC_PUNCT, behavior, err);
}

static ar_status read_prepend(ar_prepend *out, const json_t *config, ar_error *err) {
    const json_t *v = json_object_get(config, "prepend_scheme");
    const char *name = v ? json_string_value(v) : "always";
    if (name && !strcmp(name, "always"))
        *out = AR_PREPEND_ALWAYS;
    else if (name && !strcmp(name, "first"))
        *out = AR_PREPEND_FIRST;
    else if (name && !strcmp(name, "never"))
        *out = AR_PREPEND_NEVER;
    else
        return ar__fail(err, AR_ERR_FORMAT, "pre-tokenizer 'Metaspace': '%.40s' is no prepend_scheme", name ? name : "(not a string)");
    bool prefix = true; /* the spelling of older files */
    ar_status s = ar__config_bool(&prefix, config, "add_prefix_space", err);
    if (!s && !prefix) *out = AR_PREPEND_NEVER;
    return s;
}

static ar_status read_metaspace(ar_pretok *p, const json_t *config, ar_error *err) {
    ar_pretok_step *step;
    const char *mark;
    size_t len;
    bool split = true;
    ar_status s;
    if ((s = add(&step, p, AR_PRETOK_META, err)) || (s = ar__config_text(&mark, &len, config, "replacement", err)) ||
        (s = read_prepend(&step->prepend, config, err)) || (s = ar__config_bool(&split, config, "split", err)))
        return s;
    if (len == 0 || len > 4 || strlen(mark) != len)
        return ar__fail(err, AR_ERR_FORMAT, "pre-tokenizer 'Metaspace': replacement is not one character");
    memcpy(step->mark, mark, len + 1);
    if (!split) return AR_OK;
    if ((s = add(&step, p, AR_PRETOK_PATTERN, err))) return s;
    step->behavior = AR_SPLIT_NEXT;
    return ar__pattern_literal(&step->pattern, mark, len, err);
}

static ar_status read_delimiter(ar_pretok *p, const json_t *config, ar_error *err) {
    ar_pretok_step *step;
    const char *s0;
    size_t len;
    ar_status s;
    if ((s = add(&step, p, AR_PRETOK_PATTERN, err)) || (s = ar__config_text(&s0, &len, config, "delimiter", err))) return s;
    step->behavior = AR_SPLIT_REMOVED;
    return ar__pattern_literal(&step->pattern, s0, len, err);
}

static ar_status read_sequence(ar_pretok *p, const json_t *config, ar_error *err) {
    const json_t *list, *one;
    size_t i;
    ar_status s = ar__config_array(&list, config, "pretokenizers", err);
    if (s) return s;
    json_array_foreach(list, i, one) {
        if ((s = ar__pretok_read(p, one, err))) return s;
    }
    return AR_OK;
}

static ar_status read_whitespace(ar_pretok *p, const json_t *config, ar_error *err) {
    (void)config;
    ar_pretok_step *step;
    return add(&step, p, AR_PRETOK_WORDS, err);
}

static ar_status read_whitespace_split(ar_pretok *p, const json_t *config, ar_error *err) {
    (void)config;
    return add_class(p, AR_UC_SPACE, AR_SPLIT_REMOVED, err);
}

static ar_status read_bert(ar_pretok *p, const json_t *config, ar_error *err) {
    ar_status s = read_whitespace_split(p, config, err);
    return s ? s : add_class(p, AR_UC_PUNCT, AR_SPLIT_ISOLATED, err);
}

ar_status ar__pretok_read(ar_pretok *out, const json_t *config, ar_error *err) {
    static const struct {
        const char *type;
        ar_status (*read)(ar_pretok *, const json_t *, ar_error *);
    } kinds[] = {{"ByteLevel", read_byte_level},
                 {"Split", read_split},
                 {"Digits", read_digits},
                 {"Punctuation", read_punctuation},
                 {"Metaspace", read_metaspace},
                 {"Whitespace", read_whitespace},
                 {"WhitespaceSplit", read_whitespace_split},
                 {"Sequence", read_sequence},
                 {"BertPreTokenizer", read_bert},
                 {"Delimiter", read_delimiter},
                 {"CharDelimiterSplit", read_delimiter}};
    if (!config || json_is_null(config)) return AR_OK;
    const char *type = ar__config_type(config);
    for (size_t i = 0; type && i < sizeof kinds / sizeof *kinds; i++) {
        if (!strcmp(type, kinds[i].type)) return kinds[i].read(out, config, err);
    }
    return ar__config_refuse("pre-tokenizer", config, err);
}
