/* alphar plan: what a training would need, and whether it fits. */
#include <stdio.h>
#include <string.h>

#include "alphar/ranks.h"
#include "commands.h"
#include "ranks.h"
#include "session.h"
#include "settings.h"

struct values {
    struct train_values train;
    bool measure;
    int ranks;
    double link;
};

static const cli_option options[] = {
    {.name = "measure",
     .kind = CLI_FLAG,
     .at = offsetof(struct values, measure),
     .initial = "true",
     .flags = CLI_NEGATABLE,
     .about = "time a short run on random tokens"},
    {.name = "ranks",
     .kind = CLI_COUNT,
     .at = offsetof(struct values, ranks),
     .value = "N",
     .min = 1,
     .max = 65536,
     .about = "a step over N ranks, the processes of one mpirun"},
    {.name = "link",
     .kind = CLI_NUMBER,
     .at = offsetof(struct values, link),
     .value = "MBIT",
     .flags = CLI_ABOVE,
     .min = 0,
     .max = 1e9,
     .help = "a trial; on several",
     .about = "Mbit/s between ranks; else as measured under mpirun, or 1000"},
    {0},
};

static json_t *known(int64_t n) { return n > 0 ? json_integer((json_int_t)n) : json_null(); }

static json_t *outlook_json(const ar_outlook *o) {
    return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:b, s:o}", "samples", known(o->samples), "tokens", known(o->tokens), "supervised",
                     known(o->supervised), "steps", known(o->steps), "seconds", o->seconds > 0 ? cli_json_real(o->seconds) : json_null(),
                     "disk_bytes", known(o->disk_bytes), "estimated", o->lines > 0, "error", cli_json_real(o->error));
}

static json_t *ranks_json(const ar_ranks_plan *r) {
    json_t *step = r->step_seconds > 0 ? cli_json_real(r->step_seconds) : json_null();
    return json_pack("{s:i, s:I, s:I, s:o, s:o, s:o}", "ranks", r->ranks, "gradient_bytes", (json_int_t)r->gradient_bytes, "kept_bytes",
                     (json_int_t)r->kept_bytes, "link_bits", cli_json_real(r->link_bits), "carry_seconds", cli_json_real(r->carry_seconds),
                     "step_seconds", step);
}

static json_t *to_json(const ar_plan *p, const ar_ranks_plan *ranks, const char *device) {
    json_t *all = json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:o, s:o, s:i, s:b, s:i, s:i, s:i, s:I, s:b}", "device", device,
                            "base_bytes", (json_int_t)p->base_bytes, "adapter_bytes", (json_int_t)p->adapter_bytes, "activation_bytes",
                            (json_int_t)p->activation_bytes, "other_bytes", (json_int_t)p->other_bytes, "anonymous_bytes",
                            (json_int_t)p->anonymous_bytes, "trainable", (json_int_t)p->trainable, "parameters", (json_int_t)p->parameters,
                            "flops_per_token", cli_json_real(p->flops_per_token), "tokens_per_second",
                            p->tokens_per_second > 0 ? cli_json_real(p->tokens_per_second) : json_null(), "micro_batch", p->micro_batch,
                            "checkpoint_layers", p->checkpoint_layers, "layers_again", p->layers_again, "mlps_again", p->mlps_again,
                            "max_length", p->max_length, "memory", (json_int_t)p->memory, "fits", p->fits);
    json_t *outlook = outlook_json(&p->outlook);
    bool ok = all && outlook && !json_object_update(all, outlook);
    if (ok && ranks->ranks) ok = !json_object_set_new(all, "over_ranks", ranks_json(ranks));
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

/* What backward forms again of the layers. */
static void describe_again(char *text, size_t size, const ar_plan *p) {
    const char *layers = p->layers_again == 1 ? "layer" : "layers";
    if (p->layers_again && p->mlps_again)
        snprintf(text, size, "%d %s formed again in backward, the MLPs of %d more", p->layers_again, layers, p->mlps_again);
    else if (p->layers_again)
        snprintf(text, size, "%d %s formed again in backward", p->layers_again, layers);
    else if (p->mlps_again)
        snprintf(text, size, "all kept but the MLPs of %d %s", p->mlps_again, p->mlps_again == 1 ? "layer" : "layers");
    else
        snprintf(text, size, "all layers are kept");
}

/* On a device the base is there too, and what is said is its memory. */
static void print_table(const ar_plan *p, const char *device) {
    bool cpu = !strcmp(device, "cpu");
    char note[64], again[96];
    describe_again(again, sizeof again, p);
    snprintf(note, sizeof note, "on %s, as all that follows", device);
    print_outlook(&p->outlook);
    printf("parameters %lld; trained: %lld numbers, %.3g %% of that\n", (long long)p->parameters, (long long)p->trainable,
           p->parameters ? 100.0 * (double)p->trainable / (double)p->parameters : 0);
    print_bytes("base", p->base_bytes, cpu ? "mapped from its files, shared by processes" : note);
    print_bytes("adapter", p->adapter_bytes, "parameters, gradients, optimizer state");
    print_bytes("activations", p->activation_bytes, again);
    print_bytes("other", p->other_bytes, cpu ? "scratch, libraries, data" : "scratch");
    print_bytes("needed beside the base", p->anonymous_bytes, "");
    if (!cpu) print_bytes("needed in all", p->base_bytes + p->anonymous_bytes, "");
    if (p->memory > 0) print_bytes("limit", p->memory, p->fits ? "it fits" : "does not fit: lower --max-length or --rank");
    printf("rows at a time %d, of up to %d tokens\n%.3g FLOP a token", p->micro_batch, p->max_length, p->flops_per_token);
    if (p->tokens_per_second > 0) printf(", about %.0f tokens/s here", p->tokens_per_second);
    putchar('\n');
}

static void print_ranks(const ar_ranks_plan *r) {
    double mib = 1 << 20;
    printf("%d ranks: %.1f MiB of gradients each way, %.3g s at %.0f Mbit/s", r->ranks, (double)r->gradient_bytes / mib, r->carry_seconds,
           r->link_bits / 1e6);
    if (r->step_seconds > 0)
        printf("; a step of %.3g s takes at most %.3g s, %.1f times as fast", r->alone_seconds, r->step_seconds,
               r->alone_seconds / r->step_seconds);
    printf("; about %.1f MiB more memory\n", (double)r->kept_bytes / mib);
}

/* How many ranks to plan for, and over what: as asked, else those that were started; 0: nobody asked. */
static int plan_ranks(ar_ranks_plan *out, cli *c, const struct values *v, const ar_plan *plan) {
    int count = v->ranks ? v->ranks : ar_ranks_count(c->ranks) > 1 ? ar_ranks_count(c->ranks) : 0;
    double bits = 1e6 * v->link;
    ar_error err;
    *out = (ar_ranks_plan){0};
    if (v->link <= 0 && ar_ranks_measure(c->ranks, &bits, &err)) return cli_fail(c, &err);
    if (count) ar_plan_over_ranks(out, plan, count, bits > 0 ? bits : 1e9);
    return CLI_OK;
}

static int print(cli *c, const ar_plan *plan, const ar_ranks_plan *ranks, const char *device) {
    if (cli_helps(c)) return CLI_OK;
    if (c->json) return cli_print_json(c, to_json(plan, ranks, device));
    print_table(plan, device);
    if (ranks->ranks) print_ranks(ranks);
    return cli_finish(c);
}

static int run(cli *c, const cli_args *args) {
    const struct values *v = args->values;
    ar_train_options o;
    ar_plan plan;
    ar_ranks_plan ranks;
    ar_runtime *rt;
    ar_error err;
    int code = cli_train_take(&o, c, args);
    if (code || (code = cli_runtime_open(&rt, c, args, ar_train_compute(&o), o.course.device))) return code;
    if (ar_plan_training(&plan, rt, &o, v->measure, &err)) {
        code = cli_fail(c, &err);
    } else {
        code = plan_ranks(&ranks, c, v, &plan);
        if (code == CLI_OK) code = print(c, &plan, &ranks, ar_runtime_device(rt));
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
    .shares = true,
    .run = run,
};
