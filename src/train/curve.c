#include "train/curve.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/file.h"
#include "train/metrics.h"

/* One line of metrics.jsonl; false where it is an evaluation. */
static bool parse(int64_t *step, double *loss, double *weight, const char *line) {
    uint64_t supervised;
    if (sscanf(line, "{\"step\":%" SCNd64 ",\"loss\":%lf", step, loss) != 2) return false;
    const char *rest = strstr(line, "\"supervised\":"), *end = strchr(line, '\n'), *margin = strstr(line, "\"margin\":");
    bool pairs = margin && (!end || margin < end); /* whose loss is no mean over tokens */
    *weight = !pairs && rest && sscanf(rest, "\"supervised\":%" SCNu64, &supervised) == 1 ? (double)supervised : 1.0;
    return true;
}

static double mean(const double *loss, const double *weight, size_t n) {
    double sum = 0, total = 0;
    for (size_t i = 0; i < n; i++) {
        sum += loss[i] * weight[i];
        total += weight[i];
    }
    return total > 0 ? sum / total : 0;
}

enum { ENOUGH_TOKENS = 100 }; /* a mean over fewer is too noisy to judge a run by */

static void smooth(ar_curve *c, const double *weight) {
    size_t n = (c->count + 9) / 10;
    if (n > 50) n = 50;
    c->untrained = c->count && weight[0] >= ENOUGH_TOKENS ? c->loss[0] : 0;
    c->first = mean(c->loss, weight, n);
    c->last = mean(c->loss + c->count - n, weight + c->count - n, n);
}

ar_status ar__curve_read(ar_curve *out, const char *dir, int64_t until, ar_error *err) {
    *out = (ar_curve){0};
    char *path = ar__path_join(dir, AR_METRICS_FILE);
    ar_buf text = {0};
    ar_status s = path ? ar__file_read(&text, path, (size_t)1 << 32, err) : ar__fail_memory(err, dir);
    size_t lines = 1;
    for (const char *p = text.data; !s && p && (p = strchr(p, '\n')); p++) lines++;
    double *weight = ar__alloc(lines, sizeof *weight);
    out->step = ar__alloc(lines, sizeof *out->step);
    out->loss = ar__alloc(lines, sizeof *out->loss);
    if (!s && (!weight || !out->step || !out->loss)) s = ar__fail_memory(err, path);

    for (const char *p = text.data; !s && p && *p;) {
        size_t i = out->count;
        if (parse(&out->step[i], &out->loss[i], &weight[i], p) && out->step[i] <= until) out->count++;
        const char *end = strchr(p, '\n');
        p = end ? end + 1 : NULL;
    }
    if (!s) smooth(out, weight);
    free(weight);
    ar__buf_release(&text);
    free(path);
    return s;
}

void ar__curve_release(ar_curve *c) {
    free(c->step);
    free(c->loss);
    *c = (ar_curve){0};
}

size_t ar__curve_reduce(double *out, size_t n, const ar_curve *c) {
    if (c->count < n) n = c->count;
    for (size_t k = 0; k < n; k++) {
        size_t from = k * c->count / n, to = (k + 1) * c->count / n;
        double sum = 0;
        for (size_t i = from; i < to; i++) sum += c->loss[i];
        out[k] = sum / (double)(to - from);
    }
    return n;
}
