#include "train/sweep_ranks.h"

#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "base/clock.h"
#include "base/fail.h"
#include "base/file.h"
#include "train/agree.h"
#include "train/parcel.h"
#include "train/settings.h"
#include "train/share_agree.h"
#include "train/sweep_meet.h"

/* ---- who has what ----------------------------------------------------------------------------------------------------*/

bool ar__sweep_is_first(const ar_sweep_state *s) { return !s->over_ranks || ar__is_first(s->over_ranks->ranks); }

bool ar__sweep_owns(const ar_sweep_state *s, int i) {
    const ar_sweep_ranks *r = s->over_ranks;
    return !r || r->owner[i] == r->ranks->index;
}

static int running_on(const ar_sweep_state *s, int rank) {
    int n = 0;
    for (int i = 0; i < s->count; i++) n += s->over_ranks->owner[i] == rank && ar__sweep_is_running(s, i);
    return n;
}

bool ar__sweep_has_work(const ar_sweep_state *s) {
    for (int i = 0; i < s->count; i++)
        if (ar__sweep_is_here(s, i)) return true;
    return false;
}

void ar__sweep_tell_idle(const ar_sweep_state *s) {
    ar_sweep_ranks *r = s->over_ranks;
    int idle = 0;
    for (int k = 0; k < r->ranks->count; k++) idle += !running_on(s, k);
    if (idle > r->idle && idle < r->ranks->count)
        ar__log_info(&r->rt->log, "%d of %d ranks have no candidate to train, and are idle", idle, r->ranks->count);
    r->idle = idle;
}

/* By the samples of its steps; of epochs all have the same. */
static double cost_of(const ar_sweep_state *s, int i) {
    const ar_learner_options *l = &s->o->candidates[i];
    if (!ar__sweep_is_running(s, i)) return 0.0;
    return l->steps ? (double)l->steps * l->batch : fmax(1000.0 * l->epochs, 1.0);
}

/* The costliest first, each to the rank that has the least; so that neighbours in the list, of which a rung leaves the better ones, are on
 * different ranks, and one without any is one of the last. */
void ar__sweep_share(ar_sweep_state *s) {
    ar_sweep_ranks *r = s->over_ranks;
    double cost[AR_CANDIDATES];
    if (!r) return;
    for (int i = 0; i < s->count; i++) cost[i] = cost_of(s, i);
    for (int k = 0; k < r->ranks->count; k++) r->load[k] = 0.0;
    for (int n = 0; n < s->count; n++) {
        int next = 0, to = 0;
        for (int i = 1; i < s->count; i++)
            if (cost[i] > cost[next]) next = i;
        for (int k = 1; k < r->ranks->count; k++)
            if (r->load[k] < r->load[to]) to = k;
        r->owner[next] = to;
        r->load[to] += cost[next];
        cost[next] = -1.0;
    }
    size_t place = 0;
    for (int k = 0; k < r->ranks->count; k++) {
        r->bound[k] = place;
        for (int i = 0; i < s->count; i++)
            if (r->owner[i] == k) r->place[i] = (int)place++;
    }
    r->bound[r->ranks->count] = place;
}

/* ---- agreeing --------------------------------------------------------------------------------------------------------*/

static void add_candidate(json_t *card, const ar_sweep_options *o, int i) {
    ar_train_options one = o->common;
    one.learner = o->candidates[i];
    json_t *settings = ar__settings_parts_json(&one, 1u << AR_PART_LEARNER), *value;
    const char *key;
    char name[120];
    json_object_foreach(settings, key, value) {
        snprintf(name, sizeof name, "run-%02d: %.80s", i + 1, key);
        if (card) json_object_set(card, name, value);
    }
    json_decref(settings);
}

ar_status ar__sweep_agree(const ar_sweep_options *o, const ar_runtime *rt, ar_error *err) {
    if (!ar__is_shared(o->common.ranks)) return AR_OK;
    json_t *card = ar__agree_card(), *settings = ar__settings_parts_json(&o->common, 1u << AR_PART_COURSE | 1u << AR_PART_RUN);
    ar__agree_settings(card, settings);
    json_decref(settings);
    if (card) json_object_set_new(card, "compute", json_string(ar_runtime_compute(rt) == AR_COMPUTE_BF16 ? "bf16" : "f32"));
    if (card) json_object_set_new(card, "candidates", json_integer(o->count));
    if (card) json_object_set_new(card, "halving", json_boolean(o->halving));
    if (card) json_object_set_new(card, "resume", json_boolean(o->common.run.resume));
    for (int i = 0; i < o->count; i++) add_candidate(card, o, i);
    return ar__agree(o->common.ranks, rt, card, err);
}

ar_status ar__sweep_agree_on_course(const ar_sweep_state *s, const ar_runtime *rt, ar_error *err) {
    const ar_sweep_ranks *r = s->over_ranks;
    ar_buf each = {0};
    if (!r) return AR_OK;
    json_t *card = ar__agree_card();
    ar_status st = ar__sweep_has_work(s) ? ar__agree_course(card, &s->course, err) : AR_OK;
    if (st) {
        json_decref(card);
        return st;
    }
    st = ar__agree(r->ranks, rt, card, err);
    if (st) return st;
    ar__buf_puts(&each, "; candidates of each: ");
    for (int k = 0; k < r->ranks->count; k++) ar__buf_printf(&each, "%s%d", k ? ", " : "", running_on(s, k));
    ar__agree_tell(r->ranks, rt, each.data ? each.data : "");
    ar__sweep_tell_idle(s);
    ar__buf_release(&each);
    return AR_OK;
}

/* ---- the private folder ----------------------------------------------------------------------------------------------*/

#define PREFIX "alphar-ranks-"
enum { STALE_SECONDS = 60 };

/* What a killed rank left: its lock has no owner any more.  A folder that is about to get one is young. */
static void remove_stale(const char *above) {
    DIR *d = opendir(above);
    for (struct dirent *e; d && (e = readdir(d));) {
        struct stat st;
        char *path = strncmp(e->d_name, PREFIX, sizeof PREFIX - 1) ? NULL : ar__path_join(above, e->d_name);
        bool stale = path && !lstat(path, &st) && S_ISDIR(st.st_mode) && time(NULL) - st.st_mtime > STALE_SECONDS &&
                     ar__dir_holds(path, AR_LOCK_NAME) && !ar__lock_check(path, NULL);
        if (stale) ar__dir_remove(path, NULL);
        free(path);
    }
    if (d) closedir(d);
}

static ar_status make_folder(ar_sweep_ranks *r, ar_error *err) {
    const char *above = getenv("TMPDIR");
    ar_buf path = {0};
    if (!above || !*above) above = "/tmp";
    remove_stale(above);
    ar__buf_printf(&path, "%s/" PREFIX "XXXXXX", above);
    if (path.failed) return ar__fail_memory(err, "ranks");
    r->folder = path.data;
    if (mkdtemp(r->folder)) return ar__lock_take(&r->lock, r->folder, err);
    ar_status s = ar__fail_errno(err, "%s: cannot make a folder for this rank's candidates; TMPDIR may name another place", above);
    free(r->folder);
    r->folder = NULL;
    return s;
}

/* A helper's lines about its candidates wait for the next meeting; others are the same on rank 0. */
static void keep_line(void *user, ar_log_level level, const char *line) {
    const ar_sweep_state *s = user;
    const ar_sweep_ranks *r = s->over_ranks;
    size_t n = strlen(r->folder);
    bool folder = !strncmp(line, r->folder, n) && line[n] == '/'; /* which is rank 0's to name */
    if (!folder && strncmp(line, "run-", 4) != 0) return;
    json_array_append_new(r->lines, json_pack("[i, s+]", (int)level, folder ? s->o->common.run.out : "", folder ? line + n : line));
}

ar_status ar__sweep_ranks_open(ar_sweep_state *s, const ar_runtime *rt, ar_error *err) {
    ar_ranks *ranks = s->o->common.ranks;
    if (!ar__is_shared(ranks)) return AR_OK;
    ar_sweep_ranks *r = ar__alloc(1, sizeof *r);
    if (!r) return ar__fail_memory(err, "ranks");
    *r = (ar_sweep_ranks){.ranks = ranks, .lock = AR_LOCK_NONE, .rt = rt, .log = rt->log};
    s->over_ranks = r;
    r->bound = ar__alloc((size_t)ranks->count + 1, sizeof *r->bound);
    r->said = ar__alloc(ar__sweep_numbers(s->count, ranks->count), sizeof *r->said);
    r->lines = json_array();
    r->load = ar__alloc((size_t)ranks->count, sizeof *r->load);
    if (!r->bound || !r->said || !r->lines || !r->load) return ar__fail_memory(err, "ranks");
    if (ar__is_first(ranks)) return AR_OK;
    ar_status st = make_folder(r, err);
    if (!st) ((ar_runtime *)(uintptr_t)rt)->log = (ar_log){keep_line, s};
    return st;
}

void ar__sweep_ranks_close(ar_sweep_state *s) {
    ar_sweep_ranks *r = s->over_ranks;
    if (!r) return;
    ((ar_runtime *)(uintptr_t)r->rt)->log = r->log;
    ar__lock_drop(&r->lock);
    if (r->folder) ar__dir_remove(r->folder, NULL);
    json_decref(r->lines);
    free(r->folder);
    free(r->bound);
    free(r->said);
    free(r->load);
    free(r);
    s->over_ranks = NULL;
}

/* ---- going on --------------------------------------------------------------------------------------------------------*/

ar_status ar__sweep_hand_out(const ar_sweep_state *s, ar_error *err) {
    const ar_sweep_ranks *r = s->over_ranks;
    ar_status st = AR_OK;
    if (!r || !s->o->common.run.resume) return AR_OK;
    for (int i = 0; !st && i < s->count; i++)
        if (r->owner[i] && ar__sweep_is_running(s, i)) st = ar__sweep_hand_folder(s, i, r->owner[i], err);
    return st;
}
