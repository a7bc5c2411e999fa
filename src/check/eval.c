/* Loss at one or many alphas.  Each alpha is an attachment of its own over the same adapter and the same base. */
#include <math.h>
#include <stdlib.h>

#include "base/fail.h"
#include "gen/session.h"
#include "train/batcher.h"

enum { BATCH = 64, TOKENS = 1024 };

void ar_eval_options_init(ar_eval_options *o) { *o = (ar_eval_options){.max_length = 1024, .pack = true}; }

static ar_status check(const ar_session *s, const ar_eval_options *o, ar_error *err) {
    if (o->max_length < 2) return ar__fail(err, AR_ERR_VALUE, "max-length: found %d, wanted at least 2", o->max_length);
    if (o->alphas && o->scales) return ar__fail(err, AR_ERR_VALUE, "alphas and scales: wanted one of them");
    if ((o->alphas || o->scales) && !s->adapter)
        return ar__fail(err, AR_ERR_VALUE, "alpha or scale without an adapter: there is nothing to set");
    if ((o->alphas || o->scales) && s->stacked)
        return ar__fail(err, AR_ERR_UNSUPPORTED,
                        "alpha or scale over several adapters: give one adapter, or set each one's strength as PATH:X");
    for (int i = 0; (o->alphas || o->scales) && i < o->count; i++)
        if (!isfinite(o->alphas ? o->alphas[i] : o->scales[i]))
            return ar__fail(err, AR_ERR_VALUE, "alpha or scale: found a value that is no finite number");
    return AR_OK;
}

static ar_status load(ar_dataset **out, const ar_session *s, const ar_eval_options *o, ar_error *err) {
    const ar_arch *a = &s->model->arch;
    ar_data_stats stats;
    ar_data_options d = {.max_length = o->max_length,
                         .threads = s->rt->threads,
                         .eos_id = a->eos_count ? a->eos[0] : -1,
                         .train_on_all = o->train_on_all,
                         .skip_bad = o->skip_bad,
                         .log = &s->rt->log};
    ar_status st = ar_session_need_tokenizer(s, err);
    if (!st) st = ar__dataset_load(out, o->data, s->tokenizer, &d, &stats, err);
    if (!st && stats.max_id >= a->vocab)
        st = ar__fail(err, AR_ERR_MISMATCH, "%s: the tokenizer gave id %d, the base's vocabulary has %lld", o->data, stats.max_id,
                      (long long)a->vocab);
    return st;
}

/* Under dynamic RoPE a sample past the original maximum has frequencies of its own, so it must be alone. */
static int rows_at_a_time(const ar_session *s, const ar_dataset *data, int max_length) {
    const ar_arch *a = &s->model->arch;
    if (a->rope.kind == AR_ROPE_DYNAMIC && ar__dataset_longest(data) > a->max_positions) return 1;
    int rows = TOKENS / max_length;
    return rows < 1 ? 1 : rows;
}

static void describe(ar_eval_result *r, const ar_adapter *ad) {
    *r = (ar_eval_result){0};
    if (!ad || !ad->pair_count) return;
    r->scale = ad->pair[0].scale;
    r->alpha = ad->pair[0].alpha;
    r->has_alpha = true;
    for (size_t i = 1; i < ad->pair_count; i++)
        r->has_alpha = r->has_alpha && ad->pair[i].alpha == r->alpha && ad->pair[i].scale == r->scale;
}

static ar_status evaluate_at(ar_eval_result *r, ar_session *s, ar_pass *p, ar_batcher *b, ar_error *err) {
    ar_attachment *at = NULL;
    ar_status st = s->adapter ? ar__attach_new(&at, s->model, s->adapter, 1.0, err) : AR_OK;
    if (st) return st;
    size_t tokens, supervised;
    describe(r, s->adapter);
    r->loss = ar__mean_loss(p, b, at ? at->ops : NULL, &tokens, &supervised);
    r->perplexity = exp(r->loss);
    r->tokens = (int64_t)tokens;
    r->supervised = (int64_t)supervised;
    ar__attach_free(at);
    if (isfinite(r->loss)) return AR_OK;
    return ar__session_not_finite(s, "the losses", err);
}

ar_status ar_eval(ar_eval_result *results, ar_session *s, const ar_eval_options *o, ar_error *err) {
    ar_dataset *data = NULL;
    ar_pass *p = NULL;
    ar_batcher b = {0};
    ar_status st = check(s, o, err);
    if (!st) st = load(&data, s, o, err);
    if (!st) {
        int rows = rows_at_a_time(s, data, o->max_length);
        bool pack = o->pack && rows_at_a_time(s, data, 2) > 1;
        size_t longest = (size_t)ar__dataset_longest(data), tokens = ar__batcher_tokens(longest, BATCH, o->max_length, rows, pack);
        st = ar__batcher_init(&b, data, BATCH, tokens, o->max_length, rows, pack, err);
        if (!st) st = ar__session_pass(&p, s, tokens, BATCH, longest, err);
    }
    int count = o->alphas || o->scales ? o->count : 0;
    if (!st && !count) st = evaluate_at(&results[0], s, p, &b, err);
    for (int i = 0; !st && i < count; i++) {
        st = o->alphas ? ar_adapter_set_alpha(s->adapter, o->alphas[i], err) : ar_adapter_set_scale(s->adapter, o->scales[i], err);
        if (!st) st = evaluate_at(&results[i], s, p, &b, err);
        if (!st && o->alphas) results[i].alpha = o->alphas[i];
    }
    ar__pass_free(p);
    ar__batcher_release(&b);
    ar__dataset_free(data);
    return st;
}
