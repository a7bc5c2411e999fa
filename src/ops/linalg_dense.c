/* The dense operand of ar__top_svd.  See the header. */
#include "ops/linalg_dense.h"

#include <cblas.h>
#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/mem.h"
#include "base/size.h"
#include "kern/alone.h"

enum { TILE = 256, BLOCK_FLOATS = 8 << 20, HOLD_FLOATS = 64 << 20 /* 256 MiB: up to here W is made once and kept */ };

/* The block of rows that starts at row0: in place, or made in the spare. */
static ar_status block_at(const float **out, ar_operand *o, size_t row0, size_t count, ar_error *err) {
    *out = o->w.data ? o->w.data + row0 * o->w.n : o->spare;
    return o->w.data ? AR_OK : o->w.rows(o->w.user, o->spare, row0, count, err);
}

/* Makes all of W and keeps it. */
static ar_status hold(ar_operand *o, ar_error *err) {
    size_t rows = 0;
    float *all = ar__mul(&rows, o->w.m, o->w.n) ? ar__alloc(rows, sizeof *all) : NULL;
    if (!all) return ar__fail_memory(err, "dense update");
    free(o->spare);
    o->spare = all;
    for (size_t i = 0; i < o->w.m; i += o->block) {
        ar_status s = o->w.rows(o->w.user, all + i * o->w.n, i, ar__min(o->block, o->w.m - i), err);
        if (s) return s;
    }
    o->w.data = all;
    return AR_OK;
}

static double row_norm2(const float *row, size_t n) {
    double sum = 0.0;
    for (size_t j = 0; j < n; j++) sum += (double)row[j] * (double)row[j];
    return sum;
}

static ar_status measure(ar_operand *o, ar_error *err) {
    double *sums = ar__alloc(o->block, sizeof *sums);
    if (!sums) return ar__fail_memory(err, "dense update");
    ar_status s = AR_OK;
    for (size_t i = 0; !s && i < o->w.m; i += o->block) {
        const float *rows;
        size_t count = ar__min(o->block, o->w.m - i);
        if ((s = block_at(&rows, o, i, count, err))) break;
#pragma omp parallel for num_threads(ar__team(o->rt, count * o->w.n)) schedule(static)
        for (size_t r = 0; r < count; r++) sums[r] = row_norm2(rows + r * o->w.n, o->w.n);
        for (size_t r = 0; r < count && !s; r++) {
            if (!isfinite(sums[r])) s = ar__fail(err, AR_ERR_NUMERIC, "row %zu holds NaN or infinity, wanted finite numbers", i + r);
            o->norm2 += sums[r];
        }
    }
    free(sums);
    int exponent = 0;
    if (o->norm2 > 0.0) frexp(sqrt(o->norm2), &exponent);
    o->unit = ldexp(1.0, exponent > 120 ? -120 : exponent < -120 ? 120 : -exponent);
    return s;
}

ar_status ar__operand_init(ar_operand *o, const ar_runtime *rt, const ar_dense *w, ar_error *err) {
    *o = (ar_operand){.rt = rt, .w = *w, .tall = w->m >= w->n};
    o->p = o->tall ? w->n : w->m;
    o->q = o->tall ? w->m : w->n;
    o->block = BLOCK_FLOATS / w->n > 256 ? BLOCK_FLOATS / w->n : 256;
    o->block = ar__min(o->block, w->m);
    ar_status s = AR_OK;
    if (!w->data && w->m <= HOLD_FLOATS / w->n) {
        s = hold(o, err);
    } else if (!w->data) {
        o->spare = ar__alloc(o->block, w->n * sizeof *o->spare);
        if (!o->spare) s = ar__fail_memory(err, "dense update");
    }
    if (!s) s = measure(o, err);
    if (s) ar__operand_release(o);
    return s;
}

void ar__operand_release(ar_operand *o) {
    free(o->spare);
    *o = (ar_operand){0};
}

static void multiply(float *x, double by, size_t n) {
    if (by != 1.0)
        for (size_t i = 0; i < n; i++) x[i] *= (float)by;
}

/* C[l, columns of its block] (+)= X[l, its block] · (rows or rowsᵀ) */
static void block_product(const ar_operand *o, float *c, size_t c_ld, const float *x, size_t x_ld, const float *rows, size_t l,
                          size_t count, bool transposed, bool accumulate) {
    ar__gemm(o->rt, &(ar_gemm){.m = l,
                               .n = transposed ? count : o->w.n,
                               .k = transposed ? o->w.n : count,
                               .a = x,
                               .a_row = x_ld,
                               .a_col = 1,
                               .b = rows,
                               .b_type = AR_F32,
                               .b_ld = o->w.n,
                               .b_rows = transposed,
                               .c = c,
                               .c_ld = c_ld,
                               .accumulate = accumulate});
}

/* to_rows: out[l, m] = x[l, n] Wᵀ; else out[l, n] = x[l, m] W. */
static ar_status product(float *out, ar_operand *o, const float *x, size_t l, bool to_rows, ar_error *err) {
    size_t m = o->w.m, n = o->w.n;
    for (size_t i = 0; i < m; i += o->block) {
        const float *rows;
        size_t count = ar__min(o->block, m - i);
        ar_status s = block_at(&rows, o, i, count, err);
        if (s) return s;
        if (to_rows)
            block_product(o, out + i, m, x, n, rows, l, count, true, false);
        else
            block_product(o, out, n, x + i, m, rows, l, count, false, i > 0);
    }
    multiply(out, o->unit, l * (to_rows ? m : n));
    return AR_OK;
}

ar_status ar__operand_project(float *z, ar_operand *o, const float *x, size_t l, ar_error *err) {
    return product(z, o, x, l, o->tall, err);
}
ar_status ar__operand_lift(float *y, ar_operand *o, const float *z, size_t l, ar_error *err) { return product(y, o, z, l, !o->tall, err); }

/* One strip of out: to_rows for rows [at, at + count) of this block of W, else for columns.  A tile of W at a time is
 * widened, [count][TILE] or [TILE][count]. */
typedef struct strip {
    const ar_operand *o;
    const float *rows; /* the block, whose first row is row0 of W and which has `depth` rows or columns to sum over */
    size_t row0, depth, k;
    const double *x;
    double *out;
    bool to_rows;
} strip;

static void run_strip(const strip *t, double *tile, size_t at, size_t count) {
    size_t n = t->o->w.n, m = t->o->w.m, x_ld = t->to_rows ? n : m, out_ld = t->to_rows ? m : n, from = t->to_rows ? 0 : t->row0;
    double *out = t->out + at + (t->to_rows ? t->row0 : 0);
    for (size_t d = 0; d < t->depth; d += TILE) {
        size_t deep = ar__min(TILE, t->depth - d), tile_rows = t->to_rows ? count : deep, columns = t->to_rows ? deep : count;
        const float *corner = t->rows + (t->to_rows ? at * n + d : d * n + at);
        for (size_t i = 0; i < tile_rows; i++)
            for (size_t j = 0; j < columns; j++) tile[i * TILE + j] = (double)corner[i * n + j];
        AR_ALONE(cblas_dgemm(CblasColMajor, t->to_rows ? CblasTrans : CblasNoTrans, CblasNoTrans, (int)count, (int)t->k, (int)deep, 1.0,
                             tile, TILE, t->x + from + d, (int)x_ld, from + d > 0 ? 1.0 : 0.0, out, (int)out_ld));
    }
}

/* out[m, k] = W x[n, k], or out[n, k] = Wᵀ x[m, k], column-major doubles. */
static ar_status wide_product(double *out, ar_operand *o, const double *x, size_t k, bool to_rows, ar_error *err) {
    double *tiles = ar__alloc((size_t)o->rt->threads, TILE * TILE * sizeof *tiles);
    ar_status s = tiles ? AR_OK : ar__fail_memory(err, "dense update");
    for (size_t i = 0; !s && i < o->w.m; i += o->block) {
        size_t count = ar__min(o->block, o->w.m - i), width = to_rows ? count : o->w.n;
        strip t = {.o = o, .row0 = i, .depth = to_rows ? o->w.n : count, .k = k, .x = x, .out = out, .to_rows = to_rows};
        if ((s = block_at(&t.rows, o, i, count, err))) break;
#pragma omp parallel for num_threads(ar__team(o->rt, count * o->w.n)) schedule(static)
        for (size_t at = 0; at < width; at += TILE)
            run_strip(&t, tiles + (size_t)omp_get_thread_num() * TILE * TILE, at, ar__min(TILE, width - at));
    }
    free(tiles);
    return s;
}

ar_status ar__operand_project_wide(double *z, ar_operand *o, const double *x, size_t k, ar_error *err) {
    return wide_product(z, o, x, k, o->tall, err);
}
ar_status ar__operand_lift_wide(double *y, ar_operand *o, const double *z, size_t k, ar_error *err) {
    return wide_product(y, o, z, k, !o->tall, err);
}

ar_status ar__operand_gram(double *g, ar_operand *o, ar_error *err) {
    ar_status s = o->tall || o->w.data ? AR_OK : hold(o, err);
    if (s) return s;
    if (!o->tall) return ar__gram_rows(g, o->rt, o->w.data, o->w.m, o->w.n, err);
    double *part = ar__alloc(o->p, o->p * sizeof *part);
    if (!part) return ar__fail_memory(err, "dense update");
    memset(g, 0, o->p * o->p * sizeof *g);
    for (size_t i = 0; !s && i < o->w.m; i += o->block) {
        const float *rows;
        size_t count = ar__min(o->block, o->w.m - i);
        if (!(s = block_at(&rows, o, i, count, err))) s = ar__gram_columns(part, o->rt, rows, count, o->p, err);
        for (size_t j = 0; !s && j < o->p * o->p; j++) g[j] += part[j];
    }
    free(part);
    return s;
}
