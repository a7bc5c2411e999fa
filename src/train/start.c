#include "train/start.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "adapter/algebra/fit.h"
#include "base/clock.h"
#include "base/fail.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/rng.h"
#include "train/checkpoint.h"
#include "train/record.h"

/* A site's matrix: W of the file, or W − Q. */
typedef struct source {
    const ar_base *base;
    const ar_base_weight *w;
    const ar_weight *quantised; /* NULL: W itself */
    const char *site;
} source;

/* Sums over the sites, to be said. */
typedef struct tally {
    size_t sites;
    double least[2], most[2]; /* of loftq: noise before and behind the correction */
    double kept, all;         /* of pissa: squares of the singular values that the pairs took, and of all */
} tally;

void ar__start_settings(ar_adapter_settings *s, const ar_init *init) {
    double by = s->policy == AR_POLICY_RSLORA ? sqrt(2.0) : 2.0;
    if (init->kind != AR_INIT_PISSA) return;
    s->rank *= 2;
    s->alpha *= by;
    for (size_t i = 0; i < s->rank_pattern.count; i++) s->rank_pattern.at[i].value *= 2.0;
    for (size_t i = 0; i < s->alpha_pattern.count; i++) s->alpha_pattern.at[i].value *= by;
}

static ar_status read_rows(void *user, float *dst, size_t row0, size_t count, ar_error *err) {
    const source *x = user;
    size_t n = (size_t)x->w->n_in;
    ar_status s = ar__base_read_rows(dst, x->base, x->w, (int64_t)row0, (int64_t)count, err);
    if (s || !x->quantised) return s;
    const ar_dtype_info *t = ar__dtype(x->quantised->type);
    size_t row_bytes = n / t->block * t->bytes;
    float *row = ar__alloc(n, sizeof *row);
    if (!row) return ar__fail_memory(err, x->site);
    for (size_t i = 0; i < count; i++) {
        t->to_f32(row, (const char *)x->quantised->data + (row0 + i) * row_bytes, n);
        for (size_t j = 0; j < n; j++) dst[i * n + j] -= row[j];
    }
    free(row);
    return AR_OK;
}

/* Halves and values of a run that goes on are in its checkpoint. */
static bool is_in_checkpoint(const ar_learner *l) {
    const ar_run_options *o = &l->o.run;
    return l->course->init.kind == AR_INIT_PISSA && o->resume && o->out && ar__checkpoint_newest(o->out) >= 0;
}

/* The first half of a pair, and with the other sign, the second. */
static void mirror(ar_pair *p) {
    size_t r = (size_t)p->rank, half = r / 2, n_in = (size_t)p->n_in;
    memcpy(p->a + half * n_in, p->a, half * n_in * sizeof *p->a);
    for (size_t i = 0; i < (size_t)p->n_out; i++)
        for (size_t j = 0; j < half; j++) p->b[i * r + half + j] = -p->b[i * r + j];
}

static void count_noise(tally *t, double before, double after) {
    double x[2] = {before, after};
    for (int k = 0; k < 2; k++) {
        t->least[k] = t->sites ? fmin(t->least[k], x[k]) : x[k];
        t->most[k] = fmax(t->most[k], x[k]);
    }
    t->sites++;
}

static void count_energy(tally *t, const ar_low_rank *x) {
    double all = x->rest;
    for (size_t i = 0; i < x->count; i++) all += x->sigma[i] * x->sigma[i];
    t->all += all;
    t->kept += all * (1.0 - ar__lost_energy(x->sigma, x->count, x->rest, x->rank));
    t->sites++;
}

static ar_status check_site(const ar_learner *l, const ar_pair *p, const source *x, size_t rank, ar_error *err) {
    const char *name = l->o.course.init;
    size_t most = (size_t)(p->n_in < p->n_out ? p->n_in : p->n_out);
    if (!x->w)
        return ar__fail(err, AR_ERR_UNSUPPORTED, "init %s: '%s': %s has no tensor of its own for it; leave it out with --exclude", name,
                        p->site, l->course->model->path);
    if (!(p->scale > 0.0))
        return ar__fail(err, AR_ERR_USAGE, "init %s: '%s': found s = %g, wanted more than 0: it divides what the pair begins with", name,
                        p->site, p->scale);
    if (l->course->init.kind == AR_INIT_PISSA && rank > most)
        return ar__fail(
            err, AR_ERR_VALUE,
            "init %s: '%s': found rank %zu, wanted at most %zu, the singular values that its matrix has; give a smaller --rank, "
            "or --rank-pattern",
            name, p->site, rank, most);
    return AR_OK;
}

static ar_status start_one(ar_learner *l, size_t i, tally *t, ar_error *err) {
    const ar_model *m = l->course->model;
    ar_pair *p = &l->adapter->pair[i];
    size_t module = l->attachment->module[i];
    bool pissa = l->course->init.kind == AR_INIT_PISSA;
    double noise = m->owned[module].noise, root = 1.0 / sqrt(p->scale);
    ar_rank_rule rule = {.rank = (size_t)p->rank / (pissa ? 2 : 1)};
    ar_weight quantised = ar__model_weight(m, module);
    source x = {m->base, ar__base_find(m->base, m->modules[module].path), pissa ? NULL : &quantised, p->site};
    if (!pissa && noise <= 0.0) return AR_OK; /* kept its type */
    if (ar__pair_in_stack(p))
        return ar__fail(err, AR_ERR_UNSUPPORTED,
                        "init %s: '%s': not on the experts of a layer; leave them out: --exclude gate_up_proj,down_proj", l->o.course.init,
                        p->site);
    ar_low_rank best;
    ar_status s = check_site(l, p, &x, rule.rank, err);
    if (s) return s;
    ar_dense dense = {.m = (size_t)x.w->n_out, .n = (size_t)x.w->n_in, .rows = read_rows, .user = &x};
    s = ar__top_svd(&best, l->course->rt, &dense, &rule, l->o.learner.seed ^ ar__rng_hash(p->site), err);
    if (s) return ar__fail_at(err, s, p->site);
    ar__pair_fill(p, &best, &(ar_fill){.to_b = root, .to_a = root, .transposed = p->is_embedding});
    if (pissa) {
        mirror(p);
        count_energy(t, &best);
    } else {
        l->corrected[i] = noise * sqrt(ar__lost_energy(best.sigma, best.count, best.rest, best.rank));
        count_noise(t, noise, l->corrected[i]);
    }
    ar__low_rank_release(&best);
    if (m->quantised) ar__base_forget(x.w);
    return AR_OK;
}

static void say(const ar_learner *l, const tally *t, double seconds) {
    const ar_log *log = &l->course->rt->log;
    const char *name = l->o.course.init;
    if (l->course->init.kind == AR_INIT_PISSA) {
        ar__log_info(log,
                     "init %s: the pairs begin with %.3g %% of the squares of %zu matrices (%.1f s); written in twice the rank, over the "
                     "base as it is",
                     name, t->all > 0.0 ? 100.0 * t->kept / t->all : 0.0, t->sites, seconds);
        return;
    }
    ar__log_info(log, "init %s: ‖W − Q(W) − s·B·A‖ / ‖W‖ %.3g to %.3g at %zu sites, without the correction %.3g to %.3g (%.1f s)", name,
                 t->least[1], t->most[1], t->sites, t->least[0], t->most[0], seconds);
    if (l->course->init.rounds > 1)
        ar__log_info(log, "init %s: Q stays Q(W), which anyone can make of the folder, so that rounds after the first change nothing",
                     name);
}

ar_status ar__start_pairs(ar_learner *l, ar_error *err) {
    tally t = {0};
    double began = ar__clock_seconds();
    if (!ar__init_from_weights(&l->course->init)) return AR_OK;
    for (size_t i = 0; l->course->init.kind == AR_INIT_PISSA && i < l->adapter->pair_count; i++)
        l->attachment->ops[l->attachment->module[i]].frozen = l->adapter->pair[i].rank / 2;
    if (is_in_checkpoint(l)) return AR_OK;
    if (l->course->init.kind == AR_INIT_LOFTQ) {
        l->corrected = ar__alloc(l->adapter->pair_count, sizeof *l->corrected);
        if (!l->corrected) return ar__fail_memory(err, "adapter");
        for (size_t i = 0; i < l->adapter->pair_count; i++) l->corrected[i] = -1.0;
    }
    for (size_t i = 0; i < l->adapter->pair_count; i++) {
        ar_status s = start_one(l, i, &t, err);
        if (s) return s;
    }
    if (l->course->init.kind == AR_INIT_LOFTQ && !t.sites)
        return ar__fail(err, AR_ERR_USAGE, "init %s: quantize %s took nothing off any site; leave init out", l->o.course.init,
                        l->o.course.quantize);
    say(l, &t, ar__clock_seconds() - began);
    return AR_OK;
}

ar_status ar__start_save(ar_learner *l, const char *dir, ar_error *err) {
    if (l->course->init.kind != AR_INIT_LOFTQ) return AR_OK;
    char *folder = ar__path_join(dir, AR_START_FOLDER);
    ar_status s = folder ? ar__record_provenance(l, err) : ar__fail_memory(err, dir);
    if (!s) s = ar_adapter_save(l->adapter, folder, true, err);
    free(folder);
    return s;
}
