/* Merging into a GGUF base: what keeps its type, and what another dtype changes. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "adapter/adapter.h"
#include "alphar/algebra.h"
#include "format/gguf.h"
#include "kern/runtime.h"
#include "util.h"

enum { N = 64 };

static ar_runtime *rt;
static char warned[1000];

static void note(void *user, ar_log_level level, const char *line) {
    (void)user;
    (void)level;
    strncat(warned, line, sizeof warned - strlen(warned) - 1);
}

static int start(void **state) {
    (void)state;
    ar_runtime_options o = {.log = note};
    return ar_runtime_new(&rt, &o, NULL) != AR_OK;
}

static int stop(void **state) {
    (void)state;
    ar_runtime_free(rt);
    return 0;
}

static void add(ar_gguf_writer *w, const char *name, ar_dtype type, int64_t columns, int64_t rows, uint64_t seed, float size) {
    ar_error err;
    static char bytes[8][N * N * 4];
    static int used;
    float *x = random_f32((size_t)(rows * columns), seed, size);
    char *data = bytes[used++ % 8];
    ar__dtype(type)->from_f32(data, x, (size_t)(rows * columns));
    free(x);
    assert_ok(ar__gguf_writer_add(w, name, type, rows > 1 ? 2 : 1, (int64_t[]){columns, rows}, data, &err), err);
}

static const char *save(ar_gguf_writer *w, const char *name) {
    ar_error err;
    assert_ok(ar__gguf_writer_save(w, temp_path(name), &err), err);
    ar__gguf_writer_free(w);
    return temp_path(name);
}

static const char *base(void) {
    ar_error err;
    ar_gguf_writer *w;
    assert_ok(ar__gguf_writer_new(&w, &err), err);
    assert_ok(ar__gguf_writer_set_string(w, "general.architecture", "qwen2", &err), err);
    assert_ok(ar__gguf_writer_set_u32(w, "qwen2.attention.head_count", 4, &err), err);
    assert_ok(ar__gguf_writer_set_string(w, "some.key", "kept", &err), err);
    add(w, "token_embd.weight", AR_Q8_0, N, N, 1, 0.1F);
    add(w, "output_norm.weight", AR_F32, N, 1, 2, 1);
    add(w, "blk.0.ffn_up.weight", AR_Q8_0, N, N, 3, 0.1F);
    add(w, "blk.0.ffn_down.weight", AR_Q8_0, N, N, 4, 0.1F);
    return save(w, "base.gguf");
}

static ar_gguf_writer *adapter_writer(const char *architecture, float alpha) {
    ar_error err;
    ar_gguf_writer *w;
    assert_ok(ar__gguf_writer_new(&w, &err), err);
    assert_ok(ar__gguf_writer_set_string(w, "general.type", "adapter", &err), err);
    assert_ok(ar__gguf_writer_set_string(w, "general.architecture", architecture, &err), err);
    assert_ok(ar__gguf_writer_set_string(w, "adapter.type", "lora", &err), err);
    assert_ok(ar__gguf_writer_set_f32(w, "adapter.lora.alpha", alpha, &err), err);
    return w;
}

/* So small that Q8_0 eats nearly all of it. */
static const char *adapter(void) {
    ar_gguf_writer *w = adapter_writer("qwen2", 0.0004F);
    add(w, "blk.0.ffn_down.weight.lora_a", AR_F32, N, 4, 5, 0.3F);
    add(w, "blk.0.ffn_down.weight.lora_b", AR_F32, 4, N, 6, 0.3F);
    return save(w, "adapter.gguf");
}

static uint32_t type_of(const char *path, const char *tensor) {
    ar_error err;
    ar_gguf *g;
    assert_ok(ar__gguf_open(&g, path, &err), err);
    assert_non_null(ar__gguf_kv_find(g, "some.key"));
    uint32_t type = ar__gguf_find(g, tensor)->type;
    ar__gguf_close(g);
    return type;
}

static double survival(const char *dtype, const char *out) {
    ar_error err;
    ar_merge_result r;
    char model[300], path[300];
    snprintf(model, sizeof model, "%s", base());
    snprintf(path, sizeof path, "%s", adapter());
    const char *adapters[] = {path};
    ar_merge_options o = {.model = model, .adapters = adapters, .adapter_count = 1, .out = temp_path(out), .dtype = dtype};
    warned[0] = '\0';
    assert_ok(ar_merge(&r, rt, &o, &err), err);
    double least = r.min_survival;
    ar_merge_result_release(&r);
    return least;
}

/* The advice of the warning works: the adapted matrix gets the type, the rest stays as it was quantised. */
static void another_dtype_saves_what_q8_0_eats(void **state) {
    (void)state;
    enum { F32 = 0, Q8_0 = 8, BF16 = 30 };
    assert_true(survival("keep", "kept.gguf") < 0.5);
    assert_non_null(strstr(warned, "write with --dtype f32 (the adapted tensors alone)"));
    assert_int_equal(type_of(temp_path("kept.gguf"), "blk.0.ffn_down.weight"), Q8_0);
    assert_true(survival("f32", "wide.gguf") > 0.999);
    assert_string_equal(warned, "");
    assert_int_equal(type_of(temp_path("wide.gguf"), "blk.0.ffn_down.weight"), F32);
    assert_int_equal(type_of(temp_path("wide.gguf"), "blk.0.ffn_up.weight"), Q8_0);
    assert_int_equal(type_of(temp_path("wide.gguf"), "token_embd.weight"), Q8_0);
    (void)survival("bf16", "half.gguf");
    assert_int_equal(type_of(temp_path("half.gguf"), "blk.0.ffn_down.weight"), BF16);
}

static const void *bytes_of(ar_gguf **g, size_t *n, const char *path, const char *tensor) {
    ar_error err;
    assert_ok(ar__gguf_open(g, path, &err), err);
    const ar_gguf_tensor *t = ar__gguf_find(*g, tensor);
    *n = t->bytes;
    return t->data;
}

static void assert_same(const char *tensor, const char *path, const char *other) {
    ar_gguf *g, *h;
    size_t n, m;
    const void *a = bytes_of(&g, &n, path, tensor), *b = bytes_of(&h, &m, other, tensor);
    assert_int_equal(n, m);
    assert_memory_equal(a, b, n);
    ar__gguf_close(g);
    ar__gguf_close(h);
}

static bool within(void *most, uint64_t done, uint64_t total) {
    assert_true(done <= total);
    *(uint64_t *)most = total - done;
    return true;
}

/* Two sites: the one whose update is smaller is rescued, the other has the bytes of a merge without. */
static void the_site_that_lost_most_is_rescued(void **state) {
    (void)state;
    enum { F32 = 0, F16 = 1, Q8_0 = 8 };
    ar_error err;
    ar_gguf_writer *w;
    ar_merge_result r;
    char model[300], path[300], plain[300], out[300];
    uint64_t left = 1;
    snprintf(model, sizeof model, "%s", base());
    w = adapter_writer("qwen2", 0.0004F);
    add(w, "blk.0.ffn_down.weight.lora_a", AR_F32, N, 4, 5, 0.3F);
    add(w, "blk.0.ffn_down.weight.lora_b", AR_F32, 4, N, 6, 0.3F);
    add(w, "blk.0.ffn_up.weight.lora_a", AR_F32, N, 4, 7, 30);
    add(w, "blk.0.ffn_up.weight.lora_b", AR_F32, 4, N, 8, 3);
    snprintf(path, sizeof path, "%s", save(w, "two.gguf"));
    snprintf(plain, sizeof plain, "%s", temp_path("plain.gguf"));
    snprintf(out, sizeof out, "%s", temp_path("rescued.gguf"));
    const char *adapters[] = {path};
    ar_merge_options o = {.model = model, .adapters = adapters, .adapter_count = 1, .out = plain};
    assert_ok(ar_merge(&r, rt, &o, &err), err);
    assert_true(r.min_survival < 0.5);
    ar_merge_result_release(&r);
    o.out = out;
    o.rescue = 1;
    o.on_progress = within;
    o.user = &left;
    assert_ok(ar_merge(&r, rt, &o, &err), err);
    assert_int_equal(left, 0);
    assert_int_equal(r.count, 2);
    for (size_t i = 0; i < r.count; i++) {
        bool down = strstr(r.sites[i].name, "down_proj");
        assert_int_equal(r.sites[i].is_rescued, down);
        assert_string_equal(r.sites[i].type, down ? "f16" : "q8_0");
        assert_true(r.sites[i].survival > 0.9);
    }
    ar_merge_result_release(&r);
    assert_int_equal(type_of(out, "blk.0.ffn_down.weight"), F16);
    assert_same("blk.0.ffn_up.weight", plain, out);
    assert_same("token_embd.weight", plain, out);
    o.overwrite = true;
    o.dtype = "f16"; /* from which a site is rescued to f32; more sites than there are: all */
    o.rescue = 7;
    assert_ok(ar_merge(&r, rt, &o, &err), err);
    ar_merge_result_release(&r);
    assert_int_equal(type_of(out, "blk.0.ffn_up.weight"), F32);
    assert_int_equal(type_of(out, "blk.0.ffn_down.weight"), F32);
    o.rescue = -1;
    assert_error(ar_merge(&r, rt, &o, &err), AR_ERR_USAGE, err, "rescue -1: wanted a number of sites");
    ar_merge_result_release(&r);
}

/* Block types are dtypes here; rows that are no multiple of the block are named. */
static void adapted_matrices_may_be_quantised_otherwise(void **state) {
    (void)state;
    enum { Q4_0 = 2, Q8_0 = 8 };
    ar_error err;
    ar_merge_result r;
    char model[300], path[300];
    (void)survival("q4_0", "four.gguf");
    assert_int_equal(type_of(temp_path("four.gguf"), "blk.0.ffn_down.weight"), Q4_0);
    assert_int_equal(type_of(temp_path("four.gguf"), "blk.0.ffn_up.weight"), Q8_0);
    snprintf(model, sizeof model, "%s", base());
    snprintf(path, sizeof path, "%s", adapter());
    const char *adapters[] = {path};
    ar_merge_options o = {.model = model, .adapters = adapters, .adapter_count = 1, .out = temp_path("never.gguf"), .dtype = "q4_k"};
    assert_error(ar_merge(&r, rt, &o, &err), AR_ERR_UNSUPPORTED, err, "rows of 64 values, q4_k has blocks of 256");
    ar_merge_result_release(&r);
    o.dtype = "nf4";
    assert_error(ar_merge(&r, rt, &o, &err), AR_ERR_UNSUPPORTED, err, "GGUF has no type for dtype nf4");
    ar_merge_result_release(&r);
    for (size_t i = 0; i < 3; i++) {
        o.dtype = (const char *const[]){"iq4_xs", "i8", "f64"}[i];
        assert_error(ar_merge(&r, rt, &o, &err), AR_ERR_USAGE, err, "wanted keep, f32, f16 or bf16, or in a GGUF file q8_0");
        ar_merge_result_release(&r);
    }
    assert_false(file_exists(temp_path("never.gguf")));
}

/* A base with q, k and v in one tensor: its numbers of heads serve, its weights are named for what they are. */
static void fused_weights_are_named(void **state) {
    (void)state;
    ar_error err;
    ar_gguf_writer *w;
    ar_adapter *ad;
    ar_merge_result r;
    char base_path[300], adapter_path[300];
    assert_ok(ar__gguf_writer_new(&w, &err), err);
    assert_ok(ar__gguf_writer_set_string(w, "general.architecture", "llama", &err), err);
    assert_ok(ar__gguf_writer_set_u32(w, "llama.attention.head_count", 4, &err), err);
    add(w, "token_embd.weight", AR_F32, 8, 8, 1, 0.1F);
    add(w, "blk.0.attn_qkv.weight", AR_F32, 8, 24, 2, 0.1F);
    snprintf(base_path, sizeof base_path, "%s", save(w, "fused.gguf"));
    w = adapter_writer("llama", 4);
    add(w, "blk.0.attn_q.weight.lora_a", AR_F32, 8, 2, 5, 0.3F);
    add(w, "blk.0.attn_q.weight.lora_b", AR_F32, 2, 8, 6, 0.3F);
    snprintf(adapter_path, sizeof adapter_path, "%s", save(w, "on-fused.gguf"));
    assert_ok(ar_adapter_open(&ad, adapter_path, &(ar_adapter_options){.model = base_path}, &err), err);
    assert_false(ad->pair[0].has_gguf_rows);
    ar_inspection x;
    assert_error(ar_adapter_inspect(&x, ad, rt, base_path, &err), AR_ERR_UNSUPPORTED, err, "inside 'blk.0.attn_qkv.weight', fused");
    ar_write_options to = {.format = "gguf", .model = base_path};
    assert_error(ar_adapter_write(NULL, ad, rt, temp_path("lost.gguf"), &to, &err), AR_ERR_UNSUPPORTED, err,
                 "without which llama.cpp loads no adapter for it either");
    assert_false(file_exists(temp_path("lost.gguf")));
    to.format = "peft";
    assert_ok(ar_adapter_write(NULL, ad, rt, temp_path("on-fused"), &to, &err), err);
    ar_adapter_free(ad);
    const char *adapters[] = {adapter_path};
    ar_merge_options o = {.model = base_path, .adapters = adapters, .adapter_count = 1, .out = temp_path("never.gguf")};
    assert_error(ar_merge(&r, rt, &o, &err), AR_ERR_UNSUPPORTED, err, "convert the model again without --fuse-qkv");
    assert_false(file_exists(temp_path("never.gguf")));
    ar_merge_result_release(&r);
}

/* A scale beside a weight: what is written is of the same scale; a head that leaves its embedding's would have none. */
static void merged_weights_keep_their_scale(void **state) {
    (void)state;
    ar_error err;
    ar_merge_result r;
    char plain[300], scaled[300], path[300];
    for (int with = 0; with < 2; with++) {
        ar_gguf_writer *w;
        assert_ok(ar__gguf_writer_new(&w, &err), err);
        assert_ok(ar__gguf_writer_set_string(w, "general.architecture", "qwen2", &err), err);
        assert_ok(ar__gguf_writer_set_u32(w, "qwen2.attention.head_count", 4, &err), err);
        add(w, "token_embd.weight", AR_F32, N, N, 1, with ? 0.2F : 0.1F);
        add(w, "blk.0.ffn_down.weight", AR_F32, N, N, 4, with ? 0.4F : 0.1F);
        static const float scale[] = {0.5F, 0.25F};
        for (size_t i = 0; with && i < 2; i++)
            assert_ok(ar__gguf_writer_add(w, i ? "blk.0.ffn_down.scale" : "token_embd.scale", AR_F32, 1, (int64_t[]){1}, &scale[i], &err),
                      err);
        snprintf(with ? scaled : plain, sizeof plain, "%s", save(w, with ? "scaled.gguf" : "plain.gguf"));
    }
    ar_gguf_writer *w = adapter_writer("qwen2", 4);
    add(w, "blk.0.ffn_down.weight.lora_a", AR_F32, N, 4, 5, 0.3F);
    add(w, "blk.0.ffn_down.weight.lora_b", AR_F32, 4, N, 6, 0.3F);
    snprintf(path, sizeof path, "%s", save(w, "on-down.gguf"));
    const char *adapters[] = {path};
    ar_merge_options o = {.adapters = adapters, .adapter_count = 1};
    for (int with = 0; with < 2; with++) {
        o.model = with ? scaled : plain;
        o.out = temp_path(with ? "scaled-merged.gguf" : "plain-merged.gguf");
        assert_ok(ar_merge(&r, rt, &o, &err), err);
        ar_merge_result_release(&r);
    }
    ar_gguf *g, *h;
    size_t n;
    const float *a = bytes_of(&g, &n, temp_path("plain-merged.gguf"), "blk.0.ffn_down.weight");
    const float *b = bytes_of(&h, &n, temp_path("scaled-merged.gguf"), "blk.0.ffn_down.weight");
    for (size_t i = 0; i < N * N; i++) assert_true(fabsf(a[i] - 0.25F * b[i]) <= 1e-6F);
    ar__gguf_close(g);
    ar__gguf_close(h);
    w = adapter_writer("qwen2", 4);
    add(w, "token_embd.weight.lora_a", AR_F32, 4, N, 5, 0.3F);
    add(w, "token_embd.weight.lora_b", AR_F32, 4, N, 6, 0.3F);
    snprintf(path, sizeof path, "%s", save(w, "on-embedding.gguf"));
    o.out = temp_path("never.gguf");
    assert_error(ar_merge(&r, rt, &o, &err), AR_ERR_UNSUPPORTED, err, "one tensor with a scale beside it");
    ar_merge_result_release(&r);
    assert_false(file_exists(temp_path("never.gguf")));
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(another_dtype_saves_what_q8_0_eats),
                                       cmocka_unit_test(the_site_that_lost_most_is_rescued),
                                       cmocka_unit_test(adapted_matrices_may_be_quantised_otherwise),
                                       cmocka_unit_test(fused_weights_are_named), cmocka_unit_test(merged_weights_keep_their_scale)};
    return cmocka_run_group_tests(tests, start, stop);
}
