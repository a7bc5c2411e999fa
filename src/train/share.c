#include "train/share.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/fail.h"
#include "base/size.h"
#include "train/learner.h"
#include "train/share_agree.h"
#include "train/share_cut.h"

/* ---- opening ---------------------------------------------------------------------------------------------------------*/

static ar_status check_learner(const ar_learner *l, ar_error *err) {
    if (l->o.learner.method == AR_METHOD_FULL)
        return ar__fail(err, AR_ERR_UNSUPPORTED,
                        "method: full training over several ranks would send all weights at each step; train pairs");
    return AR_OK;
}

static size_t slices(int tokens) { return ((size_t)tokens + AR_GEMM_KC - 1) / AR_GEMM_KC; }

static void count_slots(size_t slots[2], const ar_course *c, ar_sample x) {
    slots[0] = slices(x.count);
    slots[1] = ar__head_pieces(c->model, (size_t)x.supervised);
}

static size_t floats_of(const ar_course *c, ar_sample x) {
    size_t slots[2];
    count_slots(slots, c, x);
    return slots[0] * c->share.width[0] + slots[1] * c->share.width[1];
}

static void set_widths(size_t width[2], const ar_trainables *t) {
    width[0] = t->behind;
    width[1] = t->grads.used / sizeof(float) - t->behind;
}

void ar__share_sizes(double *mean, double *most, const ar_learner *l, size_t longest) {
    ar_course c = *l->course; /* widths are of a learner, and this one is asked what if */
    size_t n = c.data ? ar__dataset_count(c.data) : 1;
    set_widths(c.share.width, &l->list);
    *mean = *most = 0.0;
    for (size_t i = 0; i < n; i++) {
        ar_sample all = {.count = (int)longest, .supervised = (int)longest - 1};
        double own = (double)floats_of(&c, c.data ? ar__dataset_at(c.data, i) : all) * sizeof(float);
        *mean += own / (double)n;
        *most = own > *most ? own : *most;
    }
}

/* Floats of a rank's slots: twice an even share of a step of usual samples, and as many as the longest sample and its other half need. */
static size_t floats_wanted(const ar_course *c, size_t samples) {
    size_t n = ar__dataset_count(c->data), most = 0;
    double all = 0.0;
    for (size_t i = 0; i < n; i++) {
        size_t own = floats_of(c, ar__dataset_at(c->data, i));
        most = ar__max(most, own);
        all += (double)own;
    }
    assert(n > 0);
    size_t wanted = (size_t)ceil(2.0 * (double)samples * all / ((double)n * c->share.ranks->count));
    return ar__min(ar__max(wanted, most * (c->pairs ? 2 : 1)), samples * most);
}

static size_t offset_of(const ar_trainables *t, const float *grad) { return (size_t)(grad - (const float *)(const void *)t->grads.base); }

static int by_layer(const void *a, const void *b) {
    const ar_chunk *x = a, *y = b;
    if (x->layer != y->layer) return x->layer > y->layer ? -1 : 1;
    return (x->at < y->at) - (x->at > y->at);
}

/* From the top layer down, as backward forms them. */
static ar_status cut_chunks(ar_share *s, const ar_trainables *t, ar_error *err) {
    size_t cap = 0, end = t->grads.used / sizeof(float);
    for (size_t i = t->count; i-- > 0;) {
        size_t begin = offset_of(t, t->at[i].grad);
        if (i > 0 && t->at[i - 1].layer == t->at[i].layer && begin != t->behind) continue;
        for (; end > begin; s->chunks++) {
            ar_chunk *list = ar__grow(s->chunk, &cap, s->chunks + 1, sizeof *list);
            if (!list) return ar__fail_memory(err, "ranks");
            s->chunk = list;
            size_t n = ar__min(AR_CHUNK, end - begin);
            list[s->chunks] = (ar_chunk){end - n, n, t->at[i].layer};
            end -= n;
        }
    }
    qsort(s->chunk, s->chunks, sizeof *s->chunk, by_layer);
    return AR_OK;
}

/* The first slot of each kind. */
static float *first_slot(const ar_share *s, int kind) { return kind ? s->slots + s->slot_floats - s->width[1] : s->slots; }

static float *to_slots(void *user, size_t at) {
    const ar_share *s = user;
    return at < s->width[0] ? s->slots + at : first_slot(s, 1) + (at - s->width[0]);
}

/* Slopes of s are few, so that each sample's travel, on all ranks; of the head's pair each piece's, which is what one process adds. */
static ar_status keep_slopes(ar_learner *l, size_t samples, ar_error *err) {
    ar_share *s = &l->course->share;
    const ar_attachment *at = l->attachment;
    size_t n = l->adapter->pair_count, pieces = samples * ar__head_pieces(at->model, (size_t)ar__dataset_longest(l->course->data));
    s->head_pair = SIZE_MAX;
    if (!l->scales.count) return AR_OK;
    s->slope_stride = 2 * n;
    s->slope[0] = ar__alloc(samples * s->slope_stride, sizeof *s->slope[0]);
    s->slope[1] = ar__alloc(pieces, sizeof *s->slope[1]);
    s->slope_bound = ar__alloc((size_t)s->ranks->count + 1, sizeof *s->slope_bound);
    if (!s->slope[0] || !s->slope[1] || !s->slope_bound) return ar__fail_memory(err, "ranks");
    for (size_t i = 0; i < n; i++) {
        if (at->module[i] == ar__module_head(&at->model->arch)) s->head_pair = i;
        at->ops[at->module[i]].dscale = i == s->head_pair ? s->slope[1] : &s->slope[0][i];
        if (at->second[i] != SIZE_MAX) at->ops[at->second[i]].dscale = &s->slope[0][n + i];
    }
    return AR_OK;
}

static ar_status allocate(ar_learner *l, ar_error *err) {
    ar_course *c = l->course;
    ar_share *s = &c->share;
    size_t samples = ar__step_samples(&l->o), most = samples;
    if (c->eval_data) most = ar__max(most, ar__dataset_count(c->eval_data));
    set_widths(s->width, &l->list);
    s->bound = ar__alloc((size_t)s->ranks->count + 1, sizeof *s->bound);
    s->cost = ar__alloc(most, sizeof *s->cost);
    s->need = ar__alloc(most, sizeof *s->need);
    s->said = ar__alloc(samples, sizeof *s->said);
    for (int kind = 0; kind < 2; kind++) s->slot[kind] = ar__alloc(samples + 1, sizeof *s->slot[kind]);
    s->piece = ar__alloc(samples + 1, sizeof *s->piece);
    if (!s->bound || !s->cost || !s->need || !s->said || !s->slot[0] || !s->slot[1] || !s->piece) return ar__fail_memory(err, "ranks");
    s->slot_floats = floats_wanted(c, samples);
    if (!ar__is_first(s->ranks)) {
        s->slots = ar__alloc(s->slot_floats, sizeof *s->slots);
        if (!s->slots)
            return ar__fail(err, AR_ERR_MEMORY,
                            "ranks: out of memory for gradients that are kept apart by samples, %zu MiB; use a smaller --batch or --rank%s",
                            (s->slot_floats * sizeof(float)) >> 20, l->adapter->whole_count ? ", or leave --modules-to-save out" : "");
        ar__trainables_redirect(&l->list, c->model, l->attachment, to_slots, s);
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
    if ((size_t)l->o.ranks->count > (size_t)l->o.learner.batch)
        ar__log_warn(&c->rt->log,
                     "%d ranks for steps of %d samples, of which none is parted: some have nothing to do; use a larger --batch",
                     l->o.ranks->count, l->o.learner.batch);
    s = allocate(l, err);
    if (s) return s;
    ar__share_tell(l);
    c->share.carry =
        (ar_carry){.sum = (float *)(void *)l->list.grads.base, .chunk = c->share.chunk, .chunks = c->share.chunks, .add = c->rt->kern.axpy};
    return AR_OK;
}

void ar__share_close(ar_share *s) {
    free(s->bound);
    free(s->cost);
    free(s->need);
    free(s->said);
    free(s->slot[0]);
    free(s->slot[1]);
    free(s->slots);
    free(s->slope[0]);
    free(s->slope[1]);
    free(s->piece);
    free(s->slope_bound);
    free(s->chunk);
    *s = (ar_share){0};
}

/* ---- a list ----------------------------------------------------------------------------------------------------------*/

void ar__share_cut(ar_course *c, const ar_dataset *data, const uint32_t *sample, size_t count, bool training) {
    ar_share *s = &c->share;
    if (!s->ranks) return;
    for (size_t i = 0; i < count; i++) {
        ar_sample x = ar__dataset_at(data, sample[i]);
        s->cost[i] = ar__cut_cost(&c->model->arch, x.count);
        s->need[i] = training ? floats_of(c, x) : 0;
    }
    ar__cut(s->bound, &(ar_cut){s->cost, s->need, count, c->pairs ? 2 : 1, s->slot_floats}, s->ranks->count);
    if (!training) return;
    for (size_t i = 0; i < count; i++) {
        size_t slots[2];
        count_slots(slots, c, ar__dataset_at(data, sample[i]));
        s->piece[i + 1] = s->piece[i] + slots[1];
    }
    if (s->slope[0]) {
        memset(s->slope[0], 0, count * s->slope_stride * sizeof *s->slope[0]);
        memset(s->slope[1], 0, s->piece[count] * sizeof *s->slope[1]);
    }
    size_t first = ar__share_first(s), n = ar__share_count(s, count);
    for (size_t i = 0; i < n; i++) {
        s->slot[0][i + 1] = s->slot[0][i] + slices(ar__dataset_at(data, sample[first + i]).count);
        s->slot[1][i + 1] = s->piece[first + i + 1] - s->piece[first];
    }
    for (int kind = 0; kind < 2; kind++) {
        ptrdiff_t width = (ptrdiff_t)s->width[kind];
        s->carry.slots[kind] = (ar_slots){.stride = kind ? -width : width, .begin = kind ? s->width[0] : 0};
        if (!s->slots) continue;
        s->carry.slots[kind].at = first_slot(s, kind);
        s->carry.slots[kind].count = s->slot[kind][n];
    }
}

void ar__share_place(ar_course *c) {
    const ar_share *s = &c->share;
    ar_batch *b = &c->batcher.batch;
    size_t own = c->batcher.first_sample, end = own + b->rows.samples;
    b->rows.dscale_first = ar__share_first(s) + own;
    b->rows.dscale_stride = s->slope_stride;
    b->head_dscale = s->slope[1] != NULL;
    b->head_first = s->piece ? s->piece[ar__share_first(s) + own] : 0;
    if (!s->slots) return;
    for (int kind = 0; kind < 2; kind++) {
        const ar_slots *of = &s->carry.slots[kind];
        for (size_t slot = s->slot[kind][own]; slot < s->slot[kind][end]; slot++)
            memset(first_slot(s, kind) + (ptrdiff_t)slot * of->stride, 0, s->width[kind] * sizeof(float));
    }
    b->rows.slot = s->slot[0] + own;
    b->rows.slot_stride = s->carry.slots[0].stride;
    b->head_slot = s->slot[1] + own;
    b->head_slot_stride = s->carry.slots[1].stride;
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
    size_t n = l->adapter ? l->adapter->pair_count : 0, samples = (size_t)l->sample_count;
    if (!s->slope[0]) return AR_OK;
    for (int i = 0; i <= s->ranks->count; i++) s->slope_bound[i] = s->bound[i] * s->slope_stride;
    ar_status st = ar__comm_gather(s->ranks, s->slope[0], s->slope_bound, err);
    for (int i = 0; i <= s->ranks->count; i++) s->slope_bound[i] = s->piece[s->bound[i]];
    if (!st) st = ar__comm_gather(s->ranks, s->slope[1], s->slope_bound, err);
    for (size_t k = 0; !st && k < samples; k++)
        for (size_t i = 0; i < n; i++) {
            l->scales.slope[i] += s->slope[0][k * s->slope_stride + i];
            l->scales.second[i] += s->slope[0][k * s->slope_stride + n + i];
        }
    for (size_t k = 0; !st && s->head_pair != SIZE_MAX && k < s->piece[samples]; k++) l->scales.slope[s->head_pair] += s->slope[1][k];
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
