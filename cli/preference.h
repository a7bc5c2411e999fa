/* --objective and what belongs to it, of commands that train on pairs or measure them. */
#ifndef ALPHAR_CLI_PREFERENCE_H
#define ALPHAR_CLI_PREFERENCE_H

#include "alphar/preference.h"
#include "options.h"

struct preference_values {
    int objective; /* in the order of the library's enum */
    double beta, gamma, label_smoothing;
};

#define CLI_OBJECTIVES "none|dpo|orpo|simpo"

/* Rows of a table of options, where AT(preference) is the place of the values. */
/* clang-format off */
#define CLI_PREFERENCE_OPTIONS                                                                                                             \
    {.name = "objective", .kind = CLI_CHOICE, .at = AT(preference.objective), .value = CLI_OBJECTIVES,                                     \
     .help = "compare chosen with rejected", .about = "rows are pairs of which one was preferred; none: rows are learned"},                \
    {.name = "beta", .kind = CLI_NUMBER, .at = AT(preference.beta), .value = "X", .max = 1e6, .flags = CLI_ABOVE,                          \
     .about = "strength of the comparison; default 0.1, of simpo 2; of orpo it is lambda"},                                                \
    {.name = "gamma", .kind = CLI_NUMBER, .at = AT(preference.gamma), .value = "X", .max = 1e6,                                            \
     .about = "margin of simpo; default beta/2"},                                                                                          \
    {.name = "label-smoothing", .kind = CLI_NUMBER, .at = AT(preference.label_smoothing), .value = "X", .initial = "0", .max = 0.5,        \
     .flags = CLI_BELOW, .help = "its strength, margin, label noise",                                                                      \
     .about = "share of pairs that are labelled the wrong way round (dpo, simpo)"}
/* clang-format on */

static inline ar_preference cli_preference(const cli_args *args, const struct preference_values *v) {
    return (ar_preference){.objective = (ar_objective)v->objective,
                           .beta = v->beta,
                           .gamma_given = cli_given(args, "gamma"),
                           .gamma = v->gamma,
                           .label_smoothing = v->label_smoothing};
}

#endif
