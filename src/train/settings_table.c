/* The rows of alphar/settings.h. */
#include <string.h>

#include "alphar/settings.h"
#include "alphar/train.h"

#define COURSE(member) .offset = offsetof(ar_train_options, course.member)
#define LEARNER(member) .offset = offsetof(ar_train_options, learner.member)
#define GIVEN(member) .given = offsetof(ar_train_options, learner.member)
#define RUN(member) .offset = offsetof(ar_train_options, run.member)

static const ar_setting table[] = {
    {.name = "Files", .type = AR_SETTING_SECTION},
    {"model", AR_SETTING_PATH, COURSE(model), .value = "FOLDER", .flags = AR_SETTING_FIRST | AR_SETTING_RESUME,
     .help = "the base: a folder or a .gguf file"},
    {"data", AR_SETTING_FILES, COURSE(data.files), .value = "FILE.jsonl", .flags = AR_SETTING_FIRST | AR_SETTING_RESUME,
     .help = "samples, a line each; may repeat"},
    {"map", AR_SETTING_NAMES, COURSE(map), .value = "prompt=FIELD",
     .about = "names of fields that are known by others: prompt=FIELD,completion=FIELD"},
    {"ignore-fields", AR_SETTING_NAMES, COURSE(ignore_fields), .value = "A,B", .help = "rows with other fields; those to leave out",
     .about = "fields of the rows that are meant to be left out"},
    {"skip-bad", AR_SETTING_FLAG, COURSE(skip_bad), .flags = AR_SETTING_RESUME, .about = "leave bad lines out, and count them"},
    {"train-on", AR_SETTING_CHOICE, COURSE(train_on), .choices = "completion|last|all|assistant", .value = "assistant|last|all|completion",
     .help = "leave out bad lines; what is learned",
     .about = "what is learned: assistant (every turn of it; of a pair its completion), last (turn) or all"},
    {"template", AR_SETTING_TEXT, COURSE(chat_template), .value = "FILE|NAME", .help = "write conversations so, not as the base does",
     .about = "a chat template: a file, the name of one of the base's, or chatml"},
    {"out", AR_SETTING_TEXT, RUN(out), .value = "DIR", .flags = AR_SETTING_FIRST | AR_SETTING_PASSING, .help = "folder for the result"},
    {"overwrite", AR_SETTING_FLAG, RUN(overwrite), .flags = AR_SETTING_PASSING, .about = "replace a result that is there"},
    {"resume", AR_SETTING_FLAG, RUN(resume), .flags = AR_SETTING_PASSING, .help = "replace what is there; go on",
     .about = "go on from the newest checkpoint in DIR, with the settings in its run.json"},
    {"method", AR_SETTING_CHOICE, LEARNER(method), .choices = "lora|full", .help = "full: train all weights, and DIR is a model"},
    {"init", AR_SETTING_TEXT, COURSE(init), .value = "base|random|pissa|loftq:N", .initial = "base", .shown = "base|random|pissa|loftq:N",
     .about = "where training begins: the base; random weights; pairs of W's largest singular triples; or of what quantising took off W"},
    {"model-config", AR_SETTING_PATH, COURSE(model_config), .value = "FILE", .help = "where training begins",
     .about = "the config.json of a model of random weights"},

    {.name = "Adapter", .type = AR_SETTING_SECTION},
    {"rank", AR_SETTING_INT, LEARNER(rank), GIVEN(rank_given), .value = "N", .initial = "16", .least = 1, .most = 65536,
     .about = "size of the pairs"},
    {"alpha", AR_SETTING_NUMBER, LEARNER(alpha), GIVEN(alpha_given), .value = "X", .shown = "2r", .flags = AR_SETTING_RANKS,
     .help = "size r; strength: s = alpha/r",
     .about = "strength: s = alpha/rank; a number, or a multiple of the rank such as r or 0.5r; default 2r"},
    {"policy", AR_SETTING_CHOICE, LEARNER(policy), GIVEN(policy_given), .choices = "standard|rslora",
     .help = "rslora: s = alpha/√rank (give --alpha)"},
    {"rank-pattern", AR_SETTING_TEXTS, LEARNER(rank_patterns), .value = "RE=N", .about = "another rank where RE matches"},
    {"alpha-pattern", AR_SETTING_TEXTS, LEARNER(alpha_patterns), .value = "RE=X", .help = "where RE matches; may repeat",
     .about = "another alpha where RE matches"},
    {"init-scale", AR_SETTING_NUMBER, LEARNER(init_scale), .value = "X", .initial = "1", .most = 1e6, .flags = AR_SETTING_ABOVE,
     .about = "A begins at X times its usual size"},
    {"alpha-warmup", AR_SETTING_LONG, LEARNER(alpha_warmup), .value = "N", .least = 0, .most = 1e12, .initial = "0",
     .about = "steps over which s rises to its full value, which is what is saved"},
    {"train-scale", AR_SETTING_FLAG, LEARNER(train_scale), .help = "A's size; s rises; s learned",
     .about = "s of each site is learned too; written as alpha_pattern"},
    {"targets", AR_SETTING_NAMES, LEARNER(targets), .value = "NAMES", .shown = "all-linear|NAMES|regex:RE",
     .help = "which linears, as q_proj,v_proj", .about = "which linears, as q_proj,v_proj; default all-linear"},
    {"exclude", AR_SETTING_NAMES, LEARNER(exclude), .value = "NAMES", .about = "sites left out"},
    {"layers", AR_SETTING_NAMES, LEARNER(layers), .value = "0-11", .help = "sites left out; layers taken", .about = "layers taken"},
    {"dora", AR_SETTING_FLAG, LEARNER(dora), .about = "train magnitudes too"},
    {"dropout", AR_SETTING_NUMBER, LEARNER(dropout), .value = "P", .initial = "0", .most = 1, .flags = AR_SETTING_BELOW,
     .about = "share of the inputs of A that is dropped"},
    {"init-adapter", AR_SETTING_PATH, COURSE(init_adapter), .value = "PATH", .help = "magnitudes; inputs dropped; start",
     .about = "start from this adapter"},
    {"bias", AR_SETTING_CHOICE, LEARNER(bias), .choices = "none|all|lora_only", .about = "biases trained, as in PEFT"},
    {"modules-to-save", AR_SETTING_NAMES, LEARNER(modules_to_save), .value = "NAMES", .help = "as in PEFT; trained whole",
     .about = "modules trained and saved whole, as lm_head"},

    {.name = "Steps", .type = AR_SETTING_SECTION},
    {"router-aux-loss", AR_SETTING_NUMBER, LEARNER(router_aux_loss), GIVEN(router_aux_loss_given), .value = "X", .most = 1e6,
     .about = "weight of the loss that has routers use all experts alike; default: the base's, where its output_router_logits is true"},
    {"objective", AR_SETTING_CHOICE, LEARNER(preference.objective), .choices = "none|dpo|orpo|simpo", .help = "experts' balance; pairs",
     .about = "rows are pairs of which one was preferred; none: rows are learned"},
    {"beta", AR_SETTING_NUMBER, LEARNER(preference.beta), .value = "X", .most = 1e6, .flags = AR_SETTING_ABOVE | AR_SETTING_OR_ZERO,
     .about = "strength of the comparison; default 0.1, of simpo 2; of orpo it is lambda"},
    {"gamma", AR_SETTING_NUMBER, LEARNER(preference.gamma), GIVEN(preference.gamma_given), .value = "X", .most = 1e6,
     .about = "margin of simpo; default beta/2"},
    {"label-smoothing", AR_SETTING_NUMBER, LEARNER(preference.label_smoothing), .value = "X", .initial = "0", .most = 0.5,
     .flags = AR_SETTING_BELOW, .help = "its strength, margin, label noise",
     .about = "share of pairs that are labelled the wrong way round (dpo, simpo)"},
    {"epochs", AR_SETTING_NUMBER, LEARNER(epochs), .value = "X", .initial = "3", .most = 1e9,
     .flags = AR_SETTING_ABOVE | AR_SETTING_FIRST | AR_SETTING_RESUME, .about = "passes over the data"},
    {"steps", AR_SETTING_LONG, LEARNER(steps), .value = "N", .least = 1, .most = 1e15,
     .flags = AR_SETTING_OR_ZERO | AR_SETTING_FIRST | AR_SETTING_RESUME, .help = "passes over the data, or steps",
     .about = "steps, instead of passes over the data"},
    {"batch", AR_SETTING_INT, LEARNER(batch), .value = "N", .initial = "8", .least = 1, .most = 1 << 20, .about = "samples a step"},
    {"micro-batch", AR_SETTING_INT, COURSE(micro_batch), .value = "N", .initial = "auto", .word = "auto", .least = 1, .most = 1 << 20,
     .flags = AR_SETTING_OR_ZERO | AR_SETTING_RESUME, .help = "samples a step; rows at a time",
     .about = "rows at a time; changes no result"},
    {"max-length", AR_SETTING_INT, COURSE(max_length), .value = "N", .shown = "1024", .least = 2, .most = 1 << 24,
     .flags = AR_SETTING_OR_ZERO, .about = "tokens kept of a sample"},
    {"pack", AR_SETTING_FLAG, COURSE(pack), .initial = "true", .flags = AR_SETTING_NEGATABLE,
     .help = "tokens kept of a sample; several in a row", .about = "several samples in a row; changes no result"},
    {"shuffle", AR_SETTING_FLAG, LEARNER(shuffle), .initial = "true", .flags = AR_SETTING_NEGATABLE,
     .help = "an order of each epoch's own, or the file's"},

    {.name = "Optimizer", .type = AR_SETTING_SECTION},
    {"lr", AR_SETTING_NUMBER, LEARNER(lr), .value = "X", .initial = "2e-4", .most = 1e6, .about = "learning rate (of A)"},
    {"lr-ratio", AR_SETTING_NUMBER, LEARNER(lr_ratio), .value = "X", .initial = "1", .most = 1e9,
     .help = "rate of A; B learns at ratio times it (LoRA+)", .about = "B learns at ratio times the rate of A (LoRA+)"},
    {"schedule", AR_SETTING_CHOICE, LEARNER(schedule), .choices = "cosine|linear|constant", .help = "after the warm-up"},
    {"warmup", AR_SETTING_NUMBER, LEARNER(warmup), .value = "X", .initial = "0.03", .most = 1e9,
     .about = "below 1 a share of the steps, from 1 on steps"},
    {"min-lr", AR_SETTING_NUMBER, LEARNER(min_lr), .value = "X", .initial = "0", .most = 1e6,
     .help = "warm-up (share, or steps); rate at the end", .about = "rate at the end of the decay"},
    {"optimizer", AR_SETTING_CHOICE, LEARNER(optimizer), .choices = "adamw|sgd", .about = "how weights follow gradients"},
    {"weight-decay", AR_SETTING_NUMBER, LEARNER(weight_decay), .value = "X", .initial = "0", .most = 1e6, .help = "decoupled decay"},
    {"beta1", AR_SETTING_NUMBER, LEARNER(beta1), .value = "X", .initial = "0.9", .most = 1, .flags = AR_SETTING_BELOW,
     .about = "decay of the first moment (AdamW)"},
    {"beta2", AR_SETTING_NUMBER, LEARNER(beta2), .value = "X", .initial = "0.999", .most = 1, .flags = AR_SETTING_BELOW,
     .about = "decay of the second moment (AdamW)"},
    {"eps", AR_SETTING_NUMBER, LEARNER(eps), .value = "X", .initial = "1e-8", .least = 1e-37, .most = 1,
     .about = "added to the root (AdamW)"},
    {"clip", AR_SETTING_NUMBER, LEARNER(clip), .value = "X", .initial = "1.0", .most = 1e30, .help = "AdamW; largest norm, 0 off",
     .about = "largest gradient norm; 0 is off"},

    {.name = "Memory, arithmetic", .type = AR_SETTING_SECTION},
    {"checkpoint-layers", AR_SETTING_CHOICE, COURSE(checkpoint_layers), .choices = "auto|on|off", .flags = AR_SETTING_RESUME,
     .help = "compute layers again instead of keeping them"},
    {"memory", AR_SETTING_BYTES, COURSE(memory), .value = "LIMIT", .flags = AR_SETTING_RESUME, .about = "bytes the plan may use, as 3G"},
    {"device", AR_SETTING_TEXT, COURSE(device), .value = "auto|cpu|cuda:N", .initial = "auto", .shown = "auto|cpu|cuda:N",
     .flags = AR_SETTING_RESUME, .help = "bytes, as 3G; what computes",
     .about = "what computes: a GPU (cuda is cuda:0) or the CPU; auto: a GPU where there is one"},
    {"quantize", AR_SETTING_TEXT, COURSE(quantize), .value = "TYPE",
     .about = "the layers' matrices of a folder in fewer bits, in memory: nf4, nf4-dq, q8_0, q6_k, q5_k, q4_k, q4_0, …"},
    {"compute", AR_SETTING_CHOICE, COURSE(compute), .initial = "auto", .choices = "f32|bf16|auto", .value = "auto|f32|bf16",
     .help = "matrices in nf4, q4_k …; arithmetic"},

    {.name = "On the way", .type = AR_SETTING_SECTION},
    {"eval-data", AR_SETTING_FILES, COURSE(eval_data.files), .value = "FILE", .flags = AR_SETTING_RESUME,
     .about = "samples to measure the loss on; may repeat"},
    {"eval-every", AR_SETTING_LONG, RUN(eval_every), .value = "N", .shown = "N", .least = 1, .most = 1e15,
     .flags = AR_SETTING_OR_ZERO | AR_SETTING_RESUME, .help = "loss each epoch, or every N steps",
     .about = "measure every N steps; default: each epoch"},
    {"early-stop", AR_SETTING_INT, RUN(early_stop), .value = "N", .least = 1, .flags = AR_SETTING_OR_ZERO | AR_SETTING_RESUME,
     .about = "end after N evaluations without a better one"},
    {"tensorboard", AR_SETTING_FLAG, RUN(tensorboard), .flags = AR_SETTING_RESUME, .help = "stop after N without a better; event file",
     .about = "an event file for TensorBoard, beside metrics.jsonl"},
    {"save-every", AR_SETTING_LONG, RUN(save_every), .value = "N", .least = 1, .most = 1e15,
     .flags = AR_SETTING_OR_ZERO | AR_SETTING_RESUME, .about = "a checkpoint every N steps; default: ten minutes"},
    {"keep", AR_SETTING_INT, RUN(keep), .value = "N", .initial = "2", .least = 1, .most = 1 << 20, .flags = AR_SETTING_RESUME,
     .about = "checkpoints that stay"},
    {"strength-every", AR_SETTING_INT, RUN(strength_every), .value = "N", .initial = "10", .flags = AR_SETTING_RESUME,
     .help = "checkpoints; |sBA|/|W|", .about = "measure |sBA|/|W| every N steps; 0 is off"},
    {"seed", AR_SETTING_LONG, LEARNER(seed), .value = "N", .initial = "1", .most = 0x1p63, .flags = AR_SETTING_BELOW,
     .about = "of all random numbers"},
};

const ar_setting *ar_train_settings(size_t *count) {
    *count = sizeof table / sizeof *table;
    return table;
}

const ar_setting *ar_train_setting(const char *name) {
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (table[i].type != AR_SETTING_SECTION && !strcmp(table[i].name, name)) return &table[i];
    return NULL;
}

ar_setting_part ar_setting_part_of(const ar_setting *s) {
    if (s->offset < offsetof(ar_train_options, learner)) return AR_PART_COURSE;
    return s->offset < offsetof(ar_train_options, run) ? AR_PART_LEARNER : AR_PART_RUN;
}
