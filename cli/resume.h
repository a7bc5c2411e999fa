/* `alphar train --resume DIR` alone: every option that is not typed is as DIR/run.json says. */
#ifndef ALPHAR_CLI_RESUME_H
#define ALPHAR_CLI_RESUME_H

#include <jansson.h>

#include "options.h"

/* Options that were not given, from what run.json (at `path`) calls settings and given. */
int cli_resume_take(cli_args *args, const json_t *settings, const json_t *given, const char *path);
/* The folder of --resume, which may stand behind it or be named by --out; NULL: nothing is resumed. */
int cli_resume_folder(const char **dir, cli_args *args);

/* The text of a file in the folder, which only rank 0 needs to see, in all ranks; NULL: there is none.  Caller frees. */
int cli_resume_read(char **text, cli_args *args, const char *path);

/* The cli_command's prepare: reads run.json where --resume is given and its folder holds one. */
int cli_resume_prepare(cli_args *args);

#endif
