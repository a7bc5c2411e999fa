/* Options that are settings of a training (alphar/settings.h): their rows come from the library's table. */
#ifndef ALPHAR_CLI_SETTINGS_H
#define ALPHAR_CLI_SETTINGS_H

#include "alphar/settings.h"
#include "alphar/train.h"
#include "output.h"

struct train_values {
    cli_common common;
    ar_train_options o;
    const char *finish;
};

/* Every setting, into struct train_values; train and plan take them.  Empty before cli_settings_fill. */
extern cli_option cli_train_options[];

enum { CLI_SETTINGS_MOST = 80 };

/* A sweep's: what a learner may have other values of is a list of these, as text, by the row's place in ar_train_settings; a list
 * of NAMES has semicolons. */
struct sweep_values {
    struct train_values train;
    const char *list[CLI_SETTINGS_MOST];
    bool halving;
    const char *grid;
    json_t *stored; /* of a sweep that is resumed: its sweep.json */
};
extern cli_option cli_sweep_options[];
/* A row of ar_train_settings as an option whose values are ar_train_options. */
cli_option cli_setting_option(const ar_setting *s);

/* Fills in the tables of all commands: cli_train_options, and rows of kind CLI_SETTING in others, of which name and place are
 * kept, and help, about, value, shown and flags where they say something else.  Once, before any table is looked at. */
void cli_settings_fill(const cli_command *const *commands);

/* Completes what was parsed: seed, what was given.  Returns the exit status; what does not go together is told. */
int cli_train_take(ar_train_options *out, cli *c, const cli_args *args);

#endif
