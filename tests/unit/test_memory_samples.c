/* Training and evaluating on samples in memory: the same as from a file, bit for bit, through the public headers. */
#include <stdlib.h>
#include <string.h>

#include "alphar/eval.h"
#include "alphar/tokenizer.h"
#include "alphar/train.h"
#include "util.h"

static const char rows[] = "{\"prompt\":\"Once upon\",\"completion\":\" a time\"}\n{\"text\":\"The sun was warm.\"}\n"
                           "{\"prompt\":\"She\",\"completion\":\" went home.\"}\n";
static const ar_memory_sample samples[] = {
    {.prompt = "Once upon", .completion = " a time"}, {.text = "The sun was warm."}, {.prompt = "She", .completion = " went home."}};

static ar_runtime *open_runtime(void) {
    ar_runtime *rt;
    ar_error err;
    assert_ok(ar_runtime_new(&rt, &(ar_runtime_options){.threads = 1}, &err), err);
    return rt;
}

static ar_train_options options(const char *out) {
    ar_train_options o;
    ar_train_options_init(&o);
    o.course.model = "demo/base";
    o.run.out = temp_path(out);
    o.learner.rank = 2;
    o.learner.steps = 3;
    o.learner.batch = 2;
    return o;
}

static void train(const ar_train_options *o) {
    ar_runtime *rt = open_runtime();
    ar_train_result result;
    ar_error err;
    assert_ok(ar_train(&result, rt, o, &err), err);
    assert_int_equal(result.steps, 3);
    ar_runtime_free(rt);
}

static void assert_same_file(const char *a, const char *b) {
    size_t n, m;
    char *x = read_file(temp_path(a), &n), *y = read_file(temp_path(b), &m);
    assert_int_equal(n, m);
    assert_memory_equal(x, y, n);
    free(x);
    free(y);
}

static void training_is_that_from_a_file(void **state) {
    (void)state;
    ar_train_options o = options("file");
    o.course.data = ONE_PATH(temp_text("rows.jsonl", rows));
    train(&o);
    o = options("memory");
    o.course.data.samples = samples;
    o.course.data.sample_count = 3;
    o.course.eval_data.samples = samples;
    o.course.eval_data.sample_count = 2;
    train(&o);
    o = options("both");
    o.course.data = ONE_PATH(temp_text("first.jsonl", "{\"prompt\":\"Once upon\",\"completion\":\" a time\"}\n"));
    o.course.data.samples = samples + 1;
    o.course.data.sample_count = 2;
    train(&o);
    assert_same_file("file/adapter_model.safetensors", "memory/adapter_model.safetensors");
    assert_same_file("file/adapter_model.safetensors", "both/adapter_model.safetensors");
}

/* What --resume compares is a hash over the ids, wherever they come from. */
static void resuming_wants_the_same_samples(void **state) {
    (void)state;
    ar_runtime *rt = open_runtime();
    ar_train_result result;
    ar_error err;
    ar_train_options o = options("memory");
    o.run.resume = true;
    o.course.data.samples = samples;
    o.course.data.sample_count = 3;
    assert_ok(ar_train(&result, rt, &o, &err), err);
    o.course.data.sample_count = 2;
    assert_error(ar_train(&result, rt, &o, &err), AR_ERR_MISMATCH, err, "the samples are not those that the run was started with");
    o.course.data.samples = NULL;
    o.course.data.sample_count = 0;
    assert_error(ar_train(&result, rt, &o, &err), AR_ERR_VALUE, err, "data: not given");
    ar_runtime_free(rt);
}

static void evaluating_is_that_of_a_file_and_of_ids(void **state) {
    (void)state;
    ar_runtime *rt = open_runtime();
    ar_session *s;
    ar_eval_options o;
    ar_eval_result file, memory, own;
    ar_ids ids = {0};
    ar_error err;
    assert_ok(ar_session_open(&s, rt, &(ar_session_options){.model = "demo/base"}, &err), err);
    ar_eval_options_init(&o);
    o.data = ONE_PATH(temp_text("one.jsonl", "{\"text\":\"The sun was warm.\"}"));
    assert_ok(ar_eval(&file, s, &o, &err), err);
    o.data.files.count = 0;
    o.data.samples = samples + 1;
    o.data.sample_count = 1;
    assert_ok(ar_eval(&memory, s, &o, &err), err);
    assert_true(file.loss == memory.loss && file.tokens == memory.tokens);
    const char *text = samples[1].text;
    assert_ok(ar_tokenizer_encode_whole(&ids, NULL, ar_session_tokenizer(s), text, strlen(text), &err), err);
    uint8_t learned[64] = {0};
    learned[2] = learned[3] = 1;
    const ar_memory_sample marked = {.ids = ids.id, .learned = learned, .count = ids.count};
    double logprobs[64];
    o.data.samples = &marked;
    assert_ok(ar_eval(&own, s, &o, &err), err);
    assert_ok(ar_score(logprobs, s, ids.id, ids.count, NULL, &err), err);
    assert_int_equal(own.supervised, 2);
    assert_int_equal(own.tokens, (int64_t)ids.count);
    assert_near(own.loss, -(logprobs[1] + logprobs[2]) / 2, 1e-5);
    o.data.samples = NULL;
    o.data.sample_count = 0;
    assert_error(ar_eval(&own, s, &o, &err), AR_ERR_VALUE, err, "data: not given");
    const ar_memory_sample far = {.ids = (const int32_t[]){1, 1 << 20}, .count = 2};
    o.data.samples = &far;
    o.data.sample_count = 1;
    assert_error(ar_eval(&own, s, &o, &err), AR_ERR_MISMATCH, err, "samples: found id 1048576");
    const ar_memory_sample astray = {.text = text, .learned = learned};
    o.data.samples = &astray;
    assert_error(ar_eval(&own, s, &o, &err), AR_ERR_FORMAT, err, "samples:1: found learned without ids");
    ar_ids_release(&ids);
    ar_session_free(s);
    ar_runtime_free(rt);
}

/* The file is large enough to be read ahead, behind which the samples are judged by themselves. */
static void an_id_of_no_token_is_refused_beside_a_large_file(void **state) {
    (void)state;
    enum { ROWS = 60000 };
    static const char row[] = "{\"text\":\"The sun was warm.\"}\n";
    ar_runtime *rt = open_runtime();
    ar_train_result result;
    ar_error err;
    char *text = malloc(ROWS * (sizeof row - 1) + 1);
    assert_non_null(text);
    for (size_t i = 0; i < ROWS; i++) memcpy(text + i * (sizeof row - 1), row, sizeof row);
    ar_train_options o = options("far");
    o.course.data = ONE_PATH(temp_text("large.jsonl", text));
    const ar_memory_sample far = {.ids = (const int32_t[]){1, 1 << 20}, .count = 2};
    o.course.data.samples = &far;
    o.course.data.sample_count = 1;
    assert_error(ar_train(&result, rt, &o, &err), AR_ERR_MISMATCH, err, "found id 1048576");
    free(text);
    ar_runtime_free(rt);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(training_is_that_from_a_file),
        cmocka_unit_test(resuming_wants_the_same_samples),
        cmocka_unit_test(evaluating_is_that_of_a_file_and_of_ids),
        cmocka_unit_test(an_id_of_no_token_is_refused_beside_a_large_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
