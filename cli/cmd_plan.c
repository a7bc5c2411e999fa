/* alphar plan: what a training would need, and whether it fits. */
#include <stdio.h>

#include "commands.h"
#include "session.h"
#include "settings.h"

struct values {
    struct train_values train;
    bool measure;
};

static const cli_option options[] = {
    {.name = "measure",
     .kind = CLI_FLAG,
     .at = offsetof(struct values, measure),
     .initial = "true",
     .flags = CLI_NEGATABLE,
     .help = "time a short run on random tokens"},
    {0},
};

static json_t *known(int64_t n) { return n > 0 ? json_integer((json_int_t)n) : json_null(); }

static json_t *outlook_json(const ar_outlook *o) {
    return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:b, s:o}", "samples", known(o->samples), "tokens", known(o->tokens), "supervised",
                     known(o->supervised), "steps", known(o->steps), "seconds", o->seconds > 0 ? cli_json_real(o->seconds) : json_null(),
                     "disk_bytes", known(o->disk_bytes), "estimated", o->lines > 0, "error", cli_json_real(o->error));
}

static json_t *to_json(const ar_plan *p) {
    json_t *all =
        json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:o, s:o, s:i, s:b, s:i, s:I, s:b}", "base_bytes", (json_int_t)p->base_bytes,
                  "adapter_bytes", (json_int_t)p->adapter_bytes, "activation_bytes", (json_int_t)p->activation_bytes, "other_bytes",
                  (json_int_t)p->other_bytes, "anonymous_bytes", (json_int_t)p->anonymous_bytes, "trainable", (json_int_t)p->trainable,
                  "parameters", (json_int_t)p->parameters, "flops_per_token", cli_json_real(p->flops_per_token), "tokens_per_second",
                  p->tokens_per_second > 0 ? cli_json_real(p->tokens_per_second) : json_null(), "micro_batch", p->micro_batch,
                  "checkpoint_layers", p->checkpoint_layers, "max_length", p->max_length, "memory", (json_int_t)p->memory, "fits", p->fits);
    json_t *outlook = outlook_json(&p->outlook);
    bool ok = all && outlook && !json_object_update(all, outlook);
    json_decref(outlook);
    if (ok) return all;
    json_decref(all);
    return NULL;
}

static void print_outlook(const ar_outlook *o) {
    ar_outlook_text text;
    ar_outlook_describe(&text, o);
    if (*text.work) printf("%s\n", text.work);
    if (*text.time) printf("%s\n", text.time);
    if (*text.advice) printf("%s\n", text.advice);
}

static void print_bytes(const char *what, int64_t bytes, const char *note) {
    bool large = bytes >= (int64_t)10 << 30;
    printf("%-22s %9.1f %s%s%s\n", what, (double)bytes / (large ? 1 << 30 : 1 << 20), large ? "GiB" : "MiB", *note ? "  " : "", note);
}

static void print_table(const ar_plan *p) {
    print_outlook(&p->outlook);
    printf("parameters %lld; trained: %lld numbers, %.3g %% of that\n", (long long)p->parameters, (long long)p->trainable,
           p->parameters ? 100.0 * (double)p->trainable / (double)p->parameters : 0);
    print_bytes("base", p->base_bytes, "mapped from its files, shared by processes");
    print_bytes("adapter", p->adapter_bytes, "parameters, gradients, optimizer state");
    print_bytes("activations", p->activation_bytes, p->checkpoint_layers ? "layers are computed again in backward" : "all layers are kept");
    print_bytes("other", p->other_bytes, "scratch, libraries, data");
    print_bytes("needed beside the base", p->anonymous_bytes, "");
    if (p->memory > 0) print_bytes("limit", p->memory, p->fits ? "it fits" : "does not fit: lower --max-length or --rank");
    printf("rows at a time %d, of up to %d tokens\n%.3g FLOP a token", p->micro_batch, p->max_length, p->flops_per_token);
    if (p->tokens_per_second > 0) printf(", about %.0f tokens/s here", p->tokens_per_second);
    putchar('\n');
}

static int run(cli *c, const cli_args *args) {
    const struct values *v = args->values;
    ar_train_options o;
    ar_plan plan;
    ar_runtime *rt;
    ar_error err;
    int code = cli_train_take(&o, c, args);
    if (code || (code = cli_runtime_open(&rt, c, args, ar_train_compute(&o)))) return code;
    if (ar_plan_training(&plan, rt, &o, v->measure, &err)) {
        code = cli_fail(c, &err);
    } else if (c->json) {
        code = cli_print_json(c, to_json(&plan));
    } else {
        print_table(&plan);
        code = cli_finish(c);
    }
    ar_runtime_free(rt);
    return code;
}

const cli_command cli_plan = {
    .name = "plan",
    .summary = "Says what a training would need in memory and time, and whether it fits.",
    .usage = "alphar plan --model FOLDER [options of train]",
    .example = "alphar plan --model demo/base --rank 64 --max-length 512 --memory 2G",
    .options = options,
    .shared = cli_train_options,
    .values_size = sizeof(struct values),
    .run = run,
};
