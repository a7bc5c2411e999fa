/* Experts that a base holds in one tensor for all of a layer (weights/experts.h). */
#include <string.h>

#include "base/fail.h"
#include "base/mem.h"
#include "model/bind_impl.h"
#include "weights/experts.h"

/* Where the file's bytes are not aligned to their type, a copy of the matrix. */
static ar_status take(ar_binder *b, size_t i, const ar_expert_weight *x) {
    const ar_dtype_info *t = ar__dtype(x->w->type);
    size_t row = (size_t)x->cols / t->block * t->bytes, size = (size_t)x->rows * row;
    const char *data = (const char *)x->w->data + (size_t)x->first * row;
    if ((uintptr_t)data % (t->block > 1 ? 1 : t->bytes)) {
        void *copy = ar__alloc(size, 1);
        if (!copy) return ar__fail_memory(b->err, x->w->tensor);
        b->m->owned[i].turned = copy;
        data = memcpy(copy, data, size);
    }
    ar__bind_set(b->m, i, data, x->w->type);
    return AR_OK;
}

ar_status ar__bind_in_stack(ar_binder *b, size_t i) {
    const ar_arch *a = &b->m->arch;
    const ar_module *mod = &b->m->modules[i];
    size_t at = i - ar__module_experts(a);
    int64_t expert = (int64_t)(at / AR_EXPERT_PARTS % (size_t)a->experts);
    ar_expert_weight x;
    ar_status s = ar__base_find_expert(&x, b->m->base, a, mod->layer, expert, (ar_expert_part)(at % AR_EXPERT_PARTS), b->err);
    if (s) return s;
    if (!x.w) return ar__bind_missing(b, mod->path, ".weight");
    if (!(s = take(b, i, &x))) ar__bind_mark_used(b, x.w);
    return s;
}
