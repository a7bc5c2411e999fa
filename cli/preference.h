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

static inline ar_preference cli_preference(const cli_args *args, const struct preference_values *v) {
    return (ar_preference){.objective = (ar_objective)v->objective,
                           .beta = v->beta,
                           .gamma_given = cli_given(args, "gamma"),
                           .gamma = v->gamma,
                           .label_smoothing = v->label_smoothing};
}

#endif
