#include "train/agree.h"

#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "kern/runtime.h"
#include "model/fingerprint.h"
#include "train/record.h"

#define KERNELS "kernels"

/* ---- cards -----------------------------------------------------------------------------------------------------------*/

json_t *ar__agree_card(void) { return json_pack("{s:s}", "version", ar_version()); }

ar_status ar__agree_base(json_t *card, const ar_model *m, ar_error *err) {
    char architecture[AR_FINGERPRINT_CHARS];
    ar_buf weights = {0};
    ar_status s = card ? ar__model_fingerprint(architecture, &weights, m, err) : AR_OK;
    if (card && !s) json_object_set_new(card, "the base's architecture", json_string(architecture));
    if (card && !s) json_object_set_new(card, "the base's weights, by their fingerprint", json_string(weights.data ? weights.data : ""));
    ar__buf_release(&weights);
    return s;
}

void ar__agree_hash(json_t *card, const char *name, uint64_t hash) {
    char text[24];
    snprintf(text, sizeof text, "%016llx", (unsigned long long)hash);
    if (card) json_object_set_new(card, name, json_string(text));
}

void ar__agree_data(json_t *card, const char *name, const ar_dataset *data) {
    if (data)
        ar__agree_hash(card, name, ar__data_hash(data));
    else if (card)
        json_object_set_new(card, name, json_null());
}

/* ---- comparing -------------------------------------------------------------------------------------------------------*/

static ar_status differ(const char *what, const json_t *first, const json_t *here, ar_error *err) {
    char *a = json_dumps(first, JSON_ENCODE_ANY | JSON_REAL_PRECISION(15)),
         *b = json_dumps(here, JSON_ENCODE_ANY | JSON_REAL_PRECISION(15));
    ar_status s = ar__fail(err, AR_ERR_MISMATCH, "%s: found %.200s here, and %.200s on rank 0; all ranks need the same", what,
                           b ? b : "nothing", a ? a : "nothing");
    free(a);
    free(b);
    return s;
}

static ar_status compare(const json_t *first, const json_t *here, const ar_log *log, ar_error *err) {
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)here, key, value) {
        const json_t *theirs = json_object_get(first, key);
        if (json_equal(value, theirs)) continue;
        if (strcmp(key, KERNELS) != 0) return differ(key, theirs, value, err);
        ar__log_warn(log, "the ranks' CPUs differ: the result's last bits are those of this set of machines");
    }
    return AR_OK;
}

/* Who does not agree fails, and so does this call of all others. */
static ar_status all_agree(ar_ranks *r, ar_error *err) {
    size_t n = (size_t)r->count, *bound = ar__alloc(n + 1, sizeof *bound);
    double *list = ar__alloc(n, sizeof *list);
    for (size_t i = 0; bound && i <= n; i++) bound[i] = i;
    ar_status s = bound && list ? ar__comm_gather(r, list, bound, err) : ar__fail_memory(err, "ranks");
    free(bound);
    free(list);
    return s;
}

ar_status ar__agree(ar_ranks *r, const ar_runtime *rt, json_t *card, ar_error *err) {
    json_t *first = NULL;
    char *text = NULL;
    ar_status s = AR_OK;
    if (ar__is_shared(r)) {
        if (card) json_object_set_new(card, KERNELS, json_string(rt->isa_line));
        text = card ? json_dumps(card, JSON_COMPACT | JSON_REAL_PRECISION(17)) : NULL;
        s = text ? ar_ranks_text(r, &text, err) : ar__fail_memory(err, "ranks");
        if (!s && !(first = json_loads(text, 0, NULL))) s = ar__fail(err, AR_ERR_FORMAT, "ranks: rank 0 sent no description of its work");
        if (!s) s = compare(first, card, &rt->log, err);
        if (!s) s = all_agree(r, err);
    }
    json_decref(first);
    json_decref(card);
    free(text);
    return s;
}

/* ---- who takes part --------------------------------------------------------------------------------------------------*/

void ar__agree_tell(const ar_ranks *r, const ar_runtime *rt, const char *more) {
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
            ar__log_warn(&rt->log,
                         "%s: its %d rank%s may use %d of %d cores; mpirun --bind-to none, or --map-by with PE=N, gives them more",
                         r->place[i].host, here, here == 1 ? "" : "s", here * r->place[i].cores, r->place[i].machine_cores);
    }
    ar__log_info(&rt->log, "%d ranks on %d machine%s%s; %d thread%s here%s", r->count, machines, machines == 1 ? "" : "s",
                 where.data ? where.data : "", rt->threads, rt->threads == 1 ? "" : "s", more);
    ar__buf_release(&where);
}
