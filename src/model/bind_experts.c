/* Experts that a base holds in one tensor for all of a layer, and their biases (weights/experts.h). */
#include <string.h>

#include "base/fail.h"
#include "base/mem.h"
#include "model/bind_impl.h"
#include "weights/experts.h"

/* A copy where the matrix lies otherwise in the file, or its bytes are not aligned to their type. */
static ar_status take(ar_binder *b, size_t i, const ar_expert_weight *x) {
    const ar_dtype_info *t = ar__dtype(x->type);
    size_t row = (size_t)x->cols / t->block * t->bytes, size = (size_t)x->rows * row;
    const char *data = x->layout == AR_EXPERT_ROWS ? (const char *)x->w->data + (size_t)x->first * row : NULL;
    ar_status s = AR_OK;
    if (!data || (uintptr_t)data % (t->block > 1 ? 1 : t->bytes)) {
        void *copy = ar__alloc(size, 1);
        if (!copy) return ar__fail_memory(b->err, x->w->tensor);
        b->m->owned[i].turned = copy;
        if (data)
            memcpy(copy, data, size);
        else
            s = ar__base_copy_expert(copy, b->m->base, x, b->err);
        data = copy;
    }
    ar__bind_set(b->m, i, data, x->type);
    return s;
}

static ar_status bind_bias(ar_binder *b, size_t i, int64_t expert, ar_expert_part part) {
    const ar_module *mod = &b->m->modules[i];
    const ar_base_weight *from;
    float *bias = b->m->owned[i].bias = ar__alloc((size_t)mod->n_out, sizeof *bias);
    if (!bias) return ar__fail_memory(b->err, mod->path);
    ar_status s = ar__base_read_expert_bias(bias, &from, b->m->base, &b->m->arch, mod->layer, expert, part, b->err);
    if (!s && !from) return ar__bind_missing(b, mod->path, ".bias");
    if (!s) ar__bind_mark_used(b, from);
    return s;
}

/* In bf16, of a type that products do not take, or by its scale. */
static ar_status widen(const ar_binder *b, size_t i, const ar_expert_weight *x) {
    size_t cols = (size_t)x->cols;
    uint16_t *copy = ar__alloc((size_t)x->rows * cols, sizeof *copy);
    float *row = ar__alloc(cols, sizeof *row);
    ar_status s = copy && row ? AR_OK : ar__fail_memory(b->err, x->w->tensor);
    b->m->owned[i].turned = copy;
    for (int64_t r = 0; !s && r < x->rows; r++)
        if (!(s = ar__base_read_expert(row, b->m->base, x, r, 1, b->err))) ar__dtype(AR_BF16)->from_f32(copy + (size_t)r * cols, row, cols);
    free(row);
    ar__bind_set(b->m, i, copy, AR_BF16);
    return s;
}

ar_status ar__bind_in_stack(ar_binder *b, size_t i) {
    const ar_arch *a = &b->m->arch;
    const ar_module *mod = &b->m->modules[i];
    size_t at = i - ar__module_experts(a);
    int64_t expert = (int64_t)(at / AR_EXPERT_PARTS % (size_t)a->experts);
    ar_expert_part part = (ar_expert_part)(at % AR_EXPERT_PARTS);
    ar_expert_weight x;
    ar_status s = ar__base_find_expert(&x, b->m->base, a, mod->layer, expert, part, b->err);
    if (s) return s;
    if (!x.w) return ar__bind_missing(b, mod->path, ".weight");
    bool wide = x.layout == AR_EXPERT_ROWS && (x.w->scale || !ar__dtype(x.type)->is_weight);
    if ((s = wide ? widen(b, i, &x) : take(b, i, &x))) return s;
    ar__bind_mark_used(b, x.w);
    if (x.scales) ar__bind_mark_used(b, x.scales);
    if (x.layout != AR_EXPERT_ROWS && expert == a->experts - 1 && part != AR_EXPERT_GATE) ar__base_forget(x.w);
    return mod->has_bias ? bind_bias(b, i, expert, part) : AR_OK;
}
