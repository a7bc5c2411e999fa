#include "train/share_agree.h"

#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "format/json.h"
#include "model/fingerprint.h"
#include "train/record.h"
#include "train/settings.h"
#include "train/share.h"

/* Places on a disk may differ, and what each machine has room for. */
static bool may_differ(const char *key) {
    static const char *const own[] = {"memory", "micro-batch", "checkpoint-layers"};
    const ar_setting *s = ar_train_setting(key);
    for (size_t i = 0; i < sizeof own / sizeof *own; i++)
        if (!strcmp(key, own[i])) return true;
    return s && (s->type == AR_SETTING_PATH || s->type == AR_SETTING_FILES);
}

static json_t *hash_of(const ar_dataset *data) {
    char hash[24];
    if (!data) return json_null();
    snprintf(hash, sizeof hash, "%016llx", (unsigned long long)ar__data_hash(data));
    return json_string(hash);
}

/* Everything that the result hangs on. */
static json_t *card_of(const ar_learner *l, ar_error *err) {
    char architecture[AR_FINGERPRINT_CHARS];
    const ar_course *c = l->course;
    ar_buf weights = {0};
    json_t *card = NULL;
    if (!ar__model_fingerprint(architecture, &weights, c->model, err))
        card = json_pack("{s:s, s:o, s:s, s:s, s:o, s:o, s:s}", "version", ar_version(), "settings",
                         ar__train_settings_json(&l->o, l->steps, NULL), "architecture", architecture, "weights",
                         weights.data ? weights.data : "", "data", hash_of(c->data), "eval-data", hash_of(c->eval_data), "kernels",
                         c->rt->isa_line);
    ar__buf_release(&weights);
    if (!card && err && !err->status) ar__fail_memory(err, "ranks");
    return card;
}

static ar_status differ(const char *what, const json_t *first, const json_t *here, ar_error *err) {
    char *a = json_dumps(first, JSON_ENCODE_ANY | JSON_REAL_PRECISION(15)),
         *b = json_dumps(here, JSON_ENCODE_ANY | JSON_REAL_PRECISION(15));
    ar_status s = ar__fail(err, AR_ERR_MISMATCH, "%s: found %.200s here, and %.200s on rank 0; all ranks need the same", what,
                           b ? b : "nothing", a ? a : "nothing");
    free(a);
    free(b);
    return s;
}

static ar_status compare_settings(const json_t *first, const json_t *here, ar_error *err) {
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)here, key,
                        value) if (!may_differ(key) &&
                                   !json_equal(value, json_object_get(first, key))) return differ(key, json_object_get(first, key), value,
                                                                                                  err);
    return AR_OK;
}

static ar_status compare(const json_t *first, const json_t *here, const ar_log *log, ar_error *err) {
    static const char *const parts[] = {"version", "architecture", "weights", "data", "eval-data"};
    static const char *const names[] = {"version", "the base's architecture", "the base's weights, by their fingerprint",
                                        "the samples of --data, by their hash", "the samples of --eval-data, by their hash"};
    ar_status s = AR_OK;
    for (size_t i = 0; !s && i < sizeof parts / sizeof *parts; i++) {
        if (i == 1) s = compare_settings(json_object_get(first, "settings"), json_object_get(here, "settings"), err);
        const json_t *a = json_object_get(first, parts[i]), *b = json_object_get(here, parts[i]);
        if (!s && !json_equal(a, b)) s = differ(names[i], a, b, err);
    }
    if (!s && !json_equal(json_object_get(first, "kernels"), json_object_get(here, "kernels")))
        ar__log_warn(log, "the ranks' CPUs differ: the result's last bits are those of this set of machines");
    return s;
}

/* Before anything is written: who does not agree fails, and so does this call of all others. */
static ar_status all_agree(ar_ranks *r, ar_error *err) {
    size_t n = (size_t)r->count, *bound = ar__alloc(n + 1, sizeof *bound);
    double *list = ar__alloc(n, sizeof *list);
    for (size_t i = 0; bound && i <= n; i++) bound[i] = i;
    ar_status s = bound && list ? ar__comm_gather(r, list, bound, err) : ar__fail_memory(err, "ranks");
    free(bound);
    free(list);
    return s;
}

ar_status ar__share_agree(const ar_learner *l, ar_ranks *ranks, ar_error *err) {
    if (err) *err = (ar_error){0};
    json_t *card = card_of(l, err), *first = NULL;
    char *text = card ? json_dumps(card, JSON_COMPACT | JSON_REAL_PRECISION(17)) : NULL;
    ar_status s = text ? ar_ranks_text(ranks, &text, err) : err && err->status ? err->status : ar__fail_memory(err, "ranks");
    if (!s && !(first = json_loads(text, 0, NULL))) s = ar__fail(err, AR_ERR_FORMAT, "ranks: rank 0 sent no description of its run");
    if (!s) s = compare(first, card, &l->course->rt->log, err);
    if (!s) s = all_agree(ranks, err);
    json_decref(first);
    json_decref(card);
    free(text);
    return s;
}

void ar__share_tell(const ar_learner *l) {
    const ar_ranks *r = l->o.ranks;
    const ar_log *log = &l->course->rt->log;
    const ar_share *s = &l->course->share;
    int machines = 0;
    ar_buf where = {0};
    for (int i = 0; i < r->count; i++) {
        int here = 0, earlier = 0;
        for (int k = 0; k < r->count; k++) {
            bool same = !strcmp(r->place[k].host, r->place[i].host);
            here += same;
            earlier += same && k < i;
        }
        if (earlier) continue;
        machines++;
        ar__buf_printf(&where, "%s%s %d of %d cores each", where.len ? ", " : ": ", r->place[i].host, r->place[i].cores,
                       r->place[i].machine_cores);
        if (here > 1) ar__buf_printf(&where, " (%d ranks)", here);
        if (here * r->place[i].cores < r->place[i].machine_cores)
            ar__log_warn(log, "%s: its %d rank%s may use %d of %d cores; mpirun --bind-to none, or --map-by with PE=N, gives them more",
                         r->place[i].host, here, here == 1 ? "" : "s", here * r->place[i].cores, r->place[i].machine_cores);
    }
    ar__log_info(log,
                 "%d ranks on %d machine%s%s; %d thread%s here; %.1f MiB of gradients go around each step, up to %.1f MiB are kept apart",
                 r->count, machines, machines == 1 ? "" : "s", where.data ? where.data : "", l->course->rt->threads,
                 l->course->rt->threads == 1 ? "" : "s", (double)s->stride * sizeof(float) / (1 << 20),
                 (double)(s->slot_cap * s->stride) * sizeof(float) / (1 << 20));
    ar__buf_release(&where);
}
