/* What commands that run a model share: the runtime, a base with its adapter, and their options. */
#ifndef ALPHAR_CLI_SESSION_H
#define ALPHAR_CLI_SESSION_H

#include "alphar/eval.h"
#include "alphar/runtime.h"
#include "output.h"

/* Follows cli_common in the values of such a command. */
struct session_values {
    cli_common common;
    const char *model;
    ar_texts adapter;
    int trust, compute;
    const char *chat_template, *quantize, *device;
};

/* --quantize as train has it, a row of `borrows` of the commands that ask the base as it was trained on; at: session.quantize. */
#define CLI_SESSION_QUANTIZE(place)                                                                                                        \
    { .name = "quantize", .kind = CLI_SETTING, .at = place, .help = "matrices in nf4, q4_k …, as in training" }

/* --model, --adapter, --trust, --compute and --device; `shared` of the commands that ask a model. */
extern const cli_option cli_session_options[];

/* With --threads, logging to stderr; device NULL: the CPU.  Returns the exit status, told already; *out is NULL unless CLI_OK. */
int cli_runtime_open(ar_runtime **out, cli *c, const cli_args *args, ar_compute compute, const char *device);
/* Where a device was the runtime's own choice (auto) and does not hold the work, says so, frees the runtime, and sets *device to "cpu", to
 * begin again with; false where that is not why it failed. */
bool cli_step_down(cli *c, const char **device, ar_runtime **rt, const ar_error *err);
/* Fills model and adapter of *o, which the caller may have given a scale or alpha, and opens runtime and session.  An
 * alpha also stands in for one that the adapter's file lacks. */
int cli_session_open(ar_session **out, ar_runtime **rt, cli *c, const cli_args *args, ar_session_options *o);
void cli_session_close(ar_session *s, ar_runtime *rt);

#endif
