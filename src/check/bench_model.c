/* What the model does here: training steps as ar_train makes them, and decoding. */
#include <stdlib.h>

#include "base/clock.h"
#include "base/fail.h"
#include "base/proc.h"
#include "base/rng.h"
#include "check/bench.h"
#include "gen/session.h"
#include "kern/runtime.h"
#include "train/learner.h"

enum { PROMPT = 32, DECODE = 64, MAX_STEPS = 64 };
static const double ENOUGH_SECONDS = 0.3; /* short steps and tokens are repeated for so long */

/* The plan counts every token as supervised. */
static double useful_flops(const ar_plan *plan, const ar_learner *l) {
    const ar_arch *a = &l->course->model->arch;
    return plan->flops_per_token * (double)l->step_tokens -
           4.0 * (double)a->vocab * (double)a->dim * (double)(l->step_tokens - l->step_supervised);
}

static void look(ar_bench_round *r) {
    int64_t anonymous = ar__memory_anonymous(), file = ar__proc_bytes("/proc/self/status", "RssFile:");
    if (anonymous > r->anonymous) r->anonymous = anonymous;
    if (file > r->file) r->file = file;
    r->peak = ar__proc_bytes("/proc/self/status", "VmHWM:");
}

/* The first step meets cold memory and is not counted. */
static ar_status steps(ar_bench_round *r, ar_learner *l, ar_error *err) {
    ar_status s = ar__learners_step(l->course, &l, 1, err);
    double began = ar__clock_seconds(), seconds = 0.0;
    int done = 0;
    while (!s && done < MAX_STEPS && (done == 0 || seconds < ENOUGH_SECONDS)) {
        s = ar__learners_step(l->course, &l, 1, err);
        seconds = ar__clock_seconds() - began;
        done++;
    }
    look(r);
    r->tokens = (int64_t)l->step_tokens;
    r->supervised = (int64_t)l->step_supervised;
    r->train = (double)l->step_tokens * done / seconds;
    return s;
}

ar_status ar__bench_train(ar_bench_round *r, const ar_runtime *rt, const ar_train_options *o, ar_error *err) {
    ar_plan plan;
    ar_course c;
    ar_learner l = {0};
    ar_status s = ar_plan_training(&plan, rt, o, true, err);
    if (s) return s;
    ar__proc_reset_peak();
    double began = ar__clock_seconds();
    s = ar__course_open(&c, rt, o, AR_DATA_AHEAD, err);
    if (!s) s = ar__learner_open(&l, &c, o, err);
    if (!s) ar__course_set_budget(&c);
    if (!s) s = ar__course_allocate(&c, err);
    r->start = ar__clock_seconds() - began;
    if (!s) s = steps(r, &l, err);
    if (!s) {
        r->step_flops = useful_flops(&plan, &l);
        r->checkpoint_layers = plan.checkpoint_layers;
        r->plan_train = plan.tokens_per_second;
        r->plan_anonymous = plan.anonymous_bytes;
        r->parameters = plan.parameters;
    }
    ar__learner_close(&l);
    ar__course_close(&c);
    return s;
}

/* Bytes of the weights that every token meets. */
static int64_t weight_bytes(const ar_model *m) {
    int64_t sum = 0;
    for (size_t i = 0; i < m->module_count; i++) {
        const ar_module *mod = &m->modules[i];
        size_t bytes = 0;
        if (!mod->path || (mod->kind != AR_MODULE_LINEAR && mod->kind != AR_MODULE_HEAD)) continue;
        ar_weight w = ar__model_weight(m, i);
        if (ar__dtype_bytes(&bytes, w.type, w.rows * w.cols)) sum += (int64_t)bytes;
    }
    return sum;
}

static void advance(ar_pass *p, ar_session *s, ar_kv_cache *cache, float *logits, const int32_t *ids, size_t n) {
    size_t start[2] = {0, n}, last = n - 1;
    ar_segment seg = ar__session_segment(s, 1);
    ar_batch b = {.rows = {.count = n, .samples = 1, .start = start, .segments = &seg, .segment_count = 1, .decoding = true}, .ids = ids};
    ar__pass_forward(p, &b, cache);
    ar__pass_logits(p, logits, &b, &last, 1);
}

static ar_status decode(ar_bench_round *r, ar_session *s, ar_pass **prefill, ar_pass **pass, ar_kv_cache **cache, float **logits,
                        ar_error *err) {
    size_t vocab = (size_t)s->model->arch.vocab;
    ar_rng g = ar__rng_stream(1, AR_RNG_SAMPLE, 0, 0);
    int32_t ids[PROMPT + DECODE];
    for (size_t i = 0; i < PROMPT + DECODE; i++) ids[i] = (int32_t)(ar__rng_u64(&g, i) % vocab);
    *logits = ar__alloc(vocab, sizeof **logits);
    ar_status st = *logits ? ar__kv_new(cache, s->model, 1, PROMPT + DECODE, err) : ar__fail_memory(err, "bench: decoding");
    if (!st) st = ar__session_pass(prefill, s, PROMPT, 1, PROMPT + DECODE, 0, err);
    if (!st) st = ar__session_pass(pass, s, 1, 1, PROMPT + DECODE, 0, err);
    if (st) return st;
    advance(*prefill, s, *cache, *logits, ids, PROMPT);
    advance(*pass, s, *cache, *logits, ids + PROMPT, 1);
    double began = ar__clock_seconds(), seconds = 0.0;
    int done = 1;
    while (done < DECODE && (done < 2 || seconds < ENOUGH_SECONDS)) {
        advance(*pass, s, *cache, *logits, ids + PROMPT + done++, 1);
        seconds = ar__clock_seconds() - began;
    }
    r->decode = (done - 1) / seconds;
    r->weight_bytes = weight_bytes(s->model);
    return s->rt->ops->memory->settle(s->rt, err);
}

ar_status ar__bench_decode(ar_bench_round *r, const ar_runtime *rt, const char *model, ar_error *err) {
    ar_session_options o = {.model = model};
    ar_session *s = NULL;
    ar_pass *prefill = NULL, *pass = NULL;
    ar_kv_cache *cache = NULL;
    float *logits = NULL;
    ar_status st = ar_session_open(&s, rt, &o, err);
    if (!st) st = decode(r, s, &prefill, &pass, &cache, &logits, err);
    ar__pass_free(prefill);
    ar__pass_free(pass);
    if (s) ar__kv_free(cache, s->model);
    free(logits);
    ar_session_free(s);
    return st;
}
