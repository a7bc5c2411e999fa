/* alphar generate: text that continues a prompt, or several at once. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "commands.h"
#include "lists.h"
#include "session.h"

struct values {
    struct session_values session;
    cli_list prompt;
    const char *prompts, *map, *ignore_fields;
    bool raw;
    int64_t max_tokens, top_k;
    double temperature, top_p, min_p, repeat_penalty, scale, alpha;
    cli_list stop;
};
#define AT(member) offsetof(struct values, member)

static const cli_option options[] = {
    {.name = "prompt", .kind = CLI_LIST, .at = AT(prompt), .value = "P", .about = "what the text continues"},
    {.name = "prompts",
     .kind = CLI_STRING,
     .at = AT(prompts),
     .value = "FILE.jsonl",
     .help = "what the text continues; repeat, or a file's prompts",
     .about = "a file of prompts"},
    {.name = "map",
     .kind = CLI_STRING,
     .at = AT(map),
     .value = "prompt=FIELD",
     .flags = CLI_COMMAS,
     .about = "names of fields that are known by others: prompt=FIELD,completion=FIELD"},
    {.name = "ignore-fields",
     .kind = CLI_STRING,
     .at = AT(ignore_fields),
     .value = "A,B",
     .flags = CLI_COMMAS,
     .help = "FILE's rows, read as in train",
     .about = "fields of the rows that are meant to be left out"},
    {.name = "raw", .kind = CLI_FLAG, .at = AT(raw), .help = "prompts as they stand, not in the form of training"},
    {.name = "max-tokens",
     .kind = CLI_INT,
     .at = AT(max_tokens),
     .value = "N",
     .initial = "128",
     .min = 1,
     .max = 1 << 24,
     .about = "end after N tokens"},
    {.name = "stop",
     .kind = CLI_LIST,
     .at = AT(stop),
     .value = "S",
     .help = "end after N, or before this text; repeat",
     .about = "end before this text"},
    {.name = "temperature",
     .kind = CLI_NUMBER,
     .at = AT(temperature),
     .value = "X",
     .initial = "0",
     .max = 1e6,
     .help = "0 always takes the likeliest token"},
    {.name = "top-p",
     .kind = CLI_NUMBER,
     .at = AT(top_p),
     .value = "X",
     .initial = "1",
     .max = 1,
     .flags = CLI_ABOVE,
     .about = "draw from the likeliest that add up to P"},
    {.name = "top-k", .kind = CLI_INT, .at = AT(top_k), .value = "N", .initial = "0", .about = "draw from the K likeliest"},
    {.name = "min-p",
     .kind = CLI_NUMBER,
     .at = AT(min_p),
     .value = "X",
     .initial = "0",
     .max = 1,
     .help = "draw from the likeliest only",
     .about = "draw from tokens above P times the likeliest"},
    {.name = "repeat-penalty",
     .kind = CLI_NUMBER,
     .at = AT(repeat_penalty),
     .value = "X",
     .initial = "1",
     .max = 1e6,
     .flags = CLI_ABOVE,
     .help = "above 1: less of what was there"},
    {.name = "scale", .kind = CLI_NUMBER, .at = AT(scale), .value = "S", .about = "s of every site"},
    {.name = "alpha",
     .kind = CLI_NUMBER,
     .at = AT(alpha),
     .value = "X",
     .help = "another strength of the adapter",
     .about = "alpha of every site"},
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

/* What a command that prints several texts passes through ar_generate_options.user. */
struct printing {
    cli *c;
    const char *const *prompts;
    int code;
};

/* Says which text follows: the prompt's first 60 bytes, on one line. */
static void print_heading(int index, const char *prompt) {
    enum { MOST = 60 };
    size_t n = strlen(prompt), shown = n < MOST ? n : MOST;
    while (shown < n && shown > 0 && ((unsigned char)prompt[shown] & 0xc0) == 0x80) shown--;
    printf("%s==> %d: ", index ? "\n" : "", index + 1);
    for (size_t i = 0; i < shown; i++) putchar((unsigned char)prompt[i] < 0x20 || prompt[i] == 0x7f ? ' ' : prompt[i]);
    printf("%s <==\n", shown < n ? "…" : "");
}

static bool print_result(void *user, int index, const ar_generate_result *r) {
    struct printing *p = user;
    if (p->c->json) {
        p->code = cli_print_json(p->c, to_json(r));
    } else {
        print_heading(index, p->prompts[index]);
        fwrite(r->text, 1, strlen(r->text), stdout);
        putchar('\n');
        p->code = cli_finish(p->c);
    }
    return p->code == CLI_OK;
}

static void map_options(ar_generate_options *o, const struct values *v) {
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
    o->raw = v->raw || v->prompts; /* a file's rows have their form */
}

/* One text streams as it comes. */
static int generate_one(cli *c, ar_session *session, const char *prompt, ar_generate_options *o) {
    ar_generate_result result;
    ar_error err;
    int code;
    o->on_text = c->json ? NULL : stream;
    if (ar_generate(&result, session, prompt, o, &err)) {
        code = cli_fail(c, &err);
    } else if (c->json) {
        code = cli_print_json(c, to_json(&result));
    } else {
        putchar('\n');
        code = cli_finish(c);
    }
    ar_generate_result_release(&result);
    return code;
}

static int generate_several(cli *c, ar_session *session, const char *const *prompts, int count, ar_generate_options *o) {
    struct printing printing = {.c = c, .prompts = prompts, .code = CLI_OK};
    ar_error err;
    ar_generate_result *results = calloc((size_t)count, sizeof *results);
    if (!results) return cli_fail_memory(c);
    o->on_result = print_result;
    o->user = &printing;
    if (ar_generate_batch(results, session, prompts, count, o, &err)) printing.code = cli_fail(c, &err);
    for (int i = 0; i < count; i++) ar_generate_result_release(&results[i]);
    free(results);
    return printing.code;
}

static int generate(cli *c, const struct values *v, ar_session *session, const char *const *prompts, int count) {
    ar_generate_options o;
    map_options(&o, v);
    return count == 1 ? generate_one(c, session, prompts[0], &o) : generate_several(c, session, prompts, count, &o);
}

static int load_prompts(ar_prompts *out, cli *c, const struct values *v, const char *map, const char *ignored) {
    ar_error err;
    return ar_prompts_load(out, v->prompts, map, ignored, &err) ? cli_fail(c, &err) : CLI_OK;
}

/* The rows are read as asked, else as the adapter's training read its own. */
static int load_as_trained(ar_prompts *out, cli *c, const struct values *v, const ar_session *session) {
    ar_session_form form = ar_session_trained_form(session);
    if (form.map || form.ignore_fields) cli_log(c, AR_LOG_INFO, "rows are read as in training; --map and --ignore-fields change that");
    return load_prompts(out, c, v, form.map, form.ignore_fields);
}

static int check(cli *c, const cli_args *args, const struct values *v) {
    if (!v->prompt.count == !v->prompts) return cli_fail_usage(c, "wanted --prompt, once or more, or --prompts FILE.jsonl");
    if ((v->map || v->ignore_fields) && !v->prompts) return cli_fail_usage(c, "--map and --ignore-fields: wanted --prompts with them");
    if (cli_given(args, "scale") && cli_given(args, "alpha")) return cli_fail_usage(c, "found --scale and --alpha, wanted one of them");
    return CLI_OK;
}

static int run(cli *c, const cli_args *args) {
    const struct values *v = args->values;
    bool as_trained = v->prompts && v->session.adapter.count && !v->map && !v->ignore_fields;
    ar_session_options so = {
        .has_scale = cli_given(args, "scale"), .has_alpha = cli_given(args, "alpha"), .scale = v->scale, .alpha = v->alpha};
    ar_session *session = NULL;
    ar_runtime *rt = NULL;
    ar_prompts file = {0};
    int code = check(c, args, v);
    if (!code && v->prompts && !as_trained) code = load_prompts(&file, c, v, v->map, v->ignore_fields);
    if (!code) code = cli_session_open(&session, &rt, c, args, &so);
    if (!code && as_trained) code = load_as_trained(&file, c, v, session);
    if (!code && v->prompts)
        code = generate(c, v, session, (const char *const *)file.text, file.count);
    else if (!code)
        code = generate(c, v, session, v->prompt.items, (int)v->prompt.count);
    ar_prompts_release(&file);
    if (session) cli_session_close(session, rt);
    return code;
}

const cli_command cli_generate = {
    .name = "generate",
    .summary = "Continues a prompt, or several together, with or without an adapter, at any alpha.",
    .usage = "alphar generate --model FOLDER [--adapter PATH] (--prompt P… | --prompts FILE) [--alpha X]",
    .example = "alphar generate --model demo/base --adapter my-adapter --prompt 'Once upon' --alpha 16",
    .options = options,
    .shared = cli_session_options,
    .values_size = sizeof(struct values),
    .run = run,
};
