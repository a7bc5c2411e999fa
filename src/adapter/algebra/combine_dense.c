/* TIES and DARE on the dense updates Δᵢ = sᵢ Bᵢ Aᵢ of one site, made a block of rows at a time and never kept.
 *
 *   TIES   keep the `density` largest |Δᵢ| of each; elect per entry the sign of Σ Δᵢ over what was kept (zero counts as
 *          plus); the mean of wᵢ Δᵢ over the entries that were kept and have that sign
 *   DARE   keep each entry with probability `density`; Σ wᵢ Δᵢ / density over what was kept, so that the mean is Σ wᵢ Δᵢ
 *
 * As PEFT's ties_svd and dare_linear_svd have them, but that entries as large as the last one kept are all kept.  DARE's
 * random numbers are keyed by seed, site, source and entry. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "adapter/algebra/combine.h"
#include "base/fail.h"
#include "base/mem.h"
#include "base/rng.h"
#include "kern/gemm.h"

enum { BLOCK_FLOATS = 4 << 20, MOST_ROWS = 256, HIGH_BINS = 1 << 16, LOW_BINS = 1 << 15 };
static const double ties_density = 0.2, dare_density = 0.5;

struct dense {
    const ar_runtime *rt;
    const ar_combine_site *site;
    const ar_combine_options *o;
    double density;
    size_t block;         /* rows made at a time */
    float *left, *update; /* [block, most rank]; [parts, block, n_in] */
    float *edge;          /* per part: the smallest magnitude that TIES keeps */
    ar_rng *random;       /* per part */
};

/* Rows [row0, row0 + count) of part i's Δ. */
static void make_update(float *out, const struct dense *d, size_t i, size_t row0, size_t count) {
    const ar_pair *p = d->site->part[i].pair;
    size_t r = (size_t)p->rank;
    for (size_t k = 0; k < count * r; k++) d->left[k] = (float)(p->scale * (double)p->b[row0 * r + k]);
    ar__gemm(d->rt, &(ar_gemm){.m = count,
                               .n = d->site->n_in,
                               .k = r,
                               .a = d->left,
                               .a_row = r,
                               .a_col = 1,
                               .b = p->a,
                               .b_type = AR_F32,
                               .b_ld = d->site->n_in,
                               .c = out,
                               .c_ld = d->site->n_in});
}

/* ---- the edge of the largest: two passes over the bits of |Δ|, which sort as the numbers do ----------------------- */
static uint32_t magnitude_bits(float x) {
    uint32_t u;
    memcpy(&u, &x, sizeof u);
    return u & 0x7fffffffu;
}

/* Counts Δ's magnitudes by their high bits, or the low bits of those whose high bits are `high`. */
static void count_magnitudes(size_t *bins, const struct dense *d, size_t part, bool low, uint32_t high) {
    memset(bins, 0, (low ? LOW_BINS : HIGH_BINS) * sizeof *bins);
    for (size_t row = 0; row < d->site->n_out; row += d->block) {
        size_t count = d->site->n_out - row < d->block ? d->site->n_out - row : d->block;
        make_update(d->update, d, part, row, count);
        for (size_t i = 0; i < count * d->site->n_in; i++) {
            uint32_t u = magnitude_bits(d->update[i]);
            if (!low)
                bins[u >> 15]++;
            else if (u >> 15 == high)
                bins[u & (LOW_BINS - 1)]++;
        }
    }
}

/* The bin in which the keep-th largest falls; *keep becomes its place within. */
static uint32_t bin_of(const size_t *bins, size_t count, size_t *keep) {
    size_t i = count - 1;
    while (i > 0 && bins[i] < *keep) *keep -= bins[i--];
    return (uint32_t)i;
}

static float find_edge(size_t *bins, const struct dense *d, size_t part) {
    size_t keep = (size_t)(d->density * (double)(d->site->n_out * d->site->n_in));
    if (d->density >= 1) return 0.0f;
    if (keep == 0) return INFINITY;
    count_magnitudes(bins, d, part, false, 0);
    uint32_t high = bin_of(bins, HIGH_BINS, &keep);
    count_magnitudes(bins, d, part, true, high);
    uint32_t u = high << 15 | bin_of(bins, LOW_BINS, &keep);
    float edge;
    memcpy(&edge, &u, sizeof edge);
    return edge;
}

/* ---- rows of the combination ----------------------------------------------------------------------------------------- */
static float ties_entry(const struct dense *d, size_t at) {
    size_t stride = d->block * d->site->n_in, agreeing = 0;
    double votes = 0, sum = 0;
    for (size_t i = 0; i < d->site->count; i++) {
        float x = d->update[i * stride + at];
        if (fabsf(x) >= d->edge[i]) votes += (double)x;
    }
    for (size_t i = 0; i < d->site->count; i++) {
        float x = d->update[i * stride + at];
        if (fabsf(x) < d->edge[i] || x == 0.0f || (x > 0.0f) != (votes >= 0)) continue;
        sum += d->site->part[i].weight * (double)x;
        agreeing++;
    }
    return agreeing ? (float)(sum / (double)agreeing) : 0.0f;
}

static void dare_row(float *dst, const struct dense *d, size_t row0, size_t row) {
    size_t n = d->site->n_in, stride = d->block * n, blocks = (n + 3) / 4;
    uint64_t bound = (uint64_t)(d->density * 0x1p32);
    for (size_t q = 0; q < blocks; q++) {
        double sum[4] = {0};
        for (size_t i = 0; i < d->site->count; i++) {
            uint32_t w[4];
            ar__rng_block(w, &d->random[i], (row0 + row) * blocks + q);
            double factor = d->site->part[i].weight / d->density;
            for (size_t j = q * 4; j < n && j < q * 4 + 4; j++)
                if (w[j & 3] < bound) sum[j & 3] += factor * (double)d->update[i * stride + row * n + j];
        }
        for (size_t j = q * 4; j < n && j < q * 4 + 4; j++) dst[j] = (float)sum[j & 3];
    }
}

static ar_status make_rows(void *user, float *dst, size_t row0, size_t count, ar_error *err) {
    const struct dense *d = user;
    size_t n = d->site->n_in;
    (void)err;
    for (size_t at = 0; at < count; at += d->block) {
        size_t rows = count - at < d->block ? count - at : d->block;
        for (size_t i = 0; i < d->site->count; i++) make_update(d->update + i * d->block * n, d, i, row0 + at, rows);
#pragma omp parallel for num_threads(ar__team(d->rt, rows *n)) schedule(static)
        for (size_t r = 0; r < rows; r++) {
            if (d->o->method == AR_COMBINE_DARE) {
                dare_row(dst + (at + r) * n, d, row0 + at, r);
                continue;
            }
            for (size_t j = 0; j < n; j++) dst[(at + r) * n + j] = ties_entry(d, r * n + j);
        }
    }
    return AR_OK;
}

static ar_status prepare(struct dense *d, ar_error *err) {
    const ar_combine_site *site = d->site;
    size_t bins_count = HIGH_BINS, most = 1;
    for (size_t i = 0; i < site->count; i++) {
        size_t r = (size_t)site->part[i].pair->rank;
        if (r > most) most = r;
        d->random[i] = ar__rng_stream(d->o->seed, AR_RNG_DARE, ar__rng_hash(site->name), site->part[i].source);
    }
    d->block = BLOCK_FLOATS / site->n_in < 1 ? 1 : BLOCK_FLOATS / site->n_in;
    if (d->block > MOST_ROWS) d->block = MOST_ROWS;
    d->left = ar__alloc(d->block, most * sizeof *d->left);
    d->update = ar__alloc(site->count * d->block, site->n_in * sizeof *d->update);
    size_t *bins = ar__alloc(bins_count, sizeof *bins);
    ar_status s = d->left && d->update && bins ? AR_OK : ar__fail_memory(err, site->name);
    for (size_t i = 0; !s && i < site->count; i++) s = ar__pair_load(site->part[i].ad, site->part[i].pair, err);
    for (size_t i = 0; !s && d->o->method == AR_COMBINE_TIES && i < site->count; i++) d->edge[i] = find_edge(bins, d, i);
    free(bins);
    return s;
}

ar_status ar__combine_dense(ar_low_rank *out, const ar_runtime *rt, const ar_combine_site *site, const ar_combine_options *o,
                            const ar_rank_rule *rule, ar_error *err) {
    struct dense d = {.rt = rt, .site = site, .o = o, .density = o->density};
    if (d.density == 0) d.density = o->method == AR_COMBINE_TIES ? ties_density : dare_density;
    d.edge = ar__alloc(site->count, sizeof *d.edge);
    d.random = ar__alloc(site->count, sizeof *d.random);
    *out = (ar_low_rank){0};
    ar_status s = d.edge && d.random ? prepare(&d, err) : ar__fail_memory(err, site->name);
    if (!s) {
        s = ar__top_svd(out, rt, &(ar_dense){.m = site->n_out, .n = site->n_in, .rows = make_rows, .user = &d}, rule, 1, err);
        if (s) ar__fail_at(err, s, site->name);
    }
    for (size_t i = 0; i < site->count; i++) ar__pair_unload(site->part[i].pair);
    free(d.edge);
    free(d.random);
    free(d.left);
    free(d.update);
    return s;
}
