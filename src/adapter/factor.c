/* A factor between its store and memory: conversion to f32, orientation, row order. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "adapter/adapter.h"
#include "base/fail.h"
#include "base/file.h"
#include "base/mem.h"

enum { BLOCK = 1 << 16 }; /* elements converted at a time; a multiple of every dtype's block */

static ar_status check_finite(const float *x, size_t n, const ar_adapter *ad, const char *what, const char *name, ar_error *err) {
    float sum = 0; /* NaN and infinity survive multiplication by 0 */
    for (size_t i = 0; i < n; i++) sum += x[i] * 0.0F;
    if (sum == 0) return AR_OK;
    size_t i = 0;
    while (isfinite(x[i])) i++;
    return ar__fail(err, AR_ERR_NUMERIC, "%s: %s '%s' holds %s at element %zu, wanted finite numbers", ad->place ? ad->place : "adapter",
                    what, name, isnan(x[i]) ? "NaN" : "infinity", i);
}

/* Element i of the stored order to its place in dst. */
static void scatter(float *dst, const float *part, size_t first, size_t n, const ar_stored *from, size_t rows, size_t columns) {
    for (size_t i = 0; i < n; i++) {
        size_t at = first + i, row = from->is_transposed ? at % rows : at / columns,
               column = from->is_transposed ? at / rows : at % columns;
        dst[(from->rows ? from->rows[row] : row) * columns + (from->columns ? from->columns[column] : column)] = part[i];
    }
}

/* Of types without blocks: what safetensors have. */
static void copy_part(float *dst, const ar_stored *from, size_t rows, size_t columns) {
    const ar_dtype_info *t = ar__dtype(from->type);
    for (size_t i = 0; i < rows; i++)
        for (size_t k = 0; k < columns; k++)
            t->to_f32(dst + i * columns + k, (const char *)from->bytes + (i * from->row_step + k * from->column_step) * t->bytes, 1);
}

static void copy_stored(float *dst, const ar_stored *from, size_t rows, size_t columns) {
    const ar_dtype_info *t = ar__dtype(from->type);
    size_t n = rows * columns, bytes;
    float part[1024];
    bool plain = !from->is_transposed && !from->rows && !from->columns;
    size_t step = plain ? BLOCK : sizeof part / sizeof *part;
    for (size_t at = 0; at < n; at += step) {
        size_t len = n - at < step ? n - at : step;
        const void *src = (const char *)from->bytes + at / t->block * t->bytes;
        t->to_f32(plain ? dst + at : part, src, len);
        if (!plain) scatter(dst, part, at, len, from, rows, columns);
    }
    if (ar__dtype_bytes(&bytes, from->type, n)) ar__filemap_forget(from->bytes, bytes);
}

/* Where row i of the files stands in a parted B. */
static size_t parted_row(size_t rows, size_t i) { return i % 2 * (rows / 2) + i / 2; }

ar_status ar__factor_read(float *dst, const ar_adapter *ad, const ar_pair *p, ar_factor which, ar_error *err) {
    const ar_stored *from = &p->stored[which];
    const float *here = which == AR_FACTOR_A ? p->a : p->b;
    size_t rows = ar__factor_rows(p, which), columns = ar__factor_columns(p, which), n = rows * columns;
    if (here && which == AR_FACTOR_B && p->is_parted) {
        for (size_t i = 0; i < rows; i++) memcpy(dst + i * columns, here + parted_row(rows, i) * columns, columns * sizeof *dst);
    } else if (here) {
        memcpy(dst, here, n * sizeof *dst);
    } else if (from->bytes && from->row_step) {
        copy_part(dst, from, rows, columns);
    } else if (from->bytes) {
        copy_stored(dst, from, rows, columns);
    } else {
        ar_status s = ar__spool_get(dst, ad->spool, from->spool_at, n * sizeof *dst, err);
        if (s) return s;
    }
    if (from->name) return check_finite(dst, n, ad, "tensor", from->name, err);
    return check_finite(dst, n, ad, which == AR_FACTOR_A ? "A of" : "B of", p->site, err);
}

static ar_status load(float **out, const ar_adapter *ad, ar_pair *p, ar_factor which, ar_error *err) {
    size_t n;
    if (*out) return AR_OK;
    bool fits = ar__mul(&n, ar__factor_rows(p, which), ar__factor_columns(p, which));
    float *data = fits ? ar__alloc(n, sizeof *data) : NULL;
    if (!data) return ar__fail_memory(err, p->site);
    ar_status s = ar__factor_read(data, ad, p, which, err);
    if (s)
        free(data);
    else
        *out = data;
    return s;
}

ar_status ar__pair_load(const ar_adapter *ad, ar_pair *p, ar_error *err) {
    ar_status s = load(&p->a, ad, p, AR_FACTOR_A, err);
    return s ? s : load(&p->b, ad, p, AR_FACTOR_B, err);
}

ar_status ar__pair_part(ar_pair *p, ar_error *err) {
    size_t rows = (size_t)p->n_out, columns = (size_t)p->rank, n = rows * columns;
    if (p->is_parted) return AR_OK;
    float *files = ar__alloc(n, sizeof *files);
    if (!files) return ar__fail_memory(err, p->site);
    memcpy(files, p->b, n * sizeof *files);
    for (size_t i = 0; i < rows; i++) memcpy(p->b + parted_row(rows, i) * columns, files + i * columns, columns * sizeof *files);
    free(files);
    p->is_parted = true;
    return AR_OK;
}

void ar__pair_unload(ar_pair *p) {
    float **const here[] = {&p->a, &p->b};
    for (int i = 0; i < 2; i++) {
        if (!p->stored[i].is_there) continue;
        free(*here[i]);
        *here[i] = NULL;
        if (i == AR_FACTOR_B) p->is_parted = false;
    }
}

ar_status ar__whole_load(const ar_adapter *ad, ar_whole *w, ar_error *err) {
    if (w->data) return AR_OK;
    w->data = ar__alloc(w->count, sizeof *w->data);
    if (!w->data) return ar__fail_memory(err, w->name);
    copy_stored(w->data, &w->stored, 1, w->count);
    return check_finite(w->data, w->count, ad, "tensor", w->name, err);
}

void ar__whole_unload(ar_whole *w) {
    if (!w->stored.is_there) return;
    free(w->data);
    w->data = NULL;
}

ar_status ar__adapter_load(ar_adapter *ad, ar_error *err) {
    ar_status s = AR_OK;
    for (size_t i = 0; !s && i < ad->pair_count; i++) s = ar__pair_load(ad, &ad->pair[i], err);
    for (size_t i = 0; !s && i < ad->whole_count; i++) s = ar__whole_load(ad, &ad->whole[i], err);
    return s;
}

ar_status ar__adapter_use_spool(ar_adapter *ad, const char *dir, ar_error *err) {
    return ad->spool ? AR_OK : ar__spool_new(&ad->spool, dir, err);
}

ar_status ar__factor_settle(ar_adapter *ad, ar_pair *p, ar_factor which, ar_error *err) {
    float **here = which == AR_FACTOR_A ? &p->a : &p->b;
    ar_stored to = {.is_there = true, .type = AR_F32};
    size_t n = ar__factor_rows(p, which) * ar__factor_columns(p, which);
    if (!ad->spool) {
        p->stored[which] = (ar_stored){0};
        return AR_OK;
    }
    ar_status s = ar__spool_put(&to.spool_at, ad->spool, *here, n * sizeof **here, err);
    if (s) return s;
    p->stored[which] = to;
    free(*here);
    *here = NULL;
    return AR_OK;
}

ar_status ar__pair_settle(ar_adapter *ad, ar_pair *p, ar_error *err) {
    ar_status s = ar__factor_settle(ad, p, AR_FACTOR_A, err);
    return s ? s : ar__factor_settle(ad, p, AR_FACTOR_B, err);
}
