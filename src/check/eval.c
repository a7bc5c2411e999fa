/* Loss at one or many alphas.  Each alpha is an attachment of its own over the same adapter and the same base; one pass over
 * the data serves all. */
#include <math.h>
#include <stdlib.h>

#include "base/fail.h"
#include "base/mem.h"
#include "base/size.h"
#include "check/agreement.h"
#include "check/evaluation.h"
#include "check/losses.h"
#include "train/agree.h"

enum { TOKENS = 1024 };

void ar_eval_options_init(ar_eval_options *o) { *o = (ar_eval_options){.pack = true}; }

static ar_status check(const ar_session *s, const ar_eval_options *o, ar_error *err) {
    if (o->max_length && o->max_length < 2) return ar__fail(err, AR_ERR_VALUE, "max-length: found %d, wanted at least 2", o->max_length);
    if (!o->data.files.count && !o->data.sample_count) return ar__fail(err, AR_ERR_VALUE, "data: not given");
    if ((o->data.sample_count && !o->data.samples) || (o->data.files.count && !o->data.files.items))
        return ar__fail(err, AR_ERR_VALUE, "data: files or samples are NULL, their count says that they are there");
    if (o->preference.objective && o->train_on == AR_TRAIN_ON_ALL)
        return ar__fail(err, AR_ERR_USAGE, "train-on all: found an objective, which compares completions, not their prompts");
    if (o->reference && o->preference.objective != AR_OBJECTIVE_DPO)
        return ar__fail(err, AR_ERR_USAGE, "reference: wanted objective dpo with it, which alone has a reference");
    if (o->alphas && o->scales) return ar__fail(err, AR_ERR_VALUE, "alphas and scales: wanted one of them");
    if ((o->alphas || o->scales) && !s->adapter)
        return ar__fail(err, AR_ERR_VALUE, "alpha or scale without an adapter: there is nothing to set");
    if ((o->alphas || o->scales) && s->stacked)
        return ar__fail(err, AR_ERR_UNSUPPORTED,
                        "alpha or scale over several adapters: give one adapter, or set each one's strength as PATH:X");
    if ((o->alphas || o->scales) && s->factor != 1.0)
        return ar__fail(err, AR_ERR_USAGE, "%s: found it and an adapter with the factor %g, wanted one of them: each sets s",
                        o->alphas ? "alpha" : "scale", s->factor);
    for (int i = 0; (o->alphas || o->scales) && i < o->count; i++)
        if (!isfinite(o->alphas ? o->alphas[i] : o->scales[i]))
            return ar__fail(err, AR_ERR_VALUE, "alpha or scale: found a value that is no finite number");
    return AR_OK;
}

/* As asked; else the adapter's own, so that the same file has the loss that it had there; else train's default. */
static int choose_length(const ar_session *s, const ar_eval_options *o) {
    int64_t positions = s->model->arch.max_positions;
    int own = s->trained.max_length, length = own ? own : ar__length_default(positions);
    if (o->max_length) return o->max_length;
    if (own)
        ar__log_info(&s->rt->log, "max-length %d, as in training", length);
    else if (length < AR_LENGTH)
        ar__log_info(&s->rt->log, "max-length %d: the base was made for no more positions", length);
    return length;
}

static void warn_length(const ar_session *s, const ar_dataset *data) {
    int64_t positions = s->model->arch.max_positions;
    if (ar__dataset_longest(data) > positions)
        ar__log_warn(&s->rt->log, "a sample has %d tokens, the base was made for %lld: its loss says little", ar__dataset_longest(data),
                     (long long)positions);
}

static ar_status load(ar_dataset **out, const ar_session *s, const ar_eval_options *o, ar_error *err) {
    const ar_arch *a = &s->model->arch;
    const ar_trained *t = &s->trained;
    bool as_trained = !o->own_fields && !o->map && !o->ignore_fields && (t->map || t->ignored);
    ar_data_stats stats;
    if (as_trained) ar__log_info(&s->rt->log, "rows are read as in training; --map and --ignore-fields change that");
    ar_data_options d = {.max_length = o->max_length,
                         .seed = 1,
                         .threads = s->rt->threads,
                         .eos_id = a->eos_count ? a->eos[0] : -1,
                         .train_on = o->train_on,
                         .skip_bad = o->skip_bad,
                         .vocab = (int32_t)(a->vocab < INT32_MAX ? a->vocab : INT32_MAX),
                         .log = &s->rt->log,
                         .map = as_trained ? t->map : o->map,
                         .ignore_fields = as_trained ? t->ignored : o->ignore_fields,
                         .rows = o->preference.objective ? AR_ROWS_PAIRS : AR_ROWS_SAMPLES,
                         .chat_for_plain = o->chat_for_pairs || ar__trained_kind(t) == AR_DATA_MESSAGES};
    d.chat = s->chat;
    ar_status st = ar_session_need_tokenizer(s, err);
    if (!st) st = ar__dataset_load(out, &o->data, s->tokenizer, &d, &stats, err);
    if (!st && !ar__arch_holds(a, (size_t)ar__dataset_longest(*out)))
        st = ar__fail(err, AR_ERR_VALUE, "%s: a sample has %d tokens, and the base has embeddings of %lld positions; use --max-length",
                      o->data.files.count ? o->data.files.items[0] : "samples", ar__dataset_longest(*out), (long long)a->max_positions);
    return st;
}

/* `lists` times the data, in passes of about TOKENS.  Under dynamic RoPE a sample past the original maximum has frequencies of its
 * own, so it must be alone. */
static ar_status init_batcher(ar_batcher *b, const ar_session *s, const ar_dataset *data, const ar_eval_options *o, size_t lists,
                              ar_error *err) {
    const ar_arch *a = &s->model->arch;
    int longest = ar__dataset_longest(data), room = lists > 1 ? 2 * TOKENS : TOKENS;
    bool alone = ar__rope_is_dynamic(a) && longest > a->max_positions, pack = o->pack && !alone;
    int row = o->max_length < room ? o->max_length : room;
    if (!pack || row < longest) row = longest;
    int rows = alone || row >= room ? 1 : room / row;
    size_t all = ar__dataset_count(data), samples = lists * (all < AR_LOSSES_BATCH ? all : AR_LOSSES_BATCH),
           tokens = ar__batcher_tokens((size_t)longest, samples, row, rows, pack);
    return ar__batcher_init(b, data, samples, tokens, row, rows, pack, err);
}

static void describe(ar_eval_result *r, const ar_adapter *ad) {
    *r = (ar_eval_result){0};
    if (!ad || !ad->pair_count) return;
    r->scale = r->scale_most = ad->pair[0].scale;
    r->alpha = ad->pair[0].alpha;
    r->has_alpha = true;
    for (size_t i = 1; i < ad->pair_count; i++) {
        r->has_alpha = r->has_alpha && ad->pair[i].alpha == r->alpha && ad->pair[i].scale == ad->pair[0].scale;
        r->scale = fmin(r->scale, ad->pair[i].scale);
        r->scale_most = fmax(r->scale_most, ad->pair[i].scale);
    }
}

/* One attachment for each value, described as it is made. */
static ar_status attach_all(ar_attachment **at, const ar_pair_op **pairs, ar_eval_result *r, ar_session *s, const ar_strength_list *list,
                            size_t count, ar_error *err) {
    ar_status st = AR_OK;
    for (size_t i = 0; !st && i < count; i++) {
        if (list->values) st = ar__session_adapt(s, list->alpha, list->values[i], err);
        if (!st && s->adapter) st = ar__attach_new(&at[i], s->model, s->adapter, 1.0, err);
        if (st) break;
        pairs[i] = at[i] ? at[i]->ops : NULL;
        describe(&r[i], s->adapter);
        if (list->values && list->alpha) { /* what was asked for names the row, also where patterns give single sites others */
            r[i].alpha = list->values[i];
            r[i].has_alpha = true;
        }
    }
    return st;
}

/* What the reference says, in a session of its own: an adapter, or the base without the session's whole tensors. */
static ar_status ask_reference(double *nll, const ar_session *s, ar_batcher *b, const ar_eval_options *o, ar_error *err) {
    ar_session *other;
    ar_session_options so = {
        .model = s->model->path, .adapters = &o->reference, .adapter_count = o->reference != NULL, .quantize = s->model->quantised};
    ar_status st = ar_session_open(&other, s->rt, &so, err);
    if (st) return st;
    const ar_pair_op *pairs = other->attachment ? other->attachment->ops : NULL;
    st = ar__session_agree(other, "the reference, by its fingerprint", o->ranks, err);
    if (!st) st = ar__losses(nll, other, b, &pairs, 1, o->ranks, err);
    ar_session_free(other);
    return st;
}

static void count_tokens(ar_eval_result *r, const ar_dataset *data) {
    for (size_t i = 0; i < ar__dataset_count(data); i++) {
        ar_sample s = ar__dataset_at(data, i);
        r->tokens += s.count;
        r->supervised += s.supervised;
    }
}

static void sum_up(ar_eval_result *r, const double *nll, size_t n) {
    double sum = 0.0;
    for (size_t i = 0; i < n; i++) sum += nll[i];
    r->loss = sum / (double)r->supervised;
    r->perplexity = exp(r->loss);
}

static void judge(ar_eval_result *r, const double *nll, const double *reference, const ar_dataset *data, const ar_preference *p) {
    ar_judged sum = {0};
    for (size_t i = 0; i < ar__dataset_count(data); i += 2) {
        ar_said c = {nll[i], reference ? reference[i] : 0.0, ar__dataset_at(data, i).supervised};
        ar_said j = {nll[i + 1], reference ? reference[i + 1] : 0.0, ar__dataset_at(data, i + 1).supervised};
        ar_verdict v = ar__judge(p, &c, &j);
        ar__judged_add(&sum, &v);
    }
    ar_judged mean = ar__judged_mean(&sum);
    r->loss = mean.loss;
    r->perplexity = NAN;
    r->margin = mean.margin;
    r->accuracy = mean.accuracy;
    r->pairs = (int64_t)mean.pairs;
}

/* The adapter's values, and behind them the reference where that is the base under the pairs. */
static ar_status measure(ar_eval_result *r, double *nll, ar_session *s, ar_batcher *b, const ar_eval_options *o,
                         const ar_pair_op *const *pairs, size_t count, ar_error *err) {
    size_t n = ar__dataset_count(b->data);
    bool asked = ar__has_reference(&o->preference), apart = asked && (o->reference || (s->adapter && s->adapter->whole_count));
    ar_status st = ar__losses(nll, s, b, pairs, count + (asked && !apart), o->ranks, err);
    if (!st && apart) st = ask_reference(nll + count * n, s, b, o, err);
    for (size_t i = 0; !st && i < count; i++) {
        count_tokens(&r[i], b->data);
        if (o->preference.objective)
            judge(&r[i], nll + i * n, asked ? nll + count * n : NULL, b->data, &o->preference);
        else
            sum_up(&r[i], nll + i * n, n);
        if (!isfinite(r[i].loss)) st = ar__session_not_finite(s, "the losses", err);
    }
    return st;
}

ar_status ar__evaluation_run(ar_evaluation *e, ar_eval_result *r, const ar_strength_list *list, ar_error *err) {
    size_t count = list->values ? list->count : 1, size;
    ar_attachment **at = ar__alloc(count, sizeof(ar_attachment *));
    const ar_pair_op **pairs = ar__alloc(count + 1, sizeof(const ar_pair_op *));
    double *nll = ar__mul(&size, count + 1, ar__dataset_count(e->data)) ? ar__alloc(size, sizeof *nll) : NULL;
    ar_status st = at && pairs && nll ? attach_all(at, pairs, r, e->session, list, count, err) : ar__fail_memory(err, "adapter");
    if (!st) st = measure(r, nll, e->session, &e->batcher, &e->o, pairs, count, err);
    for (size_t i = 0; at && i < count; i++) ar__attach_free(at[i]);
    free(at);
    free(pairs);
    free(nll);
    return st;
}

ar_status ar__evaluation_open(ar_evaluation *e, ar_session *s, const ar_eval_options *o, const char *name, size_t lists, ar_error *err) {
    *e = (ar_evaluation){.session = s, .o = *o};
    ar_status st = check(s, o, err);
    if (!st) st = ar__preference_resolve(&e->o.preference, err);
    if (!st) e->o.max_length = choose_length(s, o);
    if (!st) st = load(&e->data, s, &e->o, err);
    if (!st) st = ar__evaluation_agree(e, name, err);
    if (st) return st;
    warn_length(s, e->data);
    return init_batcher(&e->batcher, s, e->data, &e->o, lists + ar__has_reference(&e->o.preference), err);
}

void ar__evaluation_close(ar_evaluation *e) {
    ar__batcher_release(&e->batcher);
    ar__dataset_free(e->data);
    *e = (ar_evaluation){0};
}

ar_strength_list ar__strength_list(const ar_eval_options *o) {
    return (ar_strength_list){.alpha = o->alphas != NULL, .values = o->alphas ? o->alphas : o->scales, .count = (size_t)o->count};
}

ar_status ar_eval(ar_eval_result *results, ar_session *s, const ar_eval_options *o, ar_error *err) {
    ar_evaluation e;
    ar_strength_list list = ar__strength_list(o);
    AR_ONE_CALL(s->rt, err);
    ar_status st = ar__evaluation_open(&e, s, o, "data", list.values ? list.count : 1, err);
    if (!st && ar__is_shared(o->ranks)) ar__agree_tell(o->ranks, s->rt, "");
    if (!st) st = ar__evaluation_run(&e, results, &list, err);
    ar__evaluation_close(&e);
    return st;
}
