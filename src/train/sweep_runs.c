#include "train/sweep_runs.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/fail.h"
#include "base/file.h"
#include "train/checkpoint.h"

static ar_train_options options_of(const ar_sweep_state *s, int i) {
    ar_train_options o = s->o->common;
    o.learner = s->o->candidates[i];
    o.run.out = s->named[i];
    o.ranks = NULL;
    o.on_progress = NULL;
    o.should_stop = NULL;
    return o;
}

ar_status ar__sweep_allocate(ar_sweep_state *s, ar_error *err) {
    size_t n = (size_t)s->count;
    s->run = ar__alloc(n, sizeof *s->run);
    s->path = ar__alloc(n, sizeof *s->path);
    s->named = ar__alloc(n, sizeof *s->named);
    s->candidate = ar__alloc(n, sizeof *s->candidate);
    s->stand = ar__alloc(n, sizeof *s->stand);
    s->rungs = json_array();
    for (int i = 0; s->run && i < s->count; i++) s->run[i] = AR_RUN_NONE;
    if (!s->run || !s->path || !s->named || !s->candidate || !s->stand || !s->rungs) return ar__fail_memory(err, "sweep");
    char *out = ar__output_name(s->o->common.run.out);
    bool all = out != NULL;
    for (int i = 0; all && i < s->count; i++) {
        ar_candidate *c = &s->candidate[i];
        *c = (ar_candidate){.loss = -1.0, .eval_loss = -1.0};
        s->stand[i] = (ar_stand){.eval_loss = -1.0, .saved = -1, .published = -1, .sent = -1};
        snprintf(c->dir, sizeof c->dir, "run-%02d", i + 1);
        s->path[i] = ar__path_join(s->dir, c->dir);
        s->named[i] = ar__path_join(out, c->dir);
        all = s->path[i] && s->named[i];
    }
    free(out);
    return all ? AR_OK : ar__fail_memory(err, "sweep");
}

/* On rank 0 each candidate's is taken, a helper's own are in its private folder. */
static ar_status take_folder(ar_sweep_state *s, int i, ar_error *err) {
    ar_run *r = &s->run[i];
    ar_train_options o = options_of(s, i);
    r->dir = s->path[i];
    if (!ar__sweep_is_first(s)) return ar__sweep_owns(s, i) ? ar__dir_make(r->dir, err) : AR_OK;
    ar_status st = ar__output_take(&r->output, &o, AR_RUN_RECORD, err);
    if (st || ar__sweep_owns(s, i)) return st;
    if (!o.run.resume) return ar__output_clear(&o, err);
    ar__checkpoint_sweep(r->dir);
    return AR_OK;
}

static ar_status open_run(ar_sweep_state *s, int i, ar_error *err) {
    ar_run *r = &s->run[i];
    ar_candidate *c = &s->candidate[i];
    ar_train_options o = options_of(s, i);
    r->began = ar__clock_seconds();
    r->pace.told = true; /* one run's time says little of many */
    snprintf(r->label, sizeof r->label, "%.20s: ", c->dir);
    ar_status st = ar__learner_open(&r->learner, &s->course, &o, err);
    if (st) return st;
    c->rank = r->learner.o.learner.rank;
    c->alpha = r->learner.o.learner.alpha;
    if (!r->learner.adapter->pair_count) return AR_OK;
    c->scale = r->learner.adapter->pair[0].scale;
    ar__learner_scales(&c->scale_least, &c->scale_most, &r->learner);
    return AR_OK;
}

void ar__sweep_close_run(ar_run *r) {
    ar__metrics_close(&r->metrics);
    ar__events_close(&r->events);
    ar__output_drop(&r->output);
    ar__learner_close(&r->learner);
}

void ar__sweep_note(ar_sweep_state *s, int i) {
    const ar_run *r = &s->run[i];
    ar_stand *at = &s->stand[i];
    at->step = r->learner.step;
    at->steps = r->learner.steps;
    at->eval_loss = r->learner.eval_loss;
    at->saved = at->published = r->saved;
}

static ar_status prepare_run(ar_sweep_state *s, int i, ar_error *err) {
    ar__run_say_what_to_expect(&s->run[i]);
    ar_status st = ar__run_prepare(&s->run[i], err);
    ar__sweep_note(s, i);
    s->stand[i].sent = s->stand[i].saved;
    s->stand[i].news = true;
    return st;
}

ar_status ar__sweep_open_runs(ar_sweep_state *s, const ar_runtime *rt, ar_error *err) {
    ar_train_options first = s->o->common;
    first.learner = s->o->candidates[0];
    int running = 0, here = 0;
    for (int i = 0; i < s->count; i++) {
        running += ar__sweep_is_running(s, i);
        here += ar__sweep_is_here(s, i);
    }
    if (!running) return AR_OK;
    ar_status st = here ? ar__course_open(&s->course, rt, &first, AR_DATA_FIRST, err) : AR_OK;
    if (!st) st = ar__sweep_agree_on_course(s, rt, err);
    for (int i = 0; !st && i < s->count; i++)
        if (ar__sweep_is_running(s, i)) st = take_folder(s, i, err);
    for (int i = 0; !st && i < s->count; i++)
        if (ar__sweep_is_here(s, i)) st = open_run(s, i, err);
    if (!st) st = ar__sweep_hand_out(s, err);
    if (st || !here) return st;
    ar__course_set_budget(&s->course);
    st = ar__course_allocate(&s->course, err);
    if (!st)
        ar__log_info(&rt->log, "%d of %d candidate%s over one base, %zu %s, up to %zu tokens at a time", here, s->count,
                     s->count == 1 ? "" : "s", ar__dataset_count(s->course.data) / (s->course.pairs ? 2 : 1),
                     s->course.pairs ? "pairs" : "samples", s->course.choice.tokens);
    for (int i = 0; !st && i < s->count; i++)
        if (ar__sweep_is_here(s, i)) st = prepare_run(s, i, err);
    return st;
}
