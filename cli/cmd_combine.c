/* alphar combine: a weighted sum of adapters. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "commands.h"
#include "fit.h"
#include "session.h"

enum { MOST = 64 };

struct values {
    struct adapter_values adapter;
    int method;
    int64_t rank;
    double energy, density;
    bool all;
};
#define AT(member) offsetof(struct values, member)

static const cli_option options[] = {
    {.name = "method",
     .kind = CLI_CHOICE,
     .at = AT(method),
     .value = "concat|svd|ties|dare",
     .help = "exact; at its best in a rank; on the dense updates"},
    {.name = "rank", .kind = CLI_INT, .at = AT(rank), .value = "N", .min = 1, .about = "rank of OUT"},
    {.name = "energy",
     .kind = CLI_NUMBER,
     .at = AT(energy),
     .value = "E",
     .flags = CLI_ABOVE,
     .min = 0,
     .max = 1,
     .help = "rank of OUT, or kept share; all but concat need one",
     .about = "the share of the sum that is kept"},
    {.name = "density",
     .kind = CLI_NUMBER,
     .at = AT(density),
     .value = "D",
     .shown = "0.2|0.5",
     .flags = CLI_ABOVE,
     .min = 0,
     .max = 1,
     .help = "share of entries kept by ties, by dare"},
    {.name = "alpha", .kind = CLI_NUMBER, .at = offsetof(struct adapter_values, alpha), .value = "X", .help = "where a source has none"},
    CLI_FIT_ALL(AT(all)),
    {0},
};

struct sources {
    ar_adapter *adapter[MOST];
    double weight[MOST];
    size_t count;
};

/* "PATH:0.5" is PATH with a weight of 0.5, unless there is such a path: the last colon, with a number behind it. */
static int open_source(struct sources *s, cli *c, const cli_args *args, const char *text) {
    char path[4096], *end = NULL;
    struct stat st;
    const char *colon = strrchr(text, ':');
    double weight = colon && colon[1] ? strtod(colon + 1, &end) : 1.0;
    bool weighted = end && *end == '\0' && stat(text, &st) != 0;
    size_t n = weighted ? (size_t)(colon - text) : strlen(text);
    if (n >= sizeof path) return cli_fail_usage(c, "found a path of %zu bytes, wanted fewer than %zu", n, sizeof path);
    memcpy(path, text, n);
    path[n] = '\0';
    s->weight[s->count] = weighted ? weight : 1.0;
    int code = cli_adapter_open(&s->adapter[s->count], c, args, path);
    s->count += code == CLI_OK;
    return code;
}

static int combine(cli *c, const cli_args *args, const struct sources *s, const ar_runtime *rt) {
    const struct values *v = args->values;
    const char *path = args->positional[0];
    char folder[4096];
    ar_combine_options o = {.method = (ar_combine_method)v->method,
                            .to = {.rank = (int)v->rank, .energy = v->energy},
                            .density = v->density,
                            .seed = (uint64_t)cli_common_of(args)->seed,
                            .scratch = cli_folder_of(folder, sizeof folder, path)};
    ar_adapter *out;
    ar_fit fit;
    ar_proof proof;
    ar_error err;
    if (ar_adapters_combine(&out, &fit, s->adapter, s->weight, s->count, rt, &o, &err)) return cli_fail(c, &err);
    int code = cli_adapter_write(&proof, c, args, out, rt, path, "f32");
    if (!code) code = cli_finish_fit(c, path, &fit, &proof, v->all);
    ar_fit_release(&fit);
    ar_adapter_free(out);
    return code;
}

static int check_usage(cli *c, const cli_args *args) {
    const struct values *v = args->values;
    if (args->positional_count < 2 || args->positional_count > MOST)
        return cli_fail_usage(c, "found %d arguments without dashes, wanted OUT and 1 to %d adapters: %s", args->positional_count, MOST - 1,
                              args->command->usage);
    if (v->method != AR_COMBINE_CONCAT && !cli_given(args, "rank") && !cli_given(args, "energy"))
        return cli_fail_usage(c, "--method: found neither --rank nor --energy, wanted one: only concat is exact without");
    if (cli_given(args, "density") && v->method != AR_COMBINE_TIES && v->method != AR_COMBINE_DARE)
        return cli_fail_usage(c, "--density: wanted --method ties or dare with it");
    return CLI_OK;
}

static int run(cli *c, const cli_args *args) {
    struct sources s = {0};
    ar_runtime *rt = NULL;
    int code = check_usage(c, args);
    if (!code) code = cli_adapter_check_free(c, args, args->positional[0]);
    for (int i = 1; !code && i < args->positional_count; i++) code = open_source(&s, c, args, args->positional[i]);
    if (!code) code = cli_runtime_open(&rt, c, args, AR_COMPUTE_F32, NULL);
    if (!code) code = combine(c, args, &s, rt);
    for (size_t i = 0; i < s.count; i++) ar_adapter_free(s.adapter[i]);
    ar_runtime_free(rt);
    return code;
}

const cli_command cli_combine = {
    .name = "combine",
    .summary = "Adds up adapters, each with a weight.",
    .usage = "alphar combine OUT A[:w] B[:w]… [--method concat|svd|ties|dare] [--rank N | --energy E]",
    .example = "alphar combine both maths:0.7 style:0.3 --method svd --rank 16",
    .options = options,
    .shared = cli_adapter_write_options,
    .values_size = sizeof(struct values),
    .positional_count = MOST,
    .run = run,
};
