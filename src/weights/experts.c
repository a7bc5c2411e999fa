#include "weights/experts.h"

#include <string.h>

#include "base/fail.h"

static const char *const of_expert[AR_EXPERT_PARTS] = {"gate_proj", "up_proj", "down_proj"};
static const char *const in_gguf[AR_EXPERT_PARTS] = {"gate", "up", "down"};

static const ar_base_weight *find(const ar_base *base, ar_buf *path) { return path->failed ? NULL : ar__base_find(base, path->data); }

static const ar_base_weight *find_own(const ar_base *base, const ar_arch *a, int64_t layer, int64_t expert, ar_expert_part part) {
    ar_buf path = {0};
    ar__buf_printf(&path, "%s%s%lld.%s.%lld.%s", a->names->prefix, a->names->layers, (long long)layer, a->names->experts, (long long)expert,
                   of_expert[part]);
    const ar_base_weight *w = find(base, &path);
    ar__buf_release(&path);
    return w;
}

static const ar_base_weight *find_stack(const ar_base *base, const ar_arch *a, int64_t layer, ar_expert_part part) {
    ar_buf path = {0};
    if (ar__base_info(base)->is_gguf)
        ar__buf_printf(&path, "blk.%lld.ffn_%s_exps", (long long)layer, in_gguf[part]);
    else
        ar__buf_printf(&path, "%s%s%lld.%s.%s", a->names->prefix, a->names->layers, (long long)layer, a->names->experts,
                       part == AR_EXPERT_DOWN ? "down_proj" : "gate_up_proj");
    const ar_base_weight *w = find(base, &path);
    ar__buf_release(&path);
    return w;
}

static ar_status check(const ar_base *base, const ar_base_weight *w, int dims, const int64_t *shape, ar_error *err) {
    const char *file = ar__tensors_path(ar__base_files(base), w->file);
    bool gguf = ar__base_info(base)->is_gguf, fits = w->dims == dims;
    for (int i = 0; fits && !w->packed && i < dims; i++) fits = w->shape[i] == shape[i];
    if (!fits || (dims == 2 && (w->n_out != shape[0] || w->n_in != shape[1]))) {
        ar_buf found = {0}, wanted = {0};
        for (int i = 0; i < w->dims; i++) ar__buf_printf(&found, "%s%lld", i ? ", " : "", (long long)w->shape[i]);
        for (int i = 0; i < dims; i++) ar__buf_printf(&wanted, "%s%lld", i ? ", " : "", (long long)shape[i]);
        ar_status s = ar__fail(err, AR_ERR_MISMATCH, "%s: tensor '%s' is [%s], %s [%s]", file, w->tensor, found.data ? found.data : "",
                               gguf ? "its key-values want" : "config.json wants", wanted.data ? wanted.data : "");
        ar__buf_release(&found);
        ar__buf_release(&wanted);
        return s;
    }
    if (dims == 2) return AR_OK;
    if (gguf ? w->type < AR_DTYPE_COUNT && ar__dtype(w->type)->is_weight : ar__dtype_is_float(w->type)) return AR_OK;
    return ar__fail(err, AR_ERR_UNSUPPORTED, "%s: tensor '%s' is %s, wanted f32, f16 or bf16%s", file, w->tensor, w->type_name,
                    gguf ? ", or a type of docs/gguf.md that runs" : "");
}

ar_status ar__base_find_expert(ar_expert_weight *out, const ar_base *base, const ar_arch *a, int64_t layer, int64_t expert,
                               ar_expert_part part, ar_error *err) {
    bool down = part == AR_EXPERT_DOWN, fused = !down && !ar__base_info(base)->is_gguf;
    *out = (ar_expert_weight){.rows = down ? a->dim : a->expert_ff, .cols = down ? a->expert_ff : a->dim};
    const int64_t shape[] = {a->experts, fused ? 2 * out->rows : out->rows, out->cols}, own[] = {out->rows, out->cols};
    if ((out->w = find_own(base, a, layer, expert, part))) return check(base, out->w, 2, own, err);
    if (!(out->w = find_stack(base, a, layer, part))) return AR_OK;
    out->first = expert * shape[1] + (part == AR_EXPERT_UP && fused ? out->rows : 0);
    return check(base, out->w, 3, shape, err);
}

ar_status ar__base_read_expert(float *dst, const ar_base *base, const ar_expert_weight *x, int64_t first, int64_t count, ar_error *err) {
    const ar_dtype_info *type = ar__dtype(x->w->type);
    if (x->w->dims < 3) return ar__base_read_rows(dst, base, x->w, x->first + first, count, err);
    size_t row = (size_t)x->cols / type->block * type->bytes;
    type->to_f32(dst, (const char *)x->w->data + (size_t)(x->first + first) * row, (size_t)(count * x->cols));
    return AR_OK;
}
