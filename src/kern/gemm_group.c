#include "kern/gemm_group.h"

#include <assert.h>

#include "base/size.h"

enum {
    BLOCK_BYTES = 256 << 10, /* of a packed right block: what stays in L2 beside the streams */
    LONG_BYTES = 512 << 10,  /* the same where k takes several slices: the packed A is streamed once per column block */
    SLICE = AR_ONE_SLICE / 2,
    ROWS_ENOUGH = 192 /* in a block, so that packing B again for the next does not count */
};

/* bf16 elements are half as wide, so a slice of the same bytes is twice as deep. */
static size_t slice_of(size_t k, size_t bytes) {
    size_t wider = sizeof(float) / bytes;
    return k <= AR_ONE_SLICE * wider ? ar__max(k, 1) : SLICE * wider;
}

size_t ar__packed_slice(size_t k) { return slice_of(k, sizeof(float)); }

static size_t left_bytes(const ar_factor *f, size_t rows) {
    return ar__round_up(ar__round_up(rows, f->panels.mr) * ar__panels_depth(&f->panels, f->k) * f->panels.left_bytes, AR_PACKED_LINE);
}

static ar_factor product_of(const ar_gemm *g, const ar_panels *panels) {
    ar_right right = {g->b, g->b_type, g->b_ld, g->b_rows};
    return (ar_factor){.panels = *panels, .last = g->m, .k = g->k, .right = right, .a = g->a, .a_row = g->a_row, .a_col = g->a_col};
}

static ar_factor term_of(const ar_gemm_term *e, const ar_runtime *rt) {
    ar_right right = {e->b, e->b_type, e->b_ld, e->b_rows};
    ar_factor f = {
        .panels = ar__panels_f32(&rt->kern, false, false), .first = e->first, .last = e->last, .k = e->k, .right = right, .a = e->a};
    f.a_row = e->a_ld;
    f.a_col = 1;
    return f;
}

/* Columns that come in whole blocks are many: the slices are as deep as their packed block allows. */
static size_t deepest(const ar_factor *f) {
    return f->right.rows || ar__dtype(f->right.type)->block == 1 ? SIZE_MAX : AR_GEMM_RIGHT_BYTES / (AR_MOST_BLOCK * f->panels.right_bytes);
}

static void add_factor(ar_group *gr, ar_member *m, ar_factor f, size_t whole_k) {
    f.slice = m->factor_count == 0 ? ar__min(slice_of(whole_k, f.panels.left_bytes), ar__max(f.k, 1)) : ar__min(f.k, AR_GEMM_KC);
    f.slice = ar__min(f.slice, deepest(&f));
    gr->factor[gr->factor_count++] = f;
    m->factor_count++;
}

bool ar__group_prepare(ar_group *gr, const ar_runtime *rt, const ar_gemm *g, const ar_panels *panels, size_t count, size_t whole_k) {
    *gr = (ar_group){.rt = rt, .count = count};
    if (count > AR_GROUP_MEMBERS) return false;
    for (size_t i = 0; i < count; i++) {
        ar_member *m = &gr->member[i];
        *m = (ar_member){.g = &g[i], .factor = gr->factor_count};
        if (gr->factor_count + 1 + g[i].term_count > AR_GROUP_FACTORS) return false;
        add_factor(gr, m, product_of(&g[i], &panels[i]), whole_k);
        for (size_t t = 0; t < g[i].term_count; t++) add_factor(gr, m, term_of(&g[i].terms[t], rt), g[i].terms[t].k);
    }
    return true;
}

/* A factor uses the packed rows of an earlier member's A where operand and arithmetic are the same. */
static const ar_factor *same_left(const ar_group *gr, size_t at) {
    const ar_factor *f = &gr->factor[at];
    for (size_t i = 0; i < gr->count; i++) {
        const ar_factor *e = &gr->factor[gr->member[i].factor];
        if (e >= f) break;
        if (e->a == f->a && e->k == f->k && e->a_row == f->a_row && e->a_col == f->a_col && e->panels.bf16 == f->panels.bf16 &&
            e->panels.rounded == f->panels.rounded && e->slice == f->slice && f->first == 0 && f->last == e->last)
            return e;
    }
    return NULL;
}

/* Gives every factor its place in rt->left for `rows` rows; returns the bytes needed. */
static size_t place(ar_group *gr, size_t rows) {
    size_t at = 0;
    for (size_t i = 0; i < gr->factor_count; i++) {
        ar_factor *f = &gr->factor[i];
        const ar_factor *same = same_left(gr, i);
        f->shared = same != NULL;
        f->left = same ? same->left : (char *)gr->rt->left + at;
        if (!same) at += left_bytes(f, rows);
    }
    return at;
}

/* Columns per job (where they lie along the operand's rows, whole blocks of them), then row parts: fewer and larger is cheaper (A's panels
 * are read again for every block of columns, B's block is packed again for every part), but every thread needs a few. */
static void divide(const ar_group *gr, ar_member *m) {
    const ar_factor *f = &gr->factor[m->factor];
    size_t nr = f->panels.nr, threads = (size_t)gr->rt->threads, n = m->g->n;
    assert(f->slice > 0 && f->panels.right_bytes > 0);
    size_t deep = ar__min(f->slice, ar__max(f->k, 1)) * f->panels.right_bytes, fits = (f->k > f->slice ? LONG_BYTES : BLOCK_BYTES) / deep;
    size_t slivers = ar__max(ar__min(fits, AR_GEMM_NC) / nr, 1);
    while (threads > 1 && slivers > 2 && n / (slivers * nr) < 4 * threads) slivers--;
    m->columns = ar__round_up(slivers * nr, f->right.rows ? nr : ar__max(ar__dtype(f->right.type)->block, nr));
    size_t blocks = (n + m->columns - 1) / m->columns, most = (gr->rows + AR_TILE_ROWS - 1) / AR_TILE_ROWS;
    size_t enough = f->panels.halves ? threads : 3 * threads; /* halves take long to form, and there are several such members */
    m->parts = threads > 1 && blocks < enough ? ar__min(most, (enough + blocks - 1) / blocks) : 1;
    m->jobs = blocks * m->parts;
}

void ar__group_divide(ar_group *gr) {
    for (size_t i = 0; i < gr->count; i++) divide(gr, &gr->member[i]);
}

size_t ar__group_rows(ar_group *gr, size_t m) {
    size_t chunks = (m + AR_TILE_ROWS - 1) / AR_TILE_ROWS, fit = AR_GEMM_LEFT_BYTES / ar__max(place(gr, AR_TILE_ROWS), 1);
    if (fit * AR_TILE_ROWS < ROWS_ENOUGH && fit < chunks) return 0;
    size_t blocks = (chunks + fit - 1) / fit;
    size_t rows = (chunks + blocks - 1) / blocks * AR_TILE_ROWS;
    place(gr, rows);
    return rows;
}
