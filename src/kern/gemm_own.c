/* The packed product (Goto & van de Geijn, 2008, in the shape of BLIS).
 *
 *   for each slice of k (KC):            all threads pack A's slice:   left  [panel of mr rows][k][mr]
 *     for each job = (NC columns, MC rows) one thread packs B's block: right [sliver of nr columns][k][nr]
 *       for each panel, sliver:          one register tile C[mr, nr] += left · right
 *
 * An element of C is stored by the first slice and added to by the others, always whole slices in ascending k; edges
 * run the same tile on zero-padded operands into a spare tile.  So its bits depend on its row, its column and k alone. */
#include <omp.h>
#include <string.h>

#include "kern/gemm.h"
#include "kern/runtime.h"

static size_t min_of(size_t a, size_t b) { return a < b ? a : b; }

/* One panel of `width` columns from k rows that each hold their columns contiguously: copy, zero the rest. */
static void copy_panel(float *dst, size_t width, const float *src, size_t ld, size_t cols, size_t k) {
    for (size_t p = 0; p < k; p++) {
        memcpy(dst + p * width, src + p * ld, cols * sizeof *dst);
        if (cols < width) memset(dst + p * width + cols, 0, (width - cols) * sizeof *dst);
    }
}

static void pack_left_panel(const ar_kernels *kn, float *dst, const float *a, size_t a_row, size_t a_col, size_t rows, size_t k) {
    if (a_col == 1)
        kn->interleave(dst, (size_t)kn->mr, a, a_row, rows, k);
    else
        copy_panel(dst, (size_t)kn->mr, a, a_col, rows, k);
}

void ar__pack_left(const ar_kernels *kn, float *dst, const float *a, size_t a_row, size_t a_col, size_t m, size_t k) {
    size_t mr = (size_t)kn->mr;
    for (size_t i = 0; i < m; i += mr) pack_left_panel(kn, dst + i * k, a + i * a_row, a_row, a_col, min_of(mr, m - i), k);
}

void ar__pack_right(const ar_kernels *kn, float *dst, const float *b, size_t b_ld, bool b_rows, size_t n, size_t k) {
    size_t nr = (size_t)kn->nr;
    for (size_t j = 0; j < n; j += nr) {
        size_t cols = min_of(nr, n - j);
        if (b_rows)
            kn->interleave(dst + j * k, nr, b + j * b_ld, b_ld, cols, k);
        else
            copy_panel(dst + j * k, nr, b + j, b_ld, cols, k);
    }
}

void ar__gemm_packed(const ar_kernels *kn, float *c, size_t c_ld, const float *left, const float *right, size_t m, size_t n, size_t k,
                     bool accumulate) {
    size_t mr = (size_t)kn->mr, nr = (size_t)kn->nr;
    _Alignas(64) float spare[AR_TILE_MAX_MR * AR_TILE_MAX_NR];
    for (size_t i = 0; i < m; i += mr) {
        size_t rows = min_of(mr, m - i);
        for (size_t j = 0; j < n; j += nr) {
            size_t cols = min_of(nr, n - j);
            float *to = c + i * c_ld + j;
            if (rows == mr && cols == nr) {
                kn->tile(k, left + i * k, right + j * k, to, c_ld, accumulate);
                continue;
            }
            kn->tile(k, left + i * k, right + j * k, spare, nr, false);
            for (size_t r = 0; r < rows; r++)
                for (size_t q = 0; q < cols; q++) to[r * c_ld + q] = (accumulate ? to[r * c_ld + q] : 0.0f) + spare[r * nr + q];
        }
    }
}

/* B's block of columns j0..j0+cols, slice p0..p0+len, from any dtype. */
static void pack_block(const ar_runtime *rt, float *dst, float *wide, const ar_gemm *g, size_t j0, size_t cols, size_t p0, size_t len) {
    const ar_kernels *kn = &rt->kern;
    const ar_dtype_info *t = ar__dtype(g->b_type);
    size_t row_bytes = g->b_ld / t->block * t->bytes, nr = (size_t)kn->nr;
    const char *base = g->b;
    if (g->b_type == AR_F32) {
        const float *b = g->b;
        ar__pack_right(kn, dst, g->b_rows ? b + j0 * g->b_ld + p0 : b + p0 * g->b_ld + j0, g->b_ld, g->b_rows, cols, len);
    } else if (g->b_rows && g->b_type == AR_BF16) {
        const uint16_t *b = g->b;
        for (size_t j = 0; j < cols; j += nr)
            kn->interleave_bf16(dst + j * len, nr, b + (j0 + j) * g->b_ld + p0, g->b_ld, min_of(nr, cols - j), len);
    } else if (g->b_rows) {
        for (size_t j = 0; j < cols; j++) t->to_f32(wide + j * len, base + (j0 + j) * row_bytes + p0 / t->block * t->bytes, len);
        ar__pack_right(kn, dst, wide, len, true, cols, len);
    } else {
        for (size_t p = 0; p < len; p++) t->to_f32(wide + p * cols, base + (p0 + p) * row_bytes + j0 / t->block * t->bytes, cols);
        ar__pack_right(kn, dst, wide, cols, false, cols, len);
    }
}

/* Few columns would leave threads idle: then the rows are split too (which packs B's block once more per part). */
static size_t row_parts(const ar_runtime *rt, size_t rows, size_t blocks) {
    size_t parts = 1, threads = (size_t)rt->threads;
    while (blocks * parts < 2 * threads && rows / (parts + 1) >= 96) parts++;
    return parts;
}

static void run_slice(const ar_runtime *rt, const ar_gemm *g, size_t i0, size_t rows, size_t p0, size_t len, bool accumulate) {
    const ar_kernels *kn = &rt->kern;
    size_t mr = (size_t)kn->mr, panels = (rows + mr - 1) / mr, blocks = (g->n + AR_GEMM_NC - 1) / AR_GEMM_NC;
    size_t parts = row_parts(rt, rows, blocks), part_panels = (panels + parts - 1) / parts;
    const float *a = g->a + i0 * g->a_row + p0 * g->a_col;
#pragma omp parallel num_threads(ar__team(rt, rows * g->n * len / 16))
    {
        float *right = ar__runtime_right(rt, omp_get_thread_num());
#pragma omp for schedule(static)
        for (size_t i = 0; i < panels; i++)
            pack_left_panel(kn, rt->left + i * mr * len, a + i * mr * g->a_row, g->a_row, g->a_col, min_of(mr, rows - i * mr), len);
#pragma omp for schedule(dynamic, 1)
        for (size_t job = 0; job < blocks * parts; job++) {
            size_t j = job / parts * AR_GEMM_NC, cols = min_of(AR_GEMM_NC, g->n - j);
            size_t first = job % parts * part_panels * mr;
            if (first >= rows) continue;
            pack_block(rt, right, right + AR_GEMM_NC * AR_GEMM_KC, g, j, cols, p0, len);
            ar__gemm_packed(kn, g->c + (i0 + first) * g->c_ld + j, g->c_ld, rt->left + first * len, right,
                            min_of(part_panels * mr, rows - first), cols, len, accumulate);
        }
    }
}

static bool accepts(const ar_runtime *rt, const ar_gemm *g) {
    (void)rt;
    return ar__dtype(g->b_type)->is_weight;
}

static void run(const ar_runtime *rt, const ar_gemm *g) {
    for (size_t i = 0; i < g->m; i += AR_GEMM_MC)
        for (size_t p = 0; p < g->k || p == 0; p += AR_GEMM_KC)
            run_slice(rt, g, i, min_of(AR_GEMM_MC, g->m - i), p, min_of(AR_GEMM_KC, g->k - p), g->accumulate || p > 0);
}

const ar_gemm_backend ar__gemm_own = {"own", accepts, run};
