#include "train/sweep_rung.h"

#include <math.h>
#include <stdlib.h>

#include "base/fail.h"
#include "format/json.h"
#include "train/sweep_runs.h"

/* As often as the candidates can be halved. */
static int rungs_of(const ar_sweep_state *s) {
    int n = 0;
    for (int left = s->count; s->o->halving && left > 1; left = (left + 1) / 2) n++;
    return n;
}

int64_t ar__sweep_left_at(const ar_sweep_state *s, int i) {
    for (int k = 0; k < s->rung_count; k++) {
        const json_t *rung = json_array_get(s->rungs, (size_t)k);
        if (ar__json_holds(json_object_get(rung, "left"), s->candidate[i].dir))
            return json_integer_value(json_array_get(json_object_get(rung, "step"), (size_t)i));
    }
    return -1;
}

int64_t ar__sweep_limit(const ar_sweep_state *s, int i) {
    int64_t steps = s->stand[i].steps;
    int left = rungs_of(s) - s->rung_count;
    if (ar__sweep_left_at(s, i) >= 0) return ar__sweep_left_at(s, i);
    if (left <= 0) return steps;
    int64_t at = (int64_t)ceil((double)steps * ldexp(1.0, -left));
    return at < steps ? at : steps;
}

/* Losses of this rank's candidates on the evaluation data; what their own evaluations found stays. */
static ar_status measure_here(double *loss, ar_sweep_state *s, ar_learner **list, ar_error *err) {
    size_t n = 0;
    for (int i = 0; i < s->count; i++)
        if (ar__sweep_is_here(s, i)) list[n++] = &s->run[i].learner;
    double *before = ar__alloc(n, sizeof *before);
    for (size_t k = 0; before && k < n; k++) before[k] = list[k]->eval_loss;
    ar_status st = n ? ar__learners_evaluate(&s->course, list, n, err) : AR_OK;
    n = 0;
    for (int i = 0; !st && i < s->count; i++) {
        if (!ar__sweep_is_here(s, i)) continue;
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
        if (ar__sweep_is_running(s, i)) s->candidate[i].eval_loss = isfinite(loss[i]) ? loss[i] : -1.0;
    return st;
}

/* How many of the others are better, earlier ones among equals. */
static int place_of(const double *loss, int count, int i) {
    int better = 0;
    for (int k = 0; k < count; k++) better += loss[k] < loss[i] || (loss[k] == loss[i] && k < i);
    return better;
}

ar_status ar__sweep_decide(ar_sweep_state *s, ar_learner **list, ar_error *err) {
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
        bool out = ar__sweep_is_running(s, i) && place_of(loss, s->count, i) >= keep;
        json_array_append_new(json_object_get(rung, "step"),
                              json_integer(ar__sweep_is_running(s, i) ? s->stand[i].step : s->candidate[i].steps));
        json_array_append_new(json_object_get(rung, "loss"), isfinite(loss[i]) ? json_real(loss[i]) : json_null());
        if (out) json_array_append_new(json_object_get(rung, "left"), json_string(s->candidate[i].dir));
    }
    json_array_append_new(s->rungs, rung);
    free(loss);
    if (!st) st = ar__sweep_record_write(s, err); /* before anyone is left behind: a kill in between changes nothing */
    for (int i = 0; !st && i < s->count; i++) {
        if (!ar__sweep_is_here(s, i) || ar__sweep_left_at(s, i) >= 0 || ar__run_is_done(&s->run[i])) continue;
        st = ar__run_save_now(&s->run[i], err);
        if (st == AR_ERR_NUMERIC) st = AR_OK; /* that candidate's own end will say so */
        ar__sweep_note(s, i);
    }
    return st;
}
