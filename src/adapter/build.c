/* A new adapter on a base, and the check that an adapter fits one. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "adapter/adapter.h"
#include "adapter/targets.h"
#include "base/fail.h"
#include "base/map.h"
#include "base/mem.h"

static ar_status check_settings(const ar_adapter_settings *s, ar_error *err) {
    if (s->rank < 1) return ar__fail(err, AR_ERR_VALUE, "rank: %d, wanted at least 1", s->rank);
    if (!isfinite(s->alpha)) return ar__fail(err, AR_ERR_VALUE, "alpha: %g, wanted a finite number", s->alpha);
    if (!(s->dropout >= 0 && s->dropout < 1)) return ar__fail(err, AR_ERR_VALUE, "dropout: %g, wanted at least 0 and below 1", s->dropout);
    if (s->dora && s->lora_bias) return ar__fail(err, AR_ERR_UNSUPPORTED, "lora_bias: not together with DoRA");
    return AR_OK;
}

/* What PEFT adapts as a parameter has no input that could be dropped. */
static ar_status check_parameter(const ar_adapter_settings *s, const ar_module *mod, ar_error *err) {
    const char *what = s->dropout > 0 ? "dropout" : s->dora ? "DoRA" : s->lora_bias ? "lora_bias" : NULL;
    const char *own = strrchr(mod->path, '.');
    bool router = mod->kind != AR_MODULE_EXPERTS && own;
    if (!what) return AR_OK;
    return ar__fail(err, AR_ERR_UNSUPPORTED,
                    "%s: not on '%s', which PEFT adapts as a parameter (target_parameters) and refuses too; leave %s out, or router and "
                    "experts: --exclude %s%sgate_up_proj,down_proj",
                    what, mod->path, what, router ? own + 1 : "", router ? "," : "");
}

/* One pair for each expert. */
static ar_status add_experts(ar_adapter *ad, const ar_module *mod, ar_pair_shape shape, ar_error *err) {
    ar_status s = AR_OK;
    shape.experts = mod->experts;
    for (; !s && shape.expert < mod->experts; shape.expert++) {
        ar_buf site = {0};
        ar__buf_printf(&site, "%s[%d]", mod->path, shape.expert);
        shape.site = site.data;
        s = site.failed ? ar__fail_memory(err, mod->path) : ar__adapter_add_pair(NULL, ad, &shape, err);
        ar__buf_release(&site);
    }
    return s;
}

/* As PEFT takes the rank of gate and up together, unless a pattern of the user's says otherwise. */
static ar_status widen_gate_up(ar_adapter_settings *s, const ar_module_list *base, const ar_target *target, ar_error *err) {
    static const char key[] = ".*\\.gate_up_proj";
    bool stacked = false;
    for (int i = 0; i < base->count; i++) stacked = stacked || (target[i] == AR_TARGET_PAIR && base->at[i].kind == AR_MODULE_EXPERTS);
    if (!stacked || !s->targets.regex || strcasecmp(s->targets.regex, "all-linear") != 0) return AR_OK;
    bool ok = ar__patterns_add(&s->rank_pattern, key, 2.0 * s->rank) && ar__patterns_add(&s->alpha_pattern, key, 2.0 * s->alpha);
    return ok ? AR_OK : ar__fail_memory(err, "patterns");
}

static ar_status add_pair(ar_adapter *ad, const ar_module *mod, const ar_pattern_set *ranks, const ar_pattern_set *alphas, ar_error *err) {
    const ar_adapter_settings *set = &ad->settings;
    bool embedding = mod->kind == AR_MODULE_EMBEDDING;
    double rank = set->rank, alpha = set->alpha;
    ar_status s;
    if ((s = ar__pattern_set_find(&rank, ranks, mod->path, err)) || (s = ar__pattern_set_find(&alpha, alphas, mod->path, err))) return s;
    if (!(rank >= 1 && rank <= 1e6 && rank == floor(rank)))
        return ar__fail(err, AR_ERR_VALUE, "rank_pattern: rank %g for '%s', wanted a whole number from 1", rank, mod->path);
    if (embedding && set->lora_bias) return ar__fail(err, AR_ERR_UNSUPPORTED, "lora_bias: not on the embedding '%s'", mod->path);
    ar_pair_shape shape = {.site = mod->path, .rank = (int)rank, .alpha = alpha, .policy = set->policy};
    if (mod->is_parameter && (s = check_parameter(set, mod, err))) return s;
    shape.n_in = embedding ? mod->n_out : mod->n_in;
    shape.n_out = embedding ? mod->n_in : mod->n_out;
    shape.is_embedding = embedding;
    shape.dora = set->dora;
    shape.b_bias = set->lora_bias;
    return mod->kind == AR_MODULE_EXPERTS ? add_experts(ad, mod, shape, err) : ar__adapter_add_pair(NULL, ad, &shape, err);
}

/* path.weight or path.bias, unless it is there already */
static ar_status add_tensor(ar_adapter *ad, const ar_module *mod, const char *part, int dims, ar_error *err) {
    int64_t shape[2] = {mod->n_out, mod->n_in};
    ar_buf name = {0};
    ar__buf_printf(&name, "%s.%s", mod->path, part);
    ar_status s = AR_OK;
    if (name.failed)
        s = ar__fail_memory(err, mod->path);
    else if (!ar__adapter_find_whole(ad, name.data))
        s = ar__adapter_add_whole(NULL, ad, name.data, dims, shape, err);
    ar__buf_release(&name);
    return s;
}

static ar_status add_wholes(ar_adapter *ad, const ar_module *mod, ar_target target, ar_error *err) {
    ar_bias_mode mode = ad->settings.bias;
    if (target == AR_TARGET_WHOLE && mod->is_conv1d)
        return ar__fail(err, AR_ERR_UNSUPPORTED, "'%s': a Conv1D cannot be saved whole; name it as a target instead", mod->path);
    bool bias = mode == AR_BIAS_ALL || (mode == AR_BIAS_LORA_ONLY && target == AR_TARGET_PAIR) || target == AR_TARGET_WHOLE;
    ar_status s = AR_OK;
    if (target == AR_TARGET_WHOLE) s = add_tensor(ad, mod, "weight", mod->kind == AR_MODULE_NORM ? 1 : 2, err);
    if (!s && bias && mod->has_bias) s = add_tensor(ad, mod, "bias", 1, err);
    return s;
}

static ar_status fill(ar_adapter *ad, const ar_module_list *base, const ar_target *target, ar_error *err) {
    ar_pattern_set ranks = {0}, alphas = {0};
    ar_status s = widen_gate_up(&ad->settings, base, target, err);
    if (!s) s = ar__pattern_set_init(&ranks, &ad->settings.rank_pattern, err);
    if (!s) s = ar__pattern_set_init(&alphas, &ad->settings.alpha_pattern, err);
    for (int i = 0; !s && i < base->count; i++) {
        if (target[i] == AR_TARGET_PAIR && base->at[i].is_conv1d) ad->settings.fan_in_fan_out = true;
        if (target[i] == AR_TARGET_PAIR) s = add_pair(ad, &base->at[i], &ranks, &alphas, err);
        if (!s) s = add_wholes(ad, &base->at[i], target[i], err);
    }
    ar__pattern_set_release(&ranks);
    ar__pattern_set_release(&alphas);
    return s;
}

static void start_pairs(ar_adapter *ad, uint64_t seed, int threads) {
#pragma omp parallel for schedule(dynamic, 1) num_threads(threads)
    for (size_t i = 0; i < ad->pair_count; i++) ar__pair_init(&ad->pair[i], seed);
}

static bool take_settings(ar_adapter_settings *out, const ar_adapter_settings *from) {
    if (!ar__settings_copy(out, from)) return false;
    if (!out->task_type) out->task_type = ar__strdup("CAUSAL_LM");
    return out->task_type;
}

ar_status ar__adapter_build(ar_adapter **out, const ar_adapter_settings *settings, const ar_module *modules, int module_count,
                            const char *const *default_targets, int default_count, uint64_t seed, int threads, ar_error *err) {
    ar_module_list base = {modules, module_count, default_targets, default_count};
    ar_adapter *ad;
    *out = NULL;
    ar_status s = check_settings(settings, err);
    if (s || (s = ar__adapter_new(&ad, err))) return s;
    ar_target *target = ar__alloc((size_t)module_count, sizeof *target);
    if (!target || !take_settings(&ad->settings, settings)) s = ar__fail_memory(err, "adapter");
    if (!s && !(s = ar__targets_resolve(target, &ad->settings, &base, err)) && !(s = fill(ad, &base, target, err)))
        s = ar__targets_describe(&ad->settings, target, &base, err);
    if (!s) start_pairs(ad, seed, threads);
    free(target);
    if (s)
        ar_adapter_free(ad);
    else
        *out = ad;
    return s;
}

static ar_status wrong_shape(const char *name, int64_t found_rows, int64_t found_columns, int64_t rows, int64_t columns, ar_error *err) {
    return ar__fail(err, AR_ERR_MISMATCH,
                    "'%s': the adapter is for a weight of [%lld, %lld], the base has [%lld, %lld]: it was made for another base", name,
                    (long long)found_rows, (long long)found_columns, (long long)rows, (long long)columns);
}

static ar_status check_pair(const ar_pair *p, const ar_module_list *base, size_t at, const ar_target *target, ar_error *err) {
    if (at == AR_MAP_NONE)
        return ar__fail(err, AR_ERR_MISMATCH, "site '%s': the base has no such module: the adapter was made for another base", p->site);
    const ar_module *mod = &base->at[at];
    bool embedding = mod->kind == AR_MODULE_EMBEDDING;
    if (p->kernel[0] || p->has_gguf_rows)
        return ar__fail(err, AR_ERR_MISMATCH,
                        p->kernel[0] ? "site '%s': the pair of a convolution, the base has none there"
                                     : "site '%s': its rows are in llama.cpp's order and the file does not say how many heads there are; "
                                       "convert it with --model first",
                        p->site);
    if (mod->kind == AR_MODULE_NORM || embedding != p->is_embedding)
        return ar__fail(err, AR_ERR_MISMATCH, "site '%s': %s pair, the base has %s there", p->site,
                        p->is_embedding ? "an embedding" : "a linear",
                        embedding                     ? "an embedding"
                        : mod->kind == AR_MODULE_NORM ? "a norm"
                                                      : "a linear layer");
    int64_t rows = embedding ? p->n_in : p->n_out, columns = embedding ? p->n_out : p->n_in;
    if (rows != mod->n_out || columns != mod->n_in) return wrong_shape(p->site, rows, columns, mod->n_out, mod->n_in, err);
    if (target[at] != AR_TARGET_PAIR)
        return ar__fail(err, AR_ERR_MISMATCH,
                        "site '%s': has a pair, but the configuration's target_modules do not select it (PEFT would ignore it)", p->site);
    return AR_OK;
}

static ar_status check_whole(const ar_whole *w, const ar_module_list *base, const ar_map *paths, ar_error *err) {
    const char *dot = strrchr(w->name, '.');
    size_t at = dot ? ar__map_find(paths, w->name, (size_t)(dot - w->name)) : AR_MAP_NONE;
    if (at == AR_MAP_NONE)
        return ar__fail(err, AR_ERR_MISMATCH, "tensor '%s': the base has no such module: the adapter was made for another base", w->name);
    const ar_module *mod = &base->at[at];
    if (mod->is_conv1d && !strcmp(dot, ".weight"))
        return ar__fail(err, AR_ERR_UNSUPPORTED, "tensor '%s': a Conv1D that was saved whole cannot be run", w->name);
    bool bias = !strcmp(dot, ".bias"), flat = bias || mod->kind == AR_MODULE_NORM;
    if ((!bias && strcmp(dot, ".weight") != 0) || (bias && !mod->has_bias))
        return ar__fail(err, AR_ERR_MISMATCH, "tensor '%s': the base's module has none", w->name);
    int64_t columns = w->dims > 1 ? w->shape[1] : 1;
    if (w->dims != (flat ? 1 : 2) || w->shape[0] != mod->n_out || (!flat && columns != mod->n_in))
        return wrong_shape(w->name, w->dims ? w->shape[0] : 1, columns, mod->n_out, flat ? 1 : mod->n_in, err);
    return AR_OK;
}

ar_status ar__adapter_check_base(const ar_adapter *ad, const ar_module *modules, int module_count, const char *const *default_targets,
                                 int default_count, ar_error *err) {
    ar_module_list base = {modules, module_count, default_targets, default_count};
    ar_map paths = {0};
    ar_target *target = ar__alloc((size_t)module_count, sizeof *target);
    ar_status s = target ? AR_OK : ar__fail_memory(err, "adapter");
    for (int i = 0; !s && i < module_count; i++)
        if (!ar__map_put(&paths, modules[i].path, strlen(modules[i].path), (size_t)i)) s = ar__fail_memory(err, "adapter");
    if (!s && ad->pair_count) s = ar__targets_resolve(target, &ad->settings, &base, err);
    for (size_t i = 0; !s && i < ad->pair_count; i++)
        s = check_pair(&ad->pair[i], &base, ar__map_find_str(&paths, ad->pair[i].site), target, err);
    for (size_t i = 0; !s && i < ad->whole_count; i++) s = check_whole(&ad->whole[i], &base, &paths, err);
    ar__map_release(&paths);
    free(target);
    return s;
}
