/* The options of train, which plan takes too. */
#ifndef ALPHAR_CLI_TRAIN_OPTIONS_H
#define ALPHAR_CLI_TRAIN_OPTIONS_H

#include "options.h"

/* Places in the choices of the table. */
enum { COMPUTE_AUTO, COMPUTE_F32, COMPUTE_BF16 };
enum { METHOD_LORA, METHOD_FULL };
enum { INIT_BASE, INIT_RANDOM };
enum { POLICY_STANDARD, POLICY_RSLORA };
enum { BIAS_NONE, BIAS_ALL, BIAS_LORA_ONLY };
enum { TRAIN_ON_COMPLETION, TRAIN_ON_ALL };
enum { SCHEDULE_COSINE, SCHEDULE_LINEAR, SCHEDULE_CONSTANT };
enum { OPTIMIZER_ADAMW, OPTIMIZER_SGD };
enum { CHECKPOINT_AUTO, CHECKPOINT_ON, CHECKPOINT_OFF };

struct train_values {
    cli_common common;
    /* files */
    const char *model, *data, *out, *model_config;
    bool overwrite, resume;
    int method, init;
    /* adapter */
    int64_t rank;
    double alpha, dropout;
    int policy, bias;
    bool dora;
    const char *targets, *exclude, *layers, *modules_to_save, *init_adapter;
    cli_list rank_pattern, alpha_pattern;
    /* data and steps */
    double epochs;
    int64_t steps, batch, micro_batch, max_length;
    bool pack, shuffle, skip_bad;
    int train_on;
    /* optimizer */
    double lr, lr_ratio, warmup, min_lr, weight_decay, beta1, beta2, eps, clip;
    int schedule, optimizer;
    /* memory and arithmetic */
    int checkpoint_layers, compute;
    uint64_t memory;
    /* on the way */
    const char *eval_data;
    int64_t eval_every, early_stop, save_every, keep, strength_every;
};

extern const cli_option cli_train_options[];

#endif
