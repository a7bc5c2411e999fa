/* The names of tensors in PEFT's files:
 *
 *     base_model.model.PATH.lora_A.weight        [r, n_in]      .lora_B.weight [n_out, r]      .lora_B.bias [n_out]
 *     base_model.model.PATH.lora_embedding_A     [r, vocab]     .lora_embedding_B [dim, r]
 *     base_model.model.PATH.lora_magnitude_vector [n_out]
 *     base_model.model.PATH.base_layer.bias      a trained bias; .base_layer.weight a copy of the base
 *     base_model.model.PATH.weight, .bias        whole tensors
 *
 * The prefix may stand several times (a wrapped wrapper), and files made from a raw state dict carry the adapter's name
 * behind the part: `.lora_A.default.weight`. */
#include <string.h>

#include "adapter/peft.h"
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

/* PATH + tail */
static char *joined(const char *key, size_t n, const char *tail) {
    ar_buf b = {0};
    ar__buf_add(&b, key, n);
    ar__buf_puts(&b, tail);
    if (b.failed) ar__buf_release(&b);
    return b.data;
}

ar_peft_part ar__peft_key_parse(char **path, const char *key) {
    const char *at, *rest;
    *path = NULL;
    if (strncmp(key, prefix, sizeof prefix - 1) != 0) return AR_PEFT_UNKNOWN;
    while (!strncmp(key, prefix, sizeof prefix - 1)) key += sizeof prefix - 1;
    ar_peft_part part = pair_part(key, &at);
    if (part < AR_PEFT_PART_COUNT) {
        *path = ar__strndup(key, (size_t)(at - key));
        return part;
    }
    if (behind(key, "token_adapter", &at)) return AR_PEFT_TOKENS;
    if (behind(key, "original_module", &at)) return AR_PEFT_COPY;
    if ((rest = behind(key, "base_layer", &at))) {
        if (!strcmp(rest, ".weight")) return AR_PEFT_COPY;
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
    *path = ar__strdup(key);
    return AR_PEFT_WHOLE;
}
