/* The layout of a pass: one function that is run twice, first to measure, then to place. */
#include "model/pass.h"

#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/size.h"
#include "model/acts.h"
#include "model/experts.h"
#include "model/forward.h"
#include "model/mirror.h"
#include "model/ple.h"
#include "ops/arena.h"
#include "ops/device.h"

/* Floats of a piece's logits: enough rows to feed the product, never the whole matrix. */
enum { PIECE_FLOATS = 16 << 20, PIECE_MIN = 24, PIECE_MAX = 504 };

size_t ar__head_piece(const ar_model *m) {
    size_t rows = PIECE_FLOATS / (size_t)m->arch.vocab / 12 * 12; /* whole f32 tiles: of 6 or 12 rows */
    return rows < PIECE_MIN ? PIECE_MIN : rows > PIECE_MAX ? PIECE_MAX : rows;
}

size_t ar__head_pieces(const ar_model *m, size_t supervised) {
    size_t piece = ar__head_piece(m);
    return (supervised + piece - 1) / piece;
}

static size_t rank_at(const ar_pass_spec *s, size_t module) { return s->ranks ? (size_t)s->ranks[module] : 0; }

/* Of one thread, the most that a layer needs. */
static size_t attention_scratch(const ar_pass *p) {
    const ar_model *m = p->model;
    size_t most = 0;
    for (size_t i = 0; i < (size_t)m->arch.layers; i++) {
        ar_attention at = ar__layer_attention(m, &m->layers[i]);
        most = ar__max(most, m->rt->ops->attention_scratch(m->rt, &at));
    }
    return most;
}

ar_level ar__pass_level(const ar_pass *p, size_t layer) {
    const ar_pass_spec *s = &p->spec;
    size_t lowest = (size_t)s->lowest_layer;
    if (!s->train || layer < lowest) return AR_LEVEL_NOTHING;
    layer -= lowest;
    return layer < s->again ? AR_LEVEL_X : layer - s->again < s->mlp_again ? AR_LEVEL_ATTENTION : AR_LEVEL_ALL;
}

/* s A x of one slot; layer SIZE_MAX: wide enough for any. */
static float *place_su(ar_pass *p, size_t layer, ar_slot slot) {
    size_t r = 0, layers = (size_t)p->model->arch.layers;
    for (size_t l = 0; l < layers; l++)
        if (layer == l || layer == SIZE_MAX) r = ar__max(r, rank_at(&p->spec, ar__module_at((int64_t)l, slot)));
    return r ? ar__arena_f32(&p->arena, p->spec.tokens * r) : NULL;
}

static void place_attention_acts(ar_pass *p, ar_acts *a, size_t layer) {
    if (ar__acts_are_rounded(p))
        ar__acts_place_rounded(p, a, layer);
    else
        ar__acts_place_wide(p, a, layer);
    ar__acts_place_narrow(p, a, layer);
    for (int s = AR_SLOT_QKV; s <= AR_SLOT_CONV_OUT; s++) a->su[s] = place_su(p, layer, (ar_slot)s);
}

/* One linear gives gate and up; or there is a gate at all. */
static bool is_fused(const ar_pass *p) { return ar__arch_has(&p->model->arch, AR_SLOT_GATE_UP); }
static bool is_gated(const ar_pass *p) { return is_fused(p) || ar__arch_has(&p->model->arch, AR_SLOT_GATE); }

static void place_dense_acts(ar_pass *p, ar_acts *a, size_t layer) {
    size_t ff = ar__widths_of(p, layer).ff, floats = p->spec.tokens * ff;
    if (p->model->rt->bf16) {
        a->kept = ar__arena_take(&p->arena, (is_gated(p) ? 2 : 1) * floats * sizeof *a->kept);
        return;
    }
    a->gate = is_gated(p) ? ar__arena_f32(&p->arena, is_fused(p) ? 2 * floats : floats) : NULL;
    a->up = is_fused(p) ? a->gate + ff : ar__arena_f32(&p->arena, floats);
}

/* Of layers that keep theirs as bf16. */
static void place_mlp_wide(ar_pass *p) {
    size_t layers = (size_t)p->model->arch.layers, floats = p->spec.tokens * ar__widths_of(p, SIZE_MAX).ff;
    if (!p->model->rt->bf16 || (!is_fused(p) && !ar__arch_has(&p->model->arch, AR_SLOT_UP))) return;
    p->gate = is_gated(p) ? ar__arena_f32(&p->arena, is_fused(p) ? 2 * floats : floats) : NULL;
    p->up = is_fused(p) ? NULL : ar__arena_f32(&p->arena, floats);
    for (size_t l = 0; l < layers; l++) {
        p->acts[l].gate = p->gate;
        p->acts[l].up = is_fused(p) ? p->gate + ar__widths_of(p, l).ff : p->up;
    }
}

static void place_mlp_acts(ar_pass *p, ar_acts *a, size_t layer) {
    const ar_arch *ar = &p->model->arch;
    bool any = layer == SIZE_MAX, dense = !ar->experts || (any ? ar__arch_has(ar, AR_SLOT_UP) : ar__layer_has_dense(ar, (int64_t)layer));
    if (dense) place_dense_acts(p, a, layer);
    if (ar->experts && (any || !ar__layer_is_dense(ar, (int64_t)layer))) ar__experts_place_acts(p, a, layer);
    bool out = ar__arch_has(ar, AR_SLOT_MLP_OUT_NORM);
    a->down = out ? ar__arena_f32(&p->arena, p->spec.tokens * (size_t)ar->dim) : NULL;
    a->rstd_down = out ? ar__arena_f32(&p->arena, p->spec.tokens) : NULL;
    for (int s = AR_SLOT_GATE_UP; s <= AR_SLOT_SHARED_MIX; s++) a->su[s] = place_su(p, layer, (ar_slot)s);
    ar__ple_place_acts(p, a);
    for (int s = AR_SLOT_PLE_GATE; s <= AR_SLOT_PLE_PROJECTION; s++) a->su[s] = place_su(p, layer, (ar_slot)s);
}

static void borrow_mlp(ar_acts *a, const ar_acts *from) {
    a->gate = from->gate;
    a->up = from->up;
    a->kept = from->kept;
    a->down = from->down;
    a->rstd_down = from->rstd_down;
    a->experts = from->experts;
    for (int s = AR_SLOT_GATE_UP; s <= AR_SLOT_SHARED_MIX; s++) a->su[s] = from->su[s];
    ar__ple_borrow_acts(a, from);
}

static void borrow_attention(ar_acts *a, const ar_acts *from) {
    ar_acts own = *a;
    *a = *from;
    a->x = own.x;
    borrow_mlp(a, &own);
}

/* The input of a layer; behind the last, the final hidden states.  Layers that keep none pass it on in one buffer, which the last
 * layer's output takes as well: it is dead before p->dh, whose memory that is, comes into use. */
static void place_input(ar_pass *p, size_t layer) {
    bool final = layer == (size_t)p->model->arch.layers;
    if (final || (!ar__acts_are_rounded(p) && ar__pass_level(p, layer) == AR_LEVEL_NOTHING))
        p->acts[layer].x = p->dh;
    else if (ar__acts_are_rounded(p))
        ar__acts_place_exact(p, layer);
    else
        p->acts[layer].x = ar__arena_f32(&p->arena, p->spec.tokens * (size_t)p->model->arch.dim);
}

static void place_kept(ar_pass *p) {
    size_t layers = (size_t)p->model->arch.layers;
    bool lends = ar__pass_level(p, 0) != AR_LEVEL_ALL && ar__pass_level(p, layers - 1) == AR_LEVEL_ALL;
    for (size_t l = 0; l < layers; l++) {
        ar_level level = ar__pass_level(p, l);
        size_t whose = lends && l == layers - 1 ? SIZE_MAX : l;
        place_input(p, l);
        if (level >= AR_LEVEL_ATTENTION) place_attention_acts(p, &p->acts[l], whose);
        if (level == AR_LEVEL_ALL) place_mlp_acts(p, &p->acts[l], whose);
    }
    place_input(p, layers);
}

/* One set for all layers that keep less: the top layer's, or one of its own, which the head may overwrite. */
static void place_borrowed(ar_pass *p) {
    size_t layers = (size_t)p->model->arch.layers;
    ar_acts set = p->acts[layers - 1];
    if (ar__pass_level(p, 0) == AR_LEVEL_ALL) return;
    if (ar__pass_level(p, layers - 1) != AR_LEVEL_ALL) {
        if (ar__pass_level(p, 0) < AR_LEVEL_ATTENTION) place_attention_acts(p, &set, SIZE_MAX);
        place_mlp_acts(p, &set, SIZE_MAX);
    }
    for (size_t l = 0; l < layers; l++) {
        ar_level level = ar__pass_level(p, l);
        if (level < AR_LEVEL_ATTENTION) borrow_attention(&p->acts[l], &set);
        if (level < AR_LEVEL_ALL) borrow_mlp(&p->acts[l], &set);
    }
}

static void place_shared(ar_pass *p) {
    place_borrowed(p);
    if (!ar__acts_are_rounded(p)) return;
    p->wide.x = ar__arena_f32(&p->arena, p->spec.tokens * (size_t)p->model->arch.dim);
    ar__acts_place_wide(p, &p->wide, SIZE_MAX);
    for (size_t l = 0; l < (size_t)p->model->arch.layers; l++) ar__acts_lend(p, l);
}

static void place_linear_scratch(ar_pass *p) {
    const ar_model *m = p->model;
    size_t in = 0, out = 0, rank = 0, t = ar__max(p->spec.tokens, 1);
    for (size_t i = 0; i < m->module_count; i++) {
        size_t r = rank_at(&p->spec, i);
        if (!r) continue;
        bool head = i == ar__module_head(&m->arch), embedding = m->modules[i].kind == AR_MODULE_EMBEDDING;
        size_t rows = head ? p->head.most : t, wide = embedding ? (size_t)m->modules[i].n_in : (size_t)m->modules[i].n_out;
        rank = ar__max(rank, rows * r);
        out = ar__max(out, rows * wide);
        if (!embedding) in = ar__max(in, rows * (size_t)m->modules[i].n_in);
    }
    ar_linear_scratch *s = &p->linear;
    s->du = rank ? ar__arena_f32(&p->arena, rank) : NULL;
    s->dropped = p->spec.dropout ? ar__arena_f32(&p->arena, in) : NULL;
    s->wide = p->spec.dora ? ar__arena_f32(&p->arena, out) : NULL;
    s->dz = p->spec.dora && p->spec.train ? ar__arena_f32(&p->arena, out) : NULL;
}

/* Elements of a head that one of the record's ropes turns. */
static size_t head_of(const ar_arch *a, int rope) { return (size_t)(a->ropes > 1 && rope == 1 ? a->head_dim : a->full_head_dim); }

/* Keys and values outlive their layer where later ones take them. */
static void place_lent(ar_pass *p) {
    const ar_model *m = p->model;
    for (size_t i = 0; i < (size_t)m->arch.layers; i++) {
        const ar_layer *l = &m->layers[i];
        ar_kv_lent *to = &p->lent[l->window != 0];
        size_t floats = p->spec.tokens * l->kv_heads * l->head_dim;
        if (!l->kv_lent) continue;
        to->k = ar__arena_f32(&p->arena, floats);
        to->v = ar__arena_f32(&p->arena, floats);
        to->dk = p->spec.train ? ar__arena_f32(&p->arena, floats) : NULL;
        to->dv = p->spec.train ? ar__arena_f32(&p->arena, floats) : NULL;
    }
}

static void place_delta_scratch(ar_pass *p) {
    const ar_delta_sizes *d = &p->model->arch.delta;
    const ar_runtime *rt = p->model->rt;
    const ar_delta delta = {.key_heads = (size_t)d->key_heads,
                            .value_heads = (size_t)d->value_heads,
                            .key_dim = (size_t)d->key_dim,
                            .value_dim = (size_t)d->value_dim};
    if (!ar__mixes(p, SIZE_MAX, AR_MIX_DELTA)) return;
    size_t each = (rt->ops->delta_scratch(rt, &delta, p->spec.train ? p->spec.longest : 0) + 15) / 16 * 16;
    p->delta.scratch = ar__arena_f32(&p->arena, each * (size_t)rt->threads);
}

static void place_common(ar_pass *p) {
    const ar_arch *a = &p->model->arch;
    ar_arena *m = &p->arena;
    size_t t = p->spec.tokens, floats = t * (size_t)a->dim;
    const ar_runtime *rt = p->model->rt;
    p->h = ar__arena_f32(m, floats);
    p->dx = p->spec.train ? ar__arena_f32(m, floats) : NULL;
    p->dh = ar__arena_f32(m, floats);
    p->tail.row = ar__arena_take(p->index, t * sizeof *p->tail.row);
    p->tail.position = ar__arena_take(p->index, t * sizeof *p->tail.position);
    p->tail.start = ar__arena_take(p->index, (p->spec.samples + 1) * sizeof *p->tail.start);
    for (int i = 0; i < a->ropes; i++) {
        ar_rope *rope = &p->rope[i];
        *rope = (ar_rope){
            .half = (size_t)ar__rope_dim(a, i) / 2, .head = head_of(a, i), .positions = p->spec.longest, .neighbours = a->rope_neighbours};
        size_t entries = rope->positions * rope->half;
        rope->cos = ar__arena_f32(m, entries);
        rope->sin = ar__arena_f32(m, entries);
        bool far = ar__rope_is_long(&a->rope[i], p->spec.longest);
        if (far) p->far = ar__arena_take(p->index, p->spec.samples * sizeof *p->far);
        rope->far = far ? p->far : NULL;
        rope->far_cos = far ? ar__arena_f32(m, entries) : NULL;
        rope->far_sin = far ? ar__arena_f32(m, entries) : NULL;
        rope->gain = a->rope[i].query_beta != 0.0 ? ar__arena_f32(m, rope->positions) : NULL;
    }
    size_t each = (attention_scratch(p) + 15) / 16 * 16;
    p->attention.scratch = ar__arena_f32(m, each * (size_t)rt->threads);
    place_delta_scratch(p);
    p->attention.blocks = ar__arena_take(p->index, (t / AR_ATTENTION_BLOCK + p->spec.samples + 1) * sizeof *p->attention.blocks);
    size_t positions = rank_at(&p->spec, ar__module_positions(a));
    p->su_embed = rank_at(&p->spec, 0) ? ar__arena_f32(m, t * rank_at(&p->spec, 0)) : NULL;
    p->su_positions = positions ? ar__arena_f32(m, t * positions) : NULL;
    p->position = a->learned ? ar__arena_take(p->index, t * sizeof *p->position) : NULL;
    ar__experts_place_balance(p);
    place_lent(p);
    ar__ple_place(p);
    p->dh_mlp = a->parallel && p->spec.train ? ar__arena_f32(m, floats) : NULL;
    place_linear_scratch(p);
}

static void place_attention(ar_pass *p) {
    const ar_arch *a = &p->model->arch;
    ar_widths w = ar__widths_of(p, SIZE_MAX);
    size_t t = p->spec.tokens, q = t * w.q, kv = t * w.kv;
    ar_arena *m = &p->arena;
    p->attention.joined = ar__arch_has(a, AR_SLOT_QKV) ? ar__arena_f32(m, q + 2 * kv) : NULL;
    p->attention.wide = a->gated ? ar__arena_f32(m, 2 * q) : NULL;
    p->attention.q_rot = a->qk_norm ? ar__arena_f32(m, q) : NULL;
    p->attention.k_rot = a->qk_norm ? ar__arena_f32(m, kv) : NULL;
    p->attention.v_normed = a->v_norm ? ar__arena_f32(m, kv) : NULL;
    if (!p->spec.train) return;
    p->attention.dq = ar__arena_f32(m, q);
    p->attention.dk = ar__arena_f32(m, kv);
    p->attention.dv = ar__arena_f32(m, kv);
    p->attention.dsum = ar__arena_f32(m, t * (size_t)a->heads);
}

static void place_delta(ar_pass *p) {
    size_t floats = p->spec.tokens * (size_t)ar__delta_columns(&p->model->arch.delta);
    p->delta.conv = ar__arena_f32(&p->arena, floats);
    p->delta.d_conv = p->spec.train ? ar__arena_f32(&p->arena, floats) : NULL;
}

static void place_conv(ar_pass *p) { p->conv.joined = ar__arena_f32(&p->arena, 3 * p->spec.tokens * (size_t)p->model->arch.dim); }

/* Of one layer at a time: what all mixers have, then one of them. */
static void place_mixer(ar_pass *p) {
    static void (*const place_one[])(ar_pass *) = {
        [AR_MIX_ATTENTION] = place_attention, [AR_MIX_DELTA] = place_delta, [AR_MIX_CONV] = place_conv};
    size_t floats = p->spec.tokens * ar__mixer_width(p, SIZE_MAX);
    ar_arena *m = &p->arena;
    p->attention.gated = p->model->arch.gated || ar__mixes(p, SIZE_MAX, AR_MIX_CONV) ? ar__arena_f32(m, floats) : NULL;
    p->attention.dout = p->spec.train ? ar__arena_f32(m, floats) : NULL;
    ar_mark own = ar__arena_mark(m), end = own;
    for (ar_mixer mixer = AR_MIX_ATTENTION; mixer <= AR_MIX_CONV; mixer++) {
        ar__arena_reset(m, own);
        if (ar__mixes(p, SIZE_MAX, mixer)) place_one[mixer](p);
        end = ar__max(end, ar__arena_mark(m));
    }
    ar__arena_reset(m, end);
}

static void place_head(ar_pass *p) {
    const ar_arch *a = &p->model->arch;
    ar_arena *m = &p->arena;
    size_t c = p->head.most, d = (size_t)a->dim;
    p->head.at = ar__arena_take(p->index, c * sizeof *p->head.at);
    p->head.target = ar__arena_take(p->index, c * sizeof *p->head.target);
    p->head.start = ar__arena_take(p->index, (c + 1) * sizeof *p->head.start);
    p->head.key = ar__arena_take(p->index, c * sizeof *p->head.key);
    p->head.sample = ar__arena_take(p->index, c * sizeof *p->head.sample);
    p->head.slot = ar__arena_take(p->index, (c + 1) * sizeof *p->head.slot);
    p->head.segments = ar__arena_take(p->index, c * sizeof *p->head.segments);
    p->head.x = ar__arena_f32(m, c * d);
    p->head.h = ar__arena_f32(m, c * d);
    p->head.dh = p->spec.train ? ar__arena_f32(m, c * d) : NULL;
    p->head.rstd = ar__arena_f32(m, c);
    p->head.nll = ar__arena_f32(m, p->spec.tokens);
    p->head.read = ar__arena_f32(p->index, p->spec.tokens);
    p->head.scale = ar__arena_f32(p->index, c);
    p->head.logits = ar__arena_f32(m, c * (size_t)a->vocab);
    size_t r = rank_at(&p->spec, ar__module_head(a));
    p->head.su = r ? ar__arena_f32(m, c * r) : NULL;
}

static void place(ar_pass *p) {
    place_common(p);
    place_kept(p);
    ar_mark kept = ar__arena_mark(&p->arena);
    place_shared(p);
    ar_mark shared = ar__arena_mark(&p->arena);
    place_mixer(p);
    ar__arena_reset(&p->arena, shared);
    p->act = ar__arena_f32(&p->arena, p->spec.tokens * ar__max(ar__widths_of(p, SIZE_MAX).ff, ar__widest_mlp(&p->model->arch)));
    place_mlp_wide(p);
    ar__experts_place(p);
    ar__arena_reset(&p->arena, kept);
    place_head(p);
}

static ar_pass *measured(const ar_model *m, const ar_pass_spec *spec) {
    ar_pass *p = ar__alloc(1, sizeof *p);
    if (!p) return NULL;
    p->model = m;
    p->spec = *spec;
    p->head.piece = ar__head_piece(m);
    p->head.most = p->head.piece * ar__max(spec->head_pieces, 1);
    p->index = m->rt->ops->memory->is_host ? &p->arena : &p->own_index;
    p->acts = ar__alloc((size_t)m->arch.layers + 1, sizeof *p->acts);
    if (!p->acts) {
        free(p);
        return NULL;
    }
    place(p);
    return p;
}

size_t ar__pass_bytes(const ar_model *m, const ar_pass_spec *spec) {
    ar_pass *p = measured(m, spec);
    size_t bytes = p ? p->arena.peak : SIZE_MAX;
    ar__pass_free(p);
    return bytes;
}

/* What the operators have in their own memory, and, where that is apart, the index arrays in the host's. */
static bool allocate(ar_pass *p) {
    size_t bytes = p->arena.peak, index = p->own_index.peak;
    if (!ar__own_arena_init(&p->arena, p->model->rt, bytes)) return false;
    return ar__arena_init(&p->own_index, index);
}

/* What the delta rule forms of a row: its vectors and gates, and their gradients by value head. */
static size_t mixer_floats(const ar_arch *a) {
    const ar_delta_sizes *d = &a->delta;
    return (size_t)(2 * d->key_heads * d->key_dim + 3 * d->value_heads + 2 * d->value_heads * d->key_dim);
}

size_t ar__pass_scratch_bytes(const ar_model *m, const ar_pass_spec *spec) {
    ar_work w = {.rows = spec->tokens,
                 .head_rows = ar__head_piece(m) * ar__max(spec->head_pieces, 1),
                 .vocab = (size_t)m->arch.vocab,
                 .mixer = mixer_floats(&m->arch)};
    for (size_t i = 0; i < m->module_count; i++) {
        const ar_module *mod = &m->modules[i];
        size_t wider = mod->path ? (size_t)(mod->n_out > mod->n_in ? mod->n_out : mod->n_in) : 0;
        if (mod->kind == AR_MODULE_LINEAR) w.widest = ar__max(w.widest, wider);
        if (spec->ranks) w.factor = ar__max(w.factor, wider * (size_t)spec->ranks[i]);
    }
    for (size_t i = 0; i < (size_t)m->arch.layers; i++) w.queries = ar__max(w.queries, (size_t)m->arch.heads * m->layers[i].head_dim);
    return m->rt->ops->scratch_bytes(m->rt, &w);
}

/* On a device scratch grows while it computes, where it is too late to say that there is no more. */
static bool device_holds_scratch(const ar_pass *p) {
    ar_device_info info = ar__device_info(p->model->rt);
    return p->model->rt->ops->memory->is_host || info.memory_bytes == 0 ||
           ar__pass_scratch_bytes(p->model, &p->spec) <= info.free_bytes + info.scratch_bytes;
}

ar_status ar__pass_new(ar_pass **out, const ar_model *m, const ar_pass_spec *spec, ar_error *err) {
    *out = NULL;
    ar_status s = ar__model_mirror(m, err);
    if (s) return s;
    ar_pass *p = measured(m, spec);
    size_t bytes = p ? p->arena.peak : 0;
    if (!p || !allocate(p) || !device_holds_scratch(p)) {
        ar__pass_free(p);
        if (!m->rt->ops->memory->is_host)
            return ar__fail(err, AR_ERR_MEMORY,
                            "%s: %zu MiB of activations are more than is free there; take fewer tokens at a time, or --device cpu",
                            ar_runtime_device(m->rt), bytes >> 20);
        return ar__fail(err, AR_ERR_MEMORY,
                        "activations: %zu MiB could not be had; use a smaller --micro-batch or --max-length, or --checkpoint-layers on",
                        bytes >> 20);
    }
    place(p);
    *out = p;
    return AR_OK;
}

void ar__pass_free(ar_pass *p) {
    if (!p) return;
    ar__own_arena_release(&p->arena, p->model->rt);
    ar__arena_release(&p->own_index);
    free(p->acts);
    free(p);
}
