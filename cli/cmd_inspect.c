/* alphar inspect: what an adapter is, site by site, and what is odd about it. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "adapters.h"
#include "commands.h"
#include "session.h"

struct values {
    struct adapter_values adapter;
    bool all;
};

#define AT(member) offsetof(struct values, member)

static cli_option options[] = {
    CLI_ADAPTER_NOISE(AT),
    {.name = "alpha", .kind = CLI_NUMBER, .at = offsetof(struct adapter_values, alpha), .value = "X", .help = "where the file has none"},
    {.name = "all", .kind = CLI_FLAG, .at = offsetof(struct values, all), .help = "every site in the table, not the strongest 20"},
    {0},
};

enum { SHOWN = 20 };

static json_t *site_json(const ar_site_figures *f) {
    const ar_site *s = &f->site;
    json_t *figures =
        json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:i, s:i}", "norm_a", cli_json_real(f->norm_a), "norm_b", cli_json_real(f->norm_b),
                  "norm_update", cli_json_real(f->norm_update), "norm_weight", cli_json_real(f->norm_weight), "strength",
                  cli_json_real(f->strength), "stable_rank", cli_json_real(f->stable_rank), "rank_90", f->rank_90, "rank_99", f->rank_99);
    json_t *noise = json_pack("{s:o, s:o}", "norm_noise", cli_json_real(f->norm_noise), "over_noise", cli_json_real(f->over_noise));
    json_t *out =
        json_pack("{s:s, s:i, s:o, s:s, s:o, s:b, s:b, s:[I, I]}", "name", s->name, "rank", s->rank, "alpha", cli_json_real(s->alpha),
                  "policy", ar_policy_name(s->policy), "scale", cli_json_real(s->scale), "dora", s->dora, "embedding", s->embedding,
                  "shape", (json_int_t)(s->embedding ? s->n_in : s->n_out), (json_int_t)(s->embedding ? s->n_out : s->n_in));
    if (out && figures) json_object_update(out, figures);
    if (out && noise) json_object_update(out, noise);
    json_decref(figures);
    json_decref(noise);
    return out;
}

static json_t *total_json(const ar_inspection *x, const ar_adapter *ad) {
    return json_pack("{s:I, s:o, s:o, s:o, s:o, s:o, s:i, s:i, s:i, s:o}", "sites", (json_int_t)x->count, "parameters",
                     json_integer((json_int_t)x->parameters), "norm_update", cli_json_real(x->norm_update), "strength",
                     cli_json_real(x->strength), "scale_min", cli_json_real(x->scale_min), "scale_max", cli_json_real(x->scale_max),
                     "rank_min", x->rank_min, "rank_max", x->rank_max, "whole_tensors", ar_adapter_whole_count(ad), "over_noise",
                     cli_json_noise(&x->over_noise));
}

static json_t *to_json(const ar_inspection *x, const ar_adapter *ad) {
    json_t *sites = json_array(), *warnings = json_array();
    for (size_t i = 0; i < x->count; i++) json_array_append_new(sites, site_json(&x->sites[i]));
    for (size_t i = 0; i < x->warning_count; i++)
        json_array_append_new(warnings, json_pack("{s:s, s:s}", "code", x->warnings[i].code, "text", x->warnings[i].text));
    const char *base = ar_adapter_base(ad);
    return json_pack("{s:s, s:o, s:o, s:o, s:o}", "format", ar_adapter_format(ad), "base", base ? json_string(base) : json_null(), "sites",
                     sites, "total", total_json(x, ad), "warnings", warnings);
}

static double strength_of(const ar_site_figures *f) { return isnan(f->strength) ? f->norm_update : f->strength; }

static int by_strength(const void *a, const void *b) {
    double x = strength_of(a), y = strength_of(b);
    return (x < y) - (x > y);
}

static void print_site(const ar_site_figures *f, bool noise) {
    char strength[32] = "-", over[32] = "-";
    if (!isnan(f->over_noise)) snprintf(over, sizeof over, "%.3g", f->over_noise);
    if (noise) printf("%10s ", over);
    if (!isnan(f->strength)) snprintf(strength, sizeof strength, "%.3e", f->strength);
    printf("%10s %10.4g %6d %9.6g %9.4g %8.2f %4d %4d  %s%s%s\n", strength, f->norm_update, f->site.rank, f->site.alpha, f->site.scale,
           f->stable_rank, f->rank_90, f->rank_99, f->site.name, f->site.dora ? " (DoRA)" : "",
           f->site.policy == AR_POLICY_RSLORA ? " (rslora)" : "");
}

static void print_table(ar_inspection *x, const ar_adapter *ad, bool all, bool noise) {
    const char *base = ar_adapter_base(ad);
    size_t shown = all || x->count <= SHOWN ? x->count : SHOWN;
    qsort(x->sites, x->count, sizeof *x->sites, by_strength);
    printf("%s adapter, base %s\n", ar_adapter_format(ad), base ? base : "not named");
    if (x->count && noise) printf("%10s ", "by noise");
    if (x->count) printf("%10s %10s %6s %9s %9s %8s %4s %4s  site\n", "strength", "|sBA|", "rank", "alpha", "s", "stable", "r90", "r99");
    for (size_t i = 0; i < shown; i++) print_site(&x->sites[i], noise);
    if (shown < x->count) printf("… and %zu weaker ones (--all shows them)\n", x->count - shown);
    printf("%zu site%s, ", x->count, x->count == 1 ? "" : "s");
    printf(x->parameters < 1e5 ? "%.0f weights" : "%.4g million weights", x->parameters < 1e5 ? x->parameters : x->parameters / 1e6);
    printf(", rank %d", x->rank_min);
    if (x->rank_max != x->rank_min) printf(" to %d", x->rank_max);
    printf(", s %.4g", x->scale_min);
    if (x->scale_max != x->scale_min) printf(" to %.4g", x->scale_max);
    printf(", |sBA| %.4g", x->norm_update);
    if (!isnan(x->strength)) printf(", mean strength %.3e", x->strength);
    if (ar_adapter_whole_count(ad)) printf(", %d tensors saved whole", ar_adapter_whole_count(ad));
    putchar('\n');
    if (noise) cli_print_noise("the update", &x->over_noise);
    for (size_t i = 0; i < x->warning_count; i++) printf("warning [%s]: %s\n", x->warnings[i].code, x->warnings[i].text);
}

static int inspect(cli *c, const cli_args *args, ar_adapter *ad, const ar_runtime *rt) {
    const struct values *v = args->values;
    ar_inspection x;
    ar_noise_options o;
    ar_error err;
    bool noise = cli_adapter_noise(&o, args);
    int code;
    if (ar_adapter_inspect(&x, ad, rt, v->adapter.model, &err)) return cli_fail(c, &err);
    if (noise && ar_inspection_add_noise(&x, ad, rt, &o, &err)) {
        code = cli_fail(c, &err);
    } else if (c->json) {
        code = cli_print_json(c, to_json(&x, ad));
    } else {
        print_table(&x, ad, v->all, noise);
        code = cli_finish(c);
    }
    ar_inspection_release(&x);
    return code;
}

static int run(cli *c, const cli_args *args) {
    int code = cli_need_positional(c, args, 1);
    if (!code) code = cli_adapter_check_noise(c, args);
    return code ? code : cli_with_adapter(c, args, inspect);
}

const cli_command cli_inspect = {
    .name = "inspect",
    .summary = "Shows an adapter site by site, and what is odd about it.",
    .usage = "alphar inspect ADAPTER [--model BASE [--quantize TYPE | --original DIR]]",
    .example = "alphar inspect my-adapter --model demo/base",
    .options = options,
    .borrows = options,
    .shared = cli_adapter_options,
    .values_size = sizeof(struct values),
    .positional_count = 1,
    .run = run,
};
