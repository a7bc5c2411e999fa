/* The linear and the embedding.  As in ops/cpu/linear.c, but for two things: y = x Wᵀ and the pair's s B (A x) are products of their own,
 * and a gradient sums over all rows of a segment at once.  Under bf16 every product rounds both sides, the pairs' too (autocast does the
 * same). */
#include "ops/cuda/mma.h"
#include "ops/cuda/reduce.h"

#define AR_PHILOX_FN CU_FN
extern "C" {
#include "base/philox.h"
#include "base/rng.h"
}

/* ---- what stands around products ---- */

__global__ void add_columns(float *y, const float *bias, size_t rows, size_t n) {
    for (size_t i = CU_FIRST; i < rows * n; i += CU_STRIDE) y[i] += bias[i % n];
}

/* to = x (gain - less), column by column */
__global__ void scale_columns(float *to, const float *x, const float *gain, float less, size_t rows, size_t n) {
    for (size_t i = CU_FIRST; i < rows * n; i += CU_STRIDE) to[i] = x[i] * (gain[i % n] - less);
}

__global__ void subtract(float *y, const float *x, size_t n) {
    for (size_t i = CU_FIRST; i < n; i += CU_STRIDE) y[i] -= x[i];
}

__global__ void add_scaled_columns(float *y, const float *x, const float *gain, size_t rows, size_t n) {
    for (size_t i = CU_FIRST; i < rows * n; i += CU_STRIDE) y[i] += x[i] * gain[i % n];
}

/* What dropout needs of the rows of a segment: the streams of its samples, and whose a row is. */
struct dropping {
    const uint32_t *streams; /* [samples, 4] */
    const int32_t *sample, *position;
    uint32_t below; /* of a word: dropped */
    float keep;
};

/* to = mask x, or added */
__global__ void drop_rows(float *to, const float *x, dropping drop, int accumulate, size_t rows, size_t n) {
    size_t fours = (n + 3) / 4;
    for (size_t i = CU_FIRST; i < rows * fours; i += CU_STRIDE) {
        size_t row = i / fours, four = i % fours;
        const uint32_t *stream = drop.streams + 4 * (size_t)drop.sample[row]; /* its key, its counter's upper half */
        uint32_t word[4];
        ar__philox(word, stream, stream + 2, (uint64_t)drop.position[row] * fours + four);
        for (size_t e = 0; e < 4 && four * 4 + e < n; e++) {
            size_t at = row * n + four * 4 + e;
            float v = word[e] < drop.below ? 0.0f : x[at] * drop.keep;
            to[at] = accumulate ? to[at] + v : v;
        }
    }
}

/* ---- a call ---- */

/* The rows of one segment, and its pair. */
struct part {
    const ar_segment *seg;
    const ar_pair_op *p;
    size_t first, rows, su; /* su: where its own begin */
};

struct work {
    const ar_runtime *rt;
    cu_device *d;
    const ar_linear *lin;
    const ar_rows *rows;
    ar_linear_scratch scratch; /* by the device's addresses */
    size_t n, k, width;
};

static work work_of(const ar_runtime *rt, const ar_linear *lin, const ar_rows *rows, const ar_linear_scratch *scratch) {
    cu_device *d = cu_of(rt);
    ar_linear_scratch own = {};
    if (scratch) own = ar_linear_scratch{cu_at(d, scratch->dropped), cu_at(d, scratch->wide), cu_at(d, scratch->dz), cu_at(d, scratch->du)};
    return work{rt, d, lin, rows, own, lin->w.rows, lin->w.cols, ar__pair_width(rows, lin->site)};
}

static part part_of(const work &w, size_t i) {
    const ar_segment *seg = &w.rows->segments[i];
    size_t first = w.rows->start[seg->first];
    return part{seg, ar__segment_pair(seg, w.lin->site), first, w.rows->start[seg->last] - first, first * w.width};
}

/* Rows of an operand further down, columns further right. */
static cu_operand from(cu_operand o, size_t row, size_t col) {
    o.at = (const char *)o.at + (row * o.ld + col) * (o.half ? 2 : 4);
    return o;
}

static cu_operand turned(cu_operand o) {
    o.turned = true;
    return o;
}

static cu_operand factor(const work &w, const float *x, size_t rows, size_t n) { return cu_ready(w.rt, CU_SLOT_FACTOR, x, n, rows, n); }

/* y [rows, n] = x Wᵀ, a stretch of W at a time. */
static void times_weight(const work &w, float *y, cu_operand x, size_t rows) {
    size_t step = cu_weight_step(w.rt, &w.lin->w);
    for (size_t at = 0; at < w.n; at += step) {
        size_t end = at + step < w.n ? at + step : w.n;
        cu_gemm(w.d, y + at, w.n, false, 1.0f, x, turned(cu_weight_rows(w.rt, &w.lin->w, at, end)), rows, end - at, w.k);
    }
}

/* dx [rows, k] (+)= dy W */
static void times_weight_bwd(const work &w, float *dx, bool accumulate, cu_operand dy, size_t rows) {
    size_t step = cu_weight_step(w.rt, &w.lin->w);
    for (size_t at = 0; at < w.n; at += step) {
        size_t end = at + step < w.n ? at + step : w.n;
        cu_gemm(w.d, dx, w.k, accumulate || at > 0, 1.0f, from(dy, 0, at), cu_weight_rows(w.rt, &w.lin->w, at, end), rows, w.k, end - at);
    }
}

static dropping dropping_of(const work &w, const part &q) {
    const ar_rows *rows = w.rows;
    uint32_t *streams = (uint32_t *)cu_table(w.d, rows->samples * 4 * sizeof *streams);
    if (!streams) return dropping{};
    for (size_t s = 0; s < rows->samples; s++) {
        ar_rng g = ar__rng_stream(q.p->seed, AR_RNG_DROPOUT, q.p->site_hash, rows->key[s]);
        memcpy(streams + 4 * s, g.key, 8);
        memcpy(streams + 4 * s + 2, g.stream, 8);
    }
    const uint32_t *staged = cu_stage(w.d, streams, rows->samples * 4);
    cu_row_tables t = cu_rows(w.d, rows, NULL);
    return dropping{staged, t.sample + q.first, t.position + q.first, (uint32_t)((double)q.p->dropout * 0x1p32),
                    1.0f / (1.0f - q.p->dropout)};
}

static void drop(const work &w, const part &q, float *to, const float *x, size_t n, bool accumulate) {
    dropping how = dropping_of(w, q);
    if (!how.streams) return;
    CU_LAUNCH_FLAT(w.d, drop_rows, cu_grid(q.rows * ((n + 3) / 4)), CU_THREADS, to + q.first * n, x + q.first * n, how, (int)accumulate,
                   q.rows, n);
}

/* The segment's input: x, or what dropout leaves of it. */
static cu_operand input_of(const work &w, const part &q, const float *x, cu_operand ready) {
    if (q.p->dropout == 0.0f) return from(ready, q.first, 0);
    drop(w, q, w.scratch.dropped, x, w.k, false);
    return cu_ready(w.rt, CU_SLOT_INPUT, w.scratch.dropped + q.first * w.k, w.k, q.rows, w.k);
}

/* su = s A x */
static void down(const work &w, const part &q, float *su, cu_operand x) {
    size_t r = (size_t)q.p->rank;
    cu_gemm(w.d, su + q.su, r, false, (float)q.p->scale, x, turned(factor(w, q.p->a, r, w.k)), q.rows, r, w.k);
}

/* y += su Bᵀ; y: the segment's first row */
static void up(const work &w, const part &q, float *y, const float *su) {
    size_t r = (size_t)q.p->rank;
    cu_operand in = cu_ready(w.rt, CU_SLOT_SU, su + q.su, r, q.rows, r);
    cu_gemm(w.d, y, w.n, true, 1.0f, in, turned(factor(w, q.p->b, w.n, r)), q.rows, w.n, r);
}

static void gain_columns(const work &w, const part &q, float *to, const float *x, float less) {
    CU_LAUNCH_FLAT(w.d, scale_columns, cu_grid(q.rows * w.n), CU_THREADS, to, x, (const float *)cu_at(w.d, q.p->gain), less, q.rows, w.n);
}

static void pair_fwd(const work &w, const part &q, float *y, float *su, const float *x, cu_operand ready) {
    float *own = y + q.first * w.n;
    cu_operand in = input_of(w, q, x, ready);
    down(w, q, su, in);
    if (!q.p->gain || q.p->dropout == 0.0f) {
        up(w, q, own, su);
        if (q.p->gain) gain_columns(w, q, own, own, 0.0f);
        return;
    }
    float *wide = w.scratch.wide + q.first * w.n;
    times_weight(w, wide, in, q.rows);
    CU_LAUNCH_FLAT(w.d, subtract, cu_grid(q.rows * w.n), CU_THREADS, own, (const float *)wide, q.rows * w.n);
    up(w, q, wide, su);
    CU_LAUNCH_FLAT(w.d, add_scaled_columns, cu_grid(q.rows * w.n), CU_THREADS, own, (const float *)wide,
                   (const float *)cu_at(w.d, q.p->gain), q.rows, w.n);
}

static void one_fwd(const work &w, float *y, float *su, const float *x, cu_operand ready) {
    times_weight(w, y, ready, w.rows->count);
    for (size_t i = 0; i < w.rows->segment_count; i++) {
        part q = part_of(w, i);
        if (q.p) pair_fwd(w, q, y, su, x, ready);
    }
    if (w.lin->bias)
        CU_LAUNCH_FLAT(w.d, add_columns, cu_grid(w.rows->count * w.n), CU_THREADS, y, (const float *)cu_at(w.d, w.lin->bias), w.rows->count,
                       w.n);
}

void ar__cuda_linears_fwd(const ar_runtime *rt, const ar_linear_out *out, size_t count, const float *x, const ar_rows *rows,
                          const ar_linear_scratch *scratch) {
    size_t k = out[0].lin->w.cols;
    x = cu_at(cu_of(rt), x);
    cu_operand ready = cu_ready(rt, CU_SLOT_X, x, k, rows->count, k);
    for (size_t i = 0; i < count; i++)
        one_fwd(work_of(rt, out[i].lin, rows, scratch), cu_at(cu_of(rt), out[i].y), cu_at(cu_of(rt), out[i].su), x, ready);
}

void ar__cuda_linear_fwd(const ar_runtime *rt, float *y, float *su, const ar_linear *lin, const float *x, const ar_rows *rows,
                         const ar_linear_scratch *scratch) {
    ar_linear_out one = {lin, y, su};
    ar__cuda_linears_fwd(rt, &one, 1, x, rows, scratch);
}

void ar__cuda_linear_su(const ar_runtime *rt, float *su, const ar_linear *lin, const float *x, const ar_rows *rows,
                        const ar_linear_scratch *scratch) {
    work w = work_of(rt, lin, rows, scratch);
    if (!w.width) return;
    x = cu_at(w.d, x);
    su = cu_at(w.d, su);
    cu_operand ready = cu_ready(rt, CU_SLOT_X, x, w.k, rows->count, w.k);
    for (size_t i = 0; i < rows->segment_count; i++) {
        part q = part_of(w, i);
        if (q.p) down(w, q, su, input_of(w, q, x, ready));
    }
}

/* ---- backward ---- */

/* Sums of x y over n numbers, one a block, in double. */
__global__ void dot_parts(double *out, const float *x, const float *y, size_t n) {
    __shared__ double sum[CU_THREADS];
    double own = 0.0;
    for (size_t i = CU_FIRST; i < n; i += CU_STRIDE) own += (double)x[i] * (double)y[i];
    own = block_sum(own, sum);
    if (threadIdx.x == 0) out[blockIdx.x] = own;
}

/* ds = du · su / s² */
static void scale_bwd(const work &w, const part &q, const float *du, const float *su) {
    enum { PARTS = 64 };
    double part[PARTS], sum = 0.0;
    if (!q.p->dscale || q.p->scale == 0.0) return;
    double *out = (double *)cu_scratch(w.d, CU_SLOT_SUMS, sizeof part);
    CU_LAUNCH(w.d, dot_parts, dim3(PARTS), dim3(CU_THREADS), 0, out, du + q.su, su + q.su, q.rows * (size_t)q.p->rank);
    cu_download(w.d, part, out, sizeof part);
    for (int i = 0; i < PARTS; i++) sum += part[i];
    *q.p->dscale += sum / (q.p->scale * q.p->scale);
}

/* dz = g dy of the segment in scratch; and dm, from z = W in + B su formed again. */
static void dora_bwd(const work &w, const part &q, const float *dy, cu_operand in, const float *su) {
    float *z = w.scratch.wide ? w.scratch.wide + q.first * w.n : NULL;
    if (q.p->dmagnitude) {
        times_weight(w, z, in, q.rows);
        up(w, q, z, su);
        cu_column_sums(w.d, cu_at(w.d, q.p->dmagnitude), dy + q.first * w.n, z, cu_at(w.d, q.p->inv_norm), q.rows, w.n);
    }
    gain_columns(w, q, w.scratch.dz + q.first * w.n, dy + q.first * w.n, 0.0f);
}

static bool has_gain(const work &w) {
    for (size_t i = 0; i < w.rows->segment_count; i++) {
        part q = part_of(w, i);
        if (q.p && q.p->gain) return true;
    }
    return false;
}

static bool has_dropout(const work &w) {
    for (size_t i = 0; i < w.rows->segment_count; i++) {
        part q = part_of(w, i);
        if (q.p && q.p->dropout > 0.0f) return true;
    }
    return false;
}

static void pair_grads(const work &w, const part &q, const float *dy, cu_operand dy_ready, const float *x, cu_operand x_ready,
                       const float *su) {
    const ar_pair_op *p = q.p;
    size_t r = (size_t)p->rank, learned = ar__pair_learned(p);
    cu_operand in = input_of(w, q, x, x_ready), dz = from(dy_ready, q.first, 0);
    float *du = w.scratch.du + q.su;
    if (p->gain) {
        dora_bwd(w, q, dy, in, su);
        in = input_of(w, q, x, x_ready); /* the slot was W's input again, if dropout put it there */
        dz = cu_ready(w.rt, CU_SLOT_X, w.scratch.dz + q.first * w.n, w.n, q.rows, w.n);
    }
    cu_gemm(w.d, du, r, false, (float)p->scale, dz, factor(w, p->b, w.n, r), q.rows, r, w.n);
    scale_bwd(w, q, w.scratch.du, su);
    if (p->db)
        cu_gemm(w.d, cu_at(w.d, p->db), learned, true, 1.0f, turned(dz), cu_ready(w.rt, CU_SLOT_SU, su + q.su, r, q.rows, r), w.n, learned,
                q.rows);
    if (p->da)
        cu_gemm(w.d, cu_at(w.d, p->da), w.k, true, 1.0f, turned(cu_ready(w.rt, CU_SLOT_SU, du, r, q.rows, r)), in, learned, w.k, q.rows);
}

/* to += du A; to: the segment's first row */
static void down_bwd(const work &w, const part &q, float *to) {
    size_t r = (size_t)q.p->rank;
    cu_operand du = cu_ready(w.rt, CU_SLOT_SU, w.scratch.du + q.su, r, q.rows, r);
    cu_gemm(w.d, to, w.k, true, 1.0f, du, factor(w, q.p->a, r, w.k), q.rows, w.k, r);
}

/* What a segment's pair adds to dx. */
static void pair_dx(const work &w, const part &q, float *dx, const float *dy) {
    float *tmp = w.scratch.dropped;
    if (q.p->dropout == 0.0f) {
        down_bwd(w, q, dx + q.first * w.k);
        return;
    }
    if (q.p->gain) {
        float *dz = w.scratch.dz + q.first * w.n;
        gain_columns(w, q, dz, dy + q.first * w.n, 1.0f);
        times_weight_bwd(w, tmp + q.first * w.k, false, cu_ready(w.rt, CU_SLOT_X, dz, w.n, q.rows, w.n), q.rows);
    } else {
        cu_check(w.d, cudaMemsetAsync(tmp + q.first * w.k, 0, q.rows * w.k * sizeof *tmp, w.d->stream), "zeroing");
    }
    down_bwd(w, q, tmp + q.first * w.k);
    drop(w, q, dx, tmp, w.k, true);
}

/* With DoRA somewhere: segments that have it without dropout send g dy through W. */
static void base_dx(const work &w, float *dx, bool accumulate, const float *dy, cu_operand dy_ready) {
    if (!has_gain(w)) {
        times_weight_bwd(w, dx, accumulate, dy_ready, w.rows->count);
        return;
    }
    for (size_t i = 0; i < w.rows->segment_count; i++) {
        part q = part_of(w, i);
        const float *of = q.p && q.p->gain && q.p->dropout == 0.0f ? w.scratch.dz : dy;
        times_weight_bwd(w, dx + q.first * w.k, accumulate, cu_ready(w.rt, CU_SLOT_X, of + q.first * w.n, w.n, q.rows, w.n), q.rows);
    }
}

void ar__cuda_linear_bwd(const ar_runtime *rt, float *dx, bool accumulate, const float *dy, const ar_linear *lin, const float *x,
                         const float *su, const ar_rows *rows, const ar_linear_scratch *scratch) {
    work w = work_of(rt, lin, rows, scratch);
    bool reads = ar__linear_needs_input(lin, rows);
    dx = cu_at(w.d, dx);
    dy = cu_at(w.d, dy);
    x = cu_at(w.d, x);
    su = cu_at(w.d, su);
    /* Formed once for all, but where a segment needs the same scratch for numbers of its own. */
    cu_operand dy_ready = cu_ready(rt, CU_SLOT_X, dy, w.n, rows->count, w.n), x_ready = {};
    bool own = has_gain(w) || has_dropout(w);
    if (reads) x_ready = cu_ready(rt, CU_SLOT_INPUT, x, w.k, rows->count, w.k);
    if (lin->dbias) cu_column_sums(w.d, cu_at(w.d, lin->dbias), dy, NULL, NULL, rows->count, w.n);
    if (lin->dw) cu_gemm(w.d, cu_at(w.d, lin->dw), w.k, true, 1.0f, turned(dy_ready), x_ready, w.n, w.k, rows->count);
    for (size_t i = 0; i < rows->segment_count; i++) {
        part q = part_of(w, i);
        if (!q.p) continue;
        if (own && i > 0) {
            dy_ready = cu_ready(rt, CU_SLOT_X, dy, w.n, rows->count, w.n);
            x_ready = cu_ready(rt, CU_SLOT_INPUT, x, w.k, rows->count, w.k);
        }
        pair_grads(w, q, dy, dy_ready, x, x_ready, su);
    }
    if (!dx) return;
    base_dx(w, dx, accumulate, dy, dy_ready);
    for (size_t i = 0; i < rows->segment_count; i++) {
        part q = part_of(w, i);
        if (q.p) pair_dx(w, q, dx, dy);
    }
}

/* ---- the embedding ---- */

/* u = s A[:, id] */
__global__ void take_columns(float *u, const float *a, const int32_t *ids, float s, size_t rows, size_t r, size_t vocab) {
    for (size_t i = CU_FIRST; i < rows * r; i += CU_STRIDE) u[i] = s * a[i % r * vocab + (size_t)ids[i / r]];
}

/* to[id] += x of the rows in their order, a thread a column: rows may have one id. */
__global__ void scatter_rows(float *to, const float *x, const int32_t *ids, size_t rows, size_t n) {
    for (size_t j = CU_FIRST; j < n; j += CU_STRIDE)
        for (size_t i = 0; i < rows; i++) to[(size_t)ids[i] * n + j] += x[i * n + j];
}

__global__ void scatter_columns(float *da, const float *du, const int32_t *ids, size_t rows, size_t r, size_t learned, size_t vocab) {
    for (size_t j = CU_FIRST; j < learned; j += CU_STRIDE)
        for (size_t i = 0; i < rows; i++) da[j * vocab + (size_t)ids[i]] += du[i * r + j];
}

/* A site whose output is a row of E: as a linear with n = dim outputs. */
static work embedding_work(const ar_runtime *rt, ar_linear *as, const ar_embedding *e, const ar_rows *rows,
                           const ar_linear_scratch *scratch) {
    *as = ar_linear{};
    as->w = ar_weight{e->w.data, e->w.type, e->w.cols, e->w.rows};
    as->site = e->site;
    return work_of(rt, as, rows, scratch);
}

void ar__cuda_embedding_fwd(const ar_runtime *rt, float *y, float *su, const ar_embedding *e, const int32_t *ids, const ar_rows *rows) {
    ar_linear as;
    work w = embedding_work(rt, &as, e, rows, NULL);
    const int32_t *id = cu_stage(w.d, ids, rows->count);
    y = cu_at(w.d, y);
    su = cu_at(w.d, su);
    cu_weight_gather(rt, y, &e->w, id, rows->count);
    for (size_t i = 0; i < rows->segment_count; i++) {
        part q = part_of(w, i);
        if (!q.p) continue;
        size_t r = (size_t)q.p->rank;
        CU_LAUNCH_FLAT(w.d, take_columns, cu_grid(q.rows * r), CU_THREADS, su + q.su, (const float *)cu_at(w.d, q.p->a), id + q.first,
                       (float)q.p->scale, q.rows, r, w.k);
        up(w, q, y + q.first * w.n, su);
        if (q.p->gain) gain_columns(w, q, y + q.first * w.n, y + q.first * w.n, 0.0f);
    }
}

static void embedding_pair_bwd(const work &w, const part &q, const float *dy, const ar_embedding *e, const int32_t *id, const float *su) {
    const ar_pair_op *p = q.p;
    size_t r = (size_t)p->rank, learned = ar__pair_learned(p);
    const float *dz = dy + q.first * w.n;
    float *du = w.scratch.du + q.su;
    if (p->gain) {
        float *z = w.scratch.wide + q.first * w.n;
        cu_weight_gather(w.rt, z, &e->w, id + q.first, q.rows);
        up(w, q, z, su);
        if (p->dmagnitude) cu_column_sums(w.d, cu_at(w.d, p->dmagnitude), dz, z, cu_at(w.d, p->inv_norm), q.rows, w.n);
        gain_columns(w, q, w.scratch.dz + q.first * w.n, dz, 0.0f);
        dz = w.scratch.dz + q.first * w.n;
    }
    cu_operand ready = cu_ready(w.rt, CU_SLOT_X, dz, w.n, q.rows, w.n);
    cu_gemm(w.d, du, r, false, (float)p->scale, ready, factor(w, p->b, w.n, r), q.rows, r, w.n);
    scale_bwd(w, q, w.scratch.du, su);
    if (p->db)
        cu_gemm(w.d, cu_at(w.d, p->db), learned, true, 1.0f, turned(ready), cu_ready(w.rt, CU_SLOT_SU, su + q.su, r, q.rows, r), w.n,
                learned, q.rows);
    if (p->da)
        CU_LAUNCH_FLAT(w.d, scatter_columns, cu_grid(learned), CU_THREADS, cu_at(w.d, p->da), (const float *)du, id + q.first, q.rows, r,
                       learned, w.k);
}

void ar__cuda_embedding_bwd(const ar_runtime *rt, const float *dy, const ar_embedding *e, const int32_t *ids, const float *su,
                            const ar_rows *rows, const ar_linear_scratch *scratch) {
    ar_linear as;
    work w = embedding_work(rt, &as, e, rows, scratch);
    const int32_t *id = cu_stage(w.d, ids, rows->count);
    dy = cu_at(w.d, dy);
    su = cu_at(w.d, su);
    for (size_t i = 0; i < rows->segment_count; i++) {
        part q = part_of(w, i);
        if (q.p) embedding_pair_bwd(w, q, dy, e, id, su);
    }
    if (e->dw) CU_LAUNCH_FLAT(w.d, scatter_rows, cu_grid(w.n), CU_THREADS, cu_at(w.d, e->dw), dy, id, rows->count, w.n);
}
