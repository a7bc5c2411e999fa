/* The experts of a model that is written anew: of a GGUF file three stacks a layer, of a folder what its family's files have.
 *
 *     blk.N.ffn_gate_exps, ffn_up_exps, ffn_down_exps        [experts, rows, cols]
 *     PATH.E.gate_proj, up_proj, down_proj                   a tensor each
 *     PATH.gate_up_proj, down_proj                           of stacked files: one for all experts, of each gate above up
 *
 * and of gpt_oss with biases, [experts, rows], and in a folder turned (weights/experts.h). */
#include <stdlib.h>

#include "base/fail.h"
#include "base/mem.h"
#include "store/storing.h"
#include "store/types.h"

typedef struct planner {
    ar_storing *st;
    bool *used;
    ar_error *err;
    int64_t layer;
    bool folder;
} planner;

/* Parts first … last of experts from … from + count, in one tensor of `name` with so many dimensions; no tensor where the base has none. */
static ar_status add(planner *p, ar_buf *name, ar_dtype to, int dims, int64_t from, int64_t count, ar_expert_part first,
                     ar_expert_part last) {
    ar_storing *st = p->st;
    size_t parts = (size_t)(last - first) + 1, n = 0;
    ar_expert_weight *x = ar__alloc((size_t)count * parts, sizeof *x);
    ar_status s = x && !name->failed ? AR_OK : ar__fail_memory(p->err, st->o->model);
    for (int64_t e = from; !s && e < from + count; e++)
        for (int part = (int)first; !s && part <= (int)last; part++) {
            s = ar__base_find_expert(&x[n], st->base, &st->arch, p->layer, e, (ar_expert_part)part, p->err);
            if (!s && !x[n].w)
                s = ar__fail(p->err, AR_ERR_MISMATCH, "%s: layer %lld has no weight for expert %lld of %lld", st->o->model,
                             (long long)p->layer, (long long)e, (long long)st->arch.experts);
            if (!s) p->used[x[n].w - ar__base_at(st->base, 0)] = true;
            if (!s && x[n].scales) p->used[x[n].scales - ar__base_at(st->base, 0)] = true;
            n += !s;
        }
    bool turned = dims == 3 && p->folder && st->arch.names->turned_stacks;
    int64_t rows = s ? 0 : x->rows * (int64_t)parts, cols = s ? 0 : x->cols, shape[] = {count, turned ? cols : rows, turned ? rows : cols};
    ar_stored *t = s ? NULL : ar__storing_add(st, name->data, to, dims, shape + 3 - dims, p->err);
    if (!t) {
        free(x);
        return s ? s : AR_ERR_VALUE;
    }
    t->expert = x;
    t->experts = n;
    t->w = x->w;
    t->is_matrix = true;
    t->is_turned = turned;
    t->first = first;
    t->last = last;
    t->weights = t->rows * t->cols;
    t->shown = ar__dtype(to)->name;
    t->is_other = to != st->type;
    return AR_OK;
}

/* Biases of parts first … last, in one tensor. */
static ar_status add_biases(planner *p, const char *name, ar_dtype to, ar_expert_part first, ar_expert_part last) {
    const ar_arch *a = &p->st->arch;
    int64_t each = first == AR_EXPERT_DOWN ? a->dim : a->expert_ff, shape[] = {a->experts, each * (int64_t)(last - first + 1)};
    const ar_base_weight *from = NULL;
    float *probe = ar__alloc((size_t)each, sizeof *probe);
    ar_status s = AR_OK;
    for (int part = (int)first; !s && part <= (int)last; part++) {
        s = probe ? ar__base_read_expert_bias(probe, &from, p->st->base, a, p->layer, 0, (ar_expert_part)part, p->err)
                  : ar__fail_memory(p->err, name);
        if (!s && !from)
            s = ar__fail(p->err, AR_ERR_MISMATCH, "%s: layer %lld has no biases of experts", p->st->o->model, (long long)p->layer);
        if (!s) p->used[from - ar__base_at(p->st->base, 0)] = true;
    }
    free(probe);
    ar_stored *t = s ? NULL : ar__storing_add(p->st, name, to, 2, shape, p->err);
    if (!t) return s ? s : AR_ERR_VALUE;
    t->is_bias = true;
    t->layer = p->layer;
    t->first = first;
    t->last = last;
    return AR_OK;
}

/* Parts first … last of all experts as one tensor of a GGUF file. */
static ar_status add_stack(planner *p, const char *what, ar_expert_part first, ar_expert_part last) {
    const ar_arch *a = &p->st->arch;
    ar_expert_weight x;
    ar_buf name = {0};
    ar__buf_printf(&name, "blk.%lld.ffn_%s_exps.weight", (long long)p->layer, what);
    ar_status s = ar__base_find_expert(&x, p->st->base, a, p->layer, 0, first, p->err);
    ar_dtype to = s || !x.w ? AR_F32 : ar__file_type_for(p->st->type, x.type, (size_t)x.cols);
    if (!s) s = add(p, &name, to, 3, 0, a->experts, first, last);
    ar__buf_clear(&name);
    ar__buf_printf(&name, "blk.%lld.ffn_%s_exps.bias", (long long)p->layer, what);
    if (!s && name.failed) s = ar__fail_memory(p->err, p->st->o->model);
    if (!s && a->bias_experts) s = add_biases(p, name.data, AR_F32, first, last);
    ar__buf_release(&name);
    return s;
}

static ar_status add_stacks(planner *p) {
    static const char *const names[AR_EXPERT_PARTS] = {"gate", "up", "down"};
    bool fused = p->st->arch.names->fused_stacks;
    ar_status s = fused ? add_stack(p, "gate_up", AR_EXPERT_GATE, AR_EXPERT_UP) : AR_OK;
    for (ar_expert_part part = fused ? AR_EXPERT_DOWN : AR_EXPERT_GATE; !s && part < AR_EXPERT_PARTS; part++)
        s = add_stack(p, names[part], part, part);
    return s;
}

/* The name that the files have for "PATH.what" or, of one expert, "PATH.E.what". */
static ar_status add_to_folder(planner *p, const char *what, int64_t expert, ar_expert_part first, ar_expert_part last) {
    const ar_name_map *map = p->st->arch.names;
    ar_buf site = {0}, name = {0};
    ar__buf_printf(&site, "%s%s%lld.%s.", map->prefix, map->layers, (long long)p->layer, map->experts);
    if (expert >= 0) ar__buf_printf(&site, "%lld.", (long long)expert);
    ar__buf_puts(&site, what);
    if (!site.failed) ar__base_name_in_files(&name, map, site.data);
    bool parameter = expert < 0 && !map->renamed_experts; /* of granitemoe the weight of a module */
    if (!parameter) ar__buf_puts(&name, ".weight");
    name.failed |= site.failed;
    ar_status s = expert < 0 ? add(p, &name, p->st->type, 3, 0, p->st->arch.experts, first, last)
                             : add(p, &name, p->st->type, 2, expert, 1, first, last);
    ar__buf_puts(&name, "_bias");
    if (!s && name.failed) s = ar__fail_memory(p->err, p->st->o->model);
    if (!s && p->st->arch.bias_experts) s = add_biases(p, name.data, p->st->type, first, last);
    ar__buf_release(&site);
    ar__buf_release(&name);
    return s;
}

static ar_status add_own(planner *p, int64_t expert) {
    static const char *const names[AR_EXPERT_PARTS] = {"gate_proj", "up_proj", "down_proj"};
    ar_status s = AR_OK;
    for (int part = 0; !s && part < AR_EXPERT_PARTS; part++)
        s = add_to_folder(p, names[part], expert, (ar_expert_part)part, (ar_expert_part)part);
    return s;
}

ar_status ar__plan_experts(bool *used, ar_storing *st, bool folder, ar_error *err) {
    planner p = {.st = st, .used = used, .err = err, .folder = folder};
    ar_status s = AR_OK;
    for (; st->arch.experts && !s && p.layer < st->arch.layers; p.layer++) {
        if (ar__layer_is_dense(&st->arch, p.layer)) continue;
        if (!folder) {
            s = add_stacks(&p);
        } else if (st->arch.names->stacked_files) {
            s = add_to_folder(&p, "gate_up_proj", -1, AR_EXPERT_GATE, AR_EXPERT_UP);
            if (!s) s = add_to_folder(&p, "down_proj", -1, AR_EXPERT_DOWN, AR_EXPERT_DOWN);
        } else {
            for (int64_t e = 0; !s && e < st->arch.experts; e++) s = add_own(&p, e);
        }
    }
    return s;
}
