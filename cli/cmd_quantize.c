/* alphar quantize: a model in fewer bits, and what that costs. */
#include "commands.h"
#include "rewritten.h"
#include "session.h"

struct values {
    cli_common common;
    const char *model, *out, *type;
    bool overwrite, all;
};
#define AT(member) offsetof(struct values, member)

static const cli_option options[] = {
    {.name = "model",
     .kind = CLI_STRING,
     .at = AT(model),
     .value = "BASE",
     .flags = CLI_REQUIRED,
     .help = "the model: a folder or a .gguf file"},
    {.name = "out",
     .kind = CLI_STRING,
     .at = AT(out),
     .value = "PATH",
     .flags = CLI_REQUIRED,
     .help = "the file, ending in .gguf; of nf4 a folder",
     .about = "the GGUF file, or of nf4 the folder"},
    {.name = "type",
     .kind = CLI_STRING,
     .at = AT(type),
     .value = "TYPE",
     .flags = CLI_REQUIRED,
     .help = "q8_0, q6_k, q5_k, q4_k, q4_0, bf16, …; nf4, nf4-dq"},
    {.name = "overwrite", .kind = CLI_FLAG, .at = AT(overwrite), .help = "replace what an earlier quantize wrote there"},
    {.name = "all", .kind = CLI_FLAG, .at = AT(all), .help = "list every matrix, not the 20 with most noise"},
    {0},
};

static int run(cli *c, const cli_args *args) {
    const struct values *v = args->values;
    ar_rewrite_options o = {
        .model = v->model, .out = v->out, .type = v->type, .overwrite = v->overwrite, .on_progress = cli_rewrite_show, .user = c};
    ar_rewrite_result r;
    ar_runtime *rt;
    ar_error err;
    int code = cli_runtime_open(&rt, c, args, AR_COMPUTE_F32, NULL);
    if (code) return code;
    code = ar_quantize(&r, rt, &o, &err) ? cli_fail(c, &err) : cli_rewrite_tell(c, v->out, v->type, &r, v->all);
    ar_rewrite_result_release(&r);
    ar_runtime_free(rt);
    return code;
}

const cli_command cli_quantize = {
    .name = "quantize",
    .summary = "Writes a model in fewer bits, and says how much noise that adds.",
    .usage = "alphar quantize --model BASE --out PATH --type TYPE [options]",
    .example = "alphar quantize --model demo/base --out base-q8.gguf --type q8_0",
    .options = options,
    .values_size = sizeof(struct values),
    .finishes_step = true,
    .run = run,
};
