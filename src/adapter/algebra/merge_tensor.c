/* One tensor of a merged base, streamed in blocks of rows.
 *
 *     W' = Q(W + Σ_k s_k B_k A_k)             DoRA: W' = Q(m ⊙ (W + sBA) / ‖W + sBA‖), the norm over the inputs of an output
 *
 * ΔW is summed in f32 first, added to W widened to f32, and rounded once.  W is stored [n_out, n_in], or [n_in, n_out]
 * (embeddings, Conv1D), where a block is of inputs, ΔW's rows are Aᵀ (sB)ᵀ, and DoRA's norms need a pass of their own. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "adapter/algebra/merge.h"
#include "base/fail.h"
#include "base/file.h"
#include "base/mem.h"

enum { BLOCK = 1 << 20, COPY_BYTES = 1 << 20 }; /* elements of a matrix at a time; bytes of what is only carried */

struct forming {
    ar_merge_tensor *t;
    size_t rows, columns, block; /* of the matrix as stored (one of a stack); rows at a time */
    size_t matrices, at;         /* of a stack, and which is formed */
    float *w, *delta, *left;     /* [block, columns] twice; [block, largest rank] */
    float *back;                 /* [block, columns]: what was rounded, widened again */
    void *rounded;
    double *norm;        /* DoRA of a transposed matrix: per column, 1/‖W + sBA‖ · m */
    double *along, *sum; /* per row of the block */
};

static size_t bytes_of(const ar_dtype_info *t, size_t n) { return n / t->block * t->bytes; }

/* The row of the module that the file has at `row`, and its column. */
static size_t module_row(const ar_merge_tensor *t, size_t row) {
    return ar__order_is_of_columns(t->order.order) ? row : (size_t)ar__row_from_gguf(&t->order, (int64_t)row);
}

static size_t module_column(const ar_merge_tensor *t, size_t column) {
    return ar__order_is_of_columns(t->order.order) ? (size_t)ar__row_from_gguf(&t->order, (int64_t)column) : column;
}

static ar_status tell(ar_merging *m, uint64_t bytes, ar_error *err) {
    m->done += bytes;
    if (!m->o->on_progress || m->o->on_progress(m->o->user, m->done, m->total)) return AR_OK;
    return ar__fail(err, AR_ERR_INTERRUPTED, "merge: stopped; nothing is left");
}

/* Into the file; or, where there is none yet, behind what waits for it. */
static ar_status put(ar_merge_tensor *t, ar_writer *w, const void *bytes, size_t n, ar_error *err) {
    uint64_t at;
    ar_status s = w ? ar__writer_put(w, bytes, n, err) : ar__spool_put(&at, t->merge->formed, bytes, n, err);
    if (s) return s;
    if (!w && !t->is_formed) {
        t->formed_at = at;
        t->is_formed = true;
    }
    return tell(t->merge, n, err);
}

/* What was formed before. */
static ar_status put_formed(ar_merge_tensor *t, ar_writer *w, ar_error *err) {
    size_t bytes = bytes_of(ar__dtype(t->to), t->from.count);
    char *part = ar__alloc(COPY_BYTES, 1);
    ar_status s = part ? AR_OK : ar__fail_memory(err, t->name);
    for (size_t at = 0; !s && at < bytes; at += COPY_BYTES) {
        size_t n = bytes - at < COPY_BYTES ? bytes - at : COPY_BYTES;
        s = ar__spool_get(part, t->merge->formed, t->formed_at + at, n, err);
        if (!s) s = put(t, w, part, n, err);
    }
    free(part);
    return s;
}

static ar_status carry(ar_merge_tensor *t, ar_writer *w, ar_error *err) {
    const char *p = t->from.data;
    ar_status s = AR_OK;
    for (size_t at = 0; !s && at < t->from.bytes; at += COPY_BYTES) {
        size_t n = t->from.bytes - at < COPY_BYTES ? t->from.bytes - at : COPY_BYTES;
        s = put(t, w, p + at, n, err);
        ar__filemap_forget(p + at, n);
    }
    return s;
}

/* ---- tensors without products: converted, replaced, biases ---------------------------------------------------------- */
static ar_status not_finite(const ar_merge_tensor *t, float x, float rounded, ar_error *err) {
    const char *type = ar__dtype(t->to)->name;
    if (isfinite(x) && !isfinite(rounded))
        return ar__fail(err, AR_ERR_NUMERIC, "tensor '%s': %g is past the range of %s: give --dtype f32 or bf16", t->name, (double)x, type);
    return ar__fail(err, AR_ERR_NUMERIC, "tensor '%s': the merged weight is %g; is the base damaged, or alpha or scale far too large?",
                    t->name, (double)x);
}

/* Rounds n numbers into out; back receives them as they read again. */
static ar_status round_to(void *out, float *back, const ar_merge_tensor *t, const float *x, size_t n, ar_error *err) {
    const ar_dtype_info *to = ar__dtype(t->to);
    to->from_f32(out, x, n);
    to->to_f32(back, out, n);
    float sum = 0; /* NaN and infinity survive multiplication by 0 */
    for (size_t i = 0; i < n; i++) sum += back[i] * 0.0F;
    if (sum == 0) return AR_OK;
    for (size_t i = 0; i < n; i++)
        if (!isfinite(back[i]) && (isfinite(x[i]) || ar__merge_touches(t))) return not_finite(t, x[i], back[i], err);
    return AR_OK; /* the base's own */
}

static void add_b_biases(float *x, const ar_merge_tensor *t, size_t first, size_t n) {
    for (size_t i = 0; i < n; i++) {
        double sum = 0;
        for (size_t k = 0; k < t->part_count; k++)
            sum += t->part[k].pair->scale * (double)t->part[k].pair->b_bias[module_row(t, first + i)];
        x[i] = (float)((double)x[i] + sum);
    }
}

/* Elements of the whole tensor that replaces this one, in the file's order. */
static void take_whole(float *x, const ar_merge_tensor *t, size_t first, size_t n) {
    size_t columns = t->from.dims > 1 && t->from.shape[0] ? t->from.count / (size_t)t->from.shape[0] : 1;
    for (size_t i = 0; i < n; i++) {
        size_t at = first + i;
        x[i] = t->whole->data[module_row(t, at / columns) * columns + module_column(t, at % columns)] + (t->is_plus_one ? 1.0F : 0.0F);
        if (t->scale != 0.0F) x[i] /= t->scale;
    }
}

static ar_status put_plain(ar_merge_tensor *t, ar_writer *w, ar_error *err) {
    enum { PART = 4096 }; /* a multiple of every dtype's block */
    const ar_dtype_info *from = ar__dtype(t->from.dtype), *to = ar__dtype(t->to);
    float x[PART], back[PART];
    char bytes[PART * sizeof(float)];
    ar_status s = t->whole ? ar__whole_load(t->whole_of, t->whole, err) : AR_OK;
    for (size_t at = 0; !s && at < t->from.count; at += PART) {
        size_t n = t->from.count - at < PART ? t->from.count - at : PART;
        if (t->whole)
            take_whole(x, t, at, n);
        else
            from->to_f32(x, (const char *)t->from.data + bytes_of(from, at), n);
        add_b_biases(x, t, at, n);
        s = round_to(bytes, back, t, x, n, err);
        if (!s) s = put(t, w, bytes, bytes_of(to, n), err);
    }
    if (t->whole)
        ar__whole_unload(t->whole);
    else
        ar__filemap_forget(t->from.data, t->from.bytes);
    return s;
}

/* ---- tensors with pairs --------------------------------------------------------------------------------------------- */
static void scaled_left(float *left, const ar_merge_tensor *t, const ar_pair *p, size_t first, size_t rows) {
    size_t r = (size_t)p->rank, n_in = (size_t)p->n_in;
    double by = t->scale != 0.0F ? p->scale / (double)t->scale : p->scale;
    for (size_t i = 0; i < rows; i++) {
        const float *b = p->b + (t->is_transposed ? 0 : module_row(t, first + i) * r);
        for (size_t j = 0; j < r; j++) left[i * r + j] = (float)(by * (double)(t->is_transposed ? p->a[j * n_in + first + i] : b[j]));
    }
}

/* A row of ΔW as the file has its columns; `back` is not in use yet. */
static void order_columns(const struct forming *f, float *row) {
    memcpy(f->back, row, f->columns * sizeof *row);
    for (size_t j = 0; j < f->columns; j++) row[j] = f->back[module_column(f->t, j)];
}

/* W and ΔW of rows [first, first + rows). */
static void form_block(const struct forming *f, size_t first, size_t rows) {
    const ar_merge_tensor *t = f->t;
    const ar_dtype_info *from = ar__dtype(t->from.dtype);
    size_t n = f->columns, row_bytes = bytes_of(from, n);
    const char *src = (const char *)t->from.data + (f->at * f->rows + first) * row_bytes;
#pragma omp parallel for num_threads(ar__team(t->merge->rt, rows *n)) schedule(static)
    for (size_t i = 0; i < rows; i++) from->to_f32(f->w + i * n, src + i * row_bytes, n);
    ar__filemap_forget(src, rows * row_bytes);
    bool any = false;
    for (size_t k = 0; k < t->part_count; k++) {
        const ar_pair *p = t->part[k].pair;
        size_t r = (size_t)p->rank;
        if (ar__pair_in_stack(p) && (size_t)p->expert != f->at) continue;
        scaled_left(f->left, t, p, first, rows);
        ar__gemm(t->merge->rt, &(ar_gemm){.m = rows,
                                          .n = n,
                                          .k = r,
                                          .a = f->left,
                                          .a_row = r,
                                          .a_col = 1,
                                          .b = t->is_transposed ? p->b : p->a,
                                          .b_type = AR_F32,
                                          .b_ld = t->is_transposed ? r : n,
                                          .b_rows = t->is_transposed,
                                          .c = f->delta,
                                          .c_ld = n,
                                          .accumulate = any});
        any = true;
    }
    if (!any) memset(f->delta, 0, rows * n * sizeof *f->delta);
    for (size_t i = 0; ar__order_is_of_columns(t->order.order) && i < rows; i++) order_columns(f, f->delta + i * n);
}

/* What 1 in the file stands for, its sign left out. */
static double stored_unit(const ar_merge_tensor *t) { return t->scale != 0.0F ? fabs((double)t->scale) : 1.0; }

static double inverse_norm(double square) { return 1.0 / sqrt(square > 1e-30 ? square : 1e-30); }

/* ΔW of a DoRA site: g (W + sBA) − W, with g per row or, transposed, per column. */
static void turn_row(const struct forming *f, size_t i, size_t first) {
    const float *magnitude = f->t->part[0].pair->magnitude;
    const float *w = f->w + i * f->columns;
    float *d = f->delta + i * f->columns;
    double gain = 0, square = 0;
    if (!f->norm) {
        for (size_t j = 0; j < f->columns; j++) square += ((double)w[j] + (double)d[j]) * ((double)w[j] + (double)d[j]);
        gain = (double)magnitude[module_row(f->t, first + i)] * inverse_norm(square) / stored_unit(f->t);
    }
    for (size_t j = 0; j < f->columns; j++) d[j] = (float)((f->norm ? f->norm[j] : gain) * ((double)w[j] + (double)d[j]) - (double)w[j]);
}

/* The gains of all columns, in a pass over the matrix before the one that writes it. */
static void column_gains(const struct forming *f) {
    const float *magnitude = f->t->part[0].pair->magnitude;
    for (size_t first = 0; first < f->rows; first += f->block) {
        size_t rows = f->rows - first < f->block ? f->rows - first : f->block;
        form_block(f, first, rows);
        for (size_t i = 0; i < rows * f->columns; i++) {
            double x = (double)f->w[i] + (double)f->delta[i];
            f->norm[i % f->columns] += x * x;
        }
    }
    for (size_t j = 0; j < f->columns; j++) f->norm[j] = (double)magnitude[j] * inverse_norm(f->norm[j]) / stored_unit(f->t);
}

/* Q(W) of a row into `room`. */
static const float *as_written(const struct forming *f, size_t i, float *room) {
    const float *w = f->w + i * f->columns;
    const ar_dtype_info *to = ar__dtype(f->t->to);
    if (f->t->to == f->t->from.dtype || f->t->to == AR_F32) return w;
    char *rounded = (char *)f->rounded + i * bytes_of(to, f->columns);
    to->from_f32(rounded, w, f->columns);
    to->to_f32(room, rounded, f->columns);
    return room;
}

/* Adds, rounds, and measures what is left of one row's ΔW. */
static ar_status finish_row(const struct forming *f, size_t i, ar_error *err) {
    size_t n = f->columns;
    const ar_dtype_info *to = ar__dtype(f->t->to);
    float *w = f->w + i * n, *back = f->back + i * n;
    const float *d = f->delta + i * n, *q = as_written(f, i, back);
    double along = 0, sum = 0;
    for (size_t j = 0; j < n; j++) {
        along -= (double)q[j] * (double)d[j];
        sum += (double)d[j] * (double)d[j];
    }
    for (size_t j = 0; j < n; j++) w[j] += d[j];
    ar_status s = round_to((char *)f->rounded + i * bytes_of(to, n), back, f->t, w, n, err);
    for (size_t j = 0; j < n; j++) along += (double)back[j] * (double)d[j];
    f->along[i] = along;
    f->sum[i] = sum;
    return s;
}

static ar_status put_block(const struct forming *f, size_t first, size_t rows, ar_writer *w, ar_error *err) {
    ar_merge_tensor *t = f->t;
    ar_status status = AR_OK;
    bool dora = t->part[0].pair->magnitude;
    form_block(f, first, rows);
#pragma omp parallel for num_threads(ar__team(t->merge->rt, 4 * rows * f->columns)) schedule(static)
    for (size_t i = 0; i < rows; i++) {
        if (dora) turn_row(f, i, first);
        if (finish_row(f, i, NULL)) {
#pragma omp atomic write
            status = AR_ERR_NUMERIC;
        }
    }
    for (size_t i = 0; status && i < rows; i++) { /* w holds the sums now: name the first that failed */
        const float *x = f->w + i * f->columns, *back = f->back + i * f->columns;
        for (size_t j = 0; j < f->columns; j++)
            if (!isfinite(back[j])) return not_finite(t, x[j], back[j], err);
    }
    for (size_t i = 0; i < rows; i++) {
        t->along += f->along[i];
        t->norm2 += f->sum[i];
    }
    return put(t, w, f->rounded, bytes_of(ar__dtype(t->to), rows * f->columns), err);
}

static ar_status forming_init(struct forming *f, ar_merge_tensor *t, ar_error *err) {
    size_t rank = 1, count;
    bool stack = t->from.dims == 3;
    *f = (struct forming){.t = t, .rows = (size_t)t->from.shape[stack], .columns = (size_t)t->from.shape[1 + stack]};
    f->matrices = stack ? (size_t)t->from.shape[0] : 1;
    f->block = f->columns && f->columns < BLOCK ? BLOCK / f->columns : 1;
    if (f->block > f->rows) f->block = f->rows;
    for (size_t k = 0; k < t->part_count; k++)
        if ((size_t)t->part[k].pair->rank > rank) rank = (size_t)t->part[k].pair->rank;
    if (!ar__mul(&count, f->block, f->columns)) return ar__fail_memory(err, t->name);
    f->w = ar__alloc(count, sizeof *f->w);
    f->delta = ar__alloc(count, sizeof *f->delta);
    f->back = ar__alloc(count, sizeof *f->back);
    f->rounded = ar__alloc(count, sizeof(float));
    f->left = ar__mul(&count, f->block, rank) ? ar__alloc(count, sizeof *f->left) : NULL;
    f->along = ar__alloc(f->block, sizeof *f->along);
    f->sum = ar__alloc(f->block, sizeof *f->sum);
    bool gains = t->is_transposed && t->part[0].pair->magnitude;
    f->norm = gains ? ar__alloc(f->columns, sizeof *f->norm) : NULL;
    bool all = f->w && f->delta && f->back && f->rounded && f->left && f->along && f->sum && (f->norm || !gains);
    return all ? AR_OK : ar__fail_memory(err, t->name);
}

static void forming_release(struct forming *f) {
    free(f->w);
    free(f->delta);
    free(f->back);
    free(f->rounded);
    free(f->left);
    free(f->along);
    free(f->sum);
    free(f->norm);
}

static ar_status put_merged(ar_merge_tensor *t, ar_writer *w, ar_error *err) {
    struct forming f;
    ar_status s = forming_init(&f, t, err);
    for (size_t k = 0; !s && k < t->part_count; k++) s = ar__pair_load(t->part[k].ad, t->part[k].pair, err);
    if (!s && f.norm) column_gains(&f);
    for (; !s && f.at < f.matrices; f.at++)
        for (size_t first = 0; !s && first < f.rows; first += f.block)
            s = put_block(&f, first, f.rows - first < f.block ? f.rows - first : f.block, w, err);
    for (size_t k = 0; k < t->part_count; k++) ar__pair_unload(t->part[k].pair);
    forming_release(&f);
    return s;
}

ar_status ar__merge_stream(void *tensor, ar_writer *w, ar_error *err) {
    ar_merge_tensor *t = tensor;
    if (!ar__merge_touches(t) && t->to == t->from.dtype) return carry(t, w, err);
    if (t->is_formed) return put_formed(t, w, err);
    return ar__merge_is_product(t) ? put_merged(t, w, err) : put_plain(t, w, err);
}

ar_status ar__merge_form(ar_merge_tensor *t, ar_error *err) { return put_merged(t, NULL, err); }
