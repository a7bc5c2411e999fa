#include "adapter/gguf_experts.h"

#include <stdlib.h>
#include <string.h>

enum { PARTS = 4, FUSED = 3 };
static const char *const hf[PARTS] = {"gate_proj", "up_proj", "down_proj", "gate_up_proj"}, *const gguf[PARTS] = {"gate", "up", "down",
                                                                                                                  "gate_up"};

const ar_name_map *ar__gguf_expert_map(const ar_name_map *map) {
    if (map && !map->experts && !strcmp(map->gguf, "llama")) return ar__names_for_model_type("mixtral");
    return map && map->experts ? map : NULL;
}

/* `12.rest` behind a word → 12, the rest; NULL unless a short number and a dot stand there. */
static const char *read_number(int64_t *out, const char *s) {
    size_t n = s ? strspn(s, "0123456789") : 0;
    if (!n || n > 6 || s[n] != '.') return NULL;
    *out = strtoll(s, NULL, 10);
    return s + n + 1;
}

static const char *behind(const char *s, const char *word) {
    size_t n = strlen(word);
    return s && !strncmp(s, word, n) ? s + n : NULL;
}

/* `.gate_up_proj[3]` behind the path of the experts. */
static bool read_stacked(ar_gguf_expert *out, const char *at) {
    for (int i = 0; i < PARTS; i++) {
        const char *number = behind(behind(at, "."), hf[i]);
        size_t n = number && *number == '[' ? strspn(number + 1, "0123456789") : 0;
        if (!n || n > 6 || strcmp(number + 1 + n, "]") != 0) continue;
        out->index = strtoll(number + 1, NULL, 10);
        out->part = i;
    }
    return out->part >= 0;
}

bool ar__gguf_expert_find(ar_gguf_expert *out, const ar_name_map *map, const char *site) {
    *out = (ar_gguf_expert){.part = -1};
    if (!map) return false;
    const char *at = behind(behind(site, map->prefix), map->layers);
    at = behind(read_number(&out->layer, at), map->experts);
    if (at && map->fused_stacks) return read_stacked(out, at);
    at = at && *at == '.' ? read_number(&out->index, at + 1) : NULL;
    for (int i = 0; at && i < FUSED; i++)
        if (!strcmp(at, hf[i])) out->part = i;
    return out->part >= 0;
}

bool ar__gguf_expert_stem(ar_gguf_expert *out, const char *stem) {
    *out = (ar_gguf_expert){.part = -1};
    const char *at = behind(read_number(&out->layer, behind(stem, "blk.")), "ffn_");
    for (int i = 0; at && i < PARTS; i++) {
        const char *rest = behind(at, gguf[i]);
        if (rest && !strcmp(rest, "_exps")) out->part = i;
    }
    return out->part >= 0;
}

bool ar__gguf_expert_has(const ar_name_map *map, const ar_gguf_expert *x) {
    return x->part == AR_EXPERT_DOWN || map->fused_stacks == (x->part == FUSED);
}

bool ar__gguf_expert_is_behind_factor(const ar_name_map *map, const ar_gguf_expert *x) {
    return x->part == AR_EXPERT_DOWN && ar__names_slot(map, AR_SLOT_EXPERT_FACTORS) != NULL;
}

void ar__gguf_expert_site(ar_buf *out, const ar_name_map *map, const ar_gguf_expert *x) {
    if (map->fused_stacks) {
        ar__buf_printf(out, "%s%s%lld.%s.%s[%lld]", map->prefix, map->layers, (long long)x->layer, map->experts, hf[x->part],
                       (long long)x->index);
        return;
    }
    ar__buf_printf(out, "%s%s%lld.%s.%lld.%s", map->prefix, map->layers, (long long)x->layer, map->experts, (long long)x->index,
                   hf[x->part]);
}

void ar__gguf_expert_print(ar_buf *out, const ar_gguf_expert *x) {
    ar__buf_printf(out, "blk.%lld.ffn_%s_exps", (long long)x->layer, gguf[x->part]);
}
