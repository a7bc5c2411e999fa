/* One module under many names, tensors saved several times, and a vocabulary that grew. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "adapter/base_name.h"
#include "adapter/peft.h"
#include "adapter/site_name.h"
#include "alphar/algebra.h"
#include "format/json.h"
#include "util.h"

enum { VOCAB = 6, GROWN = 9, DIM = 4, OUT = 8, RANK = 2 };

struct tensor {
    const char *name;
    int64_t rows, columns;
    float first; /* element i is first + i / 64 */
};

static const char *folder(const char *dir, const char *config_name, const char *config, const char *weights, const struct tensor *t) {
    ar_error err;
    ar_st_writer *w;
    char path[300];
    float *kept[32];
    int n = 0;
    snprintf(path, sizeof path, "%s/%s", dir, config_name);
    temp_text(path, config);
    assert_ok(ar__st_writer_new(&w, &err), err);
    for (; t->name; t++, n++) {
        size_t count = (size_t)(t->rows * t->columns);
        kept[n] = malloc(count * sizeof(float));
        for (size_t i = 0; i < count; i++) kept[n][i] = t->first + (float)i / 64;
        assert_ok(ar__st_writer_add(w, t->name, AR_F32, 2, (int64_t[]){t->rows, t->columns}, kept[n], &err), err);
    }
    snprintf(path, sizeof path, "%s/%s", dir, weights);
    assert_ok(ar__st_writer_save(w, temp_path(path), &err), err);
    ar__st_writer_free(w);
    while (n) free(kept[--n]);
    return temp_path(dir);
}

#define Q "model.layers.0.self_attn.q_proj"
#define BASE_CONFIG "{\"model_type\":\"llama\",\"num_attention_heads\":2,\"vocab_size\":6}"
static const char *base(const char *dir) {
    static const struct tensor t[] = {
        {Q ".weight", OUT, DIM, 0}, {"model.embed_tokens.weight", VOCAB, DIM, 1}, {"lm_head.weight", VOCAB, DIM, 2}, {0}};
    return folder(dir, "config.json", BASE_CONFIG, "model.safetensors", t);
}

#define CONFIG "{\"peft_type\":\"LORA\",\"r\":2,\"lora_alpha\":4,\"target_modules\":[\"q_proj\"]%s}"
static const char *adapter(const char *dir, const char *more, const struct tensor *t) {
    char config[400];
    snprintf(config, sizeof config, CONFIG, more);
    return folder(dir, AR_PEFT_CONFIG, config, AR_PEFT_WEIGHTS, t);
}

struct said {
    char text[2000];
};

static void listen(void *user, ar_log_level level, const char *line) {
    struct said *s = user;
    size_t n = strlen(s->text);
    if (level == AR_LOG_WARNING) snprintf(s->text + n, sizeof s->text - n, "%s\n", line);
}

static ar_adapter *open_with(const char *path, const char *model, struct said *said) {
    ar_error err;
    ar_adapter *ad;
    *said = (struct said){0};
    ar_adapter_options o = {.model = model, .log = listen, .log_user = said};
    assert_ok(ar_adapter_open(&ad, path, &o, &err), err);
    return ad;
}

static void one_name_by_rule(void **state) {
    (void)state;
    static const char *const spelt[][2] = {
        {"model.layers.0.self_attn.q_proj", Q},
        {"model.model.layers.0.self_attn.q_proj", Q},
        {"_orig_mod.model.layers.0.self_attn.q_proj", Q},
        {"model.layers.0._checkpoint_wrapped_module.self_attn._fsdp_wrapped_module.q_proj", Q},
        {"module.model.model.layers.0.module.self_attn.q_proj._orig_mod", Q},
        {"model.lm_head", "lm_head"},
        {"model.language_model.layers.0.self_attn.q_proj", "model.language_model.layers.0.self_attn.q_proj"},
        {"model.model.tower.q", "model.model.tower.q"}, /* not known to be doubled */
    };
    for (size_t i = 0; i < sizeof spelt / sizeof *spelt; i++) {
        ar_buf name = {0};
        ar__site_name(&name, NULL, spelt[i][0]);
        assert_string_equal(name.data, spelt[i][1]);
        ar__buf_release(&name);
    }
    assert_true(ar__site_is_same("language_model.model.layers.0.q", "model.layers.0.q"));
    assert_true(ar__site_is_same("model.language_model.layers.0.q", "layers.0.q"));
    assert_false(ar__site_is_same("model.vision_tower.layers.0.q", "model.layers.0.q"));
}

/* head: what stands before "layers.0…" in the key. */
static void read_under(const char *head, const char *model, const char *want, bool odd) {
    char a[200], b[200];
    struct said said;
    snprintf(a, sizeof a, "%slayers.0.self_attn.q_proj.lora_A.weight", head);
    snprintf(b, sizeof b, "%slayers.0.self_attn.q_proj.lora_B.weight", head);
    ar_adapter *ad = open_with(adapter("keys", "", (struct tensor[]){{a, RANK, DIM, 0}, {b, OUT, RANK, 0}, {0}}), model, &said);
    assert_int_equal(ar_adapter_site_count(ad), 1);
    assert_string_equal(ar_adapter_site(ad, 0).name, want);
    if (odd != (strstr(said.text, "PEFT finds modules by exact name") != NULL)) fail_msg("%s: said '%s'", head, said.text);
    ar_adapter_free(ad);
}

static void keys_are_read_however_they_are_wrapped(void **state) {
    (void)state;
    static const char *const wrapped[] = {"_orig_mod.base_model.model.model.",
                                          "base_model.model._orig_mod.model.",
                                          "module.base_model.model.model.",
                                          "model.base_model.model.model.",
                                          "base_model.model.base_model.model.model.",
                                          "_forward_module.base_model.model._fsdp_wrapped_module.model._checkpoint_wrapped_module.",
                                          "base_model.model.model.model.",
                                          "model."};
    const char *b = base("base");
    for (size_t i = 0; i < sizeof wrapped / sizeof *wrapped; i++) {
        read_under(wrapped[i], NULL, Q, true);
        read_under(wrapped[i], b, Q, true);
    }
    read_under("base_model.model.model.", NULL, Q, false);
    read_under("base_model.model.model.", b, Q, false);
    read_under("base_model.model.language_model.model.", b, Q, true);
    read_under("base_model.model.model.language_model.", b, Q, true);
    read_under("base_model.model.", b, Q, true);
    read_under("base_model.model.model.language_model.", NULL, "model.language_model.layers.0.self_attn.q_proj", false);
}

#define A(head)                                                                                                                            \
    { head Q ".lora_A.weight", RANK, DIM, 0 }
#define B(head)                                                                                                                            \
    { head Q ".lora_B.weight", OUT, RANK, 0 }
#define P "base_model.model."

static void targets_may_mean_the_keys_own_paths(void **state) {
    (void)state;
    struct said said;
    static const char *const targets[] = {"[\"model.language_model.layers.0.self_attn.q_proj\"]", "\"model.language_model.*\\\\.q_proj\"",
                                          "\".*\\\\.q_proj\""};
    for (int i = 0; i < 3; i++) {
        char config[300];
        snprintf(config, sizeof config, "{\"peft_type\":\"LORA\",\"r\":2,\"lora_alpha\":4,\"target_modules\":%s}", targets[i]);
        const char *path =
            folder("wrapped", AR_PEFT_CONFIG, config, AR_PEFT_WEIGHTS,
                   (struct tensor[]){{"base_model.model.model.language_model.layers.0.self_attn.q_proj.lora_A.weight", RANK, DIM, 0},
                                     {"base_model.model.model.language_model.layers.0.self_attn.q_proj.lora_B.weight", OUT, RANK, 0},
                                     {0}});
        ar_adapter *ad = open_with(path, base("base"), &said);
        assert_string_equal(ar_adapter_site(ad, 0).name, Q);
        ar_adapter_free(ad);
    }
}

static void two_spellings_must_agree(void **state) {
    (void)state;
    ar_error err;
    ar_adapter *ad;
    struct said said;
    ad = open_with(adapter("same", "", (struct tensor[]){A(P), B(P), A("module." P), B("module." P), {0}}), NULL, &said);
    assert_int_equal(ar_adapter_site_count(ad), 1);
    ar_adapter_free(ad);
    const char *path =
        adapter("other", "", (struct tensor[]){A(P), B(P), {P "_orig_mod." Q ".lora_A.weight", RANK, DIM, 7}, B("_orig_mod." P), {0}});
    assert_error(ar_adapter_open(&ad, path, NULL, &err), AR_ERR_FORMAT, err, "are the same part of one site, and their values differ");
}

static void a_name_behind_the_part_is_said(void **state) {
    (void)state;
    struct said said;
    ar_adapter *ad = open_with(
        adapter("named", "",
                (struct tensor[]){{P Q ".lora_A.default.weight", RANK, DIM, 0}, {P Q ".lora_B.default.weight", OUT, RANK, 0}, {0}}),
        NULL, &said);
    assert_non_null(strstr(said.text, "PEFT before 0.21 would load nothing"));
    assert_string_equal(ar_adapter_site(ad, 0).name, Q);
    ar_adapter_free(ad);
}

#define EMBED "model.embed_tokens"
#define GROWN_TENSORS                                                                                                                      \
    A(P), B(P), {P EMBED ".weight", GROWN, DIM, 5}, {P EMBED ".modules_to_save.weight", GROWN, DIM, 5},                                    \
        {P EMBED ".original_module.weight", GROWN, DIM, 1}, {P "lm_head.weight", GROWN, DIM, 6},                                           \
        {P "lm_head.modules_to_save.default.weight", GROWN, DIM, 6}, {                                                                     \
        P "lm_head.original_module.weight", GROWN, DIM, 2                                                                                  \
    }
static const char saved[] = ",\"modules_to_save\":[\"embed_tokens\",\"lm_head\"]";

static void a_tensor_saved_three_times_is_one(void **state) {
    (void)state;
    struct said said;
    ar_error err;
    const char *path = adapter("grown", saved, (struct tensor[]){GROWN_TENSORS, {0}});
    ar_adapter *ad = open_with(path, base("base"), &said);
    assert_int_equal(ar_adapter_site_count(ad), 1);
    assert_int_equal(ar_adapter_whole_count(ad), 2);
    assert_string_equal(said.text, ""); /* the copies are the base's */
    ar_adapter_free(ad);
    path = adapter("copies", saved, (struct tensor[]){GROWN_TENSORS, {P Q ".base_layer.weight", OUT, DIM, 3}, {0}});
    ad = open_with(path, base("base"), &said);
    assert_non_null(strstr(said.text, "the copies of the base's weights in it say so"));
    ar_adapter_free(ad);
    path = adapter(
        "differs", saved,
        (struct tensor[]){A(P), B(P), {P "lm_head.weight", VOCAB, DIM, 1}, {P "lm_head.modules_to_save.weight", VOCAB, DIM, 2}, {0}});
    assert_error(ar_adapter_open(&ad, path, NULL, &err), AR_ERR_FORMAT, err,
                 "lm_head.modules_to_save.weight' and '" P "lm_head.weight' are");
}

static ar_status merge(const char *model, const char *path, const char *out, ar_error *err) {
    ar_runtime *rt;
    ar_merge_result r;
    ar_runtime_options ro = {.threads = 1};
    ar_merge_options o = {.model = model, .adapters = &path, .adapter_count = 1, .out = temp_path(out)};
    assert_ok(ar_runtime_new(&rt, &ro, err), *err);
    ar_status s = ar_merge(&r, rt, &o, err);
    ar_merge_result_release(&r);
    ar_runtime_free(rt);
    return s;
}

static void merging_extends_the_vocabulary(void **state) {
    (void)state;
    ar_error err;
    ar_st_set *st;
    json_t *config;
    const char *b = base("base");
    temp_text("base/tokenizer.json", "{\"of\":\"base\"}");
    const char *path = adapter("grown", saved, (struct tensor[]){GROWN_TENSORS, {0}});
    temp_text("grown/tokenizer.json", "{\"of\":\"adapter\"}");
    assert_ok(merge(b, path, "merged", &err), err);
    assert_ok(ar__st_open(&st, temp_path("merged"), &err), err);
    const char *const names[] = {EMBED ".weight", "lm_head.weight"};
    for (int k = 0; k < 2; k++) {
        const ar_tensor *t = ar__st_find(st, names[k]);
        assert_true(t->shape[0] == GROWN && t->shape[1] == DIM);
        for (size_t i = 0; i < t->count; i++) assert_near((double)((const float *)t->data)[i], 5 + k + (double)i / 64, 0);
    }
    ar__st_close(st);
    assert_ok(ar__json_load_object(&config, temp_path("merged/config.json"), 1 << 20, &err), err);
    assert_int_equal(json_integer_value(json_object_get(config, "vocab_size")), GROWN);
    json_decref(config);
    char *text = read_file(temp_path("merged/tokenizer.json"), NULL);
    assert_string_equal(text, "{\"of\":\"adapter\"}");
    free(text);
    path =
        adapter("half", ",\"modules_to_save\":[\"embed_tokens\"]", (struct tensor[]){A(P), B(P), {P EMBED ".weight", GROWN, DIM, 5}, {0}});
    assert_error(merge(b, path, "refused", &err), AR_ERR_MISMATCH, err, "a vocabulary of 9, but 'lm_head.weight' keeps the base's 6");
    path = adapter("uneven", saved,
                   (struct tensor[]){A(P), B(P), {P EMBED ".weight", GROWN, DIM, 5}, {P "lm_head.weight", GROWN + 1, DIM, 5}, {0}});
    assert_error(merge(b, path, "refused", &err), AR_ERR_MISMATCH, err, "wanted one vocabulary for both");
    assert_false(file_exists(temp_path("refused")));
}

/* What the configuration says was saved whole is in the file, or part of the training is lost. */
static void refuse(const char *more, const struct tensor *t, const char *model, const char *part) {
    ar_error err;
    ar_adapter *ad;
    ar_adapter_options o = {.model = model};
    assert_error(ar_adapter_open(&ad, adapter("announced", more, t), &o, &err), AR_ERR_MISMATCH, err, part);
}

static void what_was_saved_whole_is_there(void **state) {
    (void)state;
    static const struct tensor pair[] = {A(P), B(P), {0}};
    static const struct tensor biased[] = {{Q ".weight", OUT, DIM, 0}, {Q ".bias", 1, OUT, 0}, {"lm_head.weight", VOCAB, DIM, 2}, {0}};
    struct said said;
    ar_error err;
    ar_adapter *ad;
    const char *b = base("base"), *with_bias = folder("biased", "config.json", BASE_CONFIG, "model.safetensors", biased);
    refuse(",\"modules_to_save\":[\"lm_head\"]", pair, NULL, "has no tensor of 'lm_head', which modules_to_save");
    refuse(",\"modules_to_save\":[\"lm_head\"]", pair, b, "has no tensor of 'lm_head', which modules_to_save");
    refuse(saved, (struct tensor[]){A(P), B(P), {P "lm_head.weight", VOCAB, DIM, 1}, {0}}, NULL, "has no tensor of 'embed_tokens'");
    ad = open_with(adapter("announced", ",\"modules_to_save\":[\"score\"]", pair), b, &said);
    assert_non_null(strstr(said.text, "'score' in modules_to_save is no module of the base"));
    ar_adapter_free(ad);
    ad = open_with(adapter("announced", ",\"modules_to_save\":[\"classifier\",\"score\"],\"task_type\":\"SEQ_CLS\"",
                           (struct tensor[]){A(P), B(P), {P "score.weight", VOCAB, DIM, 1}, {0}}),
                   NULL, &said);
    assert_string_equal(said.text, "");
    ar_adapter_free(ad);
    refuse(",\"bias\":\"lora_only\"", pair, with_bias, "has no bias of '" Q "', which the base has");
    refuse(",\"bias\":\"all\"", pair, with_bias, "has no bias of '" Q "', which the base has");
    ad = open_with(adapter("announced", ",\"bias\":\"all\"", pair), b, &said);
    assert_string_equal(said.text, "");
    ar_adapter_free(ad);
    ad = open_with(adapter("announced", ",\"bias\":\"all\"", pair), NULL, &said);
    assert_non_null(strstr(said.text, "there is no bias in the file"));
    ar_adapter_free(ad);
    const char *path = adapter("announced", "", (struct tensor[]){A(P), {P Q ".lora_B.weight", 0, RANK, 0}, {0}});
    assert_error(ar_adapter_open(&ad, path, NULL, &err), AR_ERR_FORMAT, err, "is empty, as DeepSpeed ZeRO-3 leaves one");
}

/* A packed base is not another base, and what needs no weights goes on. */
static void packed(const char *config, const char *const *names, const char *how) {
    ar_error err;
    ar_st_writer *w;
    ar_runtime *rt;
    ar_runtime_options ro = {.threads = 1};
    ar_inspection x;
    static const unsigned char bytes[OUT * DIM];
    assert_ok(ar__st_writer_new(&w, &err), err);
    for (; *names; names++) assert_ok(ar__st_writer_add(w, *names, AR_U8, 2, (int64_t[]){OUT * DIM / 2, 1}, bytes, &err), err);
    temp_text("packed/config.json", config);
    assert_ok(ar__st_writer_save(w, temp_path("packed/model.safetensors"), &err), err);
    ar__st_writer_free(w);
    struct said said;
    ar_adapter *ad = open_with(adapter("plain", "", (struct tensor[]){A(P), B(P), {0}}), temp_path("packed"), &said);
    assert_string_equal(said.text, "");
    assert_ok(ar_runtime_new(&rt, &ro, &err), err);
    assert_ok(ar_adapter_inspect(&x, ad, rt, temp_path("packed"), &err), err);
    bool found = false;
    for (size_t i = 0; i < x.warning_count; i++) found |= !strcmp(x.warnings[i].code, "base_quantised") && strstr(x.warnings[i].text, how);
    assert_true(found && isnan(x.sites[0].strength) && x.sites[0].norm_update > 0);
    ar_inspection_release(&x);
    ar_runtime_free(rt);
    ar_adapter_free(ad);
    assert_error(merge(temp_path("packed"), temp_path("plain"), "refused", &err), AR_ERR_UNSUPPORTED, err, "the base is quantised (");
}

#define LLAMA "{\"model_type\":\"llama\",\"num_attention_heads\":2"
static void a_packed_base_is_no_other_base(void **state) {
    (void)state;
    static const char *const bnb[] = {Q ".weight", Q ".weight.absmax", NULL}, *const gptq[] = {Q ".qweight", Q ".qzeros", NULL},
                             *const mlx[] = {Q ".weight", Q ".scales", Q ".biases", NULL}, *const ct[] = {Q ".weight_packed", NULL};
    packed(LLAMA ",\"quantization_config\":{\"quant_method\":\"bitsandbytes\",\"load_in_4bit\":true,\"bnb_4bit_quant_type\":\"nf4\"}}", bnb,
           "(bitsandbytes, 4 bits (nf4))");
    packed(LLAMA "}", bnb, "(bitsandbytes, 4 bits)");
    packed(LLAMA ",\"quantization_config\":{\"quant_method\":\"gptq\",\"bits\":4}}", gptq, "(GPTQ, 4 bits)");
    packed(LLAMA "}", gptq, "(GPTQ or AWQ)");
    packed(LLAMA ",\"quantization\":{\"group_size\":64,\"bits\":4},\"quantization_config\":{\"group_size\":64,\"bits\":4}}", mlx,
           "(MLX, 4 bits)");
    packed(LLAMA ",\"quantization_config\":{\"quant_method\":\"compressed-tensors\",\"format\":\"pack-quantized\",\"config_groups\":"
                 "{\"group_0\":{\"weights\":{\"num_bits\":4}}}}}",
           ct, "(compressed-tensors, 4 bits (pack-quantized))");
}

static void refuse_base(const char *config, const struct tensor *t, const char *part) {
    ar_error err;
    ar_adapter *ad;
    ar_adapter_options o = {.model = folder("odd", "config.json", config, "model.safetensors", t)};
    const char *path = adapter("plain", "", (struct tensor[]){A(P), B(P), {0}});
    assert_error(ar_adapter_open(&ad, path, &o, &err), AR_ERR_MISMATCH, err, part);
}

static void another_base_is_the_last_thing_to_say(void **state) {
    (void)state;
    refuse_base(LLAMA "}", (struct tensor[]){{"model.layers.0.self_attn.qkv_proj.weight", 3 * OUT, DIM, 0}, {0}},
                "has this weight inside 'model.layers.0.self_attn.qkv_proj.weight', fused with others");
    refuse_base(LLAMA ",\"num_hidden_layers\":2}", (struct tensor[]){{"model.layers.0.mlp.up_proj.weight", OUT, DIM, 0}, {0}},
                "is a file of ");
    refuse_base("{\"model_type\":\"gpt2\"}", (struct tensor[]){{"wte.weight", OUT, DIM, 0}, {0}}, "made for another base");
}

static void null_targets_are_the_familys_default(void **state) {
    (void)state;
    struct said said;
    ar_error err;
    ar_adapter *ad;
    static const char none[] = "{\"peft_type\":\"LORA\",\"r\":2,\"lora_alpha\":4,\"target_modules\":null}";
    static const struct tensor q[] = {A(P), B(P), {0}}, up[] = {A(P),
                                                                B(P),
                                                                {P "model.layers.0.mlp.up_proj.lora_A.weight", RANK, DIM, 0},
                                                                {P "model.layers.0.mlp.up_proj.lora_B.weight", OUT, RANK, 0},
                                                                {0}};
    static const struct tensor weights[] = {{Q ".weight", OUT, DIM, 0}, {"model.layers.0.mlp.up_proj.weight", OUT, DIM, 0}, {0}};
    const char *llama = folder("llama", "config.json", LLAMA "}", "model.safetensors", weights);
    const char *new = folder("new", "config.json", "{\"model_type\":\"newer\"}", "model.safetensors", weights);
    const char *path = folder("null", AR_PEFT_CONFIG, none, AR_PEFT_WEIGHTS, q);
    ad = open_with(path, llama, &said);
    assert_string_equal(said.text, "");
    assert_int_equal(ad->settings.targets.list.count, 2);
    ar_adapter_free(ad);
    path = folder("null", AR_PEFT_CONFIG, none, AR_PEFT_WEIGHTS, up);
    ar_adapter_options o = {.model = llama};
    assert_error(ar_adapter_open(&ad, path, &o, &err), AR_ERR_MISMATCH, err, "takes the default of the base's family (llama)");
    ad = open_with(path, new, &said);
    assert_non_null(strstr(said.text, "PEFT has no default for the family newer"));
    ar_adapter_free(ad);
    ad = open_with(path, NULL, &said);
    assert_non_null(strstr(said.text, "--model would tell"));
    ar_adapter_free(ad);
}

/* ---- stacked experts ------------------------------------------------------------------------------------------------ */
enum { E = 3, FFN = 4, WIDTH = 6 };
#define X "model.layers.0.mlp.experts"
#define CONFIG_R2 "{\"peft_type\":\"LORA\",\"r\":2,\"lora_alpha\":6"
#define BOTH ",\"target_modules\":[\"q_proj\"],\"target_parameters\":[\"mlp.experts.gate_up_proj\",\"mlp.experts.down_proj\"]}"

static const struct tensor gate_pair[] = {{P X ".base_layer.lora_A.weight", E *RANK, WIDTH, 1},
                                          {P X ".base_layer.lora_B.weight", 2 * FFN, RANK *E, 2}},
                           down_pair[] = {{P X ".lora_A.weight", E *RANK, FFN, 3}, {P X ".lora_B.weight", WIDTH, RANK *E, 4}};

/* gate_up [E, d1, d2] and down, as one file with three dimensions; turned: [E, in, out]. */
static const char *expert_base(const char *dir, const char *config, bool turned) {
    ar_error err;
    ar_st_writer *w;
    char path[200];
    const int64_t gate[] = {E, turned ? WIDTH : 2 * FFN, turned ? 2 * FFN : WIDTH},
                  down[] = {E, turned ? FFN : WIDTH, turned ? WIDTH : FFN};
    static float zeros[E * 2 * FFN * WIDTH];
    snprintf(path, sizeof path, "%s/config.json", dir);
    temp_text(path, config);
    assert_ok(ar__st_writer_new(&w, &err), err);
    assert_ok(ar__st_writer_add(w, X ".gate_up_proj", AR_F32, 3, gate, zeros, &err), err);
    assert_ok(ar__st_writer_add(w, X ".down_proj", AR_F32, 3, down, zeros, &err), err);
    snprintf(path, sizeof path, "%s/model.safetensors", dir);
    assert_ok(ar__st_writer_save(w, temp_path(path), &err), err);
    ar__st_writer_free(w);
    return temp_path(dir);
}

static double element(const struct tensor *t, size_t row, size_t column) {
    return (double)t->first + (double)(row * (size_t)t->columns + column) / 64;
}

/* W_e = s · B[:, e::E] · A[e·r : (e+1)·r], s = 3, in double. */
static void check_stack(const char *out, const char *name, const struct tensor *pair, bool turned) {
    ar_error err;
    ar_st_set *st;
    assert_ok(ar__st_open(&st, temp_path(out), &err), err);
    const ar_tensor *t = ar__st_find(st, name);
    size_t rows = (size_t)pair[1].rows, columns = (size_t)pair[0].columns;
    for (size_t e = 0; e < E; e++)
        for (size_t i = 0; i < rows; i++)
            for (size_t j = 0; j < columns; j++) {
                double sum = 0;
                for (size_t k = 0; k < RANK; k++) sum += 3 * element(&pair[1], i, k * E + e) * element(&pair[0], e * RANK + k, j);
                size_t at = e * rows * columns + (turned ? j * rows + i : i * columns + j);
                assert_near((double)((const float *)t->data)[at] / sum, 1, 1e-6);
            }
    ar__st_close(st);
}

static const char *experts(const char *config, const struct tensor *t) {
    return folder("experts", AR_PEFT_CONFIG, config, AR_PEFT_WEIGHTS, t);
}

static void stacked_experts_are_merged_each_with_its_own_pair(void **state) {
    (void)state;
    ar_error err;
    struct said said;
    const struct tensor all[] = {gate_pair[0], gate_pair[1], down_pair[0], down_pair[1], {0}};
    const char *path = experts(CONFIG_R2 BOTH, all);
    ar_adapter *ad = open_with(path, NULL, &said);
    assert_int_equal(ar_adapter_site_count(ad), 2 * E);
    assert_string_equal(ar_adapter_site(ad, 0).name, X ".down_proj[0]");
    assert_true(ar_adapter_site(ad, 0).rank == RANK && ar_adapter_site(ad, 0).scale == 3);
    assert_ok(ar_adapter_save(ad, temp_path("stacked-again"), false, &err), err);
    ar_adapter_free(ad);
    ad = open_with(temp_path("stacked-again"), NULL, &said);
    assert_int_equal(ar_adapter_site_count(ad), 2 * E);
    assert_true(ar_adapter_site(ad, 2 * E - 1).rank == RANK && ar_adapter_site(ad, 0).scale == 3);
    ar_adapter_free(ad);
    for (int turned = 0; turned < 2; turned++) {
        const char *dir = turned ? "turned" : "stacked", *out = turned ? "m-turned" : "m-stacked";
        assert_ok(merge(expert_base(dir, LLAMA "}", turned), path, out, &err), err);
        check_stack(out, X ".gate_up_proj", gate_pair, turned);
        check_stack(out, X ".down_proj", down_pair, turned);
    }
    /* without target_parameters the two levels' shapes tell */
    path = experts(CONFIG_R2 ",\"target_modules\":[\"experts\"]}", all);
    assert_ok(merge(temp_path("stacked"), path, "m-null", &err), err);
    check_stack("m-null", X ".gate_up_proj", gate_pair, false);
    /* one level: target_parameters, or the base */
    const struct tensor one[] = {down_pair[0], down_pair[1], {0}};
    path = experts(CONFIG_R2 ",\"target_parameters\":[\"experts.down_proj\"],\"target_modules\":[]}", one);
    assert_ok(merge(temp_path("stacked"), path, "m-one", &err), err);
    check_stack("m-one", X ".down_proj", down_pair, false);
    path = experts(CONFIG_R2 ",\"target_modules\":[\"experts\"]}", one);
    assert_ok(merge(temp_path("stacked"), path, "m-base", &err), err);
    check_stack("m-base", X ".down_proj", down_pair, false);
}

/* PEFT's own names for "all-linear": bare parameters, which say nothing of the router and of attention, and gate_up_proj with
 * twice the rank and alpha. */
#define ROUTER "model.layers.0.mlp.gate"
#define ALL_LINEAR                                                                                                                         \
    ",\"target_modules\":[\"q_proj\"],\"target_parameters\":[\"gate.weight\",\"down_proj\",\"gate_up_proj\"],"                             \
    "\"rank_pattern\":{\".*\\\\.gate_up_proj\":4},\"alpha_pattern\":{\".*\\\\.gate_up_proj\":12}}"

static const struct tensor wide_pair[] = {{P X ".base_layer.lora_A.weight", E * 2 * RANK, WIDTH, 1},
                                          {P X ".base_layer.lora_B.weight", 2 * FFN, 2 * RANK *E, 2}},
                           plain_pairs[] = {{P ROUTER ".lora_A.weight", RANK, WIDTH, 5},
                                            {P ROUTER ".lora_B.weight", E, RANK, 6},
                                            {P Q ".lora_A.weight", RANK, WIDTH, 7},
                                            {P Q ".lora_B.weight", WIDTH, RANK, 8}};

static void bare_parameters_leave_other_modules_alone(void **state) {
    (void)state;
    struct said said;
    const struct tensor all[] = {wide_pair[0],   wide_pair[1],   down_pair[0],   down_pair[1], plain_pairs[0],
                                 plain_pairs[1], plain_pairs[2], plain_pairs[3], {0}};
    ar_adapter *ad = open_with(experts(CONFIG_R2 ALL_LINEAR, all), NULL, &said);
    assert_int_equal(ar_adapter_site_count(ad), 2 * E + 2);
    for (int i = 0; i < ar_adapter_site_count(ad); i++) {
        ar_site site = ar_adapter_site(ad, i);
        bool wide = strstr(site.name, ".gate_up_proj[");
        assert_true(site.rank == (wide ? 4 : 2) && site.alpha == (wide ? 12 : 6) && site.scale == 3);
    }
    assert_string_equal(ar_adapter_site(ad, 2 * E).name, ROUTER);
    assert_string_equal(ar_adapter_site(ad, 2 * E + 1).name, Q);
    ar_adapter_free(ad);
}

/* ---- a base with its experts apart ---------------------------------------------------------------------------------- */
struct apart_names {
    const char *experts, *gate, *up, *down;
};
static const struct apart_names plain_names = {X, "gate_proj", "up_proj", "down_proj"},
                                mixtral_names = {"model.layers.0.block_sparse_moe.experts", "w1", "w3", "w2"};

static const char *apart_base(const char *dir, const struct apart_names *n, int count) {
    static char name[3 * E][100];
    struct tensor t[3 * E + 3] = {{0}};
    int k = 0;
    for (int e = 0; e < count; e++) {
        const struct tensor three[] = {{n->gate, FFN, WIDTH, 0}, {n->up, FFN, WIDTH, 0}, {n->down, WIDTH, FFN, 0}};
        for (int i = 0; i < 3; i++, k++) {
            snprintf(name[k], sizeof name[k], "%s.%d.%s.weight", n->experts, e, three[i].name);
            t[k] = (struct tensor){name[k], three[i].rows, three[i].columns, 0};
        }
    }
    t[k++] = (struct tensor){n == &mixtral_names ? "model.layers.0.block_sparse_moe.gate.weight" : ROUTER ".weight", E, WIDTH, 0};
    t[k++] = (struct tensor){Q ".weight", WIDTH, WIDTH, 0};
    return folder(dir, "config.json", LLAMA "}", "model.safetensors", t);
}

/* The rows from `first` of expert e's s·B·A, whose base holds i / 64; turned: of its transpose. */
static void check_matrix(const ar_st_set *st, const struct apart_names *n, int e, const char *part, const struct tensor *pair, size_t rank,
                         size_t first, bool turned) {
    char name[100];
    snprintf(name, sizeof name, "%s.%d.%s.weight", n->experts, e, part);
    const ar_tensor *t = ar__st_find(st, name);
    for (size_t i = 0; i < (size_t)t->shape[0]; i++)
        for (size_t j = 0; j < (size_t)t->shape[1]; j++) {
            size_t at = i * (size_t)t->shape[1] + j, row = turned ? j : first + i, column = turned ? first + i : j;
            double sum = (double)at / 64;
            for (size_t k = 0; k < rank; k++)
                sum += 3 * element(&pair[1], row, k * E + (size_t)e) * element(&pair[0], (size_t)e * rank + k, column);
            assert_near((double)((const float *)t->data)[at] / sum, 1, 1e-6);
        }
}

static void check_apart(const char *out, const struct apart_names *n, const struct tensor *up, const struct tensor *back, size_t rank,
                        bool turned) {
    ar_error err;
    ar_st_set *st;
    assert_ok(ar__st_open(&st, temp_path(out), &err), err);
    for (int e = 0; e < E; e++) {
        check_matrix(st, n, e, n->gate, up, rank, 0, turned);
        check_matrix(st, n, e, n->up, up, rank, FFN, turned);
        check_matrix(st, n, e, n->down, back, RANK, 0, turned);
    }
    ar__st_close(st);
}

static void experts_apart_get_their_parts(void **state) {
    (void)state;
    ar_error err;
    struct said said;
    const struct tensor all[] = {wide_pair[0],   wide_pair[1],   down_pair[0],   down_pair[1], plain_pairs[0],
                                 plain_pairs[1], plain_pairs[2], plain_pairs[3], {0}};
    const char *path = experts(CONFIG_R2 ALL_LINEAR, all);
    const struct apart_names *const names[] = {&plain_names, &mixtral_names};
    for (int i = 0; i < 2; i++) {
        const char *model = apart_base(i ? "a-mixtral" : "a-plain", names[i], E), *out = i ? "m-mixtral" : "m-plain";
        ar_adapter *ad = open_with(path, model, &said);
        assert_string_equal(said.text, "");
        assert_int_equal(ar_adapter_site_count(ad), 3 * E + 2);
        assert_string_equal(ar_adapter_site(ad, 0).name, X ".0.down_proj");
        assert_string_equal(ar_adapter_site(ad, E + 1).name, X ".0.up_proj");
        assert_error(ar_adapter_save(ad, temp_path("again"), false, &err), AR_ERR_UNSUPPORTED, err, "is one of 3 stacked experts");
        ar_adapter_free(ad);
        assert_ok(merge(model, path, out, &err), err);
        check_apart(out, names[i], wide_pair, down_pair, 2 * RANK, false);
    }
    /* one level, and nothing but the base's shapes tells which */
    const struct tensor one[] = {down_pair[0], down_pair[1], {0}};
    ar_adapter *ad = open_with(experts(CONFIG_R2 ",\"target_modules\":[\"experts\"]}", one), temp_path("a-mixtral"), &said);
    assert_string_equal(ar_adapter_site(ad, E - 1).name, X ".2.down_proj");
    ar_adapter_free(ad);
}

/* PEFT before it knew of [E, out, in] took such stacks for [E, in, out]. */
static void experts_apart_are_found_the_other_way_round(void **state) {
    (void)state;
    ar_error err;
    const struct tensor up[] = {{P X ".base_layer.lora_A.weight", E * RANK, 2 * FFN, 1},
                                {P X ".base_layer.lora_B.weight", WIDTH, RANK * E, 2}},
                        back[] = {{P X ".lora_A.weight", E * RANK, WIDTH, 3}, {P X ".lora_B.weight", FFN, RANK * E, 4}};
    const struct tensor all[] = {up[0], up[1], back[0], back[1], {0}};
    assert_ok(merge(apart_base("a-turned", &plain_names, E), experts(CONFIG_R2 BOTH, all), "m-turned-apart", &err), err);
    check_apart("m-turned-apart", &plain_names, up, back, RANK, true);
}

static void refuse_experts(const char *config, const struct tensor *t, const char *model, const char *part) {
    ar_error err;
    ar_adapter *ad;
    ar_adapter_options o = {.model = model};
    if (!ar_adapter_open(&ad, experts(config, t), &o, &err)) fail_msg("read, wanted: %s", part);
    if (!strstr(err.message, part)) fail_msg("message '%s', wanted '%s'", err.message, part);
}

static void a_wrong_reading_of_experts_is_refused(void **state) {
    (void)state;
    const struct tensor one[] = {down_pair[0], down_pair[1], {0}}, all[] = {gate_pair[0], gate_pair[1], down_pair[0], down_pair[1], {0}};
    const char *stacked = expert_base("stacked", LLAMA "}", false);
    refuse_experts(CONFIG_R2 ",\"target_modules\":[\"experts\"]}", one, NULL, "nothing says which of gate_up_proj and down_proj");
    refuse_experts(CONFIG_R2 ",\"target_modules\":[\"experts\"],\"rank_pattern\":{\"experts\":6}}", one, NULL, "nothing says which");
    refuse_experts(CONFIG_R2 ",\"rank_pattern\":{\"experts.down_proj\":6},\"target_parameters\":[\"experts.down_proj\"]}", one, NULL,
                   "makes that 1 of them");
    refuse_experts(CONFIG_R2 ",\"target_parameters\":[\"experts.down_proj\"]}", all, NULL, "names one of gate_up_proj and down_proj");
    refuse_experts(CONFIG_R2 ",\"target_parameters\":[\"experts.down\"]}", all, NULL, "names none of its parameters");
    refuse_experts(CONFIG_R2 BOTH, one, NULL, "names both of gate_up_proj and down_proj, the file has one");
    refuse_experts("{\"peft_type\":\"LORA\",\"r\":3,\"lora_alpha\":6" BOTH, all, stacked, "which the base has not");
    const char *packed =
        folder("packed", "config.json", LLAMA "}", "model.safetensors", (struct tensor[]){{X ".0.gate_proj.qweight", FFN, WIDTH, 0}, {0}});
    ar_error err;
    assert_error(merge(packed, experts(CONFIG_R2 BOTH, all), "refused", &err), AR_ERR_UNSUPPORTED, err, "has its experts packed");
    const char *fewer = apart_base("fewer", &plain_names, E - 1);
    refuse_experts(CONFIG_R2 BOTH, all, fewer, "which the base has not");
}

static void names_are_compared_loosely(void **state) {
    (void)state;
    assert_true(ar__base_name_is_like("unsloth/Llama-3.1-8B-bnb-4bit", "/models/llama_3.1-8b"));
    assert_true(ar__base_name_is_like("Qwen/Qwen2.5-7B", "/c/hub/models--Qwen--Qwen2.5-7B/snapshots/abc"));
    assert_true(ar__base_name_is_like("a/tiny", "tiny-Q8.gguf"));
    assert_false(ar__base_name_is_like("meta-llama/Llama-3.1-8B", "Llama-3.1-8B-Instruct"));
    assert_false(ar__base_name_is_like("Mistral-7B-v0.1", "Mistral-7B-v0.3"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_name_by_rule),
        cmocka_unit_test(keys_are_read_however_they_are_wrapped),
        cmocka_unit_test(targets_may_mean_the_keys_own_paths),
        cmocka_unit_test(two_spellings_must_agree),
        cmocka_unit_test(a_name_behind_the_part_is_said),
        cmocka_unit_test(a_tensor_saved_three_times_is_one),
        cmocka_unit_test(merging_extends_the_vocabulary),
        cmocka_unit_test(what_was_saved_whole_is_there),
        cmocka_unit_test(a_packed_base_is_no_other_base),
        cmocka_unit_test(another_base_is_the_last_thing_to_say),
        cmocka_unit_test(null_targets_are_the_familys_default),
        cmocka_unit_test(names_are_compared_loosely),
        cmocka_unit_test(stacked_experts_are_merged_each_with_its_own_pair),
        cmocka_unit_test(experts_apart_get_their_parts),
        cmocka_unit_test(experts_apart_are_found_the_other_way_round),
        cmocka_unit_test(bare_parameters_leave_other_modules_alone),
        cmocka_unit_test(a_wrong_reading_of_experts_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
