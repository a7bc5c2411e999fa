/* The file of `generate --out`: a line for each prompt, in their order, each written when it is complete.
 *
 *     {"run": "9e3f…", "prompt": "…", "text": "…", "ids": […], "prompt_ids": […], "stopped": "eos"}
 *
 * `run` stands for everything that an answer depends on but the prompt.  A run goes on behind the lines that are there if all of them are
 * its own: a file that is anything else is left alone. */
#ifndef ALPHAR_CLI_ANSWERS_H
#define ALPHAR_CLI_ANSWERS_H

#include "output.h"

typedef struct cli_answers {
    FILE *file;
    const char *path;
    char run[17];
    int done; /* lines that are there */
} cli_answers;

/* settings: borrowed, whatever the answers depend on.  prompts [count].  Tells what is wrong itself and returns the exit status. */
int cli_answers_open(cli_answers *out, cli *c, const char *path, bool overwrite, const json_t *settings, const char *const *prompts,
                     int count);
/* answer: takes the reference. */
int cli_answers_add(cli_answers *a, cli *c, const char *prompt, json_t *answer);
/* code: what came of the run so far, which is returned unless closing fails.  Safe on a zeroed one. */
int cli_answers_close(cli_answers *a, cli *c, int code);

#endif
