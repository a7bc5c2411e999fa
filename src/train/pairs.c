/* A step over pairs.  The slopes of an objective need both samples' losses first, and backward needs the slopes:
 *
 *     micro-batch   | c0 r0 c1 r1 |    forward, losses, slopes, losses with gradients, backward
 *                   | c2 r2 c3 | r3 |  a pair is apart: its losses from a round of forwards before that
 *
 * A sample's loss does not depend on what it is batched with, so both ways give the same bits. */
#include "train/pairs.h"

#include <math.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/fail.h"

enum { TELL_SECONDS = 10 };

/* ---- memory ----------------------------------------------------------------------------------------------------------*/

static double *unknown(size_t n) {
    double *list = ar__alloc(n, sizeof *list);
    for (size_t i = 0; list && i < n; i++) list[i] = NAN;
    return list;
}

ar_status ar__pairs_open(ar_trainer *t, ar_error *err) {
    ar_pairs *p = &t->pairs;
    size_t step = ar__step_samples(t);
    bool reference = ar__has_reference(&t->o.learner.preference);
    p->weight = ar__alloc(step, sizeof *p->weight);
    p->missing = ar__alloc(step, sizeof *p->missing);
    p->reference = unknown(reference ? ar__dataset_count(t->data) : 1);
    p->eval_reference = unknown(reference && t->eval_data ? ar__dataset_count(t->eval_data) : 1);
    return p->weight && p->missing && p->reference && p->eval_reference ? AR_OK : ar__fail_memory(err, "pairs");
}

void ar__pairs_release(ar_trainer *t) {
    free(t->pairs.weight);
    free(t->pairs.missing);
    free(t->pairs.reference);
    free(t->pairs.eval_reference);
}

/* ---- the reference ---------------------------------------------------------------------------------------------------*/

static void measure(double *nll, ar_trainer *t, const ar_batch *b) {
    ar__pass_forward(t->pass, b, NULL);
    ar__pass_loss(t->pass, b, nll, NULL, 0.0f);
}

/* What the reference says of those samples that it was not asked about before; pairs NULL: the base alone. */
static void ask_reference(double *reference, ar_trainer *t, ar_batcher *batcher, const uint32_t *sample, int count,
                          const ar_pair_op *pairs) {
    uint32_t *missing = t->pairs.missing;
    int n = 0;
    for (int i = 0; i < count; i++)
        if (isnan(reference[sample[i]])) missing[n++] = sample[i];
    if (!n) return;
    ar__batcher_begin(batcher, missing, n, 0, NULL);
    for (const ar_batch *b; (b = ar__batcher_next(batcher, pairs));) {
        measure(t->sample_nll, t, b);
        for (size_t i = 0; i < b->rows.samples; i++) reference[missing[batcher->first_sample + (int)i]] = t->sample_nll[i];
    }
}

/* Samples [at, at + the length of a step) of the data, as far as it goes. */
static int next_in_order(uint32_t *list, const ar_trainer *t, const ar_dataset *data, size_t at) {
    size_t left = ar__dataset_count(data) - at, n = ar__step_samples(t) < left ? ar__step_samples(t) : left;
    for (size_t i = 0; i < n; i++) list[i] = (uint32_t)(at + i);
    return (int)n;
}

/* Whether what the run begins with is changed by its steps, so that the reference has to be asked before them.  The base
 * under the pairs never changes. */
static bool must_ask_first(const ar_trainer *t) { return t->o.course.init_adapter || !t->adapter || t->adapter->whole_count; }

static ar_status tell(double *last, const ar_trainer *t, size_t done, size_t all, ar_error *err) {
    double now = ar__clock_seconds();
    if (t->o.should_stop && t->o.should_stop(t->o.user))
        return ar__fail(err, AR_ERR_INTERRUPTED, "%s: stopped before the first step", t->o.run.out);
    if (now - *last < TELL_SECONDS) return AR_OK;
    *last = now;
    ar__log_info(&t->rt->log, "asking the reference: %zu of %zu pairs", done, all);
    return AR_OK;
}

ar_status ar__pairs_begin(ar_trainer *t, ar_error *err) {
    const ar_pair_op *pairs = t->o.course.init_adapter ? t->eval_ops : NULL;
    size_t n = ar__dataset_count(t->data), all = t->eval_data ? ar__dataset_count(t->eval_data) : 0, step = ar__step_samples(t);
    uint64_t steps = (n + step - 1) / step; /* an epoch; fewer, where the run is shorter */
    double last = ar__clock_seconds();
    ar_status s = AR_OK;
    if (!ar__has_reference(&t->o.learner.preference) || !must_ask_first(t)) return AR_OK;
    if (t->steps < (int64_t)steps) steps = (uint64_t)t->steps;
    for (uint64_t i = 1; !s && i <= steps; i++) {
        int count = ar__step_get(t->samples, t, i);
        ask_reference(t->pairs.reference, t, &t->batcher, t->samples, count, pairs);
        s = tell(&last, t, (size_t)i * step / 2, (size_t)steps * step / 2, err);
    }
    for (size_t at = 0; !s && at < all; at += step) {
        int count = next_in_order(t->samples, t, t->eval_data, at);
        ask_reference(t->pairs.eval_reference, t, &t->eval_batcher, t->samples, count, pairs);
        s = tell(&last, t, at / 2, all / 2, err);
    }
    return s;
}

/* ---- judging ---------------------------------------------------------------------------------------------------------*/

static ar_said said(const ar_trainer *t, const ar_dataset *data, const double *reference, const uint32_t *sample, size_t i) {
    bool asked = ar__has_reference(&t->o.learner.preference);
    return (ar_said){t->sample_nll[i], asked ? reference[sample[i]] : 0.0, ar__dataset_at(data, sample[i]).supervised};
}

/* The pair whose chosen sample is the i-th of the list. */
static ar_verdict judge(const ar_trainer *t, const ar_dataset *data, const double *reference, const uint32_t *sample, size_t i) {
    ar_said c = said(t, data, reference, sample, i), r = said(t, data, reference, sample, i + 1);
    return ar__judge(&t->o.learner.preference, &c, &r);
}

static void judge_all(ar_judged *sum, const ar_trainer *t, const ar_dataset *data, const double *reference, int count) {
    for (size_t i = 0; i < (size_t)count; i += 2) {
        ar_verdict v = judge(t, data, reference, t->samples, i);
        ar__judged_add(sum, &v);
    }
}

/* ---- a step ----------------------------------------------------------------------------------------------------------*/

static bool holds_whole_pairs(const ar_batcher *batcher) { return batcher->first_sample % 2 == 0 && batcher->batch.rows.samples % 2 == 0; }

/* The slopes of the mean over the step's pairs, for the samples of a micro-batch. */
static void set_weights(ar_trainer *t, size_t first, size_t count, size_t pairs) {
    for (size_t i = first; i < first + count; i++) {
        ar_verdict v = judge(t, t->data, t->pairs.reference, t->samples, i - i % 2);
        t->pairs.weight[i] = (float)((i % 2 ? v.rejected : v.chosen) / (double)pairs);
    }
}

static void measure_parted(ar_trainer *t, const ar_pair_op *ops) {
    for (const ar_batch *b; (b = ar__batcher_next(&t->batcher, ops));)
        if (!holds_whole_pairs(&t->batcher)) measure(t->sample_nll + t->batcher.first_sample, t, b);
}

void ar__pairs_gradients(ar_trainer *t, int count, uint64_t first_key) {
    const ar_pair_op *ops = t->attachment ? t->attachment->ops : NULL;
    if (ar__has_reference(&t->o.learner.preference)) ask_reference(t->pairs.reference, t, &t->batcher, t->samples, count, NULL);
    ar__batcher_begin(&t->batcher, t->samples, count, first_key, NULL);
    measure_parted(t, ops);
    t->step_supervised = ar__batcher_begin(&t->batcher, t->samples, count, first_key, &t->step_tokens);
    for (const ar_batch *b; (b = ar__batcher_next(&t->batcher, ops));) {
        size_t first = (size_t)t->batcher.first_sample;
        double *nll = t->sample_nll + first;
        ar__pass_forward(t->pass, b, NULL);
        if (holds_whole_pairs(&t->batcher)) ar__pass_loss(t->pass, b, nll, NULL, 0.0f);
        set_weights(t, first, b->rows.samples, (size_t)count / 2);
        t->batcher.batch.weight = t->pairs.weight + first;
        ar__pass_loss(t->pass, b, nll, NULL, 1.0f);
        ar__pass_backward(t->pass, b);
    }
    ar_judged sum = {0};
    judge_all(&sum, t, t->data, t->pairs.reference, count);
    t->judged = ar__judged_mean(&sum);
    t->loss = t->judged.loss;
}

ar_judged ar__pairs_evaluate(ar_trainer *t) {
    size_t all = ar__dataset_count(t->eval_data);
    ar_judged sum = {0};
    for (size_t at = 0; at < all; at += ar__step_samples(t)) {
        int count = next_in_order(t->samples, t, t->eval_data, at);
        if (ar__has_reference(&t->o.learner.preference))
            ask_reference(t->pairs.eval_reference, t, &t->eval_batcher, t->samples, count, NULL);
        ar__batcher_begin(&t->eval_batcher, t->samples, count, 0, NULL);
        for (const ar_batch *b; (b = ar__batcher_next(&t->eval_batcher, t->eval_ops));)
            measure(t->sample_nll + t->eval_batcher.first_sample, t, b);
        judge_all(&sum, t, t->eval_data, t->pairs.eval_reference, count);
    }
    return ar__judged_mean(&sum);
}
