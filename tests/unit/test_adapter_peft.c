/* PEFT folders: configurations, good and broken weights, what is written.  PEFT's own view is in tests/oracle. */
#include <glob.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "adapter/peft.h"
#include "base/file.h"
#include "format/safetensors.h"
#include "util.h"

#define CONFIG "\"peft_type\":\"LORA\",\"r\":2,\"lora_alpha\":4,\"target_modules\":[\"q\",\"v\",\"e\"]"
#define P "base_model.model."

/* A tensor of ones but for an optional last element. */
struct tensor {
    const char *name;
    ar_dtype dtype;
    int dims;
    int64_t shape[3];
    float last;
};
#define A                                                                                                                                  \
    { P "m.q.lora_A.weight", AR_F32, 2, {2, 3}, 1 }
#define B                                                                                                                                  \
    { P "m.q.lora_B.weight", AR_F32, 2, {4, 2}, 1 }
#define END                                                                                                                                \
    { NULL, AR_F32, 0, {0}, 0 }

static const char *folder(const char *config, const struct tensor *t, const char *scales) {
    ar_error err;
    ar_st_writer *w;
    char text[8000], *data[16];
    int n = 0;
    snprintf(text, sizeof text, "{%s}", config);
    temp_text("ad/adapter_config.json", text);
    assert_ok(ar__st_writer_new(&w, &err), err);
    if (scales) assert_ok(ar__st_writer_meta(w, "alphar.scales", scales, &err), err);
    for (; t->name; t++) {
        size_t count = 1;
        for (int i = 0; i < t->dims; i++) count *= (size_t)t->shape[i];
        float *ones = calloc(count, sizeof *ones);
        data[n] = calloc(count, 8);
        for (size_t i = 0; i < count; i++) ones[i] = i + 1 == count ? t->last : 1;
        if (ar__dtype(t->dtype)->from_f32) ar__dtype(t->dtype)->from_f32(data[n], ones, count);
        free(ones);
        assert_ok(ar__st_writer_add(w, t->name, t->dtype, t->dims, t->shape, data[n++], &err), err);
    }
    assert_ok(ar__st_writer_save(w, temp_path("ad/adapter_model.safetensors"), &err), err);
    ar__st_writer_free(w);
    while (n) free(data[--n]);
    return temp_path("ad");
}

static ar_adapter *good(const char *config, const struct tensor *t) {
    ar_error err;
    ar_adapter *ad;
    assert_ok(ar_adapter_open(&ad, folder(config, t, NULL), NULL, &err), err);
    assert_ok(ar__adapter_load(ad, &err), err);
    return ad;
}

static void refuse(const char *config, const struct tensor *t, ar_status status, const char *part) {
    ar_error err;
    ar_adapter *ad;
    assert_error(ar_adapter_open(&ad, folder(config, t, NULL), NULL, &err), status, err, part);
    assert_null(ad);
}

/* Numbers are looked at when they are loaded. */
static void refuse_numbers(const struct tensor *t, const char *part) {
    ar_error err;
    ar_adapter *ad;
    assert_ok(ar_adapter_open(&ad, folder(CONFIG, t, NULL), NULL, &err), err);
    assert_error(ar__adapter_load(ad, &err), AR_ERR_NUMERIC, err, part);
    ar_adapter_free(ad);
}

static void refuse_config(const char *config, ar_status status, const char *part) {
    refuse(config, (struct tensor[]){A, B, END}, status, part);
}

static void fields_are_handled_harmless_or_refused(void **state) {
    (void)state;
    refuse_config("\"peft_type\":\"IA3\"", AR_ERR_UNSUPPORTED, "peft_type is IA3, wanted LORA");
    refuse_config("\"r\":2", AR_ERR_FORMAT, "'peft_type' is missing");
    refuse_config(CONFIG ",\"layer_replication\":[[0,4],[2,5]]", AR_ERR_UNSUPPORTED, "'layer_replication' is on");
    refuse_config(CONFIG ",\"trainable_token_indices\":[1]", AR_ERR_UNSUPPORTED, "'trainable_token_indices' is on");
    refuse_config(CONFIG ",\"use_qalora\":true", AR_ERR_UNSUPPORTED, "'use_qalora' is on");
    refuse_config(CONFIG ",\"kasa_config\":{\"a\":1}", AR_ERR_UNSUPPORTED, "'kasa_config' is on");
    refuse_config(CONFIG ",\"enable_lora\":[true,false,true]", AR_ERR_UNSUPPORTED, "MergedLinear");
    refuse_config(CONFIG ",\"init_lora_weights\":\"pissa_niter_4\"", AR_ERR_UNSUPPORTED, "changed the base's weights");
    refuse_config(CONFIG ",\"init_lora_weights\":\"lora_ga\"", AR_ERR_UNSUPPORTED, "changed the base's weights");
    refuse_config(CONFIG ",\"init_lora_weights\":\"new\"", AR_ERR_UNSUPPORTED, "which is unknown");
    refuse_config(CONFIG ",\"init_lora_weights\":\"PiSSA\"", AR_ERR_UNSUPPORTED, "changed the base's weights");
    ar_adapter_free(good(CONFIG ",\"init_lora_weights\":\"Gaussian\"", (struct tensor[]){A, B, END}));
    refuse_config(CONFIG ",\"init_lora_weights\":3", AR_ERR_FORMAT, "found integer");
    refuse_config(CONFIG ",\"bias\":\"some\"", AR_ERR_FORMAT, "'bias' is 'some', wanted none, all or lora_only");
    refuse_config(CONFIG ",\"use_dora\":\"yes\"", AR_ERR_FORMAT, "'use_dora': found string, wanted true or false");
    refuse_config(CONFIG ",\"rank_pattern\":{\"q\":0}", AR_ERR_FORMAT, "'rank_pattern': 'q' is no rank");
    refuse_config(CONFIG ",\"alpha_pattern\":{\"q\":\"4\"}", AR_ERR_FORMAT, "'alpha_pattern': 'q' is no number");
    refuse_config(CONFIG ",\"modules_to_save\":[1]", AR_ERR_FORMAT, "'modules_to_save' holds integer, wanted strings");
    refuse_config("\"peft_type\":\"LORA\",\"lora_alpha\":1,\"r\":0", AR_ERR_FORMAT, "'r' is 0");
    refuse_config("\"peft_type\":\"LORA\",\"lora_alpha\":NaN", AR_ERR_FORMAT, "adapter_config.json: 'lora_alpha': found ");
    refuse_config("\"peft_type\":\"LORA\",\"lora_alpha\":1e999", AR_ERR_FORMAT, "adapter_config.json: 'lora_alpha': found ");
    refuse_config("\"peft_type\":\"LORA\",\"lora_alpha\":\"16\"", AR_ERR_FORMAT, "'lora_alpha': found string, wanted number");
    ar_adapter_free(good(
        CONFIG ",\"unheard_of\":null,\"another\":{},\"third\":[],\"fourth\":\"\",\"fifth\":false,\"use_bdlora\":null,"
               "\"init_lora_weights\":\"eva\",\"eva_config\":{\"rho\":2},\"velora_config\":{\"x\":1},\"auto_mapping\":{\"a\":\"b\"},"
               "\"neftune_noise_alpha\":5.0,\"bos_token\":\"<s>\",\"_commit_hash\":\"ab\",\"merge_weights\":true,"
               "\"megatron_core\":\"megatron.core\",\"peft_version\":\"0.99\",\"exclude_modules\":\"\",\"runtime_config\":{\"a\":true}",
        (struct tensor[]){A, B, END}));
}

static void alpha_is_exact_or_supplied(void **state) {
    (void)state;
    static const double alphas[] = {0, -3, 0.3, 22.627416997969522};
    ar_error err;
    ar_adapter *ad;
    for (size_t i = 0; i < sizeof alphas / sizeof *alphas; i++) {
        char config[200];
        snprintf(config, sizeof config, "\"peft_type\":\"LORA\",\"lora_alpha\":%.17g", alphas[i]);
        ad = good(config, (struct tensor[]){A, B, END});
        assert_true(ar_adapter_site(ad, 0).alpha == alphas[i] && ar_adapter_site(ad, 0).scale == alphas[i] / 2);
        ar_adapter_free(ad);
    }
    refuse_config("\"peft_type\":\"LORA\",\"r\":2", AR_ERR_FORMAT, "adapter_config.json: 'lora_alpha' is missing");
    refuse_config("\"peft_type\":\"LORA\",\"r\":2", AR_ERR_FORMAT, "--alpha");
    ar_adapter_options o = {.has_alpha = true, .alpha = 7};
    assert_ok(ar_adapter_open(&ad, folder("\"peft_type\":\"LORA\",\"use_rslora\":true", (struct tensor[]){A, B, END}, NULL), &o, &err),
              err);
    assert_true(ar_adapter_site(ad, 0).scale == 7 / sqrt(2));
    ar_adapter_free(ad);
    assert_ok(ar_adapter_open(&ad, folder(CONFIG, (struct tensor[]){A, B, END}, NULL), &o, &err), err);
    assert_true(ar_adapter_site(ad, 0).alpha == 4); /* only stands in */
    ar_adapter_free(ad);
}

static void broken_weights_are_errors(void **state) {
    (void)state;
    refuse(CONFIG, (struct tensor[]){A, END}, AR_ERR_FORMAT, "site 'm.q' has no lora_B");
    refuse(CONFIG, (struct tensor[]){B, END}, AR_ERR_FORMAT, "site 'm.q' has no lora_A");
    refuse(CONFIG, (struct tensor[]){END}, AR_ERR_FORMAT, "holds no adapter tensors");
    refuse(CONFIG, (struct tensor[]){A, {P "m.q.lora_B.weight", AR_F32, 2, {4, 3}, 1}, END}, AR_ERR_FORMAT,
           "wanted A's rows to be B's columns");
    refuse_numbers((struct tensor[]){{P "m.q.lora_A.weight", AR_F32, 2, {2, 3}, NAN}, B, END},
                   "'" P "m.q.lora_A.weight' holds NaN at element 5");
    refuse_numbers((struct tensor[]){A, {P "m.q.lora_B.weight", AR_BF16, 2, {4, 2}, INFINITY}, END}, "holds infinity at element 7");
    refuse(CONFIG, (struct tensor[]){A, {P "m.q.lora_B.weight", AR_I32, 2, {4, 2}, 1}, END}, AR_ERR_UNSUPPORTED, "has dtype I32");
    refuse(CONFIG, (struct tensor[]){A, {P "m.q.lora_B.weight", AR_F32, 3, {4, 2, 1}, 1}, END}, AR_ERR_UNSUPPORTED, "convolution");
    refuse(CONFIG, (struct tensor[]){{P "m.q.lora_A.weight", AR_F32, 2, {0, 3}, 1}, {P "m.q.lora_B.weight", AR_F32, 2, {4, 0}, 1}, END},
           AR_ERR_FORMAT, "is empty");
    refuse(CONFIG, (struct tensor[]){{P "m.q.lora_A.weight", AR_F32, 2, {3, 3}, 1}, {P "m.q.lora_B.weight", AR_F32, 2, {4, 3}, 1}, END},
           AR_ERR_MISMATCH, "site 'm.q' has rank 3, adapter_config.json says 2");
    refuse(CONFIG ",\"rank_pattern\":{\"q\":9}", (struct tensor[]){A, B, END}, AR_ERR_MISMATCH, "has rank 2, adapter_config.json says 9");
    refuse(CONFIG, (struct tensor[]){A, B, {P "m.q.lora_embedding_A", AR_F32, 2, {2, 3}, 1}, END}, AR_ERR_FORMAT,
           "both a linear layer and an embedding");
    refuse(CONFIG, (struct tensor[]){A, B, {P "m.q.lora_A.other.weight", AR_F32, 2, {2, 3}, 5}, END}, AR_ERR_FORMAT,
           "the file holds several adapters");
    refuse(CONFIG, (struct tensor[]){A, B, {"m.v.step", AR_F32, 2, {2, 3}, 1}, END}, AR_ERR_FORMAT, "tensor 'm.v.step' is no part");
    refuse(CONFIG, (struct tensor[]){A, B, {P "m.q.lora_E", AR_F32, 2, {2, 1}, 1}, END}, AR_ERR_UNSUPPORTED,
           "m.q.lora_E' belongs to AdaLoRA");
    refuse(CONFIG, (struct tensor[]){A, B, {P "e.token_adapter.trainable_tokens_delta", AR_F32, 2, {2, 3}, 1}, END}, AR_ERR_UNSUPPORTED,
           "trained tokens");
    refuse(CONFIG ",\"use_dora\":true", (struct tensor[]){A, B, END}, AR_ERR_MISMATCH,
           "'use_dora' is on, but site 'm.q' has no such tensor");
    refuse(CONFIG, (struct tensor[]){A, B, {P "m.q.lora_magnitude_vector", AR_F32, 1, {4}, 1}, END}, AR_ERR_MISMATCH, "'use_dora' is off");
    refuse(CONFIG ",\"use_dora\":true", (struct tensor[]){A, B, {P "m.q.lora_magnitude_vector", AR_F32, 1, {5}, 1}, END}, AR_ERR_FORMAT,
           "has 5 elements, wanted 4");
    refuse(CONFIG,
           (struct tensor[]){A, B, {P "h.weight", AR_F32, 1, {4}, 1}, {P "h.modules_to_save.default.weight", AR_F32, 1, {4}, 2}, END},
           AR_ERR_FORMAT, "h.weight' are the same tensor of the base, and their values differ");
}

/* What is no LoRA is no tensor that was saved whole, either. */
static void other_methods_are_refused_by_name(void **state) {
    (void)state;
    static const char *const keys[][2] = {{P "m.k.ia3_l", "IA3"},
                                          {P "m.q.hada_w1_a", "LoHa"},
                                          {P "m.q.lokr_w1", "LoKr"},
                                          {P "m.q.oft_r", "OFT"},
                                          {P "m.q.oft_R.weight", "OFT"},
                                          {P "m.q.boft_R", "BOFT"},
                                          {P "m.q.vera_lambda_b", "VeRA"},
                                          {"base_model.vera_A", "VeRA"},
                                          {P "m.q.vblora_logits_A", "VB-LoRA"},
                                          {P "m.q.lora_E", "AdaLoRA"},
                                          {P "m.q.ranknum", "AdaLoRA"},
                                          {P "m.q.fourierft_spectrum", "FourierFT"},
                                          {P "m.q.hra_u", "HRA"},
                                          {P "m.q.miss_block", "MiSS"},
                                          {P "m.q.randlora_lambda", "RandLoRA"},
                                          {P "m.n.ln_tuning_layers.weight", "LN tuning"},
                                          {"prompt_embeddings", "prompt tuning"},
                                          {P "m.q.road_theta", "RoAd"}};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        char part[100];
        snprintf(part, sizeof part, "%s' belongs to %s,", keys[i][0], keys[i][1]);
        refuse(CONFIG, (struct tensor[]){A, B, {keys[i][0], AR_F32, 2, {2, 1}, 1}, END}, AR_ERR_UNSUPPORTED, part);
    }
    refuse(CONFIG, (struct tensor[]){A, B, {P "m.q.scaling", AR_F32, 1, {1}, 1}, END}, AR_ERR_FORMAT, "m.q.scaling' is no part");
    refuse(CONFIG, (struct tensor[]){A, B, {P "foo", AR_F32, 1, {1}, 1}, END}, AR_ERR_FORMAT, "foo' is no part");
    /* Modules may be called anything where the configuration says that they were saved. */
    ar_adapter *ad =
        good(CONFIG ",\"modules_to_save\":[\"mixer\",\"oft_head\"]",
             (struct tensor[]){A, B, {P "l.0.mixer.A_log", AR_F32, 1, {4}, 1}, {P "oft_head.weight", AR_F32, 2, {4, 2}, 1}, END});
    assert_int_equal(ar_adapter_whole_count(ad), 2);
    ar_adapter_free(ad);
}

static void a_weight_is_not_whole_and_a_pair(void **state) {
    (void)state;
    refuse(CONFIG, (struct tensor[]){A, B, {P "m.q.weight", AR_F32, 2, {4, 3}, 1}, END}, AR_ERR_UNSUPPORTED, "replaces it and adds to it");
    ar_adapter_free(good(CONFIG ",\"bias\":\"lora_only\"", (struct tensor[]){A, B, {P "m.q.bias", AR_F32, 1, {4}, 1}, END}));
}

static void keys_of_all_ages_are_read(void **state) {
    (void)state;
    ar_adapter *ad = good(CONFIG ",\"use_dora\":true,\"bias\":\"lora_only\"",
                          (struct tensor[]){{P P "l.10.q.lora_A.default.weight", AR_F16, 2, {2, 3}, 0.5F},
                                            {P P "l.10.q.lora_B.default.weight", AR_BF16, 2, {4, 2}, 0.5F},
                                            {P P "l.10.q.lora_magnitude_vector.default.weight", AR_F32, 2, {1, 4}, 2},
                                            {P "l.2.q.lora_A.weight", AR_F32, 2, {2, 3}, 1},
                                            {P "l.2.q.lora_B.weight", AR_F32, 2, {4, 2}, 1},
                                            {P "l.2.q.lora_magnitude_vector", AR_F32, 1, {4}, 3},
                                            {P "l.2.q.base_layer.bias", AR_F32, 1, {4}, 1},
                                            {P "e.lora_embedding_A", AR_F32, 2, {2, 7}, 1},
                                            {P "e.lora_embedding_B", AR_F32, 2, {4, 2}, 1},
                                            {P "e.lora_magnitude_vector.weight", AR_F32, 1, {4}, 1},
                                            {P "e.base_layer.weight", AR_F32, 2, {7, 4}, 1},
                                            {P "h.original_module.weight", AR_F32, 1, {4}, 1},
                                            {P "h.modules_to_save.default.weight", AR_F32, 1, {4}, 1},
                                            END});
    assert_int_equal(ar_adapter_site_count(ad), 3);
    assert_string_equal(ar_adapter_site(ad, 1).name, "l.2.q"); /* in the order of numbers */
    assert_string_equal(ar_adapter_site(ad, 2).name, "l.10.q");
    assert_true(ar_adapter_site(ad, 0).embedding && ar_adapter_site(ad, 0).n_in == 7 && ar_adapter_site(ad, 0).dora);
    assert_true(ad->pair[2].a[5] == 0.5F && ad->pair[2].b[7] == 0.5F && ad->pair[2].magnitude[3] == 2 && ad->pair[2].a[0] == 1);
    assert_int_equal(ar_adapter_whole_count(ad), 2);
    assert_non_null(ar__adapter_find_whole(ad, "h.weight"));
    assert_non_null(ar__adapter_find_whole(ad, "l.2.q.bias"));
    ar_adapter_free(ad);
}

static void metadata_and_configuration_must_agree(void **state) {
    (void)state;
    ar_error err;
    ar_adapter *ad;
    const struct tensor pair[] = {A, B, END};
    ar_adapter_options o = {0};
    assert_ok(ar_adapter_open(&ad, folder(CONFIG, pair, "{\"m.q\":2,\"gone\":5}"), &o, &err), err);
    ar_adapter_free(ad);
    assert_error(ar_adapter_open(&ad, folder(CONFIG, pair, "{\"m.q\":1.5}"), &o, &err), AR_ERR_MISMATCH, err, "the metadata says s = 1.5");
    assert_error(ar_adapter_open(&ad, temp_path("ad"), &o, &err), AR_ERR_MISMATCH, err, "--trust config or --trust metadata");
    o.trust = AR_TRUST_METADATA;
    assert_ok(ar_adapter_open(&ad, temp_path("ad"), &o, &err), err);
    assert_true(ar_adapter_site(ad, 0).scale == 1.5 && ar_adapter_site(ad, 0).alpha == 3);
    ar_adapter_free(ad);
    o.trust = AR_TRUST_CONFIG;
    assert_ok(ar_adapter_open(&ad, temp_path("ad"), &o, &err), err);
    assert_true(ar_adapter_site(ad, 0).scale == 2);
    ar_adapter_free(ad);
    o.trust = AR_TRUST_NONE;
    assert_error(ar_adapter_open(&ad, folder(CONFIG, pair, "{\"m.q\":"), &o, &err), AR_ERR_FORMAT, err, "metadata alphar.scales:1:");
}

static void saved_adapter_is_read_back(void **state) {
    (void)state;
    ar_error err;
    ar_adapter *ad, *again;
    const char *dir = temp_path("saved/here");
    ad = good(CONFIG ",\"rank_pattern\":{\"v\":1},\"alpha_pattern\":{\"v\":0.7},\"use_rslora\":true,\"lora_dropout\":0.05,\"base_model_"
                     "name_or_path\":\"b\"",
              (struct tensor[]){A, B, {P "m.v.lora_A.weight", AR_F32, 2, {1, 3}, 2}, {P "m.v.lora_B.weight", AR_F32, 2, {4, 1}, 3}, END});
    assert_ok(ar_adapter_set_scale(ad, 0.3, &err), err);
    assert_ok(ar__adapter_set_note(ad, "base.weights", "abc", &err), err);
    assert_ok(ar_adapter_save(ad, dir, false, &err), err);
    assert_ok(ar_adapter_open(&again, dir, NULL, &err), err);
    assert_ok(ar__adapter_load(again, &err), err);
    for (int i = 0; i < 2; i++) {
        assert_true(ar_adapter_site(again, i).scale == 0.3);
        assert_memory_equal(again->pair[i].a, ad->pair[i].a, (size_t)ad->pair[i].rank * 3 * sizeof(float));
        assert_memory_equal(again->pair[i].b, ad->pair[i].b, (size_t)ad->pair[i].rank * 4 * sizeof(float));
    }
    assert_string_equal(ar_adapter_base(again), "b");
    assert_string_equal(ar__adapter_note(again, "base.weights"), "abc");
    assert_null(ar__adapter_note(again, "scales"));
    char *text = read_file(temp_path("saved/here/adapter_config.json"), NULL);
    assert_non_null(strstr(text, "\"^m\\\\.v\": 1"));
    assert_non_null(strstr(text, "\"lora_dropout\": 0.05"));
    assert_non_null(strstr(text, "\"inference_mode\": true"));
    free(text);
    ar_adapter_free(again);
    ar_adapter_free(ad);
}

static void saving_is_careful(void **state) {
    (void)state;
    ar_error err;
    ar_adapter *ad = good(CONFIG, (struct tensor[]){A, B, END});
    const char *dir = temp_path("careful");
    assert_ok(ar_adapter_save(ad, dir, false, &err), err);
    assert_error(ar_adapter_save(ad, dir, false, &err), AR_ERR_EXISTS, err, "--overwrite");
    assert_ok(ar_adapter_save(ad, dir, true, &err), err);
    temp_text("file", "x");
    assert_error(ar_adapter_save(ad, temp_path("file"), true, &err), AR_ERR_EXISTS, err, "is a file");
    free(ad->pair[0].site); /* a failure half-way: the old folder stands, nothing is left beside it */
    ad->pair[0].site = strdup("bad\xff");
    assert_error(ar_adapter_save(ad, dir, true, &err), AR_ERR_VALUE, err, "UTF-8");
    assert_error(ar_adapter_save(ad, temp_path("fresh"), true, &err), AR_ERR_VALUE, err, "UTF-8");
    ar_adapter_free(ad);
    assert_ok(ar_adapter_open(&ad, dir, NULL, &err), err);
    ar_adapter_free(ad);
    glob_t g;
    assert_int_equal(glob(temp_path("careful/.new-*"), 0, NULL, &g), GLOB_NOMATCH);
    assert_false(file_exists(temp_path("fresh")));
}

static void places_without_an_adapter(void **state) {
    (void)state;
    ar_error err;
    ar_adapter *ad;
    assert_error(ar_adapter_open(&ad, temp_path("nowhere"), NULL, &err), AR_ERR_NOT_FOUND, err, "no such adapter");
    temp_text("bare/x", "");
    assert_error(ar_adapter_open(&ad, temp_path("bare"), NULL, &err), AR_ERR_NOT_FOUND, err, "no adapter_config.json");
    temp_text("alone/adapter_config.json", "{" CONFIG "}");
    assert_error(ar_adapter_open(&ad, temp_path("alone"), NULL, &err), AR_ERR_NOT_FOUND, err, "no adapter_model.safetensors");
    temp_text("alone/adapter_model.bin", "");
    assert_error(ar_adapter_open(&ad, temp_path("alone"), NULL, &err), AR_ERR_UNSUPPORTED, err, "pickle");
    temp_text("alone/adapter_model.safetensors", "version https://git-lfs.github.com/spec/v1\n");
    assert_error(ar_adapter_open(&ad, temp_path("alone"), NULL, &err), AR_ERR_FORMAT, err, "git lfs pull");
    folder(CONFIG, (struct tensor[]){A, B, END}, NULL);
    static const char *const inside[] = {"ad/adapter_model.safetensors", "ad/adapter_config.json"}; /* stand for their folder */
    for (int i = 0; i < 2; i++) {
        assert_ok(ar_adapter_open(&ad, temp_path(inside[i]), NULL, &err), err);
        assert_true(ad->pair_count == 1);
        ar_adapter_free(ad);
    }
    assert_int_equal(unlink(temp_path("ad/adapter_config.json")), 0);
    assert_error(ar_adapter_open(&ad, temp_path("ad/adapter_model.safetensors"), NULL, &err), AR_ERR_UNSUPPORTED, err, "wanted its folder");
    temp_text("model/config.json", "{}");
    assert_error(ar_adapter_open(&ad, temp_path("model"), NULL, &err), AR_ERR_NOT_FOUND, err, "a model's folder");
    assert_error(ar_adapter_open(&ad, temp_path("model/config.json"), NULL, &err), AR_ERR_FORMAT, err, "a JSON text, wanted safetensors");
    temp_text("page.safetensors", "<!DOCTYPE html>");
    assert_error(ar_adapter_open(&ad, temp_path("page.safetensors"), NULL, &err), AR_ERR_FORMAT, err, "a web page");
    temp_text("pointers/a.safetensors", "version https://git-lfs.github.com/spec/v1\n");
    assert_error(ar_adapter_open(&ad, temp_path("pointers"), NULL, &err), AR_ERR_FORMAT, err, "a.safetensors: a Git LFS pointer");
    temp_text("pointers/adapter_config.json", "version https://git-lfs.github.com/spec/v1\n");
    assert_error(ar_adapter_open(&ad, temp_path("pointers"), NULL, &err), AR_ERR_FORMAT, err, "adapter_config.json: a Git LFS pointer");
    assert_error(ar_adapter_open(&ad, material("adapters/bloom-560m"), NULL, &err), AR_ERR_UNSUPPORTED, err, "'enable_lora' is on");
    assert_error(ar_adapter_open(&ad, material("adapters/loralib-roberta/roberta_base_lora_mnli.bin"), NULL, &err), AR_ERR_UNSUPPORTED, err,
                 "pickle");
    assert_ok(ar_adapter_open(&ad, material("adapters/mlx-qwen2.5-0.5b-r8"), NULL, &err), err);
    assert_true(ad->pair_count > 0 && ad->pair[0].scale == 10); /* what MLX calls scale, whatever alpha / rank may say */
    ar_adapter_free(ad);
}

/* Configurations found in public repositories: what is not LoRA in PEFT's form is refused, everything else is read. */
static void real_configurations(void **state) {
    (void)state;
    glob_t g;
    int read = 0, mlx = 0, other = 0;
    char pattern[1000];
    snprintf(pattern, sizeof pattern, "%s/*.json", material("adapter_configs"));
    assert_int_equal(glob(pattern, 0, NULL, &g), 0);
    for (size_t i = 0; i < g.gl_pathc; i++) {
        ar_error err;
        ar_adapter_settings s;
        ar_status status = ar__peft_config_read(&s, g.gl_pathv[i], NULL, &err);
        if (status) {
            print_message("%s\n", strrchr(err.message, '/') + 1);
            assert_int_equal(status, AR_ERR_UNSUPPORTED);
            mlx += strstr(err.message, "MLX") != NULL;
            other += strstr(err.message, "PROMPT_TUNING") || strstr(err.message, "'enable_lora' is on");
        } else {
            assert_true(s.rank >= 1 && s.alpha > 0 && s.policy == AR_POLICY_STANDARD && !s.dora);
            assert_true(s.targets.list.count || s.targets.regex);
            ar__settings_release(&s);
            read++;
        }
    }
    assert_int_equal(read + mlx + other, g.gl_pathc);
    assert_int_equal(mlx, 7);
    assert_true(read >= 44);
    globfree(&g);
}

/* One byte changed at a time in both files: read or refused, never a crash (run it under the sanitizers). */
static void changed_bytes_never_crash(void **state) {
    (void)state;
    static const char values[] = {0, '"', '9', '}', '[', (char)0xff};
    const char *dir =
        folder(CONFIG ",\"alpha_pattern\":{\"q\":2},\"layers_to_transform\":[1]", (struct tensor[]){A, B, END}, "{\"m.q\":1}");
    static const char *const files[] = {"ad/adapter_config.json", "ad/adapter_model.safetensors"};
    for (int f = 0; f < 2; f++) {
        size_t n;
        char *bytes = read_file(temp_path(files[f]), &n);
        for (size_t i = 0; i < n; i++)
            for (size_t v = 0; v < sizeof values; v++) {
                ar_adapter *ad;
                char old = bytes[i];
                bytes[i] = values[v];
                temp_file(files[f], bytes, n);
                if (ar_adapter_open(&ad, dir, NULL, NULL) == AR_OK) ar_adapter_free(ad);
                bytes[i] = old;
            }
        temp_file(files[f], bytes, n);
        free(bytes);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fields_are_handled_harmless_or_refused),
        cmocka_unit_test(alpha_is_exact_or_supplied),
        cmocka_unit_test(broken_weights_are_errors),
        cmocka_unit_test(other_methods_are_refused_by_name),
        cmocka_unit_test(a_weight_is_not_whole_and_a_pair),
        cmocka_unit_test(keys_of_all_ages_are_read),
        cmocka_unit_test(metadata_and_configuration_must_agree),
        cmocka_unit_test(saved_adapter_is_read_back),
        cmocka_unit_test(saving_is_careful),
        cmocka_unit_test(changed_bytes_never_crash),
        cmocka_unit_test(places_without_an_adapter),
        cmocka_unit_test(real_configurations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
