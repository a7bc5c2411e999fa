/* Tables for other programs: RFC 4180, lines end in CRLF. */
#ifndef ALPHAR_CLI_CSV_H
#define ALPHAR_CLI_CSV_H

#include <stdbool.h>

#include "output.h"

/* A text as it is, null as nothing, anything else as JSON; quoted where it has to be. */
void cli_csv_field(const json_t *v, bool first);
void cli_csv_end(void);

#endif
