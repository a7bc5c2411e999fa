/* Lists of token ids on the command line and in results. */
#ifndef ALPHAR_CLI_IDS_H
#define ALPHAR_CLI_IDS_H

#include <stddef.h>
#include <stdint.h>

#include "output.h"

/* "1,2,3" or "1 2 3"; an empty text is no ids.  Caller frees *out.  Returns the exit status, told already. */
int cli_parse_ids(int32_t **out, size_t *count, cli *c, const char *option, const char *text);
json_t *cli_json_ids(const int32_t *ids, size_t count); /* NULL when memory runs out */

#endif
