/* alphar runs: what was run, listed, compared, exported. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "alphar/runs.h"
#include "commands.h"
#include "csv.h"
#include "runs_folder.h"

struct values {
    cli_common common;
    const char *command, *compare, *export;
    int64_t last;
};
#define AT(member) offsetof(struct values, member)

static const cli_option options[] = {
    {.name = "command", .kind = CLI_STRING, .at = AT(command), .value = "NAME", .help = "only rows of this command"},
    {.name = "last", .kind = CLI_INT, .at = AT(last), .value = "N", .initial = "20", .help = "the newest N; 0: all"},
    {.name = "compare",
     .kind = CLI_STRING,
     .at = AT(compare),
     .value = "ID",
     .help = "two runs, by id or folder: settings that differ, and results"},
    {.name = "export",
     .kind = CLI_STRING,
     .at = AT(export),
     .value = "csv",
     .help = "all columns (RFC 4180); with DIR a sweep's candidates"},
    {0},
};

static json_t *parsed(const char *text) {
    json_t *j = text ? json_loads(text, JSON_DECODE_ANY, NULL) : NULL;
    return j ? j : json_null();
}

/* Bytes that are no UTF-8, as a file's name may have them, are shown as ?. */
static json_t *text_or_null(const char *text) {
    if (!text) return json_null();
    json_t *j = json_string(text);
    char *own = j ? NULL : strdup(text);
    for (char *p = own; p && *p; p++)
        if ((unsigned char)*p >= 0x80) *p = '?';
    if (own) j = json_string(own);
    free(own);
    return j;
}

static json_t *row_json(const ar_runs_row *r) {
    return json_pack("{s:I, s:o, s:o, s:I, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "id", (json_int_t)r->id, "command",
                     text_or_null(r->command), "status", text_or_null(r->status), "started", (json_int_t)r->started, "seconds",
                     cli_json_real(r->seconds), "loss", cli_json_real(r->loss), "eval_loss", cli_json_real(r->eval_loss), "out",
                     text_or_null(r->out), "model", text_or_null(r->model), "folder", text_or_null(r->folder), "arguments",
                     parsed(r->arguments), "settings", parsed(r->settings), "result", parsed(r->result), "version",
                     text_or_null(r->version));
}

/* ---- the list --------------------------------------------------------------------------------------------------------*/

struct listing {
    json_t *rows; /* of row_json */
};

static bool keep(void *user, const ar_runs_row *row) {
    struct listing *l = user;
    return !json_array_append_new(l->rows, row_json(row));
}

static const char *text_of(const json_t *row, const char *key) {
    const char *text = json_string_value(json_object_get(row, key));
    return text ? text : "";
}

/* Takes 12 bytes at least. */
static const char *loss_text(char *out, size_t size, const json_t *row, const char *key) {
    const json_t *x = json_object_get(row, key);
    *out = 0;
    if (json_is_number(x)) snprintf(out, size, "%.4f", json_number_value(x));
    return out;
}

static void print_row(const json_t *row) {
    char when[40] = "", time_text[40] = "", loss[40], eval_loss[40], line[320];
    time_t started = (time_t)json_integer_value(json_object_get(row, "started"));
    const json_t *seconds = json_object_get(row, "seconds");
    struct tm local;
    if (localtime_r(&started, &local)) strftime(when, sizeof when, "%Y-%m-%d %H:%M", &local);
    if (json_is_number(seconds)) cli_duration(time_text, sizeof time_text, json_number_value(seconds));
    const char *out = text_of(row, "out"), *slash = strrchr(out, '/');
    int n =
        snprintf(line, sizeof line, "%5lld %s %-8s %-11s %11s %9s %9s  %.200s", (long long)json_integer_value(json_object_get(row, "id")),
                 when, text_of(row, "command"), text_of(row, "status"), time_text, loss_text(loss, sizeof loss, row, "loss"),
                 loss_text(eval_loss, sizeof eval_loss, row, "eval_loss"), slash ? slash + 1 : out);
    while (n > 0 && line[n - 1] == ' ') line[--n] = '\0'; /* columns that are empty */
    puts(line);
}

static int print_list(cli *c, const json_t *rows, const char *command) {
    size_t i;
    json_t *row;
    if (!json_array_size(rows)) {
        if (command)
            printf("no run of %.60s was recorded\n", command);
        else
            puts("nothing was recorded yet");
        return cli_finish(c);
    }
    printf("%5s %-16s %-8s %-11s %11s %9s %9s  %s\n", "id", "when", "command", "status", "time", "loss", "eval loss", "out");
    json_array_foreach(rows, i, row) print_row(row);
    return cli_finish(c);
}

/* ---- export ----------------------------------------------------------------------------------------------------------*/

static int print_csv(cli *c, const json_t *rows) {
    static const char *const columns[] = {"id",    "command", "status",    "started",  "seconds", "loss",   "eval_loss",
                                          "model", "out",     "arguments", "settings", "result",  "folder", "version"};
    enum { COLUMNS = sizeof columns / sizeof *columns };
    size_t i;
    json_t *row;
    for (size_t k = 0; k < COLUMNS; k++) printf("%s%s", k ? "," : "", columns[k]);
    cli_csv_end();
    json_array_foreach(rows, i, row) {
        for (size_t k = 0; k < COLUMNS; k++) cli_csv_field(json_object_get(row, columns[k]), k == 0);
        cli_csv_end();
    }
    return cli_finish(c);
}

/* ---- comparison ------------------------------------------------------------------------------------------------------*/

/* Keys of either in which they differ: [{"name", "a", "b"}]. */
static json_t *differences(const json_t *a, const json_t *b) {
    json_t *list = json_array(), *keys = json_object();
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)a, key, value) json_object_set_new(keys, key, json_null());
    json_object_foreach((json_t *)(uintptr_t)b, key, value) json_object_set_new(keys, key, json_null());
    json_object_foreach(keys, key, value) {
        json_t *x = json_object_get(a, key), *y = json_object_get(b, key);
        bool none = (!x || json_is_null(x)) && (!y || json_is_null(y));
        if (none || json_equal(x, y)) continue;
        json_array_append_new(
            list, json_pack("{s:s, s:o, s:o}", "name", key, "a", x ? json_incref(x) : json_null(), "b", y ? json_incref(y) : json_null()));
    }
    json_decref(keys);
    return list;
}

/* A string as it is, anything else as JSON; cut where it is long. */
static const char *value_text(char *out, size_t size, const json_t *v) {
    char *text = json_is_string(v) ? NULL : json_dumps(v, JSON_ENCODE_ANY | JSON_REAL_PRECISION(6));
    snprintf(out, size, "%s", json_is_string(v) ? json_string_value(v) : text ? text : "");
    free(text);
    return out;
}

static void print_pair(const char *name, const json_t *a, const json_t *b) {
    char left[64], right[64];
    printf("%-20s %-24s %s\n", name, value_text(left, sizeof left, a), value_text(right, sizeof right, b));
}

/* Whether what lies in the folder was written by another run, or by this one when it went on: after it had ended; of one that was killed,
 * whose end nobody wrote down, after the next one there had begun. */
static bool is_later(const json_t *row, const json_t *rows, const char *dir) {
    char path[4200];
    struct stat st;
    size_t i;
    const json_t *seconds = json_object_get(row, "seconds"), *other;
    snprintf(path, sizeof path, "%.4000s/metrics.jsonl", dir);
    if (stat(path, &st)) return false;
    double written = (double)st.st_mtime, began = (double)json_integer_value(json_object_get(row, "started"));
    if (json_is_number(seconds)) return written > began + json_number_value(seconds) + 2;
    json_int_t id = json_integer_value(json_object_get(row, "id"));
    json_array_foreach(rows, i, other) {
        bool next = json_integer_value(json_object_get(other, "id")) > id && !strcmp(text_of(other, "out"), dir);
        if (id && next && written >= (double)json_integer_value(json_object_get(other, "started"))) return true;
    }
    return false;
}

/* [{"step", "loss"} and, of evaluations, {"step", "eval_loss"}]; null where nothing is left of the run. */
static json_t *curve_of(const json_t *row, const json_t *rows) {
    ar_run_history h;
    const char *dir = text_of(row, "out");
    if (!*dir || is_later(row, rows, dir) || ar_run_history_read(&h, dir, NULL)) return json_null();
    json_t *curve = json_array();
    for (size_t i = 0; i < h.count; i++) {
        const ar_run_point *p = &h.points[i];
        bool eval = !isnan(p->eval_loss);
        json_array_append_new(curve, json_pack("{s:I, s:o}", "step", (json_int_t)p->step, eval ? "eval_loss" : "loss",
                                               cli_json_real(eval ? p->eval_loss : p->loss)));
    }
    ar_run_history_release(&h);
    return curve;
}

typedef struct losses {
    double *loss;
    size_t count;
} losses;

static losses losses_of(const json_t *row) {
    const json_t *curve = json_object_get(row, "curve"), *point;
    losses x = {malloc((json_array_size(curve) + 1) * sizeof(double)), 0};
    size_t i;
    json_array_foreach(curve, i, point) {
        const json_t *loss = json_object_get(point, "loss");
        if (x.loss && json_is_number(loss)) x.loss[x.count++] = json_number_value(loss);
    }
    return x;
}

/* At most thirty-two bars, each the mean of an equal stretch, between the least and the most of both runs. */
enum { BARS = 32 };

static void print_curve(const losses *x, double least, double most) {
    static const char *const bar[] = {"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
    size_t points = x->count < BARS ? x->count : BARS;
    for (size_t i = 0; i < points; i++) {
        double sum = 0;
        size_t from = i * x->count / points, to = (i + 1) * x->count / points;
        for (size_t k = from; k < to; k++) sum += x->loss[k];
        double share = most > least ? (sum / (double)(to - from) - least) / (most - least) : 0;
        fputs(bar[(int)(7.999 * fmin(1, fmax(0, share)))], stdout);
    }
}

static void print_curves(const json_t *a, const json_t *b) {
    losses x[2] = {losses_of(a), losses_of(b)};
    double least = INFINITY, most = -INFINITY;
    for (int i = 0; i < 2; i++)
        for (size_t k = 0; k < x[i].count; k++) {
            least = fmin(least, x[i].loss[k]);
            most = fmax(most, x[i].loss[k]);
        }
    for (int i = 0; i < 2; i++) {
        if (x[i].count > 1) {
            printf("%-20s ", i ? "loss, the second" : "loss, the first");
            print_curve(&x[i], least, most);
            printf(" %.4f … %.4f, %zu steps\n", x[i].loss[0], x[i].loss[x[i].count - 1], x[i].count);
        }
        free(x[i].loss);
    }
}

static int print_comparison(cli *c, json_t *a, json_t *b, const json_t *rows) {
    static const char *const results[] = {"command", "status", "seconds", "loss", "eval_loss", "out"};
    json_t *list = differences(json_object_get(a, "settings"), json_object_get(b, "settings"));
    json_object_set_new(a, "curve", curve_of(a, rows));
    json_object_set_new(b, "curve", curve_of(b, rows));
    if (c->json) return cli_print_json(c, json_pack("{s:[O, O], s:o}", "runs", a, b, "settings", list));
    size_t i;
    json_t *d;
    if (json_is_integer(json_object_get(a, "id")) || json_is_integer(json_object_get(b, "id")))
        print_pair("id", json_object_get(a, "id"), json_object_get(b, "id"));
    for (size_t k = 0; k < sizeof results / sizeof *results; k++) {
        const json_t *x = json_object_get(a, results[k]), *y = json_object_get(b, results[k]);
        if (!json_is_null(x) || !json_is_null(y)) print_pair(results[k], x, y);
    }
    print_curves(a, b);
    printf("%s\n", json_array_size(list) ? "settings that differ:" : "all settings are the same");
    json_array_foreach(list, i, d) print_pair(text_of(d, "name"), json_object_get(d, "a"), json_object_get(d, "b"));
    json_decref(list);
    return cli_finish(c);
}

/* ---- the command -----------------------------------------------------------------------------------------------------*/

static bool read_id(int64_t *id, const char *text) {
    char *end;
    *id = strtoll(text, &end, 10);
    return *text && !*end && *id > 0;
}

/* A run by its number in the record, or by its folder; caller releases. */
static int find_run(json_t **out, cli *c, const json_t *rows, const char *text) {
    int64_t id;
    size_t i;
    json_t *row;
    *out = NULL;
    if (!read_id(&id, text)) return cli_runs_folder(out, c, text);
    json_array_foreach(rows, i, row) if (json_integer_value(json_object_get(row, "id")) == id) *out = json_incref(row);
    return *out ? CLI_OK : cli_fail_usage(c, "--compare: found no run %lld", (long long)id);
}

static int compare(cli *c, const json_t *rows, const char *first, const char *second) {
    json_t *a, *b = NULL;
    int code = find_run(&a, c, rows, first);
    if (!code) code = find_run(&b, c, rows, second);
    if (!code) code = print_comparison(c, a, b, rows);
    json_decref(a);
    json_decref(b);
    return code;
}

static int show(cli *c, const cli_args *args, const json_t *rows) {
    const struct values *v = args->values;
    if (v->compare) return compare(c, rows, v->compare, args->positional[0]);
    return c->json ? cli_print_json(c, json_pack("{s:O}", "runs", rows)) : v->export ? print_csv(c, rows) : print_list(c, rows, v->command);
}

static int check(cli *c, const cli_args *args) {
    const struct values *v = args->values;
    if (v->export && strcmp(v->export, "csv") != 0) return cli_fail_usage(c, "--export: found '%.40s', wanted csv", v->export);
    if (v->export && c->json) return cli_fail_usage(c, "found --export and --json, wanted one of them");
    if (v->export && v->compare) return cli_fail_usage(c, "found --export and --compare, wanted one of them");
    if (!v->compare && !v->export && args->positional_count)
        return cli_fail_usage(c, "found the extra argument '%.60s', wanted options only", args->positional[0]);
    if (v->compare && args->positional_count != 1)
        return cli_fail_usage(c, "--compare: wanted two runs by their ids or folders, as in --compare 3 5");
    return CLI_OK;
}

static int run(cli *c, const cli_args *args) {
    const struct values *v = args->values;
    ar_runs *runs;
    ar_error err;
    int code = check(c, args);
    if (code) return code;
    if (v->export && args->positional_count) return cli_runs_print_candidates(c, args->positional[0]);
    bool all = v->compare || (v->export && !cli_given(args, "last"));
    ar_runs_filter filter = {.command = v->compare ? NULL : v->command, .limit = all ? 0 : v->last};
    struct listing l = {json_array()};
    ar_status s = ar_runs_open(&runs, NULL, false, &err);
    if (!s) s = ar_runs_list(runs, &filter, keep, &l, &err);
    ar_runs_close(runs);
    code = s && s != AR_ERR_NOT_FOUND ? cli_fail(c, &err) : show(c, args, l.rows);
    json_decref(l.rows);
    return code;
}

const cli_command cli_runs = {
    .name = "runs",
    .summary = "Lists what was run, compares two runs, exports all.",
    .usage = "alphar runs [--command train] [--compare ID|DIR ID|DIR] [--export csv [SWEEP]]",
    .example = "alphar runs --command train --last 5",
    .options = options,
    .values_size = sizeof(struct values),
    .positional_count = 1,
    .unrecorded = true,
    .run = run,
};
