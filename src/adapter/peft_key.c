/* The names of tensors in PEFT's files:
 *
 *     base_model.model.PATH.lora_A.weight        [r, n_in]      .lora_B.weight [n_out, r]      .lora_B.bias [n_out]
 *     base_model.model.PATH.lora_embedding_A     [r, vocab]     .lora_embedding_B [dim, r]
 *     base_model.model.PATH.lora_magnitude_vector [n_out]
 *     base_model.model.PATH.base_layer.bias      a trained bias; .base_layer.weight a copy of the base
 *     base_model.model.PATH.weight, .bias        whole tensors
 *
 * Files made from a raw state dict carry the adapter's name behind the part: `.lora_A.default.weight`.  The prefix may stand
 * several times (a wrapped wrapper), behind something else (`module.`, `_orig_mod.`), or not at all; PEFT passes over such
 * keys, and so they are marked. */
#include <string.h>

#include "adapter/peft.h"
#include "adapter/site_name.h"
#include "base/mem.h"

static const char prefix[] = "base_model.model.";

/* The rest of the key behind `.word` as a whole component, NULL if there is none; *at: where the dot stands. */
static const char *behind(const char *key, const char *word, const char **at) {
    size_t n = strlen(word);
    for (const char *p = strchr(key, '.'); p; p = strchr(p + 1, '.')) {
        if (strncmp(p + 1, word, n) != 0 || (p[n + 1] != '.' && p[n + 1] != '\0')) continue;
        *at = p;
        return p + n + 1;
    }
    return NULL;
}

/* Is rest ".end", or ".NAME.end" with any adapter's name?  end "" stands for nothing. */
static bool ends(const char *rest, const char *end) {
    for (int name = 0; name < 2; name++) {
        if (*end == '\0' ? *rest == '\0' : *rest == '.' && !strcmp(rest + 1, end)) return true;
        const char *dot = *rest == '.' ? strchr(rest + 1, '.') : NULL;
        rest = dot ? dot : rest + strlen(rest);
    }
    return false;
}

static ar_peft_part pair_part(const char *key, const char **at) {
    static const struct {
        const char *word, *end, *other_end;
        ar_peft_part part;
    } parts[] = {{"lora_A", "weight", NULL, AR_PEFT_A},
                 {"lora_B", "weight", NULL, AR_PEFT_B},
                 {"lora_B", "bias", NULL, AR_PEFT_B_BIAS},
                 {"lora_embedding_A", "", NULL, AR_PEFT_EMBEDDING_A},
                 {"lora_embedding_B", "", NULL, AR_PEFT_EMBEDDING_B},
                 {"lora_magnitude_vector", "", "weight", AR_PEFT_MAGNITUDE}};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        const char *rest = behind(key, parts[i].word, at);
        if (rest && (ends(rest, parts[i].end) || (parts[i].other_end && ends(rest, parts[i].other_end)))) return parts[i].part;
    }
    return AR_PEFT_UNKNOWN;
}

static bool ends_so(const char *key, const char *end) {
    size_t n = strlen(key), k = strlen(end);
    return n > k && !strcmp(key + n - k, end);
}

/* PATH + tail */
static char *joined(const char *key, size_t n, const char *tail) {
    ar_buf b = {0};
    ar__buf_add(&b, key, n);
    ar__buf_puts(&b, tail);
    if (b.failed) ar__buf_release(&b);
    return b.data;
}

/* The path behind the last prefix that begins at a component; the whole key where none does. */
static const char *behind_prefix(const char *key) {
    for (const char *p = key, *at; (at = strstr(p, prefix)); p = at + 1)
        if (at == key || at[-1] == '.') key = at + sizeof prefix - 1;
    return key;
}

/* key: without wrappers and prefix. */
static ar_peft_part parse(char **path, const char *key, bool has_prefix) {
    const char *at, *rest;
    ar_peft_part part = pair_part(key, &at);
    if (part < AR_PEFT_PART_COUNT) {
        *path = ar__strndup(key, (size_t)(at - key));
        return part;
    }
    if (behind(key, "token_adapter", &at)) return AR_PEFT_TOKENS;
    if ((rest = behind(key, "original_module", &at)) || ((rest = behind(key, "base_layer", &at)) && !strncmp(rest, ".weight", 7))) {
        *path = joined(key, (size_t)(at - key), rest);
        return AR_PEFT_COPY;
    }
    if (rest) {
        if (strcmp(rest, ".bias") != 0) return AR_PEFT_UNKNOWN;
        *path = joined(key, (size_t)(at - key), rest);
        return AR_PEFT_WHOLE;
    }
    if (strstr(key, ".lora_")) return AR_PEFT_UNKNOWN;
    if ((rest = behind(key, "modules_to_save", &at))) {
        const char *tail = strrchr(rest, '.'); /* .weight behind .NAME */
        if (!tail) return AR_PEFT_UNKNOWN;
        *path = joined(key, (size_t)(at - key), tail);
        return AR_PEFT_WHOLE;
    }
    if (!has_prefix && !ends_so(key, ".weight") && !ends_so(key, ".bias")) return AR_PEFT_UNKNOWN;
    *path = ar__strdup(key);
    return AR_PEFT_WHOLE;
}

/* `.default` or the like behind the part of a pair. */
static bool has_name(const char *key) {
    const char *at, *part = pair_part(key, &at) < AR_PEFT_PART_COUNT ? at + 1 : NULL, *tail = part ? strchr(part, '.') : NULL;
    return tail && strcmp(tail, ".weight") != 0 && strcmp(tail, ".bias") != 0;
}

ar_peft_part ar__peft_key_parse(char **path, ar_peft_spelling *spelling, const char *key) {
    ar_buf plain = {0};
    const char *wrapper;
    *path = NULL;
    ar__site_unwrapped(&plain, key, &wrapper);
    const char *rest = plain.failed ? key : behind_prefix(plain.data);
    bool has_prefix = plain.data && rest != plain.data;
    bool odd = wrapper || !plain.data || rest != plain.data + sizeof prefix - 1;
    *spelling = odd ? AR_PEFT_ODD : has_name(rest) ? AR_PEFT_NAMED : AR_PEFT_PLAIN;
    ar_peft_part part = parse(path, rest, has_prefix);
    ar__buf_release(&plain);
    return part;
}
