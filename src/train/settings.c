#include "train/settings.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "adapter/base_name.h"
#include "adapter/name_list.h"
#include "base/fail.h"
#include "base/mem.h"
#include "data/lines.h"
#include "train/objective.h"

void ar_train_options_init(ar_train_options *o) {
    *o = (ar_train_options){.rank = 16,
                            .epochs = 3,
                            .batch = 8,
                            .pack = true,
                            .shuffle = true,
                            .lr = 2e-4,
                            .lr_ratio = 1,
                            .warmup = 0.03,
                            .beta1 = 0.9,
                            .beta2 = 0.999,
                            .eps = 1e-8,
                            .clip = 1,
                            .keep = 2,
                            .strength_every = 10,
                            .seed = 1};
}

typedef struct range {
    const char *name;
    double value, least, most; /* least and most are allowed */
} range;

static ar_status check_ranges(const ar_train_options *o, ar_error *err) {
    const double tiny = 1e-300, huge = 1e300;
    const range all[] = {
        {"rank", o->rank, 1, 65536},
        {"dropout", o->dropout, 0, 0.999999},
        {"epochs", o->epochs, tiny, 1e9},
        {"steps", (double)o->steps, 0, 1e15},
        {"batch", o->batch, 1, 1 << 20},
        {"micro-batch", o->micro_batch, 0, 1 << 20},
        {"max-length", o->max_length, 0, 1 << 24},
        {"lr", o->lr, 0, 1e6},
        {"lr-ratio", o->lr_ratio, 0, 1e9},
        {"min-lr", o->min_lr, 0, 1e6},
        {"warmup", o->warmup, 0, 1e15},
        {"weight-decay", o->weight_decay, 0, 1e6},
        {"beta1", o->beta1, 0, 0.9999999999},
        {"beta2", o->beta2, 0, 0.9999999999},
        {"eps", o->eps, 1e-37, 1},
        {"clip", o->clip, 0, huge},
        {"keep", o->keep, 1, 1 << 20},
        {"save-every", (double)o->save_every, 0, 1e15},
        {"eval-every", (double)o->eval_every, 0, 1e15},
        {"early-stop", o->early_stop, 0, 1 << 30},
        {"strength-every", o->strength_every, 0, 1 << 30},
        {"memory", (double)o->memory, 0, 1e18},
        {"method", o->method, AR_METHOD_LORA, AR_METHOD_FULL},
        {"policy", o->policy, AR_POLICY_STANDARD, AR_POLICY_RSLORA},
        {"bias", o->bias, AR_BIAS_NONE, AR_BIAS_LORA_ONLY},
        {"schedule", o->schedule, AR_SCHEDULE_COSINE, AR_SCHEDULE_CONSTANT},
        {"optimizer", o->optimizer, AR_OPTIMIZER_ADAMW, AR_OPTIMIZER_SGD},
        {"checkpoint-layers", o->checkpoint_layers, AR_SWITCH_AUTO, AR_SWITCH_OFF},
    };
    if (o->max_length == 1) return ar__fail(err, AR_ERR_USAGE, "max-length: found 1, wanted at least 2");
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (!(all[i].value >= all[i].least && all[i].value <= all[i].most))
            return ar__fail(err, AR_ERR_USAGE, "%s: found %g, wanted %g to %g", all[i].name, all[i].value, all[i].least, all[i].most);
    return AR_OK;
}

/* A list is given with its count, which says that it is there. */
static ar_status check_lists(const ar_train_options *o, ar_error *err) {
    const struct {
        const char *name;
        const void *list;
        bool wanted;
    } all[] = {{"rank_patterns", o->rank_patterns, o->rank_pattern_count > 0},
               {"alpha_patterns", o->alpha_patterns, o->alpha_pattern_count > 0},
               {"more_data", o->more_data, o->more_data_count > 0},
               {"samples", o->samples, o->sample_count > 0},
               {"more_eval_data", o->more_eval_data, o->more_eval_data_count > 0},
               {"eval_samples", o->eval_samples, o->eval_sample_count > 0}};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (all[i].wanted && !all[i].list) return ar__fail(err, AR_ERR_VALUE, "%s: is NULL, its count says that it is there", all[i].name);
    return AR_OK;
}

static ar_status check_preference(const ar_train_options *o, ar_error *err) {
    ar_preference p = o->preference;
    ar_status s = ar__preference_resolve(&p, err);
    if (s || !p.objective || o->train_on != AR_TRAIN_ON_ALL) return s;
    return ar__fail(err, AR_ERR_USAGE, "train-on all: found an objective, which compares completions, not their prompts");
}

ar_status ar__train_options_check(const ar_train_options *o, ar_error *err) {
    ar_status s = check_ranges(o, err);
    if (!s) s = check_lists(o, err);
    if (!s) s = check_preference(o, err);
    if (s) return s;
    if (o->alpha_given && !isfinite(o->alpha)) return ar__fail(err, AR_ERR_USAGE, "alpha: found %g, wanted a finite number", o->alpha);
    if (o->alpha_given && o->alpha <= 0.0)
        return ar__fail(err, AR_ERR_USAGE,
                        "alpha: found %g, wanted more than 0: at 0 the adapter is off, below it training would push away", o->alpha);
    if (o->policy == AR_POLICY_RSLORA && !o->alpha_given && !o->init_adapter)
        return ar__fail(err, AR_ERR_USAGE,
                        "policy rslora: alpha is not given; under s = alpha/sqrt(rank) the usual 2*rank would be far too strong");
    if (o->init_random && o->method != AR_METHOD_FULL)
        return ar__fail(err, AR_ERR_USAGE,
                        "init random: wanted together with --method full; an adapter on random weights learns nothing of use");
    if (o->init_random && !o->model_config) return ar__fail(err, AR_ERR_USAGE, "init random: --model-config is not given");
    if (!o->init_random && !o->model) return ar__fail(err, AR_ERR_USAGE, "model: not given");
    bool lora = o->init_adapter || o->dora || o->modules_to_save || o->rank_given || o->alpha_given || o->policy_given || o->targets ||
                o->exclude || o->layers || o->rank_pattern_count || o->alpha_pattern_count || o->dropout > 0.0 || o->bias != AR_BIAS_NONE ||
                o->lr_ratio != 1.0;
    if (o->method == AR_METHOD_FULL && lora)
        return ar__fail(err, AR_ERR_USAGE, "method full: trains every weight and takes no adapter options");
    if (o->early_stop && !ar__has_eval_data(o)) return ar__fail(err, AR_ERR_USAGE, "early-stop: --eval-data is not given");
    if (o->eval_every && !ar__has_eval_data(o)) return ar__fail(err, AR_ERR_USAGE, "eval-every: --eval-data is not given");
    if (o->min_lr > o->lr) return ar__fail(err, AR_ERR_USAGE, "min-lr: found %g, wanted at most the rate itself, %g", o->min_lr, o->lr);
    return AR_OK;
}

static ar_status set_names(ar_names *out, const char *option, const char *text, ar_error *err) {
    return text ? ar__names_parse(out, option, text, err) : AR_OK;
}

/* Names alone, where PEFT has no pattern. */
static ar_status set_saved(ar_strings *out, const char *text, ar_error *err) {
    return text ? ar__strings_parse(out, "modules-to-save", text, err) : AR_OK;
}

/* "0-11,13" to a list of layers. */
static ar_status set_layers(ar_adapter_settings *s, const char *text, ar_error *err) {
    size_t cap = 0;
    for (const char *p = text; p;) {
        char *end;
        long long first = strtoll(p, &end, 10), last = first;
        bool ok = end != p && first >= 0;
        end += strspn(end, " ");
        if (ok && *end == '-') {
            p = end + 1;
            last = strtoll(p, &end, 10);
            ok = end != p && last >= first;
            end += strspn(end, " ");
        }
        if (!ok || (*end && *end != ',') || last > 100000)
            return ar__fail(err, AR_ERR_USAGE, "layers: found '%s', wanted something like 0-11 or 0,3,5-7", text);
        for (long long l = first; l <= last; l++) {
            int64_t *list = ar__grow(s->layers, &cap, s->layer_count + 1, sizeof *list);
            if (!list) return ar__fail_memory(err, "layers");
            s->layers = list;
            list[s->layer_count++] = l;
        }
        p = *end ? end + 1 : NULL;
    }
    return AR_OK;
}

/* "RE=N": the value follows the last '='. */
static ar_status add_pattern(ar_patterns *out, const char *text, const char *option, ar_error *err) {
    const char *eq = strrchr(text, '=');
    char *end = NULL;
    double value = eq ? strtod(eq + 1, &end) : 0.0;
    size_t n = eq ? (size_t)(eq - text) : 0;
    const char *begin = ar__trimmed(&n, text);
    if (!n || end == eq + 1 || end[strspn(end, " ")] || !isfinite(value))
        return ar__fail(err, AR_ERR_USAGE, "%s: found '%s', wanted REGEX=NUMBER", option, text);
    char *key = ar__strndup(begin, n);
    bool ok = key && ar__patterns_add(out, key, value);
    free(key);
    return ok ? AR_OK : ar__fail_memory(err, option);
}

ar_status ar__train_adapter_settings(ar_adapter_settings *out, const ar_train_options *o, ar_error *err) {
    ar__settings_init(out);
    out->rank = o->rank;
    out->alpha = o->alpha_given ? o->alpha : 2.0 * o->rank;
    out->policy = o->policy;
    out->dora = o->dora;
    out->dropout = o->dropout;
    out->bias = o->bias;
    out->base = ar__base_reference(o->model);
    out->task_type = ar__strdup("CAUSAL_LM");
    ar_status s = out->base && out->task_type ? AR_OK : ar__fail_memory(err, "settings");
    if (!s) s = set_names(&out->targets, "targets", o->targets ? o->targets : "all-linear", err);
    if (!s) s = set_names(&out->exclude, "exclude", o->exclude, err);
    if (!s) s = set_saved(&out->save, o->modules_to_save, err);
    if (!s) s = set_layers(out, o->layers, err);
    for (int i = 0; !s && i < o->rank_pattern_count; i++) s = add_pattern(&out->rank_pattern, o->rank_patterns[i], "rank-pattern", err);
    for (int i = 0; !s && i < o->alpha_pattern_count; i++) s = add_pattern(&out->alpha_pattern, o->alpha_patterns[i], "alpha-pattern", err);
    if (s) ar__settings_release(out);
    return s;
}

static const char *const schedules[] = {"cosine", "linear", "constant"}, *const optimizers[] = {"adamw", "sgd"},
                         *const methods[] = {"lora", "full"}, *const biases[] = {"none", "all", "lora_only"},
                         *const switches[] = {"auto", "on", "off"};

static json_t *text_or_null(const char *s) { return s ? json_string(s) : json_null(); }

/* The place of an input wherever a later command runs; a name that leads nowhere stays as it is. */
static json_t *path_or_null(const char *path) {
    char *whole = path ? realpath(path, NULL) : NULL;
    json_t *j = text_or_null(whole ? whole : path);
    free(whole);
    return j;
}

static json_t *list_of(const char *const *items, int count) {
    json_t *a = json_array();
    for (int i = 0; i < count; i++) json_array_append_new(a, json_string(items[i]));
    return a;
}

/* A data file, whose path may end in the share that is taken of it. */
static json_t *data_path(const char *path) {
    double share;
    char *file = ar__share_split(&share, path), *whole = file ? realpath(file, NULL) : NULL;
    json_t *j = whole ? json_sprintf("%s%s", whole, path + strlen(file)) : json_string(path);
    free(whole);
    free(file);
    return j;
}

/* One file is a string, several are a list. */
static json_t *files_of(const char *first, const char *const *more, int count) {
    if (!count) return first ? data_path(first) : json_null();
    json_t *a = json_array();
    if (first) json_array_append_new(a, data_path(first));
    for (int i = 0; i < count; i++) json_array_append_new(a, data_path(more[i]));
    return a;
}

static const char *const train_on[] = {"completion", "last", "all"};

/* null, where an objective does not ask for it. */
static void set_preference(json_t *j, const ar_preference *p) {
    ar_objective o = p->objective;
    json_object_set_new(j, "objective", text_or_null(ar__objective_name(o)));
    json_object_set_new(j, "beta", o ? json_real(p->beta) : json_null());
    json_object_set_new(j, "gamma", o == AR_OBJECTIVE_SIMPO ? json_real(p->gamma) : json_null());
    json_object_set_new(j, "label-smoothing", o && o != AR_OBJECTIVE_ORPO ? json_real(p->label_smoothing) : json_null());
}

json_t *ar__train_settings_json(const ar_train_options *o, int64_t steps, const uint64_t *data_hash) {
    char hash[32];
    if (data_hash) snprintf(hash, sizeof hash, "%016llx", (unsigned long long)*data_hash);
    json_t *j =
        json_pack("{s:s, s:o, s:o, s:o, s:s, s:s, s:o, s:i, s:f, s:s, s:b, s:o, s:o, s:o, s:o, s:o, s:f, s:o, s:s}", "method",
                  methods[o->method], "model", path_or_null(o->model), "data", files_of(o->data, o->more_data, o->more_data_count),
                  "data-hash", text_or_null(data_hash ? hash : NULL), "init", o->init_random ? "random" : "base", "train-on",
                  train_on[o->train_on], "model-config", path_or_null(o->model_config), "rank", o->rank, "alpha", o->alpha, "policy",
                  ar_policy_name(o->policy), "dora", o->dora, "targets", text_or_null(o->targets), "exclude", text_or_null(o->exclude),
                  "layers", text_or_null(o->layers), "rank-pattern", list_of(o->rank_patterns, o->rank_pattern_count), "alpha-pattern",
                  list_of(o->alpha_patterns, o->alpha_pattern_count), "dropout", o->dropout, "modules-to-save",
                  text_or_null(o->modules_to_save), "bias", biases[o->bias]);
    json_t *k =
        json_pack("{s:f, s:I, s:i, s:i, s:i, s:b, s:b, s:b, s:f, s:f, s:f, s:s, s:f, s:s, s:f, s:f, s:f, s:f, s:f}", "epochs", o->epochs,
                  "steps", (json_int_t)steps, "batch", o->batch, "micro-batch", o->micro_batch, "max-length", o->max_length, "pack",
                  o->pack, "shuffle", o->shuffle, "skip-bad", o->skip_bad, "lr", o->lr, "lr-ratio", o->lr_ratio, "min-lr", o->min_lr,
                  "schedule", schedules[o->schedule], "warmup", o->warmup, "optimizer", optimizers[o->optimizer], "weight-decay",
                  o->weight_decay, "beta1", o->beta1, "beta2", o->beta2, "eps", o->eps, "clip", o->clip);
    json_t *l = json_pack("{s:s, s:I, s:s, s:o, s:o, s:I, s:i, s:I, s:i, s:i, s:I}", "checkpoint-layers", switches[o->checkpoint_layers],
                          "memory", (json_int_t)o->memory, "compute", o->compute == AR_COMPUTE_BF16 ? "bf16" : "f32", "init-adapter",
                          path_or_null(o->init_adapter), "eval-data", files_of(o->eval_data, o->more_eval_data, o->more_eval_data_count),
                          "eval-every", (json_int_t)o->eval_every, "early-stop", o->early_stop, "save-every", (json_int_t)o->save_every,
                          "keep", o->keep, "strength-every", o->strength_every, "seed", (json_int_t)o->seed);
    if (l) set_preference(l, &o->preference);
    if (l) json_object_set_new(l, "map", text_or_null(o->map));
    if (l) json_object_set_new(l, "template", text_or_null(o->chat_template));
    if (l) json_object_set_new(l, "ignore-fields", text_or_null(o->ignore_fields));
    bool ok = j && k && l && !json_object_update(j, k) && !json_object_update(j, l);
    json_decref(k);
    json_decref(l);
    if (!ok) {
        json_decref(j);
        return NULL;
    }
    return j;
}

/* Those that do not touch the course of the run; steps (and with them epochs) and the samples are judged apart. */
static bool may_change(const char *key) {
    static const char *const free_keys[] = {
        "micro-batch", "memory", "checkpoint-layers", "eval-data", "eval-every", "save-every", "keep",    "strength-every",
        "steps",       "epochs", "early-stop",        "model",     "data",       "data-hash",  "skip-bad"};
    for (size_t i = 0; i < sizeof free_keys / sizeof *free_keys; i++)
        if (!strcmp(key, free_keys[i])) return true;
    return false;
}

json_t *ar__train_given_json(const ar_train_options *o) {
    const struct {
        const char *name;
        bool given;
    } all[] = {{"rank", o->rank_given}, {"alpha", o->alpha_given}, {"policy", o->policy_given}, {"steps", o->steps > 0}};
    json_t *list = json_array();
    for (size_t i = 0; list && i < sizeof all / sizeof *all; i++)
        if (all[i].given) json_array_append_new(list, json_string(all[i].name));
    return list;
}

static ar_status differ(const char *place, const char *key, const json_t *before, const json_t *now, ar_error *err) {
    char *a = json_dumps(before, JSON_ENCODE_ANY | JSON_REAL_PRECISION(15)),
         *b = json_dumps(now, JSON_ENCODE_ANY | JSON_REAL_PRECISION(15));
    ar_status s = ar__fail(err, AR_ERR_MISMATCH,
                           "%s: the run was started with %s %s, found %s now; resume with the same, or start anew with another --out",
                           place, key, a ? a : "nothing", b ? b : "nothing");
    free(a);
    free(b);
    return s;
}

/* Under any schedule but the constant one every rate follows from the number of steps. */
static ar_status check_steps(const json_t *before, const json_t *now, const char *place, ar_error *err) {
    json_int_t then = json_integer_value(json_object_get(before, "steps")), wanted = json_integer_value(json_object_get(now, "steps"));
    const char *schedule = json_string_value(json_object_get(now, "schedule"));
    if (wanted == then || (wanted > then && schedule && !strcmp(schedule, "constant"))) return AR_OK;
    return ar__fail(
        err, AR_ERR_MISMATCH,
        "%s: the run was started with steps %lld, found %lld now, and the rates of its %s schedule follow from their number; to "
        "train on from what it learned: --init-adapter with this folder, and another --out",
        place, (long long)then, (long long)wanted, schedule ? schedule : "old");
}

/* The samples are compared last: another setting, such as the length they are cut at, is the better explanation. */
static ar_status check_data(const json_t *before, const json_t *now, const char *place, ar_error *err) {
    const json_t *then = json_object_get(before, "data-hash"), *hash = json_object_get(now, "data-hash");
    if (json_is_null(then) || json_equal(then, hash)) return AR_OK; /* null: killed before its first checkpoint */
    return ar__fail(err, AR_ERR_MISMATCH,
                    "%s: the samples are not those that the run was started with: the data or the tokenizer has changed; resume with the "
                    "same, or start anew with another --out",
                    place);
}

ar_status ar__train_settings_agree(const json_t *before, const json_t *now, const char *place, ar_error *err) {
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)now, key, value) {
        const json_t *old = json_object_get(before, key);
        if (!old && json_is_null(value)) continue; /* an option that there was not yet */
        if (!may_change(key) && !json_equal(old, value)) return differ(place, key, old, value, err);
    }
    ar_status s = check_steps(before, now, place, err);
    return s ? s : check_data(before, now, place, err);
}
