/* One tensor of a model that is written anew, formed in blocks of rows by all threads.
 *
 *     rows of the source as f32 → 1 + w, where the format stores that → the written type → f32 again, for the noise
 *
 * Sums are kept a row at a time and added in order, so that they are the same for any number of threads. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/mem.h"
#include "store/storing.h"
#include "weights/quantise.h"

enum { BLOCK = 1 << 22, TASK_ROWS = 16, COPY_BYTES = 1 << 20 }; /* values at a time; rows of a thread at a time */

ar_status ar__storing_tell(ar_storing *st, uint64_t bytes, ar_error *err) {
    st->done += bytes;
    if (!st->o->on_progress || st->o->on_progress(st->o->user, st->done, st->total)) return AR_OK;
    return ar__fail(err, AR_ERR_INTERRUPTED, "%s: stopped; nothing is left", st->command);
}

ar_stored *ar__storing_add(ar_storing *st, const char *name, ar_dtype to, int dims, const int64_t *shape, ar_error *err) {
    ar_stored *list = ar__grow(st->list, &st->cap, st->count + 1, sizeof *list), t = {.in = st, .to = to, .dims = dims};
    size_t count = 1;
    bool ok = true;
    if (list) st->list = list;
    for (int i = 0; i < dims; i++) {
        t.shape[i] = shape[i];
        ok = ok && shape[i] >= 0 && ar__mul(&count, count, (size_t)shape[i]);
    }
    t.cols = dims ? (size_t)shape[dims - 1] : 1;
    t.rows = t.cols ? count / t.cols : 0;
    t.order = (ar_row_map){AR_ROWS_SAME, 1, 1, 0, 1};
    if (!ok || !ar__dtype_bytes(&t.bytes, to, count)) {
        ar__fail(err, AR_ERR_VALUE, "tensor '%s': impossible shape", name);
        return NULL;
    }
    t.name = ar__strdup(name);
    if (!list || !t.name) {
        free(t.name);
        ar__fail_memory(err, name);
        return NULL;
    }
    list[st->count] = t;
    return &list[st->count++];
}

ar_status ar__storing_spool(ar_stored *t, const void *bytes, size_t n, ar_error *err) {
    ar_status s = AR_OK;
    if (!t->in->spool) {
        char *dir = ar__path_parent(t->in->o->out);
        s = dir ? ar__spool_new(&t->in->spool, dir, err) : ar__fail_memory(err, t->name);
        free(dir);
    }
    t->is_spooled = true;
    return s ? s : ar__spool_put(&t->spooled_at, t->in->spool, bytes, n, err);
}

/* ---- rows of the source ----------------------------------------------------------------------------------------------- */

static ar_status order_columns(float *x, const ar_stored *t, size_t rows, ar_error *err) {
    float *line = ar__alloc(t->cols, sizeof *line);
    if (!line) return ar__fail_memory(err, t->name);
    for (size_t i = 0; i < rows; i++, x += t->cols) {
        memcpy(line, x, t->cols * sizeof *line);
        for (size_t j = 0; j < t->cols; j++) x[j] = line[ar__row_from_gguf(&t->order, (int64_t)j)];
    }
    free(line);
    return AR_OK;
}

static ar_status read_weight(float *x, const ar_stored *t, size_t first, size_t count, ar_error *err) {
    const ar_base *base = t->in->base;
    ar_status s = AR_OK;
    if (!ar__order_is_of_rows(t->order.order)) s = ar__base_read_rows(x, base, t->w, (int64_t)first, (int64_t)count, err);
    if (t->order.order == AR_ROWS_SAME) return s;
    if (ar__order_is_of_columns(t->order.order)) return s ? s : order_columns(x, t, count, err);
    for (size_t i = 0; !s && i < count; i++)
        s = ar__base_read_rows(x + i * t->cols, base, t->w, ar__row_from_gguf(&t->order, (int64_t)(first + i)), 1, err);
    return s;
}

/* Rows that may belong to several experts. */
static ar_status read_experts(float *x, const ar_stored *t, size_t first, size_t count, ar_error *err) {
    size_t each = (size_t)t->expert->rows;
    ar_status s = AR_OK;
    for (size_t done = 0, n; !s && done < count; done += n) {
        size_t at = (first + done) % each;
        n = count - done < each - at ? count - done : each - at;
        s = ar__base_read_expert(x + done * t->cols, t->in->base, &t->expert[(first + done) / each], (int64_t)at, (int64_t)n, err);
    }
    return s;
}

/* One expert's a row; gate's and up's in turn, where both are asked for. */
static ar_status read_expert_biases(float *x, const ar_stored *t, size_t first, size_t count, ar_error *err) {
    size_t parts = (size_t)(t->last - t->first) + 1, each = t->cols / parts;
    float *own = ar__alloc(each, sizeof *own);
    ar_status s = own ? AR_OK : ar__fail_memory(err, t->name);
    for (size_t i = 0; !s && i < count * parts; i++) {
        ar_expert_part part = t->first + (ar_expert_part)(i % parts);
        const ar_base_weight *from;
        s = ar__base_read_expert_bias(own, &from, t->in->base, &t->in->arch, t->layer, (int64_t)(first + i / parts), part, err);
        for (size_t k = 0; !s && k < each; k++) x[i / parts * t->cols + k * parts + i % parts] = own[k];
    }
    free(own);
    return s;
}

/* A vector is one row. */
static ar_status read_bias(float *x, const ar_stored *t, ar_error *err) {
    float *own = ar__alloc(t->cols, sizeof *own);
    ar_status s = own ? ar__base_read_bias(own, t->in->base, t->w, err) : ar__fail_memory(err, t->name);
    for (size_t i = 0; !s && i < t->cols; i++)
        x[i] = own[ar__order_is_of_rows(t->order.order) ? (size_t)ar__row_from_gguf(&t->order, (int64_t)i) : i];
    free(own);
    return s;
}

/* A weight of one dimension, as a bias. */
static ar_status read_vector(float *x, const ar_stored *t, ar_error *err) {
    ar_status s = AR_OK;
    for (int64_t i = 0; !s && i < t->w->n_out; i++)
        s = ar__base_read_rows(x + i, t->in->base, t->w, ar__row_from_gguf(&t->order, i), 1, err);
    return s;
}

static ar_status read_rows(float *x, const ar_stored *t, size_t first, size_t count, ar_error *err) {
    ar_status s = AR_OK;
    if (t->values) {
        memcpy(x, t->values + (first - t->values_from) * t->cols, count * t->cols * sizeof *x);
    } else if (t->is_bias && !t->w) {
        s = read_expert_biases(x, t, first, count, err);
    } else if (t->expert) {
        s = read_experts(x, t, first, count, err);
    } else if (t->is_bias) {
        s = read_bias(x, t, err);
    } else if (t->w && t->w->dims < 2) { /* one value a row */
        s = read_vector(x, t, err);
    } else if (t->w) {
        s = read_weight(x, t, first, count, err);
    } else {
        const ar_dtype_info *from = ar__dtype(t->raw->dtype);
        from->to_f32(x, (const char *)t->raw->data + first * (t->cols / from->block * from->bytes), count * t->cols);
    }
    for (size_t i = 0; t->adds_one && i < count * t->cols; i++) x[i] += 1.0F;
    for (size_t i = 0; t->is_rate && i < count * t->cols; i++) x[i] = -expf(x[i]);
    return s;
}

/* ---- the written type -------------------------------------------------------------------------------------------------- */

static void scale_sums(ar_rounding *sum, const ar_stored *t, size_t row) {
    double by = (double)ar__base_scale(t->scaled, (int64_t)(row / (t->rows / t->scaled->scale_count)));
    sum->whole *= by * by;
    sum->lost *= by * by;
}

/* x [2, count, cols]: room for the rows, and for what they read as again. */
static ar_status form_rows(char *bytes, ar_rounding *sum, float *x, const ar_stored *t, size_t first, size_t count, ar_error *err) {
    const ar_dtype_info *to = ar__dtype(t->to);
    size_t n = count * t->cols;
    float *back = x + n;
    ar_status s = read_rows(x, t, first, count, err);
    if (s) return s;
    to->from_f32(bytes, x, n);
    to->to_f32(back, bytes, n);
    for (size_t i = 0; i < count; i++) {
        sum[i] = ar__rounding_of(x + i * t->cols, back + i * t->cols, t->cols);
        if (t->scaled) scale_sums(&sum[i], t, first + i);
        if (isfinite(sum[i].lost)) continue;
        return ar__fail(err, AR_ERR_NUMERIC, "tensor '%s': row %zu %s", t->name, first + i,
                        isfinite(sum[i].whole) ? "is past the range of the type that was asked for: give another, such as bf16 or f32"
                                               : "holds a NaN or an infinity: the model is damaged");
    }
    return AR_OK;
}

ar_status ar__stored_form(char *bytes, ar_stored *t, size_t first, size_t count, ar_error *err) {
    const ar_dtype_info *to = ar__dtype(t->to);
    size_t row = t->cols / to->block * to->bytes, tasks = count / TASK_ROWS + (count % TASK_ROWS != 0);
    ar_rounding *sum = ar__alloc(count, sizeof *sum);
    ar_status s = sum ? AR_OK : ar__fail_memory(err, t->name);
#pragma omp parallel num_threads(ar__team(t->in->rt, count * t->cols))
    {
        float *x = ar__alloc(2 * TASK_ROWS * t->cols, sizeof *x);
#pragma omp for schedule(dynamic)
        for (size_t k = 0; k < tasks; k++) {
            size_t at = k * TASK_ROWS, n = count - at < TASK_ROWS ? count - at : TASK_ROWS;
            ar_error mine;
            ar_status own = !sum ? AR_ERR_MEMORY
                            : !x ? ar__fail_memory(&mine, t->name)
                                 : form_rows(bytes + at * row, sum + at, x, t, first + at, n, &mine);
            if (!own) continue;
#pragma omp critical(stored_form)
            if (!s) {
                s = own;
                if (err) *err = mine;
            }
        }
        free(x);
    }
    for (size_t i = 0; !s && i < count; i++) {
        t->whole += sum[i].whole;
        t->lost += sum[i].lost;
    }
    free(sum);
    return s;
}

static ar_status put_spooled(const ar_stored *t, ar_writer *w, ar_error *err) {
    char *part = ar__alloc(COPY_BYTES, 1);
    ar_status s = part ? AR_OK : ar__fail_memory(err, t->name);
    for (size_t at = 0; !s && at < t->bytes; at += COPY_BYTES) {
        size_t n = t->bytes - at < COPY_BYTES ? t->bytes - at : COPY_BYTES;
        if (!(s = ar__spool_get(part, t->in->spool, t->spooled_at + at, n, err)) && !(s = ar__writer_put(w, part, n, err)))
            s = ar__storing_tell(t->in, n, err);
    }
    free(part);
    return s;
}

/* A Conv1D is [n_in, n_out] in a folder: one matrix in memory, for the time that it takes. */
static ar_status turn(float **out, const ar_stored *t, ar_error *err) {
    size_t n_out = t->cols, n_in = t->rows;
    float *x = ar__alloc(n_out * n_in, sizeof *x), *own = ar__alloc(n_out * n_in, sizeof *own);
    ar_status s = x && own ? ar__base_read_rows(own, t->in->base, t->w, 0, (int64_t)n_out, err) : ar__fail_memory(err, t->name);
    for (size_t i = 0; !s && i < n_in; i++)
        for (size_t j = 0; j < n_out; j++) x[i * n_out + j] = own[j * n_in + i];
    free(own);
    *out = x;
    return s;
}

static ar_status copy(const ar_stored *t, ar_writer *w, ar_error *err) {
    const char *p = t->raw->data;
    ar_status s = AR_OK;
    for (size_t at = 0; !s && at < t->bytes; at += COPY_BYTES) {
        size_t n = t->bytes - at < COPY_BYTES ? t->bytes - at : COPY_BYTES;
        s = ar__writer_put(w, p + at, n, err);
        ar__filemap_forget(p + at, n);
        if (!s) s = ar__storing_tell(t->in, n, err);
    }
    return s;
}

static void forget(const ar_stored *t) {
    if (t->w && !t->is_bias) ar__base_forget(t->w);
    for (size_t i = 0; t->expert && i < t->experts; i++) ar__base_forget(t->expert[i].w);
    if (t->raw) ar__filemap_forget(t->raw->data, t->raw->bytes);
}

/* Rows from … to. */
static ar_status put_formed(ar_stored *t, ar_writer *w, size_t from, size_t end, ar_error *err) {
    const ar_dtype_info *to = ar__dtype(t->to);
    size_t row = t->cols / to->block * to->bytes, block = t->cols && t->cols < BLOCK ? BLOCK / t->cols : 1;
    if (block > t->rows) block = t->rows;
    char *bytes = ar__alloc(block ? block : 1, row ? row : 1);
    ar_status s = bytes ? AR_OK : ar__fail_memory(err, t->name);
    for (size_t first = from; !s && row && first < end; first += block) {
        size_t n = end - first < block ? end - first : block;
        if ((s = ar__stored_form(bytes, t, first, n, err)) || (s = ar__writer_put(w, bytes, n * row, err))) break;
        s = ar__storing_tell(t->in, n * row, err);
    }
    free(bytes);
    return s;
}

/* One expert after the other: [cols of its matrices, their rows in turn]. */
static ar_status put_turned_experts(ar_stored *t, ar_writer *w, ar_error *err) {
    size_t parts = (size_t)(t->last - t->first) + 1, cols = (size_t)t->expert->cols, rows = (size_t)t->expert->rows;
    float *own = ar__alloc(rows * cols, sizeof *own), *x = ar__alloc(t->cols * cols, sizeof *x);
    ar_status s = own && x ? AR_OK : ar__fail_memory(err, t->name);
    for (size_t e = 0; !s && e < t->experts; e += parts) {
        for (size_t p = 0; !s && p < parts; p++) {
            s = ar__base_read_expert(own, t->in->base, &t->expert[e + p], 0, (int64_t)rows, err);
            for (size_t c = 0; !s && c < cols; c++)
                for (size_t r = 0; r < rows; r++) x[c * t->cols + r * parts + p] = own[r * cols + c];
        }
        t->values = x;
        t->values_from = e / parts * cols;
        if (!s) s = put_formed(t, w, t->values_from, t->values_from + cols, err);
    }
    t->values = NULL;
    t->values_from = 0;
    free(own);
    free(x);
    return s;
}

ar_status ar__stored_stream(void *tensor, ar_writer *w, ar_error *err) {
    ar_stored *t = tensor;
    float *turned = NULL;
    if (t->is_spooled) return put_spooled(t, w, err);
    if (t->is_copied) return copy(t, w, err);
    if (t->is_turned && t->expert) {
        ar_status s = put_turned_experts(t, w, err);
        forget(t);
        return s;
    }
    ar_status s = t->is_turned ? turn(&turned, t, err) : AR_OK;
    if (turned) t->values = turned;
    if (!s) s = put_formed(t, w, 0, t->rows, err);
    if (turned) t->values = NULL;
    free(turned);
    forget(t);
    return s;
}
