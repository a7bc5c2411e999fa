/* The commands, each in its cmd_*.c. */
#ifndef ALPHAR_CLI_COMMANDS_H
#define ALPHAR_CLI_COMMANDS_H

#include "options.h"

extern const cli_command cli_train, cli_eval, cli_score, cli_tokenize, cli_generate, cli_plan, cli_bench, cli_data, cli_chat, cli_sweep,
    cli_tune, cli_runs, cli_report;
extern const cli_command cli_inspect, cli_diff, cli_advise, cli_convert, cli_rescale;
extern const cli_command cli_resize, cli_combine, cli_extract, cli_merge, cli_quantize;

#endif
