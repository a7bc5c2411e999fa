/* alphar bench: what this machine reaches with a base, and what it could. */
#include <stdio.h>

#include "alphar/bench.h"
#include "commands.h"
#include "interrupt.h"
#include "session.h"

struct values {
    cli_common common;
    const char *model;
    bool config_only;
    int64_t rank, tokens, rounds;
    int compute;
};
#define AT(member) offsetof(struct values, member)

static const cli_option options[] = {
    {.name = "model",
     .kind = CLI_STRING,
     .at = AT(model),
     .value = "FOLDER",
     .flags = CLI_REQUIRED,
     .help = "the base: a folder or a .gguf file"},
    {.name = "config-only", .kind = CLI_FLAG, .at = AT(config_only), .help = "random weights, in $TMPDIR; a config.json will do"},
    {.name = "rank",
     .kind = CLI_INT,
     .at = AT(rank),
     .value = "N",
     .initial = "16",
     .min = 1,
     .max = 65536,
     .help = "of the adapter, on all linears"},
    {.name = "tokens",
     .kind = CLI_INT,
     .at = AT(tokens),
     .value = "N",
     .initial = "512",
     .min = 2,
     .max = 1 << 24,
     .help = "in a training step"},
    {.name = "rounds",
     .kind = CLI_INT,
     .at = AT(rounds),
     .value = "N",
     .initial = "5",
     .min = 1,
     .max = 999,
     .help = "everything in turns, so often; medians are printed"},
    {.name = "compute", .kind = CLI_CHOICE, .at = AT(compute), .value = "auto|f32|bf16", .help = "arithmetic of the products with W"},
    {0},
};

static json_t *range(const ar_bench_range *r) {
    return json_pack("{s:o, s:o, s:o}", "median", cli_json_real(r->median), "least", cli_json_real(r->least), "most",
                     cli_json_real(r->most));
}

static json_t *to_json(const ar_bench_result *r, const struct values *v, const ar_runtime *rt) {
    json_t *machine = json_pack("{s:s, s:s, s:i, s:o, s:s, s:s, s:o}", "cpu", ar_runtime_isa(rt), "backends", ar_runtime_backends(rt),
                                "threads", r->threads, "product_flops", range(&r->product), "product_backend", r->product_backend,
                                "product_dtype", r->product_dtype, "reading_bytes", range(&r->reading));
    json_t *train =
        json_pack("{s:i, s:s, s:I, s:I, s:o, s:o, s:o, s:o, s:b, s:I, s:I, s:I}", "rank", r->rank, "compute",
                  ar_runtime_compute(rt) == AR_COMPUTE_BF16 ? "bf16" : "f32", "tokens", (json_int_t)r->tokens, "supervised",
                  (json_int_t)r->supervised, "start_seconds", range(&r->start), "tokens_per_second", range(&r->train), "flops_per_step",
                  cli_json_real(r->step_flops), "mfu", range(&r->mfu), "checkpoint_layers", r->checkpoint_layers, "anonymous_bytes",
                  (json_int_t)r->anonymous_bytes, "file_bytes", (json_int_t)r->file_bytes, "peak_bytes", (json_int_t)r->peak_bytes);
    json_t *plan =
        json_pack("{s:o, s:I, s:I}", "predicted_over_measured", range(&r->plan_train), "anonymous_bytes",
                  (json_int_t)r->plan_anonymous_bytes, "anonymous_error_bytes", (json_int_t)(r->plan_anonymous_bytes - r->anonymous_bytes));
    json_t *decode = json_pack("{s:o, s:I, s:o}", "tokens_per_second", range(&r->decode), "weight_bytes", (json_int_t)r->weight_bytes,
                               "share_of_reading", range(&r->decode_share));
    return json_pack("{s:s, s:I, s:i, s:o, s:o, s:o, s:o}", "model", v->model, "parameters", (json_int_t)r->parameters, "rounds", r->rounds,
                     "machine", machine, "train", train, "plan", plan, "decode", decode);
}

static void print_range(const char *what, const ar_bench_range *r, double unit, const char *format, const char *note) {
    char median[32], least[32], most[32];
    snprintf(median, sizeof median, format, r->median * unit);
    snprintf(least, sizeof least, format, r->least * unit);
    snprintf(most, sizeof most, format, r->most * unit);
    printf("%-10s %9s  (%s … %s)  %s\n", what, median, least, most, note);
}

static void print_bytes(const char *what, int64_t bytes, const char *note) {
    printf("%-10s %9.1f  MiB %s\n", what, (double)bytes / (1 << 20), note);
}

static void print_table(const ar_bench_result *r) {
    char note[160];
    printf("%lld parameters, rank %d, %lld tokens a step (%lld supervised), %d threads; medians of %d rounds (least … most)\n",
           (long long)r->parameters, r->rank, (long long)r->tokens, (long long)r->supervised, r->threads, r->rounds);
    snprintf(note, sizeof note, "GFLOP/s, the best product here: %s, weights in %s", r->product_backend, r->product_dtype);
    print_range("products", &r->product, 1e-9, "%.1f", note);
    print_range("reading", &r->reading, 1e-9, "%.1f", "GB/s from memory");
    print_range("start", &r->start, 1.0, "%.3f", "s from opening the files to the first layer");
    print_range("training", &r->train, 1.0, "%.1f",
                r->checkpoint_layers ? "tokens/s, parts of layers formed again in backward" : "tokens/s");
    snprintf(note, sizeof note, "%% of the product rate (MFU), at %.4g useful FLOP a token",
             r->tokens ? r->step_flops / (double)r->tokens : 0.0);
    print_range("", &r->mfu, 100.0, "%.1f", note);
    print_bytes("memory", r->anonymous_bytes, "its own (RssAnon)");
    print_bytes("", r->file_bytes, "pages of mapped files (RssFile), which other processes share");
    print_bytes("", r->peak_bytes, "most of both together (VmHWM)");
    print_range("plan", &r->plan_train, 1.0, "%.2f", "predicted tokens/s over measured");
    snprintf(note, sizeof note, "predicted, %+.1f against measured", (double)(r->plan_anonymous_bytes - r->anonymous_bytes) / (1 << 20));
    print_bytes("", r->plan_anonymous_bytes, note);
    print_range("decoding", &r->decode, 1.0, "%.1f", "tokens/s, one sequence");
    snprintf(note, sizeof note, "%% of reading its %.1f MiB of weights for every token", (double)r->weight_bytes / (1 << 20));
    print_range("", &r->decode_share, 100.0, "%.1f", note);
}

static int run(cli *c, const cli_args *args) {
    const struct values *v = args->values;
    ar_bench_options o;
    ar_bench_result result;
    ar_runtime *rt;
    ar_error err;
    static const ar_compute computes[] = {AR_COMPUTE_AUTO, AR_COMPUTE_F32, AR_COMPUTE_BF16};
    int code = cli_runtime_open(&rt, c, args, computes[v->compute], NULL);
    if (code) return code;
    ar_bench_options_init(&o);
    o.model = v->model;
    o.config_only = v->config_only;
    o.rank = (int)v->rank;
    o.tokens = (int)v->tokens;
    o.rounds = (int)v->rounds;
    o.seed = (uint64_t)v->common.seed;
    o.should_stop = cli_interrupted;
    if (ar_bench(&result, rt, &o, &err)) {
        code = cli_fail(c, &err);
    } else if (c->json) {
        code = cli_print_json(c, to_json(&result, v, rt));
    } else {
        print_table(&result);
        code = cli_finish(c);
    }
    ar_runtime_free(rt);
    return code;
}

const cli_command cli_bench = {
    .name = "bench",
    .summary = "Measures training and decoding with a base here, against what the machine can do.",
    .usage = "alphar bench --model FOLDER [--config-only] [--tokens N] [--rank N] [--rounds N]",
    .example = "alphar bench --model demo/base --tokens 256",
    .options = options,
    .values_size = sizeof(struct values),
    .finishes_step = true,
    .run = run,
};
