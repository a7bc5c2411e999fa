/* The sections of a report, one file each: what is read, and what is shown of it. */
#ifndef AR_RECORD_SECTIONS_H
#define AR_RECORD_SECTIONS_H

#include <jansson.h>

#include "alphar/report.h"
#include "alphar/runs.h"
#include "base/mem.h"

typedef struct ar_report_page {
    ar_buf html;
    const ar_runtime *rt;
    const ar_report_options *o;
} ar_report_page;

/* ---- section_run.c: a run, and several side by side -------------------------------------------------------------------*/
ar_status ar__section_run(ar_report_page *p, const char *dir, ar_error *err);
ar_status ar__section_compared(ar_report_page *p, const char *const *dirs, size_t count, ar_error *err);

/* ---- section_sweep.c --------------------------------------------------------------------------------------------------*/
ar_status ar__section_sweep(ar_report_page *p, const char *dir, ar_error *err);

/* ---- section_sites.c: an adapter's sites ------------------------------------------------------------------------------*/
/* The whole section; with_heading false: as a part of another one.  model NULL: none. */
ar_status ar__section_adapter(ar_report_page *p, const char *path, const char *model, bool with_heading, ar_error *err);
/* Values by layer and role, of sites by their names. */
ar_status ar__put_sites_map(ar_report_page *p, const char *title, const char *const *sites, const double *value, size_t count,
                            ar_error *err);

/* ---- section_measured.c: what eval and tune found ---------------------------------------------------------------------*/
ar_status ar__section_measured(ar_report_page *p, const char *path, const json_t *json, ar_error *err);

/* ---- settings.c -------------------------------------------------------------------------------------------------------*/
/* A value as a person writes it. */
void ar__value_text(ar_buf *out, const json_t *value);
/* Is it what the setting is without being asked for?  Of what was derived from others too. */
bool ar__is_default(const json_t *settings, const char *name, const json_t *given);
/* Those that differ from the defaults, and all. */
void ar__put_settings(ar_report_page *p, const json_t *settings, const json_t *given);
/* The command line that asks for these settings; `value` (may be NULL) says otherwise for a setting: NULL leaves it as it is. */
void ar__put_command(ar_report_page *p, const char *command, const json_t *settings, const json_t *given, const char *out);
void ar__put_shell_word(ar_buf *out, const char *word);

#endif
