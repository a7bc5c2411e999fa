/* alphar diff: how far apart two adapters' updates are, in whatever formats they stand. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "adapters.h"
#include "commands.h"
#include "session.h"

struct values {
    struct adapter_values adapter;
    double tolerance;
    bool all;
};
#define AT(member) offsetof(struct values, member)

static cli_option options[] = {
    CLI_ADAPTER_NOISE(AT),
    {.name = "tolerance",
     .kind = CLI_NUMBER,
     .at = AT(tolerance),
     .value = "T",
     .initial = "1e-6",
     .min = 0,
     .max = 1e30,
     .help = "exit 1 where a site is further apart"},
    {.name = "all", .kind = CLI_FLAG, .at = AT(all), .help = "every site in the table, not the worst 20"},
    {0},
};

enum { SHOWN = 20 };

static json_t *names_json(const char *const *names, size_t count) {
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++) json_array_append_new(list, json_string(names[i]));
    return list;
}

static json_t *site_json(const ar_site_difference *x) {
    return json_pack("{s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "name", x->name, "relative", cli_json_real(x->relative), "max_abs",
                     cli_json_real(x->max_abs), "cosine", cli_json_real(x->cosine), "factor", cli_json_real(x->factor), "norm_noise",
                     cli_json_real(x->norm_noise), "over_noise", cli_json_real(x->over_noise), "over_noise_a",
                     cli_json_real(x->over_noise_a), "over_noise_b", cli_json_real(x->over_noise_b));
}

static json_t *to_json(const ar_difference *d) {
    json_t *sites = json_array();
    for (size_t i = 0; i < d->count; i++) json_array_append_new(sites, site_json(&d->sites[i]));
    return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:s, s:s, s:o}", "sites", sites, "max_relative", cli_json_real(d->max_relative),
                     "only_in_a", names_json(d->only_in_a, d->only_in_a_count), "only_in_b", names_json(d->only_in_b, d->only_in_b_count),
                     "cosine", cli_json_real(d->cosine), "factor", cli_json_real(d->factor), "code", d->code, "conclusion", d->conclusion,
                     "over_noise", cli_json_noise(&d->over_noise));
}

static int by_distance(const void *a, const void *b) {
    double x = ((const ar_site_difference *)a)->relative, y = ((const ar_site_difference *)b)->relative;
    return (x < y) - (x > y);
}

static void print_names(const char *which, const char *const *names, size_t count, bool all) {
    size_t shown = all || count <= SHOWN ? count : SHOWN;
    for (size_t i = 0; i < shown; i++) printf("only in the %s: %s\n", which, names[i]);
    if (shown < count) printf("… and %zu more only in the %s (--all shows them)\n", count - shown, which);
}

static void print_site(const ar_site_difference *x, bool noise) {
    char over[32] = "-";
    if (!isnan(x->over_noise)) snprintf(over, sizeof over, "%.3g", x->over_noise);
    if (noise) printf("%10s ", over);
    printf("%12.3e %12.3e %8.5f %10.4g  %s\n", x->relative, x->max_abs, x->cosine, x->factor, x->name);
}

static void print_table(ar_difference *d, bool all, bool noise) {
    size_t shown = all || d->count <= SHOWN ? d->count : SHOWN;
    qsort(d->sites, d->count, sizeof *d->sites, by_distance);
    if (d->count && noise) printf("%10s ", "by noise");
    if (d->count) printf("%12s %12s %8s %10s  site\n", "relative", "largest", "cosine", "factor");
    for (size_t i = 0; i < shown; i++) print_site(&d->sites[i], noise);
    if (shown < d->count) printf("… and %zu nearer ones (--all shows them)\n", d->count - shown);
    print_names("first", d->only_in_a, d->only_in_a_count, all);
    print_names("second", d->only_in_b, d->only_in_b_count, all);
    printf("%zu sites in both, s·B·A apart by at most %.3e (relative)\n", d->count, d->max_relative);
    if (noise) cli_print_noise("their difference", &d->over_noise);
    printf("%s\n", d->conclusion);
}

static int show(cli *c, const struct values *v, ar_difference *d, bool noise) {
    bool apart = !(d->max_relative <= v->tolerance) || d->only_in_a_count || d->only_in_b_count;
    int code;
    if (c->json) {
        code = cli_print_json(c, to_json(d));
    } else {
        print_table(d, v->all, noise);
        code = cli_finish(c);
    }
    return code == CLI_OK && apart ? CLI_FAILED : code;
}

static int diff(cli *c, const cli_args *args, ar_adapter *a, const ar_runtime *rt) {
    ar_adapter *b;
    ar_difference d;
    ar_noise_options o;
    ar_error err;
    bool noise = cli_adapter_noise(&o, args);
    int code = cli_adapter_open(&b, c, args, args->positional[1]);
    if (code) return code;
    ar_status s = ar_adapter_diff(&d, a, b, rt, &err);
    if (!s && noise) s = ar_difference_add_noise(&d, a, rt, &o, &err);
    code = s ? cli_fail(c, &err) : show(c, args->values, &d, noise);
    ar_difference_release(&d);
    ar_adapter_free(b);
    return code;
}

static int run(cli *c, const cli_args *args) {
    int code = cli_need_positional(c, args, 2);
    if (!code) code = cli_adapter_check_noise(c, args);
    return code ? code : cli_with_adapter(c, args, diff);
}

const cli_command cli_diff = {
    .name = "diff",
    .summary = "Compares the updates of two adapters, whatever their formats.",
    .usage = "alphar diff A B [--model BASE [--quantize TYPE | --original DIR]] [--tolerance T]",
    .example = "alphar diff my-adapter my-adapter.gguf --model demo/base",
    .options = options,
    .borrows = options,
    .shared = cli_adapter_options,
    .values_size = sizeof(struct values),
    .positional_count = 2,
    .run = run,
};
