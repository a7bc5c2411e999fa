/* alphar rescale: another alpha on purpose. */
#include <stdio.h>

#include "adapters.h"
#include "commands.h"
#include "session.h"

struct values {
    struct adapter_values adapter;
    double scale, factor, strength;
    const char *sites;
    int policy;
    bool keep_function;
};
#define AT(member) offsetof(struct values, member)

static const cli_option options[] = {
    {.name = "alpha", .kind = CLI_NUMBER, .at = offsetof(struct adapter_values, alpha), .value = "X", .about = "the new alpha"},
    {.name = "scale", .kind = CLI_NUMBER, .at = AT(scale), .value = "S", .about = "the new s"},
    {.name = "factor", .kind = CLI_NUMBER, .at = AT(factor), .value = "F", .about = "a factor on s"},
    {.name = "strength",
     .kind = CLI_NUMBER,
     .at = AT(strength),
     .value = "X",
     .min = 0,
     .max = 1e30,
     .help = "one of: alpha, s, a factor on s, |sBA|/|W| per site",
     .about = "the new |sBA|/|W| per site"},
    {.name = "policy",
     .kind = CLI_CHOICE,
     .at = AT(policy),
     .value = "keep|standard|rslora",
     .help = "alone alpha stays and s follows; --factor 1 keeps s"},
    {.name = "sites", .kind = CLI_STRING, .at = AT(sites), .value = "RE", .help = "only sites that end in a match, as in 'q_proj|v_proj'"},
    {.name = "keep-function", .kind = CLI_FLAG, .at = AT(keep_function), .help = "divide B by as much: same update, other alpha"},
    {0},
};

/* The one of the four that was given. */
static int read_kind(ar_rescale_options *o, cli *c, const cli_args *args) {
    const struct values *v = args->values;
    const struct {
        const char *name;
        ar_rescale_kind kind;
        double value;
    } kinds[] = {{"alpha", AR_RESCALE_ALPHA, v->adapter.alpha},
                 {"scale", AR_RESCALE_SCALE, v->scale},
                 {"factor", AR_RESCALE_FACTOR, v->factor},
                 {"strength", AR_RESCALE_STRENGTH, v->strength}};
    int count = 0;
    for (int i = 0; i < 4; i++) {
        if (!cli_given(args, kinds[i].name)) continue;
        count++;
        o->kind = kinds[i].kind;
        o->value = kinds[i].value;
    }
    o->has_policy = v->policy != 0;
    o->policy = v->policy == 2 ? AR_POLICY_RSLORA : AR_POLICY_STANDARD;
    if (!count && o->has_policy) {
        o->kind = AR_RESCALE_POLICY;
        return CLI_OK;
    }
    if (count != 1) return cli_fail_usage(c, "found %d of --alpha, --scale, --factor and --strength, wanted one (or --policy)", count);
    if (o->kind == AR_RESCALE_STRENGTH && !v->adapter.model) return cli_fail_usage(c, "--strength: wanted --model with it");
    return CLI_OK;
}

static int finish(cli *c, const char *path, const ar_proof *proof, size_t changed) {
    if (c->json)
        return cli_print_json(c, json_pack("{s:s, s:I, s:o, s:i, s:o}", "out", path, "changed", (json_int_t)changed, "proof",
                                           cli_json_proof(proof), "folded", proof->folded, "alpha", cli_json_real(proof->alpha)));
    printf("s changed at %zu site%s\n", changed, changed == 1 ? "" : "s");
    cli_print_proof(path, proof);
    return cli_finish(c);
}

static int rescale(cli *c, const cli_args *args, ar_adapter *ad, const ar_runtime *rt) {
    const struct values *v = args->values;
    const char *out = args->positional[1];
    char folder[4096];
    ar_proof proof;
    ar_error err;
    size_t changed;
    ar_rescale_options o = {.sites = v->sites, .keep_function = v->keep_function, .model = v->adapter.model};
    o.scratch = cli_folder_of(folder, sizeof folder, out);
    int code = read_kind(&o, c, args);
    if (!code && ar_adapter_rescale(&changed, ad, rt, &o, &err)) code = cli_fail(c, &err);
    if (!code) code = cli_adapter_write(&proof, c, args, ad, rt, out, "keep");
    return code ? code : finish(c, out, &proof, changed);
}

static int run(cli *c, const cli_args *args) {
    ar_rescale_options ignored = {0};
    int code = cli_need_positional(c, args, 2);
    if (!code) code = read_kind(&ignored, c, args); /* wrong usage shows before anything is opened */
    return code ? code : cli_with_adapter(c, args, rescale);
}

const cli_command cli_rescale = {
    .name = "rescale",
    .summary = "Sets an adapter's alpha, scale, strength or policy, for all sites or some.",
    .usage = "alphar rescale IN OUT (--alpha|--scale|--factor|--strength X --model BASE) [--policy P]",
    .example = "alphar rescale my-adapter softer --factor 0.5 --sites 'mlp\\..*'",
    .options = options,
    .shared = cli_adapter_write_options,
    .values_size = sizeof(struct values),
    .positional_count = 2,
    .run = run,
};
