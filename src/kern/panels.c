#include "kern/panels.h"

#include <assert.h>
#include <string.h>

#include "base/size.h"
#include "kern/half.h"
#include "kern/runtime.h"

ar_panels ar__panels_f32(const ar_kernels *kn, bool rounded, bool halves) {
    return (ar_panels){.kn = kn,
                       .rounded = rounded,
                       .halves = halves,
                       .mr = (size_t)kn->mr,
                       .step = (size_t)kn->mr,
                       .nr = (size_t)kn->nr,
                       .kr = 1,
                       .left_bytes = sizeof(float),
                       .right_bytes = sizeof(float)};
}

ar_panels ar__panels_bf16(const ar_kernels *kn, const ar_bf16_tile *t, bool halves) {
    return (ar_panels){.kn = kn,
                       .bf16 = t,
                       .halves = halves,
                       .mr = (size_t)t->mr,
                       .step = (size_t)t->step,
                       .nr = (size_t)t->nr / (halves ? 2 : 1),
                       .kr = (size_t)t->kr,
                       .left_bytes = sizeof(uint16_t),
                       .right_bytes = sizeof(uint16_t) * (halves ? 2 : 1)};
}

void ar__panels_left(const ar_panels *p, void *dst, const float *a, size_t a_row, size_t a_col, size_t rows, size_t k) {
    if (p->bf16)
        p->bf16->left(dst, a, a_row, rows, k);
    else if (a_col == 1)
        p->kn->interleave(dst, p->mr, a, a_row, rows, k);
    else
        p->kn->copy_f32(dst, p->mr, a, a_col, rows, k);
    if (p->rounded) ar__round_to_bf16(dst, p->mr * k);
}

const void *ar__right_element(const ar_right *b, size_t row, size_t col) {
    const ar_dtype_info *t = ar__dtype(b->type);
    size_t at = row * b->ld + col;
    assert(at % t->block == 0);
    return (const char *)b->b + at / t->block * t->bytes;
}

static bool in_blocks(const ar_right *b) { return ar__dtype(b->type)->block > 1; }

/* n values of any type, whole blocks of it. */
static void widen(const ar_kernels *kn, ar_dtype from, float *dst, const void *src, size_t n) {
    (ar__dtype(from)->block > 1 ? kn->unpack[from] : ar__dtype(from)->to_f32)(dst, src, n);
}

static void round_to_bf16(const ar_kernels *kn, ar_dtype from, uint16_t *dst, const void *src, size_t n) {
    enum { PART = 1024 }; /* a multiple of every dtype's block */
    const ar_dtype_info *t = ar__dtype(from);
    float part[PART];
    if (from == AR_F32) {
        kn->to_bf16(dst, src, n);
    } else if (kn->unpack_bf16[from]) {
        kn->unpack_bf16[from](dst, src, n);
    } else {
        for (size_t q = 0; q < n; q += PART) {
            size_t len = ar__min(PART, n - q);
            widen(kn, from, part, (const char *)src + q / t->block * t->bytes, len);
            kn->to_bf16(dst + q, part, len);
        }
    }
}

/* The same block of the operand in plain elements, f32 or bf16, at copy. */
static ar_right plain(const ar_kernels *kn, void *copy, ar_dtype type, const ar_right *b, size_t j0, size_t cols, size_t p0, size_t len) {
    size_t rows = b->rows ? cols : len, width = b->rows ? len : cols;
    for (size_t i = 0; i < rows; i++) {
        const void *from = b->rows ? ar__right_element(b, j0 + i, p0) : ar__right_element(b, p0 + i, j0);
        if (type == AR_F32)
            widen(kn, b->type, (float *)copy + i * width, from, width);
        else
            round_to_bf16(kn, b->type, (uint16_t *)copy + i * width, from, width);
    }
    return (ar_right){copy, type, width, b->rows};
}

static void right_f32(const ar_panels *p, float *dst, void *copy, const ar_right *b, size_t j0, size_t cols, size_t p0, size_t len) {
    const ar_kernels *kn = p->kn;
    ar_right w = *b;
    if (in_blocks(b)) {
        w = plain(kn, copy, AR_F32, b, j0, cols, p0, len);
        j0 = p0 = 0;
    }
    for (size_t j = 0; j < cols; j += p->nr) {
        size_t n = ar__min(p->nr, cols - j);
        const void *from = w.rows ? ar__right_element(&w, j0 + j, p0) : ar__right_element(&w, p0, j0 + j);
        float *to = dst + j * len;
        if (w.type == AR_F32)
            (w.rows ? kn->interleave : kn->copy_f32)(to, p->nr, from, w.ld, n, len);
        else if (w.type == AR_BF16)
            (w.rows ? kn->interleave_bf16 : kn->copy_bf16)(to, p->nr, from, w.ld, n, len);
        else
            (w.rows ? kn->interleave_f16 : kn->copy_f16)(to, p->nr, from, w.ld, n, len);
        if (p->rounded && !p->halves && w.type != AR_BF16) ar__round_to_bf16(to, p->nr * len);
    }
}

static void right_bf16(const ar_panels *p, uint16_t *dst, void *copy, const ar_right *b, size_t j0, size_t cols, size_t p0, size_t len) {
    ar_right w = *b;
    if (w.type != AR_BF16) {
        w = plain(p->kn, copy, AR_BF16, b, j0, cols, p0, len);
        j0 = p0 = 0;
    }
    size_t depth = ar__panels_depth(p, len);
    for (size_t j = 0; j < cols; j += p->nr) {
        size_t n = ar__min(p->nr, cols - j);
        const void *from = w.rows ? ar__right_element(&w, j0 + j, p0) : ar__right_element(&w, p0, j0 + j);
        (w.rows ? p->bf16->right_rows : p->bf16->right_columns)(dst + j * depth, from, w.ld, n, len);
    }
}

/* Upper and lower halves of n numbers. */
static void split(const ar_kernels *kn, uint16_t *upper, uint16_t *lower, const float *src, size_t n) {
    enum { PART = 256 };
    float rest[PART];
    for (size_t q = 0; q < n; q += PART) {
        size_t len = ar__min(PART, n - q);
        kn->to_bf16(upper + q, src + q, len);
        kn->from_bf16(rest, upper + q, len);
        for (size_t i = 0; i < len; i++) rest[i] = src[q + i] - rest[i];
        kn->to_bf16(lower + q, rest, len);
    }
}

/* Slivers of n columns and their lower halves behind them, the missing ones zeros. */
static void right_halves(const ar_panels *p, uint16_t *dst, uint16_t *copy, const ar_right *b, size_t j0, size_t cols, size_t p0,
                         size_t len) {
    size_t nr = p->nr, depth = ar__panels_depth(p, len);
    assert(b->type == AR_F32);
    for (size_t j = 0; j < cols; j += nr) {
        size_t n = ar__min(nr, cols - j);
        if (n < nr) memset(copy, 0, 2 * nr * len * sizeof *copy);
        if (b->rows)
            for (size_t i = 0; i < n; i++) split(p->kn, copy + i * len, copy + (nr + i) * len, ar__right_element(b, j0 + j + i, p0), len);
        else
            for (size_t i = 0; i < len; i++)
                split(p->kn, copy + 2 * i * nr, copy + (2 * i + 1) * nr, ar__right_element(b, p0 + i, j0 + j), n);
        if (b->rows)
            p->bf16->right_rows(dst + 2 * j * depth, copy, len, 2 * nr, len);
        else
            p->bf16->right_columns(dst + 2 * j * depth, copy, 2 * nr, 2 * nr, len);
    }
}

void ar__panels_right(const ar_panels *p, void *dst, void *copy, const ar_right *b, size_t j0, size_t cols, size_t p0, size_t len) {
    if (p->bf16 && p->halves)
        right_halves(p, dst, copy, b, j0, cols, p0, len);
    else if (p->bf16)
        right_bf16(p, dst, copy, b, j0, cols, p0, len);
    else
        right_f32(p, dst, copy, b, j0, cols, p0, len);
}

/* `rows` of a panel, a multiple of p->step. */
static void tile(const ar_panels *p, size_t k, const char *a, const char *b, float *c, size_t c_ld, size_t rows, bool accumulate) {
    if (p->bf16)
        p->bf16->run(k, (const uint16_t *)(const void *)a, (const uint16_t *)(const void *)b, c, c_ld, rows, accumulate);
    else
        p->kn->tile(k, (const float *)(const void *)a, (const float *)(const void *)b, c, c_ld, accumulate);
}

/* The next panel, a share of it per sliver: the packed A comes from afar, once per block of columns.  (A hint: it may
 * point past the end.) */
static void fetch(const char *from, size_t bytes) {
    for (size_t i = 0; i < bytes; i += 64) __builtin_prefetch(from + i, 0, 2);
}

void ar__panels_multiply(const ar_panels *p, float *c, size_t c_ld, const void *panel, const void *slivers, size_t sliver, size_t rows,
                         size_t cols, size_t k, bool accumulate) {
    _Alignas(64) float spare[AR_TILE_MAX_MR * AR_TILE_MAX_NR];
    bool paired = p->bf16 && p->halves;
    size_t whole = ar__round_up(rows, p->step);
    size_t panel_bytes = p->mr * k * p->left_bytes, share = panel_bytes / ((cols + p->nr - 1) / p->nr) + 64;
    for (size_t j = 0; j < cols; j += p->nr) {
        fetch((const char *)panel + panel_bytes + j / p->nr * share, share);
        size_t n = ar__min(p->nr, cols - j);
        const char *b = (const char *)slivers + j / p->nr * sliver * p->right_bytes;
        if (rows == whole && n == p->nr && !paired) {
            tile(p, k, panel, b, c + j, c_ld, rows, accumulate);
            continue;
        }
        size_t ld = paired ? 2 * p->nr : p->nr;
        tile(p, k, panel, b, spare, ld, whole, false);
        for (size_t i = 0; i < rows; i++)
            for (size_t q = 0; q < n; q++) {
                float *to = &c[i * c_ld + j + q], v = spare[i * ld + q] + (paired ? spare[i * ld + p->nr + q] : 0.0f);
                *to = accumulate ? *to + v : v;
            }
    }
}

ar_panels ar__panels_inside(const ar_runtime *rt) {
    const ar_kernels *kn = &rt->kern;
    const ar_bf16_tile *unit = kn->matrix.run ? &kn->matrix : &kn->bf16;
    return rt->bf16 && unit->run ? ar__panels_bf16(kn, unit, false) : ar__panels_f32(kn, rt->bf16, false);
}

void ar__pack_left(const ar_panels *p, void *dst, const float *a, size_t a_row, size_t a_col, size_t m, size_t k) {
    size_t depth = ar__panels_depth(p, k) * p->left_bytes;
    for (size_t i = 0; i < m; i += p->mr)
        ar__panels_left(p, (char *)dst + i * depth, a + i * a_row, a_row, a_col, ar__min(p->mr, m - i), k);
}

void ar__pack_right(const ar_panels *p, void *dst, void *copy, const float *b, size_t b_ld, bool b_rows, size_t n, size_t k) {
    ar__panels_right(p, dst, copy, &(ar_right){b, AR_F32, b_ld, b_rows}, 0, n, 0, k);
}

void ar__gemm_packed(const ar_panels *p, float *c, size_t c_ld, const void *left, const void *right, size_t m, size_t n, size_t k,
                     bool accumulate) {
    size_t depth = ar__panels_depth(p, k);
    for (size_t i = 0; i < m; i += p->mr)
        ar__panels_multiply(p, c + i * c_ld, c_ld, (const char *)left + i * depth * p->left_bytes, right, p->nr * depth,
                            ar__min(p->mr, m - i), n, depth, accumulate);
}
