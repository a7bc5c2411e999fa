/* A runtime serves one thread at a time, and says so. */
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "alphar/alphar.h"
#include "base/file.h"
#include "check/random_base.h"
#include "util.h"

enum { VOCAB = 27 }; /* the tokenizer of ar__random_base_write */

static const char *base(void) {
    const char *dir = temp_path("base"), *bare;
    char config[400];
    ar_error err;
    snprintf(config, sizeof config,
             "{\"model_type\":\"llama\",\"vocab_size\":%d,\"hidden_size\":24,\"intermediate_size\":40,\"num_hidden_layers\":1,"
             "\"num_attention_heads\":4,\"max_position_embeddings\":64,\"rms_norm_eps\":1e-5,\"hidden_act\":\"silu\"}",
             VOCAB);
    bare = temp_text("bare.json", config);
    if (file_exists(dir)) return dir;
    assert_ok(ar__dir_make(dir, &err), err);
    assert_ok(ar__random_base_write(dir, bare, 3, &err), err);
    return dir;
}

struct asked {
    ar_session *session;
    ar_status from_other, from_same;
    ar_error err;
};

static ar_status ask(ar_session *s, ar_error *err) {
    const int32_t ids[] = {1, 2, 3, 4};
    double logprobs[3];
    return ar_score(logprobs, s, ids, 4, NULL, err);
}

static void *ask_from_thread(void *user) {
    struct asked *a = user;
    a->from_other = ask(a->session, &a->err);
    return NULL;
}

static void run_thread(struct asked *a) {
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, ask_from_thread, a), 0);
    pthread_join(thread, NULL);
}

/* In the middle of a call: another thread is turned away, the caller's own may go on. */
static bool on_text(void *user, const char *text, size_t n) {
    struct asked *a = user;
    (void)text;
    (void)n;
    run_thread(a);
    a->from_same = ask(a->session, NULL);
    return true;
}

static void a_second_thread_is_turned_away_while_a_call_runs(void **state) {
    (void)state;
    ar_runtime *rt;
    ar_error err;
    ar_generate_result result = {0};
    struct asked a = {.from_other = AR_OK, .from_same = AR_ERR_BUSY};
    assert_ok(ar_runtime_new(&rt, &(ar_runtime_options){.threads = 1}, &err), err);
    assert_ok(ar_session_open(&a.session, rt, &(ar_session_options){.model = base()}, &err), err);
    ar_generate_options o;
    ar_generate_options_init(&o);
    o.max_tokens = 1;
    o.on_text = on_text;
    o.user = &a;

    assert_ok(ar_generate(&result, a.session, "a", &o, &err), err);
    assert_int_equal(a.from_other, AR_ERR_BUSY);
    assert_non_null(strstr(a.err.message, "another thread is in a call with it"));
    assert_string_equal(ar_status_name(AR_ERR_BUSY), "busy");
    assert_int_equal(a.from_same, AR_OK);

    run_thread(&a); /* the call is over */
    assert_int_equal(a.from_other, AR_OK);
    ar_generate_result_release(&result);
    ar_session_free(a.session);
    ar_runtime_free(rt);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_second_thread_is_turned_away_while_a_call_runs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
