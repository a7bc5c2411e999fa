#include "record.h"

#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "alphar/runtime.h"
#include "ranks.h"

static double clock_seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void give_up(cli_record *r, cli *c, const ar_error *err) {
    char said[1200];
    snprintf(said, sizeof said, "%.1000s; this run is not recorded (ALPHAR_HOME= switches the record off)", err->message);
    cli_log(c, AR_LOG_WARNING, said);
    ar_runs_close(r->runs);
    r->runs = NULL;
}

static char *json_of(json_t *j) {
    char *text = j ? json_dumps(j, JSON_COMPACT | JSON_REAL_PRECISION(15)) : NULL;
    json_decref(j);
    return text;
}

static char *arguments_of(int argc, char **argv) {
    json_t *list = json_array();
    for (int i = 0; list && i < argc; i++) {
        json_t *word = json_string(argv[i]);
        json_array_append_new(list, word ? word : json_string("(not UTF-8)"));
    }
    return json_of(list);
}

static const char *text_option(const cli_args *args, const char *name) {
    int i = cli_option_find(args->command, name);
    const cli_option *o = i < 0 ? NULL : cli_option_at(args->command, i);
    return o && o->kind == CLI_STRING ? *(const char *const *)(const void *)((const char *)args->values + o->at) : NULL;
}

/* Where the result goes: --out, or what a command names behind what it reads. */
static char *out_of(const cli_args *args) {
    const char *out = text_option(args, "out");
    if (!out && args->positional_count > 1 && strcmp(args->command->name, "diff") != 0)
        out = args->positional[strcmp(args->command->name, "combine") ? 1 : 0];
    if (!out) return NULL;
    char *whole = realpath(out, NULL), folder[PATH_MAX];
    if (whole || *out == '/' || !getcwd(folder, sizeof folder)) return whole ? whole : strdup(out);
    size_t bytes = strlen(folder) + strlen(out) + 2;
    char *joined = malloc(bytes);
    if (joined) snprintf(joined, bytes, "%s/%s", folder, out);
    return joined;
}

void cli_record_begin(cli_record *r, cli *c, const cli_args *args, int argc, char **argv) {
    char folder[PATH_MAX];
    ar_error err;
    *r = (cli_record){.row = {.command = args->command->name,
                              .status = "running",
                              .started = (int64_t)time(NULL),
                              .seconds = NAN,
                              .loss = NAN,
                              .eval_loss = NAN,
                              .version = ar_version()}};
    r->began = clock_seconds();
    char *path = args->command->unrecorded || cli_helps(c) ? NULL : ar_runs_path();
    if (!path) return;
    free(path);
    r->row.arguments = r->arguments = arguments_of(argc, argv);
    r->row.folder = r->folder = getcwd(folder, sizeof folder) ? strdup(folder) : NULL;
    r->row.out = r->out = out_of(args);
    r->row.model = text_option(args, "model");
    if (ar_runs_open(&r->runs, NULL, true, &err) || ar_runs_begin(r->runs, &r->row, &err)) give_up(r, c, &err);
}

/* ---- the end ---------------------------------------------------------------------------------------------------------*/

/* Lists are long, and in files. */
static json_t *without_lists(const json_t *result) {
    json_t *kept = json_object();
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)result, key, value) if (kept && !json_is_array(value)) json_object_set(kept, key, value);
    return kept;
}

/* Every setting of a run, from what it left. */
static json_t *settings_of(const char *out) {
    char path[PATH_MAX + 16];
    snprintf(path, sizeof path, "%.4000s/run.json", out ? out : "");
    json_t *run = out && !access(path, F_OK) ? json_load_file(path, 0, NULL) : NULL, *settings = json_object_get(run, "settings");
    json_incref(settings);
    json_decref(run);
    return settings;
}

/* Of other commands what was given. */
static json_t *given_of(const cli_args *args) {
    json_t *j = json_object();
    const cli_option *o;
    for (int i = 0; j && (o = cli_option_at(args->command, i)); i++) {
        const void *at = (const char *)args->values + o->at;
        if (o->kind == CLI_SECTION || !args->given[i]) continue;
        json_t *value = NULL;
        switch (o->kind) {
        case CLI_FLAG: value = json_boolean(*(const bool *)at); break;
        case CLI_INT: value = json_integer(*(const int64_t *)at); break;
        case CLI_COUNT: value = json_integer(*(const int *)at); break;
        case CLI_NUMBER: value = json_real(*(const double *)at); break;
        case CLI_SIZE: value = json_integer((json_int_t) * (const uint64_t *)at); break;
        case CLI_STRING: value = json_string(*(const char *const *)at); break;
        case CLI_LIST: {
            const ar_texts *list = at;
            value = json_array();
            for (size_t k = 0; value && k < list->count; k++) json_array_append_new(value, json_string(list->items[k]));
            break;
        }
        case CLI_CHOICE:
        case CLI_SECTION:
        case CLI_SETTING: break;
        }
        if (value) json_object_set_new(j, o->name, value);
    }
    return j;
}

static double number(const json_t *j, const char *key) {
    const json_t *x = json_object_get(j, key);
    return json_is_number(x) ? json_number_value(x) : NAN;
}

/* What a row is judged by: the loss of a training, the best of a list, what tuning came to. */
static void take_losses(ar_runs_row *row, const json_t *result) {
    const json_t *best = json_object_get(result, "best"), *after = json_object_get(result, "after"),
                 *list = json_object_get(result, "results");
    row->loss = number(result, "smoothed_loss");
    row->eval_loss = number(result, "eval_loss");
    if (json_is_object(best)) row->eval_loss = number(best, "loss");
    if (json_is_object(after)) row->eval_loss = number(after, "loss");
    if (isnan(row->eval_loss) && json_array_size(list) == 1) row->eval_loss = number(json_array_get(list, 0), "loss");
    const json_t *candidates = json_object_get(result, "candidates");
    for (size_t i = 0; i < json_array_size(candidates); i++) {
        double x = number(json_array_get(candidates, i), "eval_loss");
        if (isnan(row->eval_loss) || x < row->eval_loss) row->eval_loss = x;
    }
}

void cli_record_end(cli_record *r, cli *c, const cli_args *args, int code) {
    ar_error err;
    if (r->runs) {
        json_t *settings = settings_of(r->out);
        char *set = json_of(settings ? settings : given_of(args)), *result = c->result ? json_of(without_lists(c->result)) : NULL;
        r->row.status = code == CLI_OK ? "done" : code == CLI_INTERRUPTED ? "interrupted" : "failed";
        r->row.seconds = clock_seconds() - r->began;
        r->row.settings = set;
        r->row.result = result;
        take_losses(&r->row, c->result);
        if (ar_runs_end(r->runs, &r->row, &err)) give_up(r, c, &err);
        free(set);
        free(result);
    }
    ar_runs_close(r->runs);
    free(r->arguments);
    free(r->folder);
    free(r->out);
    json_decref(c->result);
    c->result = NULL;
}
