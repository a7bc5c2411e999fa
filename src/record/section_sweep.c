/* A sweep: its candidates, and what tells the better ones apart. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "alphar/settings.h"
#include "base/fail.h"
#include "base/file.h"
#include "format/json.h"
#include "record/page.h"
#include "record/sections.h"
#include "record/svg.h"
#include "train/output.h"

enum { VARIED = 5, LINES = 8, SCATTERS = 3 };

typedef struct candidate {
    const char *dir;
    double loss; /* held-out; NaN: none */
    bool left;   /* behind, so that its loss is one of fewer steps */
    const json_t *json, *settings;
} candidate;

typedef struct varied {
    const char *name;
    bool is_number, is_log;
    double *value; /* [count]: the number, or which of the texts */
    char **label;  /* [count] */
} varied;

typedef struct sweep {
    const char *dir, *best;
    bool any_left;
    candidate *at;
    size_t count, *by_rank; /* the best first */
    varied varied[VARIED];
    size_t varied_count;
} sweep;

/* ---- what is varied --------------------------------------------------------------------------------------------------*/

static char *label_of(const json_t *value) {
    ar_buf text = {0};
    ar__value_text(&text, value);
    return text.failed ? NULL : text.data;
}

static size_t first_like(const varied *v, size_t i) {
    size_t k = 0;
    while (strcmp(v->label[k], v->label[i]) != 0) k++;
    return k;
}

static ar_status read_column(varied *v, const sweep *s, const char *name, ar_error *err) {
    double least = INFINITY, most = -INFINITY;
    *v = (varied){
        .name = name, .is_number = true, .value = ar__alloc(s->count, sizeof *v->value), .label = ar__alloc(s->count, sizeof *v->label)};
    if (!v->value || !v->label) return ar__fail_memory(err, s->dir);
    for (size_t i = 0; i < s->count; i++) {
        const json_t *x = json_object_get(s->at[i].settings, name);
        if (!(v->label[i] = label_of(x))) return ar__fail_memory(err, s->dir);
        v->is_number &= ar__json_as_double(&v->value[i], x);
        least = fmin(least, v->value[i]);
        most = fmax(most, v->value[i]);
    }
    v->is_log = v->is_number && least > 0 && most >= 4 * least && strcmp(name, "seed") != 0;
    for (size_t i = 0, texts = 0; !v->is_number && i < s->count; i++) {
        size_t k = first_like(v, i);
        v->value[i] = k == i ? (double)texts++ : v->value[k];
    }
    return AR_OK;
}

static void release_column(varied *v, size_t count) {
    for (size_t i = 0; v->label && i < count; i++) free(v->label[i]);
    free(v->label);
    free(v->value);
}

/* alpha = 2·rank and the like say nothing new. */
static bool follows(const varied *v, const varied *earlier, size_t count) {
    if (!v->is_number || !earlier->is_number || earlier->value[0] == 0) return false;
    double ratio = v->value[0] / earlier->value[0];
    for (size_t i = 1; i < count; i++)
        if (fabs(v->value[i] - ratio * earlier->value[i]) > 1e-9 * fabs(v->value[i])) return false;
    return true;
}

static ar_status find_varied(sweep *s, ar_error *err) {
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)s->at[0].settings, name, value) {
        bool same = true;
        for (size_t i = 1; i < s->count; i++) same &= json_equal(value, json_object_get(s->at[i].settings, name));
        if (same || s->varied_count == VARIED) continue;
        varied *v = &s->varied[s->varied_count];
        ar_status st = read_column(v, s, name, err);
        bool new = !st;
        for (size_t k = 0; new &&k < s->varied_count; k++) new = !follows(v, &s->varied[k], s->count);
        if (new)
            s->varied_count++;
        else
            release_column(v, s->count);
        if (st) return st;
    }
    return AR_OK;
}

/* ---- reading ---------------------------------------------------------------------------------------------------------*/

/* NaN behind all numbers. */
static bool is_before(double a, double b) { return isnan(b) ? !isnan(a) : a < b; }

static void rank_candidates(sweep *s) {
    for (size_t i = 0; i < s->count; i++) {
        size_t k = i;
        for (; k > 0 && is_before(s->at[i].loss, s->at[s->by_rank[k - 1]].loss); k--) s->by_rank[k] = s->by_rank[k - 1];
        s->by_rank[k] = i;
    }
}

static ar_status read_sweep(sweep *s, const char *dir, const json_t *json, ar_error *err) {
    const json_t *list = json_object_get(json, "candidates"), *it;
    size_t i;
    *s = (sweep){.dir = dir, .best = json_string_value(json_object_get(json, "best")), .count = json_array_size(list)};
    if (!s->count) return ar__fail(err, AR_ERR_FORMAT, "%s/%s: holds no candidates", dir, AR_SWEEP_RECORD);
    s->at = ar__alloc(s->count, sizeof *s->at);
    s->by_rank = ar__alloc(s->count, sizeof *s->by_rank);
    if (!s->at || !s->by_rank) return ar__fail_memory(err, dir);
    json_array_foreach(list, i, it) {
        candidate *c = &s->at[i];
        const char *state = json_string_value(json_object_get(it, "state"));
        *c = (candidate){.dir = json_string_value(json_object_get(it, "dir")),
                         .loss = NAN,
                         .left = state && !strcmp(state, "halved"),
                         .json = it,
                         .settings = json_object_get(it, "settings")};
        s->any_left |= c->left;
        ar__json_as_double(&c->loss, json_object_get(it, "eval_loss"));
        if (!c->dir || !json_is_object(c->settings))
            return ar__fail(err, AR_ERR_FORMAT, "%s/%s: candidate %zu lacks its 'dir' or its 'settings'", dir, AR_SWEEP_RECORD, i + 1);
    }
    rank_candidates(s);
    return find_varied(s, err);
}

static void release_sweep(sweep *s) {
    for (size_t i = 0; i < s->varied_count; i++) release_column(&s->varied[i], s->count);
    free(s->at);
    free(s->by_rank);
}

/* ---- charts ----------------------------------------------------------------------------------------------------------*/

/* What a candidate is apart from one setting: "rank 8, seed 2". */
static char *rest_of(const sweep *s, size_t i, size_t without) {
    ar_buf text = {0};
    for (size_t k = 0; k < s->varied_count; k++)
        if (k != without) ar__buf_printf(&text, "%s%s %s", text.len ? ", " : "", s->varied[k].name, s->varied[k].label[i]);
    if (!text.data) ar__buf_puts(&text, "");
    return text.failed ? NULL : text.data;
}

/* Those that came as far as the others, and those that were left behind. */
typedef struct group {
    char *name;
    struct points {
        double *x, *y;
        size_t count;
    } whole, left;
} group;

static size_t group_of(group *g, size_t *count, char *name) {
    for (size_t k = 0; k < *count; k++)
        if (!strcmp(g[k].name, name)) {
            free(name);
            return k;
        }
    g[*count].name = name;
    return (*count)++;
}

static void insert_point(struct points *g, double x, double y) {
    size_t k = g->count++;
    for (; k > 0 && g->x[k - 1] > x; k--) {
        g->x[k] = g->x[k - 1];
        g->y[k] = g->y[k - 1];
    }
    g->x[k] = x;
    g->y[k] = y;
}

/* Held-out loss over one setting: a line for each combination of the others, where these are few; rings for who was left behind. */
static ar_status put_scatter(ar_report_page *p, const sweep *s, size_t which, ar_error *err) {
    const varied *v = &s->varied[which];
    group *g = ar__alloc(s->count, sizeof *g);
    ar_series *series = ar__alloc(s->count, 2 * sizeof *series);
    double *block = ar__alloc(s->count, 4 * s->count * sizeof *block);
    size_t groups = 0;
    ar_status st = g && series && block ? AR_OK : ar__fail_memory(err, s->dir);
    for (size_t i = 0; !st && i < s->count; i++) {
        char *name = rest_of(s, i, which);
        if (!name) {
            st = ar__fail_memory(err, s->dir);
            break;
        }
        group *at = &g[group_of(g, &groups, name)];
        size_t index = (size_t)(at - g);
        at->whole.x = block + 4 * s->count * index;
        at->whole.y = at->whole.x + s->count;
        at->left.x = at->whole.y + s->count;
        at->left.y = at->left.x + s->count;
        insert_point(s->at[i].left ? &at->left : &at->whole, v->value[i], s->at[i].loss);
    }
    char title[120], mark[60];
    double best = s->at[s->by_rank[0]].loss;
    snprintf(title, sizeof title, "Held-out loss over %s", v->name);
    snprintf(mark, sizeof mark, "best %.4f", best);
    bool lines = groups <= LINES;
    for (size_t k = 0; k < groups; k++) {
        const struct points *whole = &g[k].whole, *left = &g[k].left;
        const char *name = lines && groups > 1 ? g[k].name : NULL;
        int color = lines ? (int)k : 0;
        series[2 * k] =
            (ar_series){whole->count ? name : NULL, whole->x, whole->y, whole->count, color, lines ? AR_SERIES_BOTH : AR_SERIES_DOTS};
        series[2 * k + 1] = (ar_series){whole->count ? NULL : name, left->x, left->y, left->count, color, AR_SERIES_RINGS};
    }
    if (!st)
        ar__svg_chart(&p->html, &(ar_chart){.title = title,
                                            .x_label = v->name,
                                            .series = series,
                                            .count = 2 * groups,
                                            .log_x = v->is_log,
                                            .mark = isnan(best) ? NULL : mark,
                                            .mark_x = v->value[s->by_rank[0]]});
    for (size_t k = 0; k < groups; k++) free(g[k].name);
    free(g);
    free(series);
    free(block);
    return st;
}

static ar_status put_parallel(ar_report_page *p, const sweep *s, ar_error *err) {
    ar_parallel_axis axes[VARIED + 1];
    double *loss = ar__alloc(s->count, sizeof *loss);
    if (!loss) return ar__fail_memory(err, s->dir);
    for (size_t i = 0; i < s->count; i++) loss[i] = s->at[i].loss;
    for (size_t k = 0; k < s->varied_count; k++)
        axes[k] = (ar_parallel_axis){s->varied[k].name, s->varied[k].value, (const char *const *)s->varied[k].label, s->varied[k].is_log};
    axes[s->varied_count] = (ar_parallel_axis){"held-out loss", loss, NULL, false};
    ar__svg_parallel(&p->html, "What the better ones share", axes, s->varied_count + 1, s->count, s->by_rank);
    free(loss);
    return AR_OK;
}

/* Held-out losses on the way, of the candidates whose folders are there; the worst ones at last. */
static ar_status put_courses(ar_report_page *p, const sweep *s, ar_error *err) {
    ar_series series[LINES];
    size_t shown = 0, longest = 0;
    ar_status st = AR_OK;
    for (size_t n = 0; !st && n < s->count && shown < LINES; n++) {
        const candidate *c = &s->at[s->by_rank[n]];
        char *dir = ar__path_join(s->dir, c->dir);
        ar_run_history h = {0};
        if (dir && ar__path_is_dir(dir) && !ar_run_history_read(&h, dir, NULL)) {
            double *block = ar__alloc(h.count + 1, 2 * sizeof *block);
            size_t evals = 0;
            if (!block) st = ar__fail_memory(err, s->dir);
            for (size_t i = 0; block && i < h.count; i++)
                if (!isnan(h.points[i].eval_loss)) {
                    block[evals] = (double)h.points[i].step;
                    block[h.count + 1 + evals++] = h.points[i].eval_loss;
                }
            if (evals)
                series[shown++] = (ar_series){c->dir, block, block + h.count + 1, evals, (int)n, AR_SERIES_BOTH};
            else
                free(block);
            if (evals > longest) longest = evals;
        }
        ar_run_history_release(&h);
        free(dir);
    }
    if (!st && longest > 1)
        ar__svg_chart(&p->html, &(ar_chart){.title = shown < s->count ? "Held-out loss on the way, the best" : "Held-out loss on the way",
                                            .x_label = "step",
                                            .series = series,
                                            .count = shown});
    for (size_t i = 0; i < shown; i++) free((void *)(uintptr_t)series[i].x);
    return st;
}

/* ---- the table -------------------------------------------------------------------------------------------------------*/

static void put_table(ar_report_page *p, const sweep *s) {
    static const char *const fixed[] = {"steps", "loss", "eval_loss", "state"};
    enum { FIXED = sizeof fixed / sizeof *fixed };
    const char *heads[1 + VARIED + 1 + FIXED] = {"candidate"};
    char align[] = "lrrrrrrrrrr";
    size_t columns = 1;
    for (size_t k = 0; k < s->varied_count; k++) heads[columns++] = s->varied[k].name;
    heads[columns++] = "s";
    for (size_t k = 0; k < FIXED; k++) heads[columns++] = strcmp(fixed[k], "eval_loss") ? fixed[k] : "held-out loss";
    ar__page_table_begin(&p->html, heads, align, columns);
    for (size_t n = 0; n < s->count; n++) {
        size_t i = s->by_rank[n], at = 0;
        ar__page_row_begin(&p->html, s->best && !strcmp(s->best, s->at[i].dir) ? "best" : NULL);
        ar__page_cell(&p->html, align, at++, s->at[i].dir);
        for (size_t k = 0; k < s->varied_count; k++) ar__page_cell(&p->html, align, at++, s->varied[k].label[i]);
        for (size_t k = 0; k <= FIXED; k++) {
            ar_buf text = {0};
            ar__value_text(&text, json_object_get(s->at[i].json, k ? fixed[k - 1] : "scale"));
            bool state = k == FIXED && s->at[i].left;
            ar__page_cell(&p->html, align, at++, state ? "left behind" : text.data ? text.data : "");
            ar__buf_release(&text);
        }
        ar__page_row_end(&p->html);
    }
    ar__page_table_end(&p->html);
}

/* ---- the command -----------------------------------------------------------------------------------------------------*/

/* The candidates' settings with lists for what is varied; of a full grid that is the command again. */
static void put_command(ar_report_page *p, const sweep *s, const json_t *json) {
    json_t *all = json_deep_copy(json_object_get(json, "settings"));
    double grid = 1;
    json_object_update(all, (json_t *)(uintptr_t)s->at[0].settings);
    for (size_t k = 0; k < s->varied_count; k++) {
        const varied *v = &s->varied[k];
        const ar_setting *row = ar_train_setting(v->name);
        ar_buf list = {0};
        size_t values = 0;
        for (size_t i = 0; i < s->count; i++)
            if (first_like(v, i) == i)
                ar__buf_printf(&list, "%s%s", values++ ? row && row->type == AR_SETTING_NAMES ? ";" : "," : "", v->label[i]);
        grid *= (double)values;
        json_object_set_new(all, v->name, json_string(list.data ? list.data : ""));
        ar__buf_release(&list);
    }
    json_t *given = json_incref(json_object_get(s->at[0].json, "given"));
    const varied *first = s->varied;
    bool alpha_follows = s->varied_count && strcmp(first->name, "alpha") != 0;
    for (size_t k = 0; k < s->varied_count; k++) alpha_follows &= strcmp(s->varied[k].name, "alpha") != 0;
    double rank, alpha;
    bool doubled = ar__json_as_double(&rank, json_object_get(s->at[0].settings, "rank")) &&
                   ar__json_as_double(&alpha, json_object_get(s->at[0].settings, "alpha")) && alpha == 2 * rank;
    if (alpha_follows && doubled) json_object_del(all, "alpha");
    if (json_is_true(json_object_get(json, "halving"))) json_object_set_new(all, "halving", json_true());
    if (grid == (double)s->count)
        ar__put_command(p, json_is_true(json_object_get(json, "halving")) ? "sweep --halving" : "sweep", all, given, s->dir);
    json_decref(given);
    json_decref(all);
}

ar_status ar__section_sweep(ar_report_page *p, const char *dir, ar_error *err) {
    char *path = ar__path_join(dir, AR_SWEEP_RECORD);
    json_t *json = NULL;
    sweep s = {0};
    ar_status st = path ? ar__json_load_object(&json, path, 1 << 28, err) : ar__fail_memory(err, dir);
    if (!st) st = read_sweep(&s, dir, json, err);
    if (!st) {
        const candidate *best = &s.at[s.by_rank[0]];
        ar__buf_puts(&p->html, "<section>\n");
        ar__page_heading(&p->html, 2, dir);
        ar__page_tiles_begin(&p->html);
        ar__page_tile(&p->html, "candidates", "%zu", s.count);
        if (!isnan(best->loss)) ar__page_tile(&p->html, "the best held-out loss", "%.4f", best->loss);
        ar__page_tile(&p->html, "the best", "%s", s.best ? s.best : "–");
        for (size_t k = 0; s.best && k < s.varied_count; k++)
            ar__page_tile(&p->html, s.varied[k].name, "%s", s.varied[k].label[s.by_rank[0]]);
        ar__page_tiles_end(&p->html);
        ar__page_charts_begin(&p->html);
        for (size_t k = 0, shown = 0; !st && k < s.varied_count && shown < SCATTERS; k++) {
            if (!s.varied[k].is_number || !strcmp(s.varied[k].name, "seed")) continue;
            st = put_scatter(p, &s, k, err);
            shown++;
        }
        if (!st && s.varied_count) st = put_parallel(p, &s, err);
        if (!st) st = put_courses(p, &s, err);
        ar__page_charts_end(&p->html);
        if (s.any_left)
            ar__page_note(&p->html, "Rings are candidates that were left behind, at the loss that they had then, after fewer steps.");
    }
    if (!st) {
        put_table(p, &s);
        put_command(p, &s, json);
        ar__buf_puts(&p->html, "</section>\n");
    }
    release_sweep(&s);
    json_decref(json);
    free(path);
    return st;
}
