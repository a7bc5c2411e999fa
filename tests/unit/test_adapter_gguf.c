/* GGUF adapters: what is written is what llama.cpp's rule reads, row orders and folds included; what is refused. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "adapter/formats.h"
#include "dense.h"
#include "format/gguf.h"
#include "kern/runtime.h"
#include "util.h"

static ar_runtime *rt;

static int start(void **state) {
    (void)state;
    return ar_runtime_new(&rt, NULL, NULL) != AR_OK;
}

static int stop(void **state) {
    (void)state;
    ar_runtime_free(rt);
    return 0;
}

struct site {
    const char *name;
    int64_t n_out, n_in;
    int rank;
    double alpha;
    ar_policy policy;
    bool embedding, dora;
};

/* An adapter in memory with random factors. */
static ar_adapter *make(const struct site *sites) {
    ar_error err;
    ar_adapter *ad;
    assert_ok(ar__adapter_new(&ad, &err), err);
    for (uint64_t seed = 1; sites->name; sites++, seed += 2) {
        ar_pair_shape shape = {.site = sites->name,
                               .n_out = sites->n_out,
                               .n_in = sites->n_in,
                               .rank = sites->rank,
                               .alpha = sites->alpha,
                               .policy = sites->policy,
                               .is_embedding = sites->embedding,
                               .dora = sites->dora};
        dense_add_pair(ad, &shape, seed);
        ad->settings.rank = sites->rank;
        ad->settings.alpha = sites->alpha;
        ad->settings.policy = sites->policy;
    }
    return ad;
}

#define Q "model.layers.0.self_attn.q_proj"
#define K "model.layers.0.self_attn.k_proj"
#define DOWN "model.layers.1.mlp.down_proj"

static const struct site mixed[] = {{Q, 16, 8, 2, 4, AR_POLICY_RSLORA, false, false},
                                    {K, 8, 8, 3, -1.5, AR_POLICY_RSLORA, false, false},
                                    {DOWN, 8, 20, 4, 0.7, AR_POLICY_RSLORA, false, false},
                                    {"model.embed_tokens", 8, 30, 2, 1, AR_POLICY_RSLORA, true, false},
                                    {0}};

/* s by llama.cpp's rule from the file's one alpha. */
static double rule(const ar_gguf *g, int64_t rank) {
    ar_error err;
    double alpha = NAN;
    assert_ok(ar__gguf_get_double(&alpha, g, "adapter.lora.alpha", &err), err);
    return alpha != 0 ? alpha / (double)rank : 1;
}

static const float *floats(const ar_gguf *g, const char *name, int64_t ne0, int64_t ne1) {
    const ar_gguf_tensor *t = ar__gguf_find(g, name);
    assert_non_null(t);
    assert_int_equal(t->ne[0], ne0);
    assert_int_equal(t->ne[1], ne1);
    return t->data;
}

/* The definition: one head of 8 rows, whose halves are interleaved in GGUF. */
static size_t interleaved(size_t hf_row) { return hf_row / 8 * 8 + hf_row % 8 % 4 * 2 + hf_row % 8 / 4; }

static void every_pair_keeps_its_update(void **state) {
    (void)state;
    ar_error err;
    ar_gguf *g;
    ar_adapter *ad = make(mixed);
    const char *path = temp_path("mixed.gguf");
    ar_write_options o = {.format = "gguf", .heads = 2, .kv_heads = 1};
    ar_proof proof;
    assert_ok(ar_adapter_write(&proof, ad, rt, path, &o, &err), err);
    assert_int_equal(proof.sites, 4);
    assert_true(proof.max_relative < 2e-7 && proof.folded == 3);
    assert_ok(ar__gguf_open(&g, path, &err), err);
    const float *b = floats(g, "blk.0.attn_q.weight.lora_b", 2, 16), *a = floats(g, "blk.0.attn_q.weight.lora_a", 8, 2);
    assert_memory_equal(a, ad->pair[0].a, 16 * sizeof *a);
    for (size_t i = 0; i < 16; i++)
        for (size_t j = 0; j < 2; j++)
            assert_near(rule(g, 2) * (double)b[interleaved(i) * 2 + j], 4 / sqrt(2) * (double)ad->pair[0].b[i * 2 + j], 1e-6);
    b = floats(g, "blk.1.ffn_down.weight.lora_b", 4, 8);
    for (size_t i = 0; i < 32; i++) assert_near(rule(g, 4) * (double)b[i], 0.35 * (double)ad->pair[2].b[i], 1e-6);
    a = floats(g, "token_embd.weight.lora_a", 2, 30); /* [vocab][r]: turned against PEFT */
    for (size_t i = 0; i < 30; i++)
        for (size_t j = 0; j < 2; j++) assert_true(a[i * 2 + j] == ad->pair[3].a[j * 30 + i]);
    ar__gguf_close(g);
    ar_adapter_free(ad);
}

static void heads_travel_with_the_file(void **state) {
    (void)state;
    ar_error err;
    ar_adapter *ad = make(mixed), *back;
    const char *path = temp_path("again.gguf");
    ar_write_options o = {.format = "gguf", .heads = 2, .kv_heads = 1};
    assert_ok(ar_adapter_write(NULL, ad, rt, path, &o, &err), err);
    assert_ok(ar_adapter_open(&back, path, NULL, &err), err); /* our note in the file */
    assert_false(back->pair[0].has_gguf_rows);
    o = (ar_write_options){.format = "peft"};
    ar_proof proof;
    assert_ok(ar_adapter_write(&proof, back, rt, temp_path("again-peft"), &o, &err), err);
    assert_true(proof.max_relative < 1e-7);
    ar_adapter_free(back);
    ar_adapter_free(ad);
}

/* A file of another tool: like ours, without our notes. */
static const char *foreign(double alpha, bool with_alpha, const char *architecture, const char *type) {
    ar_error err;
    ar_gguf_writer *w;
    const char *path = temp_path("foreign.gguf");
    static const float ones[64] = {1, 2, 3, 4, 5, 6, 7, 8};
    assert_ok(ar__gguf_writer_new(&w, &err), err);
    assert_ok(ar__gguf_writer_set_string(w, "general.type", type, &err), err);
    assert_ok(ar__gguf_writer_set_string(w, "general.architecture", architecture, &err), err);
    assert_ok(ar__gguf_writer_set_string(w, "adapter.type", "lora", &err), err);
    if (with_alpha) assert_ok(ar__gguf_writer_set_f32(w, "adapter.lora.alpha", (float)alpha, &err), err);
    assert_ok(ar__gguf_writer_add(w, "blk.0.attn_q.weight.lora_a", AR_F32, 2, (int64_t[]){4, 2}, ones, &err), err);
    assert_ok(ar__gguf_writer_add(w, "blk.0.attn_q.weight.lora_b", AR_F32, 2, (int64_t[]){2, 8}, ones, &err), err);
    assert_ok(ar__gguf_writer_save(w, path, &err), err);
    ar__gguf_writer_free(w);
    return path;
}

/* A pair of one tensor each, of experts. */
static ar_status open_experts(ar_adapter **out, const char *architecture, const char *stem, const int64_t a[3], const int64_t b[3],
                              ar_error *err) {
    ar_gguf_writer *w;
    const char *path = temp_path("experts.gguf");
    static float numbers[64];
    char name[2][80];
    for (int i = 0; i < 64; i++) numbers[i] = (float)(i + 1);
    for (int i = 0; i < 2; i++) snprintf(name[i], sizeof name[i], "%s.weight.lora_%c", stem, 'a' + i);
    assert_ok(ar__gguf_writer_new(&w, err), *err);
    assert_ok(ar__gguf_writer_set_string(w, "general.type", "adapter", err), *err);
    assert_ok(ar__gguf_writer_set_string(w, "general.architecture", architecture, err), *err);
    assert_ok(ar__gguf_writer_set_string(w, "adapter.type", "lora", err), *err);
    assert_ok(ar__gguf_writer_set_f32(w, "adapter.lora.alpha", 6, err), *err);
    assert_ok(ar__gguf_writer_add(w, name[0], AR_F32, a[2] ? 3 : 2, a, numbers, err), *err);
    assert_ok(ar__gguf_writer_add(w, name[1], AR_F32, b[2] ? 3 : 2, b, numbers, err), *err);
    assert_ok(ar__gguf_writer_save(w, path, err), *err);
    ar__gguf_writer_free(w);
    return ar_adapter_open(out, path, NULL, err);
}

static void experts_stand_in_one_tensor(void **state) {
    (void)state;
    ar_error err;
    ar_adapter *ad;
    const int64_t a[] = {4, 2, 3}, b[] = {2, 5, 3}, two[] = {2, 5, 2}, other[] = {3, 5, 3}, flat[] = {2, 5, 0};
    assert_ok(open_experts(&ad, "qwen3moe", "blk.7.ffn_up_exps", a, b, &err), err);
    assert_int_equal(ad->pair_count, 3);
    const ar_pair *last = &ad->pair[2];
    assert_string_equal(last->site, "model.layers.7.mlp.experts.2.up_proj");
    assert_true(last->scale == 3 && last->rank == 2 && last->n_in == 4 && last->n_out == 5 && last->experts == 3 && last->is_apart);
    assert_ok(ar__adapter_load(ad, &err), err);
    assert_true(last->a[0] == 17.0f && last->a[7] == 24.0f && last->b[0] == 21.0f && last->b[9] == 30.0f);
    ar_write_options o = {.format = "gguf"};
    assert_ok(ar_adapter_write(NULL, ad, rt, temp_path("experts-again.gguf"), &o, &err), err);
    free(ad->pair[1].site);
    ad->pair[1].site = strdup("model.layers.8.mlp.experts.1.up_proj");
    assert_error(ar_adapter_write(NULL, ad, rt, temp_path("some.gguf"), &o, &err), AR_ERR_UNSUPPORTED, err, "expert 1 has no pair");
    ar_adapter_free(ad);
    assert_ok(open_experts(&ad, "llama", "blk.0.ffn_down_exps", a, b, &err), err);
    assert_string_equal(ad->pair[0].site, "model.layers.0.mlp.experts.0.down_proj");
    ar_adapter_free(ad);
    assert_error(open_experts(&ad, "qwen3moe", "blk.0.ffn_gate_exps", a, two, &err), AR_ERR_FORMAT, err, "wanted {n_in, r, experts}");
    assert_error(open_experts(&ad, "qwen3moe", "blk.0.ffn_gate_exps", a, other, &err), AR_ERR_FORMAT, err, "wanted {n_in, r, experts}");
    assert_error(open_experts(&ad, "qwen3moe", "blk.0.ffn_gate_exps", a, flat, &err), AR_ERR_FORMAT, err, "wanted {n_in, r, experts}");
    assert_error(open_experts(&ad, "qwen3", "blk.0.ffn_gate_exps", a, b, &err), AR_ERR_UNSUPPORTED, err,
                 "which the architecture qwen3 has not");
    assert_error(open_experts(&ad, "qwen3moe", "blk.0.attn_q", a, b, &err), AR_ERR_UNSUPPORTED, err, "more than 2 dimensions");
}

static void foreign_files_need_heads_for_their_rows(void **state) {
    (void)state;
    ar_error err;
    ar_adapter *ad;
    ar_write_options o = {.format = "peft"};
    assert_ok(ar_adapter_open(&ad, foreign(3, true, "llama", "adapter"), NULL, &err), err);
    assert_true(ad->pair[0].has_gguf_rows && ad->pair[0].scale == 1.5);
    assert_error(ar_adapter_write(NULL, ad, rt, temp_path("f"), &o, &err), AR_ERR_UNSUPPORTED, err, "--heads H,KV");
    assert_false(file_exists(temp_path("f")));
    o.format = "gguf"; /* GGUF again: rows may stay as they are */
    assert_ok(ar_adapter_write(NULL, ad, rt, temp_path("f.gguf"), &o, &err), err);
    ar_adapter_free(ad);
    ar_adapter_options heads = {.heads = 2, .kv_heads = 2};
    assert_ok(ar_adapter_open(&ad, temp_path("foreign.gguf"), &heads, &err), err);
    assert_ok(ar__adapter_load(ad, &err), err);
    static const float want[] = {1, 2, 5, 6, 3, 4, 7, 8}; /* GGUF rows 0 1 2 3 of the head are our 0 2 1 3 */
    assert_memory_equal(ad->pair[0].b, want, sizeof want);
    ar_adapter_free(ad);
    assert_ok(ar_adapter_open(&ad, foreign(3, true, "qwen2", "adapter"), NULL, &err), err);
    assert_false(ad->pair[0].has_gguf_rows); /* Qwen's rows stay in order */
    ar_adapter_free(ad);
}

static void alpha_is_never_guessed(void **state) {
    (void)state;
    ar_error err;
    ar_adapter *ad;
    ar_adapter_options o = {.has_alpha = true, .alpha = 5};
    assert_error(ar_adapter_open(&ad, foreign(0, false, "qwen2", "adapter"), NULL, &err), AR_ERR_FORMAT, err, "--alpha");
    assert_ok(ar_adapter_open(&ad, temp_path("foreign.gguf"), &o, &err), err);
    assert_true(ad->pair[0].scale == 2.5);
    ar_adapter_free(ad);
    assert_error(ar_adapter_open(&ad, foreign(NAN, true, "qwen2", "adapter"), NULL, &err), AR_ERR_NUMERIC, err, "is nan");
    assert_ok(ar_adapter_open(&ad, foreign(0, true, "qwen2", "adapter"), NULL, &err), err);
    assert_true(ad->pair[0].scale == 1); /* what llama.cpp makes of 0 */
    ar_adapter_free(ad);
    assert_error(ar_adapter_open(&ad, foreign(1, true, "nowhere", "adapter"), NULL, &err), AR_ERR_UNSUPPORTED, err, "'nowhere'");
    assert_error(ar_adapter_open(&ad, foreign(1, true, "qwen2", "model"), NULL, &err), AR_ERR_FORMAT, err, "wanted adapter");
}

static void refuse(const struct site *sites, const char *part) {
    ar_error err;
    ar_adapter *ad = make(sites);
    ar_write_options o = {.format = "gguf", .heads = 2, .kv_heads = 1};
    assert_error(ar_adapter_write(NULL, ad, rt, temp_path("no.gguf"), &o, &err), AR_ERR_UNSUPPORTED, err, part);
    assert_false(file_exists(temp_path("no.gguf")));
    ar_adapter_free(ad);
}

static void what_the_format_cannot_hold_is_named(void **state) {
    (void)state;
    ar_error err;
    refuse((struct site[]){{Q, 16, 8, 2, 4, AR_POLICY_STANDARD, false, true}, {0}}, "DoRA");
    refuse((struct site[]){{"some.module", 16, 8, 2, 4, AR_POLICY_STANDARD, false, false}, {0}}, "some.module");
    refuse((struct site[]){{Q, 16, 8, 2, 0, AR_POLICY_STANDARD, false, false}, {0}}, "--fold");
    ar_adapter *ad = make((struct site[]){{Q, 16, 8, 2, 0, AR_POLICY_STANDARD, false, false}, {0}});
    ar_write_options o = {.format = "gguf", .heads = 2, .kv_heads = 1, .fold = true};
    ar_proof proof;
    assert_ok(ar_adapter_write(&proof, ad, rt, temp_path("off.gguf"), &o, &err), err);
    assert_true(proof.alpha == 2 && proof.max_relative == 0);
    o.heads = 0;
    assert_error(ar_adapter_write(NULL, ad, rt, temp_path("no.gguf"), &o, &err), AR_ERR_UNSUPPORTED, err, "give --model BASE");
    o = (ar_write_options){.format = "gguf", .heads = 3, .kv_heads = 3};
    assert_error(ar_adapter_write(NULL, ad, rt, temp_path("no.gguf"), &o, &err), AR_ERR_UNSUPPORTED, err, "--fold");
    o.fold = true;
    assert_error(ar_adapter_write(NULL, ad, rt, temp_path("no.gguf"), &o, &err), AR_ERR_MISMATCH, err, Q);
    ar_adapter_free(ad);
}

static void half_precision_is_held_to_its_own_bound(void **state) {
    (void)state;
    ar_error err;
    ar_adapter *ad = make(mixed);
    ar_write_options o = {.format = "gguf", .dtype = "bf16", .heads = 2, .kv_heads = 1};
    ar_proof proof;
    assert_ok(ar_adapter_write(&proof, ad, rt, temp_path("half.gguf"), &o, &err), err);
    assert_true(proof.max_relative > 1e-4 && proof.max_relative < proof.bound && proof.bound < 5e-3);
    o.dtype = "f8";
    assert_error(ar_adapter_write(NULL, ad, rt, temp_path("half8.gguf"), &o, &err), AR_ERR_USAGE, err, "wanted keep, f32, f16 or bf16");
    ar_adapter_free(ad);
}

static ar_gguf_writer *begin_foreign(void) {
    ar_error err;
    ar_gguf_writer *w;
    static const float ones[64] = {1, 2, 3, 4, 5, 6, 7, 8};
    assert_ok(ar__gguf_writer_new(&w, &err), err);
    assert_ok(ar__gguf_writer_set_string(w, "general.type", "adapter", &err), err);
    assert_ok(ar__gguf_writer_set_string(w, "general.architecture", "qwen2", &err), err);
    assert_ok(ar__gguf_writer_set_string(w, "adapter.type", "lora", &err), err);
    assert_ok(ar__gguf_writer_set_f32(w, "adapter.lora.alpha", 4, &err), err);
    assert_ok(ar__gguf_writer_add(w, "blk.0.attn_q.weight.lora_a", AR_F32, 2, (int64_t[]){4, 2}, ones, &err), err);
    assert_ok(ar__gguf_writer_add(w, "blk.0.attn_q.weight.lora_b", AR_F32, 2, (int64_t[]){2, 8}, ones, &err), err);
    return w;
}

static const char *end_foreign(ar_gguf_writer *w) {
    ar_error err;
    assert_ok(ar__gguf_writer_save(w, temp_path("foreign2.gguf"), &err), err);
    ar__gguf_writer_free(w);
    return temp_path("foreign2.gguf");
}

static void count_warning(void *user, ar_log_level level, const char *text) {
    (void)level;
    *(int *)user += strstr(text, "which llama.cpp ignores") != NULL;
}

/* As llama.cpp does it, but not in silence. */
static void whole_norms_are_passed_over(void **state) {
    (void)state;
    ar_error err;
    ar_adapter *ad;
    int warned = 0;
    static const float norm[4] = {1, 1, 1, 1};
    ar_adapter_options o = {.log = count_warning, .log_user = &warned};
    ar_gguf_writer *w = begin_foreign();
    assert_ok(ar__gguf_writer_add(w, "blk.0.attn_norm.weight", AR_F32, 1, (int64_t[]){4}, norm, &err), err);
    assert_ok(ar__gguf_writer_add(w, "output_norm.weight", AR_F32, 1, (int64_t[]){4}, norm, &err), err);
    assert_ok(ar_adapter_open(&ad, end_foreign(w), &o, &err), err);
    assert_true(ad->pair_count == 1 && ad->whole_count == 0 && warned == 1);
    ar_adapter_free(ad);
    w = begin_foreign();
    assert_ok(ar__gguf_writer_add(w, "output.weight", AR_F32, 1, (int64_t[]){4}, norm, &err), err);
    assert_error(ar_adapter_open(&ad, end_foreign(w), &o, &err), AR_ERR_FORMAT, err, "'output.weight' is no half of a pair");
}

/* Key-values that nothing here goes by are in the file that is made of it again, whatever lies between. */
static void unknown_keys_are_carried(void **state) {
    (void)state;
    static const char *const words[] = {"a", "\xc3\xa9"};
    ar_error err;
    ar_adapter *ad;
    ar_gguf *g;
    double x = 0;
    int64_t n = 0;
    ar_gguf_string text;
    const ar_gguf_kv *list = NULL;
    ar_gguf_writer *w = begin_foreign();
    assert_ok(ar__gguf_writer_set_string(w, "adapter.lora.task_name", "summary = \"x\"", &err), err);
    assert_ok(ar__gguf_writer_set_f64(w, "other.number", -0.1, &err), err);
    assert_ok(ar__gguf_writer_set_u64(w, "other.big", UINT64_C(1) << 40, &err), err);
    assert_ok(ar__gguf_writer_set_strings(w, "general.tags", words, 2, &err), err);
    assert_ok(ar__gguf_writer_set_string(w, "general.base_model.0.repo_url", "https://example.org/base", &err), err);
    assert_ok(ar_adapter_open(&ad, end_foreign(w), NULL, &err), err);
    ar_write_options o = {.format = "peft"};
    assert_ok(ar_adapter_write(NULL, ad, rt, temp_path("between"), &o, &err), err);
    ar_adapter_free(ad);
    assert_ok(ar_adapter_open(&ad, temp_path("between"), NULL, &err), err);
    o = (ar_write_options){.format = "gguf"};
    assert_ok(ar_adapter_write(NULL, ad, rt, temp_path("carried.gguf"), &o, &err), err);
    ar_adapter_free(ad);
    assert_ok(ar__gguf_open(&g, temp_path("carried.gguf"), &err), err);
    assert_ok(ar__gguf_get_string(&text, g, "adapter.lora.task_name", &err), err);
    assert_true(ar__gguf_string_is(text, "summary = \"x\""));
    assert_true(!ar__gguf_get_double(&x, g, "other.number", &err) && x == -0.1);
    assert_true(!ar__gguf_get_int(&n, g, "other.big", &err) && n == INT64_C(1) << 40);
    assert_ok(ar__gguf_get_array(&list, g, "general.tags", AR_GGUF_STRING, &err), err);
    assert_true(list->count == 2 && ar__gguf_string_at(&text, list, 1) && ar__gguf_string_is(text, words[1]));
    assert_ok(ar__gguf_get_string(&text, g, "general.base_model.0.repo_url", &err), err);
    assert_true(ar__gguf_string_is(text, "https://example.org/base"));
    assert_null(ar__gguf_kv_find(g, "alphar.gguf.other.big"));
    ar__gguf_close(g);
}

static void activated_adapters_are_refused(void **state) {
    (void)state;
    ar_error err;
    ar_adapter *ad;
    ar_gguf_writer *w = begin_foreign();
    assert_ok(ar__gguf_writer_set_u32(w, "adapter.alora.invocation_tokens", 7, &err), err);
    assert_error(ar_adapter_open(&ad, end_foreign(w), NULL, &err), AR_ERR_UNSUPPORTED, err, "aLoRA");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_pair_keeps_its_update),
        cmocka_unit_test(heads_travel_with_the_file),
        cmocka_unit_test(foreign_files_need_heads_for_their_rows),
        cmocka_unit_test(alpha_is_never_guessed),
        cmocka_unit_test(what_the_format_cannot_hold_is_named),
        cmocka_unit_test(whole_norms_are_passed_over),
        cmocka_unit_test(unknown_keys_are_carried),
        cmocka_unit_test(experts_stand_in_one_tensor),
        cmocka_unit_test(activated_adapters_are_refused),
        cmocka_unit_test(half_precision_is_held_to_its_own_bound),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
