#include "model/experts.h"

#include <math.h>

#include "base/size.h"

size_t ar__widest_mlp(const ar_arch *a) {
    size_t widest = ar__max((size_t)a->expert_ff, (size_t)a->shared_ff);
    for (int64_t l = 0; l < a->layers; l++)
        if (ar__layer_has_dense(a, l)) return ar__max(widest, (size_t)a->ff);
    return widest;
}

static ar_router router_of(const ar_arch *a) {
    return (ar_router){.experts = (size_t)a->experts, .used = (size_t)a->experts_used, .of_all = a->route_of_all};
}

/* The largest rank of a pair at this part of any of the layer's experts. */
static size_t widest_rank(const ar_pass *p, size_t layer, ar_expert_part part) {
    const ar_arch *a = &p->model->arch;
    size_t r = 0;
    for (int64_t l = 0; p->spec.ranks && l < a->layers; l++)
        for (int64_t e = 0; (layer == (size_t)l || layer == SIZE_MAX) && e < a->experts; e++)
            r = ar__max(r, (size_t)p->spec.ranks[ar__module_expert(a, l, e, part)]);
    return r;
}

static void place_beside(ar_arena *m, ar_expert_acts *x, size_t t, size_t dim) {
    x->dense_out = ar__arena_f32(m, t * dim);
    x->out = ar__arena_f32(m, t * dim);
    x->rstd_dense = ar__arena_f32(m, t);
    x->rstd_out = ar__arena_f32(m, t);
    x->rstd_in = ar__arena_f32(m, t);
    x->rstd_router = ar__arena_f32(m, t);
}

/* Gate and up of experts, and of the shared one. */
static void place_products(ar_arena *m, ar_expert_acts *x, size_t own, size_t shared, bool halves) {
    if (halves) {
        x->kept = ar__arena_take(m, 2 * own * sizeof *x->kept);
        x->shared_kept = shared ? ar__arena_take(m, 2 * shared * sizeof *x->shared_kept) : NULL;
        return;
    }
    x->gate = ar__arena_f32(m, own);
    x->up = ar__arena_f32(m, own);
    x->shared_gate = shared ? ar__arena_f32(m, shared) : NULL;
    x->shared_up = shared ? ar__arena_f32(m, shared) : NULL;
}

void ar__experts_place_acts(ar_pass *p, ar_acts *a, size_t layer) {
    const ar_arch *ar = &p->model->arch;
    size_t t = p->spec.tokens, used = (size_t)ar->experts_used;
    ar_arena *m = &p->arena;
    ar_expert_acts *x = &a->experts;
    x->logits = ar__arena_f32(m, t * (size_t)ar->experts);
    x->weight = ar__arena_f32(m, t * used);
    x->chosen = ar__arena_take(p->index, t * used * sizeof *x->chosen);
    place_products(m, x, t * used * (size_t)ar->expert_ff, t * (size_t)ar->shared_ff, p->model->rt->bf16);
    x->mix = ar->shared_ff ? ar__arena_f32(m, t) : NULL;
    if (ar->experts_beside) place_beside(m, x, t, (size_t)ar->dim);
    for (int part = 0; part < AR_EXPERT_PARTS; part++) {
        x->rank[part] = widest_rank(p, layer, (ar_expert_part)part);
        x->su[part] = x->rank[part] ? ar__arena_f32(m, t * used * x->rank[part]) : NULL;
    }
}

void ar__experts_place_balance(ar_pass *p) {
    size_t each = p->spec.samples * (size_t)p->model->arch.experts;
    ar_expert_memory *x = &p->experts;
    if (!p->spec.balance) return;
    x->count = ar__arena_f32(&p->arena, each);
    x->share = ar__arena_f32(&p->arena, each);
    x->by = ar__arena_f32(p->index, p->spec.samples);
}

void ar__experts_place(ar_pass *p) {
    const ar_arch *a = &p->model->arch;
    size_t t = p->spec.tokens, picks = t * (size_t)a->experts_used, dim = (size_t)a->dim, experts = (size_t)a->experts;
    ar_arena *m = &p->arena;
    ar_expert_memory *x = &p->experts;
    if (!experts) return;
    x->routes.first = ar__arena_take(p->index, (experts + 1) * sizeof *x->routes.first);
    x->routes.row = ar__arena_take(p->index, picks * sizeof *x->routes.row);
    x->routes.pick = ar__arena_take(p->index, picks * sizeof *x->routes.pick);
    x->routes.position = ar__arena_take(p->index, picks * sizeof *x->routes.position);
    x->routes.start = ar__arena_take(p->index, experts * (p->spec.samples + 1) * sizeof *x->routes.start);
    x->weight = ar__arena_f32(m, picks);
    x->x = ar__arena_f32(m, t * dim);
    x->y = ar__arena_f32(m, t * dim);
    x->h = a->experts_beside ? ar__arena_f32(m, t * dim) : NULL;
    size_t widest = ar__max((size_t)a->expert_ff, (size_t)a->shared_ff);
    x->g = p->model->rt->bf16 ? ar__arena_f32(m, t * widest) : NULL;
    x->u = p->model->rt->bf16 ? ar__arena_f32(m, t * widest) : NULL;
    if (!p->spec.train) return;
    x->dlogits = p->spec.balance ? ar__arena_f32(m, t * experts) : NULL;
    x->d = a->experts_beside ? ar__arena_f32(m, t * dim) : NULL;
    x->dweight = ar__arena_f32(m, ar__max(picks, t));
    x->dchosen = ar__arena_f32(m, picks);
    x->plain = ar__arena_f32(m, t * widest);
    x->dh = ar__arena_f32(m, t * dim);
}

/* One expert, on its rows. */
typedef struct expert {
    const ar_linear *gate, *up, *down;
    ar_rows rows;
    const size_t *row;          /* of the batch */
    const float *weight, *bias; /* bias: of down, or NULL */
    float *dweight, *g, *u, *su[AR_EXPERT_PARTS];
    uint16_t *kept; /* where g and u are kept as bf16, and those two are memory of all experts; NULL elsewhere */
} expert;

static expert expert_at(ar_pass *p, size_t layer, const ar_acts *a, size_t e, const ar_rows *rows) {
    const ar_expert_acts *x = &a->experts;
    const ar_linear *lin = &p->model->layers[layer].expert[e * AR_EXPERT_PARTS];
    size_t first = p->experts.routes.first[e], at = first * (size_t)p->model->arch.expert_ff;
    expert own = {.gate = lin + AR_EXPERT_GATE,
                  .up = lin + AR_EXPERT_UP,
                  .down = lin + AR_EXPERT_DOWN,
                  .rows = ar__routes_rows(&p->experts.routes, e, rows),
                  .row = p->experts.routes.row + first,
                  .weight = p->experts.weight + first,
                  .bias = p->model->owned[ar__module_expert(&p->model->arch, (int64_t)layer, (int64_t)e, AR_EXPERT_DOWN)].bias,
                  .dweight = p->experts.dweight ? p->experts.dweight + first : NULL,
                  .g = x->kept ? p->experts.g : x->gate + at,
                  .u = x->kept ? p->experts.u : x->up + at,
                  .kept = x->kept ? x->kept + 2 * at : NULL};
    for (int part = 0; part < AR_EXPERT_PARTS; part++) own.su[part] = x->su[part] ? x->su[part] + first * x->rank[part] : NULL;
    return own;
}

static expert shared_expert(ar_pass *p, size_t layer, const ar_acts *a, const ar_rows *rows) {
    const ar_linear *lin = p->model->layers[layer].linear;
    const ar_expert_acts *x = &a->experts;
    return (expert){.gate = &lin[AR_SLOT_SHARED_GATE],
                    .up = &lin[AR_SLOT_SHARED_UP],
                    .down = &lin[AR_SLOT_SHARED_DOWN],
                    .rows = *rows,
                    .weight = x->mix,
                    .dweight = p->experts.dweight,
                    .g = x->shared_kept ? p->experts.g : x->shared_gate,
                    .u = x->shared_kept ? p->experts.u : x->shared_up,
                    .su = {a->su[AR_SLOT_SHARED_GATE], a->su[AR_SLOT_SHARED_UP], a->su[AR_SLOT_SHARED_DOWN]},
                    .kept = x->shared_kept};
}

/* Behind its linears; then y [rows, ff] of what they gave, and their gradients in place of it. */
static void keep(ar_pass *p, size_t layer, const expert *own, size_t ff) {
    const ar_runtime *rt = p->model->rt;
    if (own->kept)
        rt->ops->activation_keep(rt, &p->model->layers[layer].activation, NULL, own->kept, own->g, own->u, ff, own->rows.count, ff);
}

static void activate(ar_pass *p, size_t layer, const expert *own, float *y, size_t ff) {
    const ar_runtime *rt = p->model->rt;
    const ar_activation *f = &p->model->layers[layer].activation;
    if (own->kept)
        rt->ops->activation_again(rt, f, y, own->kept, true, own->rows.count, ff);
    else
        rt->ops->activation_fwd(rt, f, y, own->g, own->u, ff, own->rows.count, ff);
}

static void activate_backward(ar_pass *p, size_t layer, const expert *own, const float *dy, size_t ff) {
    const ar_runtime *rt = p->model->rt;
    const ar_activation *f = &p->model->layers[layer].activation;
    if (own->kept)
        rt->ops->activation_bwd_kept(rt, f, own->g, own->u, ff, own->kept, dy, own->rows.count, ff);
    else
        rt->ops->activation_bwd(rt, f, own->g, own->u, ff, dy, own->rows.count, ff);
}

/* weight by pick times each expert's factor, where they have some. */
static void apply_factors(ar_pass *p, size_t layer, float *weight) {
    const ar_runtime *rt = p->model->rt;
    const ar_arch *a = &p->model->arch;
    const float *routing = p->model->layers[layer].routing;
    const size_t *first = p->experts.routes.first;
    for (size_t e = 0; routing && e < (size_t)a->experts; e++)
        if (first[e + 1] > first[e]) rt->ops->scale(rt, weight + first[e], (double)routing[(size_t)a->dim + e], first[e + 1] - first[e]);
}

/* The rows by expert and their weights in that order, from the choice that is kept. */
static void sort_rows(ar_pass *p, size_t layer, const ar_acts *a, const ar_rows *rows) {
    const ar_runtime *rt = p->model->rt;
    ar_router router = router_of(&p->model->arch);
    ar__routes_sort(&p->experts.routes, &router, a->experts.chosen, rows);
    rt->ops->rows_take(rt, p->experts.weight, a->experts.weight, p->experts.routes.pick, rows->count * router.used, 1);
    apply_factors(p, layer, p->experts.weight);
}

/* A router that reads a norm of its own has its logits divided by the root of the embedding's size. */
static double logit_factor(const ar_arch *a) { return a->experts_beside ? 1.0 / sqrt((double)a->dim) : 1.0; }

static void route(ar_pass *p, size_t layer, ar_acts *a, const float *h, const ar_rows *rows) {
    const ar_runtime *rt = p->model->rt;
    const ar_arch *ar = &p->model->arch;
    ar_expert_acts *x = &a->experts;
    ar_router router = router_of(ar);
    rt->ops->linear_fwd(rt, x->logits, a->su[AR_SLOT_ROUTER], &p->model->layers[layer].linear[AR_SLOT_ROUTER], h, rows, &p->linear);
    rt->ops->scale(rt, x->logits, logit_factor(ar), rows->count * router.experts);
    rt->ops->route_fwd(rt, x->chosen, x->weight, &router, x->logits, rows->count);
    sort_rows(p, layer, a, rows);
}

void ar__experts_widen(ar_pass *p, size_t layer, ar_acts *a, const float *h, const ar_rows *rows) {
    const ar_runtime *rt = p->model->rt;
    const ar_arch *ar = &p->model->arch;
    const ar_layer *l = &p->model->layers[layer];
    ar_expert_acts *x = &a->experts;
    size_t dim = (size_t)ar->dim;
    float *own = p->experts.h;
    if (own) rt->ops->norm_fwd(rt, own, x->rstd_router, &l->router_norm, a->mid, rows->count, dim);
    route(p, layer, a, own ? own : h, rows);
    if (own) rt->ops->norm_fwd(rt, own, x->rstd_in, &l->norm[AR_SLOT_EXPERTS_NORM], a->mid, rows->count, dim);
    h = own ? own : h;
    for (size_t e = 0; e < (size_t)ar->experts; e++) {
        expert one = expert_at(p, layer, a, e, rows);
        ar_linear_out two[] = {{one.gate, one.g, one.su[AR_EXPERT_GATE]}, {one.up, one.u, one.su[AR_EXPERT_UP]}};
        if (!one.rows.count) continue;
        rt->ops->rows_take(rt, p->experts.x, h, one.row, one.rows.count, dim);
        rt->ops->linears_fwd(rt, two, 2, p->experts.x, &one.rows, &p->linear);
        keep(p, layer, &one, (size_t)ar->expert_ff);
    }
    if (!ar->shared_ff) return;
    expert own_shared = shared_expert(p, layer, a, rows);
    ar_linear_out shared[] = {{own_shared.gate, own_shared.g, own_shared.su[AR_EXPERT_GATE]},
                              {own_shared.up, own_shared.u, own_shared.su[AR_EXPERT_UP]},
                              {&l->linear[AR_SLOT_SHARED_MIX], x->mix, a->su[AR_SLOT_SHARED_MIX]}};
    rt->ops->linears_fwd(rt, shared, 3, h, rows, &p->linear);
    keep(p, layer, &own_shared, (size_t)ar->shared_ff);
    rt->ops->sigmoid_fwd(rt, x->mix, x->mix, rows->count);
}

/* Rows of a sample over all layers of experts. */
static double balance_rows(const ar_pass *p, const ar_rows *rows, size_t sample) {
    const ar_arch *a = &p->model->arch;
    size_t layers = 0;
    for (int64_t l = 0; l < a->layers; l++) layers += p->model->layers[l].expert != NULL;
    return (double)(rows->start[sample + 1] - rows->start[sample]) * (double)layers;
}

void ar__experts_balance_begin(ar_pass *p, const ar_batch *b) {
    const ar_runtime *rt = p->model->rt;
    size_t experts = (size_t)p->model->arch.experts;
    ar_expert_memory *x = &p->experts;
    x->balanced = b->balance != NULL;
    if (!x->balanced) return;
    rt->ops->zero_rows(rt, x->count, b->rows.samples, experts);
    rt->ops->zero_rows(rt, x->share, b->rows.samples, experts);
    for (size_t s = 0; s < b->rows.samples; s++) {
        double n = balance_rows(p, &b->rows, s);
        x->by[s] = (float)((double)b->balance[s] * (double)experts / (n * n));
    }
}

void ar__experts_balance(ar_pass *p, const ar_acts *a, const ar_rows *rows) {
    ar_router router = router_of(&p->model->arch);
    if (p->experts.balanced)
        p->model->rt->ops->balance_fwd(p->model->rt, p->experts.count, p->experts.share, &router, a->experts.chosen, a->experts.logits,
                                       rows);
}

void ar__pass_balance(ar_pass *p, const ar_batch *b, double *out) {
    const ar_runtime *rt = p->model->rt;
    size_t experts = (size_t)p->model->arch.experts;
    float count[AR_MOST_EXPERTS], share[AR_MOST_EXPERTS];
    for (size_t s = 0; s < b->rows.samples; s++) {
        double n = balance_rows(p, &b->rows, s), sum = 0.0;
        rt->ops->memory->read(rt, count, p->experts.count + s * experts, experts * sizeof *count);
        rt->ops->memory->read(rt, share, p->experts.share + s * experts, experts * sizeof *share);
        for (size_t e = 0; e < experts; e++) sum += (double)count[e] * (double)share[e];
        out[s] = (double)experts * sum / (n * n);
    }
}

void ar__experts_down(ar_pass *p, size_t layer, ar_acts *a, float *y, const ar_rows *rows) {
    const ar_runtime *rt = p->model->rt;
    const ar_arch *ar = &p->model->arch;
    const ar_layer *l = &p->model->layers[layer];
    size_t dim = (size_t)ar->dim, ff = (size_t)ar->expert_ff, shared = (size_t)ar->shared_ff;
    rt->ops->zero_rows(rt, y, rows->count, dim);
    for (size_t e = 0; e < (size_t)ar->experts; e++) {
        expert own = expert_at(p, layer, a, e, rows);
        if (!own.rows.count) continue;
        activate(p, layer, &own, p->act, ff);
        rt->ops->rows_weigh(rt, p->act, own.weight, own.rows.count, ff);
        rt->ops->linear_fwd(rt, p->experts.y, own.su[AR_EXPERT_DOWN], own.down, p->act, &own.rows, &p->linear);
        if (own.bias) rt->ops->rows_bias(rt, p->experts.y, own.weight, own.bias, own.rows.count, dim);
        rt->ops->rows_add(rt, y, p->experts.y, own.row, own.rows.count, dim);
    }
    if (!shared) return;
    expert own = shared_expert(p, layer, a, rows);
    activate(p, layer, &own, p->act, shared);
    rt->ops->rows_weigh(rt, p->act, a->experts.mix, rows->count, shared);
    rt->ops->linear_fwd(rt, p->experts.y, a->su[AR_SLOT_SHARED_DOWN], &l->linear[AR_SLOT_SHARED_DOWN], p->act, rows, &p->linear);
    rt->ops->add(rt, y, p->experts.y, rows->count * dim);
}

/* dg and du in place of g and u, and the gradient of the weights, from dy; su NULL where no pair stands. */
static void down_backward(ar_pass *p, size_t layer, const expert *own, const float *dy, size_t ff) {
    const ar_runtime *rt = p->model->rt;
    float *plain = p->experts.plain;
    size_t n = own->rows.count;
    activate(p, layer, own, plain, ff);
    if (ar__linear_needs_input(own->down, &own->rows)) {
        rt->ops->multiple(rt, p->act, plain, 1.0, n * ff);
        rt->ops->rows_weigh(rt, p->act, own->weight, n, ff);
    }
    if (ar__pass_level(p, layer) < AR_LEVEL_ALL) rt->ops->linear_su(rt, own->su[AR_EXPERT_DOWN], own->down, p->act, &own->rows, &p->linear);
    rt->ops->linear_bwd(rt, p->act, false, dy, own->down, p->act, own->su[AR_EXPERT_DOWN], &own->rows, &p->linear);
    rt->ops->rows_weigh_bwd(rt, own->dweight, p->act, plain, own->weight, n, ff);
    activate_backward(p, layer, own, p->act, ff);
}

static void widen_backward(ar_pass *p, const expert *own, float *dx, bool accumulate, const float *x) {
    const ar_runtime *rt = p->model->rt;
    rt->ops->linear_bwd(rt, dx, accumulate, own->g, own->gate, x, own->su[AR_EXPERT_GATE], &own->rows, &p->linear);
    rt->ops->linear_bwd(rt, dx, true, own->u, own->up, x, own->su[AR_EXPERT_UP], &own->rows, &p->linear);
}

static void one_backward(ar_pass *p, size_t layer, const expert *own, const float *dy, const float *h) {
    const ar_runtime *rt = p->model->rt;
    const ar_arch *ar = &p->model->arch;
    size_t dim = (size_t)ar->dim, n = own->rows.count;
    rt->ops->rows_take(rt, p->experts.y, dy, own->row, n, dim);
    if (own->bias) rt->ops->rows_bias_bwd(rt, own->dweight, p->experts.y, own->bias, n, dim);
    down_backward(p, layer, own, p->experts.y, (size_t)ar->expert_ff);
    if (ar__linear_needs_input(own->gate, &own->rows) || ar__linear_needs_input(own->up, &own->rows))
        rt->ops->rows_take(rt, p->experts.x, h, own->row, n, dim);
    widen_backward(p, own, p->experts.y, false, p->experts.x);
    rt->ops->rows_add(rt, p->experts.dh, p->experts.y, own->row, n, dim);
}

static void shared_backward(ar_pass *p, size_t layer, ar_acts *a, const float *dy, const float *h, const ar_rows *rows) {
    const ar_runtime *rt = p->model->rt;
    const ar_layer *l = &p->model->layers[layer];
    ar_expert_acts *x = &a->experts;
    expert own = shared_expert(p, layer, a, rows);
    rt->ops->zero_rows(rt, own.dweight, rows->count, 1);
    down_backward(p, layer, &own, dy, (size_t)p->model->arch.shared_ff);
    widen_backward(p, &own, p->experts.dh, true, h);
    rt->ops->sigmoid_bwd(rt, own.dweight, x->mix, own.dweight, rows->count);
    rt->ops->linear_bwd(rt, p->experts.dh, true, own.dweight, &l->linear[AR_SLOT_SHARED_MIX], h, a->su[AR_SLOT_SHARED_MIX], rows,
                        &p->linear);
}

/* Of what the experts read to m->dh, and of the weights to m->dchosen. */
static void chosen_backward(ar_pass *p, size_t layer, ar_acts *a, const float *dy, const float *h, const ar_rows *rows) {
    const ar_runtime *rt = p->model->rt;
    ar_router router = router_of(&p->model->arch);
    ar_expert_memory *m = &p->experts;
    sort_rows(p, layer, a, rows);
    rt->ops->zero_rows(rt, m->dh, rows->count, (size_t)p->model->arch.dim);
    rt->ops->zero_rows(rt, m->dweight, rows->count, router.used);
    for (size_t e = 0; e < router.experts; e++) {
        expert own = expert_at(p, layer, a, e, rows);
        if (own.rows.count) one_backward(p, layer, &own, dy, h);
    }
    apply_factors(p, layer, m->dweight);
    rt->ops->rows_put(rt, m->dchosen, m->dweight, m->routes.pick, rows->count * router.used, 1);
}

static void route_backward(ar_pass *p, size_t layer, ar_acts *a, bool accumulate, const float *h, const ar_rows *rows) {
    const ar_runtime *rt = p->model->rt;
    ar_router router = router_of(&p->model->arch);
    ar_expert_memory *m = &p->experts;
    ar_expert_acts *x = &a->experts;
    float *d = m->balanced ? m->dlogits : x->logits;
    rt->ops->route_bwd(rt, d, &router, x->chosen, x->weight, m->dchosen, x->logits, rows->count);
    if (m->balanced) rt->ops->balance_bwd(rt, d, &router, m->count, m->by, x->logits, rows);
    rt->ops->scale(rt, d, logit_factor(&p->model->arch), rows->count * router.experts);
    rt->ops->linear_bwd(rt, m->dh, accumulate, d, &p->model->layers[layer].linear[AR_SLOT_ROUTER], h, a->su[AR_SLOT_ROUTER], rows,
                        &p->linear);
}

void ar__experts_backward(ar_pass *p, size_t layer, ar_acts *a, float *dh, const float *dy, const float *h, const ar_rows *rows) {
    const ar_runtime *rt = p->model->rt;
    chosen_backward(p, layer, a, dy, h, rows);
    route_backward(p, layer, a, true, h, rows);
    if (p->model->arch.shared_ff) shared_backward(p, layer, a, dy, h, rows);
    rt->ops->multiple(rt, dh, p->experts.dh, 1.0, rows->count * (size_t)p->model->arch.dim);
}

void ar__beside_join(ar_pass *p, size_t layer, ar_acts *a, const ar_rows *rows) {
    const ar_runtime *rt = p->model->rt;
    const ar_layer *l = &p->model->layers[layer];
    ar_expert_acts *x = &a->experts;
    size_t dim = (size_t)p->model->arch.dim;
    ar__experts_down(p, layer, a, x->out, rows);
    rt->ops->norm_fwd(rt, a->down, x->rstd_dense, &l->norm[AR_SLOT_DENSE_OUT_NORM], x->dense_out, rows->count, dim);
    rt->ops->norm_fwd(rt, p->experts.h, x->rstd_out, &l->norm[AR_SLOT_EXPERTS_OUT_NORM], x->out, rows->count, dim);
    rt->ops->add(rt, a->down, p->experts.h, rows->count * dim);
}

/* What reads the residual behind the attention by a norm of its own, formed again. */
static const float *entered(ar_pass *p, const ar_norm *norm, const float *rstd, const ar_acts *a, const ar_rows *rows) {
    const ar_runtime *rt = p->model->rt;
    rt->ops->norm_again(rt, p->experts.h, rstd, norm, a->mid, rows->count, (size_t)p->model->arch.dim);
    return p->experts.h;
}

void ar__beside_backward(ar_pass *p, size_t layer, ar_acts *a, const float *dy, const ar_rows *rows) {
    const ar_runtime *rt = p->model->rt;
    const ar_layer *l = &p->model->layers[layer];
    const ar_norm *in = &l->norm[AR_SLOT_EXPERTS_NORM];
    ar_expert_memory *m = &p->experts;
    ar_expert_acts *x = &a->experts;
    size_t dim = (size_t)p->model->arch.dim;
    rt->ops->norm_bwd(rt, m->d, false, dy, &l->norm[AR_SLOT_EXPERTS_OUT_NORM], x->out, x->rstd_out, rows, 1, dim);
    chosen_backward(p, layer, a, m->d, entered(p, in, x->rstd_in, a, rows), rows);
    rt->ops->norm_bwd(rt, p->dx, true, m->dh, in, a->mid, x->rstd_in, rows, 1, dim);
    route_backward(p, layer, a, false, entered(p, &l->router_norm, x->rstd_router, a, rows), rows);
    rt->ops->norm_bwd(rt, p->dx, true, m->dh, &l->router_norm, a->mid, x->rstd_router, rows, 1, dim);
}
