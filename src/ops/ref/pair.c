#include "ops/ref/pair.h"

#include <assert.h>

#include "base/rng.h"

enum { MOST_IN_A_BLOCK = 256 };

double ar__ref_weight(const ar_weight *w, size_t i, size_t j) {
    const ar_dtype_info *t = ar__dtype(w->type);
    size_t at = i * w->cols + j;
    float part[MOST_IN_A_BLOCK];
    assert(t->block <= MOST_IN_A_BLOCK);
    t->to_f32(part, (const char *)w->data + at / t->block * t->bytes, t->block);
    return (double)part[at % t->block];
}

ar_ref_row ar__ref_row(const ar_rows *rows, int site, size_t i) {
    ar_ref_row row = {0};
    size_t s = 0, width = ar__pair_width(rows, site);
    while (rows->start[s + 1] <= i) s++;
    row.position = rows->position ? rows->position[i] : i - rows->start[s];
    row.key = rows->key ? rows->key[s] : 0;
    for (size_t q = 0; q < rows->segment_count; q++) {
        const ar_segment *seg = &rows->segments[q];
        if (s < seg->first || s >= seg->last) continue;
        size_t first = rows->start[seg->first]; /* rows of a segment lie as far apart as its own rank says */
        row.pair = ar__segment_pair(seg, site);
        row.su = first * width + (i - first) * (row.pair ? (size_t)row.pair->rank : 0);
    }
    return row;
}

double ar__ref_gain(const ar_pair_op *p, size_t j) { return p && p->gain ? (double)p->gain[j] : 1.0; }

double ar__ref_mask(const ar_ref_row *row, size_t k, size_t n_in) {
    const ar_pair_op *p = row->pair;
    uint32_t word[4];
    if (!p || p->dropout == 0.0f) return 1.0;
    ar_rng g = ar__rng_stream(p->seed, AR_RNG_DROPOUT, p->site_hash, row->key);
    ar__rng_block(word, &g, row->position * ((n_in + 3) / 4) + k / 4);
    return word[k % 4] < (uint32_t)((double)p->dropout * 0x1p32) ? 0.0 : 1.0 / (1.0 - (double)p->dropout);
}

double ar__ref_up(const ar_ref_row *row, const float *su, size_t j) {
    size_t r = row->pair ? (size_t)row->pair->rank : 0;
    double sum = 0.0;
    for (size_t q = 0; q < r; q++) sum += (double)row->pair->b[j * r + q] * (double)su[row->su + q];
    return sum;
}

double ar__ref_du(const ar_pair_op *p, const float *dy, size_t q, size_t n_out) {
    double sum = 0.0;
    for (size_t j = 0; j < n_out; j++) sum += ar__ref_gain(p, j) * (double)dy[j] * (double)p->b[j * (size_t)p->rank + q];
    return p->scale * sum;
}

void ar__ref_into(float *x, double y) { *x = (float)((double)*x + y); }

/* dB of one segment, and ds. */
static void segment_grads(const ar_rows *rows, int site, const ar_segment *seg, const float *dy, const float *su, size_t n) {
    const ar_pair_op *p = ar__segment_pair(seg, site);
    size_t r = (size_t)p->rank, learned = ar__pair_learned(p), first = rows->start[seg->first], last = rows->start[seg->last];
    double ds = 0.0;
    for (size_t q = 0; q < r; q++) {
        for (size_t j = 0; p->db && q < learned && j < n; j++) {
            double sum = 0.0;
            for (size_t i = first; i < last; i++)
                sum += ar__ref_gain(p, j) * (double)dy[i * n + j] * (double)su[ar__ref_row(rows, site, i).su + q];
            ar__ref_into(&p->db[j * learned + q], sum);
        }
        for (size_t i = first; p->dscale && i < last; i++)
            ds += ar__ref_du(p, dy + i * n, q, n) * (double)su[ar__ref_row(rows, site, i).su + q];
    }
    if (p->dscale && p->scale != 0.0) *p->dscale += ds / (p->scale * p->scale);
}

void ar__ref_pair_grads(const ar_rows *rows, int site, const float *dy, const float *su, size_t n_out) {
    for (size_t i = 0; i < rows->segment_count; i++)
        if (ar__segment_pair(&rows->segments[i], site)) segment_grads(rows, site, &rows->segments[i], dy, su, n_out);
}
