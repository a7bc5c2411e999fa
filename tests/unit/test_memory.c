/* Operators' memory need not be the host's (ops/memory.h): with memory that the host may not look into, or has another copy of, everything
 * has the bits that it has otherwise, and all is given back. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "alphar/eval.h"
#include "alphar/sweep.h"
#include "alphar/train.h"
#include "alphar/tune.h"
#include "apart.h"
#include "util.h"

static const ar_memory_sample samples[] = {
    {.prompt = "Once upon", .completion = " a time there was a cat that liked the sun."},
    {.text = "The sun was warm and the day was long."},
    {.prompt = "She", .completion = " went home to bed, for it was late and dark."},
    {.text = "A little girl named Lucy had a red ball."},
    {.prompt = "One day", .completion = " a bird sang."},
    {.text = "It was a good day."},
};
static const ar_memory_sample pairs[] = {{.prompt = "Once upon", .chosen = " a time there was a cat.", .rejected = " no."},
                                         {.prompt = "The sun", .chosen = " was warm.", .rejected = " was cold and far away."}};

static ar_runtime *runtime(bool apart) {
    ar_runtime *rt;
    ar_error err;
    assert_ok(ar_runtime_new(&rt, &(ar_runtime_options){.threads = 1}, &err), err);
    if (apart) ar__runtime_use_ops(rt, apart_ops());
    return rt;
}

static ar_train_options options(void) {
    ar_train_options o;
    ar_train_options_init(&o);
    o.course.model = "demo/base";
    o.course.data.samples = samples;
    o.course.data.sample_count = 5;
    o.course.eval_data.samples = samples + 1;
    o.course.eval_data.sample_count = 3;
    o.learner.rank = 4;
    o.learner.steps = 4;
    o.learner.batch = 2;
    o.learner.lr = 2e-3;
    o.learner.schedule = AR_SCHEDULE_CONSTANT; /* so that a run may go on to more steps */
    o.run.save_every = 2;
    return o;
}

static const char *in_folder(const char *dir, const char *file) {
    static char path[2][1024];
    static int turn;
    snprintf(path[turn ^= 1], sizeof path[0], "%s/%s", dir, file);
    return path[turn];
}

static void assert_same_file(const char *a, const char *b, const char *file) {
    size_t n, m;
    char *x = read_file(in_folder(a, file), &n), *y = read_file(in_folder(b, file), &m);
    assert_int_equal(n, m);
    assert_memory_equal(x, y, n);
    free(x);
    free(y);
}

static ar_train_result train(const char *dir, bool apart, ar_train_options o) {
    ar_train_result r;
    ar_error err;
    ar_runtime *rt = runtime(apart);
    o.run.out = dir;
    assert_ok(ar_train(&r, rt, &o, &err), err);
    ar_runtime_free(rt);
    assert_int_equal(apart_held(), 0);
    return r;
}

static void assert_same_run(const char *name, const ar_train_options *o) {
    char label[64];
    snprintf(label, sizeof label, "%s-host", name);
    const char *host = temp_path(label);
    snprintf(label, sizeof label, "%s-apart", name);
    const char *apart = temp_path(label);
    ar_train_result a = train(host, false, *o), b = train(apart, true, *o);
    if (a.loss != b.loss || a.eval_loss != b.eval_loss) fail_msg("%s: loss %.9g, with memory apart %.9g", name, a.loss, b.loss);
    assert_same_file(host, apart, o->learner.method == AR_METHOD_FULL ? "model.safetensors" : "adapter_model.safetensors");
    assert_same_file(host, apart, "checkpoints/step-4/state.safetensors");
    ar_train_options more = *o;
    more.run.resume = true;
    more.learner.steps = 6;
    a = train(host, false, more);
    b = train(apart, true, more);
    if (a.loss != b.loss) fail_msg("%s: resumed, loss %.9g, with memory apart %.9g", name, a.loss, b.loss);
    assert_same_file(host, apart, "checkpoints/step-6/state.safetensors");
}

static void a_training_has_the_same_bits(void **state) {
    (void)state;
    if (!apart_ops()) skip();
    ar_train_options o = options();
    assert_same_run("plain", &o);
    o.learner.dora = true;
    o.learner.dropout = 0.1;
    o.course.micro_batch = 1;
    o.course.checkpoint_layers = AR_SWITCH_ON;
    assert_same_run("dora", &o);
    o = options();
    o.learner.targets = "q_proj,v_proj,down_proj,embed_tokens";
    o.learner.modules_to_save = "lm_head";
    o.learner.bias = AR_BIAS_ALL;
    assert_same_run("wholes", &o);
    o = options();
    o.learner.train_scale = true;
    o.learner.optimizer = AR_OPTIMIZER_SGD;
    assert_same_run("scales", &o);
    o = options();
    o.course.init = "pissa";
    o.learner.targets = "q_proj,down_proj";
    assert_same_run("pissa", &o);
    o = options();
    o.course.data.samples = o.course.eval_data.samples = pairs;
    o.course.data.sample_count = o.course.eval_data.sample_count = 2;
    o.learner.preference.objective = AR_OBJECTIVE_DPO;
    assert_same_run("pairs", &o);
    o = options();
    o.learner.method = AR_METHOD_FULL;
    assert_same_run("full", &o);
}

static void a_quantised_base_has_the_same_bits(void **state) {
    (void)state;
    if (!apart_ops()) skip();
    ar_train_options o = options();
    o.course.quantize = "nf4";
    o.course.init = "loftq";
    assert_same_run("loftq", &o);
}

static void a_sweep_has_the_same_bits(void **state) {
    (void)state;
    if (!apart_ops()) skip();
    ar_train_options o = options();
    ar_learner_options candidates[2] = {o.learner, o.learner};
    const char *dirs[2] = {temp_path("sweep-host"), temp_path("sweep-apart")};
    ar_error err;
    candidates[1].rank = 6;
    candidates[1].dora = true;
    for (int apart = 0; apart < 2; apart++) {
        ar_runtime *rt = runtime(apart);
        ar_sweep_options so = {.common = o, .candidates = candidates, .count = 2, .halving = true};
        ar_sweep_result r;
        so.common.run.out = dirs[apart];
        assert_ok(ar_sweep(&r, rt, &so, &err), err);
        ar_sweep_result_release(&r);
        ar_runtime_free(rt);
        assert_int_equal(apart_held(), 0);
    }
    assert_same_file(dirs[0], dirs[1], "best/adapter_model.safetensors");
    for (int i = 1; i <= 2; i++) {
        char file[64];
        snprintf(file, sizeof file, "run-%02d/adapter_model.safetensors", i);
        assert_same_file(dirs[0], dirs[1], file);
    }
}

/* Of an adapter that was trained before: log-probabilities, logits, losses at several alphas, text, and what tune makes of it. */
typedef struct said {
    double logprobs[7];
    ar_eval_result eval[3];
    char *text[2], *logits;
    size_t logits_bytes;
    ar_tune_result tuned;
} said;

static void ask(said *out, const char *adapter, bool apart) {
    const int32_t ids[] = {1, 50, 7, 300, 12, 9, 44, 5};
    const double alphas[] = {0.0, 4.0, 8.0};
    const char *prompts[] = {"Once upon", "The sun was warm and"};
    ar_runtime *rt = runtime(apart);
    ar_error err;
    ar_session *s;
    ar_generate_result answers[2];
    ar_generate_options g;
    ar_eval_options e;
    ar_tune_options t;
    assert_ok(ar_session_open(&s, rt, &(ar_session_options){.model = "demo/base", .adapters = &adapter, .adapter_count = 1}, &err), err);
    const char *path = temp_path(apart ? "apart.logits" : "host.logits");
    assert_ok(ar_score(out->logprobs, s, ids, 8, path, &err), err);
    out->logits = read_file(path, &out->logits_bytes);
    ar_eval_options_init(&e);
    e.data.samples = samples;
    e.data.sample_count = 6;
    e.alphas = alphas;
    e.count = 3;
    assert_ok(ar_eval(out->eval, s, &e, &err), err);
    assert_ok(ar_session_set_strength(s, true, 6.0, &err), err);
    ar_generate_options_init(&g);
    g.max_tokens = 12;
    assert_ok(ar_generate_batch(answers, s, prompts, 2, &g, &err), err);
    for (int i = 0; i < 2; i++) {
        out->text[i] = answers[i].text;
        answers[i].text = NULL;
        ar_generate_result_release(&answers[i]);
    }
    ar_tune_options_init(&t);
    t.eval.data.samples = samples;
    t.eval.data.sample_count = 6;
    t.steps = 4;
    t.batch = 2;
    assert_ok(ar_tune(&out->tuned, s, &t, &err), err);
    ar_session_free(s);
    ar_runtime_free(rt);
    assert_int_equal(apart_held(), 0);
}

static void release(said *s) {
    for (int i = 0; i < 2; i++) free(s->text[i]);
    free(s->logits);
    ar_tune_result_release(&s->tuned);
}

static void a_session_says_the_same(void **state) {
    static const char *const adapters[] = {"asked", "asked-dora"};
    (void)state;
    if (!apart_ops()) skip();
    for (int i = 0; i < 2; i++) {
        ar_train_options o = options();
        said a, b;
        o.learner.dora = i == 1;
        if (i == 0) o.learner.modules_to_save = "lm_head";
        train(temp_path(adapters[i]), false, o);
        ask(&a, temp_path(adapters[i]), false);
        ask(&b, temp_path(adapters[i]), true);
        assert_memory_equal(a.logprobs, b.logprobs, sizeof a.logprobs);
        assert_int_equal(a.logits_bytes, b.logits_bytes);
        assert_memory_equal(a.logits, b.logits, a.logits_bytes);
        for (int k = 0; k < 3; k++) assert_true(a.eval[k].loss == b.eval[k].loss);
        for (int k = 0; k < 2; k++) assert_string_equal(a.text[k], b.text[k]);
        assert_true(a.tuned.before == b.tuned.before && a.tuned.after == b.tuned.after && a.tuned.step == b.tuned.step);
        release(&a);
        release(&b);
    }
}

/* The step that fails is not in any file, and the checkpoint before it is whole. */
static void a_device_that_fails_ends_the_run(void **state) {
    (void)state;
    if (!apart_ops()) skip();
    ar_train_options o = options();
    ar_train_result r;
    ar_error err;
    o.run.out = temp_path("failing");
    o.course.eval_data = (ar_data_source){0};
    o.run.save_every = 1;
    ar_runtime *rt = runtime(true);
    apart_fail_after(9);
    assert_error(ar_train(&r, rt, &o, &err), AR_ERR_DEVICE, err, "failed as asked");
    apart_fail_after(-1);
    ar_runtime_free(rt);
    assert_int_equal(apart_held(), 0);
    assert_true(r.steps >= 1 && r.steps < 4);
    assert_true(file_exists(in_folder(o.run.out, "adapter_model.safetensors")));
    o.run.resume = true;
    train(o.run.out, true, o);
    ar_train_options whole = options();
    whole.course.eval_data = (ar_data_source){0};
    train(temp_path("whole"), false, whole);
    assert_same_file(o.run.out, temp_path("whole"), "adapter_model.safetensors");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_training_has_the_same_bits),     cmocka_unit_test(a_quantised_base_has_the_same_bits),
        cmocka_unit_test(a_sweep_has_the_same_bits),        cmocka_unit_test(a_session_says_the_same),
        cmocka_unit_test(a_device_that_fails_ends_the_run),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
