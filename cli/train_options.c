#include "train_options.h"

#include "lists.h"

#include <stdio.h>
#include <unistd.h>

enum { INIT_BASE, INIT_RANDOM };
#define AT(member) offsetof(struct train_values, member)

const cli_option cli_train_options[] = {
    {.name = "Files", .kind = CLI_SECTION},
    {.name = "model",
     .kind = CLI_STRING,
     .at = AT(model),
     .value = "FOLDER",
     .help = "the base: a Hugging Face folder",
     .flags = CLI_FIRST},
    {.name = "data",
     .kind = CLI_LIST,
     .at = AT(data),
     .value = "FILE.jsonl",
     .flags = CLI_FIRST,
     .help = "samples, a line each; may repeat"},
    {.name = "map",
     .kind = CLI_STRING,
     .at = AT(map),
     .value = "prompt=FIELD",
     .flags = CLI_COMMAS,
     .about = "names of fields that are known by others: prompt=FIELD,completion=FIELD"},
    {.name = "ignore-fields",
     .kind = CLI_STRING,
     .at = AT(ignore_fields),
     .value = "A,B",
     .flags = CLI_COMMAS,
     .help = "rows with other fields; those to leave out",
     .about = "fields of the rows that are meant to be left out"},
    {.name = "skip-bad", .kind = CLI_FLAG, .at = AT(skip_bad), .about = "leave bad lines out, and count them"},
    {.name = "train-on",
     .kind = CLI_CHOICE,
     .at = AT(train_on),
     .value = CLI_TRAIN_ON,
     .help = "leave out bad lines; what is learned",
     .about = "what is learned: assistant (every turn of it; of a pair its completion), last (turn) or all"},
    {.name = "template",
     .kind = CLI_STRING,
     .at = AT(chat_template),
     .value = "FILE|NAME",
     .help = "write conversations so, not as the base does",
     .about = "a chat template: a file, the name of one of the base's, or chatml"},
    {.name = "out", .kind = CLI_STRING, .at = AT(out), .value = "DIR", .flags = CLI_FIRST, .help = "folder for the result"},
    {.name = "overwrite", .kind = CLI_FLAG, .at = AT(overwrite), .about = "replace a result that is there"},
    {.name = "resume",
     .kind = CLI_FLAG,
     .at = AT(resume),
     .flags = CLI_NAMES,
     .about = "go on from the newest checkpoint in DIR, with the settings in its run.json"},
    {.name = "finish",
     .kind = CLI_STRING,
     .at = AT(finish),
     .value = "DIR",
     .help = "replace; go on; end a stopped run",
     .about = "nothing else with it: write the result of a run that was stopped"},
    {.name = "method", .kind = CLI_CHOICE, .at = AT(method), .value = "lora|full", .help = "full: train all weights, and DIR is a model"},
    {.name = "init", .kind = CLI_CHOICE, .at = AT(init), .value = "base|random", .about = "start from the base, or from random weights"},
    {.name = "model-config",
     .kind = CLI_STRING,
     .at = AT(model_config),
     .value = "FILE",
     .help = "random: a model of this config.json",
     .about = "the config.json of a model of random weights"},

    {.name = "Adapter", .kind = CLI_SECTION},
    {.name = "rank", .kind = CLI_INT, .at = AT(rank), .value = "N", .initial = "16", .min = 1, .max = 65536, .about = "size of the pairs"},
    {.name = "alpha",
     .kind = CLI_NUMBER,
     .at = AT(alpha),
     .value = "X",
     .shown = "2*rank",
     .help = "size; strength: s = alpha/rank",
     .about = "strength: s = alpha/rank; default 2*rank"},
    {.name = "policy", .kind = CLI_CHOICE, .at = AT(policy), .value = "standard|rslora", .help = "rslora: s = alpha/√rank (give --alpha)"},
    {.name = "rank-pattern", .kind = CLI_LIST, .at = AT(rank_pattern), .value = "RE=N", .about = "another rank where RE matches"},
    {.name = "alpha-pattern",
     .kind = CLI_LIST,
     .at = AT(alpha_pattern),
     .value = "RE=X",
     .help = "where RE matches; may repeat",
     .about = "another alpha where RE matches"},
    {.name = "targets",
     .kind = CLI_STRING,
     .at = AT(targets),
     .value = "NAMES",
     .initial = "all-linear",
     .shown = "all-linear|NAMES|regex:RE",
     .flags = CLI_COMMAS,
     .help = "which linears, as q_proj,v_proj"},
    {.name = "exclude", .kind = CLI_STRING, .at = AT(exclude), .value = "NAMES", .flags = CLI_COMMAS, .about = "sites left out"},
    {.name = "layers",
     .kind = CLI_STRING,
     .at = AT(layers),
     .value = "0-11",
     .flags = CLI_COMMAS,
     .help = "sites left out; layers taken",
     .about = "layers taken"},
    {.name = "dora", .kind = CLI_FLAG, .at = AT(dora), .about = "train magnitudes too"},
    {.name = "dropout",
     .kind = CLI_NUMBER,
     .at = AT(dropout),
     .value = "P",
     .initial = "0",
     .max = 1,
     .flags = CLI_BELOW,
     .about = "share of the inputs of A that is dropped"},
    {.name = "bias",
     .kind = CLI_CHOICE,
     .at = AT(bias),
     .value = "none|all|lora_only",
     .help = "DoRA; inputs dropped; as PEFT",
     .about = "biases trained, as in PEFT"},
    {.name = "modules-to-save",
     .kind = CLI_STRING,
     .at = AT(modules_to_save),
     .value = "NAMES",
     .flags = CLI_COMMAS,
     .about = "modules trained and saved whole, as lm_head"},
    {.name = "init-adapter",
     .kind = CLI_STRING,
     .at = AT(init_adapter),
     .value = "PATH",
     .help = "trained whole; start from this",
     .about = "start from this adapter"},

    {.name = "Steps", .kind = CLI_SECTION},
    CLI_PREFERENCE_OPTIONS,
    {.name = "epochs",
     .kind = CLI_NUMBER,
     .at = AT(epochs),
     .value = "X",
     .initial = "3",
     .max = 1e9,
     .flags = CLI_ABOVE | CLI_FIRST,
     .about = "passes over the data"},
    {.name = "steps",
     .kind = CLI_INT,
     .at = AT(steps),
     .value = "N",
     .min = 1,
     .flags = CLI_FIRST,
     .help = "passes over the data, or steps",
     .about = "steps, instead of passes over the data"},
    {.name = "batch", .kind = CLI_INT, .at = AT(batch), .value = "N", .initial = "8", .min = 1, .max = 1 << 20, .about = "samples a step"},
    {.name = "micro-batch",
     .kind = CLI_INT,
     .at = AT(micro_batch),
     .value = "N",
     .initial = "auto",
     .min = 1,
     .max = 1 << 20,
     .word = "auto",
     .help = "samples a step; rows at a time",
     .about = "rows at a time; changes no result"},
    {.name = "max-length",
     .kind = CLI_INT,
     .at = AT(max_length),
     .value = "N",
     .shown = "1024",
     .min = 2,
     .max = 1 << 24,
     .about = "tokens kept of a sample"},
    {.name = "pack",
     .kind = CLI_FLAG,
     .at = AT(pack),
     .initial = "true",
     .flags = CLI_NEGATABLE,
     .help = "tokens kept of a sample; several in a row",
     .about = "several samples in a row; changes no result"},
    {.name = "shuffle",
     .kind = CLI_FLAG,
     .at = AT(shuffle),
     .initial = "true",
     .flags = CLI_NEGATABLE,
     .help = "an order of each epoch's own, or the file's"},

    {.name = "Optimizer", .kind = CLI_SECTION},
    {.name = "lr", .kind = CLI_NUMBER, .at = AT(lr), .value = "X", .initial = "2e-4", .max = 1e9, .about = "learning rate (of A)"},
    {.name = "lr-ratio",
     .kind = CLI_NUMBER,
     .at = AT(lr_ratio),
     .value = "X",
     .initial = "1",
     .max = 1e9,
     .help = "rate of A; B learns at ratio times it (LoRA+)",
     .about = "B learns at ratio times the rate of A (LoRA+)"},
    {.name = "schedule", .kind = CLI_CHOICE, .at = AT(schedule), .value = "cosine|linear|constant", .help = "after the warm-up"},
    {.name = "warmup",
     .kind = CLI_NUMBER,
     .at = AT(warmup),
     .value = "X",
     .initial = "0.03",
     .max = 1e9,
     .about = "below 1 a share of the steps, from 1 on steps"},
    {.name = "min-lr",
     .kind = CLI_NUMBER,
     .at = AT(min_lr),
     .value = "X",
     .initial = "0",
     .max = 1e9,
     .help = "warm-up (share, or steps); rate at the end",
     .about = "rate at the end of the decay"},
    {.name = "optimizer", .kind = CLI_CHOICE, .at = AT(optimizer), .value = "adamw|sgd", .about = "how weights follow gradients"},
    {.name = "weight-decay",
     .kind = CLI_NUMBER,
     .at = AT(weight_decay),
     .value = "X",
     .initial = "0",
     .max = 1e9,
     .help = "decoupled decay"},
    {.name = "beta1",
     .kind = CLI_NUMBER,
     .at = AT(beta1),
     .value = "X",
     .initial = "0.9",
     .max = 1,
     .flags = CLI_BELOW,
     .about = "decay of the first moment (AdamW)"},
    {.name = "beta2",
     .kind = CLI_NUMBER,
     .at = AT(beta2),
     .value = "X",
     .initial = "0.999",
     .max = 1,
     .flags = CLI_BELOW,
     .about = "decay of the second moment (AdamW)"},
    {.name = "eps", .kind = CLI_NUMBER, .at = AT(eps), .value = "X", .initial = "1e-8", .max = 1, .about = "added to the root (AdamW)"},
    {.name = "clip",
     .kind = CLI_NUMBER,
     .at = AT(clip),
     .value = "X",
     .initial = "1.0",
     .max = 1e30,
     .help = "AdamW; largest norm, 0 off",
     .about = "largest gradient norm; 0 is off"},

    {.name = "Memory, arithmetic", .kind = CLI_SECTION},
    {.name = "checkpoint-layers",
     .kind = CLI_CHOICE,
     .at = AT(checkpoint_layers),
     .value = "auto|on|off",
     .help = "compute layers again instead of keeping them"},
    {.name = "memory", .kind = CLI_SIZE, .at = AT(memory), .value = "LIMIT", .help = "bytes the plan may use, as 3G"},
    {.name = "compute",
     .kind = CLI_CHOICE,
     .at = AT(compute),
     .value = "auto|f32|bf16",
     .help = "auto: bf16 where the CPU multiplies it faster"},

    {.name = "On the way", .kind = CLI_SECTION},
    {.name = "eval-data", .kind = CLI_LIST, .at = AT(eval_data), .value = "FILE", .about = "samples to measure the loss on; may repeat"},
    {.name = "eval-every",
     .kind = CLI_INT,
     .at = AT(eval_every),
     .value = "N",
     .shown = "N",
     .min = 1,
     .help = "loss each epoch, or every N steps",
     .about = "measure every N steps; default: each epoch"},
    {.name = "early-stop",
     .kind = CLI_INT,
     .at = AT(early_stop),
     .value = "N",
     .min = 1,
     .help = "end after N evaluations without a better one"},
    {.name = "save-every",
     .kind = CLI_INT,
     .at = AT(save_every),
     .value = "N",
     .min = 1,
     .about = "a checkpoint every N steps; default: ten minutes"},
    {.name = "keep", .kind = CLI_INT, .at = AT(keep), .value = "N", .initial = "2", .min = 1, .about = "checkpoints that stay"},
    {.name = "strength-every",
     .kind = CLI_INT,
     .at = AT(strength_every),
     .value = "N",
     .initial = "10",
     .help = "checkpoints; |sBA|/|W|, 0: off",
     .about = "measure |sBA|/|W| every N steps; 0 is off"},
    {0},
};

static bool is_checkpoint(const char *dir) {
    char path[4400];
    snprintf(path, sizeof path, "%.4000s/state.safetensors", dir);
    return access(path, F_OK) == 0;
}

static int check_together(cli *c, const cli_args *args, const struct train_values *v) {
    if (cli_given(args, "steps") && cli_given(args, "epochs")) return cli_fail_usage(c, "found --steps and --epochs, wanted one of them");
    if (v->resume && !v->model && !v->model_config && v->out && is_checkpoint(v->out))
        return cli_fail_usage(c, "--resume: found one checkpoint, %.200s, wanted the folder of its run", v->out);
    if (v->resume && !v->model && !v->model_config && v->out)
        return cli_fail_usage(
            c, "--resume: found no run.json in %.200s to go on from, wanted the folder of a run, or --model and --data again", v->out);
    if (v->resume && v->overwrite) return cli_fail_usage(c, "found --resume and --overwrite, wanted one of them");
    if (v->policy == AR_POLICY_RSLORA && !cli_given(args, "alpha"))
        return cli_fail_usage(c,
                              "--policy rslora: found no --alpha, wanted one: s = alpha/√rank, for which 2*rank would be far too strong");
    if (v->init == INIT_RANDOM && !v->model_config)
        return cli_fail_usage(c, "--init random: found no --model-config, wanted its config.json");
    if (v->init != INIT_RANDOM && v->model_config) return cli_fail_usage(c, "--model-config: wanted --init random with it");
    if (v->init == INIT_RANDOM && v->method != AR_METHOD_FULL) return cli_fail_usage(c, "--init random: wanted --method full with it");
    if (v->init != INIT_RANDOM && !v->model) return cli_fail_usage(c, "--model is missing, wanted a Hugging Face folder");
    return CLI_OK;
}

static void map_adapter(ar_train_options *o, const cli_args *args, const struct train_values *v) {
    o->method = (ar_method)v->method;
    o->init_random = v->init == INIT_RANDOM;
    o->model_config = v->model_config;
    o->rank = (int)v->rank;
    o->rank_given = cli_given(args, "rank");
    o->alpha = v->alpha;
    o->alpha_given = cli_given(args, "alpha");
    o->policy = (ar_policy)v->policy;
    o->policy_given = cli_given(args, "policy");
    o->dora = v->dora;
    o->targets = cli_given(args, "targets") ? v->targets : NULL;
    o->exclude = v->exclude;
    o->layers = v->layers;
    o->rank_patterns = v->rank_pattern.items;
    o->rank_pattern_count = (int)v->rank_pattern.count;
    o->alpha_patterns = v->alpha_pattern.items;
    o->alpha_pattern_count = (int)v->alpha_pattern.count;
    o->dropout = v->dropout;
    o->modules_to_save = v->modules_to_save;
    o->bias = (ar_bias_mode)v->bias;
    o->init_adapter = v->init_adapter;
}

/* The first file of each kind has a place of its own. */
static void map_data(ar_train_options *o, const struct train_values *v) {
    const cli_list *data = &v->data, *eval = &v->eval_data;
    o->data = data->count ? data->items[0] : NULL;
    o->more_data = data->count > 1 ? data->items + 1 : NULL;
    o->more_data_count = data->count > 1 ? (int)data->count - 1 : 0;
    o->eval_data = eval->count ? eval->items[0] : NULL;
    o->more_eval_data = eval->count > 1 ? eval->items + 1 : NULL;
    o->more_eval_data_count = eval->count > 1 ? (int)eval->count - 1 : 0;
    o->map = v->map;
    o->ignore_fields = v->ignore_fields;
    o->chat_template = v->chat_template;
}

static void map_steps(ar_train_options *o, const struct train_values *v) {
    o->epochs = v->epochs;
    o->steps = v->steps;
    o->batch = (int)v->batch;
    o->micro_batch = (int)v->micro_batch;
    o->max_length = (int)v->max_length;
    o->pack = v->pack;
    o->shuffle = v->shuffle;
    o->train_on = cli_train_on(v->train_on);
    o->skip_bad = v->skip_bad;
    o->eval_every = v->eval_every;
    o->early_stop = (int)v->early_stop;
    o->save_every = v->save_every;
    o->keep = (int)v->keep;
    o->strength_every = (int)v->strength_every;
}

static void map_optimizer(ar_train_options *o, const struct train_values *v) {
    o->lr = v->lr;
    o->lr_ratio = v->lr_ratio;
    o->min_lr = v->min_lr;
    o->schedule = (ar_schedule)v->schedule;
    o->warmup = v->warmup;
    o->optimizer = (ar_optimizer)v->optimizer;
    o->weight_decay = v->weight_decay;
    o->beta1 = v->beta1;
    o->beta2 = v->beta2;
    o->eps = v->eps;
    o->clip = v->clip;
    o->checkpoint_layers = (ar_switch)v->checkpoint_layers;
    o->memory = (int64_t)v->memory;
    static const ar_compute computes[] = {AR_COMPUTE_AUTO, AR_COMPUTE_F32, AR_COMPUTE_BF16};
    o->compute = computes[v->compute];
}

int cli_train_map(ar_train_options *out, cli *c, const cli_args *args) {
    const struct train_values *v = args->values;
    ar_train_options_init(out);
    out->model = v->model;
    map_data(out, v);
    out->out = v->out;
    out->overwrite = v->overwrite;
    out->resume = v->resume;
    out->seed = (uint64_t)v->common.seed;
    map_adapter(out, args, v);
    map_steps(out, v);
    out->preference = cli_preference(args, &v->preference);
    map_optimizer(out, v);
    return check_together(c, args, v);
}
