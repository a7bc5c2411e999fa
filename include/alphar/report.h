/* One HTML page about runs, sweeps, adapters and measurements: a single file, no script, nothing fetched. */
#ifndef ALPHAR_REPORT_H
#define ALPHAR_REPORT_H

#include <stdbool.h>
#include <stddef.h>

#include "alphar/error.h"
#include "alphar/runtime.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What a path may be:
 *   - the folder of a run (run.json): curves, strengths, settings, remarks, the command to reproduce it; and its adapter,
 *   - the folder of a sweep (sweep.json): its candidates and what tells them apart,
 *   - an adapter of any format: strengths and singular values,
 *   - a file with what `alphar eval --alpha LIST --json` or `alphar tune --json` printed.
 * Several runs are compared first. */
typedef struct ar_report_options {
    const char *const *paths;
    size_t count;
    const char *model; /* the base of adapters: strength is ‖sBA‖ / ‖W‖ with it, ‖sBA‖ without; NULL: the one a run names, if it is there */
    const char *sites; /* a regular expression, matched as rank_pattern is: whose singular values are shown; NULL: the strongest */
    const char *out;   /* the page */
    bool overwrite;    /* replaces a file that is no report */
} ar_report_options;

/* Errors: AR_ERR_FORMAT for a path that is none of these, AR_ERR_EXISTS where `out` is another file. */
AR_API ar_status ar_report(const ar_runtime *rt, const ar_report_options *o, ar_error *err);

#ifdef __cplusplus
}
#endif
#endif
