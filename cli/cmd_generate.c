/* alphar generate: text that continues a prompt. */
#include <stdio.h>
#include <string.h>

#include "commands.h"
#include "lists.h"
#include "session.h"

struct values {
    struct session_values session;
    const char *prompt;
    int64_t max_tokens, top_k;
    double temperature, top_p, min_p, repeat_penalty, scale, alpha;
    cli_list stop;
};
#define AT(member) offsetof(struct values, member)

static const cli_option options[] = {
    {.name = "prompt", .kind = CLI_STRING, .at = AT(prompt), .value = "P", .flags = CLI_REQUIRED, .help = "what the text continues"},
    {.name = "max-tokens", .kind = CLI_INT, .at = AT(max_tokens), .value = "N", .initial = "128", .min = 1, .max = 1 << 24},
    {.name = "stop", .kind = CLI_LIST, .at = AT(stop), .value = "S", .help = "end after N, or before this text; repeat"},
    {.name = "temperature",
     .kind = CLI_NUMBER,
     .at = AT(temperature),
     .value = "X",
     .initial = "0",
     .max = 1e6,
     .help = "0 always takes the likeliest token"},
    {.name = "top-p", .kind = CLI_NUMBER, .at = AT(top_p), .value = "X", .initial = "1", .max = 1, .flags = CLI_ABOVE},
    {.name = "top-k", .kind = CLI_INT, .at = AT(top_k), .value = "N", .initial = "0"},
    {.name = "min-p", .kind = CLI_NUMBER, .at = AT(min_p), .value = "X", .initial = "0", .max = 1, .help = "draw from the likeliest only"},
    {.name = "repeat-penalty",
     .kind = CLI_NUMBER,
     .at = AT(repeat_penalty),
     .value = "X",
     .initial = "1",
     .max = 1e6,
     .flags = CLI_ABOVE,
     .help = "above 1: less of what was there"},
    {.name = "scale", .kind = CLI_NUMBER, .at = AT(scale), .value = "S"},
    {.name = "alpha", .kind = CLI_NUMBER, .at = AT(alpha), .value = "X", .help = "another strength of the adapter"},
    {0},
};

static bool stream(void *user, const char *text, size_t n) {
    (void)user;
    return fwrite(text, 1, n, stdout) == n && fflush(stdout) == 0;
}

static json_t *to_json(const ar_generate_result *r) {
    static const char *const stopped[] = {[AR_STOPPED_EOS] = "eos", [AR_STOPPED_LENGTH] = "length", [AR_STOPPED_STOP] = "stop"};
    return json_pack("{s:o, s:o, s:o, s:s}", "text", cli_json_text(r->text, strlen(r->text)), "ids", cli_json_ids(r->ids.id, r->ids.count),
                     "prompt_ids", cli_json_ids(r->prompt_ids.id, r->prompt_ids.count), "stopped", stopped[r->stopped]);
}

static void map_options(ar_generate_options *o, const cli *c, const struct values *v) {
    ar_generate_options_init(o);
    o->max_tokens = (int)v->max_tokens;
    o->temperature = v->temperature;
    o->top_p = v->top_p;
    o->min_p = v->min_p;
    o->top_k = (int)v->top_k;
    o->repeat_penalty = v->repeat_penalty;
    o->stops = v->stop.items;
    o->stop_count = (int)v->stop.count;
    o->seed = (uint64_t)v->session.common.seed;
    o->on_text = c->json ? NULL : stream;
}

static int run(cli *c, const cli_args *args) {
    const struct values *v = args->values;
    bool has_scale = cli_given(args, "scale"), has_alpha = cli_given(args, "alpha");
    ar_session_options so = {.has_scale = has_scale, .has_alpha = has_alpha, .scale = v->scale, .alpha = v->alpha};
    ar_generate_options o;
    ar_generate_result result = {0};
    ar_session *session;
    ar_runtime *rt;
    ar_error err;
    if (has_scale && has_alpha) return cli_fail_usage(c, "found --scale and --alpha, wanted one of them");
    int code = cli_session_open(&session, &rt, c, args, &so);
    if (code) return code;
    map_options(&o, c, v);
    if (ar_generate(&result, session, v->prompt, &o, &err)) {
        code = cli_fail(c, &err);
    } else if (c->json) {
        code = cli_print_json(c, to_json(&result));
    } else {
        putchar('\n');
        code = cli_finish(c);
    }
    ar_generate_result_release(&result);
    cli_session_close(session, rt);
    return code;
}

const cli_command cli_generate = {
    .name = "generate",
    .summary = "Continues a prompt, with or without an adapter, at any alpha.",
    .usage = "alphar generate --model FOLDER [--adapter PATH] --prompt P [--scale S | --alpha X]",
    .example = "alphar generate --model demo/base --adapter my-adapter --prompt 'Once upon' --alpha 16",
    .options = options,
    .shared = cli_session_options,
    .values_size = sizeof(struct values),
    .run = run,
};
