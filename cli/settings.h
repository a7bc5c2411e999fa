/* Options that are settings of a training (alphar/settings.h): their rows come from the library's table. */
#ifndef ALPHAR_CLI_SETTINGS_H
#define ALPHAR_CLI_SETTINGS_H

#include "alphar/train.h"
#include "output.h"

struct train_values {
    cli_common common;
    ar_train_options o;
    const char *finish;
};

/* Every setting, into struct train_values; train and plan take them.  Empty before cli_settings_fill. */
extern cli_option cli_train_options[];

/* Fills in the tables of all commands: cli_train_options, and rows of kind CLI_SETTING in others, of which name and place are
 * kept, and help, about, value, shown and flags where they say something else.  Once, before any table is looked at. */
void cli_settings_fill(const cli_command *const *commands);

/* Completes what was parsed: seed, what was given.  Returns the exit status; what does not go together is told. */
int cli_train_take(ar_train_options *out, cli *c, const cli_args *args);

#endif
