#include "model/ple.h"

#include <math.h>

static size_t width_of(const ar_pass *p) { return (size_t)p->model->arch.ple_dim; }
static size_t all_width(const ar_pass *p) { return width_of(p) * (size_t)p->model->arch.layers; }

static size_t rank_at(const ar_pass *p, size_t module) { return p->spec.ranks ? (size_t)p->spec.ranks[module] : 0; }

void ar__ple_place_acts(ar_pass *p, ar_acts *a) {
    size_t t = p->spec.tokens, dim = (size_t)p->model->arch.dim;
    if (!width_of(p)) return;
    a->y = ar__arena_f32(&p->arena, t * dim);
    a->ple_gate = ar__arena_f32(&p->arena, t * width_of(p));
    a->ple_out = ar__arena_f32(&p->arena, t * dim);
    a->rstd_ple = ar__arena_f32(&p->arena, t);
}

void ar__ple_borrow_acts(ar_acts *a, const ar_acts *from) {
    a->y = from->y;
    a->ple_gate = from->ple_gate;
    a->ple_out = from->ple_out;
    a->rstd_ple = from->rstd_ple;
    for (int s = AR_SLOT_PLE_GATE; s <= AR_SLOT_PLE_PROJECTION; s++) a->su[s] = from->su[s];
}

void ar__ple_place(ar_pass *p) {
    const ar_arch *a = &p->model->arch;
    size_t t = p->spec.tokens, table = rank_at(p, ar__module_ple_table(a)), mix = rank_at(p, ar__module_ple_mix(a));
    if (!width_of(p)) return;
    p->ple.input = ar__arena_f32(&p->arena, t * all_width(p));
    p->ple.grad = ar__arena_f32(&p->arena, t * all_width(p));
    p->ple.rstd = ar__arena_f32(&p->arena, t * (size_t)a->layers);
    p->ple.slice = ar__arena_f32(&p->arena, t * width_of(p));
    p->ple.act = ar__arena_f32(&p->arena, t * width_of(p));
    p->ple.su_table = table ? ar__arena_f32(&p->arena, t * table) : NULL;
    p->ple.su_mix = mix ? ar__arena_f32(&p->arena, t * mix) : NULL;
}

static bool wants_grad(const ar_pass *p) { return p->spec.ple_grad || p->spec.embed_grad; }

/* mix x₀ / √D, in p->ple.input. */
static void project(ar_pass *p, const ar_batch *b) {
    const ar_model *m = p->model;
    m->rt->ops->linear_fwd(m->rt, p->ple.input, p->ple.su_mix, &m->ple.mix, p->acts[0].x, &b->rows, &p->linear);
    m->rt->ops->scale(m->rt, p->ple.input, 1.0 / sqrt((double)m->arch.dim), b->rows.count * all_width(p));
}

void ar__ple_begin(ar_pass *p, const ar_batch *b) {
    const ar_model *m = p->model;
    const ar_runtime *rt = m->rt;
    size_t floats = b->rows.count * all_width(p);
    if (!floats) return;
    project(p, b);
    rt->ops->norm_fwd(rt, p->ple.input, p->ple.rstd, &m->ple.norm, p->ple.input, b->rows.count * (size_t)m->arch.layers, width_of(p));
    rt->ops->embedding_fwd(rt, p->ple.grad, p->ple.su_table, &m->ple.table, b->ids, &b->rows); /* there is no gradient yet */
    rt->ops->scale(rt, p->ple.grad, sqrt((double)width_of(p)), floats);
    rt->ops->add(rt, p->ple.input, p->ple.grad, floats);
    rt->ops->scale(rt, p->ple.input, sqrt(0.5), floats);
}

/* i_l of the rows behind the layer's attention, in p->ple.slice. */
static void take_slice(ar_pass *p, size_t layer, const ar_rows *all, const ar_rows *rows) {
    const ar_runtime *rt = p->model->rt;
    size_t n = width_of(p);
    rt->ops->columns_take(rt, p->ple.slice, p->ple.input + layer * n, all_width(p), all->count, n);
    if (rows != all) rt->ops->rows_take(rt, p->ple.slice, p->ple.slice, p->tail.row, rows->count, n);
}

static void activate(ar_pass *p, const ar_layer *l, const ar_acts *a, const ar_rows *rows) {
    const ar_runtime *rt = p->model->rt;
    rt->ops->activation_fwd(rt, &l->activation, p->ple.act, a->ple_gate, p->ple.slice, width_of(p), rows->count, width_of(p));
}

void ar__ple_forward(ar_pass *p, size_t layer, ar_acts *a, const ar_rows *all, const ar_rows *rows, float *out) {
    const ar_runtime *rt = p->model->rt;
    const ar_layer *l = &p->model->layers[layer];
    size_t dim = (size_t)p->model->arch.dim;
    take_slice(p, layer, all, rows);
    rt->ops->linear_fwd(rt, a->ple_gate, a->su[AR_SLOT_PLE_GATE], &l->linear[AR_SLOT_PLE_GATE], a->y, rows, &p->linear);
    activate(p, l, a, rows);
    rt->ops->linear_fwd(rt, a->ple_out, a->su[AR_SLOT_PLE_PROJECTION], &l->linear[AR_SLOT_PLE_PROJECTION], p->ple.act, rows, &p->linear);
    rt->ops->norm_fwd(rt, out ? out : p->h, a->rstd_ple, &l->norm[AR_SLOT_PLE_NORM], a->ple_out, rows->count, dim);
    if (out) rt->ops->add(rt, out, a->y, rows->count * dim);
}

void ar__ple_backward(ar_pass *p, size_t layer, ar_acts *a, const ar_rows *all, const ar_rows *rows) {
    const ar_runtime *rt = p->model->rt;
    const ar_layer *l = &p->model->layers[layer];
    const ar_linear *gate = &l->linear[AR_SLOT_PLE_GATE], *projection = &l->linear[AR_SLOT_PLE_PROJECTION];
    size_t n = width_of(p), dim = (size_t)p->model->arch.dim;
    float *d = p->ple.act;
    take_slice(p, layer, all, rows);
    if (ar__linear_needs_input(projection, rows)) activate(p, l, a, rows);
    rt->ops->norm_bwd(rt, p->dh, false, p->dx, &l->norm[AR_SLOT_PLE_NORM], a->ple_out, a->rstd_ple, rows, 1, dim);
    rt->ops->linear_bwd(rt, d, false, p->dh, projection, d, a->su[AR_SLOT_PLE_PROJECTION], rows, &p->linear);
    rt->ops->activation_bwd(rt, &l->activation, a->ple_gate, p->ple.slice, n, d, rows->count, n);
    if (wants_grad(p)) {
        if (rows != all) rt->ops->rows_spread(rt, p->ple.slice, all->count, p->tail.row, rows->count, n);
        rt->ops->columns_put(rt, p->ple.grad + layer * n, all_width(p), p->ple.slice, all->count, n);
    }
    rt->ops->linear_bwd(rt, p->dh, false, a->ple_gate, gate, a->y, a->su[AR_SLOT_PLE_GATE], rows, &p->linear);
    rt->ops->add(rt, p->dx, p->dh, rows->count * dim);
}

/* The projection is formed again where i_l was, since the norm's backward reads what it gave. */
void ar__ple_end(ar_pass *p, const ar_batch *b) {
    const ar_model *m = p->model;
    const ar_runtime *rt = m->rt;
    size_t floats = b->rows.count * all_width(p), layers = (size_t)m->arch.layers;
    float *d = p->ple.grad, *dx = p->spec.embed_grad ? p->dh : NULL;
    if (!floats || !wants_grad(p)) return;
    rt->ops->multiple(rt, p->ple.input, d, sqrt(0.5 * (double)width_of(p)), floats);
    rt->ops->embedding_bwd(rt, p->ple.input, &m->ple.table, b->ids, p->ple.su_table, &b->rows, &p->linear);
    rt->ops->scale(rt, d, sqrt(0.5), floats);
    project(p, b);
    rt->ops->norm_bwd(rt, d, false, d, &m->ple.norm, p->ple.input, p->ple.rstd, &b->rows, layers, width_of(p));
    rt->ops->scale(rt, d, 1.0 / sqrt((double)m->arch.dim), floats);
    rt->ops->linear_bwd(rt, dx, false, d, &m->ple.mix, p->acts[0].x, p->ple.su_mix, &b->rows, &p->linear);
    if (dx) rt->ops->add(rt, p->dx, dx, b->rows.count * (size_t)m->arch.dim);
}
