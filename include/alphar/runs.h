/* A record of what was run: a row for every command, in a SQLite database that any number of processes may write to at once. */
#ifndef ALPHAR_RUNS_H
#define ALPHAR_RUNS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "alphar/error.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct ar_runs ar_runs;

/* Strings are UTF-8; NULL: nothing of the kind. */
typedef struct ar_runs_row {
    int64_t id;
    const char *command;    /* "train" */
    const char *status;     /* "running" (or it was killed), "done", "failed", "interrupted" */
    int64_t started;        /* seconds since 1970 */
    double seconds;         /* NaN: not over */
    const char *arguments;  /* JSON: ["--model", "base", …] */
    const char *folder;     /* where it was run */
    const char *out;        /* what it wrote: whole path */
    const char *model;      /* likewise, as given */
    const char *settings;   /* JSON object: every setting, of what trains */
    const char *result;     /* JSON object: what --json says, without lists */
    double loss, eval_loss; /* NaN: none */
    const char *version;
} ar_runs_row;

/* path NULL: ar_runs_path().  With write the folder and the database are made where they are not there.  Errors: AR_ERR_NOT_FOUND without
 * write, AR_ERR_UNSUPPORTED for one of a newer version, AR_ERR_FORMAT for another file, AR_ERR_IO. */
AR_API ar_status ar_runs_open(ar_runs **out, const char *path, bool write, ar_error *err);
AR_API void ar_runs_close(ar_runs *r); /* NULL is fine */
/* $ALPHAR_HOME/runs.sqlite, else alphar/runs.sqlite in $XDG_DATA_HOME or ~/.local/share; NULL where ALPHAR_HOME is empty, which switches
 * the record off, or no home is known.  Caller frees. */
AR_API char *ar_runs_path(void);

/* A new row, whose id is set; the same row at its end. */
AR_API ar_status ar_runs_begin(ar_runs *r, ar_runs_row *row, ar_error *err);
AR_API ar_status ar_runs_end(ar_runs *r, const ar_runs_row *row, ar_error *err);

typedef struct ar_runs_filter {
    const char *command; /* NULL: every one */
    const int64_t *ids;  /* NULL: every one */
    int id_count;
    int64_t limit; /* the newest so many; 0: all */
} ar_runs_filter;

/* Calls `each` for the rows, oldest first; false ends it.  A row's strings are good until the callback returns. */
AR_API ar_status ar_runs_list(ar_runs *r, const ar_runs_filter *filter, bool (*each)(void *user, const ar_runs_row *row), void *user,
                              ar_error *err);

/* ---- what one run wrote on its way (metrics.jsonl in its folder) ------------------------------------------------------ */
typedef struct ar_run_point {
    int64_t step;
    double loss, eval_loss;           /* NaN: not measured at this step */
    double rate, grad_norm, strength; /* likewise */
    double supervised;                /* tokens that the loss is a mean over; NaN where it is one over pairs */
    double tokens, seconds;           /* of the step */
} ar_run_point;

typedef struct ar_run_history {
    ar_run_point *points; /* in the file's order: an evaluation is a point of its own, behind its step's */
    size_t count;
} ar_run_history;

/* Release with ar_run_history_release.  Lines that are none of ours are left out. */
AR_API ar_status ar_run_history_read(ar_run_history *out, const char *dir, ar_error *err);
AR_API void ar_run_history_release(ar_run_history *h); /* safe on a zeroed one */

#ifdef __cplusplus
}
#endif
#endif
