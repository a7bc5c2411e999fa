/* Forward and backward of the linear; derivation in docs/backward.md.
 *
 * Linears of one input run as one group of products, which packs that input once:
 *     su_i = s A_i x  for all,  then  y_i = x W_i^T + su_i B_i^T + b_i  in one pass over each y */
#include "ops/cpu/linear_impl.h"

#include <assert.h>

enum { GROUP = 3 };

static bool covers_all(const ar_rows *rows, const ar_segment *seg) {
    return rows->start[seg->first] == 0 && rows->start[seg->last] == rows->count;
}

/* Two strengths of one pair. */
static bool are_alike(const ar_pair_op *p, const ar_pair_op *q) { return p->a == q->a && p->b == q->b && p->rank == q->rank; }

static bool has_gain(const ar_rows *rows, int site) {
    for (size_t i = 0; i < rows->segment_count; i++) {
        const ar_pair_op *p = ar__segment_pair(&rows->segments[i], site);
        if (p && p->gain) return true;
    }
    return false;
}

void ar__cpu_linear_su(const ar_runtime *rt, float *su, const ar_linear *lin, const float *x, const ar_rows *rows,
                       const ar_linear_scratch *scratch) {
    size_t k = lin->w.cols, width = ar__pair_width(rows, lin->site);
    for (size_t i = 0; i < rows->segment_count; i++) {
        const ar_segment *seg = &rows->segments[i];
        const ar_pair_op *p = ar__segment_pair(seg, lin->site);
        if (!p) continue;
        size_t r0 = rows->start[seg->first];
        const float *in = ar__dropped_input(rt, x, rows, seg, p, k, scratch);
        ar__pair_down(rt, su + r0 * width, p, in + r0 * k, rows->start[seg->last] - r0, k);
    }
}

/* The terms that the segments' pairs add to y (forward) or dx (backward): `in` is su or du.  Neighbours that differ in s
 * alone are one term. */
static size_t pair_terms(ar_gemm_term *terms, const ar_linear *lin, const float *in, const ar_rows *rows, bool backward) {
    size_t n = 0, width = ar__pair_width(rows, lin->site);
    const ar_pair_op *before = NULL;
    for (size_t i = 0; i < rows->segment_count; i++) {
        const ar_segment *seg = &rows->segments[i];
        const ar_pair_op *p = ar__segment_pair(seg, lin->site);
        if (!p || p->gain || (backward && p->dropout > 0.0f)) continue;
        size_t r = (size_t)p->rank, r0 = rows->start[seg->first];
        if (before && are_alike(before, p) && r == width && terms[n - 1].last == r0) {
            terms[n - 1].last = rows->start[seg->last];
            continue;
        }
        before = p;
        terms[n++] = (ar_gemm_term){.first = r0,
                                    .last = rows->start[seg->last],
                                    .k = r,
                                    .a = in + r0 * width,
                                    .a_ld = r,
                                    .b = backward ? p->a : p->b,
                                    .b_type = AR_F32,
                                    .b_ld = backward ? lin->w.cols : r,
                                    .b_rows = !backward};
    }
    return n;
}

/* The pair of all rows, with an s for each segment; NULL: there is none such. */
static const ar_pair_op *common_pair(ar_gemm_scale *scales, const ar_rows *rows, int site) {
    const ar_pair_op *first = ar__segment_pair(rows->segments, site);
    size_t at = 0;
    for (size_t i = 0; first && i < rows->segment_count; i++) {
        const ar_segment *seg = &rows->segments[i];
        const ar_pair_op *p = ar__segment_pair(seg, site);
        if (!p || p->dropout > 0.0f || !are_alike(first, p) || rows->start[seg->first] != at) return NULL;
        at = rows->start[seg->last];
        scales[i] = (ar_gemm_scale){rows->start[seg->first], at, (float)p->scale};
    }
    return at == rows->count ? first : NULL;
}

/* su as a member of the group, where one pair sees the whole input. */
static bool su_in_group(ar_gemm *g, ar_gemm_scale *scales, const ar_linear_out *out, const float *x, const ar_rows *rows) {
    const ar_pair_op *p = rows->segment_count ? common_pair(scales, rows, out->lin->site) : NULL;
    if (!p) return false;
    *g = ar__gemm_forward(out->su, x, p->a, AR_F32, rows->count, (size_t)p->rank, out->lin->w.cols);
    g->is_pair = true;
    g->scales = scales;
    g->scale_count = rows->segment_count;
    return true;
}

static void run_dora(const ar_runtime *rt, const ar_linear_out *out, const float *x, const ar_rows *rows,
                     const ar_linear_scratch *scratch) {
    size_t n = out->lin->w.rows, k = out->lin->w.cols, width = ar__pair_width(rows, out->lin->site);
    for (size_t i = 0; i < rows->segment_count; i++) {
        const ar_segment *seg = &rows->segments[i];
        const ar_pair_op *p = ar__segment_pair(seg, out->lin->site);
        if (!p || !p->gain) continue;
        size_t r0 = rows->start[seg->first], m = rows->start[seg->last] - r0;
        const float *in = p->dropout > 0.0f ? ar__dropped_input(rt, x, rows, seg, p, k, scratch) + r0 * k : NULL;
        ar__dora_fwd(rt, out->y + r0 * n, out->lin, p, in, out->su + r0 * width, m, scratch->wide ? scratch->wide + r0 * n : NULL);
    }
}

static void add_bias(const ar_runtime *rt, float *y, const float *bias, size_t rows, size_t n) {
#pragma omp parallel for num_threads(ar__team(rt, rows *n)) schedule(static)
    for (size_t i = 0; i < rows; i++)
        for (size_t j = 0; j < n; j++) y[i * n + j] += bias[j];
}

/* The pair's part of rows that are decoded. */
static void decode_pair(const ar_runtime *rt, const ar_linear_out *out, const float *x, const ar_rows *rows, const ar_segment *seg) {
    const ar_linear *lin = out->lin;
    const ar_pair_op *p = ar__segment_pair(seg, lin->site);
    if (!p) return;
    size_t r0 = rows->start[seg->first], m = rows->start[seg->last] - r0, r = (size_t)p->rank, n = lin->w.rows, k = lin->w.cols;
    float *su = out->su + r0 * ar__pair_width(rows, lin->site), *y = out->y + r0 * n;
    ar__gemv(rt, &(ar_gemv){.y = su, .w = p->a, .type = AR_F32, .n = r}, 1, x + r0 * k, m, k);
    for (size_t i = 0; i < m * r; i++) su[i] *= (float)p->scale;
    ar__gemv(rt, &(ar_gemv){.y = y, .w = p->b, .type = AR_F32, .n = n, .accumulate = true}, 1, su, m, r);
    if (p->gain) ar__dora_gain(rt, y, p, m, n);
}

/* Every row is a step of a sequence of its own: dot products with the rows of W, A and B. */
static void decode(const ar_runtime *rt, const ar_linear_out *out, size_t count, const float *x, const ar_rows *rows) {
    ar_gemv w[GROUP] = {0};
    for (size_t i = 0; i < count; i++)
        w[i] = (ar_gemv){.y = out[i].y, .w = out[i].lin->w.data, .type = out[i].lin->w.type, .n = out[i].lin->w.rows};
    ar__gemv(rt, w, count, x, rows->count, out[0].lin->w.cols);
    for (size_t i = 0; i < count; i++) {
        const ar_linear *lin = out[i].lin;
        for (size_t s = 0; s < rows->segment_count; s++) decode_pair(rt, &out[i], x, rows, &rows->segments[s]);
        if (lin->bias) add_bias(rt, out[i].y, lin->bias, rows->count, lin->w.rows);
    }
}

void ar__cpu_linears_fwd(const ar_runtime *rt, const ar_linear_out *out, size_t count, const float *x, const ar_rows *rows,
                         const ar_linear_scratch *scratch) {
    ar_gemm g[2 * GROUP] = {0};
    ar_gemm_term terms[GROUP][AR_SEGMENTS];
    ar_gemm_scale scales[GROUP][AR_SEGMENTS];
    size_t pairs = 0;
    assert(count <= GROUP && rows->segment_count <= AR_SEGMENTS);
    if (rows->decoding && (rows->count == rows->samples || rows->some)) {
        decode(rt, out, count, x, rows);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        if (su_in_group(&g[pairs], scales[i], &out[i], x, rows))
            pairs++;
        else
            ar__cpu_linear_su(rt, out[i].su, out[i].lin, x, rows, scratch);
    }
    for (size_t i = 0; i < count; i++) {
        const ar_linear *lin = out[i].lin;
        ar_gemm *y = &g[pairs + i];
        *y = ar__gemm_forward(out[i].y, x, lin->w.data, lin->w.type, rows->count, lin->w.rows, lin->w.cols);
        y->is_weight = true;
        y->terms = terms[i];
        y->term_count = pair_terms(terms[i], lin, out[i].su, rows, false);
        y->bias = has_gain(rows, lin->site) ? NULL : lin->bias;
        y->after = i == 0 && pairs > 0;
    }
    ar__gemm_group(rt, g, pairs + count);
    for (size_t i = 0; i < count; i++) {
        const ar_linear *lin = out[i].lin;
        if (!has_gain(rows, lin->site)) continue;
        run_dora(rt, &out[i], x, rows, scratch);
        if (lin->bias) add_bias(rt, out[i].y, lin->bias, rows->count, lin->w.rows);
    }
}

void ar__cpu_linear_fwd(const ar_runtime *rt, float *y, float *su, const ar_linear *lin, const float *x, const ar_rows *rows,
                        const ar_linear_scratch *scratch) {
    ar__cpu_linears_fwd(rt, &(ar_linear_out){lin, y, su}, 1, x, rows, scratch);
}

static void pair_grads(const ar_runtime *rt, const ar_pair_op *p, const float *dz, const float *in, const float *su, const float *du,
                       const ar_rows *rows, const ar_segment *seg, const ar_linear *lin) {
    size_t n = lin->w.rows, k = lin->w.cols, r = (size_t)p->rank, learned = ar__pair_learned(p), r0 = rows->start[seg->first];
    if (p->db) ar__outer(rt, &(ar_outer){p->db, dz + r0 * n, n, su, r, n, learned}, rows, seg->first, seg->last);
    if (p->da) ar__outer(rt, &(ar_outer){p->da, du, r, in + r0 * k, k, learned, k}, rows, seg->first, seg->last);
}

/* The segment's own gradients.  du: formed here unless it is there; dz stays in scratch->dz (DoRA). */
static void segment_grads(const ar_runtime *rt, float *du, bool have_du, const float *dy, const ar_linear *lin, const ar_pair_op *p,
                          const float *x, const float *su, const ar_rows *rows, const ar_segment *seg, const ar_linear_scratch *scratch) {
    size_t n = lin->w.rows, k = lin->w.cols, r0 = rows->start[seg->first], m = rows->start[seg->last] - r0;
    const float *in = ar__dropped_input(rt, x, rows, seg, p, k, scratch), *dz = dy;
    if (p->gain) {
        ar__dora_bwd(rt, scratch->dz, dy, lin, p, in, su, rows, seg, scratch->wide);
        dz = scratch->dz;
    }
    if (!have_du) ar__pair_up_bwd(rt, du, p, dz + r0 * n, m, n);
    ar__pair_scale_bwd(p, du, su, rows, seg);
    pair_grads(rt, p, dz, in, su, du, rows, seg, lin);
}

static void all_grads(const ar_runtime *rt, bool have_du, const float *dy, const ar_linear *lin, const float *x, const float *su,
                      const ar_rows *rows, const ar_linear_scratch *scratch) {
    size_t n = lin->w.rows, k = lin->w.cols, width = ar__pair_width(rows, lin->site);
    for (size_t i = 0; i < rows->segment_count; i++) {
        const ar_segment *seg = &rows->segments[i];
        const ar_pair_op *p = ar__segment_pair(seg, lin->site);
        size_t at = rows->start[seg->first] * width;
        if (p) segment_grads(rt, scratch->du + at, have_du, dy, lin, p, x, su + at, rows, seg, scratch);
    }
    if (lin->dbias) ar__column_sums(rt, lin->dbias, dy, NULL, NULL, rows, 0, rows->samples, n);
    if (lin->dw) ar__outer(rt, &(ar_outer){lin->dw, dy, n, x, k, n, k}, rows, 0, rows->samples);
}

/* dx of segments of which some have DoRA: without dropout those send g * dy through W (segment_grads left it in dz), all
 * others dy. */
static void dora_base_dx(const ar_runtime *rt, float *dx, bool accumulate, const float *dy, const ar_linear *lin, const ar_rows *rows,
                         const float *dz) {
    size_t n = lin->w.rows, k = lin->w.cols;
    for (size_t i = 0; i < rows->segment_count; i++) {
        const ar_segment *seg = &rows->segments[i];
        const ar_pair_op *p = ar__segment_pair(seg, lin->site);
        size_t r0 = rows->start[seg->first], m = rows->start[seg->last] - r0;
        const float *from = p && p->gain && p->dropout == 0.0f ? dz : dy;
        ar_gemm g = ar__gemm_backward(dx + r0 * k, from + r0 * n, lin->w.data, lin->w.type, m, n, k);
        g.is_weight = true;
        g.accumulate = accumulate;
        ar__gemm(rt, &g);
    }
}

/* dx with the terms of plain pairs; with `own` also their du, in the same group. */
static void plain_dx(const ar_runtime *rt, float *dx, bool accumulate, const float *dy, const ar_linear *lin, const ar_rows *rows,
                     float *du, const ar_pair_op *own) {
    size_t n = lin->w.rows, k = lin->w.cols;
    ar_gemm g[2] = {0};
    ar_gemm_term terms[AR_SEGMENTS];
    ar_gemm_scale scale = {0, rows->count, own ? (float)own->scale : 1.0f};
    if (own) {
        g[0] = ar__gemm_backward(du, dy, own->b, AR_F32, rows->count, n, (size_t)own->rank);
        g[0].is_pair = true;
        g[0].scales = &scale;
        g[0].scale_count = 1;
    }
    ar_gemm *x = &g[own != NULL];
    *x = ar__gemm_backward(dx, dy, lin->w.data, lin->w.type, rows->count, n, k);
    x->is_weight = true;
    x->accumulate = accumulate;
    x->terms = terms;
    x->term_count = pair_terms(terms, lin, du, rows, true);
    x->after = own != NULL;
    ar__gemm_group(rt, g, own ? 2 : 1);
}

void ar__cpu_linear_bwd(const ar_runtime *rt, float *dx, bool accumulate, const float *dy, const ar_linear *lin, const float *x,
                        const float *su, const ar_rows *rows, const ar_linear_scratch *scratch) {
    bool gain = has_gain(rows, lin->site), apart = dx && dx != x, whole = rows->segment_count == 1 && covers_all(rows, rows->segments);
    const ar_pair_op *own = apart && whole && !gain ? ar__segment_pair(rows->segments, lin->site) : NULL;
    assert(rows->segment_count <= AR_SEGMENTS);
    if (!own) all_grads(rt, false, dy, lin, x, su, rows, scratch);
    if (dx && gain) dora_base_dx(rt, dx, accumulate, dy, lin, rows, scratch->dz);
    if (dx && !gain) plain_dx(rt, dx, accumulate, dy, lin, rows, scratch->du, own);
    if (own) all_grads(rt, true, dy, lin, x, su, rows, scratch);
    /* With a gain anywhere the base's part was formed without terms. */
    for (size_t i = 0; dx && i < rows->segment_count; i++) {
        const ar_segment *seg = &rows->segments[i];
        const ar_pair_op *p = ar__segment_pair(seg, lin->site);
        float *du = scratch->du + rows->start[seg->first] * ar__pair_width(rows, lin->site);
        if (p && (gain || p->dropout > 0.0f)) ar__special_dx(rt, dx, dy, lin, p, du, rows, seg, scratch);
    }
}
