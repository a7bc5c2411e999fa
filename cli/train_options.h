/* The options of train, which plan takes too. */
#ifndef ALPHAR_CLI_TRAIN_OPTIONS_H
#define ALPHAR_CLI_TRAIN_OPTIONS_H

#include "alphar/train.h"
#include "output.h"
#include "preference.h"

struct train_values {
    cli_common common;
    /* files */
    const char *model, *out, *model_config, *finish;
    cli_list data;
    const char *map, *ignore_fields;
    bool overwrite, resume;
    int method, init; /* choices stand in the order of the library's enums */
    /* adapter */
    int64_t rank;
    double alpha, dropout;
    int policy, bias;
    bool dora;
    const char *targets, *exclude, *layers, *modules_to_save, *init_adapter;
    cli_list rank_pattern, alpha_pattern;
    /* data and steps */
    struct preference_values preference;
    double epochs;
    int64_t steps, batch, micro_batch, max_length;
    bool pack, shuffle, skip_bad;
    int train_on;
    const char *chat_template;
    /* optimizer */
    double lr, lr_ratio, warmup, min_lr, weight_decay, beta1, beta2, eps, clip;
    int schedule, optimizer;
    /* memory and arithmetic */
    int checkpoint_layers, compute;
    uint64_t memory;
    /* on the way */
    cli_list eval_data;
    int64_t eval_every, early_stop, save_every, keep, strength_every;
};

/* Without --data and --out being required: plan does without. */
extern const cli_option cli_train_options[];

/* The library's options from what was given; strings are borrowed.  Returns the exit status: usage errors that concern
 * several options at once are told here. */
int cli_train_map(ar_train_options *out, cli *c, const cli_args *args);

#endif
