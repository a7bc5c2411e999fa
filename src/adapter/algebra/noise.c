/* Updates beside what quantising took off the weights that they sit on:
 *
 *     over = ‖s·B·A‖_F / ‖W − Q(W)‖_F        1: as large as the noise of the base's own numbers
 *
 * Q(W) is made of the folder as train's quantize makes it, a site in memory at a time, or read from a base that another tool quantised. */
#include <math.h>
#include <stdlib.h>

#include "adapter/formats.h"
#include "adapter/site_name.h"
#include "alphar/algebra.h"
#include "base/fail.h"
#include "base/mem.h"
#include "weights/quantise.h"

enum { PART = 1 << 18 }; /* values compared at a time */

typedef struct source {
    const ar_runtime *rt;
    const ar_noise_options *o;
    ar_base *model, *original; /* original NULL: quantised here */
    ar_quantisation type;
} source;

static ar_status open_source(source *x, ar_error *err) {
    const ar_noise_options *o = x->o;
    if (!o->model) return ar__fail(err, AR_ERR_USAGE, "model: is not given, wanted the base whose weights are quantised");
    if (!o->quantize == !o->original)
        return ar__fail(err, AR_ERR_USAGE,
                        "noise: found %s, wanted one of quantize (a type for the model) and original (what it was made from)",
                        o->quantize ? "quantize and original" : "neither quantize nor original");
    ar_status s = ar__base_open(&x->model, o->model, err);
    if (!s && o->original) return ar__base_open(&x->original, o->original, err);
    if (!s) s = ar__quantisation_read(&x->type, o->quantize, err);
    const ar_base_info *info = s ? NULL : ar__base_info(x->model);
    if (info && (info->is_gguf || info->quantised))
        return ar__fail(
            err, AR_ERR_UNSUPPORTED,
            "%s: quantize wants a Hugging Face folder of f32, f16 or bf16, found %s: name the folder, or what it was made from as "
            "original",
            o->model, info->quantised ? info->quantised : "a GGUF file, whose types are its own");
    return s;
}

static void close_source(source *x) {
    ar__base_close(x->model);
    ar__base_close(x->original);
}

/* ‖W − Q(W)‖ where Q is formed here.  NaN: train leaves this matrix as it is. */
static ar_status formed(double *out, const source *x, const ar_base_weight *w, const char *site, ar_error *err) {
    ar_dtype to = ar__quantisation_type(&x->type, w->type);
    size_t count, bytes;
    double norm2, relative = 0;
    *out = NAN;
    if (w->kind != AR_MODULE_LINEAR || ar__site_layer(site) < 0 || w->n_in % (int64_t)ar__dtype(to)->block) return AR_OK;
    bool fits = ar__mul(&count, (size_t)w->n_out, (size_t)w->n_in) && ar__dtype_bytes(&bytes, to, count);
    float *values = fits ? ar__alloc(count, sizeof *values) : NULL;
    void *packed = values ? ar__alloc(bytes, 1) : NULL;
    ar_status s = packed ? ar__base_read_as(values, AR_F32, x->model, w, err) : ar__fail_memory(err, site);
    if (!s) s = ar__quantise(x->rt, packed, &relative, to, x->type.twice, values, AR_F32, (size_t)w->n_out, (size_t)w->n_in, err);
    if (!s) s = ar__base_norm2(&norm2, x->model, w, err);
    if (!s) *out = relative > 0 ? relative * sqrt(norm2) : NAN;
    free(packed);
    free(values);
    return s;
}

/* The same where both are there. */
static ar_status stored(double *out, const source *x, const ar_base_weight *w, const ar_pair *p, ar_error *err) {
    const ar_base_weight *old;
    ar_status s = ar__base_need(&old, x->original, p, err);
    if (s) return s;
    size_t n = (size_t)w->n_in, step = PART / n ? PART / n : 1;
    float *now = ar__alloc(2 * step, n * sizeof *now), *before = now ? now + step * n : NULL;
    double sum = 0;
    if (!now) return ar__fail_memory(err, p->site);
    for (size_t row = 0; !s && row < (size_t)w->n_out; row += step) {
        size_t rows = (size_t)w->n_out - row < step ? (size_t)w->n_out - row : step;
        if ((s = ar__base_read_rows(now, x->model, w, (int64_t)row, (int64_t)rows, err)) ||
            (s = ar__base_read_rows(before, x->original, old, (int64_t)row, (int64_t)rows, err)))
            break;
        for (size_t i = 0; i < rows * n; i++) sum += ((double)before[i] - (double)now[i]) * ((double)before[i] - (double)now[i]);
    }
    free(now);
    ar__base_forget(w);
    ar__base_forget(old);
    *out = sum > 0 ? sqrt(sum) : NAN;
    return s;
}

static ar_status noise_of(double *out, const source *x, const ar_pair *p, ar_error *err) {
    const ar_base_weight *w;
    *out = NAN;
    if (ar__pair_in_stack(p)) return AR_OK;
    ar_status s = ar__base_need(&w, x->model, p, err);
    if (s) return s;
    return x->original ? stored(out, x, w, p, err) : formed(out, x, w, p->site, err);
}

static int by_size(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

/* Least, median and most of those that are numbers; NaN where none is. */
static ar_noise_range range_of(double *list, size_t count) {
    size_t n = 0;
    for (size_t i = 0; i < count; i++)
        if (!isnan(list[i])) list[n++] = list[i];
    if (n) qsort(list, n, sizeof *list, by_size);
    return n ? (ar_noise_range){n, list[0], list[n / 2], list[n - 1]} : (ar_noise_range){0, NAN, NAN, NAN};
}

ar_status ar_inspection_add_noise(ar_inspection *x, const ar_adapter *ad, const ar_runtime *rt, const ar_noise_options *o, ar_error *err) {
    source from = {.rt = rt, .o = o};
    AR_ONE_CALL(rt, err);
    double *list = ar__alloc(x->count, sizeof *list);
    ar_status s = list ? open_source(&from, err) : ar__fail_memory(err, "noise");
    for (size_t i = 0; !s && i < x->count; i++) {
        ar_site_figures *f = &x->sites[i];
        s = noise_of(&f->norm_noise, &from, &ad->pair[i], err);
        list[i] = f->over_noise = f->norm_update / f->norm_noise;
    }
    if (!s) x->over_noise = range_of(list, x->count);
    close_source(&from);
    free(list);
    return s;
}

ar_status ar_difference_add_noise(ar_difference *x, const ar_adapter *a, const ar_runtime *rt, const ar_noise_options *o, ar_error *err) {
    source from = {.rt = rt, .o = o};
    AR_ONE_CALL(rt, err);
    double *list = ar__alloc(x->count, sizeof *list);
    ar_status s = list ? open_source(&from, err) : ar__fail_memory(err, "noise");
    for (size_t i = 0; !s && i < x->count; i++) {
        ar_site_difference *d = &x->sites[i];
        double compared_with = d->norm_a > 0 ? d->norm_a : d->norm_b;
        s = noise_of(&d->norm_noise, &from, ar__adapter_find_pair(a, d->name), err);
        d->over_noise_a = d->norm_a / d->norm_noise;
        d->over_noise_b = d->norm_b / d->norm_noise;
        list[i] = d->over_noise = d->relative * compared_with / d->norm_noise;
    }
    if (!s) x->over_noise = range_of(list, x->count);
    close_source(&from);
    free(list);
    return s;
}
