/* Opening a learner on a course: adapter, trainables, order of samples.  Nothing is written here. */
#include "train/learner.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "adapter/targets.h"
#include "base/fail.h"
#include "model/mirror.h"
#include "train/init_adapter.h"
#include "train/pairs.h"
#include "train/settings.h"
#include "train/start.h"

/* Whole tensors start as the base's. */
static void fill_wholes(ar_learner *l) {
    for (size_t i = 0; i < l->adapter->whole_count; i++) {
        ar_whole *w = &l->adapter->whole[i];
        char *path = ar__strdup(w->name), *dot = path ? strrchr(path, '.') : NULL;
        if (!dot) {
            free(path);
            continue;
        }
        bool bias = !strcmp(dot, ".bias");
        *dot = '\0';
        size_t module = ar__model_find(l->course->model, path);
        ar_weight weight =
            bias ? (ar_weight){l->course->model->owned[module].bias, AR_F32, w->count, 1} : ar__model_weight(l->course->model, module);
        ar__dtype(weight.type)->to_f32(w->data, weight.data, w->count);
        free(path);
    }
}

/* PEFT lets a layer or pattern that meets nothing pass; to someone who types it, it is a slip. */
static ar_status check_layers(const ar_adapter_settings *s, const ar_arch *a, ar_error *err) {
    for (size_t i = 0; i < s->layer_count; i++)
        if (s->layers[i] >= a->layers)
            return ar__fail(err, AR_ERR_USAGE, "layers: found layer %lld, the base's layers are 0 to %lld", (long long)s->layers[i],
                            (long long)a->layers - 1);
    return AR_OK;
}

/* What a pattern is matched against: of stacked experts the parameter.  Cut short, it is of no module that there is. */
static const char *pattern_path(char *out, size_t size, const ar_pair *p) {
    snprintf(out, size, "%.*s", ar__pair_in_stack(p) ? (int)strcspn(p->site, "[") : (int)strlen(p->site), p->site);
    return out;
}

/* Of several patterns that match a site the first counts. */
static ar_status check_pattern(const char *option, const ar_patterns *patterns, const ar_pattern_set *set, size_t k, const ar_adapter *ad,
                               ar_error *err) {
    size_t before = k; /* the pattern that takes a site away */
    bool counts = false, meets = false;
    for (size_t i = 0; !counts && i < ad->pair_count; i++) {
        bool hit = false;
        size_t first = 0;
        char path[512];
        pattern_path(path, sizeof path, &ad->pair[i]);
        ar_status s = ar__regex_match(&hit, NULL, set->regex[k], path, err);
        for (bool other = false; !s && hit && first < k && !other; first += !other)
            s = ar__regex_match(&other, NULL, set->regex[first], path, err);
        if (s) return s;
        meets = meets || hit;
        counts = hit && first == k;
        if (hit && !counts) before = first;
    }
    if (counts) return AR_OK;
    if (meets)
        return ar__fail(err, AR_ERR_USAGE,
                        "%s: '%s' never counts: '%s' stands before it and takes all of its sites; leave one out, or change "
                        "their order",
                        option, patterns->at[k].key, patterns->at[before].key);
    return ar__fail(err, AR_ERR_USAGE, "%s: '%s' matches no site, such as '%s'", option, patterns->at[k].key,
                    ad->pair_count ? ad->pair[0].site : "none");
}

static ar_status check_patterns(const char *option, const ar_patterns *patterns, const ar_adapter *ad, ar_error *err) {
    ar_pattern_set set;
    ar_status s = ar__pattern_set_init(&set, patterns, err);
    for (size_t k = 0; !s && k < patterns->count; k++) s = check_pattern(option, patterns, &set, k, ad, err);
    ar__pattern_set_release(&set);
    return s;
}

/* Those of convolutions are frozen; PEFT would train them, and find them in the file. */
static ar_status check_biases(const ar_adapter_settings *s, const ar_arch *a, ar_error *err) {
    if (s->bias != AR_BIAS_ALL || !a->conv_bias) return AR_OK;
    return ar__fail(err, AR_ERR_UNSUPPORTED,
                    "bias: found all, but the biases of the %s family's convolutions do not train; wanted none or lora_only", a->family);
}

static ar_status make_adapter(ar_learner *l, ar_error *err) {
    static const char *const defaults[] = {"q_proj", "v_proj"};
    ar_adapter_settings settings;
    int count = 0;
    ar_status s = ar__train_adapter_settings(&settings, &l->o, err);
    if (!s && l->o.course.init_adapter &&
        (s = ar__init_adapter_settings(&settings, &l->o, !l->asked.learner.rank_given && !l->asked.learner.alpha_given, err)))
        ar__settings_release(&settings);
    if (s) return s;
    ar__start_settings(&settings, &l->course->init);
    const ar_model *m = l->course->model;
    ar_module *modules = NULL;
    s = check_layers(&settings, &m->arch, err);
    bool apart = l->o.course.init_adapter && !l->o.learner.targets;
    if (!s) s = check_biases(&settings, &m->arch, err);
    if (!s && m->arch.bias_experts && (settings.bias == AR_BIAS_ALL || (apart && settings.bias != AR_BIAS_NONE)))
        s = ar__fail(err, AR_ERR_UNSUPPORTED,
                     "bias %s: the %s family's experts have biases, which PEFT would train too and Alphar does not; use none",
                     settings.bias == AR_BIAS_ALL ? "all" : "lora_only", m->arch.family);
    if (!s) s = ar__arch_targets(&modules, &count, m->modules, &m->arch, apart, err);
    if (!s) s = ar__targets_check_names(&settings, &(ar_module_list){modules, count, NULL, 0}, err);
    if (!s) s = ar__adapter_build(&l->adapter, &settings, modules, count, defaults, 2, l->o.learner.seed, l->course->rt->threads, err);
    ar__targets_free(modules, count);
    if (!s && l->o.learner.rank_patterns.count) s = check_patterns("rank-pattern", &settings.rank_pattern, l->adapter, err);
    if (!s && l->o.learner.alpha_patterns.count) s = check_patterns("alpha-pattern", &settings.alpha_pattern, l->adapter, err);
    ar__settings_release(&settings);
    if (!s) fill_wholes(l);
    return s;
}

/* The factor that begins at random values: A, of embeddings B. */
static void scale_start(ar_adapter *ad, double by) {
    for (size_t i = 0; i < ad->pair_count; i++) {
        ar_pair *p = &ad->pair[i];
        float *x = p->is_embedding ? p->b : p->a;
        size_t n = (size_t)p->rank * (size_t)(p->is_embedding ? p->n_out : p->n_in);
        for (size_t k = 0; k < n; k++) x[k] = (float)(by * (double)x[k]);
    }
}

static ar_status attach(ar_learner *l, bool fresh, ar_error *err) {
    size_t n = l->course->model->module_count;
    ar_status s = ar__attach_new(&l->attachment, l->course->model, l->adapter, 1.0, err);
    if (!s) s = ar__attach_wholes(l->course->model, l->adapter, err);
    if (s) return s;
    if (fresh) ar__attach_init_magnitudes(l->attachment);
    l->eval_ops = ar__alloc(n, sizeof *l->eval_ops);
    l->weight_norm = ar__alloc(l->adapter->pair_count, sizeof *l->weight_norm);
    l->site_strength = ar__alloc(l->adapter->pair_count, sizeof *l->site_strength);
    l->factors = ar__alloc(l->adapter->pair_count, sizeof *l->factors);
    l->weights = ar__alloc(l->adapter->pair_count, sizeof *l->weights);
    if (!l->eval_ops || !l->weight_norm || !l->site_strength || !l->factors || !l->weights) return ar__fail_memory(err, "adapter");
    memcpy(l->eval_ops, l->attachment->ops, n * sizeof *l->eval_ops);
    for (size_t i = 0; i < l->adapter->pair_count; i++) l->weight_norm[i] = -1.0;
    for (size_t i = 1; i < n; i++) { /* module 0, the embedding, has no dropout */
        l->attachment->ops[i].dropout = (float)l->o.learner.dropout;
        l->attachment->ops[i].seed = l->o.learner.seed;
    }
    return AR_OK;
}

static ar_status open_trainables(ar_learner *l, ar_error *err) {
    bool moments = l->o.learner.optimizer == AR_OPTIMIZER_ADAMW;
    const ar_model *m = l->course->model;
    if (l->o.learner.method == AR_METHOD_FULL && m->base && ar__base_info(m->base)->is_gguf)
        return ar__fail(err, AR_ERR_UNSUPPORTED,
                        "%s: method full writes a Hugging Face folder and wants one to begin with, found a GGUF file", m->path);
    for (size_t i = 0; l->o.learner.method == AR_METHOD_FULL && i < m->module_count; i++)
        if (m->modules[i].path && !ar__model_file_name(m, i))
            return ar__fail(
                err, AR_ERR_UNSUPPORTED,
                "%s: method full writes the base's tensors, and those of '%s' would stand among other experts' or under another name; "
                "train an adapter",
                m->path, m->modules[i].path);
    if (l->o.learner.method == AR_METHOD_FULL) return ar__trainables_from_model(&l->list, l->course->model, moments, err);
    ar_status s = make_adapter(l, err);
    if (!s && l->o.learner.init_scale > 0.0 && l->o.learner.init_scale != 1.0) scale_start(l->adapter, l->o.learner.init_scale);
    if (!s && l->o.course.init_adapter) s = ar__init_adapter(l->adapter, &l->o, &l->course->rt->log, err);
    if (!s) s = attach(l, !l->o.course.init_adapter, err);
    if (!s) s = ar__start_pairs(l, err);
    if (!s) ar__attach_put(l->attachment);
    if (!s && l->o.learner.train_scale) s = ar__scales_open(&l->scales, l->attachment, AR_SCALES_BY_SITE, err);
    ar_training what = {true, l->scales.count ? &l->scales : NULL, l->o.learner.lr_ratio, moments};
    if (!s) s = ar__trainables_from_adapter(&l->list, l->course->model, l->attachment, &what, err);
    return s;
}

static ar_status open_stream(ar_learner *l, ar_error *err) {
    const ar_course *c = l->course;
    size_t n = ar__dataset_count(c->data) / (c->pairs ? 2 : 1), batch = (size_t)l->o.learner.batch;
    uint64_t samples = l->o.learner.steps ? UINT64_MAX : ar__epoch_samples(l->o.learner.epochs, n);
    l->steps = l->o.learner.steps ? l->o.learner.steps : (int64_t)ar__stream_steps(samples, batch);
    l->samples = ar__alloc(ar__step_samples(&l->o), sizeof *l->samples);
    if (!l->samples) return ar__fail_memory(err, "batches");
    ar_status s = c->pairs ? ar__pairs_open(l, err) : AR_OK;
    return s ? s : ar__stream_init(&l->stream, n, batch, samples, l->o.learner.seed, l->o.learner.shuffle, err);
}

int64_t ar__learner_state_bytes(const ar_learner *l) {
    return (int64_t)l->list.total * (l->o.learner.optimizer == AR_OPTIMIZER_SGD ? 8 : 16);
}

/* What this one needs of a pass, beside the others. */
static void join(const ar_learner *l) {
    ar_course *c = l->course;
    ar_pass_spec *need = &c->need;
    const ar_attachment *at = l->attachment;
    c->learners++;
    c->state_bytes += ar__learner_state_bytes(l);
    need->samples += ar__step_samples(&l->o);
    need->dropout = need->dropout || l->o.learner.dropout > 0.0;
    need->balance = need->balance || l->o.learner.router_aux_loss > 0.0;
    need->embed_grad = need->embed_grad || l->list.embed;
    need->ple_grad = need->ple_grad || l->list.ple;
    if (l->list.lowest_layer < need->lowest_layer) need->lowest_layer = l->list.lowest_layer;
    if (!at) return;
    need->dora = need->dora || at->dora_count;
    need->ranks = c->ranks;
    for (size_t i = 0; i < c->model->module_count; i++)
        if (at->ranks[i] > c->ranks[i]) c->ranks[i] = at->ranks[i];
}

static bool has_experts(const ar_model *m) {
    for (int64_t i = 0; i < m->arch.layers; i++)
        if (m->layers[i].expert) return true;
    return false;
}

ar_status ar__learner_open(ar_learner *l, ar_course *c, const ar_train_options *o, ar_error *err) {
    *l = (ar_learner){.course = c, .o = *o, .asked = *o, .eval_loss = -1.0, .strength = -1.0, .best_eval = INFINITY};
    l->o.course = c->o;
    ar_learner_options *own = &l->o.learner;
    ar_status s = ar_train_options_check(o, err);
    if (!s) s = ar__preference_resolve(&own->preference, err);
    if (!s && c->o.init_adapter) s = ar__init_adapter_options(&l->o, err);
    if (!own->alpha_given) own->alpha = 2.0 * own->rank;
    if (!own->targets && !c->o.init_adapter && own->method == AR_METHOD_LORA) own->targets = "all-linear";
    if (!own->router_aux_loss_given && has_experts(c->model)) {
        own->router_aux_loss = c->model->arch.router_aux;
        own->router_aux_loss_given = true; /* by the base */
    }
    if (!s && own->router_aux_loss > 0.0 && !has_experts(c->model))
        s = ar__fail(err, AR_ERR_USAGE, "router-aux-loss: found %g, but the base has no experts; leave it out", own->router_aux_loss);
    if (!s) s = open_trainables(l, err);
    if (!s && c->data) s = open_stream(l, err);
    if (!s) join(l);
    return s;
}

ar_status ar__learner_open_scales(ar_learner *l, ar_course *c, const ar_train_options *o, ar_attachment *at, ar_scale_groups groups,
                                  ar_error *err) {
    size_t n = c->model->module_count;
    *l = (ar_learner){.course = c, .o = *o, .asked = *o, .adapter = at->adapter, .attachment = at, .borrows = true};
    l->eval_ops = ar__alloc(n, sizeof *l->eval_ops);
    if (!l->eval_ops) return ar__fail_memory(err, "adapter");
    memcpy(l->eval_ops, at->ops, n * sizeof *l->eval_ops);
    ar_status s = ar__scales_open(&l->scales, at, groups, err);
    if (!s) s = ar__trainables_from_adapter(&l->list, c->model, at, &(ar_training){.scales = &l->scales, .moments = true}, err);
    if (!s) s = open_stream(l, err);
    if (!s) join(l);
    return s;
}

void ar__learner_close(ar_learner *l) {
    for (size_t i = 0; l->borrows && l->attachment && i < l->adapter->pair_count; i++) {
        l->attachment->ops[l->attachment->module[i]].dscale = NULL;
        if (l->attachment->second[i] != SIZE_MAX) l->attachment->ops[l->attachment->second[i]].dscale = NULL;
    }
    if (l->borrows) {
        l->attachment = NULL;
        l->adapter = NULL;
    }
    ar__trainables_release(&l->list);
    ar__scales_release(&l->scales);
    ar__attach_free(l->attachment);
    for (size_t i = 0; l->adapter && i < l->adapter->whole_count; i++) /* which the model has borrowed */
        ar__model_unmirror(l->course->model, l->adapter->whole[i].data);
    ar_adapter_free(l->adapter);
    ar__stream_release(&l->stream);
    free(l->eval_ops);
    free(l->corrected);
    free(l->weight_norm);
    free(l->site_strength);
    free(l->factors);
    free(l->weights);
    free(l->samples);
    ar__pairs_release(l);
    *l = (ar_learner){0};
}
