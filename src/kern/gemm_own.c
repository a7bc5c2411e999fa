/* The packed product (Goto & van de Geijn, 2008, in the shape of BLIS), for one product or a group with one left operand.
 *
 *   for each block of rows (as many as rt->left holds, a multiple of AR_TILE_ROWS), in one parallel region:
 *     pack the rows of A, all of k, once per arithmetic in use                     | shared by the group
 *     for each stage (up to the next member that says `after`):
 *       pack the rows of the terms' A
 *       jobs = (member, columns, rows) from one counter; a job owns its part of C:
 *         for each batch of slices of k whose right blocks fit a thread's buffer:
 *           pack the right blocks; for each AR_TILE_ROWS rows, slice, panel, sliver: one register tile C (+)= left · right
 *         then scale and bias
 *
 * An element of C is stored by the first slice and added to by the others, always whole slices in ascending k, then the
 * terms; edges run the same tile on zero-padded operands into a spare one.  The slices depend on k alone.  So the bits
 * depend on the element's row, column and k: not on m, threads, row blocks, columns per job, or who shares the group. */
#include <omp.h>

#include "base/size.h"
#include "kern/gemm_group.h"

/* ---- packing A ---- */

/* Panel i of the factor within the block: the rows of C it covers, relative to the block; false where there are none. */
static bool panel_rows(const ar_group *gr, const ar_factor *f, size_t i, size_t *from, size_t *to) {
    size_t first = f->first > gr->row0 ? f->first - gr->row0 : 0, last = f->last > gr->row0 ? f->last - gr->row0 : 0;
    *from = ar__max(first, i * f->panels.mr);
    *to = ar__min(ar__min(last, gr->rows), (i + 1) * f->panels.mr);
    return *from < *to;
}

/* Where panel i of the slice at p0 (depth deep) begins: slice after slice, so that a job reads on and on. */
static char *left_panel(const ar_group *gr, const ar_factor *f, size_t i, size_t p0, size_t depth) {
    size_t rows = ar__round_up(gr->rows, f->panels.mr);
    return f->left + (rows * p0 + i * f->panels.mr * depth) * f->panels.left_bytes;
}

static void pack_left(const ar_group *gr, const ar_factor *f) {
    size_t panels = (gr->rows + f->panels.mr - 1) / f->panels.mr;
#pragma omp for schedule(static) nowait
    for (size_t i = 0; i < panels; i++) {
        size_t from, to;
        if (!panel_rows(gr, f, i, &from, &to)) continue;
        const float *a = f->a + (gr->row0 + from - f->first) * f->a_row;
        for (size_t p = 0; p < f->k; p += f->slice) {
            size_t len = ar__min(f->slice, f->k - p);
            ar__panels_left(&f->panels, left_panel(gr, f, i, p, ar__panels_depth(&f->panels, len)), a + p * f->a_col, f->a_row, f->a_col,
                            to - from, len);
        }
    }
}

/* ---- a job ---- */

typedef struct slice {
    const ar_factor *f;
    size_t p0, len, depth;
    const char *right;
} slice;

/* From one slice to the next, the product's own first (one of length 0 where k is 0), then the terms'. */
static bool next_slice(const ar_group *gr, const ar_member *m, slice *s) {
    const ar_factor *base = &gr->factor[m->factor], *last = base + m->factor_count;
    if (!s->f)
        s->f = base;
    else if ((s->p0 += s->len) >= s->f->k) {
        do s->f++;
        while (s->f < last && s->f->k == 0);
        s->p0 = 0;
    }
    if (s->f == last) return false;
    s->len = ar__min(s->f->slice, s->f->k - s->p0);
    s->depth = ar__panels_depth(&s->f->panels, s->len);
    return true;
}

static size_t right_bytes(const slice *s, size_t cols) {
    return ar__round_up(ar__round_up(cols, s->f->panels.nr) * s->depth * s->f->panels.right_bytes, AR_PACKED_LINE);
}

/* One slice on rows r0..r1 of the block. */
static void multiply(const ar_group *gr, const ar_member *m, const slice *s, size_t r0, size_t r1, size_t j0, size_t cols) {
    const ar_gemm *g = m->g;
    const ar_factor *f = s->f;
    size_t mr = f->panels.mr, from, to;
    bool first = f == &gr->factor[m->factor] && s->p0 == 0;
    for (size_t i = r0 / mr; i * mr < r1; i++) {
        if (!panel_rows(gr, f, i, &from, &to)) continue;
        ar__panels_multiply(&f->panels, g->c + (gr->row0 + from) * g->c_ld + j0, g->c_ld, left_panel(gr, f, i, s->p0, s->depth), s->right,
                            f->panels.nr * s->depth, to - from, cols, s->depth, !first || g->accumulate);
    }
}

static void finish(const ar_group *gr, const ar_gemm *g, size_t r0, size_t r1, size_t j0, size_t cols) {
    if (!g->scale_count && !g->bias) return;
    for (size_t i = r0; i < r1; i++) ar__gemm_finish_row(g, gr->row0 + i, j0, cols);
}

/* Packs the right blocks of as many slices as fit the buffer; returns how many.  *more: whether others follow. */
static size_t pack_batch(const ar_group *gr, const ar_member *m, slice *batch, size_t most, slice *next, bool *more, char *buffer,
                         size_t j0, size_t cols) {
    size_t n = 0, used = 0;
    void *copy = buffer + AR_GEMM_RIGHT_BYTES;
    do {
        size_t bytes = right_bytes(next, cols);
        if (n == most || (n > 0 && used + bytes > AR_GEMM_RIGHT_BYTES)) break;
        batch[n] = *next;
        batch[n++].right = buffer + used;
        ar__panels_right(&next->f->panels, buffer + used, copy, &next->f->right, j0, cols, next->p0, next->len);
        used += bytes;
        *more = next_slice(gr, m, next);
    } while (*more);
    return n;
}

static void run_job(const ar_group *gr, const ar_member *m, size_t job, char *buffer) {
    enum { BATCH = 8 };
    size_t j0 = job / m->parts * m->columns, cols = ar__min(m->columns, m->g->n - j0);
    size_t chunks = (gr->rows + AR_TILE_ROWS - 1) / AR_TILE_ROWS, part = job % m->parts;
    size_t first = chunks * part / m->parts * AR_TILE_ROWS, last = ar__min(chunks * (part + 1) / m->parts * AR_TILE_ROWS, gr->rows);
    slice batch[BATCH], next = {0};
    for (bool more = next_slice(gr, m, &next); more;) {
        size_t n = pack_batch(gr, m, batch, BATCH, &next, &more, buffer, j0, cols);
        for (size_t r = first; r < last; r += AR_TILE_ROWS) {
            size_t end = ar__min(r + AR_TILE_ROWS, last);
            for (size_t i = 0; i < n; i++) multiply(gr, m, &batch[i], r, end, j0, cols);
            if (!more) finish(gr, m->g, r, end, j0, cols);
        }
    }
}

/* ---- running ---- */

/* The members from `first` up to the next that waits for others. */
static size_t stage_end(const ar_group *gr, size_t first) {
    size_t end = first + 1;
    while (end < gr->count && !gr->member[end].g->after) end++;
    return end;
}

static void run_stage(const ar_group *gr, size_t first, size_t end, char *buffer) {
    size_t jobs = 0;
    for (size_t i = first; i < end; i++) {
        const ar_member *m = &gr->member[i];
        for (size_t f = 1; f < m->factor_count; f++) pack_left(gr, &gr->factor[m->factor + f]);
        jobs += m->jobs;
    }
#pragma omp barrier
#pragma omp for schedule(dynamic, 1)
    for (size_t job = 0; job < jobs; job++) {
        size_t i = first, at = job;
        while (at >= gr->member[i].jobs) at -= gr->member[i++].jobs;
        run_job(gr, &gr->member[i], at, buffer);
    }
}

static const ar_bf16_tile *unit_in_use(const ar_group *gr) {
    for (size_t i = 0; i < gr->count; i++) {
        const ar_bf16_tile *t = gr->factor[gr->member[i].factor].panels.bf16;
        if (t && t->begin) return t;
    }
    return NULL;
}

static void run_block(ar_group *gr, size_t work) {
    ar__group_divide(gr);
    const ar_bf16_tile *unit = unit_in_use(gr);
#pragma omp parallel num_threads(ar__team(gr->rt, work / 16))
    {
        char *buffer = (char *)ar__runtime_right(gr->rt, omp_get_thread_num());
        if (unit) unit->begin();
        for (size_t i = 0; i < gr->count; i++)
            if (!gr->factor[gr->member[i].factor].shared) pack_left(gr, &gr->factor[gr->member[i].factor]);
        for (size_t i = 0; i < gr->count; i = stage_end(gr, i)) run_stage(gr, i, stage_end(gr, i), buffer);
        if (unit) unit->end();
    }
}

static bool run_group(const ar_runtime *rt, const ar_gemm *g, const ar_panels *panels, size_t count, size_t whole_k) {
    ar_group gr;
    if (!ar__group_prepare(&gr, rt, g, panels, count, whole_k)) return false;
    size_t m = g[0].m, rows = ar__group_rows(&gr, m), columns = 0;
    if (rows == 0) return false;
    for (size_t i = 0; i < count; i++) columns += g[i].n;
    for (gr.row0 = 0; gr.row0 < m; gr.row0 += rows) {
        gr.rows = ar__min(rows, m - gr.row0);
        run_block(&gr, gr.rows * columns * ar__max(g[0].k, 1));
    }
    return true;
}

bool ar__packed_group(const ar_runtime *rt, const ar_gemm *g, const ar_panels *panels, size_t count) {
    return run_group(rt, g, panels, count, g[0].k);
}

/* k too deep for many rows: as many as fit with a part of k, then the next part.  Parts are whole slices. */
void ar__packed_deep(const ar_runtime *rt, const ar_gemm *g, const ar_panels *panels) {
    enum { MOST_ROWS = 6 * AR_TILE_ROWS };
    size_t most = AR_GEMM_LEFT_BYTES / panels->left_bytes / MOST_ROWS / AR_ONE_SLICE * AR_ONE_SLICE;
    ar_gemm part = *g;
    ar_right b = {g->b, g->b_type, g->b_ld, g->b_rows};
    for (size_t i = 0; i < g->m; i += MOST_ROWS) {
        part.m = ar__min(MOST_ROWS, g->m - i);
        part.c = g->c + i * g->c_ld;
        for (size_t p = 0; p < g->k; p += most) {
            part.k = ar__min(most, g->k - p);
            part.a = g->a + i * g->a_row + p * g->a_col;
            part.b = g->b_rows ? ar__right_element(&b, 0, p) : ar__right_element(&b, p, 0);
            part.accumulate = g->accumulate || p > 0;
            run_group(rt, &part, panels, 1, g->k);
        }
    }
}

static bool accepts_own(const ar_runtime *rt, const ar_gemm *g) {
    (void)rt;
    return ar__dtype(g->b_type)->is_weight;
}

static ar_panels panels_own(const ar_runtime *rt, const ar_gemm *g) {
    return ar__panels_f32(&rt->kern, ar__gemm_in_bf16(rt, g), g->is_pair);
}

/* X and dY lie in rows; a transposed left operand belongs to gradients, which are f32. */
static bool accepts_bf16(const ar_runtime *rt, const ar_gemm *g, const ar_bf16_tile *t) {
    return t->run && ar__gemm_in_bf16(rt, g) && g->a_col == 1 && ar__dtype(g->b_type)->is_weight;
}

static bool accepts_vector(const ar_runtime *rt, const ar_gemm *g) { return accepts_bf16(rt, g, &rt->kern.bf16); }
static bool accepts_matrix(const ar_runtime *rt, const ar_gemm *g) { return accepts_bf16(rt, g, &rt->kern.matrix); }
static ar_panels panels_vector(const ar_runtime *rt, const ar_gemm *g) { return ar__panels_bf16(&rt->kern, &rt->kern.bf16, g->is_pair); }
static ar_panels panels_matrix(const ar_runtime *rt, const ar_gemm *g) { return ar__panels_bf16(&rt->kern, &rt->kern.matrix, g->is_pair); }

const ar_gemm_backend ar__gemm_own = {"own", accepts_own, NULL, panels_own, 0};
const ar_gemm_backend ar__gemm_bf16 = {"bf16", accepts_vector, NULL, panels_vector, 0};
const ar_gemm_backend ar__gemm_matrix = {"bf16-matrix", accepts_matrix, NULL, panels_matrix, 0};
