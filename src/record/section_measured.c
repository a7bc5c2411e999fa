/* What `eval` measured at several strengths, and what `tune` found. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/file.h"
#include "format/json.h"
#include "record/page.h"
#include "record/sections.h"
#include "record/svg.h"

static const char align[] = "rrrrrl";

static double number(const json_t *j, const char *key) {
    double x;
    return ar__json_as_double(&x, json_object_get(j, key)) ? x : NAN;
}

/* ---- eval ------------------------------------------------------------------------------------------------------------*/

typedef struct point {
    double x, scale, loss, retention;
} point;

typedef struct points {
    point *at; /* by x */
    size_t count;
    bool by_alpha;
    double best, *block;       /* block: columns for the charts */
    double at_zero, most_kept; /* of retention: the loss at 0, and the most that was asked for; NaN: none */
} points;

static int by_x(const void *a, const void *b) {
    double x = ((const point *)a)->x, y = ((const point *)b)->x;
    return (x > y) - (x < y);
}

static void add_points(points *out, const json_t *results, const json_t *retention) {
    size_t i;
    const json_t *r;
    json_array_foreach(results, i, r) {
        point *at = &out->at[out->count++];
        *at = (point){number(r, out->by_alpha ? "alpha" : "scale"), number(r, "scale"), number(r, "loss"),
                      number(json_array_get(retention, i), "loss")};
    }
}

static ar_status read_points(points *out, const char *path, const json_t *json, ar_error *err) {
    const json_t *results = json_object_get(json, "results"), *refined = json_object_get(json, "refined"), *r;
    size_t n = json_array_size(results) + json_array_size(refined), i;
    *out = (points){.by_alpha = true, .at = ar__alloc(n + 1, sizeof *out->at), .block = ar__alloc(n + 1, 3 * sizeof *out->block)};
    if (!out->at || !out->block) return ar__fail_memory(err, path);
    json_array_foreach(results, i, r) out->by_alpha &= json_is_number(json_object_get(r, "alpha"));
    add_points(out, results, json_object_get(json, "retention"));
    add_points(out, refined, json_object_get(json, "refined_retention"));
    qsort(out->at, out->count, sizeof *out->at, by_x);
    out->best = number(json_object_get(json, "best"), out->by_alpha ? "alpha" : "scale");
    out->at_zero = number(json, "retention_at_zero");
    out->most_kept = (1.0 + number(json, "max_forgetting")) * out->at_zero;
    return out->count ? AR_OK : ar__fail(err, AR_ERR_FORMAT, "%s: holds no results", path);
}

static double span_of(const double *y, size_t n) {
    double least = INFINITY, most = -INFINITY;
    for (size_t i = 0; i < n; i++) {
        if (!isfinite(y[i])) continue;
        least = fmin(least, y[i]);
        most = fmax(most, y[i]);
    }
    return most > least ? most - least : 0;
}

static void put_strength_charts(ar_report_page *p, const points *s) {
    size_t n = s->count, kept = 0;
    double *x = s->block, *loss = x + n, *retention = loss + n;
    char mark[60];
    for (size_t i = 0; i < n; i++) {
        x[i] = s->at[i].x;
        loss[i] = s->at[i].loss;
        retention[i] = s->at[i].retention;
        kept += isfinite(retention[i]) ? 1 : 0;
    }
    snprintf(mark, sizeof mark, "best: %s %.4g", s->by_alpha ? "alpha" : "s", s->best);
    const ar_series series[] = {{kept ? "the task" : NULL, x, loss, n, 0, AR_SERIES_BOTH},
                                {"what should stay", x, retention, n, 1, AR_SERIES_BOTH}};
    const char *of = s->by_alpha ? "alpha" : "s", *best = isnan(s->best) ? NULL : mark;
    char title[60];
    snprintf(title, sizeof title, "Loss over %s", of);
    double both = span_of(loss, kept ? 2 * n : n); /* retention lies behind loss */
    bool together = kept && both <= 3 * fmax(span_of(loss, n), span_of(retention, n));
    ar__svg_chart(&p->html,
                  &(ar_chart){.title = title, .x_label = of, .series = series, .count = together ? 2 : 1, .mark = best, .mark_x = s->best});
    if (!kept || together) return;
    snprintf(title, sizeof title, "Loss on what should stay, over %s", of);
    ar__svg_chart(&p->html, &(ar_chart){.title = title, .x_label = of, .series = &series[1], .count = 1, .mark = best, .mark_x = s->best});
}

static void put_strength_table(ar_report_page *p, const points *s) {
    const char *const heads[] = {s->by_alpha ? "alpha" : "s", "s", "loss", "retention", "change", ""};
    size_t columns = isfinite(s->most_kept) ? 6 : isfinite(s->at_zero) ? 5 : 3;
    ar__page_table_begin(&p->html, heads, align, columns);
    for (size_t i = 0; i < s->count; i++) {
        const point *at = &s->at[i];
        double value[] = {at->x, at->scale, at->loss, at->retention, 100 * (at->retention / s->at_zero - 1)};
        static const char *const format[] = {"%.5g", "%.5g", "%.5f", "%.5f", "%+.2f %%"};
        ar__page_row_begin(&p->html, at->x == s->best ? "best" : at->retention > s->most_kept ? "soft" : NULL);
        for (size_t k = 0; k < columns && k < sizeof value / sizeof *value; k++) {
            char text[40];
            ar__page_cell(&p->html, align, k, ar__figure(text, format[k], value[k]));
        }
        if (columns == 6) ar__page_cell(&p->html, align, 5, at->x == s->best ? "best" : at->retention > s->most_kept ? "forgets" : "");
        ar__page_row_end(&p->html);
    }
    ar__page_table_end(&p->html);
}

/* What the best had to keep to. */
static void put_bound(ar_report_page *p, const points *s) {
    size_t lowest = 0;
    char text[240];
    if (!isfinite(s->most_kept)) return;
    for (size_t i = 1; i < s->count; i++)
        if (s->at[i].loss < s->at[lowest].loss) lowest = i;
    const point *l = &s->at[lowest];
    double allowed = 100 * (s->most_kept / s->at_zero - 1), forgets = 100 * (l->retention / s->at_zero - 1);
    if (isnan(s->best))
        snprintf(text, sizeof text, "None of these forgets less than the %.3g %% that were allowed.", allowed);
    else if (l->x == s->best)
        snprintf(text, sizeof text, "The best may forget %.3g %%, and has the lowest loss of all.", allowed);
    else
        snprintf(text, sizeof text,
                 "The best is that of lowest loss among those that forget at most %.3g %%. %s %.5g has loss %.4f and forgets %.3g %%.",
                 allowed, s->by_alpha ? "Alpha" : "s", l->x, l->loss, forgets);
    ar__page_note(&p->html, text);
}

static ar_status put_eval(ar_report_page *p, const char *path, const json_t *json, ar_error *err) {
    points s;
    ar_status st = read_points(&s, path, json, err);
    if (!st) {
        const json_t *best = json_object_get(json, "best");
        ar__page_tiles_begin(&p->html);
        if (json_is_object(best)) {
            ar__page_number(&p->html, s.by_alpha ? "the best alpha" : "the best s", "%.5g", s.best);
            ar__page_number(&p->html, "s there", "%.4g", number(best, "scale"));
            ar__page_number(&p->html, "loss there", "%.4f", number(best, "loss"));
        }
        ar__page_tile(&p->html, "strengths measured", "%zu", s.count);
        ar__page_tiles_end(&p->html);
        put_bound(p, &s);
        ar__page_charts_begin(&p->html);
        put_strength_charts(p, &s);
        put_strength_table(p, &s);
        ar__page_charts_end(&p->html);
    }
    free(s.at);
    free(s.block);
    return st;
}

/* ---- tune ------------------------------------------------------------------------------------------------------------*/

static ar_status put_tuned(ar_report_page *p, const char *path, const json_t *json, ar_error *err) {
    const json_t *sites = json_object_get(json, "sites"), *site;
    size_t n = json_array_size(sites), i, pruned = 0;
    const char **names = ar__alloc(n + 1, sizeof *names);
    double *factor = ar__alloc(n + 1, sizeof *factor);
    ar_status s = names && factor ? AR_OK : ar__fail_memory(err, path);
    if (!s) json_array_foreach(sites, i, site) {
            const char *name = json_string_value(json_object_get(site, "name"));
            double before = number(site, "before");
            names[i] = name ? name : "";
            factor[i] = before != 0 ? number(site, "after") / before : NAN;
            pruned += json_is_true(json_object_get(site, "pruned"));
        }
    if (!s) {
        double before = number(json_object_get(json, "before"), "loss"), after = number(json_object_get(json, "after"), "loss");
        ar__page_tiles_begin(&p->html);
        ar__page_number(&p->html, "test loss before", "%.4f", before);
        ar__page_number(&p->html, "and after", "%.4f", after);
        ar__page_tile(&p->html, "scales", "%lld", (long long)json_integer_value(json_object_get(json, "groups")));
        if (pruned) ar__page_tile(&p->html, "sites switched off", "%zu", pruned);
        ar__page_tiles_end(&p->html);
        ar__page_charts_begin(&p->html);
        s = ar__put_sites_map(p, "s after, as a share of s before", names, factor, n, err);
        ar__page_charts_end(&p->html);
    }
    free(names);
    free(factor);
    return s;
}

ar_status ar__section_measured(ar_report_page *p, const char *path, const json_t *json, ar_error *err) {
    bool eval = json_is_array(json_object_get(json, "results")),
         tune = json_is_array(json_object_get(json, "sites")) && json_is_object(json_object_get(json, "before"));
    if (!eval && !tune)
        return ar__fail(err, AR_ERR_FORMAT, "%s: found neither 'results' of alphar eval --json nor 'sites' of alphar tune --json", path);
    ar__buf_puts(&p->html, "<section>\n");
    ar__page_heading(&p->html, 2, path);
    ar_status s = eval ? put_eval(p, path, json, err) : put_tuned(p, path, json, err);
    ar__buf_puts(&p->html, "</section>\n");
    return s;
}
