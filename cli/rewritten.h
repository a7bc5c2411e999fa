/* What `quantize` and `convert` say of a model that was written anew. */
#ifndef ALPHAR_CLI_REWRITTEN_H
#define ALPHAR_CLI_REWRITTEN_H

#include "alphar/quantize.h"
#include "output.h"

/* Bytes written so far, for ar_rewrite_options with the cli as user. */
bool cli_rewrite_show(void *user, uint64_t done, uint64_t total);
/* The report, as a table of the matrices with the most noise (all: of every one) or as JSON; sorts them.  Returns the exit status. */
int cli_rewrite_tell(cli *c, const char *out, const char *type, ar_rewrite_result *r, bool all);

#endif
