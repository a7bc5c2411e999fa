/* A run: what it came to, its curves, its strengths, its settings.  And several of them side by side. */
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
#include "train/metrics.h"
#include "train/output.h"

enum { BUCKETS = 400, COLORS = 8 };

/* ---- curves ----------------------------------------------------------------------------------------------------------*/

typedef struct curves {
    double *step, *loss, *smooth, *rate, *strength, *strength_step, *eval_step, *eval_loss; /* [count] of one block */
    size_t count, strengths, evals;
    int64_t half_life; /* of the smoothing, in steps */
    double seconds, tokens;
} curves;

static void release_curves(curves *c) {
    free(c->step);
    *c = (curves){0};
}

/* An exponential mean, unbiased at its start, weighted by the tokens that each step's loss is a mean over. */
static void smooth(curves *c, const double *weight) {
    c->half_life = c->count > 100 ? (int64_t)(c->count / 50) : 2;
    double keep = pow(0.5, 1.0 / (double)c->half_life), sum = 0, total = 0;
    for (size_t i = 0; i < c->count; i++) {
        sum = keep * sum + weight[i] * c->loss[i];
        total = keep * total + weight[i];
        c->smooth[i] = total > 0 ? sum / total : c->loss[i];
    }
}

static ar_status read_curves(curves *out, const char *dir, ar_error *err) {
    ar_run_history h;
    *out = (curves){0};
    ar_status s = ar_run_history_read(&h, dir, err);
    if (s) return s;
    size_t n = h.count ? h.count : 1;
    double *block = ar__alloc(n, 9 * sizeof *block), *weight = block + 8 * n;
    if (!block) {
        ar_run_history_release(&h);
        return ar__fail_memory(err, dir);
    }
    *out = (curves){.step = block,
                    .loss = block + n,
                    .smooth = block + 2 * n,
                    .rate = block + 3 * n,
                    .strength = block + 4 * n,
                    .strength_step = block + 5 * n,
                    .eval_step = block + 6 * n,
                    .eval_loss = block + 7 * n};
    for (size_t i = 0; i < h.count; i++) {
        const ar_run_point *p = &h.points[i];
        if (!isnan(p->eval_loss)) {
            out->eval_step[out->evals] = (double)p->step;
            out->eval_loss[out->evals++] = p->eval_loss;
            continue;
        }
        if (!isnan(p->strength)) {
            out->strength_step[out->strengths] = (double)p->step;
            out->strength[out->strengths++] = p->strength;
        }
        out->step[out->count] = (double)p->step;
        out->loss[out->count] = p->loss;
        out->rate[out->count] = p->rate;
        weight[out->count++] = p->supervised > 0 ? p->supervised : 1;
        out->seconds += isfinite(p->seconds) ? p->seconds : 0;
        out->tokens += isfinite(p->tokens) ? p->tokens : 0;
    }
    smooth(out, weight);
    ar_run_history_release(&h);
    return AR_OK;
}

/* At most 2·BUCKETS points of a long curve: the least and the most of each stretch, so that no spike is lost. */
static size_t thin(double *x, double *y, const double *step, const double *value, size_t count) {
    if (count <= 2 * BUCKETS) {
        memcpy(x, step, count * sizeof *x);
        memcpy(y, value, count * sizeof *y);
        return count;
    }
    for (size_t b = 0; b < BUCKETS; b++) {
        size_t from = b * count / BUCKETS, to = (b + 1) * count / BUCKETS, least = from, most = from;
        for (size_t i = from; i < to; i++) {
            if (value[i] < value[least]) least = i;
            if (value[i] > value[most]) most = i;
        }
        size_t first = least < most ? least : most, second = least < most ? most : least;
        x[2 * b] = step[first];
        y[2 * b] = value[first];
        x[2 * b + 1] = step[second];
        y[2 * b + 1] = value[second];
    }
    return 2 * BUCKETS;
}

static void put_loss(ar_report_page *p, const curves *c) {
    double x[2][2 * BUCKETS], y[2][2 * BUCKETS];
    char name[60];
    size_t raw = thin(x[0], y[0], c->step, c->loss, c->count), smoothed = thin(x[1], y[1], c->step, c->smooth, c->count);
    snprintf(name, sizeof name, "smoothed (half-life %lld steps)", (long long)c->half_life);
    const ar_series series[] = {{"each step", x[0], y[0], raw, 0, AR_SERIES_FAINT},
                                {name, x[1], y[1], smoothed, 0, AR_SERIES_LINE},
                                {c->evals ? "held-out" : NULL, c->eval_step, c->eval_loss, c->evals, 1, AR_SERIES_BOTH}};
    ar__svg_chart(&p->html, &(ar_chart){.title = "Loss", .x_label = "step", .series = series, .count = 3});
}

static void put_line(ar_report_page *p, const char *title, const double *x, const double *y, size_t count, int color) {
    double tx[2 * BUCKETS], ty[2 * BUCKETS];
    size_t n = thin(tx, ty, x, y, count);
    const ar_series series = {NULL, tx, ty, n, color, count <= 30 ? AR_SERIES_BOTH : AR_SERIES_LINE};
    ar__svg_chart(&p->html, &(ar_chart){.title = title, .x_label = "step", .series = &series, .count = 1, .from_zero = true});
}

/* ---- strengths -------------------------------------------------------------------------------------------------------*/

/* The last whole line of strength.jsonl. */
static ar_status read_strengths(json_t **out, const char *dir, ar_error *err) {
    char *path = ar__path_join(dir, AR_STRENGTH_FILE);
    ar_buf text = {0};
    *out = NULL;
    ar_status s = path ? AR_OK : ar__fail_memory(err, dir);
    if (!s && ar__path_exists(path)) s = ar__file_read(&text, path, (size_t)1 << 32, err);
    size_t end = text.len;
    while (end && text.data[end - 1] != '\n') end--;
    size_t begin = end ? end - 1 : 0;
    while (begin && text.data[begin - 1] != '\n') begin--;
    json_error_t at;
    if (!s && end > begin) *out = ar__json_decode(text.data + begin, end - begin, 0, &at);
    ar__buf_release(&text);
    free(path);
    return s;
}

static ar_status put_strengths(ar_report_page *p, const char *dir, ar_error *err) {
    json_t *line, *sites, *value;
    const char *name;
    ar_status s = read_strengths(&line, dir, err);
    if (s || !json_object_size(sites = json_object_get(line, "strength"))) {
        json_decref(line);
        return s;
    }
    size_t n = json_object_size(sites), i = 0;
    const char **names = ar__alloc(n, sizeof *names);
    double *strength = ar__alloc(n, sizeof *strength);
    if (!names || !strength) s = ar__fail_memory(err, dir);
    if (!s) json_object_foreach(sites, name, value) {
            names[i] = name;
            strength[i++] = json_is_number(value) ? json_number_value(value) : NAN;
        }
    char title[80];
    snprintf(title, sizeof title, "Strength ‖sBA‖ / ‖W‖ at step %lld", (long long)json_integer_value(json_object_get(line, "step")));
    if (!s) s = ar__put_sites_map(p, title, names, strength, n, err);
    free(names);
    free(strength);
    json_decref(line);
    return s;
}

/* ---- the section -----------------------------------------------------------------------------------------------------*/

static const char *text_of(const json_t *j, const char *key) {
    const char *text = json_string_value(json_object_get(j, key));
    return text ? text : "";
}

static void put_duration(char *out, size_t size, double seconds) {
    if (seconds < 100)
        snprintf(out, size, "%.1f s", seconds);
    else if (seconds < 6000)
        snprintf(out, size, "%.0f min", seconds / 60);
    else
        snprintf(out, size, "%.1f h", seconds / 3600);
}

static void put_tiles(ar_report_page *p, const json_t *settings, const curves *c) {
    char time[40];
    double rank, alpha;
    ar_buf *out = &p->html;
    ar__page_tiles_begin(out);
    if (c->count) ar__page_number(out, "loss, smoothed", "%.4f", c->smooth[c->count - 1]);
    if (c->evals) ar__page_number(out, "held-out loss", "%.4f", c->eval_loss[c->evals - 1]);
    if (c->evals > 1) {
        double best = INFINITY;
        for (size_t i = 0; i < c->evals; i++) best = fmin(best, c->eval_loss[i]);
        if (best < c->eval_loss[c->evals - 1]) ar__page_number(out, "the best on the way", "%.4f", best);
    }
    bool lora = !strcmp(text_of(settings, "method"), "lora") && ar__json_as_double(&rank, json_object_get(settings, "rank")) &&
                ar__json_as_double(&alpha, json_object_get(settings, "alpha")) && rank > 0 && isfinite(alpha / rank);
    if (lora) {
        bool rslora = !strcmp(text_of(settings, "policy"), "rslora");
        ar__page_tile(out, rslora ? "alpha, rank; s = alpha/√rank" : "alpha, rank; s = alpha/rank", "%g, %g; %.4g", alpha, rank,
                      alpha / (rslora ? sqrt(rank) : rank));
    }
    if (c->strengths) ar__page_number(out, "mean strength", "%.3g", c->strength[c->strengths - 1]);
    put_duration(time, sizeof time, c->seconds);
    ar__page_tile(out, "steps", "%zu", c->count);
    ar__page_tile(out, "of training", "%s", time);
    if (c->seconds > 0) ar__page_number(out, "tokens a second", "%.0f", c->tokens / c->seconds);
    ar__page_tiles_end(out);
}

static ar_status load_run(json_t **out, const char *dir, ar_error *err) {
    char *path = ar__path_join(dir, AR_RUN_RECORD);
    ar_status s = path ? ar__json_load_object(out, path, 1 << 24, err) : ar__fail_memory(err, dir);
    free(path);
    return s;
}

ar_status ar__section_run(ar_report_page *p, const char *dir, ar_error *err) {
    json_t *run = NULL;
    curves c = {0};
    size_t i;
    const json_t *remark;
    ar_status s = load_run(&run, dir, err);
    if (!s) s = read_curves(&c, dir, err);
    const json_t *settings = json_object_get(run, "settings"), *given = json_object_get(run, "given");
    if (!s) {
        ar__buf_puts(&p->html, "<section>\n");
        ar__page_heading(&p->html, 2, dir);
        ar__buf_puts(&p->html, "<p>");
        ar__html_printf(&p->html, "%s of %s on ", !strcmp(text_of(settings, "method"), "full") ? "All weights" : "LoRA",
                        *text_of(settings, "model") ? ar__path_base(text_of(settings, "model")) : "random weights");
        ar_buf data = {0};
        ar__value_text(&data, json_object_get(settings, "data"));
        ar__html_text(&p->html, data.data);
        ar__buf_release(&data);
        ar__buf_puts(&p->html, ".</p>\n");
        put_tiles(p, settings, &c);
        json_array_foreach(json_object_get(run, "remarks"), i, remark) ar__page_note(&p->html, json_string_value(remark));
        ar__page_charts_begin(&p->html);
        if (c.count) put_loss(p, &c);
        if (c.strengths > 1) put_line(p, "Mean strength ‖sBA‖ / ‖W‖", c.strength_step, c.strength, c.strengths, 2);
        if (c.count) put_line(p, "Learning rate", c.step, c.rate, c.count, 3);
        s = put_strengths(p, dir, err);
        ar__page_charts_end(&p->html);
    }
    char *config = ar__path_join(dir, "adapter_config.json");
    const char *model = p->o->model ? p->o->model : text_of(settings, "model");
    if (!s && config && ar__path_exists(config))
        s = ar__section_adapter(p, dir, *model && ar__path_exists(model) ? model : NULL, false, err);
    if (!s) {
        ar__put_settings(p, settings, given);
        ar__put_command(p, "train", settings, given, dir);
        ar__buf_puts(&p->html, "</section>\n");
    }
    free(config);
    release_curves(&c);
    json_decref(run);
    return s;
}

/* ---- several ---------------------------------------------------------------------------------------------------------*/

static void put_differences(ar_report_page *p, const char *const *dirs, json_t *const *runs, size_t count) {
    char align[COLORS + 2] = "l";
    const char *heads[COLORS + 1] = {"setting"}, *name;
    json_t *value;
    for (size_t i = 0; i < count; i++) {
        heads[i + 1] = ar__path_base(dirs[i]);
        align[i + 1] = 'l';
    }
    ar__page_table_begin(&p->html, heads, align, count + 1);
    json_object_foreach(json_object_get(runs[0], "settings"), name, value) {
        bool same = true;
        for (size_t i = 1; i < count; i++) same &= json_equal(value, json_object_get(json_object_get(runs[i], "settings"), name));
        if (same) continue;
        ar__page_row_begin(&p->html, NULL);
        ar__page_cell(&p->html, align, 0, name);
        for (size_t i = 0; i < count; i++) {
            ar_buf text = {0};
            ar__value_text(&text, json_object_get(json_object_get(runs[i], "settings"), name));
            ar__page_cell(&p->html, align, i + 1, text.data ? text.data : "");
            ar__buf_release(&text);
        }
        ar__page_row_end(&p->html);
    }
    ar__page_table_end(&p->html);
}

ar_status ar__section_compared(ar_report_page *p, const char *const *dirs, size_t count, ar_error *err) {
    typedef double stretch[2 * BUCKETS];
    stretch *x = ar__alloc(COLORS, sizeof *x), *y = ar__alloc(COLORS, sizeof *y);
    curves c[COLORS] = {0};
    json_t *run[COLORS] = {NULL};
    ar_series smooth_of[COLORS], eval_of[COLORS];
    size_t evals = 0;
    ar_status s = x && y ? AR_OK : ar__fail_memory(err, "report");
    if (count > COLORS) count = COLORS;
    for (size_t i = 0; !s && i < count; i++) {
        s = load_run(&run[i], dirs[i], err);
        if (!s) s = read_curves(&c[i], dirs[i], err);
        if (s) break;
        size_t n = thin(x[i], y[i], c[i].step, c[i].smooth, c[i].count);
        smooth_of[i] = (ar_series){ar__path_base(dirs[i]), x[i], y[i], n, (int)i, AR_SERIES_LINE};
        eval_of[i] = (ar_series){ar__path_base(dirs[i]), c[i].eval_step, c[i].eval_loss, c[i].evals, (int)i, AR_SERIES_BOTH};
        evals += c[i].evals;
    }
    if (!s) {
        ar__buf_puts(&p->html, "<section>\n");
        ar__page_heading(&p->html, 2, "Side by side");
        ar__page_charts_begin(&p->html);
        ar__svg_chart(&p->html, &(ar_chart){.title = "Loss, smoothed", .x_label = "step", .series = smooth_of, .count = count});
        if (evals) ar__svg_chart(&p->html, &(ar_chart){.title = "Held-out loss", .x_label = "step", .series = eval_of, .count = count});
        ar__page_charts_end(&p->html);
        ar__page_heading(&p->html, 3, "Settings in which they differ");
        put_differences(p, dirs, run, count);
        ar__buf_puts(&p->html, "</section>\n");
    }
    for (size_t i = 0; i < count; i++) {
        release_curves(&c[i]);
        json_decref(run[i]);
    }
    free(x);
    free(y);
    return s;
}
