/* alphar generate: text that continues a prompt, or several at once. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "answers.h"
#include "commands.h"
#include "lists.h"
#include "sampling.h"
#include "session.h"

struct values {
    struct session_values session;
    ar_texts prompt;
    const char *prompts, *map, *ignore_fields, *messages, *system, *out;
    bool raw, overwrite;
    struct sampling_values sampling;
    ar_texts stop;
};
#define AT(member) offsetof(struct values, member)

static cli_option options[] = {
    CLI_SESSION_QUANTIZE(AT(session.quantize)),
    {.name = "prompt", .kind = CLI_LIST, .at = AT(prompt), .value = "P", .about = "what the text continues"},
    {.name = "prompts",
     .kind = CLI_STRING,
     .at = AT(prompts),
     .value = "FILE.jsonl",
     .help = "what the text continues; repeat, or a file's prompts",
     .about = "a file of prompts"},
    {.name = "system",
     .kind = CLI_STRING,
     .at = AT(system),
     .value = "S",
     .about = "a system message: prompts are then what a user says, written by the chat template"},
    {.name = "messages",
     .kind = CLI_STRING,
     .at = AT(messages),
     .value = "FILE.json",
     .help = "a system message before it; a conversation to answer",
     .about = "a conversation to answer: a list of messages, or an object with messages and tools"},
    {.name = "out",
     .kind = CLI_STRING,
     .at = AT(out),
     .value = "FILE.jsonl",
     .about = "with --prompts: a line of JSON for each; where the file has some of the same run, those are not asked again"},
    {.name = "overwrite",
     .kind = CLI_FLAG,
     .at = AT(overwrite),
     .help = "a line for each prompt, going on where it ended",
     .about = "replace the file of --out"},
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
     .at = AT(sampling.max_tokens),
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
    CLI_SAMPLING_OPTIONS,
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
    cli_answers *answers; /* of --out; NULL: the terminal */
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
    if (p->answers) {
        p->code = cli_answers_add(p->answers, p->c, p->prompts[index], to_json(r));
    } else if (p->c->json) {
        p->code = cli_print_json(p->c, to_json(r));
    } else {
        print_heading(index, p->prompts[index]);
        fwrite(r->text, 1, strlen(r->text), stdout);
        putchar('\n');
        p->code = cli_finish(p->c);
    }
    return p->code == CLI_OK;
}

static int fail_at(cli *c, const char *place, const ar_error *err) {
    ar_error placed = *err;
    snprintf(placed.message, sizeof placed.message, "%.200s: %.800s", place, err->message);
    return cli_fail(c, &placed);
}

/* One text streams as it comes.  place: the file that the prompt is from, for errors; NULL: none. */
static int generate_one(cli *c, ar_session *session, const char *place, const char *prompt, ar_generate_options *o) {
    ar_generate_result result;
    ar_error err;
    int code;
    o->on_text = c->json ? NULL : stream;
    if (ar_generate(&result, session, prompt, o, &err)) {
        code = place ? fail_at(c, place, &err) : cli_fail(c, &err);
    } else if (c->json) {
        code = cli_print_json(c, to_json(&result));
    } else {
        putchar('\n');
        code = cli_finish(c);
    }
    ar_generate_result_release(&result);
    return code;
}

static int generate_several(cli *c, ar_session *session, const char *const *prompts, int count, ar_generate_options *o,
                            cli_answers *answers) {
    struct printing printing = {.c = c, .prompts = prompts, .answers = answers, .code = CLI_OK};
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

/* All that an answer depends on but its prompt. */
static json_t *settings_of(const cli_args *args, const struct values *v, uint64_t what) {
    json_t *adapters = json_array(), *stops = json_array();
    for (size_t i = 0; i < v->session.adapter.count; i++) json_array_append_new(adapters, json_string(v->session.adapter.items[i]));
    for (size_t i = 0; i < v->stop.count; i++) json_array_append_new(stops, json_string(v->stop.items[i]));
    bool scale = cli_given(args, "scale"), alpha = cli_given(args, "alpha");
    json_t *sampling =
        json_pack("{s:f, s:f, s:f, s:I, s:f, s:I, s:I}", "temperature", v->sampling.temperature, "top_p", v->sampling.top_p, "min_p",
                  v->sampling.min_p, "top_k", (json_int_t)v->sampling.top_k, "repeat_penalty", v->sampling.repeat_penalty, "max_tokens",
                  (json_int_t)v->sampling.max_tokens, "seed", (json_int_t)v->session.common.seed);
    return json_pack("{s:I, s:s, s:o, s:i, s:i, s:s?, s:s?, s:b, s:o, s:o, s:[b, f, b, f]}", "fingerprint", (json_int_t)what, "model",
                     v->session.model, "adapters", adapters, "trust", v->session.trust, "compute", v->session.compute, "template",
                     v->session.chat_template, "system", v->system, "raw", v->raw, "stops", stops, "sampling", sampling, "strength", scale,
                     scale ? v->sampling.scale : 0.0, alpha, alpha ? v->sampling.alpha : 0.0);
}

static int generate_into(cli *c, const cli_args *args, ar_session *session, const ar_prompts *file, ar_generate_options *o) {
    const struct values *v = args->values;
    const char *const *prompts = (const char *const *)file->text;
    uint64_t what;
    ar_error err;
    if (ar_session_fingerprint(&what, session, &err)) return cli_fail(c, &err);
    json_t *settings = settings_of(args, v, what);
    cli_answers answers;
    char said[100];
    int code = cli_answers_open(&answers, c, v->out, v->overwrite, settings, prompts, file->count), done = answers.done;
    json_decref(settings);
    if (!code && done) {
        snprintf(said, sizeof said, "%d of %d are there already", done, file->count);
        cli_log(c, AR_LOG_INFO, said);
    }
    if (o->conversations) o->conversations += done;
    o->seed += (uint64_t)done; /* each prompt has the seed of its number */
    if (!code && done < file->count) code = generate_several(c, session, prompts + done, file->count - done, o, &answers);
    return cli_answers_close(&answers, c, code);
}

/* The conversation with a system message in front; NULL where it has one, or is no list, or memory runs out. */
static char *with_system(const char *text, const char *system) {
    json_t *j = json_loads(text, JSON_DECODE_ANY, NULL), *list = json_is_object(j) ? json_object_get(j, "messages") : j;
    const char *first = json_string_value(json_object_get(json_array_get(list, 0), "role"));
    bool ok = json_is_array(list) && first && strcmp(first, "system") != 0 &&
              !json_array_insert_new(list, 0, json_pack("{s:s, s:s}", "role", "system", "content", system));
    char *whole = ok ? json_dumps(j, JSON_ENCODE_ANY) : NULL;
    json_decref(j);
    return whole;
}

static int generate_messages(cli *c, const struct values *v, ar_session *session, ar_generate_options *o) {
    static const bool yes[1] = {true};
    ar_error err;
    char *text;
    if (ar_conversation_load(&text, v->messages, &err)) return cli_fail(c, &err);
    o->conversations = yes;
    char *whole = v->system ? with_system(text, v->system) : text;
    int code = whole ? generate_one(c, session, v->messages, whole, o)
                     : cli_fail_usage(c, "--system: %.200s has a system message, or another form than a list of messages; put it there",
                                      v->messages);
    if (whole != text) free(whole);
    free(text);
    return code;
}

static int generate(cli *c, const cli_args *args, ar_session *session, const ar_prompts *file) {
    const struct values *v = args->values;
    ar_generate_options o = cli_sampling(&v->sampling, v->session.common.seed);
    o.stops = v->stop.items;
    o.stop_count = (int)v->stop.count;
    o.raw = v->raw || v->prompts; /* a file's rows have their form */
    /* With a template a prompt is what a user says. */
    o.system = v->system ? v->system : v->prompt.count && v->session.chat_template && !v->raw ? "" : NULL;
    if (v->messages) return generate_messages(c, v, session, &o);
    if (file->count) o.conversations = file->conversation;
    if (v->out) return generate_into(c, args, session, file, &o);
    const char *const *prompts = file->count ? (const char *const *)file->text : v->prompt.items;
    int count = file->count ? file->count : (int)v->prompt.count;
    return count == 1 ? generate_one(c, session, NULL, prompts[0], &o) : generate_several(c, session, prompts, count, &o, NULL);
}

/* The rows are read as asked, else as the adapter's training read its own. */
static int load_prompts(ar_prompts *out, cli *c, const struct values *v, const ar_session *session) {
    ar_session_form form = ar_session_trained_form(session);
    bool as_trained = (form.map || form.ignore_fields) && !v->map && !v->ignore_fields;
    bool turns = !v->raw && (form.turns || v->system || v->session.chat_template);
    ar_error err;
    if (as_trained) cli_log(c, AR_LOG_INFO, "rows are read as in training; --map and --ignore-fields change that");
    const char *map = as_trained ? form.map : v->map, *ignored = as_trained ? form.ignore_fields : v->ignore_fields;
    return ar_prompts_load(out, v->prompts, map, ignored, turns, &err) ? cli_fail(c, &err) : CLI_OK;
}

static int check(cli *c, const cli_args *args, const struct values *v) {
    if ((v->prompt.count != 0) + (v->prompts != NULL) + (v->messages != NULL) != 1)
        return cli_fail_usage(c, "wanted --prompt, once or more, or --prompts FILE, or --messages FILE.json");
    if (v->overwrite && !v->out) return cli_fail_usage(c, "--overwrite: wanted --out with it");
    if (v->out && !v->prompts) return cli_fail_usage(c, "--out: wanted --prompts with it");
    if (v->system && v->raw) return cli_fail_usage(c, "found --system and --raw, wanted one of them");
    if ((v->map || v->ignore_fields) && !v->prompts) return cli_fail_usage(c, "--map and --ignore-fields: wanted --prompts with them");
    if (cli_given(args, "scale") && cli_given(args, "alpha")) return cli_fail_usage(c, "found --scale and --alpha, wanted one of them");
    return CLI_OK;
}

static int run(cli *c, const cli_args *args) {
    const struct values *v = args->values;
    ar_session_options so = {.has_scale = cli_given(args, "scale"),
                             .has_alpha = cli_given(args, "alpha"),
                             .scale = v->sampling.scale,
                             .alpha = v->sampling.alpha};
    ar_session *session = NULL;
    ar_runtime *rt = NULL;
    ar_prompts file = {0};
    int code = check(c, args, v);
    if (!code) code = cli_session_open(&session, &rt, c, args, &so);
    if (!code && v->prompts) code = load_prompts(&file, c, v, session);
    if (!code) code = generate(c, args, session, &file);
    ar_prompts_release(&file);
    if (session) cli_session_close(session, rt);
    return code;
}

const cli_command cli_generate = {
    .name = "generate",
    .summary = "Continues a prompt, or several together, with or without an adapter, at any alpha.",
    .usage = "alphar generate --model FOLDER [--adapter PATH] (--prompt P… | --prompts FILE | --messages FILE) [--alpha X]",
    .example = "alphar generate --model demo/base --adapter my-adapter --prompt 'Once upon' --alpha 16",
    .options = options,
    .borrows = options,
    .shared = cli_session_options,
    .values_size = sizeof(struct values),
    .run = run,
};
