/* alphar convert: another tool's format, proven by reading it back. */
#include <stdio.h>

#include "adapters.h"
#include "commands.h"
#include "session.h"

struct values {
    struct adapter_values adapter;
    int prove;
};

static const cli_option options[] = {
    {.name = "alpha", .kind = CLI_NUMBER, .at = offsetof(struct adapter_values, alpha), .value = "X", .help = "where IN has none"},
    {.name = "prove",
     .kind = CLI_CHOICE,
     .at = offsetof(struct values, prove),
     .value = "update|logits",
     .help = "compare s·B·A, or what the base says too"},
    {0},
};

static int finish(cli *c, const char *path, const ar_proof *proof, const char *format) {
    if (c->json)
        return cli_print_json(c, json_pack("{s:s, s:s, s:o, s:i, s:o}", "out", path, "format", format, "proof", cli_json_proof(proof),
                                           "folded", proof->folded, "alpha", cli_json_real(proof->alpha)));
    cli_print_proof(path, proof);
    return cli_finish(c);
}

static int run(cli *c, const cli_args *args) {
    const struct values *v = args->values;
    ar_adapter *ad = NULL;
    ar_runtime *rt = NULL;
    ar_proof proof;
    int code = cli_need_positional(c, args, 2);
    if (!code && !v->adapter.to) code = cli_fail_usage(c, "--to is missing, wanted --to peft, gguf, mlx or kohya");
    if (!code) code = cli_adapter_check_free(c, args, args->positional[1]);
    if (!code) code = cli_adapter_open(&ad, c, args, args->positional[0]);
    if (!code) code = cli_runtime_open(&rt, c, args);
    if (!code) code = cli_adapter_write(&proof, c, args, ad, rt, args->positional[1], "keep");
    if (!code) code = finish(c, args->positional[1], &proof, v->adapter.to);
    ar_adapter_free(ad);
    ar_runtime_free(rt);
    return code;
}

const cli_command cli_convert = {
    .name = "convert",
    .summary = "Writes an adapter in another tool's format, with proof.",
    .usage = "alphar convert IN OUT --to peft|gguf|mlx|kohya [--model BASE | --heads H,KV]",
    .example = "alphar convert my-adapter my-adapter.gguf --to gguf --model demo/base",
    .options = options,
    .shared = cli_adapter_write_options,
    .values_size = sizeof(struct values),
    .positional_count = 2,
    .run = run,
};
