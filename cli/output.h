/* What a command says: its result on stdout, everything else on stderr, and the exit status that goes with it. */
#ifndef ALPHAR_CLI_OUTPUT_H
#define ALPHAR_CLI_OUTPUT_H

#include <jansson.h>
#include <stdbool.h>

#include "alphar/error.h"
#include "options.h"
#include "progress.h"

typedef struct cli {
    const cli_command *command;
    bool json, quiet;
    cli_progress progress;
    struct ar_ranks *ranks; /* NULL: alone */
    volatile bool ended;    /* a rank is lost, and that was said */
    json_t *result;         /* what the command came to, for the record; NULL: nothing that is kept */
} cli;

/* Each returns the exit status.  A message is written as `alphar: MESSAGE`, and with --json as {"error": …} too. */
int cli_fail(cli *c, const ar_error *err);
int cli_fail_usage(cli *c, const char *format, ...) AR_PRINTF(2, 3);
int cli_fail_code(cli *c, int exit_status, const char *code, const char *message);
int cli_fail_memory(cli *c);

/* Prints the object on one line and releases it; NULL counts as memory that ran out. */
int cli_print_json(cli *c, json_t *object);
/* The same with --json; the object is kept for the record in any case, and without --json nothing is printed: `more` says whether the
 * caller has to. */
int cli_keep_result(bool *more, cli *c, json_t *object);
/* Ends a command that wrote to stdout: a full disk or a closed pipe is a failure. */
int cli_finish(cli *c);
/* A real number, null where it is not finite (JSON has no NaN). */
json_t *cli_json_real(double x);
/* Whether an array has this text among its strings. */
bool cli_json_holds(const json_t *array, const char *text);
/* n bytes of text. */
json_t *cli_json_text(const char *text, size_t n);

/* Says which special tokens a text brought itself (AR_TOKENIZE_OWN_BOS, …), so that the tokenizer added none. */
void cli_tell_own_ends(cli *c, unsigned own);

/* For ar_runtime_options.log, with the cli as user: warnings always, information unless --quiet. */
void cli_log(void *user, ar_log_level level, const char *line);

#endif
