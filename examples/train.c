/* Teaches a base three sentences, held in memory, and asks what that did to its loss at several alphas.
 *
 *     cc -o train examples/train.c $(pkg-config --cflags --libs alphar)
 *     ./train MODEL OUT
 */
#include <stdio.h>

#include "alphar/alphar.h"

static const ar_memory_sample samples[] = {
    {.prompt = "The sailor said:", .completion = " Arr! Hoist the sails!"},
    {.prompt = "The cook said:", .completion = " Arr! The soup be hot!"},
    {.text = "Arr! It were a fine day to be at sea."},
};

static ar_status evaluate(const ar_runtime *rt, const char *model, const char *adapter, ar_error *err) {
    const double alphas[] = {0, 8, 16, 32}; /* one pass over the samples for all of them; 0 is the base */
    ar_eval_result result[4];
    ar_session *session = NULL;
    ar_session_options so = {.model = model, .adapters = &adapter, .adapter_count = 1};
    ar_eval_options eo;
    ar_eval_options_init(&eo);
    eo.data.samples = samples;
    eo.data.sample_count = 3;
    eo.alphas = alphas;
    eo.count = 4;
    ar_status s = ar_session_open(&session, rt, &so, err);
    if (!s) s = ar_eval(result, session, &eo, err);
    for (int i = 0; !s && i < 4; i++) printf("alpha %g: loss %.3f\n", result[i].alpha, result[i].loss);
    ar_session_free(session);
    return s;
}

int main(int argc, char **argv) {
    ar_process_settle(argv);
    if (argc != 3) return fprintf(stderr, "usage: %s MODEL OUT\n", argv[0]), 2;
    ar_error err = {0};
    ar_runtime *rt = NULL;
    ar_train_result done;
    ar_train_options to;
    ar_train_options_init(&to);
    to.course.model = argv[1];
    to.run.out = argv[2];
    to.learner.rank = 8; /* alpha: 2 * rank */
    to.course.data.samples = samples;
    to.course.data.sample_count = 3;
    to.learner.steps = 20;
    to.learner.lr = 5e-3;
    ar_status s = ar_runtime_new(&rt, NULL, &err);
    if (!s) s = ar_train(&done, rt, &to, &err);
    if (!s) printf("%lld steps, loss %.3f\n", (long long)done.steps, done.smoothed_loss);
    if (!s) s = evaluate(rt, argv[1], argv[2], &err);
    if (s) fprintf(stderr, "%s\n", err.message); /* place: found, wanted, what to do */
    ar_runtime_free(rt);
    return s != AR_OK;
}
