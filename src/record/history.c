/* The course of a run, read back from its metrics.jsonl. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "alphar/runs.h"
#include "base/fail.h"
#include "base/file.h"
#include "base/mem.h"
#include "format/json.h"
#include "train/metrics.h"

static double number(const json_t *line, const char *key) {
    double x;
    return ar__json_as_double(&x, json_object_get(line, key)) ? x : NAN;
}

static bool read_point(ar_run_point *out, const char *text, size_t n) {
    json_error_t at;
    json_t *line = ar__json_decode(text, n, 0, &at);
    bool ours = ar__json_as_int(&out->step, json_object_get(line, "step"));
    out->loss = number(line, "loss");
    out->eval_loss = number(line, "eval_loss");
    out->rate = number(line, "lr");
    out->grad_norm = number(line, "grad_norm");
    out->strength = number(line, "strength");
    out->supervised = json_object_get(line, "margin") ? NAN : number(line, "supervised");
    out->tokens = number(line, "tokens");
    out->seconds = number(line, "seconds");
    json_decref(line);
    return ours;
}

ar_status ar_run_history_read(ar_run_history *out, const char *dir, ar_error *err) {
    char *path = ar__path_join(dir, AR_METRICS_FILE);
    ar_buf text = {0};
    size_t cap = 0;
    *out = (ar_run_history){0};
    ar_status s = path ? ar__file_read(&text, path, (size_t)1 << 32, err) : ar__fail_memory(err, dir);
    for (size_t at = 0; !s && at < text.len;) {
        const char *line = text.data + at, *end = memchr(line, '\n', text.len - at);
        size_t n = end ? (size_t)(end - line) : text.len - at;
        ar_run_point *grown = ar__grow(out->points, &cap, out->count + 1, sizeof *grown);
        if (grown) out->points = grown;
        if (!grown)
            s = ar__fail_memory(err, path);
        else
            out->count += read_point(&grown[out->count], line, n);
        at += n + 1;
    }
    ar__buf_release(&text);
    free(path);
    if (s) ar_run_history_release(out);
    return s;
}

void ar_run_history_release(ar_run_history *h) {
    free(h->points);
    *h = (ar_run_history){0};
}
