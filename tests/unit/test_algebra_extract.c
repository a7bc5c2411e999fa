/* Extracting planted differences of small made models. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "alphar/algebra.h"
#include "dense.h"
#include "format/safetensors.h"
#include "kern/runtime.h"
#include "util.h"

enum { VOCAB = 20, DIM = 12, TENSORS = 5, RANK = 3 };
static ar_runtime *rt;
static ar_error err;
static char warnings[4096];

static void keep_warning(void *user, ar_log_level level, const char *line) {
    (void)user;
    if (level == AR_LOG_WARNING) snprintf(warnings + strlen(warnings), sizeof warnings - strlen(warnings), "%s\n", line);
}

static int start(void **state) {
    (void)state;
    return ar_runtime_new(&rt, &(ar_runtime_options){.log = keep_warning}, NULL) != AR_OK;
}

static int stop(void **state) {
    (void)state;
    ar_runtime_free(rt);
    return 0;
}

static const struct {
    const char *name;
    int64_t rows, columns;
} tensors[TENSORS] = {{"model.embed_tokens.weight", VOCAB, DIM},
                      {"model.layers.0.self_attn.q_proj.weight", DIM, DIM},
                      {"model.layers.0.mlp.down_proj.weight", DIM, 2 * DIM},
                      {"model.norm.weight", DIM, 0},
                      {"lm_head.weight", VOCAB, DIM}};

static size_t count_of(int i) { return (size_t)(tensors[i].rows * (tensors[i].columns ? tensors[i].columns : 1)); }

typedef struct model {
    float *data[TENSORS];
    int64_t vocab;
    bool tied, no_norm;
} model;

/* The same numbers each time, and a planted update of rank 3 on the tensors of `moved`. */
static model make(unsigned moved, bool tied) {
    model m = {.vocab = VOCAB, .tied = tied};
    for (int i = 0; i < TENSORS; i++) {
        m.data[i] = random_f32(count_of(i), (uint64_t)i + 1, 1.0F);
        if (!(moved >> i & 1)) continue;
        size_t rows = (size_t)tensors[i].rows, columns = (size_t)(tensors[i].columns ? tensors[i].columns : 1);
        float *b = random_f32(rows * RANK, 50 + (uint64_t)i, 1.0F), *a = random_f32(RANK * columns, 60 + (uint64_t)i, 1.0F);
        double *d = dense_product(b, a, rows, RANK, columns);
        for (size_t j = 0; j < rows * columns; j++) m.data[i][j] = (float)((double)m.data[i][j] + d[j]);
        free(a), free(b), free(d);
    }
    return m;
}

static void forget(model *m) {
    for (int i = 0; i < TENSORS; i++) free(m->data[i]);
}

static const char *save(const char *name, const model *m) {
    char path[100];
    ar_st_writer *w;
    snprintf(path, sizeof path, "%s/config.json", name);
    temp_text(path, m->tied ? "{\"model_type\":\"llama\",\"num_attention_heads\":2,\"tie_word_embeddings\":true}"
                            : "{\"model_type\":\"llama\",\"num_attention_heads\":2,\"tie_word_embeddings\":false}");
    assert_ok(ar__st_writer_new(&w, &err), err);
    for (int i = 0; i < TENSORS; i++) {
        if ((i == 4 && m->tied) || (i == 3 && m->no_norm)) continue;
        int64_t shape[2] = {i == 0 || i == 4 ? m->vocab : tensors[i].rows, tensors[i].columns};
        assert_ok(ar__st_writer_add(w, tensors[i].name, AR_F32, tensors[i].columns ? 2 : 1, shape, m->data[i], &err), err);
    }
    snprintf(path, sizeof path, "%s/model.safetensors", name);
    assert_ok(ar__st_writer_save(w, temp_path(path), &err), err);
    ar__st_writer_free(w);
    return temp_path(name);
}

static ar_status extract(ar_adapter **out, ar_fit *fit, const model *base, const model *tuned, const ar_extract_options *how) {
    ar_extract_options o = *how;
    o.base = save("base", base);
    o.tuned = save("tuned", tuned);
    warnings[0] = '\0';
    return ar_adapter_extract(out, fit, rt, &o, &err);
}

/* s·B·A, of an embedding its transpose, against the difference of tensor i. */
static double error_of(const ar_pair *p, const model *base, const model *tuned, int i) {
    size_t rows = (size_t)tensors[i].rows, columns = (size_t)tensors[i].columns, n = rows * columns;
    double *got = calloc(n, sizeof *got), *want = calloc(n, sizeof *want);
    dense_add_update(got, p, 1.0);
    for (size_t r = 0; r < rows; r++)
        for (size_t c = 0; c < columns; c++)
            want[p->is_embedding ? c * rows + r : r * columns + c] =
                (double)tuned->data[i][r * columns + c] - (double)base->data[i][r * columns + c];
    double error = dense_distance(got, want, n) / dense_norm(want, n);
    free(got), free(want);
    return error;
}

static void planted_updates_come_back(void **state) {
    (void)state;
    static const double alphas[] = {0, 12, -1.5}; /* 0: none given */
    for (size_t c = 0; c < 3; c++) {
        model base = make(0, false), tuned = make(1u << 0 | 1u << 1 | 1u << 4, false);
        ar_adapter *out;
        ar_fit fit;
        ar_extract_options o = {.to = {.rank = RANK}, .has_alpha = alphas[c] != 0, .alpha = alphas[c]};
        assert_ok(extract(&out, &fit, &base, &tuned, &o), err);
        static const char *const sites[] = {"model.embed_tokens", "model.layers.0.self_attn.q_proj", "lm_head"};
        static const int at[] = {0, 1, 4};
        assert_int_equal(out->pair_count, 3); /* down_proj did not move */
        assert_string_equal(warnings, "");
        for (int i = 0; i < 3; i++) {
            const ar_pair *p = ar__adapter_find_pair(out, sites[i]);
            assert_non_null(p);
            assert_int_equal(p->is_embedding, i == 0);
            assert_int_equal(p->n_in, i == 0 ? VOCAB : DIM);
            assert_true(error_of(p, &base, &tuned, at[i]) < 1e-6);
            assert_near(p->scale, alphas[c] != 0 ? alphas[c] / RANK : 1.0, 1e-15);
            assert_true(fit.sites[i].energy > 1 - 1e-10 && fit.sites[i].relative_error < 1e-5);
        }
        assert_string_equal(out->settings.base, temp_path("base"));
        ar_fit_release(&fit);
        ar_adapter_free(out);
        forget(&base);
        forget(&tuned);
    }
}

static void energy_finds_the_rank_and_says_what_is_kept(void **state) {
    (void)state;
    model base = make(0, false), tuned = make(1u << 2, false);
    double want[DIM * 2 * DIM];
    for (size_t i = 0; i < DIM * 2 * DIM; i++) want[i] = (double)tuned.data[2][i] - (double)base.data[2][i];
    double *sigma = dense_singular_values(want, DIM, 2 * DIM), all = dense_norm(want, DIM * 2 * DIM);
    double kept = 1 - pow(dense_tail(sigma, DIM, 2) / all, 2);
    ar_adapter *out;
    ar_fit fit;
    assert_ok(extract(&out, &fit, &base, &tuned, &(ar_extract_options){.to = {.energy = kept - 1e-6}}), err);
    assert_int_equal(out->pair[0].rank, 2);
    assert_near(fit.sites[0].energy, kept, 1e-6);
    assert_near(error_of(&out->pair[0], &base, &tuned, 2), fit.sites[0].relative_error, 1e-6);
    ar_fit_release(&fit);
    ar_adapter_free(out);
    assert_ok(extract(&out, &fit, &base, &tuned, &(ar_extract_options){.to = {.rank = 1, .energy = 1}}), err);
    assert_int_equal(out->pair[0].rank, 1);
    free(sigma);
    ar_fit_release(&fit);
    ar_adapter_free(out);
    forget(&base);
    forget(&tuned);
}

/* The head is the embedding's tensor: both moved, both get a pair of the same update. */
static void a_tied_head_gets_its_pair_too(void **state) {
    (void)state;
    model base = make(0, true), tuned = make(1u << 0, true);
    ar_adapter *out;
    ar_fit fit;
    assert_ok(extract(&out, &fit, &base, &tuned, &(ar_extract_options){.to = {.rank = RANK}}), err);
    assert_int_equal(out->pair_count, 2);
    const ar_pair *head = ar__adapter_find_pair(out, "lm_head"), *embedding = ar__adapter_find_pair(out, "model.embed_tokens");
    assert_non_null(head);
    assert_true(!head->is_embedding && head->n_out == VOCAB);
    assert_true(error_of(head, &base, &tuned, 0) < 1e-6);
    assert_true(error_of(embedding, &base, &tuned, 0) < 1e-6);
    ar_fit_release(&fit);
    ar_adapter_free(out);
    /* tuned apart from a tied base: each side's own difference */
    model apart = make(1u << 4, false);
    free(apart.data[4]);
    apart.data[4] = random_f32(count_of(0), 1, 1.0F); /* the base's embedding */
    for (size_t i = 0; i < DIM; i++) apart.data[4][i] += 1.0F;
    assert_ok(extract(&out, &fit, &base, &apart, &(ar_extract_options){.to = {.rank = 1}}), err);
    assert_int_equal(out->pair_count, 1);
    assert_string_equal(out->pair[0].site, "lm_head");
    ar_fit_release(&fit);
    ar_adapter_free(out);
    forget(&base);
    forget(&tuned);
    forget(&apart);
}

static void what_is_no_pair_is_named(void **state) {
    (void)state;
    model base = make(0, false), tuned = make(1u << 1 | 1u << 3, false);
    ar_adapter *out;
    ar_fit fit;
    assert_ok(extract(&out, &fit, &base, &tuned, &(ar_extract_options){.to = {.rank = RANK}}), err);
    assert_int_equal(out->pair_count, 1);
    assert_non_null(strstr(warnings, "1 tensor differs but can be no pair"));
    assert_non_null(strstr(warnings, "'model.norm.weight'"));
    ar_fit_release(&fit);
    ar_adapter_free(out);
    tuned.no_norm = true;
    assert_ok(extract(&out, &fit, &base, &tuned, &(ar_extract_options){.to = {.rank = RANK}}), err);
    assert_non_null(strstr(warnings, "only the base has: 1, such as 'model.norm.weight'"));
    ar_fit_release(&fit);
    ar_adapter_free(out);
    assert_ok(extract(&out, &fit, &tuned, &base, &(ar_extract_options){.to = {.rank = RANK}}), err);
    assert_non_null(strstr(warnings, "only the tuned model has: 1, such as 'model.norm.weight'"));
    ar_fit_release(&fit);
    ar_adapter_free(out);
    forget(&base);
    forget(&tuned);
}

static void what_makes_no_sense_is_refused(void **state) {
    (void)state;
    model base = make(0, false), same = make(0, false), other = make(1u << 1, false);
    ar_adapter *out;
    ar_fit fit;
    const ar_extract_options one = {.to = {.rank = 1}};
    assert_error(extract(&out, &fit, &base, &same, &one), AR_ERR_VALUE, err, "nothing to extract");
    assert_null(out);
    assert_error(extract(&out, &fit, &base, &other, &(ar_extract_options){0}), AR_ERR_USAGE, err, "neither rank nor energy");
    assert_error(extract(&out, &fit, &base, &other, &(ar_extract_options){.to = {.rank = 1}, .has_alpha = true}), AR_ERR_VALUE, err,
                 "alpha");
    other.data[1][5] = NAN;
    assert_error(extract(&out, &fit, &base, &other, &one), AR_ERR_NUMERIC, err, "q_proj.weight: row 0 holds NaN");
    other.vocab = VOCAB - 1;
    assert_error(extract(&out, &fit, &base, &other, &one), AR_ERR_MISMATCH, err, "[19, 12] in the tuned model, [20, 12] in the base");
    forget(&base);
    forget(&same);
    forget(&other);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(planted_updates_come_back),      cmocka_unit_test(energy_finds_the_rank_and_says_what_is_kept),
        cmocka_unit_test(a_tied_head_gets_its_pair_too),  cmocka_unit_test(what_is_no_pair_is_named),
        cmocka_unit_test(what_makes_no_sense_is_refused),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
