/* The seam: chooses the backend, and the shapes that the rest of the program asks for. */
#include "kern/gemm.h"

#include <assert.h>

#include "base/size.h"
#include "kern/gemm_group.h"

bool ar__gemm_in_bf16(const ar_runtime *rt, const ar_gemm *g) { return rt->bf16 && (g->is_weight || g->is_pair); }

const ar_gemm_backend *ar__gemm_choose(const ar_runtime *rt, const ar_gemm *g) {
    int i = 0;
    while (rt->gemm[i] && !rt->gemm[i]->accepts(rt, g)) i++;
    assert(rt->gemm[i] && "the last accepts every dtype that a model's weights may have");
    return rt->gemm[i];
}

static void run_plain(const ar_runtime *rt, const ar_gemm *g) {
    const ar_gemm_backend *b = ar__gemm_choose(rt, g);
    if (b->panels) {
        ar_panels panels = b->panels(rt, g);
        if (!ar__packed_group(rt, g, &panels, 1)) ar__packed_deep(rt, g, &panels);
    } else {
        b->run(rt, g);
    }
}

void ar__gemm_finish_row(const ar_gemm *g, size_t row, size_t j0, size_t cols) {
    float *c = g->c + row * g->c_ld + j0;
    for (size_t s = 0; s < g->scale_count; s++)
        if (row >= g->scales[s].first && row < g->scales[s].last)
            for (size_t j = 0; j < cols; j++) c[j] *= g->scales[s].by;
    if (g->bias)
        for (size_t j = 0; j < cols; j++) c[j] += g->bias[j0 + j];
}

/* Scale and bias, for backends that leave them to the seam. */
static void finish(const ar_runtime *rt, const ar_gemm *g) {
    if (!g->scale_count && !g->bias) return;
#pragma omp parallel for num_threads(ar__team(rt, g->m * g->n)) schedule(static)
    for (size_t i = 0; i < g->m; i++) ar__gemm_finish_row(g, i, 0, g->n);
}

/* The term's part of k from p on, no longer than a packed group's slice of a term. */
static ar_gemm term_alone(const ar_gemm *g, const ar_gemm_term *t, size_t p) {
    ar_right b = {t->b, t->b_type, t->b_ld, t->b_rows};
    return (ar_gemm){.m = t->last - t->first,
                     .n = g->n,
                     .k = ar__min(t->k - p, AR_GEMM_KC),
                     .a = t->a + p,
                     .a_row = t->a_ld,
                     .a_col = 1,
                     .b = t->b_rows ? ar__right_element(&b, 0, p) : ar__right_element(&b, p, 0),
                     .b_type = t->b_type,
                     .b_ld = t->b_ld,
                     .b_rows = t->b_rows,
                     .c = g->c + t->first * g->c_ld,
                     .c_ld = g->c_ld,
                     .accumulate = true};
}

/* Step by step what a packed group does in one pass; the same sums in the same order. */
static void run_in_steps(const ar_runtime *rt, const ar_gemm *g) {
    ar_gemm plain = *g;
    plain.term_count = 0;
    plain.bias = NULL;
    plain.scale_count = 0;
    run_plain(rt, &plain);
    for (size_t t = 0; t < g->term_count; t++)
        for (size_t p = 0; p < g->terms[t].k && g->terms[t].first < g->terms[t].last; p += AR_GEMM_KC) {
            ar_gemm term = term_alone(g, &g->terms[t], p);
            run_plain(rt, &term);
        }
    finish(rt, g);
}

void ar__gemm(const ar_runtime *rt, const ar_gemm *g) { ar__gemm_group(rt, g, 1); }

void ar__gemm_group(const ar_runtime *rt, const ar_gemm *g, size_t count) {
    ar_panels panels[AR_GROUP_MEMBERS];
    bool packed = count <= AR_GROUP_MEMBERS && count > 0 && g[0].m > 0;
    for (size_t i = 0; i < count && packed; i++) {
        const ar_gemm_backend *b = ar__gemm_choose(rt, &g[i]);
        packed = b->panels != NULL && g[i].n > 0;
        if (packed) panels[i] = b->panels(rt, &g[i]);
    }
    if (packed && ar__packed_group(rt, g, panels, count)) return;
    for (size_t i = 0; i < count; i++)
        if (g[i].m > 0 && g[i].n > 0) run_in_steps(rt, &g[i]);
}

ar_gemm ar__gemm_forward(float *y, const float *x, const void *w, ar_dtype t, size_t m, size_t n, size_t k) {
    return (ar_gemm){
        .m = m, .n = n, .k = k, .a = x, .a_row = k, .a_col = 1, .b = w, .b_type = t, .b_ld = k, .b_rows = true, .c = y, .c_ld = n};
}

ar_gemm ar__gemm_backward(float *dx, const float *dy, const void *w, ar_dtype t, size_t m, size_t n, size_t k) {
    return (ar_gemm){
        .m = m, .n = k, .k = n, .a = dy, .a_row = n, .a_col = 1, .b = w, .b_type = t, .b_ld = k, .b_rows = false, .c = dx, .c_ld = k};
}

static void run_with(const ar_runtime *rt, ar_gemm g, bool accumulate) {
    g.accumulate = accumulate;
    ar__gemm(rt, &g);
}

void ar__gemm_xwt(const ar_runtime *rt, float *y, const float *x, const void *w, ar_dtype t, size_t m, size_t n, size_t k,
                  bool accumulate) {
    run_with(rt, ar__gemm_forward(y, x, w, t, m, n, k), accumulate);
}

void ar__gemm_dyw(const ar_runtime *rt, float *dx, const float *dy, const void *w, ar_dtype t, size_t m, size_t n, size_t k,
                  bool accumulate) {
    run_with(rt, ar__gemm_backward(dx, dy, w, t, m, n, k), accumulate);
}
