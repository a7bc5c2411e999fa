/* The record of what was run (alphar/runs.h): a row is begun with a command and ended with it.  What keeps it from being written is a
 * warning, once, and the work goes on. */
#ifndef ALPHAR_CLI_RECORD_H
#define ALPHAR_CLI_RECORD_H

#include "alphar/runs.h"
#include "output.h"

typedef struct cli_record {
    ar_runs *runs; /* NULL: nothing is recorded */
    ar_runs_row row;
    char *arguments, *folder, *out; /* the row's */
    double began;                   /* by a clock that does not jump */
} cli_record;

void cli_record_begin(cli_record *r, cli *c, const cli_args *args, int argc, char **argv);
/* code: the command's exit status.  Takes c->result. */
void cli_record_end(cli_record *r, cli *c, const cli_args *args, int code);

#endif
