/* Preference training: the objectives and their slopes, rows of pairs, and what must not change a bit. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "alphar/eval.h"
#include "alphar/train.h"
#include "base/fail.h"
#include "class.h"
#include "data/dataset.h"
#include "small_model.h"
#include "train/objective.h"
#include "train/pairs.h"
#include "util.h"

/* ---- objectives --------------------------------------------------------------------------------------------------------*/

static const ar_preference kinds[] = {
    {.objective = AR_OBJECTIVE_DPO, .beta = 0.3},
    {.objective = AR_OBJECTIVE_DPO, .beta = 0.5, .label_smoothing = 0.2},
    {.objective = AR_OBJECTIVE_ORPO, .beta = 0.7},
    {.objective = AR_OBJECTIVE_SIMPO, .beta = 2.5, .gamma = 0.6, .gamma_given = true},
    {.objective = AR_OBJECTIVE_SIMPO, .beta = 2, .label_smoothing = 0.1},
};
enum { KINDS = sizeof kinds / sizeof *kinds };

static ar_preference resolved(int kind) {
    ar_preference p = kinds[kind];
    ar_error err;
    assert_ok(ar__preference_resolve(&p, &err), err);
    return p;
}

static void slopes_are_those_of_the_loss(void **state) {
    (void)state;
    for (int k = 0; k < KINDS; k++)
        for (double nll = 0.5; nll < 40; nll *= 3) {
            ar_preference p = resolved(k);
            ar_said c = {nll, 11, 7}, r = {9.5, 8, 4}, more = c, less = c;
            double h = 1e-5;
            ar_verdict v = ar__judge(&p, &c, &r);
            more.nll += h;
            less.nll -= h;
            assert_near(v.chosen, (ar__judge(&p, &more, &r).loss - ar__judge(&p, &less, &r).loss) / (2 * h), 1e-7);
            more = less = r;
            more.nll += h;
            less.nll -= h;
            assert_near(v.rejected, (ar__judge(&p, &c, &more).loss - ar__judge(&p, &c, &less).loss) / (2 * h), 1e-7);
        }
}

/* Mean log p of one token each: the values of TRL's tests of its formulas. */
static void values_are_the_papers(void **state) {
    (void)state;
    static const double lc[] = {-.5, -1.2, -.01, -3}, lr[] = {-.9, -.8, -2, -3.5};
    static const double simpo[] = {.5543553, 1.5410085, .0303424, .4740770};
    ar_preference p = {.objective = AR_OBJECTIVE_SIMPO, .beta = 2, .gamma = .5, .gamma_given = true},
                  orpo = {.objective = AR_OBJECTIVE_ORPO};
    ar_error err;
    double sum = 0;
    assert_ok(ar__preference_resolve(&orpo, &err), err);
    for (int i = 0; i < 4; i++) {
        ar_said c = {-lc[i], 0, 1}, r = {-lr[i], 0, 1};
        assert_near(ar__judge(&p, &c, &r).loss, simpo[i], 1e-6);
        sum += ar__judge(&orpo, &c, &r).loss + lc[i];
    }
    assert_near(sum / 4, 0.0474516, 1e-6);
    ar_said c = {50, 52, 9}, r = {60, 57, 9};
    ar_preference dpo = {.objective = AR_OBJECTIVE_DPO, .beta = 0.1};
    ar_verdict v = ar__judge(&dpo, &c, &r);
    assert_near(v.loss, 0.4740770, 1e-6);
    assert_near(v.margin, 0.5, 1e-12);
}

static void extremes_stay_finite(void **state) {
    (void)state;
    static const double nll[] = {0, 1e-12, 1e5};
    for (int k = 0; k < KINDS; k++)
        for (int i = 0; i < 9; i++) {
            ar_preference p = resolved(k);
            ar_said c = {nll[i / 3], 3, 2}, r = {nll[i % 3], 5, 3};
            ar_verdict v = ar__judge(&p, &c, &r);
            assert_true(isfinite(v.loss) && isfinite(v.margin) && isfinite(v.chosen) && isfinite(v.rejected));
        }
}

static void settings_that_make_no_sense_are_refused(void **state) {
    (void)state;
    static const struct {
        ar_preference p;
        const char *part;
    } bad[] = {{{.beta = 0.1}, "beta: found no objective"},
               {{.gamma_given = true}, "gamma: found no objective"},
               {{.objective = AR_OBJECTIVE_DPO, .gamma_given = true}, "gamma: found objective dpo"},
               {{.objective = AR_OBJECTIVE_ORPO, .label_smoothing = 0.1}, "label-smoothing: found objective orpo"},
               {{.objective = AR_OBJECTIVE_DPO, .label_smoothing = 0.5}, "label-smoothing: found 0.5"},
               {{.objective = AR_OBJECTIVE_DPO, .beta = -1}, "beta: found -1"},
               {{.objective = AR_OBJECTIVE_SIMPO, .gamma_given = true, .gamma = NAN}, "gamma: found"}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        ar_preference p = bad[i].p;
        ar_error err;
        assert_error(ar__preference_resolve(&p, &err), AR_ERR_USAGE, err, bad[i].part);
    }
    ar_preference p = {.objective = AR_OBJECTIVE_SIMPO};
    assert_ok(ar__preference_resolve(&p, NULL), (ar_error){0});
    assert_true(p.beta == 2 && p.gamma == 1);
}

/* ---- through the model -------------------------------------------------------------------------------------------------*/

/* The mean over the batch's pairs, samples 2k and 2k + 1. */
static double pairs_loss(small *s, bool gradients, const void *user) {
    const ar_preference *p = user;
    double nll[16];
    float weight[16];
    ar_judged sum = {0};
    s->batch.rows.segments = &s->segment;
    ar__pass_forward(s->pass, &s->batch, NULL);
    ar__pass_loss(s->pass, &s->batch, nll, NULL, 0.0f);
    for (size_t i = 0; i < s->samples; i += 2) {
        ar_said said[2];
        for (size_t k = 0; k < 2; k++) {
            int tokens = 0;
            for (size_t q = s->start[i + k]; q < s->start[i + k + 1]; q++) tokens += s->targets[q] >= 0;
            said[k] = (ar_said){nll[i + k], 4.0 * tokens, tokens};
        }
        ar_verdict v = ar__judge(p, &said[0], &said[1]);
        ar__judged_add(&sum, &v);
        weight[i] = (float)(2 * v.chosen / (double)s->samples);
        weight[i + 1] = (float)(2 * v.rejected / (double)s->samples);
    }
    if (gradients) {
        s->rt->ops->zero_grads(s->rt, s->list.at, s->list.count);
        s->batch.weight = weight;
        ar__pass_loss(s->pass, &s->batch, nll, NULL, 1.0f);
        ar__pass_backward(s->pass, &s->batch);
        s->batch.weight = NULL;
        s->rt->ops->join_grads(s->rt, s->list.at, s->list.count);
    }
    return ar__judged_mean(&sum).loss;
}

static void gradient_is_the_slope(void **state) {
    (void)state;
    static const size_t lengths[] = {9, 30, 12, 7, 0};
    static const small_case cases[] = {{"llama, dora", ",\"model_type\":\"llama\"", "all-linear", NULL, true, false, 0.0, AR_BIAS_NONE},
                                       {"qwen2, head saved whole", ",\"model_type\":\"qwen2\",\"tie_word_embeddings\":true",
                                        "q_proj,lm_head", "embed_tokens", false, false, 0.25, AR_BIAS_LORA_ONLY}};
    for (int c = 0; c < 2; c++)
        for (int k = 0; k < KINDS; k++) {
            ar_preference p = resolved(k);
            p.beta /= 10; /* losses of random models are far apart: away from where they are flat */
            small s = small_open(&cases[c], lengths, 2, NULL, NULL, false);
            small_check_slopes(&s, pairs_loss, &p, cases[c].name);
            small_close(&s);
        }
}

/* ---- rows --------------------------------------------------------------------------------------------------------------*/

/* "prompt|learned" of each sample: what the texts of the ids are, learned ones behind a bar. */
static char *samples_of(const char *rows, const ar_data_options *options, ar_status *status, ar_error *err, ar_data_stats *stats) {
    ar_tokenizer *tk;
    ar_dataset *ds = NULL;
    ar_buf out = {0};
    assert_ok(ar_tokenizer_open(&tk, "demo/base", err), *err);
    *status = ar__dataset_load(&ds, ONE_FILE(temp_text("rows.jsonl", rows)), tk, options, stats, err);
    for (size_t i = 0; !*status && i < ar__dataset_count(ds); i++) {
        ar_sample s = ar__dataset_at(ds, i);
        for (int from = 0, to; from < s.count; from = to) {
            char *text;
            size_t n;
            for (to = from; to < s.count && s.learned[to] == s.learned[from];) to++;
            assert_ok(ar_tokenizer_decode(&text, &n, tk, s.ids + from, (size_t)(to - from), false, err), *err);
            ar__buf_printf(&out, "%s%s", s.learned[from] ? "|" : "", text);
            free(text);
        }
        ar__buf_puts(&out, "\n");
    }
    ar__dataset_free(ds);
    ar_tokenizer_free(tk);
    ar__buf_puts(&out, "");
    return out.data;
}

static ar_chat *open_chat(void) {
    ar_tokenizer *tk;
    ar_chat *chat;
    ar_error err;
    const char *text = "{% for m in messages %}{{ m.role[0] + ':' + m.content + ';' }}{% endfor %}"
                       "{% if add_generation_prompt %}a:{% endif %}";
    assert_ok(ar_tokenizer_open(&tk, "demo/base", &err), err);
    assert_ok(ar__chat_open(&chat, "demo/base", temp_text("t.jinja", text), tk, &err), err);
    ar_tokenizer_free(tk);
    return chat;
}

static void assert_rows(const char *rows, const char *want) {
    ar_chat *chat = open_chat();
    ar_data_options o = {.max_length = 100, .threads = 2, .eos_id = -1, .rows = AR_ROWS_PAIRS, .chat = chat};
    ar_data_stats stats;
    ar_error err;
    ar_status s;
    char *got = samples_of(rows, &o, &s, &err, &stats);
    assert_ok(s, err);
    assert_string_equal(got, want);
    assert_int_equal(stats.pairs, 1);
    free(got);
    ar__chat_free(chat);
}

#define U(text) "{\"role\":\"user\",\"content\":\"" text "\"}"
#define A(text) "{\"role\":\"assistant\",\"content\":\"" text "\"}"

static void rows_become_two_samples(void **state) {
    (void)state;
    const char *both = "u:hi;a:|yes;\nu:hi;a:|no;\n";
    assert_rows("{\"prompt\":\"Once\",\"chosen\":\" upon\",\"rejected\":\" a time\"}", "<s>Once| upon</s>\n<s>Once| a time</s>\n");
    assert_rows("{\"prompt\":[" U("hi") "],\"chosen\":[" A("yes") "],\"rejected\":[" A("no") "]}", both);
    assert_rows("{\"prompt\":[" U("hi") "],\"chosen\":" A("yes") ",\"rejected\":\"no\"}", both);
    assert_rows("{\"prompt\":\"hi\",\"chosen\":[" A("yes") "],\"rejected\":[" A("no") "]}", both);
    assert_rows("{\"prompt\":\"hi\",\"chosen\":[" U("hi") "," A("yes") "],\"rejected\":[" U("hi") "," A("no") "]}", both);
    assert_rows("{\"chosen\":[" U("hi") "," A("yes") "],\"rejected\":[" U("hi") "," A("no") "]}", both);
    assert_rows("{\"prompt\":[" U("hi") "],\"chosen\":[" U("hi") "," A("yes") "],\"rejected\":[" U("hi") "," A("no") "]}", both);
    assert_rows("{\"prompt\":[{\"from\":\"human\",\"value\":\"hi\"}],\"chosen\":{\"from\":\"gpt\",\"value\":\"yes\"},"
                "\"rejected\":{\"from\":\"gpt\",\"value\":\"no\"}}",
                both);
    assert_rows(
        "{\"chosen\":[" U("hi") "," A("hm") "," U("so") "," A("yes") "],\"rejected\":[" U("hi") "," A("hm") "," U("so") "," A("no") "]}",
        "u:hi;a:hm;u:so;a:|yes;\nu:hi;a:hm;u:so;a:|no;\n");
}

static void assert_refused(const char *rows, ar_rows_wanted wanted, ar_status status, const char *part) {
    ar_chat *chat = open_chat();
    ar_data_options o = {.max_length = 100, .threads = 1, .eos_id = -1, .rows = wanted, .chat = chat};
    ar_data_stats stats;
    ar_error err;
    ar_status s;
    free(samples_of(rows, &o, &s, &err, &stats));
    assert_error(s, status, err, part);
    ar__chat_free(chat);
}

static void rows_of_another_kind_are_refused(void **state) {
    (void)state;
    const char *pair = "{\"prompt\":\"Once\",\"chosen\":\" upon\",\"rejected\":\" a time\"}";
    assert_refused(pair, AR_ROWS_SAMPLES, AR_ERR_MISMATCH, "no objective: add --objective dpo");
    assert_refused("{\"prompt\":\"a\",\"completion\":\"b\"}", AR_ROWS_PAIRS, AR_ERR_FORMAT, "wanted 'chosen' and 'rejected'");
    assert_refused("{\"chosen\":\"a\",\"rejected\":\"b\"}", AR_ROWS_PAIRS, AR_ERR_FORMAT, "without a prompt");
    assert_refused("{\"chosen\":\"\\n\\nHuman: a\\n\\nAssistant: b\",\"rejected\":\"\\n\\nHuman: a\\n\\nAssistant: c\"}", AR_ROWS_PAIRS,
                   AR_ERR_FORMAT, "several speakers");
    assert_refused("{\"prompt\":\"Once\",\"chosen\":\" upon\",\"rejected\":7}", AR_ROWS_PAIRS, AR_ERR_FORMAT,
                   "field 'rejected': found a number");
    assert_refused("{\"prompt\":\"a\",\"chosen\":\"b\",\"rejected\":\"c\",\"score\":1}", AR_ROWS_PAIRS, AR_ERR_MISMATCH,
                   "read as preference, which leaves out score");
    assert_refused("{\"chosen\":[" U("a") "," A("b") "],\"rejected\":[" U("c") "," A("d") "]}", AR_ROWS_PAIRS, AR_ERR_FORMAT,
                   "begin with different messages");
    assert_refused("{\"chosen\":[" U("a") "," U("b") "],\"rejected\":[" U("a") "," A("d") "]}", AR_ROWS_PAIRS, AR_ERR_FORMAT,
                   "part at message 2");
    assert_refused("{\"prompt\":\"other\",\"chosen\":[" U("a") "," A("b") "],\"rejected\":[" U("a") "," A("d") "]}", AR_ROWS_PAIRS,
                   AR_ERR_FORMAT, "--ignore-fields prompt");
}

/* A pair is dropped with either sample, so that 2k and 2k + 1 always belong together. */
static void a_pair_without_a_target_goes_as_a_whole(void **state) {
    (void)state;
    ar_data_options o = {
        .max_length = 4, .threads = 2, .eos_id = -1, .rows = AR_ROWS_PAIRS, .map = "prompt=question,chosen=good,rejected=bad"};
    ar_data_stats stats;
    ar_error err;
    ar_status s;
    char *got = samples_of("{\"question\":\"One day a little girl named Lily\",\"good\":\" upon\",\"bad\":\" a\"}\n"
                           "{\"question\":\"Once\",\"good\":\" upon\",\"bad\":\" a time there was a\"}\n",
                           &o, &s, &err, &stats);
    assert_ok(s, err);
    assert_string_equal(got, "<s>Once| upon</s>\n<s>Once| a time\n");
    assert_int_equal(stats.dropped, 1);
    assert_int_equal(stats.dropped_cut, 1);
    assert_int_equal(stats.pairs, 2);
    free(got);
}

/* ---- training ----------------------------------------------------------------------------------------------------------*/

static const ar_memory_sample memory[] = {
    {.prompt = "Once upon", .chosen = " a time there was a cat.", .rejected = " no."},
    {.prompt = "The sun", .chosen = " was warm.", .rejected = " was very, very cold, and so was the big dog."},
    {.prompt = "She", .chosen = " went home.", .rejected = " fell."},
};

static ar_train_options options(ar_objective objective) {
    ar_train_options o;
    ar_train_options_init(&o);
    o.course.model = "demo/base";
    o.run.out = temp_path("run");
    o.learner.rank = 2;
    o.learner.steps = 4;
    o.learner.batch = 2;
    o.course.data.samples = memory;
    o.course.data.sample_count = 3;
    o.course.eval_data.samples = memory;
    o.course.eval_data.sample_count = 2;
    o.learner.preference.objective = objective;
    return o;
}

static ar_runtime *open_runtime(int threads) {
    ar_runtime *rt;
    ar_error err;
    assert_ok(ar_runtime_new(&rt, &(ar_runtime_options){.threads = threads}, &err), err);
    return rt;
}

static void the_first_loss_of_dpo_is_log_2(void **state) {
    (void)state;
    for (int i = 0; i < 4; i++) {
        ar_train_options o = options(AR_OBJECTIVE_DPO);
        o.learner.dora = i == 1;
        o.learner.modules_to_save = i == 2 ? "lm_head" : NULL;
        o.learner.preference.label_smoothing = i == 3 ? 0.2 : 0;
        class *c = class_open(&o, 1, 2);
        const ar_learner *l = &c->of[0];
        class_step(c);
        assert_near(l->loss, log(2), 1e-6);
        double before = l->eval_judged.loss;
        class_step(c);
        assert_true(fabs(l->loss - log(2)) > 1e-6 && before == 0);
        assert_int_equal(ar__learners_evaluate(&c->course, c->all, 1, NULL), AR_OK);
        assert_true(l->eval_loss < log(2));
        class_close(c);
    }
}

/* With an adapter to begin with, the reference is that adapter, whatever the base says. */
static void the_reference_is_what_the_run_begins_with(void **state) {
    (void)state;
    ar_runtime *rt = open_runtime(1);
    ar_train_result result;
    ar_error err;
    ar_train_options o = options(AR_OBJECTIVE_ORPO);
    o.run.out = temp_path("first");
    o.learner.lr = 0.01;
    assert_ok(ar_train(&result, rt, &o, &err), err);
    o = options(AR_OBJECTIVE_DPO);
    o.course.init_adapter = temp_path("first");
    ar_runtime_free(rt);
    class *c = class_open(&o, 1, 1);
    class_step(c);
    assert_near(c->of[0].loss, log(2), 1e-9);
    class_close(c);
}

/* The sums of gradients after two steps, under settings that must not count. */
static void micro_batches_packing_and_threads_change_no_bit(void **state) {
    (void)state;
    static const struct {
        int threads, micro;
        bool pack;
    } ways[] = {{1, 0, true}, {2, 1, true}, {2, 1, false}, {2, 3, false}, {3, 2, false}};
    for (int kind = AR_OBJECTIVE_DPO; kind <= AR_OBJECTIVE_SIMPO; kind++) {
        float *first = NULL;
        double loss = 0;
        for (size_t w = 0; w < sizeof ways / sizeof *ways; w++) {
            ar_train_options o = options((ar_objective)kind);
            o.course.micro_batch = ways[w].micro;
            o.course.pack = ways[w].pack;
            o.course.max_length = 24; /* a pair may fill more than a row */
            o.learner.dropout = 0.1;
            class *c = class_open(&o, 1, ways[w].threads);
            class_step(c);
            class_step(c);
            const ar_trainable *x = &c->of[0].list.at[1];
            if (!first) {
                first = malloc(x->count * sizeof *first);
                memcpy(first, x->value, x->count * sizeof *first);
                loss = c->of[0].loss;
            }
            assert_true(c->of[0].loss == loss);
            assert_memory_equal(first, x->value, x->count * sizeof *first);
            class_close(c);
        }
        free(first);
    }
}

/* Sample by sample by hand, against what eval says. */
static void eval_says_what_training_measures(void **state) {
    (void)state;
    ar_runtime *rt = open_runtime(2);
    ar_session *session;
    ar_train_result result;
    ar_eval_result r[2];
    ar_error err;
    ar_train_options o = options(AR_OBJECTIVE_DPO);
    o.learner.modules_to_save = "lm_head"; /* the reference is the base without it */
    o.run.overwrite = true;
    assert_ok(ar_train(&result, rt, &o, &err), err);
    const char *adapter = temp_path("run");
    assert_ok(ar_session_open(&session, rt, &(ar_session_options){.model = o.course.model, .adapters = &adapter, .adapter_count = 1}, &err),
              err);
    ar_eval_options e;
    ar_eval_options_init(&e);
    e.data.samples = memory;
    e.data.sample_count = 2;
    e.preference = o.learner.preference;
    assert_ok(ar_eval(r, session, &e, &err), err);
    assert_true(r[0].loss == result.eval_loss && r[0].pairs == 2);
    e.reference = adapter;
    assert_ok(ar_eval(r, session, &e, &err), err);
    assert_true(r[0].loss == log(2) && r[0].margin == 0 && r[0].accuracy == 0);
    e.reference = NULL;
    e.preference.objective = AR_OBJECTIVE_SIMPO;
    e.alphas = (const double[]){0, 4};
    e.count = 2;
    assert_ok(ar_eval(r, session, &e, &err), err);
    assert_true(isfinite(r[0].loss) && r[0].loss != r[1].loss);
    ar_session_free(session);
    ar_runtime_free(rt);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(slopes_are_those_of_the_loss),
        cmocka_unit_test(values_are_the_papers),
        cmocka_unit_test(extremes_stay_finite),
        cmocka_unit_test(settings_that_make_no_sense_are_refused),
        cmocka_unit_test(gradient_is_the_slope),
        cmocka_unit_test(rows_become_two_samples),
        cmocka_unit_test(rows_of_another_kind_are_refused),
        cmocka_unit_test(a_pair_without_a_target_goes_as_a_whole),
        cmocka_unit_test(the_first_loss_of_dpo_is_log_2),
        cmocka_unit_test(the_reference_is_what_the_run_begins_with),
        cmocka_unit_test(micro_batches_packing_and_threads_change_no_bit),
        cmocka_unit_test(eval_says_what_training_measures),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
