/* Charts as SVG inside a page (record/page.h), 480 units wide, so that a column of a desktop and a phone's whole width both show
 * their text at a size that can be read.  Points have titles, which browsers show on hovering. */
#ifndef AR_RECORD_SVG_H
#define AR_RECORD_SVG_H

#include <stdbool.h>
#include <stddef.h>

#include "base/mem.h"

typedef enum ar_series_style {
    AR_SERIES_LINE,
    AR_SERIES_FAINT, /* behind the others, thin, and cut off where it leaves their range */
    AR_SERIES_DOTS,
    AR_SERIES_RINGS, /* dots that are not filled */
    AR_SERIES_BOTH   /* a line with a dot at each point */
} ar_series_style;

typedef struct ar_series {
    const char *name;    /* NULL: none in the legend */
    const double *x, *y; /* [count]; points that are not finite interrupt the line */
    size_t count;
    int color; /* modulo 8 */
    ar_series_style style;
} ar_series;

typedef struct ar_chart {
    const char *title, *x_label;
    const ar_series *series;
    size_t count;
    bool log_x;       /* points with x ≤ 0 are left out */
    bool from_zero;   /* the y axis begins at 0 */
    const char *mark; /* NULL: none; beside a vertical line at mark_x */
    double mark_x;
} ar_chart;

void ar__svg_chart(ar_buf *out, const ar_chart *c);

/* Cells of value [columns × rows], shaded in proportion from 0 to the most; NaN: nothing there. */
typedef struct ar_heat {
    const char *title, *x_label;
    const char *const *column_names, *const *row_names;
    size_t columns, rows;
    const double *value;
} ar_heat;

void ar__svg_heat(ar_buf *out, const ar_heat *h);

/* One line a candidate through its value on each axis; the nearer to the best, the stronger. */
typedef struct ar_parallel_axis {
    const char *name;
    const double *value;      /* [count] */
    const char *const *label; /* [count]: what value stands for; NULL: itself */
    bool is_log;
} ar_parallel_axis;

void ar__svg_parallel(ar_buf *out, const char *title, const ar_parallel_axis *axes, size_t axis_count, size_t count,
                      const size_t *by_rank /* [count]: the best first */);

/* x to as many digits as it takes beside others `step` apart. */
void ar__svg_number(char *out, size_t size, double x, double step);

#endif
