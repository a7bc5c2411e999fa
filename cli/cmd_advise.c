/* alphar advise: the same training in other tools' settings, and at another rank. */
#include <stdio.h>
#include <stdlib.h>

#include "adapters.h"
#include "advise_json.h"
#include "commands.h"

struct values {
    struct adapter_values reading; /* with alpha, which may be all that an adapter lacks */
    const char *adapter;
    int64_t rank, to_rank;
    double scale, lr, lr_ratio;
    int policy, optimizer, keep;
};
#define AT(member) offsetof(struct values, member)

static const cli_option options[] = {
    {.name = "adapter", .kind = CLI_STRING, .at = AT(adapter), .value = "PATH", .help = "takes rank, alpha and policy from there"},
    {.name = "Settings", .kind = CLI_SECTION},
    {.name = "rank", .kind = CLI_INT, .at = AT(rank), .value = "N", .min = 1, .max = 65536, .about = "rank of the pairs"},
    {.name = "alpha", .kind = CLI_NUMBER, .at = AT(reading.alpha), .value = "X", .max = 1e30, .flags = CLI_ABOVE, .about = "alpha"},
    {.name = "scale",
     .kind = CLI_NUMBER,
     .at = AT(scale),
     .value = "S",
     .max = 1e30,
     .flags = CLI_ABOVE,
     .help = "without --adapter: two of the three",
     .about = "s, from which rank or alpha follows"},
    {.name = "policy", .kind = CLI_CHOICE, .at = AT(policy), .value = "standard|rslora", .help = "s = alpha/rank or alpha/√rank"},
    {.name = "lr", .kind = CLI_NUMBER, .at = AT(lr), .value = "X", .max = 1e9, .flags = CLI_ABOVE, .about = "learning rate (of A)"},
    {.name = "lr-ratio",
     .kind = CLI_NUMBER,
     .at = AT(lr_ratio),
     .value = "X",
     .initial = "1",
     .max = 1e9,
     .flags = CLI_ABOVE,
     .help = "rate of A; B learns at ratio times it (LoRA+)",
     .about = "B learns at ratio times the rate of A (LoRA+)"},
    {.name = "optimizer", .kind = CLI_CHOICE, .at = AT(optimizer), .value = "adamw|sgd", .help = "what is equal depends on it"},
    {.name = "to-rank", .kind = CLI_INT, .at = AT(to_rank), .value = "N", .min = 1, .max = 65536, .about = "another rank"},
    {.name = "keep",
     .kind = CLI_CHOICE,
     .at = AT(keep),
     .value = "s|rslora|s-lr",
     .help = "another rank, and what it keeps",
     .about = "what another rank keeps"},
    {0},
};

/* ---- the table ------------------------------------------------------------------------------------------------- */
static void print_recipe(const char *what, const ar_recipe *r) {
    printf("%-12s %6d %10.6g %10s %10.6g", what, r->rank, r->alpha, ar_policy_name(r->policy), r->scale);
    if (r->lr > 0.0) printf(" %10.6g %10.6g %10.6g", r->lr, r->lr * r->lr_ratio, r->scale * r->lr);
    putchar('\n');
}

static void print_settings(const advise_result *r) {
    const ar_recipe *to = &r->advice.recipe;
    printf("%-12s %6s %10s %10s %10s", "", "rank", "alpha", "policy", "s");
    if (to->lr > 0.0) printf(" %10s %10s %11s", "lr of A", "lr of B", "s·lr"); /* the dot takes two bytes */
    putchar('\n');
    print_recipe(r->moved ? "now" : "settings", r->moved ? &r->from : to);
    if (!r->moved) return;
    print_recipe("then", to);
    printf("kept: %s; ", r->keep == AR_KEEP_SCALE ? "s" : r->keep == AR_KEEP_RSLORA ? "s·√rank" : "alpha and s·lr");
    printf("s is %.6g times what it was, s·lr %.6g times\n", to->scale / r->from.scale, cli_advise_change(r));
    if (r->keep == AR_KEEP_SCALE_LR) puts("both rates change, A's too: no two ranks train alike, and these less than with s kept");
}

static void print_groups(const advise_result *r) {
    if (r->group_count < 2) return;
    printf("\nThe sites of this adapter differ; what follows is for the first line.\n%6s %6s %10s %10s %10s\n", "sites", "rank", "alpha",
           "policy", "s");
    for (int i = 0; i < r->group_count; i++) {
        const ar_recipe_group *g = &r->groups[i];
        printf("%6d %6d %10.6g %10s %10.6g\n", g->sites, g->rank, g->alpha, ar_policy_name(g->policy), g->scale);
    }
}

static void print_advice(const advise_result *r) {
    const ar_advice *a = &r->advice;
    bool sgd = a->recipe.optimizer == AR_OPTIMIZER_SGD;
    double ratio = ar_recipe_ratio(&a->recipe);
    print_settings(r);
    print_groups(r);
    putchar('\n');
    for (int i = 0; i < a->convention_count; i++) printf("recipe: %s\n", a->conventions[i].text);
    if (a->convention_count == 0) puts("recipe: none of the common ones");
    printf("under %s alpha amounts to a LoRA+ ratio of %.6g: s = 1 with B at %.6g times A's rate trains the same\n", sgd ? "SGD" : "AdamW",
           ratio, ratio);
    puts("\nThe same in other tools:");
    for (int i = 0; i < AR_ADVICE_TOOLS; i++) {
        const ar_advice_tool *t = &a->tools[i];
        printf("  %-14s %s\n", t->title, t->text);
        for (int j = 0; j < t->note_count; j++) printf("  %-14s   %s\n", "", t->notes[j]);
    }
    puts("\nEqual under these assumptions:");
    for (int i = 0; i < a->assumption_count; i++) printf("  %s\n", a->assumptions[i].text);
}

/* ---- input ----------------------------------------------------------------------------------------------------- */
/* What is given beside an adapter has to be what it has. */
static int check_given(cli *c, const cli_args *args, const ar_recipe *r) {
    const struct values *v = args->values;
    if (cli_given(args, "rank") && v->rank != r->rank)
        return cli_fail_usage(c, "--rank: found %d, the adapter has %d; leave it out, or take --to-rank", (int)v->rank, r->rank);
    if (cli_given(args, "alpha") && v->reading.alpha != r->alpha)
        return cli_fail_usage(c, "--alpha: found %g, the adapter has %g; leave it out", v->reading.alpha, r->alpha);
    if (cli_given(args, "scale") && v->scale != r->scale)
        return cli_fail_usage(c, "--scale: found %g, the adapter has %g; leave it out", v->scale, r->scale);
    if (cli_given(args, "policy") && (ar_policy)v->policy != r->policy)
        return cli_fail_usage(c, "--policy: found %s, the adapter has %s; leave it out", ar_policy_name((ar_policy)v->policy),
                              ar_policy_name(r->policy));
    return CLI_OK;
}

static int read_adapter(ar_recipe *out, advise_result *r, cli *c, const cli_args *args) {
    const struct values *v = args->values;
    ar_adapter *ad;
    ar_error err;
    int code = cli_adapter_open(&ad, c, args, v->adapter);
    if (code) return code;
    ar_status s = ar_recipe_from_adapter(out, &r->groups, &r->group_count, ad, &err);
    ar_adapter_free(ad);
    return s ? cli_fail(c, &err) : check_given(c, args, out);
}

static int read_recipe(ar_recipe *out, advise_result *r, cli *c, const cli_args *args) {
    const struct values *v = args->values;
    ar_error err;
    int code = CLI_OK;
    *out = (ar_recipe){.rank = (int)v->rank, .alpha = v->reading.alpha, .scale = v->scale, .policy = (ar_policy)v->policy};
    if (v->adapter && (code = read_adapter(out, r, c, args))) return code;
    if (v->lr > 0.0) out->lr = v->lr;
    out->lr_ratio = v->lr_ratio;
    out->optimizer = (ar_optimizer)v->optimizer;
    return v->adapter || !ar_recipe_solve(out, &err) ? CLI_OK : cli_fail(c, &err);
}

static int advise(advise_result *r, cli *c, const cli_args *args) {
    const struct values *v = args->values;
    ar_recipe recipe;
    ar_error err;
    if (cli_given(args, "keep") && !v->to_rank) return cli_fail_usage(c, "--keep: wanted --to-rank with it");
    if (!v->adapter && (v->reading.trust || v->reading.model || v->reading.heads))
        return cli_fail_usage(c, "--%s: wanted --adapter with it", v->reading.trust ? "trust" : v->reading.model ? "model" : "heads");
    int code = read_recipe(&recipe, r, c, args);
    if (code) return code;
    r->moved = v->to_rank > 0;
    r->from = recipe;
    r->keep = (ar_keep)v->keep;
    if (r->moved && ar_recipe_to_rank(&recipe, &r->from, (int)v->to_rank, r->keep, &err)) return cli_fail(c, &err);
    return ar_advise(&r->advice, &recipe, &err) ? cli_fail(c, &err) : CLI_OK;
}

static int run(cli *c, const cli_args *args) {
    advise_result r = {.group_count = 0};
    int code = advise(&r, c, args);
    if (!code) {
        for (int i = 0; i < r.advice.warning_count; i++) cli_log(c, AR_LOG_WARNING, r.advice.warnings[i].text);
        if (c->json) {
            code = cli_print_json(c, cli_advise_json(&r));
        } else {
            print_advice(&r);
            code = cli_finish(c);
        }
    }
    free(r.groups);
    return code;
}

const cli_command cli_advise = {
    .name = "advise",
    .summary = "Says the same training in other tools' settings, or at another rank.",
    .usage = "alphar advise (--rank N --alpha X | --adapter PATH) [--lr X] [--to-rank N]",
    .example = "alphar advise --rank 16 --alpha 32 --lr 2e-4 --to-rank 64 --keep s",
    .options = options,
    .shared = cli_adapter_options,
    .values_size = sizeof(struct values),
    .run = run,
};
