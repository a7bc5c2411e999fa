/* alphar report: one HTML page about runs, sweeps, adapters and measurements. */
#include "alphar/report.h"

#include <stdio.h>

#include "commands.h"
#include "session.h"

struct values {
    cli_common common;
    const char *model, *sites, *out;
    bool overwrite;
};
#define AT(member) offsetof(struct values, member)

static const cli_option options[] = {
    {.name = "out", .kind = CLI_STRING, .at = AT(out), .value = "FILE.html", .flags = CLI_REQUIRED, .help = "the page: one file"},
    {.name = "model",
     .kind = CLI_STRING,
     .at = AT(model),
     .value = "BASE",
     .help = "the base of adapters: strength is |sBA| / |W| with it"},
    {.name = "sites", .kind = CLI_STRING, .at = AT(sites), .value = "RE", .help = "whose singular values; without, the strongest four"},
    {.name = "overwrite", .kind = CLI_FLAG, .at = AT(overwrite), .help = "replace a file that is no report"},
    {0},
};

static int run(cli *c, const cli_args *args) {
    const struct values *v = args->values;
    ar_runtime *rt;
    ar_error err;
    if (!args->positional_count) return cli_fail_usage(c, "wanted a run, a sweep, an adapter, or the JSON of eval or tune");
    int code = cli_runtime_open(&rt, c, args, AR_COMPUTE_F32, NULL);
    if (code) return code;
    const ar_report_options o = {.paths = args->positional,
                                 .count = (size_t)args->positional_count,
                                 .model = v->model,
                                 .sites = v->sites,
                                 .out = v->out,
                                 .overwrite = v->overwrite};
    code = ar_report(rt, &o, &err) ? cli_fail(c, &err) : CLI_OK;
    ar_runtime_free(rt);
    if (code) return code;
    if (c->json) return cli_print_json(c, json_pack("{s:s}", "out", v->out));
    printf("%s: written; open it in a browser\n", v->out);
    return cli_finish(c);
}

const cli_command cli_report = {
    .name = "report",
    .summary = "Writes an HTML page about runs, sweeps, adapters, measurements.",
    .usage = "alphar report PATH... --out FILE.html [--model BASE]",
    .example = "alphar report my-adapter --out report.html",
    .options = options,
    .values_size = sizeof(struct values),
    .positional_count = 64,
    .run = run,
};
