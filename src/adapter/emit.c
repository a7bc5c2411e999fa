/* What the writers of all formats share: numbers on their way into a file, and the choices that one value per file asks. */
#include <stdlib.h>
#include <string.h>

#include "adapter/formats.h"
#include "adapter/kohya.h"
#include "base/fail.h"
#include "base/file.h"
#include "base/mem.h"

enum { BLOCK = 4096 }; /* elements rounded at a time; a multiple of every dtype's block */

/* Half-precision types are reached through f32; rounding to odd there makes the two steps round as one, because f32 has
 * more than two bits to spare over either. */
static float round_to_odd(double x) {
    union {
        float f;
        uint32_t u;
    } v = {(float)x};
    double back = (double)v.f;
    if (back != x && !(v.u & 1)) v.u += (back < x) == (x > 0) ? 1 : (uint32_t)-1;
    return v.f;
}

static void produce(float *out, const ar_emit *e, const float *factor, size_t first, size_t n, size_t rows, size_t columns) {
    bool narrow = e->type != AR_F32;
    for (size_t i = 0; i < n; i++) {
        size_t at = first + i, row = e->transposed ? at % rows : at / columns, column = e->transposed ? at / rows : at % columns;
        float x = factor[(e->rows ? e->rows[row] : row) * columns + (e->columns ? e->columns[column] : column)];
        double y = (double)x * e->factor;
        out[i] = e->factor == 1 ? x : narrow ? round_to_odd(y) : (float)y;
    }
}

static ar_status put_factor(const ar_emit *e, const float *factor, size_t rows, size_t columns, ar_writer *w, ar_error *err) {
    const ar_dtype_info *t = ar__dtype(e->type);
    float part[BLOCK];
    char bytes[BLOCK * sizeof(float)];
    size_t n = rows * columns;
    for (size_t at = 0; at < n; at += BLOCK) {
        size_t len = n - at < BLOCK ? n - at : BLOCK;
        produce(part, e, factor, at, len, rows, columns);
        t->from_f32(bytes, part, len);
        ar_status s = ar__writer_put(w, bytes, len / t->block * t->bytes, err);
        if (s) return s;
    }
    return AR_OK;
}

/* [rows, columns] at the beginning of an array, spread in place to [rows, wide] with zeros behind, the last row first. */
static void widen(float *x, size_t rows, size_t columns, size_t wide) {
    for (size_t i = rows; i-- > 0;) {
        memmove(x + i * wide, x + i * columns, columns * sizeof *x);
        memset(x + i * wide + columns, 0, (wide - columns) * sizeof *x);
    }
}

ar_status ar__emit(void *emit, ar_writer *w, ar_error *err) {
    const ar_emit *e = emit;
    const ar_pair *p = &e->ad->pair[e->pair];
    size_t n, own = (size_t)p->rank, rank = e->rank ? (size_t)e->rank : own;
    size_t rows = e->which == AR_FACTOR_A ? rank : (size_t)p->n_out, columns = e->which == AR_FACTOR_A ? (size_t)p->n_in : rank;
    float *factor = ar__mul(&n, rows, columns) ? ar__alloc(n, sizeof *factor) : NULL;
    if (!factor) return ar__fail_memory(err, p->site);
    ar_status s = ar__factor_read(factor, e->ad, p, e->which, err);
    if (!s && rank > own && e->which == AR_FACTOR_B) widen(factor, rows, own, rank);
    if (!s) s = put_factor(e, factor, rows, columns, w, err);
    free(factor);
    return s;
}

ar_dtype ar__write_dtype(const ar_write_context *c, const ar_pair *p, ar_factor which) {
    const ar_stored *from = &p->stored[which];
    if (!c->keep) return c->dtype;
    bool plain = from->is_there && (from->type == AR_F16 || from->type == AR_BF16);
    return plain ? from->type : AR_F32;
}

double ar__most_common(const ar_adapter *ad, double (*of)(const ar_pair *p)) {
    double best = 0;
    size_t best_count = 0;
    for (size_t i = 0; i < ad->pair_count; i++) {
        double x = of(&ad->pair[i]);
        size_t count = 0;
        for (size_t j = i; j < ad->pair_count; j++) count += of(&ad->pair[j]) == x;
        if (count <= best_count) continue;
        best = x;
        best_count = count;
    }
    return best;
}

/* A diffusers file of one model names modules by their paths, without a pipeline's component in front. */
static bool is_path(const ar_pair *p) {
    const char *tail = p->key + strlen(p->site);
    return !strncmp(tail, ".lora_A.", 8) && !ar__kohya_has_component(p->key);
}

bool ar__pair_is_foreign(const ar_pair *p) { return p->key && !strncmp(p->key, p->site, strlen(p->site)) && !is_path(p); }

ar_status ar__pair_is_stacked(const ar_pair *p, const char *format, ar_error *err) {
    return ar__fail(err, AR_ERR_UNSUPPORTED,
                    "site '%s' is one of %d stacked experts (target_parameters), which are not written to %s: merge the adapter into its "
                    "base instead (alphar merge)",
                    p->site, p->experts, format);
}

ar_status ar__check_plain_pairs(const ar_adapter *ad, const char *format, bool stacks, ar_error *err) {
    if (ad->whole_count)
        return ar__fail(
            err, AR_ERR_UNSUPPORTED,
            "tensor '%s' is saved whole (%zu such), which %s cannot hold: merge the adapter into its base instead (alphar merge)",
            ad->whole[0].name, ad->whole_count, format);
    for (size_t i = 0; i < ad->pair_count; i++) {
        const ar_pair *p = &ad->pair[i];
        if (ar__pair_in_stack(p) && !stacks) return ar__pair_is_stacked(p, format, err);
        if (p->magnitude || p->b_bias)
            return ar__fail(err, AR_ERR_UNSUPPORTED,
                            "site '%s' has %s, which %s cannot hold: merge the adapter into its base instead (alphar merge)", p->site,
                            p->magnitude ? "DoRA magnitudes" : "a bias on B (lora_bias)", format);
    }
    return AR_OK;
}
