#include "model/acts.h"

#include "base/size.h"
#include "model/forward.h"
#include "ops/arena.h"

ar_widths ar__widths_of(const ar_pass *p, size_t layer) {
    ar_widths w = {0};
    for (size_t i = 0; i < (size_t)p->model->arch.layers; i++) {
        const ar_layer *l = &p->model->layers[i];
        if (layer != SIZE_MAX && layer != i) continue;
        w.q = ar__max(w.q, (size_t)p->model->arch.heads * l->head_dim);
        w.kv = ar__max(w.kv, l->kv_heads * l->head_dim);
        w.kv_heads = ar__max(w.kv_heads, l->kv_heads);
        w.ff = ar__max(w.ff, l->ff);
    }
    return w;
}

bool ar__mixes(const ar_pass *p, size_t layer, ar_mixer mixer) {
    const ar_arch *ar = &p->model->arch;
    for (size_t l = 0; l < (size_t)ar->layers; l++)
        if ((layer == l || layer == SIZE_MAX) && (ar_mixer)ar->mixer[l] == mixer) return true;
    return false;
}

size_t ar__mixer_width(const ar_pass *p, size_t layer) {
    const ar_arch *ar = &p->model->arch;
    size_t attention = ar__mixes(p, layer, AR_MIX_ATTENTION) ? ar__widths_of(p, layer).q : 0;
    size_t conv = ar__mixes(p, layer, AR_MIX_CONV) ? (size_t)ar->dim : 0;
    return ar__max(ar__max(attention, conv), ar__mixes(p, layer, AR_MIX_DELTA) ? (size_t)ar__delta_values(&ar->delta) : 0);
}

typedef struct part {
    float **at;
    size_t width; /* of a row */
} part;

enum { MOST_PARTS = 8 };

static void add_part(part *parts, size_t *count, float **at, size_t width, bool there) {
    if (there) parts[(*count)++] = (part){at, width};
}

static size_t attention_parts(const ar_pass *p, size_t layer, ar_acts *a, part *parts, size_t n) {
    const ar_layer *l = p->model->layers;
    ar_widths w = ar__widths_of(p, layer);
    bool any = layer == SIZE_MAX, own = any || l[layer].kv_layer == layer;
    add_part(parts, &n, &a->q, w.q, true);
    add_part(parts, &n, &a->k, w.kv, own);
    add_part(parts, &n, &a->v, w.kv, own && (any || !l[layer].v_is_k));
    add_part(parts, &n, &a->head_gate, w.q, p->model->arch.gated);
    return n;
}

static size_t delta_parts(const ar_pass *p, ar_acts *a, part *parts, size_t n) {
    const ar_delta_sizes *d = &p->model->arch.delta;
    add_part(parts, &n, &a->columns, (size_t)ar__delta_columns(d), true);
    add_part(parts, &n, &a->z, (size_t)ar__delta_values(d), true);
    return n;
}

static size_t conv_parts(const ar_pass *p, ar_acts *a, part *parts, size_t n) {
    size_t dim = (size_t)p->model->arch.dim;
    add_part(parts, &n, &a->gate_front, dim, true);
    add_part(parts, &n, &a->gate_behind, dim, true);
    add_part(parts, &n, &a->through, dim, true);
    return n;
}

/* Behind the first n of them. */
static size_t mixer_parts(const ar_pass *p, size_t layer, ar_mixer mixer, ar_acts *a, part *parts, size_t n) {
    switch (mixer) {
    case AR_MIX_ATTENTION: return attention_parts(p, layer, a, parts, n);
    case AR_MIX_DELTA: return delta_parts(p, a, parts, n);
    case AR_MIX_CONV: return conv_parts(p, a, parts, n);
    }
    return n;
}

/* Those that all mixers have, but x. */
static size_t common_parts(const ar_pass *p, size_t layer, ar_acts *a, part *parts, size_t n) {
    size_t dim = (size_t)p->model->arch.dim;
    add_part(parts, &n, &a->mid, dim, true);
    add_part(parts, &n, &a->att, ar__mixer_width(p, layer), true);
    add_part(parts, &n, &a->o, dim, ar__arch_has(&p->model->arch, AR_SLOT_ATTN_OUT_NORM));
    return n;
}

static void place_parts(ar_pass *p, const part *parts, size_t count) {
    for (size_t i = 0; i < count; i++) *parts[i].at = ar__arena_f32(&p->arena, p->spec.tokens * parts[i].width);
}

/* Each mixer's own begin where another's do. */
void ar__acts_place_wide(ar_pass *p, ar_acts *a, size_t layer) {
    part parts[MOST_PARTS];
    ar_arena *m = &p->arena;
    place_parts(p, parts, common_parts(p, layer, a, parts, 0));
    ar_mark own = ar__arena_mark(m), end = own;
    for (ar_mixer mixer = AR_MIX_ATTENTION; mixer <= AR_MIX_CONV; mixer++) {
        ar__arena_reset(m, own);
        if (ar__mixes(p, layer, mixer)) place_parts(p, parts, mixer_parts(p, layer, mixer, a, parts, 0));
        end = ar__max(end, ar__arena_mark(m));
    }
    ar__arena_reset(m, end);
}

/* All that a layer has, x first. */
static size_t all_parts(const ar_pass *p, size_t layer, ar_mixer mixer, ar_acts *a, part *parts) {
    parts[0] = (part){&a->x, (size_t)p->model->arch.dim};
    return mixer_parts(p, layer, mixer, a, parts, common_parts(p, layer, a, parts, 1));
}

bool ar__acts_are_rounded(const ar_pass *p) { return p->spec.train && p->model->rt->bf16; }

void ar__acts_place_rounded(ar_pass *p, ar_acts *a, size_t layer) {
    size_t most = 0;
    for (ar_mixer mixer = AR_MIX_ATTENTION; mixer <= AR_MIX_CONV; mixer++) {
        part parts[MOST_PARTS];
        ar_acts none;
        size_t width = 0;
        if (!ar__mixes(p, layer, mixer)) continue;
        for (size_t i = 0, n = all_parts(p, layer, mixer, &none, parts); i < n; i++) width += parts[i].width;
        most = ar__max(most, width);
    }
    a->rounded = ar__arena_take(&p->arena, p->spec.tokens * most * sizeof *a->rounded);
}

/* What a layer is formed again of, which is kept as it was: its input, or where its MLP alone is what that reads. */
static bool is_exact(const ar_pass *p, size_t layer, float *const *at) {
    const ar_acts *a = &p->acts[layer];
    ar_level level = ar__pass_level(p, layer);
    return at == (level == AR_LEVEL_X || p->model->arch.parallel ? &a->x : &a->mid) && (level == AR_LEVEL_X || level == AR_LEVEL_ATTENTION);
}

static size_t parts_of(const ar_pass *p, size_t layer, ar_acts *a, part *parts) {
    return all_parts(p, layer, (ar_mixer)p->model->arch.mixer[layer], a, parts);
}

void ar__acts_place_exact(ar_pass *p, size_t layer) {
    part parts[MOST_PARTS];
    for (size_t i = 0, n = parts_of(p, layer, &p->acts[layer], parts); i < n; i++)
        if (is_exact(p, layer, parts[i].at)) place_parts(p, &parts[i], 1);
}

void ar__acts_lend(ar_pass *p, size_t layer) {
    part to[MOST_PARTS], from[MOST_PARTS];
    size_t n = parts_of(p, layer, &p->acts[layer], to);
    parts_of(p, layer, &p->wide, from);
    for (size_t i = 0; i < n; i++)
        if (!is_exact(p, layer, to[i].at)) *to[i].at = *from[i].at;
}

void ar__acts_round(ar_pass *p, size_t layer, const ar_rows *rows) {
    const ar_runtime *rt = p->model->rt;
    part parts[MOST_PARTS];
    ar_acts *a = &p->acts[layer];
    uint16_t *to = a->rounded;
    if (!to) return;
    for (size_t i = 0, n = parts_of(p, layer, a, parts); i < n; i++) {
        rt->ops->bf16_round(rt, to, *parts[i].at, rows->count * parts[i].width);
        to += p->spec.tokens * parts[i].width;
    }
}

void ar__acts_widen(ar_pass *p, size_t layer, const ar_rows *rows) {
    const ar_runtime *rt = p->model->rt;
    part parts[MOST_PARTS];
    ar_acts *a = &p->acts[layer];
    const uint16_t *from = a->rounded;
    if (!from) return;
    for (size_t i = 0, n = parts_of(p, layer, a, parts); i < n; i++) {
        rt->ops->bf16_widen(rt, *parts[i].at, from, rows->count * parts[i].width);
        from += p->spec.tokens * parts[i].width;
    }
}

void ar__acts_place_narrow(ar_pass *p, ar_acts *a, size_t layer) {
    const ar_arch *ar = &p->model->arch;
    bool own = layer == SIZE_MAX || p->model->layers[layer].kv_layer == layer;
    size_t t = p->spec.tokens, kv_heads = ar__widths_of(p, layer).kv_heads;
    ar_arena *m = &p->arena;
    a->rstd_attn = ar__arena_f32(m, t);
    a->rstd_mlp = ar__arena_f32(m, t);
    a->rstd_o = ar__arch_has(ar, AR_SLOT_ATTN_OUT_NORM) ? ar__arena_f32(m, t) : NULL;
    if (ar__mixes(p, layer, AR_MIX_ATTENTION)) {
        a->lse = ar__arena_f32(m, t * (size_t)ar->heads);
        a->rstd_q = ar->qk_norm ? ar__arena_f32(m, t * (size_t)ar->heads) : NULL;
        a->rstd_k = ar->qk_norm && own ? ar__arena_f32(m, t * kv_heads) : NULL;
        a->rstd_v = ar->v_norm && own ? ar__arena_f32(m, t * kv_heads) : NULL;
    }
    if (ar__mixes(p, layer, AR_MIX_DELTA)) {
        size_t heads = (size_t)ar->delta.value_heads;
        a->b = ar__arena_f32(m, t * heads);
        a->a = ar__arena_f32(m, t * heads);
        a->rstd_delta = ar__arena_f32(m, t * heads);
    }
}
