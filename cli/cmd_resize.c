/* alphar resize: another rank at the same scale. */
#include "commands.h"
#include "fit.h"
#include "session.h"

struct values {
    struct adapter_values adapter;
    int64_t rank;
    double energy, max_error;
    bool all;
};
#define AT(member) offsetof(struct values, member)

static const cli_option options[] = {
    {.name = "rank", .kind = CLI_INT, .at = AT(rank), .value = "N", .min = 1, .about = "the new rank"},
    {.name = "energy",
     .kind = CLI_NUMBER,
     .at = AT(energy),
     .value = "0.99",
     .flags = CLI_ABOVE,
     .min = 0,
     .max = 1,
     .about = "the share of |BA|^2 that is kept"},
    {.name = "max-error",
     .kind = CLI_NUMBER,
     .at = AT(max_error),
     .value = "0.01",
     .flags = CLI_ABOVE | CLI_BELOW,
     .min = 0,
     .max = 1,
     .help = "one of: rank, kept share of |BA|^2, relative error",
     .about = "the relative error that is allowed"},
    {.name = "alpha", .kind = CLI_NUMBER, .at = offsetof(struct adapter_values, alpha), .value = "X", .help = "where IN has none"},
    CLI_FIT_ALL(AT(all)),
    {0},
};

static int resize(cli *c, const cli_args *args, ar_adapter *ad, const ar_runtime *rt) {
    const struct values *v = args->values;
    const char *out = args->positional[1];
    char folder[4096];
    ar_resize_options o = {.to = {(int)v->rank, v->energy, v->max_error}, .scratch = cli_folder_of(folder, sizeof folder, out)};
    ar_fit fit;
    ar_proof proof;
    ar_error err;
    if (ar_adapter_resize(&fit, ad, rt, &o, &err)) return cli_fail(c, &err);
    int code = cli_adapter_write(&proof, c, args, ad, rt, out, "keep");
    if (!code) code = cli_finish_fit(c, out, &fit, &proof, v->all);
    ar_fit_release(&fit);
    return code;
}

static int run(cli *c, const cli_args *args) {
    int given = cli_given(args, "rank") + cli_given(args, "energy") + cli_given(args, "max-error");
    int code = cli_need_positional(c, args, 2);
    if (!code && given != 1) code = cli_fail_usage(c, "found %d of --rank, --energy and --max-error, wanted one", given);
    return code ? code : cli_with_adapter(c, args, resize);
}

const cli_command cli_resize = {
    .name = "resize",
    .summary = "Gives an adapter another rank at the same scale.",
    .usage = "alphar resize IN OUT (--rank N | --energy 0.99 | --max-error 0.01)",
    .example = "alphar resize my-adapter smaller --energy 0.99",
    .options = options,
    .shared = cli_adapter_write_options,
    .values_size = sizeof(struct values),
    .positional_count = 2,
    .run = run,
};
