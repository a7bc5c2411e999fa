/* `alphar train --resume DIR` alone: every option that is not typed is as DIR/run.json says. */
#ifndef ALPHAR_CLI_RESUME_H
#define ALPHAR_CLI_RESUME_H

#include "options.h"

/* The cli_command's prepare: reads run.json where --resume is given and its folder holds one. */
int cli_resume_prepare(cli_args *args);

#endif
