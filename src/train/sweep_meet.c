/* A meeting:
 *
 *     1. all      where each candidate stands, as its rank knows; of each rank how long its letter is
 *     2. helpers  to rank 0, one after the other: the letter, then the files that it lists
 *
 *         {"runs": {"run-03": LIST, …}, "errors": {"run-04": "…"}, "lines": [[level, line], …]}            LIST: train/parcel.h
 *
 *     3. rank 0   writes sweep.json, once the folders of those that have ended are whole; says what follows */
#include "train/sweep_meet.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/fail.h"
#include "base/file.h"
#include "train/checkpoint.h"
#include "train/parcel.h"
#include "train/sweep_runs.h"

enum { STEPS_BETWEEN = 50, LEAST_SECONDS = 2, MOST_SECONDS = 60 }; /* meetings: a step of fifty is two in a hundred */

/* ---- numbers ---------------------------------------------------------------------------------------------------------*/

enum { STATE, STEPS_DONE, LOSS, EVAL_LOSS, RANK, ALPHA, SCALE, SCALE_LEAST, SCALE_MOST, STEP, STEPS, OWN_EVAL, OF_CANDIDATE };
enum { LETTER, TOKENS, SECONDS, MORE, OF_RANK };

size_t ar__sweep_numbers(int candidates, int ranks) { return (size_t)candidates * OF_CANDIDATE + (size_t)ranks * OF_RANK; }

static double *of_rank(const ar_sweep_state *s, int rank) {
    return s->over_ranks->said + (size_t)s->count * OF_CANDIDATE + (size_t)rank * OF_RANK;
}

static void say(double *x, const ar_candidate *c, const ar_stand *at) {
    const double all[OF_CANDIDATE] = {[STATE] = c->state,
                                      [STEPS_DONE] = (double)c->steps,
                                      [LOSS] = c->loss,
                                      [EVAL_LOSS] = c->eval_loss,
                                      [RANK] = c->rank,
                                      [ALPHA] = c->alpha,
                                      [SCALE] = c->scale,
                                      [SCALE_LEAST] = c->scale_least,
                                      [SCALE_MOST] = c->scale_most,
                                      [STEP] = (double)at->step,
                                      [STEPS] = (double)at->steps,
                                      [OWN_EVAL] = at->eval_loss};
    memcpy(x, all, sizeof all);
}

/* What another rank says of its candidate. */
static void hear(ar_candidate *c, ar_stand *at, const double *x) {
    c->state = (ar_candidate_state)x[STATE];
    c->steps = (int64_t)x[STEPS_DONE];
    c->loss = x[LOSS];
    c->eval_loss = x[EVAL_LOSS];
    c->rank = (int)x[RANK];
    c->alpha = x[ALPHA];
    c->scale = x[SCALE];
    c->scale_least = x[SCALE_LEAST];
    c->scale_most = x[SCALE_MOST];
    at->step = (int64_t)x[STEP];
    at->steps = (int64_t)x[STEPS];
    at->eval_loss = x[OWN_EVAL];
}

/* list[bound[i] * each ..) is rank i's. */
static ar_status gather(const ar_sweep_ranks *r, double *list, const size_t *bound, size_t each, ar_error *err) {
    size_t n = (size_t)r->ranks->count, *at = ar__alloc(n + 1, sizeof *at);
    if (!at) return ar__fail_memory(err, "ranks");
    for (size_t i = 0; i <= n; i++) at[i] = (bound ? bound[i] : i) * each;
    ar_status st = ar__comm_gather(r->ranks, list, at, err);
    free(at);
    return st;
}

ar_status ar__sweep_gather(const ar_sweep_state *s, double *loss, ar_error *err) {
    const ar_sweep_ranks *r = s->over_ranks;
    double list[AR_CANDIDATES];
    if (!r) return AR_OK;
    for (int i = 0; i < s->count; i++) list[r->place[i]] = loss[i];
    ar_status st = gather(r, list, r->bound, 1, err);
    for (int i = 0; !st && i < s->count; i++) loss[i] = list[r->place[i]];
    return st;
}

/* ---- letters ---------------------------------------------------------------------------------------------------------*/

/* Of a helper; NULL: it has nothing to tell. */
static json_t *write_letter(const ar_sweep_state *s) {
    json_t *lists = json_object(), *errors = json_object(), *lines = s->over_ranks->lines;
    for (int i = 0; i < s->count; i++) {
        const ar_candidate *c = &s->candidate[i];
        const ar_stand *at = &s->stand[i];
        if (!ar__sweep_owns(s, i) || !(at->news || at->saved > at->sent)) continue;
        json_object_set_new(lists, c->dir, ar__parcel_list(s->path[i], at->sent, at->published));
        if (*c->error) json_object_set_new(errors, c->dir, json_string(c->error));
    }
    if (json_object_size(lists) || json_array_size(lines))
        return json_pack("{s:o, s:o, s:O}", "runs", lists, "errors", errors, "lines", lines);
    json_decref(lists);
    json_decref(errors);
    return NULL;
}

static int find(const ar_sweep_state *s, const char *dir) {
    for (int i = 0; i < s->count; i++)
        if (!strcmp(s->candidate[i].dir, dir)) return i;
    return -1;
}

static ar_status send_letter(ar_sweep_state *s, char *text, const json_t *letter, ar_error *err) {
    ar_sweep_ranks *r = s->over_ranks;
    const char *dir;
    json_t *list;
    ar_status st = ar__comm_hand(r->ranks, r->ranks->index, 0, text, strlen(text), err);
    json_object_foreach(json_object_get(letter, "runs"), dir, list) {
        int i = find(s, dir);
        if (!st) st = ar__parcel_send(r->ranks, 0, s->path[i], list, err);
        s->stand[i].sent = s->stand[i].saved;
        s->stand[i].news = false;
    }
    json_array_clear(r->lines);
    return st;
}

static void repeat_lines(const ar_sweep_state *s, const json_t *lines) {
    size_t k;
    json_t *line;
    json_array_foreach((json_t *)(uintptr_t)lines, k, line) {
        const char *text = json_string_value(json_array_get(line, 1));
        const ar_log *log = &s->over_ranks->rt->log;
        if (!text) continue;
        if (json_integer_value(json_array_get(line, 0)) == AR_LOG_WARNING)
            ar__log_warn(log, "%s", text);
        else
            ar__log_info(log, "%s", text);
    }
}

static ar_status take_letter(ar_sweep_state *s, int from, size_t bytes, ar_error *err) {
    const ar_sweep_ranks *r = s->over_ranks;
    const char *dir;
    json_t *list, *letter = NULL;
    char *text = ar__alloc(bytes, 1);
    ar_status st = text ? ar__comm_hand(r->ranks, from, 0, text, bytes, err) : ar__fail_memory(err, "ranks");
    if (!st && !(letter = json_loadb(text, bytes, 0, NULL)))
        st = ar__fail(err, AR_ERR_FORMAT, "rank %d: sent news that cannot be read", from);
    json_object_foreach(json_object_get(letter, "runs"), dir, list) {
        int i = find(s, dir);
        const char *error = json_string_value(json_object_get(json_object_get(letter, "errors"), dir));
        bool theirs = i >= 0 && r->owner[i] == from;
        if (!st && !theirs) st = ar__fail(err, AR_ERR_FORMAT, "rank %d: sent news of '%.20s', which is not its own", from, dir);
        if (!st) st = ar__parcel_take(r->ranks, from, s->path[i], list, err);
        if (!st && error) snprintf(s->candidate[i].error, sizeof s->candidate[i].error, "%s", error);
    }
    if (!st) repeat_lines(s, json_object_get(letter, "lines"));
    json_decref(letter);
    free(text);
    return st;
}

ar_status ar__sweep_hand_folder(const ar_sweep_state *s, int i, int to, ar_error *err) {
    ar_ranks *ranks = s->over_ranks->ranks;
    json_t *list = NULL;
    char *text = NULL;
    uint64_t bytes = 0;
    ar_status st = AR_OK;
    if (ranks->index != 0 && ranks->index != to) return AR_OK;
    if (ranks->index == 0) {
        list = ar__parcel_list(s->path[i], -1, -1);
        text = list ? json_dumps(list, JSON_COMPACT) : NULL;
        bytes = text ? strlen(text) : 0;
        if (!text) st = ar__fail_memory(err, "ranks");
    }
    if (!st) st = ar__comm_hand(ranks, 0, to, &bytes, sizeof bytes, err);
    if (!st && !text && !(text = ar__alloc(bytes, 1))) st = ar__fail_memory(err, "ranks");
    if (!st) st = ar__comm_hand(ranks, 0, to, text, bytes, err);
    if (!st && !list && !(list = json_loadb(text, bytes, 0, NULL)))
        st = ar__fail(err, AR_ERR_FORMAT, "ranks: rank 0 sent no list of files");
    if (!st) st = ranks->index == 0 ? ar__parcel_send(ranks, to, s->path[i], list, err) : ar__parcel_take(ranks, 0, s->path[i], list, err);
    json_decref(list);
    free(text);
    return st;
}

/* ---- the meeting -----------------------------------------------------------------------------------------------------*/

bool ar__sweep_is_due(const ar_sweep_state *s) {
    const ar_sweep_ranks *r = s->over_ranks;
    const ar_train_options *o = &s->o->common;
    if (!r) return true;
    bool asked = ar__is_first(r->ranks) && o->should_stop && o->should_stop(o->user);
    return asked || ar__clock_seconds() >= r->due || ar__comm_is_over(r->ranks);
}

/* Numbers of all, from each rank its own. */
static ar_status exchange(ar_sweep_state *s, size_t letter, bool more, ar_error *err) {
    ar_sweep_ranks *r = s->over_ranks;
    const double own[OF_RANK] = {[LETTER] = (double)letter, [TOKENS] = s->tokens, [SECONDS] = r->step_seconds, [MORE] = more};
    memcpy(of_rank(s, r->ranks->index), own, sizeof own);
    for (int i = 0; i < s->count; i++) say(r->said + r->place[i] * OF_CANDIDATE, &s->candidate[i], &s->stand[i]);
    ar_status st = gather(r, r->said, r->bound, OF_CANDIDATE, err);
    return st ? st : gather(r, of_rank(s, 0), NULL, OF_RANK, err);
}

/* Of rank 0: the others' candidates, once their folders are as they say. */
static ar_status take_note(ar_sweep_state *s, ar_error *err) {
    bool changed = false;
    for (int i = 0; i < s->count; i++) {
        ar_candidate before = s->candidate[i];
        if (ar__sweep_owns(s, i)) continue;
        hear(&s->candidate[i], &s->stand[i], s->over_ranks->said + s->over_ranks->place[i] * OF_CANDIDATE);
        changed = changed || before.state != s->candidate[i].state || before.rank != s->candidate[i].rank;
        if (!ar__sweep_is_running(s, i)) ar__sweep_close_run(&s->run[i]);
    }
    return changed ? ar__sweep_record_write(s, err) : AR_OK;
}

ar_status ar__sweep_meet(bool *more, ar_sweep_state *s, ar_error *err) {
    ar_sweep_ranks *r = s->over_ranks;
    if (!r) return AR_OK;
    bool first = ar__is_first(r->ranks);
    json_t *letter = first ? NULL : write_letter(s);
    char *text = letter ? json_dumps(letter, JSON_COMPACT) : NULL;
    ar_status st = letter && !text ? ar__fail_memory(err, "ranks") : exchange(s, text ? strlen(text) : 0, *more, err);
    if (!st && text) st = send_letter(s, text, letter, err);
    for (int k = 1; first && !st && k < r->ranks->count; k++)
        if (of_rank(s, k)[LETTER] > 0.0) st = take_letter(s, k, (size_t)of_rank(s, k)[LETTER], err);
    if (!st) st = take_note(s, err);
    r->tokens = 0.0;
    for (int k = 0; !st && k < r->ranks->count; k++) {
        r->tokens += of_rank(s, k)[TOKENS];
        *more = *more || of_rank(s, k)[MORE] > 0.0;
    }
    if (!st && first) ar__sweep_report(s, r->tokens);
    if (!st) ar__sweep_tell_idle(s);
    free(text);
    json_decref(letter);
    return st;
}

struct word {
    int32_t turn;
    double seconds;
};

ar_status ar__sweep_take_turn(ar_turn *turn, ar_sweep_state *s, ar_error *err) {
    ar_sweep_ranks *r = s->over_ranks;
    double slowest = 0.0;
    if (!r) return AR_OK;
    for (int k = 0; k < r->ranks->count; k++) slowest = fmax(slowest, of_rank(s, k)[SECONDS]);
    struct word word = {(int32_t)*turn, fmin(fmax(STEPS_BETWEEN * slowest, LEAST_SECONDS), MOST_SECONDS)};
    ar_status st = ar__comm_broadcast(r->ranks, &word, sizeof word, err);
    *turn = (ar_turn)word.turn;
    r->due = ar__clock_seconds() + (*turn == AR_TURN_STEP ? word.seconds : 0.0);
    return st;
}
