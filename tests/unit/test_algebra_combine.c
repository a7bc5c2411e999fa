/* Combining against dense arithmetic in double. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "alphar/algebra.h"
#include "dense.h"
#include "kern/runtime.h"
#include "util.h"

enum { OUT = 40, IN = 33, CELLS = OUT * IN, WHOLE = 33 };
static ar_runtime *rt, *other_threads;
static ar_error err;
static char last_warning[1024];

static void keep_warning(void *user, ar_log_level level, const char *line) {
    (void)user;
    if (level == AR_LOG_WARNING) snprintf(last_warning, sizeof last_warning, "%s", line);
}

static int start(void **state) {
    (void)state;
    return ar_runtime_new(&rt, &(ar_runtime_options){.log = keep_warning, .threads = 1}, NULL) ||
           ar_runtime_new(&other_threads, &(ar_runtime_options){.threads = 3}, NULL);
}

static int stop(void **state) {
    (void)state;
    ar_runtime_free(rt);
    ar_runtime_free(other_threads);
    return 0;
}

/* q of rank 3 in all, v in the second, an embedding in the third. */
static void make(ar_adapter *sources[3]) {
    for (int i = 0; i < 3; i++) {
        assert_ok(ar__adapter_new(&sources[i], &err), err);
        ar_pair_shape q = {.site = "q", .n_out = OUT, .n_in = IN, .rank = 3 + i, .alpha = 2.5 + i, .policy = (ar_policy)(i & 1)};
        dense_add_pair(sources[i], &q, (uint64_t)i);
    }
    dense_add_pair(sources[1], &(ar_pair_shape){.site = "v", .n_out = OUT, .n_in = IN, .rank = 2, .alpha = -3}, 11);
    dense_add_pair(sources[2], &(ar_pair_shape){.site = "e", .n_out = OUT, .n_in = IN, .rank = 2, .alpha = 1, .is_embedding = true}, 12);
}

static void release(ar_adapter *sources[3]) {
    for (int i = 0; i < 3; i++) ar_adapter_free(sources[i]);
}

static const double weights[] = {1.0, -0.5, 0.25};

/* The weighted sum at a site; caller frees. */
static double *sum_of(ar_adapter *const *sources, const char *site) {
    double *x = calloc(CELLS, sizeof *x);
    for (int i = 0; i < 3; i++) {
        const ar_pair *p = ar__adapter_find_pair(sources[i], site);
        if (p) dense_add_update(x, p, weights[i]);
    }
    return x;
}

static double *update_of(const ar_pair *p) {
    double *x = calloc(CELLS, sizeof *x);
    dense_add_update(x, p, 1.0);
    return x;
}

static void concat_is_the_sum(void **state) {
    (void)state;
    ar_adapter *sources[3], *out;
    ar_fit fit;
    make(sources);
    assert_ok(ar_adapters_combine(&out, &fit, sources, weights, 3, rt, &(ar_combine_options){0}, &err), err);
    assert_int_equal(out->pair_count, 3);
    static const int ranks[] = {3 + 4 + 5, 2, 2};
    for (size_t i = 0; i < 3; i++) {
        const ar_pair *p = &out->pair[i];
        double *want = sum_of(sources, p->site), *got = update_of(p);
        assert_true(dense_distance(got, want, CELLS) <= 2e-7 * dense_norm(want, CELLS));
        assert_int_equal(p->rank, ranks[i]);
        assert_true(p->scale == 1.0 && p->alpha == p->rank && p->policy == AR_POLICY_STANDARD);
        assert_true(fit.sites[i].relative_error == 0.0 && fit.sites[i].rank == p->rank);
        free(want), free(got);
    }
    assert_true(ar__adapter_find_pair(out, "e")->is_embedding);
    ar_fit_release(&fit);
    ar_adapter_free(out);
    release(sources);
}

static void an_adapter_twice_is_twice_its_update(void **state) {
    (void)state;
    ar_adapter *sources[3], *out;
    ar_fit fit;
    make(sources);
    ar_adapter *twice[] = {sources[0], sources[0]};
    assert_ok(ar_adapters_combine(&out, &fit, twice, (double[]){1, 1}, 2, rt, &(ar_combine_options){0}, &err), err);
    double *x = update_of(&sources[0]->pair[0]), *y = update_of(&out->pair[0]);
    for (int i = 0; i < CELLS; i++) x[i] *= 2;
    assert_true(dense_distance(x, y, CELLS) <= 2e-7 * dense_norm(x, CELLS));
    free(x), free(y);
    ar_fit_release(&fit);
    ar_adapter_free(out);
    release(sources);
}

static void less_rank_is_the_best_of_the_sum(void **state) {
    (void)state;
    for (int method = AR_COMBINE_CONCAT; method <= AR_COMBINE_SVD; method++)
        for (int rank = 1; rank <= 16; rank += 5) {
            ar_adapter *sources[3], *out;
            ar_fit fit;
            make(sources);
            ar_combine_options o = {.method = (ar_combine_method)method, .to = {.rank = rank}};
            assert_ok(ar_adapters_combine(&out, &fit, sources, weights, 3, rt, &o, &err), err);
            for (size_t i = 0; i < 3; i++) {
                const ar_pair *p = &out->pair[i];
                double *want = sum_of(sources, p->site), *got = update_of(p), *sigma = dense_singular_values(want, OUT, IN);
                double all = dense_norm(want, CELLS), least = dense_tail(sigma, IN, (size_t)rank);
                int had = i ? 2 : 12;
                assert_true(dense_distance(got, want, CELLS) <= least + 3e-7 * all);
                assert_near(fit.sites[i].relative_error, least / all, 1e-7);
                assert_int_equal(p->rank, method == AR_COMBINE_SVD || rank < had ? rank : had);
                free(want), free(got), free(sigma);
            }
            ar_fit_release(&fit);
            ar_adapter_free(out);
            release(sources);
        }
}

/* ---- TIES and DARE: dense references ---------------------------------------------------------------------------------- */
static int falling(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x < y) - (x > y);
}

static void trim(double *x, double density) {
    double *sorted = malloc(CELLS * sizeof *sorted);
    for (int i = 0; i < CELLS; i++) sorted[i] = fabs(x[i]);
    qsort(sorted, CELLS, sizeof *sorted, falling);
    double edge = sorted[(size_t)(density * CELLS) - 1] * (1.0 - 1e-6); /* the product under test is in f32 */
    for (int i = 0; i < CELLS; i++)
        if (fabs(x[i]) < edge) x[i] = 0;
    free(sorted);
}

static double *ties_of(ar_adapter *const *sources, double density) {
    double *x[3], *out = calloc(CELLS, sizeof *out);
    for (int i = 0; i < 3; i++) {
        x[i] = update_of(ar__adapter_find_pair(sources[i], "q"));
        trim(x[i], density);
    }
    for (int at = 0; at < CELLS; at++) {
        double votes = x[0][at] + x[1][at] + x[2][at];
        int agreeing = 0;
        for (int i = 0; i < 3; i++)
            if (x[i][at] != 0 && (x[i][at] > 0) == (votes >= 0)) {
                out[at] += weights[i] * x[i][at];
                agreeing++;
            }
        if (agreeing) out[at] /= agreeing;
    }
    for (int i = 0; i < 3; i++) free(x[i]);
    return out;
}

static void ties_is_the_dense_reference(void **state) {
    (void)state;
    static const double densities[] = {0.1, 0.5, 1.0};
    for (size_t c = 0; c < 3; c++) {
        ar_adapter *sources[3], *out;
        ar_fit fit;
        make(sources);
        ar_combine_options o = {.method = AR_COMBINE_TIES, .to = {.rank = WHOLE}, .density = densities[c]};
        assert_ok(ar_adapters_combine(&out, &fit, sources, weights, 3, rt, &o, &err), err);
        double *want = ties_of(sources, densities[c]), *got = update_of(ar__adapter_find_pair(out, "q"));
        assert_true(dense_distance(got, want, CELLS) <= 1e-6 * dense_norm(want, CELLS));
        free(want), free(got);
        ar_fit_release(&fit);
        ar_adapter_free(out);
        release(sources);
    }
}

static ar_adapter *dare(ar_adapter *const *sources, const ar_runtime *on, double density, uint64_t seed) {
    ar_adapter *out;
    ar_fit fit;
    ar_combine_options o = {.method = AR_COMBINE_DARE, .to = {.rank = WHOLE}, .density = density, .seed = seed};
    assert_ok(ar_adapters_combine(&out, &fit, sources, weights, 3, on, &o, &err), err);
    ar_fit_release(&fit);
    return out;
}

static void dare_drops_what_it_promises(void **state) {
    (void)state;
    ar_adapter *sources[3];
    make(sources);
    const double density = 0.3;
    double mean = 0;
    int kept = 0, runs = 20;
    for (int seed = 0; seed < runs; seed++) {
        ar_adapter *out = dare(sources, rt, density, (uint64_t)seed);
        double *got = update_of(ar__adapter_find_pair(out, "v")), *full = sum_of(sources, "v"), along = 0;
        for (int i = 0; i < CELLS; i++) {
            double there = full[i] / density, largest = 1e-5 * dense_norm(full, CELLS);
            assert_true(fabs(got[i]) <= largest || fabs(got[i] - there) <= largest);
            kept += fabs(got[i]) > fabs(got[i] - there);
            along += got[i] * full[i];
        }
        mean += along / pow(dense_norm(full, CELLS), 2.0) / runs;
        free(got), free(full);
        ar_adapter_free(out);
    }
    /* five standard deviations */
    assert_true(fabs((double)kept / (runs * CELLS) - density) <= 5 * sqrt(density * (1 - density) / (runs * CELLS)));
    assert_true(fabs(mean - 1.0) <= 0.1);
    release(sources);
}

static void dare_follows_its_seed_alone(void **state) {
    (void)state;
    ar_adapter *sources[3];
    make(sources);
    ar_adapter *a = dare(sources, rt, 0.5, 7), *b = dare(sources, other_threads, 0.5, 7), *c = dare(sources, rt, 0.5, 8);
    for (size_t i = 0; i < a->pair_count; i++) {
        size_t n = (size_t)(a->pair[i].rank * OUT) * sizeof(float);
        assert_memory_equal(a->pair[i].b, b->pair[i].b, n);
        assert_memory_not_equal(a->pair[i].b, c->pair[i].b, n);
    }
    double *v = update_of(ar__adapter_find_pair(a, "v")), *e = update_of(ar__adapter_find_pair(a, "e")); /* other sites, other entries */
    int alike = 0;
    for (int i = 0; i < CELLS; i++) alike += (fabs(v[i]) < 1e-4) == (fabs(e[i]) < 1e-4);
    assert_in_range(alike, CELLS * 2 / 5, CELLS * 3 / 5);
    free(v), free(e);
    ar_adapter_free(a);
    ar_adapter_free(b);
    ar_adapter_free(c);
    release(sources);
}

/* ---- what is refused -------------------------------------------------------------------------------------------------- */
static void refuse(const ar_pair_shape *shape, int whole, ar_status status, const char *words) {
    ar_adapter *sources[3], *out;
    ar_fit fit;
    make(sources);
    ar_adapter *odd;
    assert_ok(ar__adapter_new(&odd, &err), err);
    dense_add_pair(odd, shape, 1);
    int64_t size = 4;
    if (whole) assert_ok(ar__adapter_add_whole(NULL, odd, "lm_head.weight", 1, &size, &err), err);
    ar_adapter *list[] = {sources[0], odd};
    assert_error(ar_adapters_combine(&out, &fit, list, weights, 2, rt, &(ar_combine_options){0}, &err), status, err, words);
    assert_null(out);
    assert_null(fit.sites);
    ar_adapter_free(odd);
    release(sources);
}

static void what_cannot_be_summed_is_refused_by_name(void **state) {
    (void)state;
    refuse(&(ar_pair_shape){.site = "q", .n_out = OUT, .n_in = IN, .rank = 2, .dora = true}, 0, AR_ERR_UNSUPPORTED, "DoRA");
    refuse(&(ar_pair_shape){.site = "q", .n_out = OUT, .n_in = IN, .rank = 2, .b_bias = true}, 0, AR_ERR_UNSUPPORTED, "lora_bias");
    refuse(&(ar_pair_shape){.site = "q", .n_out = OUT, .n_in = IN, .rank = 2}, 1, AR_ERR_UNSUPPORTED, "'lm_head.weight' is saved whole");
    refuse(&(ar_pair_shape){.site = "q", .n_out = OUT, .n_in = IN + 1, .rank = 2}, 0, AR_ERR_MISMATCH, "[40, 33] in adapter, [40, 34]");
    refuse(&(ar_pair_shape){.site = "q", .n_out = OUT, .n_in = IN, .rank = 2, .is_embedding = true}, 0, AR_ERR_MISMATCH, "(embedding)");
    refuse(&(ar_pair_shape){.site = "q", .n_out = OUT, .n_in = IN, .rank = 2, .has_gguf_rows = true}, 0, AR_ERR_UNSUPPORTED, "--heads");
}

static void options_that_do_not_fit_are_refused(void **state) {
    (void)state;
    static const struct {
        ar_combine_options o;
        ar_status status;
        const char *words;
    } cases[] = {
        {{.method = AR_COMBINE_SVD}, AR_ERR_USAGE, "neither rank nor energy"},
        {{.method = AR_COMBINE_TIES, .density = 0.5}, AR_ERR_USAGE, "neither rank nor energy"},
        {{.density = 0.5}, AR_ERR_USAGE, "ties and dare"},
        {{.method = AR_COMBINE_DARE, .density = 1.5, .to = {.rank = 3}}, AR_ERR_VALUE, "density"},
        {{.method = AR_COMBINE_SVD, .to = {.rank = -3}}, AR_ERR_VALUE, "rank"},
    };
    ar_adapter *sources[3], *out;
    ar_fit fit;
    make(sources);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_error(ar_adapters_combine(&out, &fit, sources, weights, 3, rt, &cases[i].o, &err), cases[i].status, err, cases[i].words);
    assert_error(ar_adapters_combine(&out, &fit, sources, (double[]){1, NAN, 1}, 3, rt, &cases[0].o, &err), AR_ERR_USAGE, err, "neither");
    assert_error(ar_adapters_combine(&out, &fit, sources, (double[]){1, NAN, 1}, 3, rt, &(ar_combine_options){0}, &err), AR_ERR_NUMERIC,
                 err, "weight");
    assert_error(ar_adapters_combine(&out, &fit, NULL, NULL, 0, rt, &(ar_combine_options){0}, &err), AR_ERR_USAGE, err, "no adapter");
    release(sources);
}

static void other_bases_are_warned_about(void **state) {
    (void)state;
    static const char *const keys[] = {"base.architecture", "base.weights", NULL};
    for (int i = 0; i < 3; i++) {
        ar_adapter *sources[3], *out;
        ar_fit fit;
        make(sources);
        for (int j = 0; j < 3 && keys[i]; j++) assert_ok(ar__adapter_set_note(sources[j], keys[i], j == 2 ? "theirs" : "ours", &err), err);
        if (!keys[i]) sources[0]->settings.base = strdup("one"), sources[1]->settings.base = strdup("two");
        last_warning[0] = '\0';
        assert_ok(ar_adapters_combine(&out, &fit, sources, weights, 3, rt, &(ar_combine_options){0}, &err), err);
        assert_non_null(strstr(last_warning, keys[i] ? "fingerprints differ" : "names the base 'two'"));
        assert_null(keys[i] ? ar__adapter_note(out, keys[i]) : NULL);
        ar_fit_release(&fit);
        ar_adapter_free(out);
        release(sources);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(concat_is_the_sum),
        cmocka_unit_test(an_adapter_twice_is_twice_its_update),
        cmocka_unit_test(less_rank_is_the_best_of_the_sum),
        cmocka_unit_test(ties_is_the_dense_reference),
        cmocka_unit_test(dare_drops_what_it_promises),
        cmocka_unit_test(dare_follows_its_seed_alone),
        cmocka_unit_test(what_cannot_be_summed_is_refused_by_name),
        cmocka_unit_test(options_that_do_not_fit_are_refused),
        cmocka_unit_test(other_bases_are_warned_about),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
