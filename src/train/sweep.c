/* ar_sweep: runs that take their steps together, over one course.
 *
 *     steps      0 ------ rung ------ rung ------------- T
 *     run-01     ============================= done             each run waits at a rung for the others;
 *     run-02     ==========| halved                             there all are evaluated, and the worse half is left behind
 *
 * All that a decision rests on is in the runs' checkpoints and in sweep.json, so that a sweep that was killed anywhere goes on to the
 * same bits: runs may be at different steps then, and those that are behind catch up. */
#include "train/sweep.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/fail.h"
#include "base/file.h"
#include "data/lines.h"
#include "format/json.h"
#include "train/settings.h"
#include "train/sweep_ranks.h"
#include "train/sweep_rung.h"
#include "train/sweep_runs.h"

const char *ar_candidate_state_name(ar_candidate_state s) {
    static const char *const names[] = {"running", "done", "halved", "failed"};
    return names[s];
}

/* ---- before ----------------------------------------------------------------------------------------------------------*/

/* What several learners over one base cannot have. */
static ar_status check_candidate(const ar_learner_options *l, ar_error *err) {
    if (l->method != AR_METHOD_LORA)
        return ar__fail(err, AR_ERR_USAGE, "method full: found it in a sweep, whose candidates share one frozen base");
    if (l->modules_to_save || l->bias != AR_BIAS_NONE)
        return ar__fail(err, AR_ERR_USAGE, "%s: found it in a sweep, whose candidates share the base's own tensors; train it alone",
                        l->modules_to_save ? "modules-to-save" : "bias");
    return AR_OK;
}

/* A share of a file follows the seed: candidates of different seeds would have had other samples alone. */
static ar_status check_seeds(const ar_sweep_options *o, ar_error *err) {
    const ar_texts *files[] = {&o->common.course.data.files, &o->common.course.eval_data.files};
    bool differ = false, part = false;
    for (int i = 1; i < o->count; i++) differ = differ || o->candidates[i].seed != o->candidates[0].seed;
    for (size_t k = 0; differ && k < 2; k++)
        for (size_t i = 0; !part && i < files[k]->count; i++) {
            double share = 1.0;
            free(ar__share_split(&share, files[k]->items[i]));
            part = share != 1.0;
        }
    if (!part) return AR_OK;
    return ar__fail(err, AR_ERR_USAGE, "seed: found several and a share of a file, which would be another for each; give whole files");
}

static ar_status check(const ar_sweep_options *o, ar_error *err) {
    ar_status s = AR_OK;
    if (!o->common.run.out) return ar__fail(err, AR_ERR_VALUE, "out: not given");
    if (o->count < 1) return ar__fail(err, AR_ERR_VALUE, "candidates: none are given");
    if (o->count > AR_CANDIDATES) return ar__fail(err, AR_ERR_USAGE, "candidates: found %d, wanted at most %d", o->count, AR_CANDIDATES);
    if (!ar__has_samples(&o->common.course.eval_data))
        return ar__fail(err, AR_ERR_USAGE, "eval-data: is not given; candidates are compared by their loss there");
    for (int i = 0; !s && i < o->count; i++) {
        ar_train_options one = o->common;
        one.learner = o->candidates[i];
        s = ar_train_options_check(&one, err);
        if (!s) s = check_candidate(&o->candidates[i], err);
        if (!s && !o->candidates[i].preference.objective != !o->candidates[0].preference.objective)
            s = ar__fail(err, AR_ERR_USAGE, "objective: found candidates with one and without, whose samples are not the same");
        if (!s && (o->candidates[i].router_aux_loss > 0.0) != (o->candidates[0].router_aux_loss > 0.0))
            s = ar__fail(err, AR_ERR_USAGE,
                         "router-aux-loss: found 0 and more; with it the last layer runs on all rows, so that such candidates do not train "
                         "together to the bits that each has alone; sweep them apart");
    }
    return s ? s : check_seeds(o, err);
}

/* ---- ends of candidates ----------------------------------------------------------------------------------------------*/

/* The loss so far, of one that does not come to its end. */
static ar_status take_loss(ar_candidate *c, const ar_run *r, ar_error *err) {
    ar_curve curve = {0};
    ar_status st = ar__curve_read(&curve, r->dir, r->learner.step, err);
    c->loss = curve.count ? curve.last : -1.0;
    ar__curve_release(&curve);
    return st;
}

static ar_status write_result(ar_candidate *c, ar_run *r, ar_error *err) {
    ar_train_result result = {0};
    ar_status st = ar__run_finish(r, &result, err);
    c->eval_loss = r->learner.eval_loss;
    c->loss = result.smoothed_loss;
    return st;
}

/* The candidate is what it will be; one whose numbers no file may hold has failed, whatever it was to be. */
static ar_status end_candidate(ar_sweep_state *s, int i, ar_candidate_state state, ar_error *err) {
    ar_run *r = &s->run[i];
    ar_candidate *c = &s->candidate[i];
    ar_error own = r->learner.error;
    ar_status st = state == AR_CANDIDATE_DONE ? write_result(c, r, &own) : state == AR_CANDIDATE_HALVED ? ar__run_save_now(r, &own) : AR_OK;
    if (st == AR_ERR_NUMERIC) {
        state = AR_CANDIDATE_FAILED;
        st = AR_OK;
    }
    if (st) {
        if (err) *err = own;
        return st;
    }
    if (state != AR_CANDIDATE_DONE && (st = take_loss(c, r, err))) return st;
    if (state == AR_CANDIDATE_HALVED)
        ar__log_info(&s->course.rt->log, "%sleft behind after step %lld, with loss %.4f", r->label, (long long)r->learner.step,
                     c->eval_loss);
    if (state == AR_CANDIDATE_FAILED) {
        snprintf(c->error, sizeof c->error, "%.*s", (int)sizeof c->error - 1, own.message);
        ar__log_warn(&s->course.rt->log, "%s%s", r->label, c->error);
        c->eval_loss = -1.0;
    }
    c->steps = r->learner.step;
    c->state = state;
    ar__sweep_note(s, i);
    if (state == AR_CANDIDATE_DONE && r->learner.o.run.early_stop && r->learner.best_step > 0) s->stand[i].published = r->learner.best_step;
    s->stand[i].news = true;
    ar__sweep_close_run(r);
    return ar__sweep_record_write(s, err);
}

/* ---- the loop --------------------------------------------------------------------------------------------------------*/

void ar__sweep_report(const ar_sweep_state *s, double tokens) {
    if (!s->o->on_progress) return;
    ar_sweep_progress p = {.candidates = s->count, .best_loss = -1.0};
    int64_t left = 0;
    double seconds = ar__clock_seconds() - s->began;
    for (int i = 0; i < s->count; i++) {
        const ar_stand *at = &s->stand[i];
        double loss = ar__sweep_is_running(s, i) && at->eval_loss >= 0.0 ? at->eval_loss : s->candidate[i].eval_loss;
        if (s->candidate[i].state == AR_CANDIDATE_HALVED) loss = -1.0;
        p.active += ar__sweep_is_running(s, i);
        p.done += ar__sweep_is_running(s, i) ? at->step : s->candidate[i].steps;
        if (ar__sweep_is_running(s, i)) left += at->steps - at->step;
        if (loss >= 0.0 && (p.best_loss < 0.0 || loss < p.best_loss)) p.best_loss = loss;
    }
    p.steps = p.done + left;
    p.tokens_per_second = seconds > 0.0 ? tokens / seconds : 0.0;
    p.seconds_left = p.done > 0 ? seconds / (double)p.done * (double)left : 0.0;
    s->o->on_progress(s->o->user, &p);
}

static ar_status stop(ar_sweep_state *s, ar_error *err) {
    const char *out = ar__sweep_is_first(s) ? s->dir : s->o->common.run.out;
    ar_status st = AR_OK;
    ar_turn turn = AR_TURN_STOP;
    bool more = false;
    for (int i = 0; !st && i < s->count; i++) {
        if (!ar__sweep_is_here(s, i)) continue;
        st = ar__run_save_now(&s->run[i], err);
        ar__sweep_note(s, i);
    }
    if (!st) st = ar__sweep_meet(&more, s, err); /* so that rank 0 has what was saved */
    if (!st) st = ar__sweep_record_write(s, err);
    if (!st) st = ar__sweep_take_turn(&turn, s, err); /* nobody goes before it has all */
    return st ? st : ar__fail(err, AR_ERR_INTERRUPTED, "%s: stopped; to go on: alphar sweep --resume %s", out, out);
}

/* Those of this rank that have a step to take before the next rung; ends others that are done. */
static ar_status gather(ar_runs *all, ar_sweep_state *s, ar_error *err) {
    ar_status st = AR_OK;
    all->active = 0;
    for (int i = 0; !st && i < s->count; i++) {
        ar_run *r = &s->run[i];
        if (!ar__sweep_is_here(s, i)) continue;
        if (r->learner.status)
            st = end_candidate(s, i, AR_CANDIDATE_FAILED, err);
        else if (ar__sweep_left_at(s, i) >= 0 && r->learner.step >= ar__sweep_left_at(s, i))
            st = end_candidate(s, i, AR_CANDIDATE_HALVED, err);
        else if (ar__run_is_done(r))
            st = end_candidate(s, i, AR_CANDIDATE_DONE, err);
        else if (r->learner.step < ar__sweep_limit(s, i))
            all->run[all->active++] = r;
    }
    return st;
}

static bool any_running(const ar_sweep_state *s) {
    for (int i = 0; i < s->count; i++)
        if (ar__sweep_is_running(s, i)) return true;
    return false;
}

/* A step of each of this rank's. */
static ar_status step(ar_sweep_state *s, ar_runs *all, ar_error *err) {
    double began = ar__clock_seconds();
    ar_status st = ar__runs_step(all, err);
    for (size_t i = 0; i < all->active; i++) s->tokens += (double)all->run[i]->learner.step_tokens;
    for (int i = 0; i < s->count; i++)
        if (ar__sweep_is_here(s, i)) ar__sweep_note(s, i);
    if (s->over_ranks) s->over_ranks->step_seconds = ar__clock_seconds() - began;
    if (ar__sweep_is_first(s)) ar__sweep_report(s, s->tokens);
    return st;
}

/* What follows, as far as is known here.  more: there are steps to take before a rung. */
static ar_turn choose(const ar_sweep_state *s, bool more) {
    const ar_train_options *o = &s->o->common;
    if (!any_running(s)) return AR_TURN_DONE;
    if (o->should_stop && o->should_stop(o->user)) return AR_TURN_STOP;
    return more ? AR_TURN_STEP : AR_TURN_RUNG;
}

/* Ranks meet only now and then: in between each takes its own steps. */
static ar_status next_turn(ar_turn *turn, ar_sweep_state *s, bool more, ar_error *err) {
    *turn = AR_TURN_STEP;
    if (more && !ar__sweep_is_due(s)) return AR_OK;
    ar_status st = ar__sweep_meet(&more, s, err);
    if (st) return st;
    *turn = choose(s, more);
    return ar__sweep_take_turn(turn, s, err);
}

/* Of ranks of which one was lost: what this one's candidates have learned is in memory. */
static void save_what_is_done(ar_sweep_state *s) {
    if (!s->over_ranks || !ar__sweep_is_first(s)) return;
    for (int i = 0; i < s->count; i++) {
        ar_run *r = &s->run[i];
        if (ar__sweep_is_here(s, i) && r->learner.step > r->saved && !r->learner.status) ar__run_save(r, NULL);
    }
}

static ar_status loop(ar_sweep_state *s, ar_error *err) {
    ar_runs all = {.course = &s->course,
                   .run = ar__alloc((size_t)s->count, sizeof(ar_run *)),
                   .learner = ar__alloc((size_t)s->count, sizeof(ar_learner *))};
    ar_status st = all.run && all.learner ? AR_OK : ar__fail_memory(err, "sweep");
    ar_turn turn = AR_TURN_STEP;
    while (!st && (turn == AR_TURN_STEP || turn == AR_TURN_RUNG)) {
        st = gather(&all, s, err);
        if (!st) st = next_turn(&turn, s, all.active > 0, err);
        if (st) break;
        if (turn == AR_TURN_STEP && all.active) st = step(s, &all, err);
        if (turn == AR_TURN_RUNG) st = ar__sweep_decide(s, all.learner, err);
    }
    if (!st && turn == AR_TURN_STOP)
        st = stop(s, err);
    else if (st)
        save_what_is_done(s);
    free(all.run);
    free(all.learner);
    return st;
}

/* ---- the end ---------------------------------------------------------------------------------------------------------*/

static ar_status copy_best(const ar_sweep_state *s, int best, ar_error *err) {
    static const char *const files[] = {"adapter_model.safetensors", "adapter_config.json", "README.md"};
    char *dir = ar__path_join(s->dir, "best");
    ar_status st = dir ? ar__dir_remove(dir, err) : ar__fail_memory(err, s->dir);
    if (!st) st = ar__dir_make(dir, err);
    for (size_t i = 0; !st && i < sizeof files / sizeof *files; i++) {
        char *from = ar__path_join(s->path[best], files[i]), *to = ar__path_join(dir, files[i]);
        st = from && to ? ar__file_copy(from, to, err) : ar__fail_memory(err, s->dir);
        free(from);
        free(to);
    }
    free(dir);
    return st;
}

static ar_status finish(ar_sweep_state *s, ar_sweep_result *out, ar_error *err) {
    for (int i = 0; i < s->count; i++) {
        const ar_candidate *c = &s->candidate[i];
        if (c->state == AR_CANDIDATE_DONE && c->eval_loss >= 0.0 && (out->best < 0 || c->eval_loss < s->candidate[out->best].eval_loss))
            out->best = i;
    }
    if (out->best < 0) return ar__fail(err, AR_ERR_NUMERIC, "%s: no candidate came to its end: %.300s", s->dir, s->candidate[0].error);
    ar_status st = copy_best(s, out->best, err);
    return st ? st : ar__sweep_record_write(s, err);
}

static ar_status run(ar_sweep_state *s, const ar_runtime *rt, ar_sweep_result *out, ar_error *err) {
    ar_status st = ar__sweep_allocate(s, err);
    if (!st && s->o->common.run.resume) st = ar__sweep_record_read(s, err);
    if (!st && !s->o->common.run.resume && ar__sweep_is_first(s)) st = ar__sweep_clear(s->dir, err);
    if (!st) ar__sweep_share(s);
    if (!st) st = ar__sweep_open_runs(s, rt, err);
    if (!st) st = ar__sweep_record_write(s, err);
    if (!st) st = loop(s, err);
    return st || !ar__sweep_is_first(s) ? st : finish(s, out, err);
}

static void close_all(ar_sweep_state *s) {
    for (int i = 0; s->run && i < s->count; i++) ar__sweep_close_run(&s->run[i]);
    ar__course_close(&s->course);
    ar__output_drop(&s->output);
    for (int i = 0; s->path && s->named && i < s->count; i++) {
        free(s->path[i]);
        free(s->named[i]);
    }
    free(s->path);
    free(s->named);
    free(s->stand);
    free(s->run);
    json_decref(s->rungs);
    ar__sweep_ranks_close(s);
}

ar_status ar_sweep(ar_sweep_result *out, const ar_runtime *rt, const ar_sweep_options *o, ar_error *err) {
    ar_sweep_state s = {.o = o, .output = AR_OUTPUT_NONE, .count = o->count, .began = ar__clock_seconds()};
    *out = (ar_sweep_result){.best = -1};
    AR_ONE_CALL(rt, err);
    ar_status st = check(o, err);
    if (!st) st = ar__sweep_agree(o, rt, err);
    if (st) return st;
    st = ar__sweep_ranks_open(&s, rt, err);
    if (!st && ar__sweep_is_first(&s)) st = ar__output_take(&s.output, &o->common, AR_SWEEP_RECORD, err);
    s.dir = ar__sweep_is_first(&s) ? s.output.dir : s.over_ranks->folder;
    if (!st) st = run(&s, rt, out, err);
    close_all(&s);
    out->candidates = s.candidate;
    out->count = s.candidate ? s.count : 0;
    out->seconds = ar__clock_seconds() - s.began;
    return st;
}

void ar_sweep_result_release(ar_sweep_result *r) {
    free(r->candidates);
    *r = (ar_sweep_result){.best = -1};
}
