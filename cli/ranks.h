/* A command that mpirun started several times: rank 0 speaks, writes and keeps the record; the others work. */
#ifndef ALPHAR_CLI_RANKS_H
#define ALPHAR_CLI_RANKS_H

#include "output.h"

/* Meets the others, where the command shares its work out. */
int cli_ranks_join(cli *c, const cli_command *command);
/* Whether this process only helps. */
bool cli_helps(const cli *c);

#endif
