/* alphar extract: the difference of two models as an adapter. */
#include "commands.h"
#include "fit.h"
#include "session.h"

struct values {
    struct adapter_values adapter;
    const char *tuned, *out;
    int64_t rank;
    double energy;
    bool all;
};
#define AT(member) offsetof(struct values, member)

static const cli_option options[] = {
    {.name = "tuned",
     .kind = CLI_STRING,
     .at = AT(tuned),
     .value = "TUNED",
     .flags = CLI_REQUIRED,
     .help = "the model that the base became"},
    {.name = "out", .kind = CLI_STRING, .at = AT(out), .value = "PATH", .flags = CLI_REQUIRED, .help = "the adapter"},
    {.name = "rank", .kind = CLI_INT, .at = AT(rank), .value = "N", .min = 1, .about = "rank of the pairs"},
    {.name = "energy",
     .kind = CLI_NUMBER,
     .at = AT(energy),
     .value = "E",
     .flags = CLI_ABOVE,
     .min = 0,
     .max = 1,
     .help = "rank, kept share of |tuned - base|^2, or both",
     .about = "the share of |tuned - base|^2 that is kept"},
    {.name = "alpha",
     .kind = CLI_NUMBER,
     .at = offsetof(struct adapter_values, alpha),
     .value = "X",
     .shown = "rank",
     .help = "so that s = alpha / rank"},
    CLI_FIT_ALL(AT(all)),
    {0},
};

static int extract(cli *c, const cli_args *args, const ar_runtime *rt) {
    const struct values *v = args->values;
    char folder[4096];
    ar_extract_options o = {.base = v->adapter.model,
                            .tuned = v->tuned,
                            .to = {.rank = (int)v->rank, .energy = v->energy},
                            .has_alpha = cli_given(args, "alpha"),
                            .alpha = v->adapter.alpha,
                            .seed = (uint64_t)cli_common_of(args)->seed,
                            .scratch = cli_folder_of(folder, sizeof folder, v->out)};
    ar_adapter *out;
    ar_fit fit;
    ar_proof proof;
    ar_error err;
    if (ar_adapter_extract(&out, &fit, rt, &o, &err)) return cli_fail(c, &err);
    int code = cli_adapter_write(&proof, c, args, out, rt, v->out, "f32");
    if (!code) code = cli_finish_fit(c, v->out, &fit, &proof, v->all);
    ar_fit_release(&fit);
    ar_adapter_free(out);
    return code;
}

static int run(cli *c, const cli_args *args) {
    const struct values *v = args->values;
    ar_runtime *rt = NULL;
    int code = cli_need_positional(c, args, 0);
    if (!code && !v->adapter.model) code = cli_fail_usage(c, "--model is missing, wanted --model BASE: %s", args->command->usage);
    if (!code && !cli_given(args, "rank") && !cli_given(args, "energy"))
        code = cli_fail_usage(c, "found neither --rank nor --energy, wanted one: %s", args->command->usage);
    if (!code) code = cli_adapter_check_free(c, args, v->out);
    if (!code) code = cli_runtime_open(&rt, c, args, AR_COMPUTE_F32, NULL);
    if (!code) code = extract(c, args, rt);
    ar_runtime_free(rt);
    return code;
}

const cli_command cli_extract = {
    .name = "extract",
    .summary = "Makes an adapter of what a model differs from its base by.",
    .usage = "alphar extract --model BASE --tuned TUNED --out PATH (--rank N | --energy E) [--alpha X]",
    .example = "alphar extract --model demo/base --tuned my-full-tune --out my-adapter --rank 16",
    .options = options,
    .shared = cli_adapter_write_options,
    .values_size = sizeof(struct values),
    .run = run,
};
