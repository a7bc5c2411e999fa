/* One step: gradients over the micro-batches, clip, update. */
#include <math.h>

#include "base/fail.h"
#include "base/size.h"
#include "train/learner.h"
#include "train/pairs.h"
#include "train/schedule.h"

static bool has_finite_gradient(const ar_runtime *rt, const ar_trainable *x) {
    float part[1024];
    for (size_t at = 0; at < x->count; at += sizeof part / sizeof *part) {
        size_t n = ar__min(x->count - at, sizeof part / sizeof *part);
        rt->ops->memory->read(rt, part, x->grad + at, n * sizeof *part);
        for (size_t j = 0; j < n; j++)
            if (!isfinite(part[j])) return false;
    }
    return true;
}

/* Names what is to blame for a loss or gradient that is no number. */
static ar_status not_finite(const ar_learner *l, int64_t step, const char *what, double value, ar_error *err) {
    ar__trainables_get(&l->list);
    const char *tensor = ar__model_find_nonfinite(l->course->model);
    if (tensor)
        return ar__fail(err, AR_ERR_NUMERIC, "step %lld: %s is %g because base tensor '%s' holds NaN or infinity; the file is damaged",
                        (long long)step, what, value, tensor);
    for (size_t i = 0; i < l->list.count; i++)
        if (!has_finite_gradient(l->course->rt, &l->list.at[i]))
            return ar__fail(err, AR_ERR_NUMERIC,
                            "step %lld: %s is %g, the first gradient that is no number is that of '%s'; use a smaller --lr or --alpha",
                            (long long)step, what, value, l->list.at[i].name);
    return ar__fail(err, AR_ERR_NUMERIC, "step %lld: %s is %g; use a smaller --lr or --alpha", (long long)step, what, value);
}

int ar__step_get(uint32_t *out, ar_learner *l, uint64_t step) {
    int count = ar__stream_get(out, &l->stream, step);
    if (!ar__has_objective(&l->o)) return count;
    for (int i = count; i-- > 0;) { /* from the end: in place */
        out[2 * i + 1] = 2 * out[i] + 1;
        out[2 * i] = 2 * out[i];
    }
    return 2 * count;
}

/* ---- gradients -------------------------------------------------------------------------------------------------------*/

static ar_status take_samples(ar_course *c, ar_learner *const *learners, size_t count, ar_error *err) {
    ar_status s = AR_OK;
    for (size_t i = 0; !s && i < count; i++) {
        ar_learner *l = learners[i];
        uint64_t before = (uint64_t)l->step * (uint64_t)ar__step_samples(&l->o);
        l->sample_count = ar__step_get(l->samples, l, (uint64_t)l->step + 1);
        s = ar__dataset_need(c->data, l->samples, l->sample_count, err);
        if (s) break;
        ar__share_cut(c, c->data, l->samples, (size_t)l->sample_count, true);
        size_t first = ar__share_first(&c->share), own = ar__share_count(&c->share, (size_t)l->sample_count);
        c->parts[i] = (ar_part){.sample = l->samples + first,
                                .count = (int)own,
                                .first_key = before + first,
                                .pairs = l->attachment ? l->attachment->ops : NULL};
    }
    return s;
}

/* What the batcher counts of a part is this rank's run; the step is all of it. */
static void count_all(ar_course *c, const ar_learner *l, ar_part *part) {
    if (!ar__share_is_on(&c->share)) return;
    part->tokens = part->supervised = 0;
    for (int i = 0; i < l->sample_count; i++) {
        ar_sample s = ar__dataset_at(c->data, l->samples[i]);
        part->tokens += (size_t)s.count;
        part->supervised += (size_t)s.supervised;
    }
}

/* The slope of the step's loss by each sample's, for n samples of a part, the first of which is its i-th: of the mean over the
 * supervised tokens, or of the objective. */
static void weigh(ar_course *c, const ar_learner *l, const ar_part *part, size_t i, size_t n) {
    if (c->pairs)
        ar__pairs_weigh(c->weight + part->first, l, c->nll + part->first, i, n);
    else
        for (size_t end = i + n; i < end; i++) c->weight[part->first + i] = (float)(1.0 / (double)part->supervised);
}

/* Routers' load-balancing loss: of a step the mean over its samples, times what the learner gives for it. */
static void weigh_balance(ar_course *c, ar_learner *const *learners, size_t count) {
    for (size_t i = 0; c->balance && i < count; i++) {
        const ar_part *part = &c->parts[i];
        for (size_t k = part->first; k < part->first + (size_t)part->count; k++)
            c->balance[k] = (float)(learners[i]->o.learner.router_aux_loss / (double)learners[i]->sample_count);
    }
}

static ar_status learn(ar_course *c, ar_learner *const *learners, size_t count, ar_error *err) {
    ar_status st = AR_OK;
    if (c->pairs) ar__pairs_measure(c, learners, count);
    ar__batcher_begin(&c->batcher, c->parts, count);
    for (size_t i = 0; i < count; i++) count_all(c, learners[i], &c->parts[i]);
    weigh_balance(c, learners, count);
    for (const ar_batch *b; !st && (b = ar__batcher_next(&c->batcher));) {
        size_t first = ar__share_first(&c->share) + c->batcher.first_sample; /* in the whole list */
        ar__share_place(c);
        if (c->balance) c->batcher.batch.balance = c->balance + c->batcher.first_sample;
        ar__pass_forward(c->pass, b, NULL);
        if (c->balance) ar__pass_balance(c->pass, b, c->uneven + first);
        if (c->pairs && ar__pairs_are_whole(&c->batcher)) ar__pass_loss(c->pass, b, c->nll + first, NULL, 0.0f);
        for (size_t s = 0; s < b->rows.segment_count; s++) {
            const ar_segment *seg = &b->rows.segments[s];
            const ar_part *part = &c->parts[c->batcher.segment_part[s]];
            weigh(c, learners[part - c->parts], part, first + seg->first - part->first, seg->last - seg->first);
        }
        c->batcher.batch.weight = c->weight + first;
        ar__pass_loss(c->pass, b, c->nll + first, NULL, 1.0f);
        if (c->batcher.next == c->batcher.count) st = ar__share_begin(c, err);
        if (!st) ar__pass_backward(c->pass, b);
    }
    if (!st) st = ar__share_end(c, err);
    if (!st) st = ar__share_slopes(learners[0], err);
    if (!st && c->pairs) st = ar__pairs_gather(c, learners[0], err);
    if (!st && c->balance) st = ar__share_gather(&c->share, c->uneven, err);
    return st ? st : ar__share_gather(&c->share, c->nll, err);
}

static void take_loss(ar_learner *l, const ar_course *c, const ar_part *part) {
    double sum = 0.0, uneven = 0.0;
    for (int i = 0; c->balance && i < l->sample_count; i++) uneven += c->uneven[part->first + (size_t)i];
    l->uneven = uneven / l->sample_count;
    l->step_tokens = part->tokens;
    l->step_supervised = part->supervised;
    if (c->pairs) {
        ar_judged verdicts = {0};
        ar__pairs_judge(&verdicts, l, c->data, c->nll + part->first, l->samples, l->sample_count);
        l->judged = ar__judged_mean(&verdicts);
        l->loss = l->judged.loss;
        return;
    }
    for (int i = 0; i < l->sample_count; i++) sum += c->nll[part->first + (size_t)i];
    l->loss = sum / (double)part->supervised;
}

/* --alpha-warmup: s of this step; what is saved, and evaluated, is the full one. */
static void warm_up(ar_learner *l) {
    int64_t steps = l->o.learner.alpha_warmup;
    double share = l->step + 1 < steps ? (double)(l->step + 1) / (double)steps : 1.0;
    for (size_t i = 0; steps && l->attachment && i < l->adapter->pair_count; i++)
        ar__attach_set_scale(l->attachment, l->attachment->ops, i, share * l->adapter->pair[i].scale);
}

ar_status ar__learners_gradients(ar_course *c, ar_learner *const *learners, size_t count, ar_error *err) {
    ar_status s = take_samples(c, learners, count, err);
    if (s) return s;
    for (size_t i = 0; i < count; i++) {
        c->rt->ops->zero_grads(c->rt, learners[i]->list.at, learners[i]->list.count);
        warm_up(learners[i]);
        if (learners[i]->scales.count) ar__scales_zero(&learners[i]->scales, learners[i]->attachment);
    }
    s = learn(c, learners, count, err);
    if (!s) s = c->rt->ops->memory->settle(c->rt, err);
    if (s) return s;
    for (size_t i = 0; i < count; i++) {
        ar_learner *l = learners[i];
        c->rt->ops->join_grads(c->rt, l->list.at, l->list.count);
        if (l->scales.count) ar__scales_gather(ar__trainables_scales(&l->list)->grad, &l->scales, l->attachment);
        take_loss(l, c, &c->parts[i]);
        if (!isfinite(l->loss)) l->status = not_finite(l, l->step + 1, "the loss", l->loss, &l->error);
    }
    return AR_OK;
}

/* ---- the step --------------------------------------------------------------------------------------------------------*/

void ar__learner_refresh(ar_learner *l) {
    ar__trainables_spread(&l->list);
    if (l->scales.count) ar__scales_apply(&l->scales, l->attachment, l->eval_ops);
    if (l->attachment) ar__attach_refresh(l->attachment);
}

static void update(ar_learner *l) {
    const ar_runtime *rt = l->course->rt;
    int64_t step = l->step + 1;
    l->grad_norm = rt->ops->grad_norm(rt, l->list.at, l->list.count);
    if (!isfinite(l->grad_norm)) {
        l->status = not_finite(l, step, "the gradient norm", l->grad_norm, &l->error);
        return;
    }
    ar_update u = ar__update_at(&l->o, ar__rate_at(&l->o, step, l->steps), step, l->grad_norm);
    rt->ops->update(rt, l->list.at, l->list.count, &u);
    ar__learner_refresh(l);
    l->step = step;
}

ar_status ar__learners_step(ar_course *c, ar_learner *const *learners, size_t count, ar_error *err) {
    ar_status s = ar__learners_gradients(c, learners, count, err);
    for (size_t i = 0; !s && i < count; i++)
        if (!learners[i]->status) update(learners[i]);
    return s ? s : c->rt->ops->memory->settle(c->rt, err);
}

/* ---- evaluation ------------------------------------------------------------------------------------------------------*/

/* Adds what a block of n samples gave. */
static void add_block(ar_learner *l, const ar_course *c, const ar_part *part, size_t n) {
    const double *nll = c->nll + part->first;
    if (c->pairs) ar__pairs_judge(&l->eval_judged, l, c->eval_data, nll, c->list, (int)n);
    for (size_t k = 0; !c->pairs && k < n; k++) l->eval_loss += nll[k];
}

/* The losses of n samples of the list from `first` on: into nll + first, under each learner's pairs. */
static void measure_block(ar_course *c, ar_learner *const *learners, size_t count, size_t first, size_t n) {
    for (size_t i = 0; i < count; i++) c->parts[i] = (ar_part){.sample = c->list + first, .count = (int)n, .pairs = learners[i]->eval_ops};
    ar__batcher_begin(&c->eval_batcher, c->parts, count);
    for (const ar_batch *b; (b = ar__batcher_next(&c->eval_batcher));) {
        ar__pass_forward(c->pass, b, NULL);
        ar__pass_loss(c->pass, b, c->nll + first + c->eval_batcher.first_sample, NULL, 0.0f);
    }
}

/* Over ranks the whole list is one learner's, each rank measures its run of it, and all add up. */
static ar_status measure_shared(ar_course *c, ar_learner *const *learners, size_t all, size_t most, ar_error *err) {
    for (size_t i = 0; i < all; i++) c->list[i] = (uint32_t)i;
    ar__share_cut(c, c->eval_data, c->list, all, false);
    size_t first = ar__share_first(&c->share), end = first + ar__share_count(&c->share, all);
    for (size_t at = first; c->pairs && at < end; at += most) /* before the losses, whose memory it uses */
        ar__pairs_ask_eval(c, learners, 1, c->list + at, (int)ar__min(most, end - at));
    for (size_t at = first; at < end; at += most) measure_block(c, learners, 1, at, ar__min(most, end - at));
    c->parts[0].first = 0;
    ar_status s = c->pairs ? ar__pairs_gather_eval(c, learners[0], err) : AR_OK;
    if (!s) s = ar__share_gather(&c->share, c->nll, err);
    if (!s) add_block(learners[0], c, &c->parts[0], all);
    return s;
}

/* The same samples for each, as many at a time as the steps of all have. */
ar_status ar__learners_evaluate(ar_course *c, ar_learner *const *learners, size_t count, ar_error *err) {
    size_t all = ar__dataset_count(c->eval_data), most = c->need.samples / count, supervised = 0;
    ar_status s = AR_OK;
    if (c->pairs) most -= most % 2;
    for (size_t i = 0; i < count; i++) {
        learners[i]->eval_loss = 0.0;
        learners[i]->eval_judged = (ar_judged){0};
    }
    for (size_t i = 0; i < all; i++) supervised += (size_t)ar__dataset_at(c->eval_data, i).supervised;
    if (ar__share_is_on(&c->share)) s = measure_shared(c, learners, all, most, err);
    for (size_t at = 0; !ar__share_is_on(&c->share) && at < all; at += most) {
        size_t n = all - at < most ? all - at : most;
        for (size_t i = 0; i < n; i++) c->list[i] = (uint32_t)(at + i);
        if (c->pairs) ar__pairs_ask_eval(c, learners, count, c->list, (int)n);
        measure_block(c, learners, count, 0, n);
        for (size_t i = 0; i < count; i++) add_block(learners[i], c, &c->parts[i], n);
    }
    if (!s) s = c->rt->ops->memory->settle(c->rt, err);
    if (s) return s;
    for (size_t i = 0; i < count; i++) {
        ar_learner *l = learners[i];
        if (c->pairs) l->eval_judged = ar__judged_mean(&l->eval_judged);
        l->eval_loss = c->pairs ? l->eval_judged.loss : l->eval_loss / (double)supervised;
    }
    return AR_OK;
}
