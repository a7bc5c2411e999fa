/* One step: gradients over the micro-batches, clip, update. */
#include <math.h>

#include "base/fail.h"
#include "train/optim.h"
#include "train/pairs.h"
#include "train/trainer.h"

/* Names what is to blame for a loss or gradient that is no number. */
static ar_status not_finite(const ar_trainer *t, int64_t step, const char *what, double value, ar_error *err) {
    const char *tensor = ar__model_find_nonfinite(t->model);
    if (tensor)
        return ar__fail(err, AR_ERR_NUMERIC, "step %lld: %s is %g because base tensor '%s' holds NaN or infinity; the file is damaged",
                        (long long)step, what, value, tensor);
    for (size_t i = 0; i < t->list.count; i++)
        for (size_t j = 0; j < t->list.at[i].count; j++)
            if (!isfinite(t->list.at[i].grad[j]))
                return ar__fail(err, AR_ERR_NUMERIC,
                                "step %lld: %s is %g, the first gradient that is no number is that of '%s'; use a smaller --lr or --alpha",
                                (long long)step, what, value, t->list.at[i].name);
    return ar__fail(err, AR_ERR_NUMERIC, "step %lld: %s is %g; use a smaller --lr or --alpha", (long long)step, what, value);
}

int ar__step_get(uint32_t *out, ar_trainer *t, uint64_t step) {
    int count = ar__stream_get(out, &t->stream, step);
    if (!ar__has_objective(&t->o)) return count;
    for (int i = count; i-- > 0;) { /* from the end: in place */
        out[2 * i + 1] = 2 * out[i] + 1;
        out[2 * i] = 2 * out[i];
    }
    return 2 * count;
}

/* The mean over the supervised tokens of the step. */
static void learn(ar_trainer *t, int count, uint64_t first) {
    t->step_supervised = ar__batcher_begin(&t->batcher, t->samples, count, first, &t->step_tokens);
    float scale = (float)(1.0 / (double)t->step_supervised);
    const ar_pair_op *ops = t->attachment ? t->attachment->ops : NULL;
    double sum = 0.0;
    for (const ar_batch *b; (b = ar__batcher_next(&t->batcher, ops));) {
        ar__pass_forward(t->pass, b, NULL);
        ar__pass_loss(t->pass, b, t->sample_nll, NULL, scale);
        for (size_t i = 0; i < b->rows.samples; i++) sum += t->sample_nll[i];
        ar__pass_backward(t->pass, b);
    }
    t->loss = sum / (double)t->step_supervised;
}

ar_status ar__trainer_gradients(ar_trainer *t, int64_t step, ar_error *err) {
    uint64_t first = (uint64_t)(step - 1) * (uint64_t)ar__step_samples(t);
    int count = ar__step_get(t->samples, t, (uint64_t)step);
    ar_status s = ar__dataset_need(t->data, t->samples, count, err);
    if (s) return s;
    ar__trainables_zero_grad(t->rt, &t->list);
    if (ar__has_objective(&t->o))
        ar__pairs_gradients(t, count, first);
    else
        learn(t, count, first);
    ar__trainables_join_grad(t->rt, &t->list);
    return isfinite(t->loss) ? AR_OK : not_finite(t, step, "the loss", t->loss, err);
}

ar_status ar__trainer_step(ar_trainer *t, ar_error *err) {
    int64_t step = t->step + 1;
    ar_status s = ar__trainer_gradients(t, step, err);
    if (s) return s;
    t->grad_norm = ar__grad_norm(t->rt, &t->list);
    if (!isfinite(t->grad_norm)) return not_finite(t, step, "the gradient norm", t->grad_norm, err);
    ar__optim_step(t->rt, &t->list, &t->o, ar__rate_at(&t->o, step, t->steps), step, t->grad_norm);
    if (t->attachment) ar__attach_refresh(t->attachment);
    t->step = step;
    return AR_OK;
}

double ar__trainer_evaluate(ar_trainer *t) {
    if (!ar__has_objective(&t->o)) return ar__mean_loss(t->pass, &t->eval_batcher, t->eval_ops, NULL, NULL);
    t->eval_judged = ar__pairs_evaluate(t);
    return t->eval_judged.loss;
}
