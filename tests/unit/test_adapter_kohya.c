/* kohya and diffusers files: names, alphas, refusals, round trips.  Python's view is in tests/oracle. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "adapter/kohya.h"
#include "base/file.h"
#include "base/mem.h"
#include "util.h"
#include "weights/base.h"

#define FILE_NAME "k.safetensors"
#define UNET "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q"
#define CONV "lora_unet_down_blocks_0_resnets_0_conv1"
#define Q "lora_te_model_layers_0_self_attn_q_proj"
#define MAX_TENSORS 24

/* Numbers from N(0, 1), or `value` in every element where that is not 0. */
struct tensor {
    const char *name;
    ar_dtype dtype;
    int dims;
    int64_t shape[5];
    double value;
};
#define DOWN(module)                                                                                                                       \
    { module ".lora_down.weight", AR_F32, 2, {2, 5}, 0 }
#define UP(module)                                                                                                                         \
    { module ".lora_up.weight", AR_F32, 2, {4, 2}, 0 }
#define ALPHA(module, x)                                                                                                                   \
    { module ".alpha", AR_F32, 0, {0}, x }
#define PAIR(module, x) DOWN(module), UP(module), ALPHA(module, x)
#define END                                                                                                                                \
    { NULL, AR_F32, 0, {0}, 0 }

static void fill(void *out, const struct tensor *t, size_t count, uint64_t seed) {
    float *x = random_f32(count, seed, 1);
    for (size_t i = 0; i < count; i++) {
        if (t->value != 0) x[i] = (float)t->value;
        switch (t->dtype) {
        case AR_F64: ((double *)out)[i] = t->value; break;
        case AR_I64: ((int64_t *)out)[i] = (int64_t)t->value; break;
        case AR_I32: ((int32_t *)out)[i] = (int32_t)t->value; break;
        case AR_I16: ((int16_t *)out)[i] = (int16_t)t->value; break;
        case AR_I8: ((int8_t *)out)[i] = (int8_t)t->value; break;
        case AR_U8: ((uint8_t *)out)[i] = (uint8_t)t->value; break;
        default: break;
        }
    }
    if (ar__dtype(t->dtype)->from_f32) ar__dtype(t->dtype)->from_f32(out, x, count);
    free(x);
}

/* meta: key, value, …, NULL; NULL: none. */
static const char *file(const struct tensor *t, const char *const *meta) {
    ar_error err;
    ar_st_writer *w;
    void *data[MAX_TENSORS];
    int n = 0;
    assert_ok(ar__st_writer_new(&w, &err), err);
    for (; meta && *meta; meta += 2) assert_ok(ar__st_writer_meta(w, meta[0], meta[1], &err), err);
    for (; t->name; t++, n++) {
        size_t count = 1;
        for (int i = 0; i < t->dims; i++) count *= (size_t)t->shape[i];
        assert_true(n < MAX_TENSORS);
        data[n] = calloc(count + 1, 8);
        fill(data[n], t, count, (uint64_t)n + 1);
        assert_ok(ar__st_writer_add(w, t->name, t->dtype, t->dims, t->shape, data[n], &err), err);
    }
    assert_ok(ar__st_writer_save(w, temp_path(FILE_NAME), &err), err);
    ar__st_writer_free(w);
    while (n) free(data[--n]);
    return temp_path(FILE_NAME);
}

static ar_adapter *open_file(const char *path) {
    ar_error err;
    ar_adapter *ad;
    assert_ok(ar_adapter_open(&ad, path, NULL, &err), err);
    assert_string_equal(ar_adapter_format(ad), "kohya");
    return ad;
}

static ar_adapter *good(const struct tensor *t) { return open_file(file(t, NULL)); }

static void refuse(const struct tensor *t, ar_status status, const char *part) {
    ar_error err;
    ar_adapter *ad;
    assert_error(ar_adapter_open(&ad, file(t, NULL), NULL, &err), status, err, part);
    assert_null(ad);
}

static void write_as(const char *format, ar_adapter *ad, const char *path, const char *dtype, ar_proof *proof) {
    ar_error err;
    ar_runtime *rt;
    ar_write_options o = {.format = format, .dtype = dtype, .overwrite = true};
    assert_ok(ar_runtime_new(&rt, NULL, &err), err);
    assert_ok(ar_adapter_write(proof, ad, rt, path, &o, &err), err);
    ar_runtime_free(rt);
}

static void refuse_write(ar_adapter *ad, ar_status status, const char *part) {
    ar_error err;
    ar_runtime *rt;
    ar_write_options o = {.format = "kohya", .overwrite = true};
    const char *path = temp_path("refused.safetensors");
    assert_ok(ar_runtime_new(&rt, NULL, &err), err);
    assert_error(ar_adapter_write(NULL, ad, rt, path, &o, &err), status, err, part);
    assert_false(file_exists(path));
    ar_runtime_free(rt);
}

/* ---- alpha ------------------------------------------------------------------------------------------------------- */

static void alpha_of_any_type_is_exact(void **state) {
    (void)state;
    static const struct {
        ar_dtype type;
        double alpha;
    } cases[] = {{AR_F32, 0.75}, {AR_F16, -1.5}, {AR_BF16, 8}, {AR_F64, 0.1}, {AR_I64, 16},
                 {AR_I32, -3},   {AR_I16, 7},    {AR_I8, -1},  {AR_U8, 200}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        for (int dims = 0; dims < 2; dims++) {
            struct tensor t[] = {DOWN(UNET), UP(UNET), {UNET ".alpha", cases[i].type, dims, {1}, cases[i].alpha}, END};
            ar_adapter *ad = good(t);
            ar_site s = ar_adapter_site(ad, 0);
            assert_int_equal(ar_adapter_site_count(ad), 1);
            assert_true(s.rank == 2 && s.n_in == 5 && s.n_out == 4 && s.alpha == cases[i].alpha && s.scale == cases[i].alpha / 2);
            ar_adapter_free(ad);
        }
    }
}

/* Half-precision files round a fractional alpha when they are saved; what they hold counts. */
static void alpha_is_what_the_file_holds(void **state) {
    (void)state;
    ar_adapter *ad = good((struct tensor[]){DOWN(UNET), UP(UNET), {UNET ".alpha", AR_F16, 0, {0}, 0.3}, END});
    assert_true(ar_adapter_site(ad, 0).alpha == 0.300048828125);
    ar_adapter_free(ad);
}

static void wrong_alphas_are_refused(void **state) {
    (void)state;
    refuse((struct tensor[]){PAIR(UNET, NAN), END}, AR_ERR_NUMERIC, "'" UNET ".alpha' is nan, wanted a finite number");
    refuse((struct tensor[]){DOWN(UNET), UP(UNET), {UNET ".alpha", AR_F16, 0, {0}, INFINITY}, END}, AR_ERR_NUMERIC, "is inf, wanted");
    refuse((struct tensor[]){DOWN(UNET), UP(UNET), {UNET ".alpha", AR_F32, 1, {2}, 1}, END}, AR_ERR_FORMAT, "has 2 elements, wanted one");
    refuse((struct tensor[]){DOWN(UNET), UP(UNET), {UNET ".alpha", AR_F32, 1, {0}, 1}, END}, AR_ERR_FORMAT, "has 0 elements, wanted one");
    refuse((struct tensor[]){DOWN(UNET), UP(UNET), {UNET ".alpha", AR_BOOL, 0, {0}, 0}, END}, AR_ERR_UNSUPPORTED,
           "dtype BOOL, wanted a plain");
}

static char warnings[1000];
static void note_warning(void *user, ar_log_level level, const char *text) {
    (void)user;
    (void)level;
    strncat(warnings, text, sizeof warnings - strlen(warnings) - 1);
}

static ar_adapter *open_loud(const char *path, ar_adapter_options o) {
    ar_error err;
    ar_adapter *ad;
    o.log = note_warning;
    warnings[0] = '\0';
    assert_ok(ar_adapter_open(&ad, path, &o, &err), err);
    return ad;
}

static void alpha_missing_or_zero_is_the_rank(void **state) {
    (void)state;
    const char *path = file((struct tensor[]){DOWN("lora_unet_a"),
                                              UP("lora_unet_a"),
                                              DOWN("lora_unet_b"),
                                              UP("lora_unet_b"),
                                              {"lora_unet_b.alpha", AR_I64, 0, {0}, 0},
                                              PAIR("lora_unet_c", 6),
                                              END},
                            NULL);
    ar_adapter *ad = open_loud(path, (ar_adapter_options){0});
    assert_true(ar_adapter_site(ad, 0).scale == 1 && ar_adapter_site(ad, 0).alpha == 2);
    assert_true(ar_adapter_site(ad, 1).scale == 1 && ar_adapter_site(ad, 1).alpha == 2);
    assert_true(ar_adapter_site(ad, 2).scale == 3);
    assert_non_null(strstr(warnings, "1 of 3 modules have no alpha"));
    assert_non_null(strstr(warnings, "1 of 3 modules have alpha 0"));
    ar_adapter_free(ad);
    ad = open_loud(path, (ar_adapter_options){.has_alpha = true, .alpha = 5});
    assert_true(ar_adapter_site(ad, 0).scale == 2.5 && ar_adapter_site(ad, 1).scale == 1 && ar_adapter_site(ad, 2).scale == 3);
    assert_null(strstr(warnings, "no alpha"));
    ar_adapter_free(ad);
    ad = open_loud(file((struct tensor[]){PAIR(UNET, 6), END}, NULL), (ar_adapter_options){0});
    assert_string_equal(warnings, "");
    ar_adapter_free(ad);
}

#define ROW(name, rows, columns)                                                                                                           \
    { name, AR_F32, 2, {rows, columns}, 0 }
#define LORA_AB(module) ROW(module ".lora_A.weight", 2, 5), ROW(module ".lora_B.weight", 4, 2)

/* Under diffusers' names 0 is off, and its Flux loader lends the component's first alpha to modules without one. */
static void alpha_under_diffusers_names(void **state) {
    (void)state;
    const char *path = file((struct tensor[]){LORA_AB("transformer.a"),
                                              ALPHA("transformer.a", 6),
                                              LORA_AB("transformer.b"),
                                              LORA_AB("text_encoder.c"),
                                              {"text_encoder.c.alpha", AR_F64, 0, {0}, 0},
                                              LORA_AB("unet.d"),
                                              {"unet.d.alpha", AR_F64, 0, {0}, 0},
                                              LORA_AB("unet.e"),
                                              END},
                            NULL);
    ar_adapter *ad = open_loud(path, (ar_adapter_options){0});
    assert_true(ar__adapter_find_pair(ad, "transformer.a")->scale == 3);
    assert_true(ar__adapter_find_pair(ad, "transformer.b")->scale == 3); /* a's */
    assert_true(ar__adapter_find_pair(ad, "text_encoder.c")->scale == 0);
    assert_true(ar__adapter_find_pair(ad, "unet.d")->scale == 0);
    assert_true(ar__adapter_find_pair(ad, "unet.e")->scale == 1);
    assert_non_null(strstr(warnings, "2 of 5 modules have alpha 0 under diffusers' names"));
    assert_non_null(strstr(warnings, "1 of 5 modules have no alpha where others of their component have one"));
    assert_non_null(strstr(warnings, "1 of 5 modules have no alpha, which"));
    ar_adapter_free(ad);
    ad = open_loud(path, (ar_adapter_options){.has_alpha = true, .alpha = 5});
    assert_true(ar__adapter_find_pair(ad, "transformer.b")->scale == 2.5);
    ar_adapter_free(ad);
}

/* Names without a component are paths; they are read where the file itself tells alpha. */
static void bare_names_need_an_alpha_in_the_file(void **state) {
    (void)state;
    ar_error err;
    ar_adapter *ad;
    ar_proof proof;
    const struct tensor t[] = {LORA_AB("down.0.to_q"), LORA_AB("down.1.to_q"), LORA_AB("vae.x"), END};
    refuse(t, AR_ERR_UNSUPPORTED, "a safetensors file without kohya pairs");
    const char *meta[] = {"lora_adapter_metadata",
                          "{\"r\":2,\"lora_alpha\":16,\"alpha_pattern\":{\"1.to_q\":4},\"vae.r\":2,\"vae.lora_alpha\":6}", "other", "kept",
                          NULL};
    ad = open_loud(file(t, meta), (ar_adapter_options){0});
    assert_true(ar__adapter_find_pair(ad, "down.0.to_q")->scale == 8);
    assert_true(ar__adapter_find_pair(ad, "down.1.to_q")->scale == 2);
    assert_true(ar__adapter_find_pair(ad, "vae.x")->scale == 3);
    write_as("kohya", ad, temp_path("bare.safetensors"), NULL, &proof);
    write_as("peft", ad, temp_path("bare-peft"), NULL, &proof);
    ar_adapter_free(ad);
    ad = open_file(temp_path("bare.safetensors"));
    assert_true(ar__adapter_find_pair(ad, "down.1.to_q")->scale == 1);
    assert_string_equal(ar__adapter_note(ad, "kohya.other"), "kept");
    ar_adapter_free(ad);
    assert_ok(ar_adapter_open(&ad, temp_path("bare-peft"), NULL, &err), err);
    assert_string_equal(ar__adapter_note(ad, "kohya.other"), "kept");
    ar_adapter_free(ad);
    ad = good((struct tensor[]){LORA_AB("blocks.0.to_q"), ALPHA("blocks.0.to_q", 6), END});
    assert_true(ad->pair[0].scale == 3);
    ar_adapter_free(ad);
}

/* ---- shapes and parts -------------------------------------------------------------------------------------------- */

static void convolutions_keep_their_kernel(void **state) {
    (void)state;
    ar_adapter *ad = good((struct tensor[]){{CONV ".lora_down.weight", AR_F16, 4, {2, 3, 3, 5}, 0},
                                            {CONV ".lora_up.weight", AR_F16, 4, {4, 2, 1, 1}, 0},
                                            {"lora_unet_proj_in.lora_down.weight", AR_F32, 4, {1, 6, 1, 1}, 0},
                                            {"lora_unet_proj_in.lora_up.weight", AR_F32, 4, {4, 1, 1, 1}, 0},
                                            END});
    assert_true(ad->pair[0].n_in == 45 && ad->pair[0].kernel[0] == 3 && ad->pair[0].kernel[1] == 5 && ad->pair[0].n_out == 4);
    assert_true(ad->pair[1].n_in == 6 && ad->pair[1].kernel[0] == 1 && ad->pair[1].kernel[1] == 1 && ad->pair[1].rank == 1);
    ar_adapter_free(ad);
}

static void broken_pairs_are_refused(void **state) {
    (void)state;
    const char *up = UNET ".lora_up.weight", *down = UNET ".lora_down.weight";
    refuse((struct tensor[]){DOWN(UNET), END}, AR_ERR_FORMAT, "module '" UNET "' has no lora_up");
    refuse((struct tensor[]){UP(UNET), ALPHA(UNET, 1), END}, AR_ERR_FORMAT, "has no lora_down");
    refuse((struct tensor[]){PAIR(UNET, 1), ALPHA("lora_unet_x", 1), END}, AR_ERR_FORMAT, "module 'lora_unet_x' has no lora_down");
    refuse((struct tensor[]){DOWN(UNET), {up, AR_F32, 2, {4, 3}, 0}, END}, AR_ERR_FORMAT, "lora_down is [2, 5] and lora_up [4, 3]");
    refuse((struct tensor[]){DOWN(UNET), {up, AR_F32, 1, {4}, 0}, END}, AR_ERR_UNSUPPORTED, "factors of 2 and 1 dimensions");
    refuse((struct tensor[]){DOWN(UNET), {up, AR_F32, 4, {4, 2, 1, 1}, 0}, END}, AR_ERR_UNSUPPORTED, "factors of 2 and 4 dimensions");
    refuse((struct tensor[]){{down, AR_F32, 3, {2, 5, 3}, 0}, {up, AR_F32, 3, {4, 2, 1}, 0}, END}, AR_ERR_UNSUPPORTED,
           "factors of 3 and 3");
    refuse((struct tensor[]){{down, AR_F32, 4, {2, 5, 3, 3}, 0}, {up, AR_F32, 4, {4, 2, 3, 3}, 0}, END}, AR_ERR_UNSUPPORTED, "of 4 and 4");
    refuse((struct tensor[]){{down, AR_F32, 2, {0, 5}, 0}, {up, AR_F32, 2, {4, 0}, 0}, END}, AR_ERR_FORMAT, "is empty");
    refuse((struct tensor[]){{down, AR_I64, 2, {2, 5}, 1}, UP(UNET), END}, AR_ERR_UNSUPPORTED, "dtype I64");
    refuse((struct tensor[]){PAIR("unet.a", 1), {"unet.a.lora.down.weight", AR_F32, 2, {2, 5}, 0}, END}, AR_ERR_FORMAT, "several adapters");
}

static void other_methods_are_refused_by_name(void **state) {
    (void)state;
    static const struct {
        const char *name, *part;
    } cases[] = {{UNET ".dora_scale", "DoRA"},
                 {"unet.a.lora_magnitude_vector", "DoRA"},
                 {UNET ".lora_mid.weight", "Tucker"},
                 {UNET ".hada_w1_a", "LoHa"},
                 {UNET ".lokr_w2", "LoKr"},
                 {UNET ".oft_blocks", "OFT"},
                 {UNET ".oft_diag", "OFT"},
                 {UNET ".diff", "whole weight"},
                 {UNET ".diff_b", "of a bias"},
                 {UNET ".w_norm", "of a norm"},
                 {UNET ".on_input", "IA3"},
                 {UNET ".reshape_weight", "another shape"},
                 {UNET ".bias_values", "sparse bias"},
                 {"transformer.a.lora_B.bias", "a bias on B"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char tensor[200];
        snprintf(tensor, sizeof tensor, "tensor '%s' belongs to ", cases[i].name);
        refuse((struct tensor[]){PAIR(UNET, 1), {cases[i].name, AR_F32, 1, {4}, 0}, END}, AR_ERR_UNSUPPORTED, tensor);
        refuse((struct tensor[]){{cases[i].name, AR_F32, 1, {4}, 0}, END}, AR_ERR_UNSUPPORTED, cases[i].part);
    }
    refuse((struct tensor[]){PAIR(UNET, 1), {"bundle_emb.x", AR_F32, 1, {4}, 0}, END}, AR_ERR_UNSUPPORTED, "'bundle_emb.x' is no part of");
    refuse((struct tensor[]){PAIR(UNET, 1), {"model.q.lora_A.weight", AR_F32, 2, {2, 5}, 0}, END}, AR_ERR_UNSUPPORTED, "is no part of");
}

static void other_files_are_not_ours(void **state) {
    (void)state;
    refuse((struct tensor[]){{"model.embed_tokens.weight", AR_F32, 1, {4}, 0}, END}, AR_ERR_UNSUPPORTED, "without kohya pairs");
    refuse((struct tensor[]){{"model.diffusion_model.input_blocks.0.0.weight", AR_F32, 1, {4}, 0}, END}, AR_ERR_UNSUPPORTED,
           "without kohya");
    refuse((struct tensor[]){{"base_model.model.q.lora_A.weight", AR_F32, 2, {2, 5}, 0},
                             {"base_model.model.q.lora_B.weight", AR_F32, 2, {4, 2}, 0},
                             END},
           AR_ERR_UNSUPPORTED, "wanted its folder (which holds alpha)");
    refuse((struct tensor[]){{"model.layers.0.q.lora_a", AR_F32, 2, {2, 5}, 0}, END}, AR_ERR_UNSUPPORTED, "wanted its folder");
    ar_error err;
    ar_adapter *ad;
    const char *lfs = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n";
    assert_error(ar_adapter_open(&ad, temp_text("lfs.safetensors", lfs), NULL, &err), AR_ERR_FORMAT, err, "Git LFS pointer");
    assert_error(ar_adapter_open(&ad, temp_text("p.pt", "PK\3\4zip"), NULL, &err), AR_ERR_UNSUPPORTED, err, "pickle");
}

/* ---- names ------------------------------------------------------------------------------------------------------- */

static void names_of_every_dialect(void **state) {
    (void)state;
    static const struct {
        const char *down, *up, *site;
    } cases[] = {{"lora_unet_double_blocks_0_img_attn_proj.lora_down.weight", "lora_unet_double_blocks_0_img_attn_proj.lora_up.weight",
                  "lora_unet_double_blocks_0_img_attn_proj"},
                 {"diffusion_model.blocks.0.self_attn.q.lora_down.weight", "diffusion_model.blocks.0.self_attn.q.lora_up.weight",
                  "diffusion_model.blocks.0.self_attn.q"},
                 {"unet.mid_block.attn1.to_q.lora.down.weight", "unet.mid_block.attn1.to_q.lora.up.weight", "unet.mid_block.attn1.to_q"},
                 {"unet.attn1.processor.to_q_lora.down.weight", "unet.attn1.processor.to_q_lora.up.weight", "unet.attn1.processor.to_q"},
                 {"text_encoder.layers.0.mlp.fc1.lora_linear_layer.down.weight",
                  "text_encoder.layers.0.mlp.fc1.lora_linear_layer.up.weight", "text_encoder.layers.0.mlp.fc1"},
                 {"transformer.transformer_blocks.0.attn.to_q.lora_A.weight", "transformer.transformer_blocks.0.attn.to_q.lora_B.weight",
                  "transformer.transformer_blocks.0.attn.to_q"},
                 {"transformer.blocks.0.attn.to_q.lora_A.default.weight", "transformer.blocks.0.attn.to_q.lora_B.default.weight",
                  "transformer.blocks.0.attn.to_q"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ar_error err;
        ar_st_set *st;
        ar_adapter *ad = good((struct tensor[]){{cases[i].down, AR_F32, 2, {2, 5}, 0}, {cases[i].up, AR_F32, 2, {4, 2}, 0}, END});
        assert_string_equal(ar_adapter_site(ad, 0).name, cases[i].site);
        const char *out = temp_path("dialect.safetensors");
        write_as("kohya", ad, out, NULL, NULL);
        ar_adapter_free(ad);
        assert_ok(ar__st_open(&st, out, &err), err);
        assert_non_null(ar__st_find(st, cases[i].down));
        assert_non_null(ar__st_find(st, cases[i].up));
        assert_int_equal(ar__st_count(st), i < 2 ? 3 : 2);
        ar__st_close(st);
    }
}

static void paths_come_from_the_metadata(void **state) {
    (void)state;
    const struct tensor t[] = {PAIR(Q, 4), PAIR("lora_te_lm_head", 4), PAIR(UNET, 4), END};
    ar_error err;
    ar_adapter *ad = open_file(file(t, (const char *[]){"alphar.sites", "{\"" Q "\":\"model.layers.0.self_attn.q_proj\"}", NULL}));
    assert_non_null(ar__adapter_find_pair(ad, "model.layers.0.self_attn.q_proj"));
    assert_string_equal(ar__adapter_find_pair(ad, "model.layers.0.self_attn.q_proj")->key, Q);
    assert_non_null(ar__adapter_find_pair(ad, "lora_te_lm_head"));
    assert_non_null(ar__adapter_find_pair(ad, UNET));
    ar_adapter_free(ad);
    assert_error(ar_adapter_open(&ad, file(t, (const char *[]){"alphar.sites", "{\"" Q "\":\"model.layers.1.self_attn.q_proj\"}", NULL}),
                                 NULL, &err),
                 AR_ERR_FORMAT, err, "gives another name");
    assert_error(ar_adapter_open(&ad, file(t, (const char *[]){"alphar.sites", "{\"" Q "\":\"lm_head\"}", NULL}), NULL, &err),
                 AR_ERR_FORMAT, err, "gives another name");
    assert_error(ar_adapter_open(&ad, file(t, (const char *[]){"alphar.sites", "{", NULL}), NULL, &err), AR_ERR_FORMAT, err,
                 "alphar.sites");
    const struct tensor twice[] = {PAIR("lora_te_a_b", 4), PAIR("lora_te1_a_b", 4), END};
    assert_error(ar_adapter_open(&ad,
                                 file(twice, (const char *[]){"alphar.sites", "{\"lora_te_a_b\":\"a.b\",\"lora_te1_a_b\":\"a.b\"}", NULL}),
                                 NULL, &err),
                 AR_ERR_FORMAT, err, "are both 'a.b'");
}

static void paths_come_from_underscored_names(void **state) {
    (void)state;
    ar_error err;
    ar_kohya_names names = {0};
    const char *path;
    static const char *const paths[] = {"model.layers.0.self_attn.q_proj", "m.a_b", "m.a.b", "lm_head"};
    for (size_t i = 0; i < 4; i++) assert_ok(ar__kohya_names_add(&names, paths[i], paths[i], &err), err);
    assert_ok(ar__kohya_names_add(&names, "layers.0.self_attn.q_proj", paths[0], &err), err);
    assert_ok(ar__kohya_names_add(&names, "lm_head", "lm_head", &err), err);
    assert_ok(ar__kohya_names_find(&path, &names, Q, &err), err);
    assert_string_equal(path, paths[0]);
    assert_ok(ar__kohya_names_find(&path, &names, "lora_te_layers_0_self_attn_q_proj", &err), err);
    assert_string_equal(path, paths[0]);
    assert_ok(ar__kohya_names_find(&path, &names, "lora_te_lm_head", &err), err);
    assert_string_equal(path, "lm_head");
    assert_error(ar__kohya_names_find(&path, &names, "lora_te_other", &err), AR_ERR_MISMATCH, err, "is no module of the base");
    assert_ok(ar__kohya_names_find(&path, &names, "lora_unet_lm_head", &err), err);
    assert_string_equal(path, "lora_unet_lm_head");
    assert_error(ar__kohya_names_find(&path, &names, "lora_te_m_a_b", &err), AR_ERR_MISMATCH, err, "may be 'm.a_b' or 'm.a.b' of the base");
    ar__kohya_names_release(&names);
}

/* Names by demo/base, a tied llama.  Its shapes are others, which ar_adapter_open would not take. */
static ar_status read_on_demo(ar_adapter **out, const char *path, ar_error *err) {
    ar_base *base;
    ar_status s = ar__base_open(&base, "demo/base", err);
    const ar_read_context c = {.path = path, .base = base};
    if (!s) s = ar__kohya_read(out, &c, err);
    ar__base_close(base);
    return s;
}

static void paths_come_from_the_base(void **state) {
    (void)state;
    ar_error err;
    ar_adapter *ad;
    const char *path = file((struct tensor[]){PAIR(Q, 4), PAIR("lora_te_layers_0_mlp_up_proj", 4), PAIR("lora_te_lm_head", 4),
                                              PAIR(UNET, 4), PAIR("lycoris_model_layers_1_self_attn_o_proj", 4), END},
                            NULL);
    assert_ok(read_on_demo(&ad, path, &err), err);
    assert_string_equal(ar__adapter_find_pair(ad, "model.layers.0.self_attn.q_proj")->key, Q);
    assert_string_equal(ar__adapter_find_pair(ad, "model.layers.0.mlp.up_proj")->key, "lora_te_layers_0_mlp_up_proj");
    assert_non_null(ar__adapter_find_pair(ad, "lm_head"));
    assert_non_null(ar__adapter_find_pair(ad, "model.layers.1.self_attn.o_proj"));
    assert_non_null(ar__adapter_find_pair(ad, UNET));
    const char *out = temp_path("named.safetensors");
    write_as("kohya", ad, out, NULL, NULL);
    ar_adapter_free(ad);
    ad = open_file(out); /* no base is needed any more, and the names are as they were */
    assert_string_equal(ar__adapter_find_pair(ad, "model.layers.0.mlp.up_proj")->key, "lora_te_layers_0_mlp_up_proj");
    ar_adapter_free(ad);
    /* Read without a base, written with one at hand: names that nobody resolved stay names. */
    ad = open_file(file((struct tensor[]){PAIR(Q, 4), END}, (const char *[]){"ss_sd_model_name", "demo/base", NULL}));
    write_as("kohya", ad, out, NULL, NULL);
    ar_adapter_free(ad);
    assert_ok(read_on_demo(&ad, out, &err), err);
    assert_non_null(ar__adapter_find_pair(ad, "model.layers.0.self_attn.q_proj"));
    ar_adapter_free(ad);
    assert_error(read_on_demo(&ad, file((struct tensor[]){PAIR("lora_te_model_layers_99_mlp_up_proj", 4), END}, NULL), &err),
                 AR_ERR_MISMATCH, err, "'lora_te_model_layers_99_mlp_up_proj' is no module of the base");
    assert_error(read_on_demo(&ad, file((struct tensor[]){PAIR("lora_te_model_embed_tokens", 4), END}, NULL), &err), AR_ERR_UNSUPPORTED,
                 err, "is an embedding of the base");
}

#define META(text)                                                                                                                         \
    (const char *[]) { "lora_adapter_metadata", text, NULL }
#define CONFIG(name, rest) "\"" name ".peft_type\":\"LORA\",\"" name ".r\":2,\"" name ".lora_alpha\":" rest

/* Newer diffusers: PEFT's configurations in the metadata. */
static void diffusers_alpha_is_in_the_metadata(void **state) {
    (void)state;
    ar_error err;
    ar_adapter *ad;
    const struct tensor t[] = {{"text_encoder.a.lora_linear_layer.down.weight", AR_F32, 2, {2, 5}, 0},
                               {"text_encoder.a.lora_linear_layer.up.weight", AR_F32, 2, {4, 2}, 0},
                               {"transformer.b.0.lora_A.weight", AR_F32, 2, {2, 5}, 0},
                               {"transformer.b.0.lora_B.weight", AR_F32, 2, {4, 2}, 0},
                               {"transformer.b.1.lora_A.weight", AR_F32, 2, {2, 5}, 0},
                               {"transformer.b.1.lora_B.weight", AR_F32, 2, {4, 2}, 0},
                               END};
    const char *path =
        file(t, META("{" CONFIG("transformer", "8") ",\"transformer.use_rslora\":true,\"transformer.alpha_pattern\":{\"b.1\":2}," CONFIG(
                    "text_encoder", "3") "}"));
    ad = open_loud(path, (ar_adapter_options){0});
    assert_true(ar__adapter_find_pair(ad, "text_encoder.a")->scale == 1.5);
    assert_true(ar__adapter_find_pair(ad, "transformer.b.0")->scale == 8 / sqrt(2));
    assert_true(ar__adapter_find_pair(ad, "transformer.b.1")->scale == 2 / sqrt(2));
    assert_non_null(strstr(warnings, "3 of 3 modules have their alpha in the metadata alone"));
    assert_null(strstr(warnings, "no alpha"));
    ar_proof proof;
    write_as("kohya", ad, temp_path("told.safetensors"), NULL, &proof);
    assert_int_equal(proof.folded, 3);
    ar_adapter_free(ad);
    ad = open_loud(file(t, META("{" CONFIG("transformer", "8") "}")), (ar_adapter_options){0});
    assert_true(ar__adapter_find_pair(ad, "text_encoder.a")->scale == 1);
    assert_non_null(strstr(warnings, "1 of 3 modules have no alpha"));
    ar_adapter_free(ad);
    static const struct {
        const char *metadata, *part;
        ar_status status;
    } wrong[] = {
        {"[]", "found list, wanted an object", AR_ERR_FORMAT},
        {"{", "lora_adapter_metadata", AR_ERR_FORMAT},
        {"{" CONFIG("transformer", "8") ",\"transformer.use_dora\":true}", "'use_dora' is on for 'transformer'", AR_ERR_UNSUPPORTED},
        {"{" CONFIG("transformer", "8") ",\"transformer.rank_pattern\":{\"b.1\":4}}", "'transformer.b.1' has rank 2", AR_ERR_MISMATCH},
        {"{" CONFIG("transformer", "8") ",\"transformer.use_qalora\":true}", "'use_qalora' is on", AR_ERR_UNSUPPORTED}};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_error(ar_adapter_open(&ad, file(t, META(wrong[i].metadata)), NULL, &err), wrong[i].status, err, wrong[i].part);
    const struct tensor both[] = {t[0], t[1], ALPHA("text_encoder.a", 3), END};
    assert_error(ar_adapter_open(&ad, file(both, META("{" CONFIG("text_encoder", "3") "}")), NULL, &err), AR_ERR_FORMAT, err,
                 "an alpha in the metadata and one of its own");
}

/* A configuration without a component's name is not that of a module with one. */
static void a_bare_configuration_stays_with_bare_modules(void **state) {
    (void)state;
    const struct tensor t[] = {LORA_AB("transformer.blocks.0.attn.to_q"), LORA_AB("down.0.to_q"), END};
    static const char *const metadata[] = {"{\"r\":2,\"lora_alpha\":16}", "{\"unet.r\":2,\"unet.lora_alpha\":2,\"r\":2,\"lora_alpha\":16}"};
    for (size_t i = 0; i < sizeof metadata / sizeof *metadata; i++) {
        ar_adapter *ad = open_loud(file(t, META(metadata[i])), (ar_adapter_options){0});
        assert_true(ar__adapter_find_pair(ad, "transformer.blocks.0.attn.to_q")->scale == 1);
        assert_true(ar__adapter_find_pair(ad, "down.0.to_q")->scale == 8);
        assert_non_null(strstr(warnings, "1 of 2 modules have no alpha"));
        assert_non_null(strstr(warnings, "not that of 1 of 2 modules"));
        ar_adapter_free(ad);
    }
    ar_adapter *ad = open_loud(file(t, META(metadata[0])), (ar_adapter_options){.has_alpha = true, .alpha = 6});
    assert_true(ar__adapter_find_pair(ad, "transformer.blocks.0.attn.to_q")->scale == 3);
    ar_adapter_free(ad);
}

/* ---- settings and provenance ------------------------------------------------------------------------------------- */

static void settings_come_from_the_metadata_where_they_are_true(void **state) {
    (void)state;
    const struct tensor t[] = {PAIR("lora_unet_a", 4), PAIR("lora_unet_b", 4), PAIR("lora_unet_c", 1), END};
    ar_adapter *ad = open_file(file(t, (const char *[]){"ss_network_dim", "2", "ss_network_alpha", "1.0", "ss_sd_model_name", "v1-5.ckpt",
                                                        "ss_steps", "100", "sshs_model_hash", "abc", NULL}));
    assert_true(ad->settings.rank == 2 && ad->settings.alpha == 1);
    assert_string_equal(ar_adapter_base(ad), "v1-5.ckpt");
    assert_string_equal(ar__adapter_note(ad, "kohya.ss_steps"), "100");
    assert_null(ar__adapter_note(ad, "kohya.sshs_model_hash"));
    ar_adapter_free(ad);
    ad = open_file(file(t, (const char *[]){"ss_network_dim", "64", "ss_network_alpha", "Dynamic", "ss_sd_model_name", "None", NULL}));
    assert_true(ad->settings.rank == 2 && ad->settings.alpha == 4);
    assert_null(ar_adapter_base(ad));
    ar_adapter_free(ad);
}

static void changed_alphas_are_noticed(void **state) {
    (void)state;
    ar_error err;
    ar_adapter *ad;
    ar_adapter_options o = {0};
    const struct tensor t[] = {PAIR(UNET, 4), END};
    const char *path = file(t, (const char *[]){"alphar.scales", "{\"" UNET "\":1.5}", NULL});
    assert_error(ar_adapter_open(&ad, path, &o, &err), AR_ERR_MISMATCH, err, "the metadata says s = 1.5, its alpha gives 2");
    o.trust = AR_TRUST_METADATA;
    assert_ok(ar_adapter_open(&ad, path, &o, &err), err);
    assert_true(ar_adapter_site(ad, 0).scale == 1.5 && ar_adapter_site(ad, 0).alpha == 3);
    ar_adapter_free(ad);
    o.trust = AR_TRUST_CONFIG;
    assert_ok(ar_adapter_open(&ad, path, &o, &err), err);
    assert_true(ar_adapter_site(ad, 0).scale == 2);
    ar_adapter_free(ad);
    /* An f32's rounding is none of a change, and what the file's readers would use stays. */
    path = file((struct tensor[]){PAIR(UNET, 0.3), END}, (const char *[]){"alphar.scales", "{\"" UNET "\":0.15}", NULL});
    ad = open_file(path);
    assert_true(ar_adapter_site(ad, 0).scale == (double)0.3F / 2);
    ar_adapter_free(ad);
}

/* ---- writing ----------------------------------------------------------------------------------------------------- */

static void kohya_to_kohya_changes_nothing(void **state) {
    (void)state;
    static const char *const meta[] = {"ss_network_dim",    "2", "ss_network_module", "lycoris.kohya", "ss_tag_frequency",
                                       "{\"a\":{\"b\":1}}", NULL};
    const struct tensor t[] = {{UNET ".lora_down.weight", AR_F16, 2, {2, 5}, 0},
                               {UNET ".lora_up.weight", AR_BF16, 2, {4, 2}, 0},
                               {UNET ".alpha", AR_F16, 0, {0}, 0.3},
                               {CONV ".lora_down.weight", AR_F32, 4, {3, 4, 3, 3}, 0},
                               {CONV ".lora_up.weight", AR_F32, 4, {6, 3, 1, 1}, 0},
                               {CONV ".alpha", AR_I64, 0, {0}, -8},
                               PAIR("lora_te1_text_model_encoder_layers_0_mlp_fc1", 1.5),
                               END};
    ar_error err;
    ar_proof proof;
    ar_st_set *was, *is;
    const char *out = temp_path("again.safetensors");
    ar_adapter *ad = open_file(file(t, meta));
    write_as("kohya", ad, out, NULL, &proof);
    ar_adapter_free(ad);
    assert_true(proof.sites == 3 && proof.max_relative < 1e-12 && proof.folded == 0);
    assert_ok(ar__st_open(&was, temp_path(FILE_NAME), &err), err);
    assert_ok(ar__st_open(&is, out, &err), err);
    assert_int_equal(ar__st_count(is), ar__st_count(was));
    for (int i = 0; i < ar__st_count(was); i++) {
        const ar_tensor *a = ar__st_at(was, i), *b = ar__st_at(is, i);
        assert_string_equal(a->name, b->name);
        if (strstr(a->name, ".alpha")) continue;
        assert_true(a->dtype == b->dtype && a->dims == b->dims && a->bytes == b->bytes);
        assert_memory_equal(a->shape, b->shape, sizeof *a->shape * (size_t)a->dims);
        assert_memory_equal(a->data, b->data, a->bytes);
    }
    const ar_tensor *alpha = ar__st_find(is, UNET ".alpha");
    float x;
    memcpy(&x, alpha->data, sizeof x);
    assert_true(alpha->dtype == AR_F32 && alpha->dims == 0 && x == 0.300048828125F);
    assert_string_equal(ar__st_metadata(is, "ss_network_module"), "lycoris.kohya");
    assert_string_equal(ar__st_metadata(is, "ss_tag_frequency"), "{\"a\":{\"b\":1}}");
    assert_string_equal(ar__st_metadata(is, "ss_network_dim"), "Dynamic");
    assert_null(ar__st_metadata(is, "alphar.sites"));
    ar__st_close(was);
    ar__st_close(is);
}

static ar_adapter *language_model(ar_policy policy, double alpha) {
    ar_error err;
    ar_adapter *ad;
    static const char *const sites[] = {"model.layers.0.self_attn.q_proj", "model.layers.10.mlp.up_proj", "lm_head"};
    assert_ok(ar__adapter_new(&ad, &err), err);
    ad->settings.policy = policy;
    ad->settings.rank = 4;
    ad->settings.alpha = alpha;
    for (size_t i = 0; i < 3; i++) {
        ar_pair *p;
        ar_pair_shape shape = {.site = sites[i], .n_in = 24, .n_out = 16, .rank = 4 + (int)i, .alpha = alpha, .policy = policy};
        assert_ok(ar__adapter_add_pair(&p, ad, &shape, &err), err);
        float *a = random_f32((size_t)p->rank * 24, 10 + i, 1), *b = random_f32((size_t)p->rank * 16, 20 + i, 1);
        memcpy(p->a, a, (size_t)p->rank * 24 * sizeof *a);
        memcpy(p->b, b, (size_t)p->rank * 16 * sizeof *b);
        free(a);
        free(b);
    }
    return ad;
}

/* PEFT → kohya → PEFT: the update by the definition, in double, of what stands in the last folder. */
static void peft_survives_the_trip(void **state) {
    (void)state;
    static const double alphas[] = {8, 0.3, -2.5, 22.627416997969522};
    for (int i = 0; i < 8; i++) {
        ar_error err;
        ar_proof proof;
        ar_policy policy = i % 2 ? AR_POLICY_RSLORA : AR_POLICY_STANDARD;
        ar_adapter *ad = language_model(policy, alphas[i / 2]), *mid, *back;
        write_as("peft", ad, temp_path("trip"), NULL, NULL);
        assert_ok(ar_adapter_open(&mid, temp_path("trip"), NULL, &err), err);
        write_as("kohya", mid, temp_path("trip.safetensors"), "f32", &proof);
        assert_true(proof.max_relative <= 1e-7 && proof.folded == 0);
        assert_near(proof.alpha, ar__policy_scale(policy, alphas[i / 2], 6) * 6, 1e-7); /* lm_head comes first */
        ar_adapter_free(mid);
        mid = open_file(temp_path("trip.safetensors"));
        write_as("peft", mid, temp_path("trip"), NULL, NULL);
        assert_ok(ar_adapter_open(&back, temp_path("trip"), NULL, &err), err);
        assert_ok(ar__adapter_load(back, &err), err);
        for (size_t j = 0; j < 3; j++) {
            const ar_pair *p = &ad->pair[j], *q = ar__adapter_find_pair(back, p->site);
            assert_non_null(q);
            assert_memory_equal(p->a, q->a, (size_t)p->rank * 24 * sizeof *p->a);
            assert_memory_equal(p->b, q->b, (size_t)p->rank * 16 * sizeof *p->b);
            assert_true(relative_diff(q->scale, p->scale) <= 1e-7);
        }
        ar_adapter_free(ad);
        ar_adapter_free(mid);
        ar_adapter_free(back);
    }
}

static void what_is_written_for_a_language_model(void **state) {
    (void)state;
    ar_error err;
    ar_st_set *st;
    ar_adapter *ad = language_model(AR_POLICY_RSLORA, 8);
    const char *out = temp_path("lm.safetensors");
    assert_ok(ar__adapter_set_note(ad, "train.lr", "0.0002", &err), err);
    write_as("kohya", ad, out, "f16", NULL);
    ar_adapter_free(ad);
    assert_ok(ar__st_open(&st, out, &err), err);
    const ar_tensor *t = ar__st_find(st, Q ".lora_down.weight");
    assert_true(t->dtype == AR_F16 && t->shape[0] == 4 && t->shape[1] == 24);
    t = ar__st_find(st, Q ".alpha");
    float alpha;
    memcpy(&alpha, t->data, sizeof alpha);
    assert_true(t->dtype == AR_F32 && alpha == 16); /* 8/√4 · 4 */
    assert_string_equal(ar__st_metadata(st, "alphar.train.lr"), "0.0002");
    assert_string_equal(ar__st_metadata(st, "ss_network_module"), "networks.lora");
    assert_string_equal(ar__st_metadata(st, "ss_network_dim"), "Dynamic");
    assert_non_null(strstr(ar__st_metadata(st, "alphar.sites"), "\"" Q "\":\"model.layers.0.self_attn.q_proj\""));
    ar__st_close(st);
}

/* Loaders of diffusers' files read no alpha: it goes into B, also where it is 0. */
static void diffusers_files_get_s_folded(void **state) {
    (void)state;
    static const double scales[] = {0.5, 0};
    const struct tensor t[] = {
        {"unet.a.to_q.lora.down.weight", AR_F32, 2, {2, 5}, 0}, {"unet.a.to_q.lora.up.weight", AR_F32, 2, {4, 2}, 0}, END};
    for (int i = 0; i < 2; i++) {
        ar_error err;
        ar_proof proof;
        ar_adapter *ad = good(t), *back;
        assert_ok(ar_adapter_set_scale(ad, scales[i], &err), err);
        write_as("kohya", ad, temp_path("folded.safetensors"), NULL, &proof);
        assert_true(proof.folded == 1 && proof.alpha == 2);
        back = open_file(temp_path("folded.safetensors"));
        assert_ok(ar__adapter_load(ad, &err), err);
        assert_ok(ar__adapter_load(back, &err), err);
        assert_true(back->pair[0].scale == 1);
        for (int j = 0; j < 8; j++) assert_true(back->pair[0].b[j] == (float)scales[i] * ad->pair[0].b[j]);
        ar_adapter_free(ad);
        ar_adapter_free(back);
    }
}

static void what_the_format_cannot_hold(void **state) {
    (void)state;
    ar_error err;
    ar_adapter *ad = language_model(AR_POLICY_STANDARD, 0);
    refuse_write(ad, AR_ERR_UNSUPPORTED, "alpha is 0");
    assert_ok(ar_adapter_set_scale(ad, 1e-50, &err), err);
    refuse_write(ad, AR_ERR_UNSUPPORTED, "does not fit the format's f32");
    assert_ok(ar_adapter_set_scale(ad, 1e50, &err), err);
    refuse_write(ad, AR_ERR_UNSUPPORTED, "does not fit the format's f32");
    assert_ok(ar_adapter_set_scale(ad, 1, &err), err);
    ad->pair[1].has_gguf_rows = true;
    refuse_write(ad, AR_ERR_UNSUPPORTED, "give --model or --heads");
    ad->pair[1].has_gguf_rows = false;
    ad->pair[1].is_embedding = true;
    refuse_write(ad, AR_ERR_UNSUPPORTED, "'model.layers.10.mlp.up_proj' is an embedding");
    ad->pair[1].is_embedding = false;
    ar_pair_shape shape = {.site = "model.layers.0.self.attn_q_proj", .n_in = 1, .n_out = 1, .rank = 1, .alpha = 1};
    assert_ok(ar__adapter_add_pair(NULL, ad, &shape, &err), err);
    refuse_write(ad, AR_ERR_UNSUPPORTED, "have the same name in a kohya file");
    ar_adapter_free(ad);
    ad = language_model(AR_POLICY_STANDARD, 1);
    shape = (ar_pair_shape){.site = "m.x", .n_in = 1, .n_out = 1, .rank = 1, .alpha = 1, .dora = true};
    assert_ok(ar__adapter_add_pair(NULL, ad, &shape, &err), err);
    refuse_write(ad, AR_ERR_UNSUPPORTED, "DoRA magnitudes, which a kohya file cannot hold");
    ar_adapter_free(ad);
    ad = good((struct tensor[]){PAIR(UNET, 4), END});
    ar_runtime *rt;
    ar_write_options o = {.format = "peft"};
    assert_ok(ar_runtime_new(&rt, NULL, &err), err);
    assert_error(ar_adapter_write(NULL, ad, rt, temp_path("raw"), &o, &err), AR_ERR_UNSUPPORTED, err, "give --model");
    ar_runtime_free(rt);
    ar_adapter_free(ad);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(alpha_of_any_type_is_exact),
        cmocka_unit_test(alpha_is_what_the_file_holds),
        cmocka_unit_test(wrong_alphas_are_refused),
        cmocka_unit_test(alpha_missing_or_zero_is_the_rank),
        cmocka_unit_test(alpha_under_diffusers_names),
        cmocka_unit_test(bare_names_need_an_alpha_in_the_file),
        cmocka_unit_test(convolutions_keep_their_kernel),
        cmocka_unit_test(broken_pairs_are_refused),
        cmocka_unit_test(other_methods_are_refused_by_name),
        cmocka_unit_test(other_files_are_not_ours),
        cmocka_unit_test(names_of_every_dialect),
        cmocka_unit_test(paths_come_from_the_metadata),
        cmocka_unit_test(paths_come_from_underscored_names),
        cmocka_unit_test(paths_come_from_the_base),
        cmocka_unit_test(diffusers_alpha_is_in_the_metadata),
        cmocka_unit_test(a_bare_configuration_stays_with_bare_modules),
        cmocka_unit_test(settings_come_from_the_metadata_where_they_are_true),
        cmocka_unit_test(changed_alphas_are_noticed),
        cmocka_unit_test(kohya_to_kohya_changes_nothing),
        cmocka_unit_test(peft_survives_the_trip),
        cmocka_unit_test(what_is_written_for_a_language_model),
        cmocka_unit_test(diffusers_files_get_s_folded),
        cmocka_unit_test(what_the_format_cannot_hold),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
