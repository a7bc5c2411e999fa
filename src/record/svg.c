#include "record/svg.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "record/page.h"

enum { WIDTH = 480, HEIGHT = 290, LEFT = 72, RIGHT = 14, TOP = 46, BOTTOM = 48 };
enum { TICKS = 12, TICK_ROOM = 46 /* units that a label on the x axis takes */ };

static void text_at(ar_buf *out, double x, double y, const char *anchor, const char *class_name, const char *text) {
    ar__buf_printf(out, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\"", x, y, anchor);
    if (class_name) ar__buf_printf(out, " class=\"%s\"", class_name);
    ar__buf_puts(out, ">");
    ar__html_text(out, text);
    ar__buf_puts(out, "</text>");
}

static void begin(ar_buf *out, double height, const char *title) {
    ar__buf_printf(out, "<figure><svg viewBox=\"0 0 %d %.0f\" role=\"img\" aria-label=\"", WIDTH, height);
    ar__html_text(out, title);
    ar__buf_puts(out, "\">");
    text_at(out, 4, 18, "start", "title", title);
}

/* ---- axes ------------------------------------------------------------------------------------------------------------*/

typedef struct axis {
    double least, most; /* logarithms on a logarithmic axis */
    bool is_log;
    double tick[TICKS]; /* values */
    size_t ticks;
    double step; /* between ticks; 0: they are where the data is */
} axis;

static bool is_on(const axis *a, double x) { return isfinite(x) && !(a->is_log && x <= 0); }
static double place(const axis *a, double x) { return ((a->is_log ? log10(x) : x) - a->least) / (a->most - a->least); }

static void widen(axis *a, double x) {
    if (!is_on(a, x)) return;
    a->least = fmin(a->least, a->is_log ? log10(x) : x);
    a->most = fmax(a->most, a->is_log ? log10(x) : x);
}

static void settle(axis *a, double margin) {
    if (!(a->least <= a->most)) a->least = 0, a->most = 1;
    double span = a->most - a->least, room = span > 0 ? margin * span : a->least != 0 && !a->is_log ? 0.1 * fabs(a->least) : 0.5;
    a->least -= room;
    a->most += room;
}

static void add_tick(axis *a, double x) {
    double at = a->is_log ? log10(x) : x, slack = 1e-9 * (a->most - a->least);
    if (a->ticks < TICKS && at >= a->least - slack && at <= a->most + slack) a->tick[a->ticks++] = x;
}

/* At 1, 2 or 5 times a power of ten; about n of them. */
static void tick_linear(axis *a, int n) {
    double raw = (a->most - a->least) / n, unit = pow(10, floor(log10(raw))), q = raw / unit;
    a->step = unit * (q > 7 ? 10 : q > 3 ? 5 : q > 1.4 ? 2 : 1);
    double first = ceil(a->least / a->step - 1e-9);
    for (int i = 0; i < TICKS; i++) add_tick(a, (first + i) * a->step);
}

static void tick_log(axis *a) {
    static const double several[] = {1, 2, 5};
    double decades = a->most - a->least;
    int steps = decades < 2.5 ? 3 : 1, from = (int)floor(a->least), to = (int)ceil(a->most), every = decades > 8 ? 2 : 1;
    for (int k = from; k <= to; k += every)
        for (int i = 0; i < steps; i++) add_tick(a, several[i] * pow(10, k));
    a->step = 0;
}

/* Where all points share a few values, these are the ticks. */
static bool tick_values(axis *a, const ar_chart *c) {
    double value[TICKS];
    size_t n = 0;
    for (size_t s = 0; s < c->count; s++)
        for (size_t i = 0; i < c->series[s].count; i++) {
            double x = c->series[s].x[i];
            size_t k = 0;
            while (k < n && value[k] != x) k++;
            if (k < n || !is_on(a, x)) continue;
            if (n == TICKS) return false;
            value[n++] = x;
        }
    for (size_t i = 0; i < n; i++) add_tick(a, value[i]);
    return n > 0;
}

void ar__svg_number(char *out, size_t size, double x, double step) {
    int digits = step > 0 && step < 1 ? (int)ceil(-log10(step) - 1e-9) : 0;
    if (fabs(x) < step * 1e-6) x = 0;
    if (step <= 0 || digits > 6 || fabs(x) >= 1e6)
        snprintf(out, size, "%.4g", x);
    else
        snprintf(out, size, "%.*f", digits, x);
}

static double x_of(const axis *a, double x) { return LEFT + place(a, x) * (WIDTH - LEFT - RIGHT); }
static double y_of(const axis *a, double y) { return HEIGHT - BOTTOM - fmin(1, fmax(0, place(a, y))) * (HEIGHT - TOP - BOTTOM); }

static void draw_axes(ar_buf *out, const axis *x, const axis *y, const char *x_label) {
    char label[40];
    for (size_t i = 0; i < y->ticks; i++) {
        double at = y_of(y, y->tick[i]);
        ar__svg_number(label, sizeof label, y->tick[i], y->step);
        ar__buf_printf(out, "<path d=\"M%d %.1fH%d\" class=\"grid\"/>", LEFT, at, WIDTH - RIGHT);
        text_at(out, LEFT - 7, at + 4, "end", NULL, label);
    }
    double drawn[TICKS];
    size_t count = 0;
    for (size_t i = 0; i < x->ticks; i++) {
        double at = x_of(x, x->tick[i]);
        bool room = true;
        for (size_t k = 0; k < count; k++) room &= fabs(at - drawn[k]) >= TICK_ROOM;
        if (!room) continue;
        drawn[count++] = at;
        ar__svg_number(label, sizeof label, x->tick[i], x->step);
        text_at(out, at, HEIGHT - BOTTOM + 18, "middle", NULL, label);
    }
    text_at(out, (LEFT + WIDTH - RIGHT) / 2.0, HEIGHT - 9, "middle", NULL, x_label);
}

/* ---- lines and dots --------------------------------------------------------------------------------------------------*/

static void draw_line(ar_buf *out, const ar_series *s, const axis *x, const axis *y) {
    bool open = false, any = false;
    for (size_t i = 0; i < s->count; i++) {
        bool fine = is_on(x, s->x[i]) && isfinite(s->y[i]);
        if (fine && !any) ar__buf_printf(out, "<path class=\"line c%d%s\" d=\"", s->color % 8, s->style == AR_SERIES_FAINT ? " faint" : "");
        any |= fine;
        if (fine) ar__buf_printf(out, "%c%.1f %.1f", open ? 'L' : 'M', x_of(x, s->x[i]), y_of(y, s->y[i]));
        open = fine;
    }
    if (any) ar__buf_puts(out, "\"/>");
}

static void draw_dots(ar_buf *out, const ar_series *s, const axis *x, const axis *y) {
    const char *kind = s->style == AR_SERIES_RINGS ? "ring" : "dot";
    for (size_t i = 0; i < s->count; i++) {
        if (!is_on(x, s->x[i]) || !isfinite(s->y[i])) continue;
        ar__buf_printf(out, "<circle class=\"%s c%d\" cx=\"%.1f\" cy=\"%.1f\" r=\"4\"><title>", kind, s->color % 8, x_of(x, s->x[i]),
                       y_of(y, s->y[i]));
        if (s->name) ar__html_printf(out, "%s, ", s->name);
        ar__html_printf(out, "%.6g: %.6g", s->x[i], s->y[i]);
        ar__buf_puts(out, "</title></circle>");
    }
}

static void draw_legend(ar_buf *out, const ar_chart *c) {
    size_t named = 0;
    for (size_t i = 0; i < c->count; i++) named += c->series[i].name != NULL;
    if (named < 2) return;
    ar__buf_puts(out, "<figcaption>");
    for (size_t i = 0; i < c->count; i++) {
        if (!c->series[i].name) continue;
        ar__buf_printf(out, "<span class=\"entry\"><span class=\"key c%d%s\">\u25a0</span>", c->series[i].color % 8,
                       c->series[i].style == AR_SERIES_FAINT ? " faint" : "");
        ar__html_text(out, c->series[i].name);
        ar__buf_puts(out, "</span> ");
    }
    ar__buf_puts(out, "</figcaption>");
}

void ar__svg_chart(ar_buf *out, const ar_chart *c) {
    axis x = {.least = INFINITY, .most = -INFINITY, .is_log = c->log_x}, y = {.least = c->from_zero ? 0 : INFINITY, .most = -INFINITY};
    bool only_faint = true;
    for (size_t s = 0; s < c->count; s++) only_faint &= c->series[s].style == AR_SERIES_FAINT;
    for (size_t s = 0; s < c->count; s++)
        for (size_t i = 0; i < c->series[s].count; i++) {
            if (!is_on(&x, c->series[s].x[i]) || !isfinite(c->series[s].y[i])) continue;
            widen(&x, c->series[s].x[i]);
            if (only_faint || c->series[s].style != AR_SERIES_FAINT) widen(&y, c->series[s].y[i]);
        }
    settle(&x, 0.02);
    settle(&y, 0.05);
    if (c->from_zero) y.least = 0;
    if (!tick_values(&x, c)) {
        if (c->log_x)
            tick_log(&x);
        else
            tick_linear(&x, 5);
    }
    tick_linear(&y, 5);
    begin(out, HEIGHT, c->title);
    draw_axes(out, &x, &y, c->x_label);
    if (c->mark && is_on(&x, c->mark_x)) {
        double at = x_of(&x, c->mark_x);
        bool right = at > WIDTH * 0.6;
        ar__buf_printf(out, "<path d=\"M%.1f %dV%d\" class=\"mark\"/>", at, TOP, HEIGHT - BOTTOM);
        text_at(out, right ? at + 4 : at - 4, TOP - 6, right ? "end" : "start", NULL, c->mark);
    }
    for (int behind = 1; behind >= 0; behind--)
        for (size_t s = 0; s < c->count; s++) {
            const ar_series *of = &c->series[s];
            if ((of->style == AR_SERIES_FAINT) != behind) continue;
            bool lines = of->style == AR_SERIES_LINE || of->style == AR_SERIES_FAINT || of->style == AR_SERIES_BOTH;
            if (lines) draw_line(out, of, &x, &y);
            if (!lines || of->style == AR_SERIES_BOTH) draw_dots(out, of, &x, &y);
        }
    ar__buf_puts(out, "</svg>");
    draw_legend(out, c);
    ar__buf_puts(out, "</figure>\n");
}

/* ---- a heat map ------------------------------------------------------------------------------------------------------*/

static void draw_scale(ar_buf *out, double most, double y) {
    char label[40];
    enum { STEPS = 6, STEP = 16 };
    double x = WIDTH - RIGHT - 54 - STEPS * STEP;
    text_at(out, x - 6, y + 12, "end", NULL, "0");
    for (int i = 0; i < STEPS; i++)
        ar__buf_printf(out, "<rect class=\"cell\" x=\"%.1f\" y=\"%.1f\" width=\"%d\" height=\"14\" fill-opacity=\"%.2f\"/>", x + i * STEP,
                       y, STEP, (double)i / (STEPS - 1));
    snprintf(label, sizeof label, "%.3g", most);
    text_at(out, x + STEPS * STEP + 6, y + 12, "start", NULL, label);
}

void ar__svg_heat(ar_buf *out, const ar_heat *h) {
    enum { NAMES = 104, CELL = 24, FOOT = 62 };
    double most = 0, bottom = TOP + (double)h->rows * CELL, wide = (double)(WIDTH - NAMES - RIGHT) / (h->columns ? (double)h->columns : 1);
    wide = fmin(wide, 60);
    for (size_t i = 0; i < h->rows * h->columns; i++)
        if (isfinite(h->value[i])) most = fmax(most, h->value[i]);
    begin(out, bottom + FOOT, h->title);
    for (size_t k = 0; k < h->rows; k++) {
        double y = TOP + (double)k * CELL;
        text_at(out, NAMES - 6, y + CELL - 8, "end", NULL, h->row_names[k]);
        for (size_t i = 0; i < h->columns; i++) {
            double v = h->value[i * h->rows + k];
            if (!isfinite(v)) continue;
            ar__buf_printf(out, "<rect class=\"cell\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%d\" fill-opacity=\"%.3f\"><title>",
                           NAMES + (double)i * wide, y, wide, CELL, most > 0 ? v / most : 0);
            ar__html_printf(out, "%s %s, %s: %.3g", h->x_label, h->column_names[i], h->row_names[k], v);
            ar__buf_puts(out, "</title></rect>");
        }
    }
    double last = -1e9;
    for (size_t i = 0; i < h->columns; i++) {
        double at = NAMES + ((double)i + 0.5) * wide;
        if (at - last < 24) continue;
        text_at(out, last = at, bottom + 18, "middle", NULL, h->column_names[i]);
    }
    text_at(out, NAMES, bottom + 48, "start", NULL, h->x_label);
    draw_scale(out, most, bottom + 36);
    ar__buf_puts(out, "</svg></figure>\n");
}

/* ---- parallel coordinates --------------------------------------------------------------------------------------------*/

enum { AXES = 6, FEW = 6, EDGE = 40, UPPER = TOP + 14 };

static double height_of(const axis *a, double v) { return HEIGHT - BOTTOM - place(a, v) * (HEIGHT - BOTTOM - UPPER); }

/* The values that an axis takes, where these are few; else its ticks. */
static void label_axis(ar_buf *out, const ar_parallel_axis *p, axis *a, double x, size_t count, const char *anchor) {
    double drawn[TICKS];
    size_t different = 0;
    for (size_t i = 0; i < count; i++) {
        size_t k = 0;
        while (p->value[k] != p->value[i] && k < i) k++;
        different += k == i;
    }
    if (different > FEW && !p->label) {
        if (a->is_log)
            tick_log(a);
        else
            tick_linear(a, 4);
        for (size_t i = 0; i < a->ticks; i++) {
            char label[40];
            ar__svg_number(label, sizeof label, a->tick[i], a->step);
            text_at(out, strcmp(anchor, "end") ? x + 5 : x - 5, height_of(a, a->tick[i]) + 4, anchor, NULL, label);
        }
        return;
    }
    size_t n = 0;
    for (size_t i = 0; i < count; i++) {
        if (!is_on(a, p->value[i])) continue;
        double at = height_of(a, p->value[i]);
        bool room = n < TICKS;
        for (size_t k = 0; room && k < n; k++) room = fabs(at - drawn[k]) >= 20;
        if (!room) continue;
        drawn[n++] = at;
        char label[24];
        if (p->label)
            snprintf(label, sizeof label, "%.14s", p->label[i]);
        else
            snprintf(label, sizeof label, "%.4g", p->value[i]);
        text_at(out, strcmp(anchor, "end") ? x + 5 : x - 5, at + 4, anchor, NULL, label);
    }
}

void ar__svg_parallel(ar_buf *out, const char *title, const ar_parallel_axis *axes, size_t axis_count, size_t count,
                      const size_t *by_rank) {
    axis scale[AXES];
    if (axis_count > AXES) axis_count = AXES;
    double gap = axis_count > 1 ? (double)(WIDTH - 2 * EDGE) / (double)(axis_count - 1) : 0;
    for (size_t k = 0; k < axis_count; k++) {
        scale[k] = (axis){.least = INFINITY, .most = -INFINITY, .is_log = axes[k].is_log};
        for (size_t i = 0; i < count; i++) widen(&scale[k], axes[k].value[i]);
        settle(&scale[k], 0);
    }
    begin(out, HEIGHT, title);
    for (size_t k = 0; k < axis_count; k++)
        ar__buf_printf(out, "<path d=\"M%.1f %dV%d\" class=\"grid\"/>", EDGE + (double)k * gap, UPPER, HEIGHT - BOTTOM);
    for (size_t n = count; n-- > 0;) { /* the best one last, over the others */
        size_t i = by_rank[n];
        double weight = count > 1 ? 1 - (double)n / (double)(count - 1) : 1;
        bool open = false;
        ar__buf_printf(out, "<path class=\"line %s\" stroke-opacity=\"%.2f\" d=\"", n ? "c0" : "c1 strong",
                       n ? 0.12 + 0.6 * weight * weight : 1);
        for (size_t k = 0; k < axis_count; k++) {
            if (!is_on(&scale[k], axes[k].value[i])) continue;
            ar__buf_printf(out, "%c%.1f %.1f", open ? 'L' : 'M', EDGE + (double)k * gap, height_of(&scale[k], axes[k].value[i]));
            open = true;
        }
        ar__buf_puts(out, open ? "\"/>" : "M0 0\"/>");
    }
    for (size_t k = 0; k < axis_count; k++) {
        double x = EDGE + (double)k * gap;
        bool last = k + 1 == axis_count;
        label_axis(out, &axes[k], &scale[k], x, count, last ? "end" : "start");
        text_at(out, k == 0 ? 4 : last ? WIDTH - 4 : x, HEIGHT - 14, k == 0 ? "start" : last ? "end" : "middle", NULL, axes[k].name);
    }
    ar__buf_puts(out, "</svg></figure>\n");
}
