/* Rows of a base's weight as Hugging Face orders and orients them, in f32. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/file.h"
#include "base/mem.h"
#include "weights/impl.h"

enum { BLOCK_VALUES = 1 << 18 }; /* of the running norm: 1 MiB of f32 */

static ar_status no_conversion(const ar_base *base, const char *tensor, const char *type, ar_error *err) {
    return ar__fail(err, AR_ERR_UNSUPPORTED,
                    "%s: tensor '%s' has type %s, wanted one that Alphar reads (docs/gguf.md): name another copy of the base", base->path,
                    tensor, type);
}

static ar_status init_order(ar_row_map *out, const ar_base *base, const ar_base_weight *w, ar_error *err) {
    ar_status s = ar__row_map_init(out, w->order, ar__order_is_of_columns(w->order) ? w->n_in : w->n_out, &base->info.count, err);
    return s ? ar__fail_at(err, ar__fail_at(err, s, w->tensor), base->path) : AR_OK;
}

/* Rows in GGUF's order of columns, put in ours. */
static ar_status order_columns(float *x, const ar_row_map *order, const ar_base_weight *w, int64_t rows, ar_error *err) {
    float *line = ar__alloc((size_t)w->n_in, sizeof *line);
    if (!line) return ar__fail_memory(err, w->tensor);
    for (int64_t i = 0; i < rows; i++, x += w->n_in) {
        memcpy(line, x, (size_t)w->n_in * sizeof *line);
        for (int64_t j = 0; j < w->n_in; j++) x[j] = line[ar__row_to_gguf(order, j)];
    }
    free(line);
    return AR_OK;
}

static void multiply(float *x, float by, int64_t n) {
    for (int64_t i = 0; i < n; i++) x[i] *= by;
}

/* Column panel [first, first + count) of the stored [n_in, n_out], turned. */
static ar_status read_turned(float *dst, const ar_base_weight *w, int64_t first, int64_t count, ar_error *err) {
    const ar_dtype_info *type = ar__dtype(w->type);
    const char *src = w->data;
    float *line = ar__alloc((size_t)count, sizeof *line);
    if (!line) return ar__fail_memory(err, w->tensor);
    for (int64_t j = 0; j < w->n_in; j++) {
        type->to_f32(line, src + (size_t)(j * w->n_out + first) * type->bytes, (size_t)count);
        for (int64_t i = 0; i < count; i++) dst[i * w->n_in + j] = line[i];
    }
    free(line);
    return AR_OK;
}

ar_status ar__base_read_rows(float *dst, const ar_base *base, const ar_base_weight *w, int64_t first, int64_t count, ar_error *err) {
    const ar_dtype_info *type = ar__dtype(w->type);
    const char *src = w->data;
    size_t row = (size_t)w->n_in / type->block * type->bytes;
    ar_row_map order;
    if (!type->to_f32 || w->n_in % (int64_t)type->block || (w->is_conv1d && type->block > 1))
        return no_conversion(base, w->tensor, w->type_name, err);
    if (w->packed && first >= 0 && count >= 0 && first <= w->n_out - count) {
        ar__packed_rows(dst, w->packed, first, count);
        return AR_OK;
    }
    if (first < 0 || count < 0 || first > w->n_out - count)
        return ar__fail(err, AR_ERR_VALUE, "%s: tensor '%s' has %lld rows, wanted %lld from %lld", base->path, w->tensor,
                        (long long)w->n_out, (long long)count, (long long)first);
    if (w->is_conv1d) return count ? read_turned(dst, w, first, count, err) : AR_OK;
    ar_status s = init_order(&order, base, w, err);
    if (s) return s;
    bool rows = ar__order_is_of_rows(w->order);
    if (!rows) type->to_f32(dst, src + (size_t)first * row, (size_t)(count * w->n_in));
    for (int64_t i = 0; rows && i < count; i++)
        type->to_f32(dst + i * w->n_in, src + (size_t)ar__row_to_gguf(&order, first + i) * row, (size_t)w->n_in);
    for (int64_t i = 0; w->scale && i < count; i++) multiply(dst + i * w->n_in, ar__base_scale(w, first + i), w->n_in);
    for (int64_t i = 0; w->is_plus_one && i < count * w->n_in; i++) dst[i] -= 1;
    for (int64_t i = 0; w->is_rate && i < count * w->n_in; i++) dst[i] = logf(-dst[i]);
    return ar__order_is_of_columns(w->order) ? order_columns(dst, &order, w, count, err) : AR_OK;
}

bool ar__base_keeps_type(const ar_base *base, const ar_base_weight *w) {
    return !ar__order_is_of_columns(w->order) || base->info.count.value_dim % (int64_t)ar__dtype(w->type)->block == 0;
}

ar_status ar__base_read_stored(void *dst, const ar_base *base, const ar_base_weight *w, ar_error *err) {
    const ar_dtype_info *type = ar__dtype(w->type);
    const char *src = w->data;
    char *to = dst;
    size_t bytes = type->bytes, rows = (size_t)w->n_out, cols = (size_t)w->n_in, row = cols / type->block * bytes;
    ar_row_map order = {0};
    bool columns = ar__order_is_of_columns(w->order);
    if (w->is_plus_one || w->scale || (columns && !ar__base_keeps_type(base, w)) || (w->is_conv1d && type->block > 1))
        return no_conversion(base, w->tensor, w->type_name, err);
    for (size_t i = 0; w->is_conv1d && i < rows; i++)
        for (size_t j = 0; j < cols; j++) memcpy(to + (i * cols + j) * bytes, src + (j * rows + i) * bytes, bytes);
    ar_status s = w->is_conv1d ? AR_OK : init_order(&order, base, w, err);
    if (!s && columns && order.first) return no_conversion(base, w->tensor, w->type_name, err); /* not of these heads */
    size_t part = columns ? (size_t)order.size / type->block * bytes : 0, values = columns ? (size_t)(order.heads * order.each) : 0;
    for (size_t i = 0; !s && columns && i < rows; i++)
        for (size_t h = 0; h < values; h++)
            memcpy(to + i * row + h * part, src + i * row + (size_t)ar__row_to_gguf(&order, (int64_t)h * order.size) / type->block * bytes,
                   part);
    for (size_t i = 0; !s && !columns && !w->is_conv1d && i < rows; i++)
        memcpy(to + i * row, src + (size_t)ar__row_to_gguf(&order, (int64_t)i) * row, row);
    ar__base_forget(w);
    return s;
}

ar_status ar__base_read_as(void *dst, ar_dtype type, const ar_base *base, const ar_base_weight *w, ar_error *err) {
    const ar_dtype_info *to = ar__dtype(type);
    size_t row = (size_t)w->n_in * to->bytes;
    ar_status s = AR_OK;
#pragma omp parallel if (w->n_out > 64)
    {
        float *x = ar__alloc((size_t)w->n_in, sizeof *x);
#pragma omp for schedule(dynamic, 16)
        for (int64_t i = 0; i < w->n_out; i++) {
            ar_error mine;
            ar_status t = x ? ar__base_read_rows(x, base, w, i, 1, &mine) : ar__fail_memory(&mine, w->tensor);
            if (!t) {
                to->from_f32((char *)dst + (size_t)i * row, x, (size_t)w->n_in);
                continue;
            }
#pragma omp critical(base_read_as)
            if (!s) {
                s = t;
                if (err) *err = mine;
            }
        }
        free(x);
    }
    ar__base_forget(w);
    return s;
}

ar_status ar__base_read_bias(float *dst, const ar_base *base, const ar_base_weight *w, ar_error *err) {
    const ar_dtype_info *type = ar__dtype(w->bias_type);
    const char *src = w->bias;
    ar_row_map order;
    if (!type->to_f32 || type->block > 1) return no_conversion(base, w->bias_tensor, type->name, err);
    if (w->bias_count != (size_t)w->n_out)
        return ar__fail(err, AR_ERR_FORMAT, "%s: tensor '%s' has %zu elements, its weight %lld rows", base->path, w->bias_tensor,
                        w->bias_count, (long long)w->n_out);
    ar_status s = init_order(&order, base, w, err);
    for (int64_t i = 0; !s && i < w->n_out; i++) type->to_f32(dst + i, src + (size_t)ar__row_to_gguf(&order, i) * type->bytes, 1);
    return s;
}

/* Rows that lie together are given back as soon as they are read: an embedding is larger than the memory to spare. */
static void forget_rows(const ar_base_weight *w, int64_t first, int64_t count) {
    const ar_dtype_info *type = ar__dtype(w->type);
    size_t row = (size_t)w->n_in / type->block * type->bytes;
    if (w->packed) return; /* the file's rows are others */
    if (w->order == AR_ROWS_SAME && !w->is_conv1d) ar__filemap_forget((const char *)w->data + (size_t)first * row, (size_t)count * row);
}

static double sum_squares(const float *x, size_t n) {
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += (double)x[i] * (double)x[i];
    return sum;
}

/* Blocks of rows are summed apart, by whatever thread, and their sums added in order. */
ar_status ar__base_norm2(double *out, const ar_base *base, const ar_base_weight *w, ar_error *err) {
    int64_t rows = w->n_in > BLOCK_VALUES ? 1 : BLOCK_VALUES / (w->n_in ? w->n_in : 1);
    int64_t blocks = w->n_out / rows + (w->n_out % rows != 0);
    ar_status s = ar__base_read_rows(NULL, base, w, 0, 0, err); /* of a type that nobody reads, the sizes are not to be trusted */
    *out = 0;
    if (s || !w->n_in || !w->n_out) return s;
    double *part = ar__alloc((size_t)blocks, sizeof *part);
    if (!part) return ar__fail_memory(err, w->tensor);
#pragma omp parallel if (blocks > 4)
    {
        float *x = ar__alloc((size_t)(rows * w->n_in), sizeof *x);
#pragma omp for schedule(dynamic)
        for (int64_t k = 0; k < blocks; k++) {
            int64_t first = k * rows, count = w->n_out - first < rows ? w->n_out - first : rows;
            ar_error mine;
            ar_status t = x ? ar__base_read_rows(x, base, w, first, count, &mine) : ar__fail_memory(&mine, w->tensor);
            if (!t) {
                part[k] = sum_squares(x, (size_t)(count * w->n_in));
                forget_rows(w, first, count);
                continue;
            }
#pragma omp critical(base_norm2)
            if (!s) {
                s = t;
                if (err) *err = mine;
            }
        }
        free(x);
    }
    for (int64_t k = 0; !s && k < blocks; k++) *out += part[k];
    free(part);
    ar__base_forget(w);
    return s;
}

void ar__base_forget(const ar_base_weight *w) { ar__filemap_forget(w->data, w->bytes); }
