/* Values that are lists or pairs on the command line.  Each reader returns the exit status and has told what is wrong;
 * the caller frees what it got. */
#ifndef ALPHAR_CLI_LISTS_H
#define ALPHAR_CLI_LISTS_H

#include <stddef.h>
#include <stdint.h>

#include "output.h"

/* "1,2,3" or "1 2 3"; an empty text is no ids. */
int cli_parse_ids(int32_t **out, size_t *count, cli *c, const char *option, const char *text);
json_t *cli_json_ids(const int32_t *ids, size_t count); /* NULL when memory runs out */

/* "0,8,16.5": finite numbers, at least one. */
int cli_parse_numbers(double **out, size_t *count, cli *c, const char *option, const char *text);

/* "0-11" or "0,2,5-7", ascending or not. */
int cli_parse_layers(int **out, size_t *count, cli *c, const char *option, const char *text);

/* "q_proj,v_proj": names cut at commas, blanks around them dropped.  One block: free(*out) frees all. */
int cli_parse_names(char ***out, size_t *count, cli *c, const char *option, const char *text);

/* "RE=X": the value follows the last '='. */
int cli_parse_pattern(char **name, double *value, cli *c, const char *option, const char *text);

/* "PATH" or "PATH:0.5": the number behind the last colon, 1 where there is none. */
int cli_parse_weighted(char **path, double *weight, cli *c, const char *text);

#endif
