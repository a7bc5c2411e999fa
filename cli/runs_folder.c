#include "runs_folder.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "alphar/runs.h"
#include "csv.h"

static int read_record(json_t **out, cli *c, const char *dir, const char *name, const char *whose) {
    char path[4400];
    json_error_t error;
    snprintf(path, sizeof path, "%.4000s/%s", dir, name);
    *out = json_load_file(path, 0, &error);
    if (json_is_object(*out)) return CLI_OK;
    json_decref(*out);
    *out = NULL;
    return cli_fail_usage(c, "%.200s: found no %s there that could be read, wanted the folder of a %s", dir, name, whose);
}

static double last_eval(const char *dir) {
    ar_run_history h;
    double loss = NAN;
    if (ar_run_history_read(&h, dir, NULL)) return NAN;
    for (size_t i = 0; i < h.count; i++)
        if (!isnan(h.points[i].eval_loss)) loss = h.points[i].eval_loss;
    ar_run_history_release(&h);
    return loss;
}

int cli_runs_folder(json_t **row, cli *c, const char *dir) {
    json_t *run;
    *row = NULL;
    int code = read_record(&run, c, dir, "run.json", "run");
    if (code) return code;
    *row = json_pack("{s:n, s:s, s:n, s:n, s:n, s:o, s:s, s:O?}", "id", "command", "train", "status", "seconds", "loss", "eval_loss",
                     cli_json_real(last_eval(dir)), "out", dir, "settings", json_object_get(run, "settings"));
    json_decref(run);
    return *row ? CLI_OK : cli_fail_memory(c);
}

/* Members of all candidates in their order, but for what stands in each of them anyhow. */
static json_t *columns_of(const json_t *candidates) {
    json_t *columns = json_object(), *value, *one;
    const char *key;
    size_t i;
    json_array_foreach(candidates, i, one) json_object_foreach(one, key, value) {
        if (strcmp(key, "settings") != 0 && strcmp(key, "given") != 0) json_object_set_new(columns, key, json_null());
    }
    return columns;
}

int cli_runs_print_candidates(cli *c, const char *dir) {
    json_t *sweep, *one, *value;
    int code = read_record(&sweep, c, dir, "sweep.json", "sweep");
    if (code) return code;
    const json_t *list = json_object_get(sweep, "candidates");
    json_t *columns = columns_of(list);
    const char *key;
    size_t i, n = 0;
    json_object_foreach(columns, key, value) printf("%s%s", n++ ? "," : "", key);
    cli_csv_end();
    json_array_foreach(list, i, one) {
        n = 0;
        json_object_foreach(columns, key, value) {
            const json_t *field = json_object_get(one, key);
            cli_csv_field(field ? field : value, n++ == 0);
        }
        cli_csv_end();
    }
    json_decref(columns);
    json_decref(sweep);
    return cli_finish(c);
}
