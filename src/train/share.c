#include "train/share.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/fail.h"
#include "base/size.h"
#include "train/learner.h"
#include "train/share_agree.h"
#include "train/share_cut.h"

/* ---- opening ---------------------------------------------------------------------------------------------------------*/

/* Gradients that are kept apart are those of pairs of linears in layers. */
static ar_status check_learner(const ar_learner *l, ar_error *err) {
    const ar_model *m = l->course->model;
    if (l->o.learner.method == AR_METHOD_FULL)
        return ar__fail(err, AR_ERR_UNSUPPORTED,
                        "method: full training over several ranks would send all weights at each step; train pairs");
    if (l->adapter->whole_count)
        return ar__fail(
            err, AR_ERR_UNSUPPORTED,
            "%s: whole tensors and biases do not train over several ranks; leave --modules-to-save and --bias out (a rank would keep "
            "one more of each for every sample)",
            l->adapter->whole[0].name);
    for (size_t i = 0; i < l->adapter->pair_count; i++) {
        const ar_pair *p = &l->adapter->pair[i];
        size_t module = l->attachment->module[i];
        bool linear = ar__model_linear((ar_model *)(uintptr_t)m, module) && module < ar__module_experts(&m->arch);
        if (!linear || module == ar__module_head(&m->arch))
            return ar__fail(err, AR_ERR_UNSUPPORTED,
                            "%s: pairs there do not train over several ranks, since their gradients are not formed sample by sample in a "
                            "place of their own; leave it out with --exclude",
                            p->site);
    }
    return AR_OK;
}

static size_t slices(int tokens) { return ((size_t)tokens + AR_GEMM_KC - 1) / AR_GEMM_KC; }

/* Slots of a rank: twice an even share of a step of usual samples, and as many as the longest sample and its other half need. */
static size_t slots_wanted(const ar_course *c, size_t samples) {
    size_t all = 0, n = ar__dataset_count(c->data), ranks = (size_t)c->share.ranks->count, longest = slices(ar__dataset_longest(c->data));
    for (size_t i = 0; i < n; i++) all += slices(ar__dataset_at(c->data, i).count);
    assert(n > 0);
    size_t wanted = 2 * ((samples * all + n * ranks - 1) / (n * ranks));
    return ar__min(ar__max(wanted, longest * (c->pairs ? 2 : 1)), samples * longest);
}

static size_t offset_of(const ar_trainables *t, const float *grad) { return (size_t)(grad - (const float *)(const void *)t->grads.base); }

/* From the top layer down, as backward forms them; a layer's numbers lie together. */
static ar_status cut_chunks(ar_share *s, const ar_trainables *t, ar_error *err) {
    size_t cap = 0, end = s->stride;
    for (size_t i = t->count; i-- > 0;) {
        if (i > 0 && t->at[i - 1].layer == t->at[i].layer) continue;
        for (size_t begin = offset_of(t, t->at[i].grad); end > begin; s->chunks++) {
            ar_chunk *list = ar__grow(s->chunk, &cap, s->chunks + 1, sizeof *list);
            if (!list) return ar__fail_memory(err, "ranks");
            s->chunk = list;
            size_t n = ar__min(AR_CHUNK, end - begin);
            list[s->chunks] = (ar_chunk){end - n, n, t->at[i].layer};
            end -= n;
        }
    }
    return AR_OK;
}

/* What backward writes goes to the slots, on all ranks but the first. */
static void redirect(ar_learner *l, float *to) {
    for (size_t i = 0; i < l->adapter->pair_count; i++) {
        ar_pair_op *op = &l->attachment->ops[l->attachment->module[i]];
        op->da = to + offset_of(&l->list, op->da);
        op->db = to + offset_of(&l->list, op->db);
        if (op->dmagnitude) op->dmagnitude = to + offset_of(&l->list, op->dmagnitude);
    }
}

/* Slopes of s are few, so that each sample's travel, on all ranks. */
static ar_status keep_slopes(ar_learner *l, size_t samples, ar_error *err) {
    ar_share *s = &l->course->share;
    const ar_attachment *at = l->attachment;
    size_t n = l->adapter->pair_count;
    if (!l->scales.count) return AR_OK;
    s->slope_stride = 2 * n;
    s->slope = ar__alloc(samples * s->slope_stride, sizeof *s->slope);
    s->slope_bound = ar__alloc((size_t)s->ranks->count + 1, sizeof *s->slope_bound);
    if (!s->slope || !s->slope_bound) return ar__fail_memory(err, "ranks");
    for (size_t i = 0; i < n; i++) {
        at->ops[at->module[i]].dscale = &s->slope[i];
        if (at->second[i] != SIZE_MAX) at->ops[at->second[i]].dscale = &s->slope[n + i];
    }
    return AR_OK;
}

static ar_status allocate(ar_learner *l, ar_error *err) {
    ar_course *c = l->course;
    ar_share *s = &c->share;
    size_t samples = ar__step_samples(&l->o), most = samples;
    if (c->eval_data) most = ar__max(most, ar__dataset_count(c->eval_data));
    s->stride = l->list.grads.used / sizeof(float);
    s->bound = ar__alloc((size_t)s->ranks->count + 1, sizeof *s->bound);
    s->cost = ar__alloc(most, sizeof *s->cost);
    s->need = ar__alloc(most, sizeof *s->need);
    s->said = ar__alloc(samples, sizeof *s->said);
    s->slot = ar__alloc(samples + 1, sizeof *s->slot);
    if (!s->bound || !s->cost || !s->need || !s->said || !s->slot) return ar__fail_memory(err, "ranks");
    s->slot_cap = slots_wanted(c, samples);
    if (!ar__is_first(s->ranks)) {
        s->slots = ar__alloc(s->slot_cap * s->stride, sizeof *s->slots);
        if (!s->slots)
            return ar__fail(err, AR_ERR_MEMORY,
                            "ranks: out of memory for the gradients of %zu slices, %zu MiB; use a smaller --batch or --rank", s->slot_cap,
                            (s->slot_cap * s->stride * sizeof(float)) >> 20);
        redirect(l, s->slots);
    }
    ar_status st = keep_slopes(l, samples, err);
    return st ? st : cut_chunks(s, &l->list, err);
}

ar_status ar__share_open(ar_learner *l, ar_error *err) {
    ar_course *c = l->course;
    if (!ar__is_shared(l->o.ranks)) return AR_OK;
    if (!c->rt->ops->memory->is_host)
        return ar__fail(err, AR_ERR_UNSUPPORTED,
                        "ranks: a step over several is formed in the host's memory, found --device %s; use --device cpu",
                        ar_runtime_device(c->rt));
    ar_status s = check_learner(l, err);
    if (!s) s = ar__share_agree(l, l->o.ranks, err);
    if (s) return s;
    c->share.ranks = l->o.ranks;
    s = allocate(l, err);
    if (s) return s;
    ar__share_tell(l);
    c->share.carry = (ar_carry){.sum = (float *)(void *)l->list.grads.base,
                                .slots = c->share.slots,
                                .stride = c->share.stride,
                                .chunk = c->share.chunk,
                                .chunks = c->share.chunks,
                                .add = c->rt->kern.axpy};
    return AR_OK;
}

void ar__share_close(ar_share *s) {
    free(s->bound);
    free(s->cost);
    free(s->need);
    free(s->said);
    free(s->slot);
    free(s->slots);
    free(s->slope);
    free(s->slope_bound);
    free(s->chunk);
    *s = (ar_share){0};
}

/* ---- a list ----------------------------------------------------------------------------------------------------------*/

void ar__share_cut(ar_course *c, const ar_dataset *data, const uint32_t *sample, size_t count, bool training) {
    ar_share *s = &c->share;
    if (!s->ranks) return;
    for (size_t i = 0; i < count; i++) {
        int tokens = ar__dataset_at(data, sample[i]).count;
        s->cost[i] = ar__cut_cost(&c->model->arch, tokens);
        s->need[i] = training ? slices(tokens) : 0;
    }
    ar__cut(s->bound, &(ar_cut){s->cost, s->need, count, c->pairs ? 2 : 1, s->slot_cap}, s->ranks->count);
    if (!training) return;
    if (s->slope) memset(s->slope, 0, count * s->slope_stride * sizeof *s->slope);
    size_t first = ar__share_first(s), n = ar__share_count(s, count);
    s->slot[0] = 0;
    for (size_t i = 0; i < n; i++) s->slot[i + 1] = s->slot[i] + s->need[first + i];
    s->carry.slot_count = s->slots ? s->slot[n] : 0;
}

size_t ar__share_first(const ar_share *s) { return s->ranks ? s->bound[s->ranks->index] : 0; }

size_t ar__share_count(const ar_share *s, size_t count) {
    return s->ranks ? s->bound[s->ranks->index + 1] - s->bound[s->ranks->index] : count;
}

ar_status ar__share_gather(ar_share *s, double *list, ar_error *err) {
    return s->ranks ? ar__comm_gather(s->ranks, list, s->bound, err) : AR_OK;
}

ar_status ar__share_slopes(ar_learner *l, ar_error *err) {
    ar_share *s = &l->course->share;
    size_t n = l->adapter ? l->adapter->pair_count : 0;
    if (!s->slope) return AR_OK;
    for (int i = 0; i <= s->ranks->count; i++) s->slope_bound[i] = s->bound[i] * s->slope_stride;
    ar_status st = ar__comm_gather(s->ranks, s->slope, s->slope_bound, err);
    for (size_t k = 0; !st && k < (size_t)l->sample_count; k++)
        for (size_t i = 0; i < n; i++) {
            l->scales.slope[i] += s->slope[k * s->slope_stride + i];
            l->scales.second[i] += s->slope[k * s->slope_stride + n + i];
        }
    return st;
}

/* ---- a step ----------------------------------------------------------------------------------------------------------*/

/* Backward has left a layer. */
static void take_layer(void *user, int layer) {
    ar_share *s = user;
    if (!s->last) return;
    while (s->ready < s->chunks && s->chunk[s->ready].layer >= layer) s->ready++;
    ar__comm_carry_ready(s->ranks, s->ready);
}

ar_status ar__share_begin(ar_course *c, ar_error *err) {
    ar_share *s = &c->share;
    if (!s->ranks || s->last) return AR_OK;
    s->last = true;
    s->ready = 0;
    c->pass->on_layer = take_layer;
    c->pass->on_layer_user = s;
    return ar__comm_carry_begin(s->ranks, &s->carry, err);
}

ar_status ar__share_end(ar_course *c, ar_error *err) {
    ar_share *s = &c->share;
    ar_status st = ar__share_begin(c, err); /* where the own run is empty */
    if (!s->ranks || st) return st;
    s->last = false;
    ar__comm_carry_ready(s->ranks, s->chunks);
    return ar__comm_carry_end(s->ranks, err);
}

/* ---- a run -----------------------------------------------------------------------------------------------------------*/

static ar_status send(const ar_share *s, float *list, size_t count, ar_error *err) {
    return list ? ar__comm_broadcast(s->ranks, list, count * sizeof *list, err) : AR_OK;
}

ar_status ar__share_state(ar_learner *l, ar_error *err) {
    const ar_share *s = &l->course->share;
    if (!s->ranks) return AR_OK;
    double numbers[] = {
        (double)l->step, l->loss, l->eval_loss, l->strength, l->best_eval, (double)l->best_step, (double)l->evals_since_best};
    ar_status st = ar__comm_broadcast(s->ranks, numbers, sizeof numbers, err);
    for (size_t i = 0; !st && i < l->list.count; i++) {
        ar_trainable *x = &l->list.at[i];
        st = send(s, x->value, x->count, err);
        if (!st) st = send(s, x->m, x->count, err);
        if (!st) st = send(s, x->v, x->count, err);
    }
    for (size_t i = 0; !st && i < l->adapter->pair_count; i++) { /* what of a pair does not learn */
        const ar_pair *p = &l->adapter->pair[i];
        if (!l->attachment->ops[l->attachment->module[i]].frozen) continue;
        st = send(s, p->a, (size_t)p->rank * (size_t)p->n_in, err);
        if (!st) st = send(s, p->b, (size_t)p->rank * (size_t)p->n_out, err);
    }
    if (st || ar__is_first(s->ranks)) return st;
    l->step = (int64_t)numbers[0];
    l->loss = numbers[1];
    l->eval_loss = numbers[2];
    l->strength = numbers[3];
    l->best_eval = numbers[4];
    l->best_step = (int64_t)numbers[5];
    l->evals_since_best = (int64_t)numbers[6];
    ar__learner_refresh(l);
    return AR_OK;
}

ar_status ar__share_go(ar_go *go, ar_share *s, ar_error *err) {
    int32_t word = (int32_t)*go;
    if (!s->ranks) return AR_OK;
    ar_status st = ar__comm_broadcast(s->ranks, &word, sizeof word, err);
    *go = (ar_go)word;
    return st;
}
