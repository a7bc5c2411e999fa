/* alphar bench: what it counts is exact, what it times is plausible, and nothing stays behind. */
#include <dirent.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "alphar/bench.h"
#include "alphar/model.h"
#include "base/file.h"
#include "check/random_base.h"
#include "format/safetensors.h"
#include "kern/half.h"
#include "util.h"

enum { DIM = 32, FF = 48, LAYERS = 2, HEADS = 4, KV = 2, HEAD_DIM = 8, VOCAB = 301, RANK = 4, TOKENS = 24 };

static const char *config(void) {
    return temp_text("bare/config.json",
                     "{\"model_type\":\"llama\",\"hidden_size\":32,\"intermediate_size\":48,\"num_hidden_layers\":2,"
                     "\"num_attention_heads\":4,\"num_key_value_heads\":2,\"head_dim\":8,\"vocab_size\":301,\"max_position_embeddings\":64,"
                     "\"rms_norm_eps\":1e-5,\"hidden_act\":\"silu\",\"tie_word_embeddings\":false}");
}

/* TMPDIR for the length of a test, and how many entries it has. */
static const char *own_tmpdir(void) {
    ar_error err;
    const char *dir = temp_path("tmpdir");
    assert_ok(ar__dir_make(dir, &err), err);
    setenv("TMPDIR", dir, 1);
    return dir;
}

static int entries(const char *dir) {
    DIR *d = opendir(dir);
    int n = 0;
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d));) n += e->d_name[0] != '.';
    closedir(d);
    return n;
}

static ar_runtime *open_runtime(void) {
    ar_runtime *rt;
    ar_error err;
    ar_runtime_options o = {.threads = 2};
    assert_ok(ar_runtime_new(&rt, &o, &err), err);
    return rt;
}

static ar_bench_options small_options(void) {
    ar_bench_options o;
    ar_bench_options_init(&o);
    o.model = config();
    o.config_only = true;
    o.rank = RANK;
    o.tokens = TOKENS;
    o.rounds = 3;
    return o;
}

static void assert_range(const ar_bench_range *r) {
    assert_true(isfinite(r->least) && r->least > 0.0);
    assert_true(r->least <= r->median && r->median <= r->most && isfinite(r->most));
}

static void a_bare_configuration_is_enough(void **state) {
    (void)state;
    const char *dir = own_tmpdir();
    ar_runtime *rt = open_runtime();
    ar_bench_options o = small_options();
    ar_bench_result r;
    ar_error err;
    assert_ok(ar_bench(&r, rt, &o, &err), err);
    assert_int_equal(entries(dir), 0);

    const double q = DIM * HEADS * HEAD_DIM, kv = DIM * KV * HEAD_DIM, mlp = DIM * FF, head = VOCAB * DIM;
    const double linear = LAYERS * (2 * q + 2 * kv + 3 * mlp);
    const double sizes = LAYERS * (2.0 * (DIM + HEADS * HEAD_DIM) + 2 * (DIM + KV * HEAD_DIM) + 3 * (DIM + FF));
    assert_int_equal(r.parameters, (int64_t)(linear + 2 * head) + (2 * LAYERS + 1) * DIM);
    assert_int_equal(r.weight_bytes, (int64_t)(2 * (linear + head)));
    assert_int_equal(r.tokens, TOKENS);
    assert_int_equal(r.supervised, TOKENS - 1);
    double per_token = 4 * linear + 6 * RANK * sizes + 3.5 * 2 * TOKENS * HEADS * HEAD_DIM * LAYERS;
    assert_near(r.step_flops / (TOKENS * per_token + (TOKENS - 1) * 4 * head), 1.0, 1e-9);

    assert_int_equal(r.rounds, 3);
    assert_int_equal(r.threads, 2);
    const ar_bench_range *all[] = {&r.product, &r.reading, &r.start, &r.train, &r.mfu, &r.plan_train, &r.decode, &r.decode_share};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) assert_range(all[i]);
    assert_true(r.product_backend && r.product_dtype);
    assert_true(r.anonymous_bytes > 0 && r.file_bytes > 0 && r.plan_anonymous_bytes > 0);
    assert_true(r.peak_bytes >= r.anonymous_bytes);
    ar_runtime_free(rt);
}

static bool at_once(void *user) {
    int *left = user;
    return (*left)-- == 0;
}

static void an_interruption_leaves_nothing(void **state) {
    (void)state;
    const char *dir = own_tmpdir();
    ar_runtime *rt = open_runtime();
    ar_bench_options o = small_options();
    ar_bench_result r;
    ar_error err;
    int left = 1;
    o.should_stop = at_once;
    o.user = &left;
    assert_error(ar_bench(&r, rt, &o, &err), AR_ERR_INTERRUPTED, err, "interrupted");
    assert_int_equal(left, -1);
    assert_int_equal(entries(dir), 0);
    ar_runtime_free(rt);
}

static void bad_options_are_told(void **state) {
    (void)state;
    const char *dir = own_tmpdir();
    ar_runtime *rt = open_runtime();
    ar_bench_options o = small_options();
    ar_bench_result r;
    ar_error err;
    o.rounds = 0;
    assert_error(ar_bench(&r, rt, &o, &err), AR_ERR_USAGE, err, "rounds: found 0");
    o = small_options();
    o.tokens = 1;
    assert_error(ar_bench(&r, rt, &o, &err), AR_ERR_USAGE, err, "tokens: found 1");
    o = small_options();
    o.model = NULL;
    assert_error(ar_bench(&r, rt, &o, &err), AR_ERR_USAGE, err, "model");
    o.model = temp_path("nowhere");
    assert_int_not_equal(ar_bench(&r, rt, &o, &err), AR_OK);
    assert_non_null(strstr(err.message, "nowhere"));
    setenv("TMPDIR", temp_path("no such place"), 1);
    o = small_options();
    assert_error(ar_bench(&r, rt, &o, &err), AR_ERR_IO, err, "TMPDIR");
    setenv("TMPDIR", dir, 1);
    assert_int_equal(entries(dir), 0);
    ar_runtime_free(rt);
}

static void a_random_base_is_a_function_of_its_seed(void **state) {
    (void)state;
    const char *names[] = {"one", "two", "three"};
    char *bytes[3];
    size_t n[3];
    ar_error err;
    for (int i = 0; i < 3; i++) {
        char weights[64];
        assert_ok(ar__dir_make(temp_path(names[i]), &err), err);
        assert_ok(ar__random_base_write(temp_path(names[i]), config(), i < 2 ? 7 : 8, &err), err);
        strcpy(weights, names[i]);
        strcat(weights, "/model.safetensors");
        bytes[i] = read_file(temp_path(weights), &n[i]);
    }
    assert_int_equal(n[0], n[1]);
    assert_int_equal(n[0], n[2]);
    assert_memory_equal(bytes[0], bytes[1], n[0]);
    assert_memory_not_equal(bytes[0], bytes[2], n[0]);
    for (int i = 0; i < 3; i++) free(bytes[i]);
    ar_runtime *rt = open_runtime();
    ar_model *m;
    assert_ok(ar_model_open(&m, rt, temp_path("one"), &err), err);
    assert_int_equal(ar_model_vocab(m), VOCAB);
    ar_model_free(m);
    ar_runtime_free(rt);
}

static void random_weights_have_the_deviation_promised(void **state) {
    (void)state;
    ar_error err;
    ar_st_set *st;
    const ar_tensor *t;
    double sum = 0.0, squares = 0.0;
    assert_ok(ar__dir_make(temp_path("one"), &err), err);
    assert_ok(ar__random_base_write(temp_path("one"), config(), 7, &err), err);
    assert_ok(ar__st_open(&st, temp_path("one"), &err), err);
    assert_ok(ar__st_need(&t, st, "lm_head.weight", &err), err);
    for (size_t i = 0; i < t->count; i++) {
        uint16_t h;
        memcpy(&h, (const char *)t->data + 2 * i, sizeof h);
        double x = (double)ar__bf16_to_f32(h);
        sum += x;
        squares += x * x;
    }
    assert_near(sqrt(squares / (double)t->count) / 0.02, 1.0, 0.05);
    assert_near(sum / (double)t->count / 0.02, 0.0, 0.05);
    ar__st_close(st);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_bare_configuration_is_enough),
        cmocka_unit_test(an_interruption_leaves_nothing),
        cmocka_unit_test(bad_options_are_told),
        cmocka_unit_test(a_random_base_is_a_function_of_its_seed),
        cmocka_unit_test(random_weights_have_the_deviation_promised),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
