/* What resize, combine and extract say: rank, error and energy per site, and the proof of the file. */
#ifndef ALPHAR_CLI_FIT_H
#define ALPHAR_CLI_FIT_H

#include "adapters.h"

/* Ends the command: with --json {"out":…, "sites":[{"name":…,"rank":…,"relative_error":…,"energy":…}], "proof":…}. */
int cli_finish_fit(cli *c, const char *path, const ar_fit *fit, const ar_proof *proof, bool all);

/* Rows of a command's table; the values stand in the struct by these names. */
#define CLI_FIT_ALL(offset)                                                                                                                \
    { .name = "all", .kind = CLI_FLAG, .at = (offset), .help = "every site in the table, not the worst 20" }

#endif
