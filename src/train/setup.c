/* Opening a training: model, tokenizer, data, adapter, trainables.  Nothing is written here. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "adapter/targets.h"
#include "base/fail.h"
#include "base/file.h"
#include "base/proc.h"
#include "train/init_adapter.h"
#include "train/pairs.h"
#include "train/settings.h"
#include "train/trainer.h"

enum { PLAN_BYTES = 2 << 20 };  /* more is judged by a part */
enum { AHEAD_BYTES = 1 << 20 }; /* smaller files are tokenized before a thread for it would pay */

/* As is asked for, else as the adapter that the run begins with was taught, else as the base does. */
static ar_status open_chat(ar_trainer *t, ar_error *err) {
    const ar_train_options *o = &t->o;
    char *text = NULL;
    bool turns = false;
    ar_status s = o->course.init_adapter ? ar__init_adapter_template(&text, &turns, o, err) : AR_OK;
    t->own_template = o->course.chat_template || text;
    t->turns = o->course.chat_template || turns;
    if (!s && text && !o->course.chat_template) {
        s = ar__chat_open_text(&t->chat, t->tokenizer_path, text, t->tokenizer, err);
    } else if (!s) {
        s = ar__chat_open(&t->chat, t->tokenizer_path, o->course.chat_template, t->tokenizer, err);
        if (!s && text && strcmp(t->chat->of[t->chat->standard].source, text) != 0)
            ar__log_warn(&t->rt->log, "%s: was trained with another chat template: what it learned was in another notation",
                         o->course.init_adapter);
    }
    free(text);
    return s;
}

static ar_status open_base(ar_trainer *t, ar_error *err) {
    const ar_train_options *o = &t->o;
    ar_status s = o->course.init == AR_INIT_RANDOM ? ar__model_init(&t->model, t->rt, o->course.model_config, o->learner.seed, err)
                                                   : ar_model_open(&t->model, t->rt, o->course.model, err);
    if (s) return s;
    if (o->course.init == AR_INIT_RANDOM) {
        const char *slash = strrchr(o->course.model_config, '/');
        t->tokenizer_path =
            slash ? ar__strndup(o->course.model_config, slash == o->course.model_config ? 1 : (size_t)(slash - o->course.model_config))
                  : ar__strdup(".");
    } else {
        t->tokenizer_path = ar__strdup(o->course.model);
    }
    if (!t->tokenizer_path) return ar__fail_memory(err, "tokenizer");
    s = ar_tokenizer_open(&t->tokenizer, t->tokenizer_path, err);
    return s ? s : open_chat(t, err);
}

/* A length that was asked for stands; the default is no longer than the base was made for. */
static void choose_length(ar_trainer *t) {
    int64_t positions = t->model->arch.max_positions;
    if (t->o.course.max_length) return;
    t->o.course.max_length = ar__length_default(positions);
    if (t->o.course.max_length < AR_LENGTH)
        ar__log_info(&t->rt->log, "max-length %d: the base was made for no more positions", t->o.course.max_length);
}

/* AR_DATA_AHEAD: a large file may be tokenized while the first steps run, unless samples can be longer than the base was made for. */
static ar_status load_data(ar_dataset **out, ar_trainer *t, const ar_data_source *from, ar_data_when when, ar_data_stats *stats,
                           ar_error *err) {
    const ar_arch *a = &t->model->arch;
    const char *path = from->files.count ? from->files.items[0] : "samples";
    ar_data_options d = {.max_length = t->o.course.max_length,
                         .seed = t->o.learner.seed,
                         .threads = t->rt->threads,
                         .eos_id = a->eos_count ? a->eos[0] : -1,
                         .train_on = t->o.course.train_on,
                         .skip_bad = t->o.course.skip_bad,
                         .ahead_bytes = when == AR_DATA_AHEAD && t->o.course.max_length <= a->max_positions ? AHEAD_BYTES : 0,
                         .sample_bytes = when == AR_DATA_PART && !from->sample_count ? PLAN_BYTES : 0,
                         .vocab = (int32_t)(a->vocab < INT32_MAX ? a->vocab : INT32_MAX),
                         .log = &t->rt->log,
                         .map = t->o.course.map,
                         .ignore_fields = t->o.course.ignore_fields,
                         .rows = ar__has_objective(&t->o) ? AR_ROWS_PAIRS : AR_ROWS_SAMPLES,
                         .chat = t->chat,
                         .chat_for_plain = t->turns};
    ar_status s = ar__dataset_load(out, from, t->tokenizer, &d, stats, err);
    if (!s && when == AR_DATA_AHEAD) ar__chat_remark(t->chat, t->tokenizer, ar__dataset_kind(*out), &t->rt->log);
    if (s || ar__dataset_is_reading(*out)) return s;
    if (a->rope.kind == AR_ROPE_DYNAMIC && ar__dataset_longest(*out) > a->max_positions)
        s = ar__fail(err, AR_ERR_UNSUPPORTED,
                     "%s: a sample has %d tokens, past the original maximum of %lld, and RoPE 'dynamic' changes with the length; use a "
                     "base with yarn or linear, or --max-length",
                     path, ar__dataset_longest(*out), (long long)a->max_positions);
    if (!s && ar__dataset_longest(*out) > a->max_positions)
        ar__log_warn(&t->rt->log, "%s: a sample has %d tokens, the base was made for %lld", path, ar__dataset_longest(*out),
                     (long long)a->max_positions);
    return s;
}

/* The modules that exist, without the record's empty slots. */
static ar_module *listed_modules(int *count, const ar_model *m) {
    ar_module *list = ar__alloc(m->module_count, sizeof *list);
    *count = 0;
    for (size_t i = 0; list && i < m->module_count; i++)
        if (m->modules[i].path) list[(*count)++] = m->modules[i];
    return list;
}

/* Whole tensors start as the base's. */
static void fill_wholes(ar_trainer *t) {
    for (size_t i = 0; i < t->adapter->whole_count; i++) {
        ar_whole *w = &t->adapter->whole[i];
        char *path = ar__strdup(w->name), *dot = path ? strrchr(path, '.') : NULL;
        if (!dot) {
            free(path);
            continue;
        }
        bool bias = !strcmp(dot, ".bias");
        *dot = '\0';
        size_t module = ar__model_find(t->model, path);
        ar_weight weight = bias ? (ar_weight){t->model->owned[module].bias, AR_F32, w->count, 1} : ar__model_weight(t->model, module);
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

/* Of several patterns that match a site the first counts. */
static ar_status check_pattern(const char *option, const ar_patterns *patterns, const ar_pattern_set *set, size_t k, const ar_adapter *ad,
                               ar_error *err) {
    size_t before = k; /* the pattern that takes a site away */
    bool counts = false, meets = false;
    for (size_t i = 0; !counts && i < ad->pair_count; i++) {
        bool hit = false;
        size_t first = 0;
        ar_status s = ar__regex_match(&hit, NULL, set->regex[k], ad->pair[i].site, err);
        for (bool other = false; !s && hit && first < k && !other; first += !other)
            s = ar__regex_match(&other, NULL, set->regex[first], ad->pair[i].site, err);
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

static ar_status make_adapter(ar_trainer *t, ar_error *err) {
    static const char *const defaults[] = {"q_proj", "v_proj"};
    ar_adapter_settings settings;
    int count;
    ar_status s = ar__train_adapter_settings(&settings, &t->o, err);
    if (!s && t->o.course.init_adapter &&
        (s = ar__init_adapter_settings(&settings, &t->o, !t->asked.learner.rank_given && !t->asked.learner.alpha_given, err)))
        ar__settings_release(&settings);
    if (s) return s;
    ar_module *modules = listed_modules(&count, t->model);
    s = check_layers(&settings, &t->model->arch, err);
    if (!s && modules) s = ar__targets_check_names(&settings, &(ar_module_list){modules, count, NULL, 0}, err);
    if (!s)
        s = modules ? ar__adapter_build(&t->adapter, &settings, modules, count, defaults, 2, t->o.learner.seed, t->rt->threads, err)
                    : ar__fail_memory(err, "modules");
    free(modules);
    if (!s && t->o.learner.rank_patterns.count) s = check_patterns("rank-pattern", &settings.rank_pattern, t->adapter, err);
    if (!s && t->o.learner.alpha_patterns.count) s = check_patterns("alpha-pattern", &settings.alpha_pattern, t->adapter, err);
    ar__settings_release(&settings);
    if (!s) fill_wholes(t);
    return s;
}

static ar_status attach(ar_trainer *t, bool fresh, ar_error *err) {
    size_t n = t->model->module_count;
    ar_status s = ar__attach_new(&t->attachment, t->model, t->adapter, 1.0, err);
    if (!s) s = ar__attach_wholes(t->model, t->adapter, err);
    if (s) return s;
    if (fresh) ar__attach_init_magnitudes(t->attachment);
    t->eval_ops = ar__alloc(n, sizeof *t->eval_ops);
    t->weight_norm = ar__alloc(t->adapter->pair_count, sizeof *t->weight_norm);
    if (!t->eval_ops || !t->weight_norm) return ar__fail_memory(err, "adapter");
    memcpy(t->eval_ops, t->attachment->ops, n * sizeof *t->eval_ops);
    for (size_t i = 0; i < t->adapter->pair_count; i++) t->weight_norm[i] = -1.0;
    for (size_t i = 1; i < n; i++) { /* module 0, the embedding, has no dropout */
        t->attachment->ops[i].dropout = (float)t->o.learner.dropout;
        t->attachment->ops[i].seed = t->o.learner.seed;
    }
    return AR_OK;
}

static ar_status open_trainables(ar_trainer *t, ar_error *err) {
    bool moments = t->o.learner.optimizer == AR_OPTIMIZER_ADAMW;
    if (t->o.learner.method == AR_METHOD_FULL) return ar__trainables_from_model(&t->list, t->model, moments, err);
    ar_status s = make_adapter(t, err);
    if (!s && t->o.course.init_adapter) s = ar__init_adapter(t->adapter, &t->o, &t->rt->log, err);
    if (!s) s = attach(t, !t->o.course.init_adapter, err);
    if (!s) s = ar__trainables_from_adapter(&t->list, t->model, t->attachment, t->o.learner.lr_ratio, moments, err);
    return s;
}

static ar_status open_stream(ar_trainer *t, ar_error *err) {
    size_t n = ar__dataset_count(t->data) / (ar__has_objective(&t->o) ? 2 : 1), batch = (size_t)t->o.learner.batch;
    uint64_t samples = t->o.learner.steps ? UINT64_MAX : ar__epoch_samples(t->o.learner.epochs, n);
    t->steps = t->o.learner.steps ? t->o.learner.steps : (int64_t)ar__stream_steps(samples, batch);
    t->samples = ar__alloc(ar__step_samples(t), sizeof *t->samples);
    t->sample_nll = ar__alloc(ar__step_samples(t), sizeof *t->sample_nll);
    if (!t->samples || !t->sample_nll) return ar__fail_memory(err, "batches");
    ar_status s = ar__has_objective(&t->o) ? ar__pairs_open(t, err) : AR_OK;
    return s ? s : ar__stream_init(&t->stream, n, batch, samples, t->o.learner.seed, t->o.learner.shuffle, err);
}

/* What may be used for the pass: the given limit, or nine tenths of what the machine has left beside the base. */
static void set_budget(ar_trainer *t) {
    int64_t base = 0, available = ar__memory_available();
    for (int i = 0; t->model->files && i < ar__st_count(t->model->files); i++) base += (int64_t)ar__st_at(t->model->files, i)->bytes;
    int64_t now = ar__memory_anonymous(), to_come = t->data ? (int64_t)ar__dataset_bytes_to_come(t->data) : 0;
    int64_t room = available / 10 * 9 - base - to_come;
    t->fixed_bytes = (now > 0 ? now : 0) + to_come; /* ar__alloc touches what it gives, so the state counts already */
    if (t->o.course.memory) room = t->o.course.memory - t->fixed_bytes;
    t->budget = !t->o.course.memory && available <= 0 ? 0 : room > 1 ? room : 1;
}

ar_status ar__trainer_open(ar_trainer *t, const ar_runtime *rt, const ar_train_options *o, ar_data_when data, ar_error *err) {
    *t = (ar_trainer){.rt = rt, .o = *o, .asked = *o, .eval_loss = -1.0, .strength = -1.0, .best_eval = INFINITY};
    t->o.course.compute = ar_runtime_compute(rt);
    if (t->o.course.compute == AR_COMPUTE_BF16)
        ar__log_info(&rt->log, "compute bf16: products with the base's weights on %s", rt->gemm[0]->name);
    ar_status s = ar_train_options_check(o, err);
    if (!s) s = ar__preference_resolve(&t->o.learner.preference, err);
    if (!s && o->course.init_adapter) s = ar__init_adapter_options(&t->o, err);
    if (!t->o.learner.alpha_given) t->o.learner.alpha = 2.0 * t->o.learner.rank;
    if (!t->o.learner.targets && !t->o.course.init_adapter && t->o.learner.method == AR_METHOD_LORA) t->o.learner.targets = "all-linear";
    if (!s && data && !ar__has_samples(&o->course.data)) s = ar__fail(err, AR_ERR_VALUE, "data: not given");
    if (!s) s = open_base(t, err);
    if (!s) choose_length(t);
    /* A resumed run compares its samples with those of before, and rows without packing are as long as the longest sample:
     * both want all of them first. */
    if (data == AR_DATA_AHEAD && (o->run.resume || !o->course.pack)) data = AR_DATA_FIRST;
    if (!s && data) s = load_data(&t->data, t, &o->course.data, data, &t->stats, err);
    if (!s && data && ar__has_samples(&o->course.eval_data))
        s = load_data(&t->eval_data, t, &o->course.eval_data, data == AR_DATA_PART ? data : AR_DATA_FIRST, &t->eval_stats, err);
    if (!s) s = open_trainables(t, err);
    if (!s && data) s = open_stream(t, err);
    if (!s) set_budget(t);
    return s;
}

ar_status ar__trainer_allocate(ar_trainer *t, ar_error *err) {
    size_t longest = (size_t)ar__dataset_longest(t->data);
    if (t->eval_data && (size_t)ar__dataset_longest(t->eval_data) > longest) longest = (size_t)ar__dataset_longest(t->eval_data);
    t->choice = ar__plan_choose(t, longest);
    if (!t->choice.fits && t->o.course.memory)
        return ar__fail(err, AR_ERR_MEMORY,
                        "memory: the smallest plan needs %zu MiB, the limit is %lld MiB; use a smaller --max-length or more --memory",
                        (t->choice.bytes + t->choice.packing + (size_t)t->fixed_bytes) >> 20, (long long)(t->o.course.memory >> 20));
    if (!t->choice.fits)
        ar__log_warn(&t->rt->log, "the smallest plan needs %zu MiB, more than this machine has free",
                     (t->choice.bytes + t->choice.packing) >> 20);
    ar_pass_spec spec = ar__plan_spec(t, &t->choice, longest);
    ar_status s = ar__pass_new(&t->pass, t->model, &spec, err);
    size_t batch = ar__step_samples(t);
    if (!s)
        s = ar__batcher_init(&t->batcher, t->data, batch, t->choice.tokens, t->o.course.max_length, t->choice.micro_rows, t->o.course.pack,
                             err);
    if (!s && t->eval_data)
        s = ar__batcher_init(&t->eval_batcher, t->eval_data, batch, t->choice.tokens, t->o.course.max_length, t->choice.micro_rows,
                             t->o.course.pack, err);
    t->batcher.pairs = t->eval_batcher.pairs = ar__has_objective(&t->o);
    return s;
}

void ar__trainer_close(ar_trainer *t) {
    ar__batcher_release(&t->batcher);
    ar__batcher_release(&t->eval_batcher);
    ar__pass_free(t->pass);
    ar__trainables_release(&t->list);
    ar__attach_free(t->attachment);
    ar_model_free(t->model);
    ar_adapter_free(t->adapter);
    ar__stream_release(&t->stream);
    ar__dataset_free(t->data);
    ar__dataset_free(t->eval_data);
    ar__chat_free(t->chat);
    ar_tokenizer_free(t->tokenizer);
    free(t->tokenizer_path);
    free(t->eval_ops);
    free(t->weight_norm);
    free(t->samples);
    free(t->sample_nll);
    ar__pairs_release(t);
    *t = (ar_trainer){0};
}
