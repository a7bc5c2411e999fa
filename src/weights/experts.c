#include "weights/experts.h"

#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/mem.h"

enum { MXFP4_VALUES = 32, MXFP4_BYTES = 17, NO_SCALE = 255 };

static const char *const of_expert[AR_EXPERT_PARTS] = {"gate_proj", "up_proj", "down_proj"};
static const char *const in_gguf[AR_EXPERT_PARTS] = {"gate", "up", "down"};

/* Whether gate's rows and up's are together in a stack. */
static bool fuses(const ar_base *base, const ar_arch *a) { return !ar__base_info(base)->is_gguf || a->names->fused_stacks; }

static const ar_base_weight *find(const ar_base *base, ar_buf *path) { return path->failed ? NULL : ar__base_find(base, path->data); }

static const ar_base_weight *find_own(const ar_base *base, const ar_arch *a, int64_t layer, int64_t expert, ar_expert_part part) {
    ar_buf path = {0};
    ar__buf_printf(&path, "%s%s%lld.%s.%lld.%s", a->names->prefix, a->names->layers, (long long)layer, a->names->experts, (long long)expert,
                   of_expert[part]);
    const ar_base_weight *w = find(base, &path);
    ar__buf_release(&path);
    return w;
}

/* ending: "", or what stands behind a folder's name. */
static const ar_base_weight *find_stack(const ar_base *base, const ar_arch *a, int64_t layer, ar_expert_part part, const char *ending) {
    ar_buf path = {0};
    if (ar__base_info(base)->is_gguf)
        ar__buf_printf(&path, "blk.%lld.ffn_%s_exps", (long long)layer,
                       fuses(base, a) && part != AR_EXPERT_DOWN ? "gate_up" : in_gguf[part]);
    else
        ar__buf_printf(&path, "%s%s%lld.%s.%s%s", a->names->prefix, a->names->layers, (long long)layer, a->names->experts,
                       part == AR_EXPERT_DOWN ? "down_proj" : "gate_up_proj", ending);
    const ar_base_weight *w = find(base, &path);
    ar__buf_release(&path);
    return w;
}

static ar_status check_shape(const ar_base *base, const ar_base_weight *w, int dims, const int64_t *shape, ar_error *err) {
    bool fits = w->dims == dims;
    for (int i = 0; fits && !w->packed && i < dims; i++) fits = w->shape[i] == shape[i];
    if (fits && (dims != 2 || (w->n_out == shape[0] && w->n_in == shape[1]))) return AR_OK;
    ar_buf found = {0}, wanted = {0};
    for (int i = 0; i < w->dims; i++) ar__buf_printf(&found, "%s%lld", i ? ", " : "", (long long)w->shape[i]);
    for (int i = 0; i < dims; i++) ar__buf_printf(&wanted, "%s%lld", i ? ", " : "", (long long)shape[i]);
    ar_status s = ar__fail(err, AR_ERR_MISMATCH, "%s: tensor '%s' is [%s], %s [%s]", ar__tensors_path(ar__base_files(base), w->file),
                           w->tensor, found.data ? found.data : "",
                           ar__base_info(base)->is_gguf ? "its key-values want" : "config.json wants", wanted.data ? wanted.data : "");
    ar__buf_release(&found);
    ar__buf_release(&wanted);
    return s;
}

static ar_status check(const ar_base *base, const ar_base_weight *w, int dims, const int64_t *shape, ar_error *err) {
    bool gguf = ar__base_info(base)->is_gguf;
    ar_status s = check_shape(base, w, dims, shape, err);
    if (s || dims == 2) return s;
    if (gguf ? ar__dtype(w->type)->to_f32 != NULL : ar__dtype_is_float(w->type)) return AR_OK;
    return ar__fail(err, AR_ERR_UNSUPPORTED, "%s: tensor '%s' is %s, wanted f32, f16 or bf16%s",
                    ar__tensors_path(ar__base_files(base), w->file), w->tensor, w->type_name,
                    gguf ? ", or another type of docs/gguf.md" : "");
}

static ar_status fail_part(const ar_base *base, const ar_base_weight *w, const char *what, ar_error *err) {
    return ar__fail(err, AR_ERR_FORMAT, "%s: tensor '%s' and its scales do not make MXFP4: %s",
                    ar__tensors_path(ar__base_files(base), w->file), w->tensor, what);
}

/* Rows of a stack's matrices in the file. */
static int64_t rows_in_file(const ar_expert_weight *x, const ar_base *base, const ar_arch *a, ar_expert_part part) {
    return part == AR_EXPERT_DOWN || !fuses(base, a) ? x->rows : 2 * x->rows;
}

/* OpenAI's blocks and scales. */
static ar_status find_mxfp4(ar_expert_weight *x, const ar_base *base, const ar_arch *a, int64_t layer, int64_t expert, ar_expert_part part,
                            ar_error *err) {
    int64_t wide = rows_in_file(x, base, a, part), shape[] = {a->experts, wide, x->cols / MXFP4_VALUES, MXFP4_VALUES / 2};
    x->scales = find_stack(base, a, layer, part, "_scales");
    x->layout = AR_EXPERT_MXFP4;
    x->type = AR_MXFP4;
    x->step = wide / x->rows;
    x->first = expert * wide + (part == AR_EXPERT_UP);
    if (!x->scales) return fail_part(base, x->w, "the scales are not there", err);
    if (x->cols % MXFP4_VALUES) return fail_part(base, x->w, "rows of it are no multiple of 32", err);
    if (x->w->type != AR_U8 || x->scales->type != AR_U8) return fail_part(base, x->w, "wanted bytes (U8)", err);
    ar_status s = check_shape(base, x->w, 4, shape, err);
    return s ? s : check_shape(base, x->scales, 3, shape, err);
}

ar_status ar__base_find_expert(ar_expert_weight *out, const ar_base *base, const ar_arch *a, int64_t layer, int64_t expert,
                               ar_expert_part part, ar_error *err) {
    bool down = part == AR_EXPERT_DOWN, turned = a->names->turned_stacks && !ar__base_info(base)->is_gguf;
    *out = (ar_expert_weight){.rows = down ? a->dim : a->expert_ff, .cols = down ? a->expert_ff : a->dim, .step = 1, .expert = expert};
    int64_t wide = rows_in_file(out, base, a, part), own[] = {out->rows, out->cols};
    int64_t shape[] = {a->experts, turned ? out->cols : wide, turned ? wide : out->cols};
    if (turned && (out->w = find_stack(base, a, layer, part, "_blocks"))) return find_mxfp4(out, base, a, layer, expert, part, err);
    if ((out->w = find_own(base, a, layer, expert, part))) {
        out->type = out->w->type;
        return check(base, out->w, 2, own, err);
    }
    if (!(out->w = find_stack(base, a, layer, part, ""))) return AR_OK;
    out->type = out->w->type;
    out->layout = turned ? AR_EXPERT_COLUMNS : AR_EXPERT_ROWS;
    out->step = turned ? wide / out->rows : 1;
    out->row = expert * shape[1];
    out->first = turned ? (part == AR_EXPERT_UP) : expert * wide + (part == AR_EXPERT_UP && wide > out->rows ? out->rows : 0);
    return check(base, out->w, 3, shape, err);
}

/* Row r in GGUF's blocks: the scale, then value j low in byte j and value j + 16 high. */
static bool take_mxfp4(unsigned char *dst, const ar_expert_weight *x, int64_t r) {
    int64_t blocks = x->cols / MXFP4_VALUES, row = x->first + r * x->step;
    const unsigned char *from = (const unsigned char *)x->w->data + row * blocks * (MXFP4_VALUES / 2);
    const unsigned char *scale = (const unsigned char *)x->scales->data + row * blocks;
    bool ok = true;
    for (int64_t b = 0; b < blocks; b++, from += MXFP4_VALUES / 2, dst += MXFP4_BYTES) {
        dst[0] = scale[b];
        ok = ok && scale[b] != NO_SCALE;
        for (int j = 0; j < MXFP4_VALUES / 2; j++) {
            int shift = j % 2 * 4;
            dst[1 + j] = (unsigned char)((from[j / 2] >> shift & 15) | (from[j / 2 + MXFP4_VALUES / 4] >> shift & 15) << 4);
        }
    }
    return ok;
}

/* Rows first … first + count in the file's type. */
static void take_columns(char *dst, const ar_expert_weight *x, int64_t first, int64_t count) {
    size_t bytes = ar__dtype(x->type)->bytes, wide = (size_t)(x->rows * x->step);
    for (int64_t c = 0; c < x->cols; c++) {
        const char *from = (const char *)x->w->data + ((size_t)(x->row + c) * wide + (size_t)(x->first + first * x->step)) * bytes;
        for (int64_t r = 0; r < count; r++, from += (size_t)x->step * bytes) memcpy(dst + (size_t)(r * x->cols + c) * bytes, from, bytes);
    }
}

static ar_status no_scale(const ar_base *base, const ar_expert_weight *x, ar_error *err) {
    return fail_part(base, x->w, "a scale of 255, which is no number", err);
}

/* As they are bound, in the memory of the caller. */
static ar_status take_rows(void *dst, const ar_base *base, const ar_expert_weight *x, int64_t first, int64_t count, ar_error *err) {
    size_t row = (size_t)x->cols / MXFP4_VALUES * MXFP4_BYTES;
    bool ok = true;
    if (x->layout == AR_EXPERT_COLUMNS) take_columns(dst, x, first, count);
    for (int64_t r = 0; x->layout == AR_EXPERT_MXFP4 && r < count; r++)
        ok = take_mxfp4((unsigned char *)dst + (size_t)r * row, x, first + r) && ok;
    return ok ? AR_OK : no_scale(base, x, err);
}

ar_status ar__base_read_expert(float *dst, const ar_base *base, const ar_expert_weight *x, int64_t first, int64_t count, ar_error *err) {
    const ar_dtype_info *type = ar__dtype(x->type);
    size_t row = (size_t)x->cols / type->block * type->bytes, n = (size_t)(count * x->cols);
    if (x->w->dims < 3) return ar__base_read_rows(dst, base, x->w, x->first + first, count, err);
    if (x->layout == AR_EXPERT_ROWS) {
        float by = ar__base_scale(x->w, x->expert);
        type->to_f32(dst, (const char *)x->w->data + (size_t)(x->first + first) * row, n);
        for (size_t i = 0; x->w->scale && i < n; i++) dst[i] *= by;
        return AR_OK;
    }
    void *bytes = ar__alloc((size_t)count, row);
    ar_status s = bytes ? take_rows(bytes, base, x, first, count, err) : ar__fail_memory(err, x->w->tensor);
    if (!s) type->to_f32(dst, bytes, n);
    free(bytes);
    return s;
}

ar_status ar__base_copy_expert(void *dst, const ar_base *base, const ar_expert_weight *x, ar_error *err) {
    enum { ROWS = 64 };
    const ar_dtype_info *type = ar__dtype(x->type);
    size_t row = (size_t)x->cols / type->block * type->bytes;
    ar_status s = AR_OK;
#pragma omp parallel for schedule(static)
    for (int64_t first = 0; first < x->rows; first += ROWS) {
        int64_t count = x->rows - first < ROWS ? x->rows - first : ROWS;
        ar_status t = take_rows((char *)dst + (size_t)first * row, base, x, first, count, NULL);
#pragma omp critical(copy_expert)
        if (t) s = t;
    }
    return s ? no_scale(base, x, err) : s;
}

/* ---- biases ------------------------------------------------------------------------------------------------------------------ */

static ar_status read_gguf_bias(float *dst, const ar_base *base, const ar_base_weight *w, const ar_arch *a, int64_t expert, int64_t rows,
                                ar_error *err) {
    const ar_dtype_info *type = ar__dtype(w->bias_type);
    if (!ar__dtype_is_float(w->bias_type) || w->bias_count != (size_t)(a->experts * rows))
        return ar__fail(err, AR_ERR_MISMATCH, "%s: tensor '%s' holds %zu values, wanted %lld of f32, f16 or bf16",
                        ar__tensors_path(ar__base_files(base), w->file), w->bias_tensor, w->bias_count, (long long)(a->experts * rows));
    type->to_f32(dst, (const char *)w->bias + (size_t)(expert * rows) * type->bytes, (size_t)rows);
    return AR_OK;
}

ar_status ar__base_read_expert_bias(float *dst, const ar_base_weight **from, const ar_base *base, const ar_arch *a, int64_t layer,
                                    int64_t expert, ar_expert_part part, ar_error *err) {
    bool gguf = ar__base_info(base)->is_gguf, down = part == AR_EXPERT_DOWN;
    int64_t rows = down ? a->dim : a->expert_ff, step = down ? 1 : 2, shape[] = {a->experts, rows * step};
    const ar_base_weight *w = *from = find_stack(base, a, layer, part, "_bias");
    if (!w || (gguf && !w->bias)) {
        *from = NULL;
        return AR_OK;
    }
    if (gguf) return read_gguf_bias(dst, base, w, a, expert, rows, err);
    ar_status s = check_shape(base, w, 2, shape, err);
    if (!s && !ar__dtype_is_float(w->type))
        s = ar__fail(err, AR_ERR_UNSUPPORTED, "%s: tensor '%s' is %s, wanted f32, f16 or bf16",
                     ar__tensors_path(ar__base_files(base), w->file), w->tensor, w->type_name);
    const ar_dtype_info *type = s ? NULL : ar__dtype(w->type);
    const char *at = s ? NULL : (const char *)w->data + (size_t)(expert * shape[1] + (part == AR_EXPERT_UP)) * type->bytes;
    for (int64_t r = 0; !s && r < rows; r++) type->to_f32(dst + r, at + (size_t)(r * step) * type->bytes, 1);
    return s;
}
