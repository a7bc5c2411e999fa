/* Many alphas in one pass, and many adapters in one training, against one at a time; bench/alphas.py drives it.
 *
 *     bench_alphas MODEL TOKENS SAMPLES COUNT RANK THREADS COMPUTE
 *
 * SAMPLES random samples of TOKENS tokens, all of them targets.  For every line on stdin, in turns: an evaluation at COUNT scales and
 * COUNT evaluations at one (`eval TOGETHER APART`), a step of COUNT learners on SAMPLES samples each and COUNT steps of one (`train
 * TOGETHER APART`), and that step against one of a single learner on as many samples (`share TOGETHER ONE`); in seconds, with one thread of
 * processor time, because machines are shared.  The last line is `memory BYTES STATE`: anonymous memory, and what one learner has of its
 * own: value, gradient and two moments of each trained number. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/rng.h"
#include "check/evaluation.h"
#include "train/learner.h"

enum { MOST = 64 };

static void must(ar_status s, const ar_error *err) {
    if (!s) return;
    fprintf(stderr, "bench_alphas: %s\n", err->message);
    exit(1);
}

static bool alone; /* one thread */
static double now(void) { return alone ? (double)clock() / CLOCKS_PER_SEC : ar__clock_seconds(); }

static ar_memory_sample *random_samples(size_t count, size_t tokens, size_t vocab) {
    ar_memory_sample *list = calloc(count, sizeof *list);
    ar_rng g = ar__rng_stream(1, AR_RNG_SAMPLE, 0, 0);
    for (size_t i = 0; i < count; i++) {
        int32_t *ids = malloc(tokens * sizeof *ids);
        for (size_t k = 0; k < tokens; k++) ids[k] = (int32_t)(ar__rng_u64(&g, i * tokens + k) % vocab);
        list[i] = (ar_memory_sample){.ids = ids, .count = tokens};
    }
    return list;
}

static void time_eval(ar_evaluation *e, ar_evaluation *single, size_t count) {
    double scales[MOST], began = now(), together;
    ar_eval_result r[MOST];
    ar_error err;
    for (size_t i = 0; i < count; i++) scales[i] = 0.25 * (double)i;
    must(ar__evaluation_run(e, r, &(ar_strength_list){.values = scales, .count = count}, &err), &err);
    together = now() - began;
    began = now();
    for (size_t i = 0; i < count; i++)
        must(ar__evaluation_run(single, r, &(ar_strength_list){.values = scales + i, .count = 1}, &err), &err);
    printf("eval %.6f %.6f\n", together, now() - began);
}

static void time_steps(ar_course *c, ar_learner **all, size_t count, ar_learner *wide) {
    ar_error err;
    double began = now(), together;
    must(ar__learners_step(c, all, count, &err), &err);
    together = now() - began;
    began = now();
    for (size_t i = 0; i < count; i++) must(ar__learners_step(c, &all[i], 1, &err), &err);
    printf("train %.6f %.6f\n", together, now() - began);
    if (count == 1) return;
    began = now();
    must(ar__learners_step(c, &wide, 1, &err), &err);
    printf("share %.6f %.6f\n", together, now() - began);
}

int main(int argc, char **argv) {
    if (argc != 8) {
        fprintf(stderr, "usage: bench_alphas MODEL TOKENS SAMPLES COUNT RANK THREADS f32|bf16\n");
        return 2;
    }
    size_t tokens = strtoul(argv[2], NULL, 10), samples = strtoul(argv[3], NULL, 10), count = strtoul(argv[4], NULL, 10);
    ar_runtime_options ro = {.threads = (int)strtol(argv[6], NULL, 10),
                             .compute = strcmp(argv[7], "bf16") ? AR_COMPUTE_F32 : AR_COMPUTE_BF16};
    alone = ro.threads == 1;
    static ar_learner learners[MOST], wide;
    ar_learner *all[MOST];
    ar_runtime *rt;
    ar_course c;
    ar_session session = {0};
    ar_evaluation e, single;
    ar_error err;
    ar_train_options o;
    char line[16];
    if (count < 1 || count > MOST || tokens < 2 || !samples) return 2;
    ar_train_options_init(&o);
    must(ar_runtime_new(&rt, &ro, &err), &err);
    ar_model *model;
    must(ar_model_open(&model, rt, argv[1], &err), &err);
    size_t vocab = (size_t)model->arch.vocab;
    ar_model_free(model);
    o.course.model = argv[1];
    o.course.data.samples = random_samples(samples, tokens, vocab);
    o.course.data.sample_count = samples;
    o.learner.rank = (int)strtol(argv[5], NULL, 10);
    o.learner.batch = (int)samples;
    o.learner.steps = 1 << 20;
    o.learner.lr = 1e-6;
    must(ar__course_open(&c, rt, &o, AR_DATA_FIRST, &err), &err);
    for (size_t i = 0; i < count; i++) {
        o.learner.seed = i + 1;
        all[i] = &learners[i];
        must(ar__learner_open(all[i], &c, &o, &err), &err);
    }
    o.learner.batch = (int)(count * samples);
    if (count > 1) must(ar__learner_open(&wide, &c, &o, &err), &err);
    ar__course_set_budget(&c);
    must(ar__course_allocate(&c, &err), &err);
    session = (ar_session){
        .rt = rt, .model = c.model, .tokenizer = c.tokenizer, .adapter = learners[0].adapter, .attachment = learners[0].attachment};
    must(ar__session_keep_strengths(&session, &err), &err);
    ar_eval_options eo;
    ar_eval_options_init(&eo);
    eo.data = o.course.data;
    must(ar__evaluation_open(&e, &session, &eo, "data", count, &err), &err);
    must(ar__evaluation_open(&single, &session, &eo, "data", 1, &err), &err);
    while (fgets(line, sizeof line, stdin)) {
        time_eval(&e, &single, count);
        time_steps(&c, all, count, &wide);
        fflush(stdout);
    }
    printf("memory %lld %zu\n", (long long)ar__memory_anonymous(), 4 * sizeof(float) * learners[0].list.total);
    return 0;
}
