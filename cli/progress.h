/* Progress on stderr: one line that is written over on a terminal, plain lines (at most one a second) elsewhere. */
#ifndef ALPHAR_CLI_PROGRESS_H
#define ALPHAR_CLI_PROGRESS_H

#include <stdbool.h>
#include <stddef.h>

typedef struct cli_progress {
    bool silent, terminal, open; /* open: a live line stands on the terminal */
    double last;                 /* seconds, of the last line shown */
} cli_progress;

void cli_progress_init(cli_progress *p, bool quiet);
/* Shows the line.  Without `always` it may be left out because another has just been shown. */
void cli_progress_show(cli_progress *p, bool always, const char *format, ...) __attribute__((format(printf, 3, 4)));
void cli_progress_clear(cli_progress *p); /* takes the live line away before other output; the next show brings it back */
void cli_progress_end(cli_progress *p);   /* leaves the live line standing and moves below it */

/* Columns that the first n bytes of a UTF-8 text take (all of it where it ends earlier), one a character. */
int cli_columns(const char *text, size_t n);

/* "4 s", "3 min 20 s", "2 h 05 min" */
const char *cli_duration(char *buffer, unsigned long size, double seconds);

#endif
