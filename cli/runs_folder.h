/* Runs and sweeps as their folders have them, for `runs`. */
#ifndef ALPHAR_CLI_RUNS_FOLDER_H
#define ALPHAR_CLI_RUNS_FOLDER_H

#include "output.h"

/* What run.json in dir says, in the form of a row of the record: a sweep's candidates have none there.  Caller releases. */
int cli_runs_folder(json_t **row, cli *c, const char *dir);
/* Prints the candidates in dir's sweep.json as CSV: a column for each of their members. */
int cli_runs_print_candidates(cli *c, const char *dir);

#endif
