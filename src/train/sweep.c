/* ar_sweep: runs that take their steps together, over one course.
 *
 *     steps      0 ------ rung ------ rung ------------- T
 *     run-01     ============================= done             each run waits at a rung for the others;
 *     run-02     ==========| halved                             there all are evaluated, and the worse half is left behind
 *
 * All that a decision rests on is in the runs' checkpoints and in sweep.json, so that a sweep that was killed anywhere goes on to the
 * same bits: runs may be at different steps then, and those that are behind catch up. */
#include "train/sweep.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/fail.h"
#include "base/file.h"
#include "data/lines.h"
#include "format/json.h"
#include "train/checkpoint.h"
#include "train/settings.h"
#include "train/sweep_ranks.h"

const char *ar_candidate_state_name(ar_candidate_state s) {
    static const char *const names[] = {"running", "done", "halved", "failed"};
    return names[s];
}

/* ---- before ----------------------------------------------------------------------------------------------------------*/

static ar_train_options options_of(const ar_sweep_state *s, int i) {
    ar_train_options o = s->o->common;
    o.learner = s->o->candidates[i];
    o.run.out = s->named[i];
    o.ranks = NULL;
    o.on_progress = NULL;
    o.should_stop = NULL;
    return o;
}

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
    }
    return s ? s : check_seeds(o, err);
}

static ar_status allocate(ar_sweep_state *s, ar_error *err) {
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
    for (int i = 0; out && i < s->count; i++) {
        ar_candidate *c = &s->candidate[i];
        *c = (ar_candidate){.loss = -1.0, .eval_loss = -1.0};
        s->stand[i] = (ar_stand){.eval_loss = -1.0, .saved = -1, .published = -1, .sent = -1};
        snprintf(c->dir, sizeof c->dir, "run-%02d", i + 1);
        s->path[i] = ar__path_join(s->dir, c->dir);
        s->named[i] = ar__path_join(out, c->dir);
    }
    bool all = out && s->path[n - 1] && s->named[n - 1];
    free(out);
    return all ? AR_OK : ar__fail_memory(err, "sweep");
}

static bool is_running(const ar_sweep_state *s, int i) { return ar__sweep_is_running(s, i); }

/* Whether this rank trains it. */
static bool is_here(const ar_sweep_state *s, int i) { return is_running(s, i) && ar__sweep_owns(s, i); }

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
    ar_status st;
    r->began = ar__clock_seconds();
    r->pace.told = true; /* one run's time says little of many */
    snprintf(r->label, sizeof r->label, "%.20s: ", c->dir);
    st = ar__learner_open(&r->learner, &s->course, &o, err);
    if (st) return st;
    c->rank = r->learner.o.learner.rank;
    c->alpha = r->learner.o.learner.alpha;
    c->scale = r->learner.adapter->pair_count ? r->learner.adapter->pair[0].scale : 0.0;
    return AR_OK;
}

void ar__sweep_close_run(ar_run *r) {
    ar__metrics_close(&r->metrics);
    ar__events_close(&r->events);
    ar__output_drop(&r->output);
    ar__learner_close(&r->learner);
}

/* What is known of it between steps. */
static void note(ar_sweep_state *s, int i) {
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
    note(s, i);
    s->stand[i].sent = s->stand[i].saved;
    s->stand[i].news = true;
    return st;
}

static ar_status open_all(ar_sweep_state *s, const ar_runtime *rt, ar_error *err) {
    ar_train_options first = s->o->common;
    first.learner = s->o->candidates[0];
    int running = 0, here = 0;
    for (int i = 0; i < s->count; i++) {
        running += is_running(s, i);
        here += is_here(s, i);
    }
    if (!running) return AR_OK;
    ar_status st = here ? ar__course_open(&s->course, rt, &first, AR_DATA_FIRST, err) : AR_OK;
    if (!st) st = ar__sweep_agree_on_course(s, rt, err);
    for (int i = 0; !st && i < s->count; i++)
        if (is_running(s, i)) st = take_folder(s, i, err);
    for (int i = 0; !st && i < s->count; i++)
        if (is_here(s, i)) st = open_run(s, i, err);
    if (!st) st = ar__sweep_hand_out(s, err);
    if (st || !here) return st;
    ar__course_set_budget(&s->course);
    st = ar__course_allocate(&s->course, err);
    if (!st)
        ar__log_info(&rt->log, "%d candidates over one base, %zu %s, up to %zu tokens at a time", here,
                     ar__dataset_count(s->course.data) / (s->course.pairs ? 2 : 1), s->course.pairs ? "pairs" : "samples",
                     s->course.choice.tokens);
    for (int i = 0; !st && i < s->count; i++)
        if (is_here(s, i)) st = prepare_run(s, i, err);
    return st;
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
    note(s, i);
    if (state == AR_CANDIDATE_DONE && r->learner.o.run.early_stop && r->learner.best_step > 0) s->stand[i].published = r->learner.best_step;
    s->stand[i].news = true;
    ar__sweep_close_run(r);
    return ar__sweep_record_write(s, err);
}

/* ---- rungs -----------------------------------------------------------------------------------------------------------*/

/* As often as the candidates can be halved. */
static int rungs_of(const ar_sweep_state *s) {
    int n = 0;
    for (int left = s->count; s->o->halving && left > 1; left = (left + 1) / 2) n++;
    return n;
}

/* The step at which a decided rung left the candidate behind; −1: none did. */
static int64_t left_at(const ar_sweep_state *s, int i) {
    for (int k = 0; k < s->rung_count; k++) {
        const json_t *rung = json_array_get(s->rungs, (size_t)k);
        if (ar__json_holds(json_object_get(rung, "left"), s->candidate[i].dir))
            return json_integer_value(json_array_get(json_object_get(rung, "step"), (size_t)i));
    }
    return -1;
}

/* The step of a run at the next rung, or its last. */
static int64_t limit_of(const ar_sweep_state *s, int i) {
    int64_t steps = s->stand[i].steps;
    int left = rungs_of(s) - s->rung_count;
    if (left_at(s, i) >= 0) return left_at(s, i);
    if (left <= 0) return steps;
    int64_t at = (int64_t)ceil((double)steps * ldexp(1.0, -left));
    return at < steps ? at : steps;
}

/* Losses of this rank's candidates on the evaluation data; what their own evaluations found stays. */
static ar_status measure_here(double *loss, ar_sweep_state *s, ar_learner **list, ar_error *err) {
    size_t n = 0;
    for (int i = 0; i < s->count; i++)
        if (is_here(s, i)) list[n++] = &s->run[i].learner;
    double *before = ar__alloc(n, sizeof *before);
    for (size_t k = 0; before && k < n; k++) before[k] = list[k]->eval_loss;
    ar_status st = n ? ar__learners_evaluate(&s->course, list, n, err) : AR_OK;
    n = 0;
    for (int i = 0; !st && i < s->count; i++) {
        if (!is_here(s, i)) continue;
        ar_learner *l = &s->run[i].learner;
        loss[i] = isfinite(l->eval_loss) ? l->eval_loss : INFINITY;
        if (before) l->eval_loss = before[n];
        n++;
    }
    free(before);
    return st;
}

/* Of all. */
static ar_status measure(double *loss, ar_sweep_state *s, ar_learner **list, ar_error *err) {
    for (int i = 0; i < s->count; i++) loss[i] = s->candidate[i].state == AR_CANDIDATE_DONE ? s->candidate[i].eval_loss : INFINITY;
    ar_status st = measure_here(loss, s, list, err);
    if (!st) st = ar__sweep_gather(s, loss, err);
    for (int i = 0; !st && i < s->count; i++)
        if (is_running(s, i)) s->candidate[i].eval_loss = isfinite(loss[i]) ? loss[i] : -1.0;
    return st;
}

/* How many of the others are better, earlier ones among equals. */
static int place_of(const double *loss, int count, int i) {
    int better = 0;
    for (int k = 0; k < count; k++) better += loss[k] < loss[i] || (loss[k] == loss[i] && k < i);
    return better;
}

static ar_status decide(ar_sweep_state *s, ar_learner **list, ar_error *err) {
    double *loss = ar__alloc((size_t)s->count, sizeof *loss);
    json_t *rung = json_pack("{s:[], s:[], s:[]}", "step", "loss", "left");
    if (!loss || !rung) {
        free(loss);
        json_decref(rung);
        return ar__fail_memory(err, "sweep");
    }
    int keep = s->count;
    for (int k = 0; k <= s->rung_count; k++) keep = (keep + 1) / 2;
    ar_status st = measure(loss, s, list, err);
    s->rung_count++;
    for (int i = 0; !st && i < s->count; i++) {
        bool out = is_running(s, i) && place_of(loss, s->count, i) >= keep;
        json_array_append_new(json_object_get(rung, "step"), json_integer(is_running(s, i) ? s->stand[i].step : s->candidate[i].steps));
        json_array_append_new(json_object_get(rung, "loss"), isfinite(loss[i]) ? json_real(loss[i]) : json_null());
        if (out) json_array_append_new(json_object_get(rung, "left"), json_string(s->candidate[i].dir));
    }
    json_array_append_new(s->rungs, rung);
    free(loss);
    if (!st) st = ar__sweep_record_write(s, err); /* before anyone is left behind: a kill in between changes nothing */
    for (int i = 0; !st && i < s->count; i++) {
        if (!is_here(s, i) || left_at(s, i) >= 0 || ar__run_is_done(&s->run[i])) continue;
        st = ar__run_save_now(&s->run[i], err);
        if (st == AR_ERR_NUMERIC) st = AR_OK; /* that candidate's own end will say so */
        note(s, i);
    }
    return st;
}

/* ---- the loop --------------------------------------------------------------------------------------------------------*/

void ar__sweep_report(const ar_sweep_state *s, double tokens) {
    if (!s->o->on_progress) return;
    ar_sweep_progress p = {.candidates = s->count, .best_loss = -1.0};
    int64_t left = 0;
    double seconds = ar__clock_seconds() - s->began;
    for (int i = 0; i < s->count; i++) {
        const ar_stand *at = &s->stand[i];
        double loss = is_running(s, i) && at->eval_loss >= 0.0 ? at->eval_loss : s->candidate[i].eval_loss;
        if (s->candidate[i].state == AR_CANDIDATE_HALVED) loss = -1.0;
        p.active += is_running(s, i);
        p.done += is_running(s, i) ? at->step : s->candidate[i].steps;
        if (is_running(s, i)) left += at->steps - at->step;
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
    bool more = false;
    for (int i = 0; !st && i < s->count; i++) {
        if (!is_here(s, i)) continue;
        st = ar__run_save_now(&s->run[i], err);
        note(s, i);
    }
    if (!st) st = ar__sweep_meet(&more, s, err); /* so that rank 0 has what was saved */
    if (!st) st = ar__sweep_record_write(s, err);
    return st ? st : ar__fail(err, AR_ERR_INTERRUPTED, "%s: stopped; to go on: alphar sweep --resume %s", out, out);
}

/* Those of this rank that have a step to take before the next rung; ends others that are done. */
static ar_status gather(ar_runs *all, ar_sweep_state *s, ar_error *err) {
    ar_status st = AR_OK;
    all->active = 0;
    for (int i = 0; !st && i < s->count; i++) {
        ar_run *r = &s->run[i];
        if (!is_here(s, i)) continue;
        if (r->learner.status)
            st = end_candidate(s, i, AR_CANDIDATE_FAILED, err);
        else if (left_at(s, i) >= 0 && r->learner.step >= left_at(s, i))
            st = end_candidate(s, i, AR_CANDIDATE_HALVED, err);
        else if (ar__run_is_done(r))
            st = end_candidate(s, i, AR_CANDIDATE_DONE, err);
        else if (r->learner.step < limit_of(s, i))
            all->run[all->active++] = r;
    }
    return st;
}

static bool any_running(const ar_sweep_state *s) {
    for (int i = 0; i < s->count; i++)
        if (is_running(s, i)) return true;
    return false;
}

/* A step of each of this rank's. */
static ar_status step(ar_sweep_state *s, ar_runs *all, ar_error *err) {
    double began = ar__clock_seconds();
    ar_status st = ar__runs_step(all, err);
    for (size_t i = 0; i < all->active; i++) s->tokens += (double)all->run[i]->learner.step_tokens;
    for (int i = 0; i < s->count; i++)
        if (is_here(s, i)) note(s, i);
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
        if (is_here(s, i) && r->learner.step > r->saved && !r->learner.status) ar__run_save(r, NULL);
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
        if (turn == AR_TURN_RUNG) st = decide(s, all.learner, err);
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
    ar_status st = allocate(s, err);
    if (!st && s->o->common.run.resume) st = ar__sweep_record_read(s, err);
    if (!st && !s->o->common.run.resume && ar__sweep_is_first(s)) st = ar__sweep_clear(s->dir, err);
    if (!st) ar__sweep_share(s);
    if (!st) st = open_all(s, rt, err);
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
