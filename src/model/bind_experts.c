/* Experts that a base holds in one tensor for all of a layer:
 *
 *     PATH.gate_up_proj [experts, 2 ff, dim]   of each expert the rows of gate, then those of up
 *     PATH.down_proj    [experts, dim, ff]
 *     blk.N.ffn_gate_exps, ffn_up_exps, ffn_down_exps  of a GGUF file, of any type that runs */
#include <string.h>

#include "arch/names.h"
#include "base/fail.h"
#include "base/mem.h"
#include "model/bind_impl.h"

/* Which matrix of the stack, and its rows there. */
typedef struct place {
    ar_buf path; /* of the stack */
    size_t expert, first, rows;
} place;

static place place_of(const ar_model *m, size_t i) {
    const ar_arch *a = &m->arch;
    size_t at = i - ar__module_experts(a), part = at % AR_EXPERT_PARTS;
    const char *path = m->modules[i].path, *number = strrchr(path, '.');
    while (number[-1] != '.') number--; /* PATH.3.gate_proj */
    place p = {.expert = at / AR_EXPERT_PARTS % (size_t)a->experts};
    p.first = part == AR_EXPERT_UP ? (size_t)a->expert_ff : 0;
    p.rows = (size_t)(part == AR_EXPERT_DOWN ? a->dim : 2 * a->expert_ff);
    if (ar__base_info(m->base)->is_gguf) {
        static const char *const names[AR_EXPERT_PARTS] = {"gate", "up", "down"};
        p.first = 0;
        p.rows = (size_t)m->modules[i].n_out;
        ar__buf_printf(&p.path, "blk.%d.ffn_%s_exps", m->modules[i].layer, names[part]);
        return p;
    }
    ar__buf_printf(&p.path, "%.*s.%s", (int)(number - 1 - path), path, part == AR_EXPERT_DOWN ? "down_proj" : "gate_up_proj");
    return p;
}

static ar_status check(const ar_binder *b, const ar_base_weight *w, const place *p, int64_t columns) {
    const ar_arch *a = &b->m->arch;
    const char *file = ar__tensors_path(ar__base_files(b->m->base), w->file);
    if (w->dims != 3 || w->shape[0] != a->experts || w->shape[1] != (int64_t)p->rows || w->shape[2] != columns) {
        ar_buf found = {0};
        for (int i = 0; i < w->dims; i++) ar__buf_printf(&found, "%s%lld", i ? ", " : "", (long long)w->shape[i]);
        ar_status s =
            ar__fail(b->err, AR_ERR_MISMATCH, "%s: tensor '%s' is [%s], %s [%lld, %zu, %lld]", file, w->tensor,
                     found.data ? found.data : "", ar__base_info(b->m->base)->is_gguf ? "its key-values want" : "config.json wants",
                     (long long)a->experts, p->rows, (long long)columns);
        ar__buf_release(&found);
        return s;
    }
    bool gguf = ar__base_info(b->m->base)->is_gguf;
    if (gguf ? w->type < AR_DTYPE_COUNT && ar__dtype(w->type)->is_weight : ar__dtype_is_float(w->type)) return AR_OK;
    return ar__fail(b->err, AR_ERR_UNSUPPORTED, "%s: tensor '%s' is %s, wanted f32, f16 or bf16%s", file, w->tensor, w->type_name,
                    gguf ? ", or a type of docs/gguf.md that runs" : "");
}

/* Where the file's bytes are not aligned to their type, a copy of the matrix. */
static ar_status take(ar_binder *b, size_t i, const ar_base_weight *w, const place *p) {
    const ar_module *mod = &b->m->modules[i];
    const ar_dtype_info *t = ar__dtype(w->type);
    size_t row = (size_t)mod->n_in / t->block * t->bytes, size = (size_t)mod->n_out * row;
    const char *data = (const char *)w->data + (p->expert * p->rows + p->first) * row;
    if ((uintptr_t)data % (t->block > 1 ? 1 : t->bytes)) {
        void *copy = ar__alloc(size, 1);
        if (!copy) return ar__fail_memory(b->err, w->tensor);
        b->m->owned[i].turned = copy;
        data = memcpy(copy, data, size);
    }
    ar__bind_set(b->m, i, data, w->type);
    return AR_OK;
}

ar_status ar__bind_in_stack(ar_binder *b, size_t i) {
    const ar_module *mod = &b->m->modules[i];
    place p = place_of(b->m, i);
    const ar_base_weight *w = p.path.failed ? NULL : ar__base_find(b->m->base, p.path.data);
    ar_status s = p.path.failed ? ar__fail_memory(b->err, mod->path)
                  : w           ? check(b, w, &p, mod->n_in)
                                : ar__bind_missing(b, mod->path, ".weight");
    if (!s && w) s = take(b, i, w, &p);
    if (!s && w) ar__bind_mark_used(b, w);
    ar__buf_release(&p.path);
    return s;
}
