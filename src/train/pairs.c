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

ar_status ar__pairs_open(ar_learner *l, ar_error *err) {
    const ar_course *c = l->course;
    ar_pairs *p = &l->pairs;
    bool reference = ar__has_reference(&l->o.learner.preference);
    p->reference = unknown(reference ? ar__dataset_count(c->data) : 1);
    p->eval_reference = unknown(reference && c->eval_data ? ar__dataset_count(c->eval_data) : 1);
    return p->reference && p->eval_reference ? AR_OK : ar__fail_memory(err, "pairs");
}

void ar__pairs_release(ar_learner *l) {
    free(l->pairs.reference);
    free(l->pairs.eval_reference);
}

/* ---- the reference ---------------------------------------------------------------------------------------------------*/

static void measure(double *nll, const ar_course *c, const ar_batch *b) {
    ar__pass_forward(c->pass, b, NULL);
    ar__pass_loss(c->pass, b, nll, NULL, 0.0f);
}

/* What the reference says of those samples that it was not asked about before; pairs NULL: the base alone. */
static void ask_reference(double *reference, ar_course *c, ar_batcher *batcher, const uint32_t *sample, int count,
                          const ar_pair_op *pairs) {
    ar_part part = {.sample = c->missing, .pairs = pairs};
    for (int i = 0; i < count; i++)
        if (isnan(reference[sample[i]])) c->missing[part.count++] = sample[i];
    if (!part.count) return;
    ar__batcher_begin(batcher, &part, 1);
    for (const ar_batch *b; (b = ar__batcher_next(batcher));) {
        size_t first = batcher->first_sample;
        measure(c->nll, c, b);
        for (size_t i = 0; i < b->rows.samples; i++) reference[c->missing[first + i]] = c->nll[i];
    }
}

/* Whether what the run begins with is changed by its steps, so that the reference has to be asked before them.  The base
 * under the pairs never changes. */
static bool must_ask_first(const ar_learner *l) { return ar__begins_with_pairs(l) || !l->adapter || l->adapter->whole_count; }

static ar_status tell(double *last, const ar_learner *l, size_t done, size_t all, ar_error *err) {
    double now = ar__clock_seconds();
    if (l->o.should_stop && l->o.should_stop(l->o.user))
        return ar__fail(err, AR_ERR_INTERRUPTED, "%s: stopped before the first step", l->o.run.out);
    if (now - *last < TELL_SECONDS) return AR_OK;
    *last = now;
    ar__log_info(&l->course->rt->log, "asking the reference: %zu of %zu pairs", done, all);
    return AR_OK;
}

ar_status ar__pairs_begin(ar_learner *l, ar_error *err) {
    ar_course *c = l->course;
    const ar_pair_op *pairs = ar__begins_with_pairs(l) ? l->eval_ops : NULL;
    if (!c->pairs || !ar__has_reference(&l->o.learner.preference) || !must_ask_first(l)) return AR_OK;
    size_t n = ar__dataset_count(c->data), all = c->eval_data ? ar__dataset_count(c->eval_data) : 0, step = ar__step_samples(&l->o);
    uint64_t steps = (n + step - 1) / step; /* an epoch; fewer, where the run is shorter */
    double last = ar__clock_seconds();
    ar_status s = AR_OK;
    if (l->steps < (int64_t)steps) steps = (uint64_t)l->steps;
    for (uint64_t i = 1; !s && i <= steps; i++) {
        int count = ar__step_get(l->samples, l, i);
        ar__share_cut(c, c->data, l->samples, (size_t)count, false);
        size_t first = ar__share_first(&c->share), own = ar__share_count(&c->share, (size_t)count);
        ask_reference(l->pairs.reference, c, &c->batcher, l->samples + first, (int)own, pairs);
        l->sample_count = count;
        s = ar__pairs_gather(c, l, err);
        if (!s) s = tell(&last, l, (size_t)i * step / 2, (size_t)steps * step / 2, err);
    }
    for (size_t at = 0; !s && at < all; at += step) {
        size_t count = all - at < step ? all - at : step;
        for (size_t i = 0; i < count; i++) l->samples[i] = (uint32_t)(at + i);
        ar__share_cut(c, c->eval_data, l->samples, count, false);
        size_t first = ar__share_first(&c->share), own = ar__share_count(&c->share, count);
        ask_reference(l->pairs.eval_reference, c, &c->eval_batcher, l->samples + first, (int)own, pairs);
        s = ar__share_gather(&c->share, l->pairs.eval_reference + at, err);
        if (s) break;
        s = tell(&last, l, at / 2, all / 2, err);
    }
    return s;
}

void ar__pairs_ask_eval(ar_course *c, ar_learner *const *learners, size_t count, const uint32_t *list, int n) {
    for (size_t i = 0; i < count; i++)
        if (ar__has_reference(&learners[i]->o.learner.preference))
            ask_reference(learners[i]->pairs.eval_reference, c, &c->eval_batcher, list, n, NULL);
}

ar_status ar__pairs_gather(ar_course *c, ar_learner *l, ar_error *err) {
    double *said = c->share.said;
    if (!ar__share_is_on(&c->share) || !ar__has_reference(&l->o.learner.preference)) return AR_OK;
    for (int i = 0; i < l->sample_count; i++) said[i] = l->pairs.reference[l->samples[i]];
    ar_status s = ar__share_gather(&c->share, said, err);
    for (int i = 0; !s && i < l->sample_count; i++) l->pairs.reference[l->samples[i]] = said[i];
    return s;
}

ar_status ar__pairs_gather_eval(ar_course *c, ar_learner *l, ar_error *err) {
    return ar__has_reference(&l->o.learner.preference) ? ar__share_gather(&c->share, l->pairs.eval_reference, err) : AR_OK;
}

/* ---- judging ---------------------------------------------------------------------------------------------------------*/

static ar_said said(const ar_learner *l, const ar_dataset *data, double nll, const double *reference, uint32_t sample) {
    bool asked = ar__has_reference(&l->o.learner.preference);
    return (ar_said){nll, asked ? reference[sample] : 0.0, ar__dataset_at(data, sample).supervised};
}

/* The pair that begins the list. */
static ar_verdict judge(const ar_learner *l, const ar_dataset *data, const double *nll, const double *reference, const uint32_t *sample) {
    ar_said chosen = said(l, data, nll[0], reference, sample[0]), rejected = said(l, data, nll[1], reference, sample[1]);
    return ar__judge(&l->o.learner.preference, &chosen, &rejected);
}

void ar__pairs_judge(ar_judged *sum, const ar_learner *l, const ar_dataset *data, const double *nll, const uint32_t *sample, int count) {
    const double *reference = data == l->course->data ? l->pairs.reference : l->pairs.eval_reference;
    for (int i = 0; i < count; i += 2) {
        ar_verdict v = judge(l, data, nll + i, reference, sample + i);
        ar__judged_add(sum, &v);
    }
}

/* ---- a step ----------------------------------------------------------------------------------------------------------*/

/* Pairs lie at even places of the list. */
bool ar__pairs_are_whole(const ar_batcher *batcher) { return batcher->first_sample % 2 == 0 && batcher->batch.rows.samples % 2 == 0; }

void ar__pairs_measure(ar_course *c, ar_learner *const *learners, size_t count) {
    for (size_t i = 0; i < count; i++)
        if (ar__has_reference(&learners[i]->o.learner.preference))
            ask_reference(learners[i]->pairs.reference, c, &c->batcher, c->parts[i].sample, c->parts[i].count, NULL);
    ar__batcher_begin(&c->batcher, c->parts, count);
    for (const ar_batch *b; (b = ar__batcher_next(&c->batcher));)
        if (!ar__pairs_are_whole(&c->batcher)) measure(c->nll + ar__share_first(&c->share) + c->batcher.first_sample, c, b);
}

void ar__pairs_weigh(float *weight, const ar_learner *l, const double *nll, size_t first, size_t n) {
    for (size_t i = first; i < first + n; i++) {
        size_t k = i - i % 2;
        ar_verdict v = judge(l, l->course->data, nll + k, l->pairs.reference, l->samples + k);
        weight[i] = (float)((i % 2 ? v.rejected : v.chosen) / (0.5 * (double)l->sample_count));
    }
}
