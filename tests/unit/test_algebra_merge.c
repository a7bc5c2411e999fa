/* Merging against dense double arithmetic, ties, what is refused, and what is left behind after a failure.  PEFT's own
 * view is in tests/oracle/merge.py. */
#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "alphar/algebra.h"
#include "base/file.h"
#include "format/json.h"
#include "format/safetensors.h"
#include "store/json_edit.h"
#include "util.h"

enum { VOCAB = 19, DIM = 32, OUT = 24, RANK = 3 };

/* A tensor of a folder to be made: values are random, keyed by its name. */
struct tensor {
    const char *name;
    ar_dtype type;
    int dims;
    int64_t shape[2];
};

static uint64_t seed_of(const char *dir, const char *name) {
    uint64_t h = 7;
    for (const char *p = dir; *p; p++) h = h * 31 + (unsigned char)*p;
    for (const char *p = name; *p; p++) h = h * 31 + (unsigned char)*p;
    return h;
}

static size_t count_of(const struct tensor *t) { return (size_t)t->shape[0] * (t->dims > 1 ? (size_t)t->shape[1] : 1); }

static float *values(const char *dir, const struct tensor *t) {
    float *x = random_f32(count_of(t), seed_of(dir, t->name), strstr(t->name, "lora") ? 0.3f : 1.0f);
    char *room = malloc(count_of(t) * 4);
    ar__dtype(t->type)->from_f32(room, x, count_of(t));
    ar__dtype(t->type)->to_f32(x, room, count_of(t)); /* as the file has them */
    free(room);
    return x;
}

static const char *folder(const char *dir, const char *config_name, const char *config, const char *weights, const struct tensor *t) {
    ar_error err;
    ar_st_writer *w;
    char path[300];
    void *kept[32];
    int n = 0;
    snprintf(path, sizeof path, "%s/%s", dir, config_name);
    temp_text(path, config);
    assert_ok(ar__st_writer_new(&w, &err), err);
    assert_ok(ar__st_writer_meta(w, "format", "pt", &err), err);
    for (; t->name; t++, n++) {
        float *x = values(dir, t);
        kept[n] = malloc(count_of(t) * 4);
        ar__dtype(t->type)->from_f32(kept[n], x, count_of(t));
        assert_ok(ar__st_writer_add(w, t->name, t->type, t->dims, t->shape, kept[n], &err), err);
        free(x);
    }
    snprintf(path, sizeof path, "%s/%s", dir, weights);
    assert_ok(ar__st_writer_save(w, temp_path(path), &err), err);
    ar__st_writer_free(w);
    while (n) free(kept[--n]);
    return temp_path(dir);
}

static const char *base(const char *dir, const char *config, const struct tensor *t) {
    return folder(dir, "config.json", config, "model.safetensors", t);
}

#define LORA                                                                                                                               \
    "\"peft_type\":\"LORA\",\"r\":3,\"lora_alpha\":6,\"target_modules\":[\"q_proj\",\"k_proj\",\"v_proj\",\"o_proj\",\"gate_proj\",\"up_"  \
    "proj\",\"down_proj\",\"embed_tokens\",\"lm_head\",\"c_attn\",\"c_proj\",\"c_fc\"]"
static const char *adapter(const char *dir, const char *more, const struct tensor *t) {
    char config[400];
    snprintf(config, sizeof config, "{%s%s}", LORA, more);
    return folder(dir, "adapter_config.json", config, "adapter_model.safetensors", t);
}

#define P "base_model.model."
#define Q_NAME "model.layers.0.self_attn.q_proj"
#define EMBED "model.embed_tokens"
#define END                                                                                                                                \
    {                                                                                                                                      \
        NULL, AR_F32, 0, { 0 }                                                                                                             \
    }
#define PAIR(site, in, out)                                                                                                                \
    {P site ".lora_A.weight", AR_F32, 2, {RANK, in}}, {                                                                                    \
        P site ".lora_B.weight", AR_F32, 2, { out, RANK }                                                                                  \
    }
#define EMBED_PAIR                                                                                                                         \
    {P EMBED ".lora_embedding_A", AR_F32, 2, {RANK, VOCAB}}, {                                                                             \
        P EMBED ".lora_embedding_B", AR_F32, 2, { DIM, RANK }                                                                              \
    }

static const struct tensor llama[] = {{Q_NAME ".weight", AR_F32, 2, {OUT, DIM}},  {Q_NAME ".bias", AR_F32, 1, {OUT, 0}},
                                      {EMBED ".weight", AR_F32, 2, {VOCAB, DIM}}, {"lm_head.weight", AR_F32, 2, {VOCAB, DIM}},
                                      {"model.norm.weight", AR_F32, 1, {DIM, 0}}, END};
static const struct tensor tied_llama[] = {{Q_NAME ".weight", AR_BF16, 2, {OUT, DIM}}, {EMBED ".weight", AR_BF16, 2, {VOCAB, DIM}}, END};
static const struct tensor q_pair[] = {PAIR(Q_NAME, DIM, OUT), END};

static ar_status merge_to(ar_merge_result *r, const char *model, const char *const *adapters, int count, const char *dtype, const char *out,
                          int threads, ar_error *err) {
    ar_runtime *rt;
    ar_runtime_options ro = {.threads = threads};
    ar_merge_options o = {
        .model = model, .adapters = adapters, .adapter_count = count, .dtype = dtype, .out = temp_path(out), .overwrite = true};
    assert_ok(ar_runtime_new(&rt, &ro, err), *err);
    ar_status s = ar_merge(r, rt, &o, err);
    ar_runtime_free(rt);
    return s;
}

static void must(const char *model, const char *const *adapters, int count, const char *dtype, const char *out, double survival) {
    ar_error err;
    ar_merge_result r;
    assert_ok(merge_to(&r, model, adapters, count, dtype, out, 2, &err), err);
    assert_near(r.min_survival, 1, survival);
    ar_merge_result_release(&r);
}

static void must_not(const char *model, const char *const *adapters, int count, ar_status wanted, const char *part) {
    ar_error err;
    ar_merge_result r;
    assert_error(merge_to(&r, model, adapters, count, NULL, "refused", 1, &err), wanted, err, part);
    ar_merge_result_release(&r);
    assert_false(file_exists(temp_path("refused")));
}

/* A tensor of the merged folder, in f32. */
static float *merged(const char *out, const char *name, ar_dtype type, size_t count) {
    ar_error err;
    ar_st_set *st;
    assert_ok(ar__st_open(&st, temp_path(out), &err), err);
    const ar_tensor *t = ar__st_find(st, name);
    assert_non_null(t);
    assert_int_equal(t->dtype, type);
    assert_int_equal(t->count, count);
    float *x = calloc(count, sizeof *x);
    ar__dtype(type)->to_f32(x, t->data, count);
    ar__st_close(st);
    return x;
}

/* w [n_out, n_in] (or its transposed, as stored) += s B A, in double. */
static void add_dense(float *w, const char *dir, const struct tensor *ta, const struct tensor *tb, double s, bool transposed) {
    float *a = values(dir, ta), *b = values(dir, tb);
    size_t in = (size_t)ta->shape[1], out = (size_t)tb->shape[0], rank = (size_t)ta->shape[0];
    for (size_t i = 0; i < out; i++)
        for (size_t j = 0; j < in; j++) {
            double sum = 0;
            for (size_t k = 0; k < rank; k++) sum += (double)b[i * rank + k] * (double)a[k * in + j];
            float *at = transposed ? &w[j * out + i] : &w[i * in + j];
            *at = (float)((double)*at + s * sum);
        }
    free(a);
    free(b);
}

static void expect(const char *out, const char *name, ar_dtype type, const float *want, size_t count, double bound) {
    float *got = merged(out, name, type, count);
    assert_relative(got, want, count, bound);
    free(got);
}

static void several_add_up_each_with_its_own_s(void **state) {
    (void)state;
    const char *b = base("b1", "{\"model_type\":\"llama\"}", llama);
    const char *a1 = adapter("a1", "", q_pair), *a2 = adapter("a2", ",\"use_rslora\":true", q_pair);
    char w1[400], w2[400];
    snprintf(w1, sizeof w1, "%s:0.5", a1);
    snprintf(w2, sizeof w2, "%s:-2", a2);
    must(b, (const char *const[]){w1, w2}, 2, NULL, "m1", 1e-4);
    float *w = values("b1", &llama[0]);
    add_dense(w, "a1", &q_pair[0], &q_pair[1], 0.5 * 6 / 3, false);
    add_dense(w, "a2", &q_pair[0], &q_pair[1], -2 * 6 / sqrt(3), false);
    expect("m1", llama[0].name, AR_F32, w, OUT * DIM, 1e-6);
    free(w);
    for (int i = 1; llama[i].name; i++) { /* the rest is what it was */
        w = values("b1", &llama[i]);
        expect("m1", llama[i].name, AR_F32, w, count_of(&llama[i]), 0);
        free(w);
    }
}

static void embeddings_and_conv1d_are_transposed(void **state) {
    (void)state;
    static const struct tensor embed[] = {EMBED_PAIR, END};
    must(base("b2", "{\"model_type\":\"llama\"}", llama), (const char *const[]){adapter("a3", "", embed)}, 1, NULL, "m2", 1e-4);
    float *w = values("b2", &llama[2]);
    add_dense(w, "a3", &embed[0], &embed[1], 2, true);
    expect("m2", llama[2].name, AR_F32, w, VOCAB * DIM, 1e-6);
    free(w);
    /* gpt2 without its prefix; the second is square, where only the family tells */
    static const struct tensor gpt2[] = {
        {"h.0.attn.c_attn.weight", AR_F32, 2, {DIM, 3 * DIM}}, {"h.0.attn.c_proj.weight", AR_F32, 2, {DIM, DIM}}, END};
    static const struct tensor conv[] = {PAIR("transformer.h.0.attn.c_attn", DIM, 3 * DIM), PAIR("transformer.h.0.attn.c_proj", DIM, DIM),
                                         END};
    must(base("b3", "{\"model_type\":\"gpt2\"}", gpt2), (const char *const[]){adapter("a4", "", conv)}, 1, NULL, "m3", 1e-4);
    for (int i = 0; i < 2; i++) {
        w = values("b3", &gpt2[i]);
        add_dense(w, "a4", &conv[2 * i], &conv[2 * i + 1], 2, true);
        expect("m3", gpt2[i].name, AR_F32, w, count_of(&gpt2[i]), 1e-6);
        free(w);
    }
}

/* Gains of a dense W + sBA by its outputs, applied. */
static void dense_dora(float *w, const float *magnitude, size_t out, size_t in, bool transposed) {
    for (size_t i = 0; i < out; i++) {
        double square = 0;
        for (size_t j = 0; j < in; j++) square += pow((double)w[transposed ? j * out + i : i * in + j], 2);
        for (size_t j = 0; j < in; j++) {
            float *at = &w[transposed ? j * out + i : i * in + j];
            *at = (float)((double)magnitude[i] * (double)*at / sqrt(square));
        }
    }
}

static void dora_norms_rows_or_columns(void **state) {
    (void)state;
    static const struct tensor q[] = {PAIR(Q_NAME, DIM, OUT), {P Q_NAME ".lora_magnitude_vector", AR_F32, 1, {OUT, 0}}, END};
    static const struct tensor embed[] = {EMBED_PAIR, {P EMBED ".lora_magnitude_vector", AR_F32, 1, {DIM, 0}}, END};
    const char *b = base("b4", "{\"model_type\":\"llama\"}", llama);
    char half[400];
    snprintf(half, sizeof half, "%s:0.5", adapter("a5", ",\"use_dora\":true", q)); /* the factor turns the direction */
    must(b, (const char *const[]){half}, 1, NULL, "m4", 1e-4);
    float *w = values("b4", &llama[0]), *m = values("a5", &q[2]);
    add_dense(w, "a5", &q[0], &q[1], 1, false);
    dense_dora(w, m, OUT, DIM, false);
    expect("m4", llama[0].name, AR_F32, w, OUT * DIM, 1e-6);
    free(w);
    free(m);
    must(b, (const char *const[]){adapter("a6", ",\"use_dora\":true", embed)}, 1, NULL, "m5", 1e-4);
    w = values("b4", &llama[2]);
    m = values("a6", &embed[2]);
    add_dense(w, "a6", &embed[0], &embed[1], 2, true);
    dense_dora(w, m, DIM, VOCAB, true);
    expect("m5", llama[2].name, AR_F32, w, VOCAB * DIM, 1e-6);
    free(w);
    free(m);
    must_not(b, (const char *const[]){temp_path("a5"), temp_path("a1")}, 2, AR_ERR_UNSUPPORTED, Q_NAME "' has DoRA");
}

static void whole_tensors_and_biases_on_b(void **state) {
    (void)state;
    static const struct tensor whole[] = {
        PAIR(Q_NAME, DIM, OUT), {P Q_NAME ".lora_B.bias", AR_F32, 1, {OUT, 0}}, {P "model.norm.weight", AR_BF16, 1, {DIM, 0}}, END};
    const char *b = base("b5", "{\"model_type\":\"llama\"}", llama), *a = adapter("a7", ",\"lora_bias\":true", whole);
    must(b, (const char *const[]){a}, 1, NULL, "m6", 1e-4);
    float *w = values("b5", &llama[1]), *on_b = values("a7", &whole[2]);
    for (int i = 0; i < OUT; i++) w[i] += 2 * on_b[i];
    expect("m6", llama[1].name, AR_F32, w, OUT, 1e-6);
    free(w);
    free(on_b);
    w = values("a7", &whole[3]);
    expect("m6", "model.norm.weight", AR_F32, w, DIM, 0);
    free(w);
    must_not(b, (const char *const[]){a, a}, 2, AR_ERR_UNSUPPORTED, "'model.norm.weight': ");
    static const struct tensor head[] = {{P "lm_head.weight", AR_F32, 2, {VOCAB, DIM}}, END};
    static const struct tensor on_head[] = {PAIR("lm_head", DIM, VOCAB), END};
    const char *saved = adapter("a8", "", head), *adds = adapter("a9", "", on_head);
    must_not(b, (const char *const[]){saved, adds}, 2, AR_ERR_UNSUPPORTED, "have no common result");
    must_not(b, (const char *const[]){adds, saved}, 2, AR_ERR_UNSUPPORTED, "have no common result");
    static const struct tensor without_bias[] = {{Q_NAME ".weight", AR_BF16, 2, {OUT, DIM}},
                                                 {EMBED ".weight", AR_BF16, 2, {VOCAB, DIM}},
                                                 {"model.norm.weight", AR_F32, 1, {DIM, 0}},
                                                 END};
    must_not(base("b6", "{\"model_type\":\"llama\"}", without_bias), (const char *const[]){a}, 1, AR_ERR_UNSUPPORTED,
             "has no bias to add it to");
}

/* What the merge refuses, reading the adapter on that base does; a head of the training's own may still be converted. */
static void whole_tensors_are_those_of_the_base(void **state) {
    (void)state;
    static const struct {
        struct tensor whole;
        const char *save, *part; /* part NULL: taken */
    } cases[] = {{{P "model.layers.7.input_layernorm.weight", AR_F32, 1, {DIM, 0}}, "input_layernorm", "no tensor for 'model.layers.7."},
                 {{P "lm_head.bias", AR_F32, 1, {VOCAB, 0}}, "lm_head", "the base's module has no bias"},
                 {{P "model.norm.weight", AR_F32, 1, {DIM + 1, 0}}, "norm", "in another shape than the base's with"},
                 {{P "model.norm.weight", AR_F32, 1, {DIM, 0}}, "norm", NULL},
                 {{P "lm_head.weight", AR_F32, 2, {VOCAB + 4, DIM}}, "lm_head", NULL},
                 {{P "lm_head.weight", AR_F32, 2, {VOCAB, DIM + 1}}, "lm_head", "in another shape"},
                 {{P "score.weight", AR_F32, 2, {2, DIM}}, "score", NULL}};
    static const struct tensor on[] = {{Q_NAME ".weight", AR_F32, 2, {OUT, DIM}},
                                       {EMBED ".weight", AR_F32, 2, {VOCAB, DIM}},
                                       {"lm_head.weight", AR_F32, 2, {VOCAB, DIM}},
                                       {"model.norm.weight", AR_F32, 1, {DIM, 0}},
                                       {"model.layers.0.input_layernorm.weight", AR_F32, 1, {DIM, 0}},
                                       END};
    const char *b = base("b30", "{\"model_type\":\"llama\",\"num_hidden_layers\":1}", on);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ar_error err;
        ar_adapter *ad;
        char save[100];
        const struct tensor t[] = {q_pair[0], q_pair[1], cases[i].whole, END};
        snprintf(save, sizeof save, ",\"modules_to_save\":[\"%s\"]", cases[i].save);
        const char *path = adapter("a30", save, t);
        ar_status s = ar_adapter_open(&ad, path, &(ar_adapter_options){.model = b}, &err);
        if (cases[i].part) assert_error(s, AR_ERR_MISMATCH, err, cases[i].part);
        if (!cases[i].part) assert_ok(s, err);
        ar_adapter_free(ad);
        if (cases[i].part) must_not(b, (const char *const[]){path}, 1, AR_ERR_MISMATCH, cases[i].part);
    }
}

static json_t *config_of(const char *out) {
    char path[300];
    ar_error err;
    json_t *config;
    snprintf(path, sizeof path, "%s/config.json", out);
    assert_ok(ar__json_load_object(&config, temp_path(path), 1 << 20, &err), err);
    return config;
}

/* The file's head is no tied one where it differs from the embedding. */
static void a_head_beside_a_tie_counts(void **state) {
    (void)state;
    static const struct tensor head[] = {PAIR("lm_head", DIM, VOCAB), END};
    const char *b = base("b11", "{\"model_type\":\"llama\",\"tie_word_embeddings\":true}", llama);
    must(b, (const char *const[]){adapter("a20", "", head)}, 1, NULL, "m20", 1e-4);
    float *embed = values("b11", &llama[2]), *w = values("b11", &llama[3]);
    expect("m20", EMBED ".weight", AR_F32, embed, VOCAB * DIM, 0);
    add_dense(w, "a20", &head[0], &head[1], 2, false);
    expect("m20", "lm_head.weight", AR_F32, w, VOCAB * DIM, 1e-6);
    free(w);
    must(b, (const char *const[]){adapter("a21", "", q_pair)}, 1, NULL, "m21", 1e-4);
    w = values("b11", &llama[3]);
    expect("m21", "lm_head.weight", AR_F32, w, VOCAB * DIM, 0);
    json_t *config = config_of("m21");
    assert_true(json_is_false(json_object_get(config, "tie_word_embeddings")));
    json_decref(config);
    free(w);
    free(embed);
}

static void a_tie_ends_where_one_side_changes(void **state) {
    (void)state;
    static const struct tensor head[] = {PAIR("lm_head", DIM, VOCAB), END}, embed[] = {EMBED_PAIR, END};
    const char *b = base("b7", "{\"model_type\":\"llama\",\"tie_word_embeddings\":true, \"x\": 1e-05}", tied_llama);
    must(b, (const char *const[]){adapter("a10", "", head)}, 1, "f32", "m7", 1e-4);
    float *w = values("b7", &tied_llama[1]);
    expect("m7", EMBED ".weight", AR_F32, w, VOCAB * DIM, 0);
    add_dense(w, "a10", &head[0], &head[1], 2, false);
    expect("m7", "lm_head.weight", AR_F32, w, VOCAB * DIM, 1e-6);
    free(w);
    json_t *config = config_of("m7");
    assert_true(json_is_false(json_object_get(config, "tie_word_embeddings")));
    assert_string_equal(json_string_value(json_object_get(config, "torch_dtype")), "float32");
    json_decref(config);
    must(b, (const char *const[]){adapter("a11", "", embed)}, 1, NULL, "m8", 0.2);
    w = values("b7", &tied_llama[1]);
    expect("m8", "lm_head.weight", AR_BF16, w, VOCAB * DIM, 0);
    free(w);
    must(b, (const char *const[]){adapter("a12", "", q_pair)}, 1, NULL, "m9", 0.2); /* neither */
    config = config_of("m9");
    assert_true(json_is_true(json_object_get(config, "tie_word_embeddings")));
    json_decref(config);
}

static void survival_is_one_without_an_update(void **state) {
    (void)state;
    ar_error err;
    ar_merge_result r;
    char none[400];
    snprintf(none, sizeof none, "%s:0", adapter("a13", "", q_pair));
    assert_ok(merge_to(&r, base("b8", "{\"model_type\":\"llama\"}", tied_llama), (const char *const[]){none}, 1, "f16", "m10", 1, &err),
              err);
    assert_int_equal(r.count, 1);
    assert_string_equal(r.sites[0].name, Q_NAME);
    assert_true(r.sites[0].is_zero && r.sites[0].survival == 1);
    ar_merge_result_release(&r);
}

static void threads_change_no_bit(void **state) {
    (void)state;
    static const struct tensor big[] = {{Q_NAME ".weight", AR_BF16, 2, {700, 900}}, END}, pair[] = {PAIR(Q_NAME, 900, 700), END};
    const char *b = base("b9", "{\"model_type\":\"llama\"}", big), *a = adapter("a14", "", pair);
    ar_merge_result r[2];
    ar_error err;
    assert_ok(merge_to(&r[0], b, &a, 1, NULL, "m11", 1, &err), err);
    assert_ok(merge_to(&r[1], b, &a, 1, NULL, "m12", 2, &err), err);
    float *x = merged("m11", big[0].name, AR_BF16, 630000), *y = merged("m12", big[0].name, AR_BF16, 630000);
    assert_memory_equal(x, y, 630000 * sizeof *x);
    assert_true(r[0].min_survival == r[1].min_survival);
    free(x);
    free(y);
    for (int i = 0; i < 2; i++) ar_merge_result_release(&r[i]);
}

static void what_does_not_fit_is_refused_by_name(void **state) {
    (void)state;
    const char *b = base("b10", "{\"model_type\":\"llama\"}", llama);
    static const struct tensor wrong[] = {PAIR(Q_NAME, OUT, DIM), END},
                               foreign[] = {PAIR("model.layers.7.self_attn.q_proj", DIM, OUT), END};
    static const struct tensor twice[] = {PAIR(Q_NAME, DIM, OUT), PAIR("layers.0.self_attn.q_proj", DIM, OUT), END};
    static const struct tensor larger[] = {{P EMBED ".weight", AR_F32, 2, {VOCAB + 1, DIM}}, END};
    must_not(b, (const char *const[]){adapter("a15", "", wrong)}, 1, AR_ERR_MISMATCH,
             Q_NAME "': the adapter is for a weight of [32, 24], the base has [24, 32]");
    must_not(b, (const char *const[]){adapter("a16", "", foreign)}, 1, AR_ERR_MISMATCH,
             "site 'model.layers.7.self_attn.q_proj': the base has no such weight");
    must_not(b, (const char *const[]){adapter("a17", "", twice)}, 1, AR_ERR_FORMAT,
             "are the same part of one site, and their values differ");
    must_not(b, (const char *const[]){adapter("a18", "", larger)}, 1, AR_ERR_MISMATCH,
             "keeps the base's 19: wanted both embedding and head");
    static const struct tensor gptq[] = {{Q_NAME ".qweight", AR_F32, 2, {OUT, DIM}}, END};
    must_not(base("b11", "{\"model_type\":\"llama\"}", gptq), (const char *const[]){adapter("a19", "", q_pair)}, 1, AR_ERR_UNSUPPORTED,
             Q_NAME ".qweight");
}

/* 70000 is past f16. */
static void a_weight_past_the_range_is_refused(void **state) {
    (void)state;
    ar_error err;
    ar_merge_result r;
    char strong[400];
    snprintf(strong, sizeof strong, "%s:1e6", adapter("a20", "", q_pair));
    const char *b = base("b12", "{\"model_type\":\"llama\"}", llama);
    assert_error(merge_to(&r, b, (const char *const[]){strong}, 1, "f16", "refused", 2, &err), AR_ERR_NUMERIC, err,
                 "past the range of f16");
    ar_merge_result_release(&r);
    assert_false(file_exists(temp_path("refused")));
}

static bool stop_soon(void *user, uint64_t done, uint64_t total) {
    int *calls = user;
    assert_true(done <= total);
    return --*calls > 0;
}

static int entries(const char *dir) {
    int n = 0;
    DIR *d = opendir(dir);
    for (struct dirent *e; (e = readdir(d));) n += e->d_name[0] != '.';
    closedir(d);
    return n;
}

static void stopped_it_leaves_nothing(void **state) {
    (void)state;
    const char *b = base("stop/b", "{\"model_type\":\"llama\"}", llama), *a = adapter("stop/a", "", q_pair);
    ar_runtime *rt;
    ar_error err;
    ar_merge_result r;
    assert_ok(ar_runtime_new(&rt, NULL, &err), err);
    for (int after = 1; after < 5; after++) {
        int calls = after;
        ar_merge_options o = {
            .model = b, .adapters = &a, .adapter_count = 1, .out = temp_path("stop/out"), .on_progress = stop_soon, .user = &calls};
        assert_error(ar_merge(&r, rt, &o, &err), AR_ERR_INTERRUPTED, err, "nothing is left");
        ar_merge_result_release(&r);
        assert_int_equal(entries(temp_path("stop")), 2);
    }
    ar_runtime_free(rt);
}

static void edited(const char *text, const char *inside, const char *key, const char *value, bool add, const char *want) {
    ar_buf b = {0};
    ar__buf_puts(&b, text);
    assert_true(ar__json_edit(&b, inside, key, value, add));
    assert_string_equal(b.data, want);
    ar__buf_release(&b);
}

static void the_rest_of_a_configuration_keeps_its_bytes(void **state) {
    (void)state;
    edited(" {\"a\": 1e-05,\n\t\"t\" : true}\n", NULL, "t", "false", true, " {\"a\": 1e-05,\n\t\"t\" : false}\n");
    edited("{}", NULL, "t", "1", true, "{\n  \"t\": 1}");
    edited("{}", NULL, "t", "1", false, "{}");
    edited("{\"a\":[{\"t\":\"}\"}], \"b\\\"t\":2}", NULL, "t", "1", true, "{\"a\":[{\"t\":\"}\"}], \"b\\\"t\":2,\n  \"t\": 1}");
    edited("{\"t\":{\"x\":[1,2]},\"z\":0}", NULL, "t", "9", false, "{\"t\":9,\"z\":0}");
    edited("{\"i\":{\"t\":\"a,b\"},\"t\":3}", "i", "t", "\"c\"", false, "{\"i\":{\"t\":\"c\"},\"t\":3}");
    edited("{\"i\":5}", "i", "t", "1", true, "{\"i\":5}");
    edited("{\"i\":{}}", "j", "t", "1", true, "{\"i\":{}}");
    edited("{\"t\":null}", NULL, "t", "true", false, "{\"t\":true}");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(several_add_up_each_with_its_own_s),
        cmocka_unit_test(embeddings_and_conv1d_are_transposed),
        cmocka_unit_test(dora_norms_rows_or_columns),
        cmocka_unit_test(whole_tensors_and_biases_on_b),
        cmocka_unit_test(whole_tensors_are_those_of_the_base),
        cmocka_unit_test(a_head_beside_a_tie_counts),
        cmocka_unit_test(a_tie_ends_where_one_side_changes),
        cmocka_unit_test(survival_is_one_without_an_update),
        cmocka_unit_test(threads_change_no_bit),
        cmocka_unit_test(what_does_not_fit_is_refused_by_name),
        cmocka_unit_test(a_weight_past_the_range_is_refused),
        cmocka_unit_test(stopped_it_leaves_nothing),
        cmocka_unit_test(the_rest_of_a_configuration_keeps_its_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
