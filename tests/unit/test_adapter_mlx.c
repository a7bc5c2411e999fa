/* MLX adapters: what is written is what mlx-lm's rule reads; what mlx-lm would drop is an error; what has no place is
 * refused. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "adapter/formats.h"
#include "format/json.h"
#include "format/safetensors.h"
#include "kern/runtime.h"
#include "util.h"
#include "weights/base.h"

static ar_runtime *rt;
static char warned[2000]; /* what the reader said */

static int start(void **state) {
    (void)state;
    return ar_runtime_new(&rt, NULL, NULL) == AR_OK ? 0 : 1;
}

static int stop(void **state) {
    (void)state;
    ar_runtime_free(rt);
    return 0;
}

static void note(void *user, ar_log_level level, const char *line) {
    (void)user;
    (void)level;
    snprintf(warned + strlen(warned), sizeof warned - strlen(warned), "%s\n", line);
}

struct site {
    const char *name;
    int64_t n_out, n_in;
    int rank;
    double alpha;
    ar_policy policy;
    bool embedding, dora;
};

static ar_adapter *make(const struct site *site) {
    ar_error err;
    ar_adapter *ad;
    assert_ok(ar__adapter_new(&ad, &err), err);
    for (uint64_t seed = 1; site->name; site++, seed += 3) {
        ar_pair *p;
        ar_pair_shape shape = {.site = site->name, .n_out = site->n_out, .n_in = site->n_in, .rank = site->rank, .alpha = site->alpha};
        shape.policy = site->policy;
        shape.is_embedding = site->embedding;
        shape.dora = site->dora;
        assert_ok(ar__adapter_add_pair(&p, ad, &shape, &err), err);
        float *a = random_f32((size_t)(p->rank * p->n_in), seed, 1), *b = random_f32((size_t)(p->n_out * p->rank), seed + 1, 1);
        float *m = random_f32((size_t)p->n_out, seed + 2, 1);
        memcpy(p->a, a, (size_t)(p->rank * p->n_in) * sizeof *a);
        memcpy(p->b, b, (size_t)(p->n_out * p->rank) * sizeof *b);
        if (p->magnitude) memcpy(p->magnitude, m, (size_t)p->n_out * sizeof *m);
        free(a);
        free(b);
        free(m);
    }
    return ad;
}

static ar_status write_mlx(ar_proof *proof, ar_adapter *ad, const char *path, const char *model, ar_error *err) {
    ar_write_options o = {.format = "mlx", .overwrite = true, .model = model};
    return ar_adapter_write(proof, ad, rt, path, &o, err);
}

static ar_adapter *open_ok(const char *path) {
    ar_error err;
    ar_adapter *ad;
    ar_adapter_options o = {.log = note};
    warned[0] = '\0';
    assert_ok(ar_adapter_open(&ad, path, &o, &err), err);
    assert_string_equal(ar_adapter_format(ad), "mlx");
    return ad;
}

static void refuse(const char *path, ar_status status, const char *part) {
    ar_error err;
    ar_adapter *ad;
    assert_error(ar_adapter_open(&ad, path, NULL, &err), status, err, part);
    assert_null(ad);
}

/* A folder with this configuration and tensors of these names and shapes, all ones. */
struct tensor {
    const char *name;
    int dims;
    int64_t shape[3];
};

static const char *folder(const char *config, const struct tensor *t) {
    static const float ones[64] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
    ar_error err;
    ar_st_writer *w;
    temp_text("f/adapter_config.json", config);
    assert_ok(ar__st_writer_new(&w, &err), err);
    for (; t->name; t++) assert_ok(ar__st_writer_add(w, t->name, AR_F32, t->dims, t->shape, ones, &err), err);
    assert_ok(ar__st_writer_save(w, temp_path("f/adapters.safetensors"), &err), err);
    ar__st_writer_free(w);
    return temp_path("f");
}

#define Q(n) "model.layers." #n ".self_attn.q_proj"
static const struct tensor two[] = {
    {Q(2) ".lora_a", 2, {4, 2}}, {Q(2) ".lora_b", 2, {2, 3}}, {Q(10) ".lora_a", 2, {4, 2}}, {Q(10) ".lora_b", 2, {2, 3}}, {NULL, 0, {0}}};

static void scale_is_s_itself(void **state) {
    (void)state;
    ar_adapter *ad = open_ok(material("adapters/mlx-qwen2.5-0.5b-r8"));
    assert_int_equal(ar_adapter_site_count(ad), 8);
    for (int i = 0; i < 8; i++) {
        ar_site s = ar_adapter_site(ad, i);
        assert_true(s.scale == 10 && s.rank == 8 && s.alpha == 80 && s.policy == AR_POLICY_STANDARD && s.n_in == 896);
    }
    assert_string_equal(ar_adapter_site(ad, 0).name, Q(20));
    assert_non_null(strstr(warned, "'alpha' 16 does nothing in mlx-lm: s is 'scale', 10 (alpha / rank would be 2)"));
    ar_adapter_free(ad);
}

/* Element of s·B·A by mlx-lm's formula from the file's own tensors. */
static double update(const ar_st_set *st, const char *module, double scale, int64_t out, int64_t in) {
    ar_error err;
    char key[200];
    const ar_tensor *a, *b;
    snprintf(key, sizeof key, "%s.lora_a", module);
    assert_ok(ar__st_need(&a, st, key, &err), err);
    snprintf(key, sizeof key, "%s.lora_b", module);
    assert_ok(ar__st_need(&b, st, key, &err), err);
    assert_true(a->dims == 2 && b->dims == 2 && a->shape[1] == b->shape[0]);
    double sum = 0;
    for (int64_t k = 0; k < a->shape[1]; k++) {
        float x, y;
        memcpy(&x, (const char *)a->data + 4 * (in * a->shape[1] + k), 4);
        memcpy(&y, (const char *)b->data + 4 * (k * b->shape[1] + out), 4);
        sum += (double)x * (double)y;
    }
    return scale * sum;
}

static void one_scale_and_one_rank_hold_for_all(void **state) {
    (void)state;
    static const struct site sites[] = {
        {Q(0), 5, 7, 4, 8, AR_POLICY_STANDARD, false, false}, {Q(1), 5, 7, 2, 3, AR_POLICY_RSLORA, false, false},
        {Q(2), 6, 3, 4, 8, AR_POLICY_STANDARD, false, false}, {"lm_head", 9, 7, 1, -0.7, AR_POLICY_STANDARD, false, false},
        {Q(3), 5, 7, 4, 0, AR_POLICY_STANDARD, false, false}, {NULL, 0, 0, 0, 0, 0, false, false}};
    ar_error err;
    ar_proof proof;
    ar_st_set *st;
    json_t *config;
    ar_adapter *ad = make(sites);
    assert_ok(write_mlx(&proof, ad, temp_path("folded"), NULL, &err), err);
    assert_true(proof.sites == 5 && proof.folded == 3 && proof.alpha == 2 && proof.max_relative < 1e-6);
    assert_ok(ar__st_open(&st, temp_path("folded/adapters.safetensors"), &err), err);
    assert_int_equal(ar__st_count(st), 10);
    assert_string_equal(ar__st_metadata(st, "format"), "mlx");
    for (size_t i = 0; i < ad->pair_count; i++) {
        const ar_pair *p = &ad->pair[i];
        for (int64_t o = 0; o < p->n_out; o++)
            for (int64_t j = 0; j < p->n_in; j++) {
                double want = 0;
                for (int k = 0; k < p->rank; k++) want += (double)p->b[o * p->rank + k] * (double)p->a[k * p->n_in + j];
                assert_near(update(st, p->site, 2, o, j), p->scale * want, 1e-6);
            }
    }
    assert_ok(ar__json_load_object(&config, temp_path("folded/adapter_config.json"), 1 << 20, &err), err);
    const json_t *parameters = json_object_get(config, "lora_parameters"), *keys = json_object_get(parameters, "keys");
    assert_int_equal(json_integer_value(json_object_get(config, "num_layers")), -1);
    assert_true(json_number_value(json_object_get(parameters, "scale")) == 2);
    assert_int_equal(json_integer_value(json_object_get(parameters, "rank")), 4);
    assert_int_equal(json_array_size(keys), 5);
    assert_string_equal(json_string_value(json_array_get(keys, 3)), "lm_head");
    json_decref(config);
    ar__st_close(st);
    ar_adapter_free(ad);
}

static void scales_of_nothing_but_zero_stay_zero(void **state) {
    (void)state;
    static const struct site off[] = {{Q(0), 5, 7, 4, 0, AR_POLICY_STANDARD, false, false}, {NULL, 0, 0, 0, 0, 0, false, false}};
    static const struct site most[] = {{Q(0), 5, 7, 4, 0, AR_POLICY_STANDARD, false, false},
                                       {Q(1), 5, 7, 4, 0, AR_POLICY_STANDARD, false, false},
                                       {Q(2), 5, 7, 4, 0.4, AR_POLICY_STANDARD, false, false},
                                       {NULL, 0, 0, 0, 0, 0, false, false}};
    ar_error err;
    ar_proof proof;
    ar_adapter *ad = make(off);
    assert_ok(write_mlx(&proof, ad, temp_path("zero"), NULL, &err), err);
    assert_true(proof.alpha == 0 && proof.folded == 0);
    ar_adapter_free(ad);
    ad = make(most);
    assert_ok(write_mlx(&proof, ad, temp_path("zero"), NULL, &err), err);
    assert_true(proof.alpha == 0.1 && proof.folded == 2);
    ar_adapter_free(ad);
    ad = open_ok(temp_path("zero"));
    assert_true(ar_adapter_site(ad, 2).scale == 0.1); /* every bit of it */
    ar_adapter_free(ad);
}

static void dora_goes_through(void **state) {
    (void)state;
    static const struct site sites[] = {{Q(0), 5, 7, 4, 8, AR_POLICY_STANDARD, false, true},
                                        {Q(1), 5, 7, 4, 3, AR_POLICY_STANDARD, false, true},
                                        {NULL, 0, 0, 0, 0, 0, false, false}};
    ar_error err;
    ar_adapter *ad = make(sites), *back;
    assert_ok(write_mlx(NULL, ad, temp_path("dora"), NULL, &err), err);
    back = open_ok(temp_path("dora"));
    assert_true(back->settings.dora && ar_adapter_site(back, 1).dora);
    assert_memory_equal(back->pair[1].magnitude, ad->pair[1].magnitude, 5 * sizeof(float));
    ar_adapter_free(back);
    ar_adapter_free(ad);
}

static void families_have_their_own_names(void **state) {
    (void)state;
    static const struct site gpt2[] = {{"transformer.h.0.attn.c_attn", 6, 4, 2, 2, AR_POLICY_STANDARD, false, false},
                                       {NULL, 0, 0, 0, 0, 0, false, false}};
    static const struct site gemma[] = {{"model.language_model.layers.0.mlp.up_proj", 6, 4, 2, 2, AR_POLICY_STANDARD, false, false},
                                        {"lm_head", 6, 4, 2, 2, AR_POLICY_STANDARD, false, false},
                                        {NULL, 0, 0, 0, 0, 0, false, false}};
    static const struct site bloom[] = {{"transformer.h.0.self_attention.dense", 6, 4, 2, 2, AR_POLICY_STANDARD, false, false},
                                        {NULL, 0, 0, 0, 0, 0, false, false}};
    ar_error err;
    ar_st_set *st;
    ar_adapter *ad = make(gpt2), *back;
    assert_ok(write_mlx(NULL, ad, temp_path("gpt2"), NULL, &err), err);
    assert_ok(ar__st_open(&st, temp_path("gpt2/adapters.safetensors"), &err), err);
    assert_non_null(ar__st_find(st, "model.h.0.attn.c_attn.lora_a"));
    ar__st_close(st);
    back = open_ok(temp_path("gpt2"));
    assert_string_equal(ar_adapter_site(back, 0).name, gpt2[0].name);
    ar_adapter_free(back);
    ar_adapter_free(ad);
    ad = make(gemma);
    assert_ok(write_mlx(NULL, ad, temp_path("gemma"), NULL, &err), err);
    assert_ok(ar__st_open(&st, temp_path("gemma/adapters.safetensors"), &err), err);
    assert_non_null(ar__st_find(st, "language_model.model.layers.0.mlp.up_proj.lora_a"));
    assert_non_null(ar__st_find(st, "language_model.lm_head.lora_a"));
    ar__st_close(st);
    ar_adapter_free(ad);
    ad = make(bloom);
    assert_error(write_mlx(NULL, ad, temp_path("bloom"), NULL, &err), AR_ERR_UNSUPPORTED, err, "mlx-lm has no bloom models");
    assert_false(file_exists(temp_path("bloom")));
    ar_adapter_free(ad);
}

static void what_has_no_place_is_refused(void **state) {
    (void)state;
    static const struct site embedding[] = {{"model.embed_tokens", 5, 7, 4, 8, AR_POLICY_STANDARD, true, false},
                                            {NULL, 0, 0, 0, 0, 0, false, false}};
    static const struct site dora[] = {{"model.embed_tokens", 5, 7, 4, 8, AR_POLICY_STANDARD, true, true},
                                       {NULL, 0, 0, 0, 0, 0, false, false}};
    static const struct site mixed[] = {{Q(0), 5, 7, 4, 8, AR_POLICY_STANDARD, false, true},
                                        {Q(1), 5, 7, 4, 8, AR_POLICY_STANDARD, false, false},
                                        {NULL, 0, 0, 0, 0, 0, false, false}};
    static const struct site head[] = {{"lm_head", 512, 64, 4, 8, AR_POLICY_STANDARD, false, false}, {NULL, 0, 0, 0, 0, 0, false, false}};
    static const struct site plain[] = {{Q(0), 5, 8, 4, 8, AR_POLICY_STANDARD, false, false}, {NULL, 0, 0, 0, 0, 0, false, false}};
    ar_error err;
    const char *out = temp_path("refused"), *tied = material("models/stories260k");
    ar_adapter *ad = make(embedding);
    assert_error(write_mlx(NULL, ad, out, NULL, &err), AR_ERR_UNSUPPORTED, err, "only the base says whether it is: give --model");
    assert_error(write_mlx(NULL, ad, out, tied, &err), AR_ERR_UNSUPPORTED, err, "'model.embed_tokens': the base's head is tied");
    ar_adapter_free(ad);
    ad = make(dora);
    assert_error(write_mlx(NULL, ad, out, NULL, &err), AR_ERR_UNSUPPORTED, err, "'model.embed_tokens': DoRA of an embedding");
    ar_adapter_free(ad);
    ad = make(mixed);
    assert_error(write_mlx(NULL, ad, out, NULL, &err), AR_ERR_UNSUPPORTED, err, "DoRA on all sites or on none");
    ar_adapter_free(ad);
    ad = make(head);
    assert_error(write_mlx(NULL, ad, out, tied, &err), AR_ERR_UNSUPPORTED, err, "'lm_head': the base's head is tied");
    ar_adapter_free(ad);
    ad = make(plain);
    ad->pair[0].has_gguf_rows = true;
    assert_error(write_mlx(NULL, ad, out, NULL, &err), AR_ERR_UNSUPPORTED, err, "--heads H,KV");
    ad->pair[0].has_gguf_rows = false;
    ad->pair[0].kernel[0] = ad->pair[0].kernel[1] = 2;
    assert_error(write_mlx(NULL, ad, out, NULL, &err), AR_ERR_UNSUPPORTED, err, "a convolution");
    ad->pair[0].kernel[0] = ad->pair[0].kernel[1] = 0;
    assert_ok(ar__adapter_add_whole(NULL, ad, "lm_head.weight", 2, (int64_t[]){2, 2}, &err), err);
    assert_error(write_mlx(NULL, ad, out, NULL, &err), AR_ERR_UNSUPPORTED, err, "'lm_head.weight' is saved whole");
    ar_adapter_free(ad);
    assert_false(file_exists(out));
}

#define CONFIG(more) "{\"num_layers\":-1,\"lora_parameters\":{\"rank\":2,\"scale\":0.5,\"dropout\":0" more "}}"

static void dropped_sites_are_errors(void **state) {
    (void)state;
    static const struct tensor head[] = {{"lm_head.lora_a", 2, {4, 2}}, {"lm_head.lora_b", 2, {2, 3}}, {NULL, 0, {0}}};
    static const char *const good[] = {
        CONFIG(""),
        CONFIG(",\"keys\":[\"self_attn.q_proj\"]"),
        CONFIG(",\"keys\":null"),
        CONFIG(",\"keys\":[\"" Q(2) "\",\"" Q(10) "\"]"),
        "{\"num_layers\":9,\"lora_parameters\":{\"rank\":2,\"scale\":0.5}}",
        "{\"num_layers\":1,\"lora_parameters\":{\"scale\":0.5,\"keys\":[\"" Q(2) "\",\"self_attn.q_proj\"]}}"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        ar_adapter *ad = open_ok(folder(good[i], two));
        assert_string_equal(ar_adapter_site(ad, 0).name, Q(2));
        assert_string_equal(ar_adapter_site(ad, 1).name, Q(10));
        assert_true(ar_adapter_site(ad, 0).scale == 0.5);
        assert_string_equal(warned, "");
        ar_adapter_free(ad);
    }
    refuse(folder(CONFIG(",\"keys\":[\"self_attn.v_proj\"]"), two), AR_ERR_MISMATCH, "'keys' does not name 'self_attn.q_proj'");
    refuse(folder(CONFIG(",\"keys\":[]"), two), AR_ERR_MISMATCH, "mlx-lm drops it");
    refuse(folder("{\"num_layers\":8,\"lora_parameters\":{\"rank\":2,\"scale\":0.5}}", two), AR_ERR_MISMATCH,
           "num_layers is 8, which leaves out layer 2 of 11 or more");
    refuse(folder(CONFIG(""), head), AR_ERR_MISMATCH, "outside the layers mlx-lm adapts only what 'keys' names");
    ar_adapter_free(open_ok(folder(CONFIG(",\"keys\":[\"lm_head\"]"), head)));
}

static void the_base_says_what_there_is(void **state) {
    (void)state;
    static const struct tensor fits[] = {{Q(4) ".lora_a", 2, {64, 1}}, {Q(4) ".lora_b", 2, {1, 64}}, {NULL, 0, {0}}};
    static const struct tensor head[] = {{"lm_head.lora_a", 2, {4, 2}}, {"lm_head.lora_b", 2, {2, 3}}, {NULL, 0, {0}}};
    ar_error err;
    ar_adapter *ad;
    ar_adapter_options o = {.model = material("models/stories260k")};
    const char *path = folder(CONFIG(""), two);
    assert_error(ar_adapter_open(&ad, path, &o, &err), AR_ERR_MISMATCH, err, "the base's is [64, 64]");
    folder(CONFIG(",\"keys\":[\"lm_head\"]"), head);
    assert_error(ar_adapter_open(&ad, path, &o, &err), AR_ERR_MISMATCH, err, "'lm_head': the base's head is tied");
    folder("{\"num_layers\":1,\"lora_parameters\":{\"scale\":0.5}}", fits);
    assert_ok(ar_adapter_open(&ad, path, &o, &err), err);
    ar_adapter_free(ad);
}

static void configurations_are_read_as_mlx_reads_them(void **state) {
    (void)state;
    ar_error err;
    ar_adapter *ad = open_ok(folder("{\"lora_layers\":-1,\"lora_parameters\":{\"rank\":2,\"alpha\":16,\"scale\":10.0}}", two));
    assert_true(ar_adapter_site(ad, 0).scale == 10);
    assert_non_null(strstr(warned, "mlx-lm of March to May 2024 multiplied it by alpha / rank"));
    ar_adapter_free(ad);
    ad = open_ok(folder("{\"lora_parameters\":{\"scale\":3}}", two));
    assert_non_null(strstr(warned, "'num_layers' is missing"));
    ar_adapter_free(ad);
    refuse(folder("{\"num_layers\":-1,\"lora_parameters\":{\"rank\":2}}", two), AR_ERR_FORMAT, "'scale' of lora_parameters is missing");
    ar_adapter_options o = {.has_alpha = true, .alpha = 3};
    assert_ok(ar_adapter_open(&ad, temp_path("f"), &o, &err), err);
    assert_true(ar_adapter_site(ad, 0).scale == 1.5);
    ar_adapter_free(ad);
    refuse(folder("{\"fine_tune_type\":\"full\"}", two), AR_ERR_UNSUPPORTED, "alphar extract");
    refuse(folder("{\"fine_tune_type\":\"lokr\"}", two), AR_ERR_UNSUPPORTED, "'lokr', wanted lora or dora");
    refuse(folder("{\"lora_parameters\":{\"rank\":0,\"scale\":1}}", two), AR_ERR_FORMAT, "'rank' is 0");
    refuse(folder("{\"lora_parameters\":{\"rank\":3,\"scale\":1}}", two), AR_ERR_MISMATCH, "has rank 2, adapter_config.json says 3");
    refuse(folder("{\"lora_parameters\":{\"scale\":\"1\"}}", two), AR_ERR_FORMAT, "'scale': found string, wanted number");
    refuse(folder("{\"lora_parameters\":{\"scale\":1,\"keys\":[1]}}", two), AR_ERR_FORMAT, "'keys' holds integer");
    refuse(folder("{\"lora_parameters\":[]}", two), AR_ERR_FORMAT, "'lora_parameters'");
    refuse(folder("{", two), AR_ERR_FORMAT, "adapter_config.json");
}

static void tensors_must_make_pairs(void **state) {
    (void)state;
    static const struct {
        struct tensor t[4];
        ar_status status;
        const char *config, *part;
    } bad[] = {
        {{{Q(1) ".lora_a", 2, {4, 2}}}, AR_ERR_FORMAT, CONFIG(""), "has no lora_b"},
        {{{Q(1) ".lora_b", 2, {2, 3}}}, AR_ERR_FORMAT, CONFIG(""), "has no lora_a"},
        {{{Q(1) ".weight", 2, {2, 3}}}, AR_ERR_FORMAT, CONFIG(""), "is no part of an adapter"},
        {{{"lora_a", 2, {2, 3}}}, AR_ERR_FORMAT, CONFIG(""), "is no part of an adapter"},
        {{{".lora_a", 2, {2, 3}}}, AR_ERR_FORMAT, CONFIG(""), "is no part of an adapter"},
        {{{Q(1) ".lora_a", 2, {4, 2}}, {Q(1) ".lora_b", 2, {3, 2}}}, AR_ERR_FORMAT, CONFIG(""), "wanted [in, r] and [r, out]"},
        {{{Q(1) ".lora_a", 2, {4, 0}}, {Q(1) ".lora_b", 2, {0, 2}}}, AR_ERR_FORMAT, CONFIG(""), "wanted [in, r] and [r, out]"},
        {{{Q(1) ".lora_a", 1, {4}}}, AR_ERR_FORMAT, CONFIG(""), "has 1 dimensions, wanted 2"},
        {{{Q(1) ".lora_a", 3, {2, 4, 2}}}, AR_ERR_UNSUPPORTED, CONFIG(""), "a pair for each of 2 experts"},
        {{{Q(1) ".lora_a", 2, {4, 2}}, {Q(1) ".lora_b", 2, {2, 3}}, {Q(1) ".m", 1, {3}}}, AR_ERR_MISMATCH, CONFIG(""), "is no dora"},
        {{{Q(1) ".lora_a", 2, {4, 2}}, {Q(1) ".lora_b", 2, {2, 3}}},
         AR_ERR_MISMATCH,
         "{\"fine_tune_type\":\"dora\",\"lora_parameters\":{\"scale\":1}}",
         "has no magnitudes (m)"},
        {{{Q(1) ".lora_a", 2, {4, 2}}, {Q(1) ".lora_b", 2, {2, 3}}, {Q(1) ".m", 1, {4}}},
         AR_ERR_FORMAT,
         "{\"use_dora\":true,\"lora_parameters\":{\"scale\":1}}",
         "has 4 elements, wanted 3"},
        {{{"model.embed_tokens.lora_a", 2, {4, 2}}, {"model.embed_tokens.lora_b", 2, {2, 3}}, {"model.embed_tokens.m", 1, {4}}},
         AR_ERR_UNSUPPORTED,
         "{\"fine_tune_type\":\"dora\",\"lora_parameters\":{\"scale\":1,\"keys\":[\"model.embed_tokens\"]}}",
         "DoRA of an embedding"},
        {{{"model.layers.1.mlp.up_proj.lora_a", 2, {4, 2}},
          {"model.layers.1.mlp.up_proj.lora_b", 2, {2, 3}},
          {"language_model.model.layers.1.mlp.up_proj.m", 1, {3}}},
         AR_ERR_FORMAT,
         CONFIG(""),
         "has no lora_a"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct tensor t[5] = {bad[i].t[0], bad[i].t[1], bad[i].t[2], bad[i].t[3]};
        refuse(folder(bad[i].config, t), bad[i].status, bad[i].part);
    }
    refuse(folder(CONFIG(""), two + 4), AR_ERR_FORMAT, "holds no adapter tensors");
}

static void embeddings_are_told_by_name(void **state) {
    (void)state;
    static const struct tensor t[] = {{"model.embed_tokens.lora_a", 2, {6, 2}}, {"model.embed_tokens.lora_b", 2, {2, 3}}, {NULL, 0, {0}}};
    ar_error err;
    ar_adapter *ad = open_ok(folder(CONFIG(",\"keys\":[\"model.embed_tokens\"]"), t));
    ar_site s = ar_adapter_site(ad, 0);
    assert_true(s.embedding && s.n_in == 6 && s.n_out == 3);
    assert_non_null(strstr(warned, "mlx-lm applies this pair to the head too"));
    assert_ok(write_mlx(NULL, ad, temp_path("again"), NULL, &err), err); /* it was mlx-lm's meaning already */
    ar_adapter_free(ad);
}

static void folders_are_told_apart(void **state) {
    (void)state;
    temp_text("bare/adapters.safetensors", "x");
    refuse(temp_path("bare"), AR_ERR_NOT_FOUND, "'scale' stands in it");
    temp_text("alone/adapter_config.json", "{\"fine_tune_type\":\"lora\",\"num_layers\":1,\"lora_parameters\":{\"scale\":1}}");
    refuse(temp_path("alone"), AR_ERR_NOT_FOUND, "no adapters.safetensors");
    temp_text("peft/adapter_config.json", "{\"peft_type\":\"LORA\",\"r\":1,\"lora_alpha\":1}");
    temp_text("peft/adapters.safetensors", "x");
    refuse(temp_path("peft"), AR_ERR_NOT_FOUND, "no adapter_model.safetensors");
}

static void an_edited_scale_is_noticed(void **state) {
    (void)state;
    static const struct site sites[] = {{Q(0), 5, 7, 4, 8, AR_POLICY_STANDARD, false, false}, {NULL, 0, 0, 0, 0, 0, false, false}};
    ar_error err;
    ar_adapter *ad = make(sites);
    assert_ok(write_mlx(NULL, ad, temp_path("edited"), NULL, &err), err);
    ar_adapter_free(ad);
    temp_text("edited/adapter_config.json", "{\"num_layers\":-1,\"lora_parameters\":{\"rank\":4,\"scale\":3}}");
    refuse(temp_path("edited"), AR_ERR_MISMATCH, "the metadata says s = 2, adapter_config.json gives 3");
    ar_adapter_options o = {.trust = AR_TRUST_CONFIG};
    assert_ok(ar_adapter_open(&ad, temp_path("edited"), &o, &err), err);
    assert_true(ar_adapter_site(ad, 0).scale == 3);
    ar_adapter_free(ad);
}

/* mlx-vlm's older layers multiplied by alpha itself; newer ones divide by the rank, and the file does not say which. */
static void mlx_vlm_folders_are_read(void **state) {
    (void)state;
    static const struct tensor t[] = {{"language_model." Q(2) ".A", 2, {4, 2}}, {"language_model." Q(2) ".B", 2, {2, 3}}, {NULL, 0, {0}}};
    ar_error err;
    const char *path = folder("{\"rank\": 2, \"alpha\": 0.5, \"dropout\": 0.1}", t);
    ar_adapter *ad = open_ok(path);
    assert_true(ad->pair_count == 1 && ad->pair[0].scale == 0.5 && ad->pair[0].n_in == 4 && ad->pair[0].n_out == 3);
    assert_non_null(strstr(warned, "up to 0.4.4 s is 'alpha', 0.5, since 0.5.0 alpha / rank, 0.25"));
    ar_adapter_free(ad);
    assert_ok(ar_adapter_open(&ad, path, &(ar_adapter_options){.has_alpha = true, .alpha = 0.5}, &err), err);
    assert_true(ad->pair[0].scale == 0.25);
    ar_adapter_free(ad);
    refuse(folder("{\"rank\": 0, \"alpha\": 0.5}", t), AR_ERR_FORMAT, "'rank' is 0");
}

/* A trainer's settings in the configuration are in the one that is written again. */
static void other_fields_are_kept(void **state) {
    (void)state;
    ar_error err;
    json_t *root;
    ar_adapter *ad =
        open_ok(folder("{\"fine_tune_type\": \"lora\", \"num_layers\": -1, \"data\": \"d\", \"learning_rate\": 1e-05, \"nested\": {\"a\": "
                       "[1]}, \"lora_parameters\": {\"rank\": 2, \"scale\": 3.0, \"dropout\": 0.0, \"novel\": 1, \"keys\": "
                       "[\"self_attn.q_proj\"]}}",
                       two));
    assert_non_null(strstr(warned, "'novel' of lora_parameters is not known here"));
    assert_ok(write_mlx(NULL, ad, temp_path("kept"), NULL, &err), err);
    ar_adapter_free(ad);
    assert_ok(ar__json_load_object(&root, temp_path("kept/adapter_config.json"), 1 << 20, &err), err);
    assert_string_equal(json_string_value(json_object_get(root, "data")), "d");
    assert_true(json_real_value(json_object_get(root, "learning_rate")) == 1e-05);
    assert_true(json_is_object(json_object_get(root, "nested")));
    json_decref(root);
}

/* A base that holds nothing but these weights of [5, 7]. */
static const char *base_folder(const char *model_type, const char *const *weights) {
    static const float ones[35];
    ar_error err;
    ar_st_writer *w;
    char config[200];
    snprintf(config, sizeof config, "{\"model_type\": \"%s\", \"num_hidden_layers\": 1}", model_type);
    temp_text("base/config.json", config);
    assert_ok(ar__st_writer_new(&w, &err), err);
    for (; *weights; weights++) assert_ok(ar__st_writer_add(w, *weights, AR_F32, 2, (int64_t[]){5, 7}, ones, &err), err);
    assert_ok(ar__st_writer_save(w, temp_path("base/model.safetensors"), &err), err);
    ar__st_writer_free(w);
    return temp_path("base");
}

static void refuse_name(const char *site, const char *model_type, const char *weight, const char *part) {
    ar_error err;
    const struct site sites[] = {{site, 5, 7, 4, 8, AR_POLICY_STANDARD, false, false}, {NULL, 0, 0, 0, 0, 0, false, false}};
    ar_adapter *ad = make(sites);
    char out[300];
    snprintf(out, sizeof out, "%s", temp_path("no-such"));
    const char *base = base_folder(model_type, (const char *[]){weight, NULL});
    assert_error(write_mlx(NULL, ad, out, base, &err), AR_ERR_UNSUPPORTED, err, part);
    assert_false(file_exists(out));
    ar_adapter_free(ad);
}

/* A text model's adapter on the multimodal checkpoint, and the other way round: the path is the one that the loader has. */
static void names_are_those_of_the_loader(void **state) {
    (void)state;
    static const struct {
        const char *type, *site, *weight, *module, *names;
    } cases[] = {
        {"gemma3", Q(0), "language_model.model.layers.0.self_attn.q_proj.weight", "language_model." Q(0), "mlx-lm 0.32.2: gemma3"},
        {"qwen3_5", Q(0), "model.language_model.layers.0.self_attn.q_proj.weight", "language_model." Q(0), "mlx-lm 0.32.2: qwen3_5"},
        {"mistral3", Q(0), "language_model.model.layers.0.self_attn.q_proj.weight", "language_model." Q(0), "mlx-lm 0.32.2: mistral3"},
        {"gemma3_text", "model.language_model.layers.0.self_attn.q_proj", Q(0) ".weight", Q(0), "mlx-lm 0.32.2: gemma3_text"},
        {"mistral", Q(0), Q(0) ".weight", Q(0), "mlx-lm 0.32.2: llama"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ar_error err;
        ar_proof proof;
        ar_st_set *st;
        char name[200], path[300];
        const struct site sites[] = {{cases[i].site, 5, 7, 4, 8, AR_POLICY_STANDARD, false, false}, {NULL, 0, 0, 0, 0, 0, false, false}};
        ar_adapter *ad = make(sites);
        const char *base = base_folder(cases[i].type, (const char *[]){cases[i].weight, NULL});
        snprintf(path, sizeof path, "%s", base);
        assert_ok(write_mlx(&proof, ad, temp_path("named"), path, &err), err);
        assert_string_equal(proof.names, cases[i].names);
        assert_ok(ar__st_open(&st, temp_path("named/adapters.safetensors"), &err), err);
        snprintf(name, sizeof name, "%s.lora_a", cases[i].module);
        assert_non_null(ar__st_find(st, name));
        ar__st_close(st);
        ar_adapter_free(ad);
    }
    refuse_name("model.layers.0.mlp.experts.0.up_proj", "llama", "model.layers.0.mlp.experts.0.up_proj.weight",
                "'model.layers.0.mlp.switch_mlp.up_proj' is no module that is known of the experts of mlx-lm 0.32.2's llama models");
    refuse_name("model.layers.0.self_attn.novel", "llama", "model.layers.0.self_attn.novel.weight",
                "mlx-lm 0.32.2 has no module 'model.layers.0.self_attn.novel' in its llama models");
    refuse_name(Q(0), "some_new_model", Q(0) ".weight", "model type 'some_new_model' is not among the models of mlx-lm");
}

/* The proof looks at the file alone. */
static void the_proof_sees_a_wrong_name(void **state) {
    (void)state;
    ar_error err;
    ar_base *base;
    assert_ok(
        ar__base_open(&base, base_folder("gemma3", (const char *[]){"language_model.model.layers.2.self_attn.q_proj.weight", NULL}), &err),
        err);
    ar_write_context c = {.path = folder(CONFIG(""), two), .base = base};
    assert_error(ar__format_mlx.prove_names(&c, &err), AR_ERR_MISMATCH, err, "mlx-lm 0.32.2 has no such module in its gemma3 models");
    ar__base_close(base);
}

#define EXPERT(n) "model.layers.0.mlp.experts." #n ".up_proj"
#define STACK "model.layers.0.mlp.switch_mlp.up_proj"

/* mlx-lm has one module for the experts of a layer: [E, r, in] and [E, out, r], of another s and rank as the others. */
static void experts_are_stacked(void **state) {
    (void)state;
    static const char *const weights[] = {EXPERT(0) ".weight", EXPERT(1) ".weight", Q(0) ".weight", NULL};
    static const struct site sites[] = {{EXPERT(1), 5, 7, 4, 8, AR_POLICY_STANDARD, false, false},
                                        {EXPERT(0), 5, 7, 2, 8, AR_POLICY_STANDARD, false, false},
                                        {Q(0), 5, 7, 4, 8, AR_POLICY_STANDARD, false, false},
                                        {NULL, 0, 0, 0, 0, 0, false, false}};
    ar_error err;
    ar_proof proof;
    ar_st_set *st;
    char base[300];
    ar_adapter *ad = make(sites), *back;
    snprintf(base, sizeof base, "%s", base_folder("qwen3_moe", weights));
    assert_ok(write_mlx(&proof, ad, temp_path("stacked"), base, &err), err);
    assert_true(proof.sites == 3 && proof.max_relative < 1e-6);
    assert_string_equal(proof.names, "mlx-lm 0.32.2: qwen3_moe");
    assert_ok(ar__st_open(&st, temp_path("stacked/adapters.safetensors"), &err), err);
    assert_int_equal(ar__st_count(st), 4);
    const ar_tensor *a = ar__st_find(st, STACK ".lora_a"), *b = ar__st_find(st, STACK ".lora_b");
    assert_true(a && b && a->dims == 3 && a->shape[0] == 2 && a->shape[1] == 4 && a->shape[2] == 7);
    assert_true(b->shape[0] == 2 && b->shape[1] == 5 && b->shape[2] == 4);
    const float *x = a->data, *y = b->data;
    for (int i = 0; i < 7; i++) {
        assert_true(x[i] == ad->pair[1].a[i] && x[21 + i] == 0); /* expert 0, padded from rank 2 */
        assert_true(x[28 + i] == ad->pair[0].a[i]);              /* expert 1 */
    }
    assert_true(y[20] == ad->pair[0].b[0] && y[0] == 2 * ad->pair[1].b[0]); /* s is 2 in the file and 4 at expert 0 */
    ar__st_close(st);
    back = open_ok(temp_path("stacked"));
    assert_int_equal(back->pair_count, 3);
    assert_non_null(ar__adapter_find_pair(back, EXPERT(1)));
    assert_ok(write_mlx(&proof, back, temp_path("again"), NULL, &err), err); /* what came from mlx-lm needs no base */
    assert_true(proof.max_relative == 0 && proof.sites == 3);
    ar_adapter_free(back);
    ad->pair_count = 1; /* expert 0 is missing */
    assert_error(write_mlx(NULL, ad, temp_path("half"), base, &err), AR_ERR_UNSUPPORTED, err, "pairs for 1 of 2 of them");
    assert_error(write_mlx(NULL, ad, temp_path("half"), NULL, &err), AR_ERR_UNSUPPORTED, err, "give --model BASE");
    assert_false(file_exists(temp_path("half")));
    ad->pair_count = 3;
    ar_adapter_free(ad);
}

/* gemma 4's have a holder of their own, beside which its dense MLP stands. */
static void gemma4_has_another_holder(void **state) {
    (void)state;
    static const char *const weights[] = {"model.layers.0.experts.0.up_proj.weight", "model.layers.0.experts.1.up_proj.weight", NULL};
    static const struct site sites[] = {{"model.layers.0.experts.0.up_proj", 5, 7, 4, 8, AR_POLICY_STANDARD, false, false},
                                        {"model.layers.0.experts.1.up_proj", 5, 7, 4, 8, AR_POLICY_STANDARD, false, false},
                                        {NULL, 0, 0, 0, 0, 0, false, false}};
    ar_error err;
    ar_proof proof;
    ar_st_set *st;
    ar_adapter *ad = make(sites), *back;
    assert_ok(write_mlx(&proof, ad, temp_path("glu"), base_folder("gemma4_text", weights), &err), err);
    assert_true(proof.sites == 2 && proof.max_relative == 0);
    assert_ok(ar__st_open(&st, temp_path("glu/adapters.safetensors"), &err), err);
    assert_non_null(ar__st_find(st, "model.layers.0.experts.switch_glu.up_proj.lora_a"));
    ar__st_close(st);
    back = open_ok(temp_path("glu"));
    assert_int_equal(back->pair_count, 2);
    assert_non_null(ar__adapter_find_pair(back, "model.layers.0.experts.1.up_proj"));
    ar_adapter_free(back);
    ar_adapter_free(ad);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mlx_vlm_folders_are_read),
        cmocka_unit_test(other_fields_are_kept),
        cmocka_unit_test(names_are_those_of_the_loader),
        cmocka_unit_test(the_proof_sees_a_wrong_name),
        cmocka_unit_test(experts_are_stacked),
        cmocka_unit_test(gemma4_has_another_holder),
        cmocka_unit_test(scale_is_s_itself),
        cmocka_unit_test(one_scale_and_one_rank_hold_for_all),
        cmocka_unit_test(scales_of_nothing_but_zero_stay_zero),
        cmocka_unit_test(dora_goes_through),
        cmocka_unit_test(families_have_their_own_names),
        cmocka_unit_test(what_has_no_place_is_refused),
        cmocka_unit_test(dropped_sites_are_errors),
        cmocka_unit_test(the_base_says_what_there_is),
        cmocka_unit_test(configurations_are_read_as_mlx_reads_them),
        cmocka_unit_test(tensors_must_make_pairs),
        cmocka_unit_test(embeddings_are_told_by_name),
        cmocka_unit_test(folders_are_told_apart),
        cmocka_unit_test(an_edited_scale_is_noticed),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
