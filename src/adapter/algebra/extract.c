/* The difference of two models as an adapter: per weight W_tuned − W_base ≈ s·B·A, best in its rank, a few rows in memory
 * at a time where a site is large.
 *
 *     U Σ Vᵀ:  B = ±√(Σ/|s|) U,  A = √(Σ/|s|) Vᵀ;  of an embedding [vocab, dim], whose update is s·(BA)ᵀ, A comes from U
 *
 * The head of a tied model is the embedding's tensor: what moved one moved the other, and both get a pair. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "adapter/algebra/fit.h"
#include "adapter/base_name.h"
#include "base/fail.h"
#include "base/mem.h"
#include "base/rng.h"
#include "kern/runtime.h"
#include "weights/base.h"

enum { PART = 1 << 20 }; /* values compared at a time */

struct extraction {
    const ar_runtime *rt;
    const ar_extract_options *o;
    ar_rank_rule rule;
    ar_base *base, *tuned;
    ar_adapter *out;
    ar_fit *report;
    size_t other, added, gone; /* tensors that differ and can be no pair; that one model alone has */
    char other_name[256], added_name[256], gone_name[256];
};

struct difference {
    const struct extraction *x;
    const ar_base_weight *old, *now;
};

static void count_one(size_t *count, char name[256], const char *tensor) {
    if ((*count)++ == 0) snprintf(name, 256, "%s", tensor);
}

static ar_status read_difference(void *user, float *dst, size_t row0, size_t count, ar_error *err) {
    const struct difference *d = user;
    size_t n = (size_t)d->now->n_in, step = PART / n ? PART / n : 1;
    float *old = ar__alloc(step, n * sizeof *old);
    ar_status s = old ? AR_OK : ar__fail_memory(err, d->now->tensor);
    for (size_t at = 0; !s && at < count; at += step) {
        size_t rows = count - at < step ? count - at : step;
        float *now = dst + at * n;
        if ((s = ar__base_read_rows(now, d->x->tuned, d->now, (int64_t)(row0 + at), (int64_t)rows, err)) ||
            (s = ar__base_read_rows(old, d->x->base, d->old, (int64_t)(row0 + at), (int64_t)rows, err)))
            break;
        for (size_t i = 0; i < rows * n; i++) now[i] -= old[i];
    }
    free(old);
    return s;
}

static bool same_bytes(const ar_base_weight *a, const ar_base_weight *b) {
    bool same_layout = a->type == b->type && a->order == b->order && a->is_conv1d == b->is_conv1d && a->is_plus_one == b->is_plus_one &&
                       !a->scale && !b->scale;
    return same_layout && a->bytes == b->bytes && (a->data == b->data || !memcmp(a->data, b->data, a->bytes));
}

static ar_status add_pair(struct extraction *x, const char *site, const ar_base_weight *w, const ar_low_rank *best, bool is_embedding,
                          ar_error *err) {
    ar_pair *p;
    int rank = (int)best->rank;
    ar_pair_shape shape = {.site = site, .n_out = w->n_out, .n_in = w->n_in, .rank = rank, .alpha = x->o->has_alpha ? x->o->alpha : rank};
    shape.is_embedding = is_embedding;
    if (is_embedding) {
        shape.n_out = w->n_in;
        shape.n_in = w->n_out;
    }
    if (w->dims == 4) {
        shape.kernel[0] = w->shape[2];
        shape.kernel[1] = w->shape[3];
    }
    ar_status s = ar__adapter_add_pair(&p, x->out, &shape, err);
    if (s) return s;
    double root = 1.0 / sqrt(fabs(p->scale));
    ar__pair_fill(p, best, &(ar_fill){.to_b = copysign(root, p->scale), .to_a = root, .transposed = is_embedding});
    s = ar__fit_add(x->report, p->site, p->rank, best, err);
    return s ? s : ar__pair_settle(x->out, p, err);
}

/* The head's module path where it is this embedding's tensor in the tuned model; NULL where not, as positions' never is, or not known. */
static const char *tied_head(const struct extraction *x, const ar_base_weight *embedding) {
    const ar_base_info *info = ar__base_info(x->tuned);
    ar_name name;
    if (info->names && ar__names_find(&name, info->names, embedding->site) && name.row != ar__names_top(info->names, AR_MODULE_EMBEDDING))
        return NULL;
    for (const ar_name_row *r = info->is_tied && info->names ? info->names->top : NULL; r && r->hf; r++)
        if (r->kind == AR_MODULE_HEAD) return r->hf;
    return NULL;
}

static ar_status extract_weight(struct extraction *x, const ar_base_weight *now, const ar_base_weight *old, ar_error *err) {
    struct difference d = {x, old, now};
    ar_low_rank best;
    bool is_embedding = now->kind == AR_MODULE_EMBEDDING;
    const char *head = is_embedding ? tied_head(x, now) : NULL;
    ar_status s =
        ar__top_svd(&best, x->rt, &(ar_dense){.m = (size_t)now->n_out, .n = (size_t)now->n_in, .rows = read_difference, .user = &d},
                    &x->rule, x->o->seed ^ ar__rng_hash(now->site), err);
    if (s) return ar__fail_at(err, s, now->tensor);
    bool moved = best.sigma[0] > 0.0; /* other bytes may be the same numbers */
    if (moved) s = add_pair(x, now->site, now, &best, is_embedding, err);
    if (moved && !s && head) s = add_pair(x, head, now, &best, false, err);
    x->out->settings.fan_in_fan_out |= now->is_conv1d;
    ar__low_rank_release(&best);
    ar__base_forget(now);
    ar__base_forget(old);
    return s;
}

static ar_status compare_bias(struct extraction *x, const ar_base_weight *now, const ar_base_weight *old, ar_error *err) {
    if (!now->bias || !old->bias) {
        if (now->bias) count_one(&x->added, x->added_name, now->bias_tensor);
        return AR_OK;
    }
    size_t n = (size_t)now->n_out;
    float *a = ar__alloc(n, sizeof *a), *b = ar__alloc(n, sizeof *b);
    ar_status s = a && b ? ar__base_read_bias(a, x->tuned, now, err) : ar__fail_memory(err, now->bias_tensor);
    if (!s) s = ar__base_read_bias(b, x->base, old, err);
    if (!s && memcmp(a, b, n * sizeof *a) != 0) count_one(&x->other, x->other_name, now->bias_tensor);
    free(a);
    free(b);
    return s;
}

static ar_status visit(struct extraction *x, const ar_base_weight *now, ar_error *err) {
    const ar_base_weight *old = ar__base_find(x->base, now->site);
    if (!old) {
        count_one(&x->added, x->added_name, now->tensor);
        return AR_OK;
    }
    if (now->n_out != old->n_out || now->n_in != old->n_in)
        return ar__fail(err, AR_ERR_MISMATCH,
                        "%s: [%lld, %lld] in the tuned model, [%lld, %lld] in the base; they must be the same model%s", now->tensor,
                        (long long)now->n_out, (long long)now->n_in, (long long)old->n_out, (long long)old->n_in,
                        now->kind == AR_MODULE_EMBEDDING ? " (a grown vocabulary is no difference of weights)" : "");
    ar_status s = compare_bias(x, now, old, err);
    if (s || same_bytes(now, old)) return s;
    bool fits = now->kind != AR_MODULE_NORM && (now->dims == 2 || now->dims == 4) && now->dims == old->dims;
    if (fits) return extract_weight(x, now, old, err);
    count_one(&x->other, x->other_name, now->tensor);
    return AR_OK;
}

static void warn(const struct extraction *x) {
    if (x->other)
        ar__log_warn(&x->rt->log,
                     "%zu tensor%s differ%s but can be no pair (norms, biases, stacked experts), such as '%s': the adapter leaves them as "
                     "they are in the base",
                     x->other, x->other == 1 ? "" : "s", x->other == 1 ? "s" : "", x->other_name);
    if (x->added)
        ar__log_warn(&x->rt->log, "tensors that only the tuned model has: %zu, such as '%s'; an adapter cannot add them", x->added,
                     x->added_name);
    if (x->gone) ar__log_warn(&x->rt->log, "tensors that only the base has: %zu, such as '%s'", x->gone, x->gone_name);
}

static void look_for_missing(struct extraction *x) {
    for (int i = 0; i < ar__base_count(x->base); i++) {
        const ar_base_weight *w = ar__base_at(x->base, i);
        if (!ar__base_find(x->tuned, w->site)) count_one(&x->gone, x->gone_name, w->tensor);
    }
}

static ar_status describe(struct extraction *x, ar_error *err) {
    ar_adapter_settings *to = &x->out->settings;
    const ar_base_info *info = ar__base_info(x->base);
    to->base = ar__base_reference(x->o->base);
    to->task_type = ar__strdup("CAUSAL_LM");
    to->rank = x->out->pair[0].rank;
    to->alpha = x->out->pair[0].alpha;
    if (!to->base || !to->task_type) return ar__fail_memory(err, "adapter");
    if (!info->names || !info->count.heads) return AR_OK;
    char heads[120];
    ar__head_counts_print(heads, sizeof heads, &info->count);
    ar_status s = ar__adapter_set_note(x->out, AR_NOTE_ARCHITECTURE, info->names->gguf, err);
    return s ? s : ar__adapter_set_note(x->out, AR_NOTE_HEADS, heads, err);
}

static ar_status extract_all(struct extraction *x, ar_error *err) {
    ar_status s;
    if ((s = ar__base_open(&x->base, x->o->base, err)) || (s = ar__base_open(&x->tuned, x->o->tuned, err)) ||
        (s = ar__adapter_new(&x->out, err)))
        return s;
    ar__base_warn_head(x->base, &x->rt->log);
    ar__base_warn_head(x->tuned, &x->rt->log);
    if (!ar__strings_add(&x->out->inputs, x->o->base) || !ar__strings_add(&x->out->inputs, x->o->tuned))
        return ar__fail_memory(err, "extract");
    if (x->o->scratch) s = ar__adapter_use_spool(x->out, x->o->scratch, err);
    for (int i = 0; !s && i < ar__base_count(x->tuned); i++) s = visit(x, ar__base_at(x->tuned, i), err);
    if (s) return s;
    look_for_missing(x);
    warn(x);
    if (!x->out->pair_count)
        return ar__fail(err, AR_ERR_VALUE, "%s: no linear or embedding differs from those of %s, so there is nothing to extract",
                        x->o->tuned, x->o->base);
    return describe(x, err);
}

static ar_status read_options(struct extraction *x, ar_error *err) {
    const ar_extract_options *o = x->o;
    if (o->to.rank == 0 && o->to.energy == 0) return ar__fail(err, AR_ERR_USAGE, "extract: found neither rank nor energy, wanted one");
    if (o->has_alpha && (!isfinite(o->alpha) || o->alpha == 0))
        return ar__fail(err, AR_ERR_VALUE, "alpha: found %g, wanted a finite number other than 0", o->alpha);
    return ar__rank_rule(&x->rule, &o->to, err);
}

ar_status ar_adapter_extract(ar_adapter **out, ar_fit *report, const ar_runtime *rt, const ar_extract_options *options, ar_error *err) {
    struct extraction x = {.rt = rt, .o = options, .report = report};
    *out = NULL;
    *report = (ar_fit){0};
    AR_ONE_CALL(rt, err);
    ar_status s = read_options(&x, err);
    if (!s) s = extract_all(&x, err);
    ar__base_close(x.base);
    ar__base_close(x.tuned);
    if (s) {
        ar_adapter_free(x.out);
        ar_fit_release(report);
        return s;
    }
    *out = x.out;
    return AR_OK;
}
