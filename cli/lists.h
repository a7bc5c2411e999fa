/* Values that are lists on the command line.  Each reader returns the exit status and has told what is wrong;
 * the caller frees what it got. */
#ifndef ALPHAR_CLI_LISTS_H
#define ALPHAR_CLI_LISTS_H

#include <stddef.h>
#include <stdint.h>

#include "alphar/data.h"
#include "output.h"

/* "1,2,3" or "1 2 3"; an empty text is no ids. */
int cli_parse_ids(int32_t **out, size_t *count, cli *c, const char *option, const char *text);
json_t *cli_json_ids(const int32_t *ids, size_t count); /* NULL when memory runs out */

/* The choices of --train-on, of which the first and the last mean the same. */
#define CLI_TRAIN_ON "assistant|last|all|completion"
ar_train_on cli_train_on(int choice);

/* "0,8,16.5": finite numbers, at least one. */
int cli_parse_numbers(double **out, size_t *count, cli *c, const char *option, const char *text);

#endif
