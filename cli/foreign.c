/* What other tools call our options and commands: PEFT, transformers and TRL, Axolotl, LLaMA-Factory, MLX, llama.cpp. */
#include <string.h>

#include "options.h"

/* A name may stand in several rows: the first whose option the command has counts. */
static const struct foreign {
    const char *theirs, *ours, *note;
} options[] = {
    {"model-name-or-path", "model", NULL},
    {"pretrained-model-name-or-path", "model", NULL},
    {"base-model", "model", NULL},
    {"base", "model", NULL},
    {"m", "model", NULL},
    {"hf-repo", "model", "a folder on this machine"},
    {"dataset", "data", NULL},
    {"datasets", "data", NULL},
    {"dataset-name", "data", "a file on this machine"},
    {"dataset-path", "data", NULL},
    {"data-path", "data", NULL},
    {"train-data", "data", NULL},
    {"train-file", "data", NULL},
    {"train-files", "data", NULL},
    {"eval-dataset", "eval-data", NULL},
    {"validation-file", "eval-data", NULL},
    {"val-data", "eval-data", NULL},
    {"test-datasets", "eval-data", NULL},
    {"adapter-path", "adapter", NULL},
    {"adapter-path", "out", NULL},
    {"adapter-name-or-path", "adapter", NULL},
    {"adapter-name-or-path", "init-adapter", NULL},
    {"lora", "adapter", NULL},
    {"lora-path", "adapter", NULL},
    {"lora-scaled", "adapter", "PATH:X"},
    {"resume-adapter-file", "init-adapter", NULL},
    {"output-dir", "out", NULL},
    {"output-path", "out", NULL},
    {"output", "out", NULL},
    {"outfile", "out", NULL},
    {"export-dir", "out", NULL},
    {"save-dir", "out", NULL},
    {"save-path", "out", NULL},
    {"o", "out", NULL},
    {"overwrite-output-dir", "overwrite", NULL},
    {"resume-from-checkpoint", "resume", NULL},
    {"lora-r", "rank", NULL},
    {"lora-rank", "rank", NULL},
    {"network-dim", "rank", NULL},
    {"r", "rank", NULL},
    {"lora-alpha", "alpha", NULL},
    {"network-alpha", "alpha", NULL},
    {"lora-scale", "scale", NULL},
    {"lora-dropout", "dropout", NULL},
    {"lora-target", "targets", NULL},
    {"lora-target-modules", "targets", NULL},
    {"lora-target-linear", "targets", "all-linear, the default"},
    {"target-modules", "targets", NULL},
    {"exclude-modules", "exclude", NULL},
    {"layers-to-transform", "layers", NULL},
    {"lora-layers", "layers", NULL},
    {"num-layers", "layers", NULL},
    {"lora-modules-to-save", "modules-to-save", NULL},
    {"additional-target", "modules-to-save", NULL},
    {"use-dora", "dora", NULL},
    {"lora-use-dora", "dora", NULL},
    {"peft-use-dora", "dora", NULL},
    {"use-rslora", "policy", "rslora"},
    {"peft-use-rslora", "policy", "rslora"},
    {"loraplus-lr-ratio", "lr-ratio", NULL},
    {"loraplus-ratio", "lr-ratio", NULL},
    {"learning-rate", "lr", NULL},
    {"lr-scheduler", "schedule", NULL},
    {"lr-scheduler-type", "schedule", NULL},
    {"warmup-ratio", "warmup", NULL},
    {"warmup-steps", "warmup", NULL},
    {"num-epochs", "epochs", NULL},
    {"num-train-epochs", "epochs", NULL},
    {"max-steps", "steps", NULL},
    {"num-steps", "steps", NULL},
    {"iters", "steps", NULL},
    {"batch-size", "batch", "samples a step"},
    {"train-batch-size", "batch", "samples a step"},
    {"per-device-train-batch-size", "batch", "samples a step, all micro-batches together"},
    {"gradient-accumulation-steps", "batch", "samples a step, all micro-batches together"},
    {"grad-accumulation-steps", "batch", "samples a step, all micro-batches together"},
    {"micro-batch-size", "micro-batch", NULL},
    {"max-seq-length", "max-length", NULL},
    {"max-seq-len", "max-length", NULL},
    {"model-max-length", "max-length", NULL},
    {"sequence-len", "max-length", NULL},
    {"cutoff-len", "max-length", NULL},
    {"packing", "pack", NULL},
    {"sample-packing", "pack", NULL},
    {"train-on-inputs", "train-on", "all"},
    {"completion-only-loss", "train-on", "completion"},
    {"mask-prompt", "train-on", "completion"},
    {"assistant-only-loss", "train-on", "assistant, the default of conversations"},
    {"train-on-responses-only", "train-on", "assistant, the default of conversations"},
    {"chat-template", "template", NULL},
    {"chat-template-path", "template", NULL},
    {"chat-template-file", "template", NULL},
    {"template-file", "template", NULL},
    {"loss-type", "objective", NULL},
    {"pref-loss", "objective", NULL},
    {"rl", "objective", NULL},
    {"dpo-beta", "beta", NULL},
    {"pref-beta", "beta", NULL},
    {"simpo-gamma", "gamma", NULL},
    {"dpo-label-smoothing", "label-smoothing", NULL},
    {"router-aux-loss-coef", "router-aux-loss", NULL},
    {"optim", "optimizer", NULL},
    {"adam-beta1", "beta1", NULL},
    {"adam-beta2", "beta2", NULL},
    {"adam-epsilon", "eps", NULL},
    {"max-grad-norm", "clip", NULL},
    {"gradient-checkpointing", "checkpoint-layers", NULL},
    {"grad-checkpoint", "checkpoint-layers", NULL},
    {"bf16", "compute", "bf16"},
    {"fp16", "compute", "bf16"},
    {"load-in-4bit", "quantize", "nf4"},
    {"load-in-8bit", "quantize", "q8_0"},
    {"quantization-bit", "quantize", "nf4"},
    {"init-lora-weights", "init", NULL},
    {"pissa-init", "init", "pissa"},
    {"loftq-iter", "init", "loftq:N"},
    {"device", "threads", "all work is the CPU's"},
    {"gpu", "threads", "all work is the CPU's"},
    {"n-gpu-layers", "threads", "all work is the CPU's"},
    {"val-set-size", "eval-data", "a file of its own"},
    {"report-to", "json", "and metrics.jsonl in the result"},
    {"logging-steps", "json", "metrics.jsonl has a line a step"},
    {"eval-steps", "eval-every", NULL},
    {"steps-per-eval", "eval-every", NULL},
    {"early-stopping-patience", "early-stop", NULL},
    {"save-steps", "save-every", NULL},
    {"save-total-limit", "keep", NULL},
    {"random-seed", "seed", NULL},
    {"num-threads", "threads", NULL},
    {"t", "threads", NULL},
    {"max-new-tokens", "max-tokens", NULL},
    {"n-predict", "max-tokens", NULL},
    {"predict", "max-tokens", NULL},
    {"n", "max-tokens", NULL},
    {"temp", "temperature", NULL},
    {"repetition-penalty", "repeat-penalty", NULL},
    {"p", "prompt", NULL},
    {"system-prompt", "system", NULL},
    {"sys", "system", NULL},
    {"outtype", "dtype", NULL},
};

static const struct foreign commands[] = {
    {"finetune", "train", NULL},      {"fine-tune", "train", NULL}, {"sft", "train", NULL},           {"lora", "train", NULL},
    {"run", "generate", NULL},        {"infer", "generate", NULL},  {"inference", "generate", NULL},  {"complete", "generate", NULL},
    {"completion", "generate", NULL}, {"evaluate", "eval", NULL},   {"test", "eval", NULL},           {"perplexity", "eval", NULL},
    {"logprobs", "score", NULL},      {"encode", "tokenize", NULL}, {"detokenize", "tokenize", NULL}, {"info", "inspect", NULL},
    {"show", "inspect", NULL},        {"compare", "diff", NULL},    {"export", "convert", NULL},      {"fuse", "merge", NULL},
    {"merge-lora", "merge", NULL},    {"scale", "rescale", NULL},   {"add", "combine", NULL},         {"estimate", "plan", NULL},
    {"benchmark", "bench", NULL},     {"talk", "chat", NULL},       {"conversation", "chat", NULL},   {"preview", "data", NULL},
    {"dataset", "data", NULL},        {"dpo", "train", NULL},       {"orpo", "train", NULL},
};

/* a_B counts as a-b. */
static bool same(const char *text, const char *name) {
    for (; *text && *name; text++, name++) {
        char c = *text;
        if (c == '_') c = '-';
        if (c >= 'A' && c <= 'Z') c = (char)(c + 32);
        if (c != *name) return false;
    }
    return !*text && !*name;
}

bool cli_foreign_option(const char **ours, const char **note, const cli_command *command, const char *text) {
    for (size_t i = 0; i < sizeof options / sizeof *options; i++) {
        if (!same(text, options[i].theirs) || cli_option_find(command, options[i].ours) < 0) continue;
        *ours = options[i].ours;
        *note = options[i].note;
        return true;
    }
    return false;
}

const char *cli_foreign_command(const char *text) {
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
        if (same(text, commands[i].theirs)) return commands[i].ours;
    return NULL;
}
