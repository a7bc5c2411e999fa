/* alphar merge: adapters into the weights of their base. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "alphar/algebra.h"
#include "commands.h"
#include "interrupt.h"
#include "session.h"

struct values {
    struct session_values session;
    const char *out;
    const char *dtype;
    double alpha, scale;
    int64_t check, rescue;
    bool overwrite, all;
};
#define AT(member) offsetof(struct values, member)

enum { ROWS = 20, WORTH_SHOWING = 100000000 };

static const cli_option options[] = {
    {.name = "out",
     .kind = CLI_STRING,
     .at = AT(out),
     .value = "DIR|FILE.gguf",
     .flags = CLI_REQUIRED,
     .about = "the merged folder or file"},
    {.name = "overwrite",
     .kind = CLI_FLAG,
     .at = AT(overwrite),
     .help = "the merged folder; replace an earlier merge there",
     .about = "replace an earlier merge there"},
    {.name = "dtype",
     .kind = CLI_STRING,
     .at = AT(dtype),
     .value = "TYPE",
     .help = "f32, f16, bf16; of a GGUF's adapted also q8_0, q4_k, …"},
    {.name = "rescue", .kind = CLI_INT, .at = AT(rescue), .value = "N", .max = 1000000, .help = "GGUF: f16 for the N sites that lost most"},
    {.name = "alpha", .kind = CLI_NUMBER, .at = AT(alpha), .value = "X", .about = "another alpha"},
    {.name = "scale",
     .kind = CLI_NUMBER,
     .at = AT(scale),
     .value = "S",
     .help = "another strength than the adapter's",
     .about = "another s"},
    {.name = "check", .kind = CLI_INT, .at = AT(check), .value = "N", .max = 1000, .help = "then compare both on N random prompts"},
    {.name = "all", .kind = CLI_FLAG, .at = AT(all), .help = "list every site, not the 20 that lost most"},
    {0},
};

static bool show(void *user, uint64_t done, uint64_t total) {
    cli *c = user;
    if (total >= WORTH_SHOWING)
        cli_progress_show(&c->progress, done == total, "merging  %.2f of %.2f GB", (double)done / 1e9, (double)total / 1e9);
    return !cli_interrupted(NULL);
}

static int by_survival(const void *a, const void *b) {
    const ar_merge_site *x = a, *y = b;
    if (x->survival != y->survival) return x->survival < y->survival ? -1 : 1;
    return strverscmp(x->name, y->name);
}

static json_t *to_json(const char *out, const ar_merge_result *r, const ar_session_difference *check) {
    json_t *sites = json_array();
    for (size_t i = 0; i < r->count; i++)
        json_array_append_new(sites,
                              json_pack("{s:s, s:o, s:s, s:b}", "name", r->sites[i].name, "survival", cli_json_real(r->sites[i].survival),
                                        "type", r->sites[i].type, "rescued", r->sites[i].is_rescued));
    json_t *root = json_array_size(sites) == r->count
                       ? json_pack("{s:s, s:o, s:o, s:I, s:b}", "out", out, "sites", sites, "min_survival", cli_json_real(r->min_survival),
                                   "replaced", (json_int_t)r->replaced, "untied", r->untied)
                       : NULL;
    if (root && check->prompts)
        json_object_set_new(root, "check",
                            json_pack("{s:i, s:o, s:o}", "prompts", check->prompts, "max_logprob_difference", cli_json_real(check->largest),
                                      "mean", cli_json_real(check->mean)));
    return root;
}

static void print_table(const char *out, const ar_merge_result *r, const ar_session_difference *check, bool all) {
    size_t rows = all || r->count < ROWS ? r->count : ROWS;
    if (rows) printf("%10s  %s\n", "survival", "site");
    for (size_t i = 0; i < rows; i++)
        printf("%10.6f  %s%s%s%s\n", r->sites[i].survival, r->sites[i].name, r->sites[i].is_zero ? " (no update)" : "",
               r->sites[i].is_rescued ? ", rescued in " : "", r->sites[i].is_rescued ? r->sites[i].type : "");
    if (rows < r->count) printf("… and %zu that survive better (--all shows them)\n", r->count - rows);
    printf("%s: %zu site%s merged, survival at least %.6f", out, r->count, r->count == 1 ? "" : "s", r->min_survival);
    if (r->replaced) printf("; %zu tensor%s replaced whole", r->replaced, r->replaced == 1 ? "" : "s");
    if (r->untied) printf("; embedding and head are two tensors now");
    putchar('\n');
    if (check->prompts)
        printf("check: %d prompts, log-probabilities differ by at most %.3g, %.3g on average\n", check->prompts, check->largest,
               check->mean);
}

static int tell(cli *c, const struct values *v, ar_merge_result *r, const ar_session_difference *check) {
    if (c->json) return cli_print_json(c, to_json(v->out, r, check));
    cli_progress_end(&c->progress);
    if (r->count) qsort(r->sites, r->count, sizeof *r->sites, by_survival);
    print_table(v->out, r, check, v->all);
    return cli_finish(c);
}

static ar_status check_merged(ar_session_difference *out, const char *merged, const ar_runtime *rt, ar_session *before, int prompts,
                              uint64_t seed, ar_error *err) {
    ar_session_options o = {.model = merged};
    ar_session *after;
    ar_status s = ar_session_open(&after, rt, &o, err);
    if (s) return s;
    s = ar_sessions_compare(out, before, after, prompts, seed, err);
    ar_session_free(after);
    return s;
}

/* before: the base with its adapters, for the check; NULL: none is wanted. */
static int merge(cli *c, const struct values *v, const ar_merge_options *o, const ar_runtime *rt, ar_session *before, uint64_t seed) {
    ar_merge_result r;
    ar_session_difference check = {0};
    ar_error err;
    int code;
    if (ar_merge(&r, rt, o, &err) || (before && check_merged(&check, o->out, rt, before, (int)v->check, seed, &err)))
        code = cli_fail(c, &err);
    else
        code = tell(c, v, &r, &check);
    ar_merge_result_release(&r);
    return code;
}

static int run(cli *c, const cli_args *args) {
    const struct values *v = args->values;
    ar_merge_options o = {.model = v->session.model,
                          .adapters = v->session.adapter.items,
                          .adapter_count = (int)v->session.adapter.count,
                          .adapter_options = {.trust = (ar_trust)v->session.trust, .log = cli_log, .log_user = c},
                          .has_scale = cli_given(args, "scale"),
                          .has_alpha = cli_given(args, "alpha"),
                          .scale = v->scale,
                          .alpha = v->alpha,
                          .out = v->out,
                          .dtype = v->dtype,
                          .rescue = (int)v->rescue,
                          .overwrite = v->overwrite,
                          .on_progress = show,
                          .user = c};
    ar_session_options so = {.has_scale = o.has_scale, .has_alpha = o.has_alpha, .scale = o.scale, .alpha = o.alpha};
    ar_session *before = NULL;
    ar_runtime *rt;
    if (!o.adapter_count) return cli_fail_usage(c, "--adapter is missing, wanted what is to be merged");
    if (o.has_alpha && o.has_scale) return cli_fail_usage(c, "found --alpha and --scale, wanted one of them");
    if (o.has_alpha) o.adapter_options.has_alpha = true;
    o.adapter_options.alpha = o.alpha;
    int code = v->check ? cli_session_open(&before, &rt, c, args, &so) : cli_runtime_open(&rt, c, args, AR_COMPUTE_F32, NULL);
    if (code) return code;
    code = merge(c, v, &o, rt, before, (uint64_t)cli_common_of(args)->seed);
    cli_session_close(before, rt);
    return code;
}

const cli_command cli_merge = {
    .name = "merge",
    .summary = "Merges adapters into the weights of their base, and says what rounding ate.",
    .usage = "alphar merge --model BASE --adapter PATH[:X]… --out DIR|FILE.gguf [options]",
    .example = "alphar merge --model demo/base --adapter my-adapter --out merged --check 4",
    .options = options,
    .shared = cli_session_options,
    .values_size = sizeof(struct values),
    .finishes_step = true,
    .run = run,
};
