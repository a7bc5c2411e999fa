/* alphar chat: a conversation with a model, with another alpha from one answer to the next. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "commands.h"
#include "line.h"
#include "sampling.h"
#include "session.h"

struct values {
    struct session_values session;
    const char *system;
    struct sampling_values sampling;
};
#define AT(member) offsetof(struct values, member)

static cli_option options[] = {
    CLI_SESSION_QUANTIZE(AT(session.quantize)),
    {.name = "system", .kind = CLI_STRING, .at = AT(system), .value = "S", .help = "a system message before everything"},
    {.name = "max-tokens",
     .kind = CLI_INT,
     .at = AT(sampling.max_tokens),
     .value = "N",
     .initial = "512",
     .min = 1,
     .max = 1 << 24,
     .help = "an answer ends after N tokens"},
    CLI_SAMPLING_OPTIONS,
    {0},
};

struct chat {
    cli *c;
    ar_session *session;
    ar_generate_options o;
    json_t *messages; /* without the system message */
    char *system;     /* NULL: none */
    bool both;        /* each answer twice: with the adapter, and the base alone */
    bool adapter, alpha_given, scale_given;
    bool begun; /* something of the answer was printed */
};

static volatile sig_atomic_t stop;

static void ask_to_stop(int number) {
    (void)number;
    stop = 1;
}

/* White space in front of an answer is the template's more often than not, and never worth a look. */
static bool stream(void *user, const char *text, size_t n) {
    struct chat *t = user;
    while (!t->begun && n && strchr(" \n", *text)) text++, n--;
    t->begun |= n > 0;
    return fwrite(text, 1, n, stdout) == n && !fflush(stdout) && !stop;
}

/* ---- answers ---------------------------------------------------------------------------------------------------------*/

static char *conversation(const struct chat *t) {
    json_t *all = json_array();
    if (t->system) json_array_append_new(all, json_pack("{s:s, s:s}", "role", "system", "content", t->system));
    json_array_extend(all, t->messages);
    char *text = json_dumps(all, JSON_COMPACT);
    json_decref(all);
    return text;
}

/* Ctrl-C ends an answer; what is there of it stays. */
static int answer(char **out, struct chat *t, const char *asked, bool base_alone) {
    static const bool yes[1] = {true};
    struct sigaction action = {.sa_handler = ask_to_stop, .sa_flags = SA_RESTART}, before; /* what is being written is written */
    ar_generate_result r;
    ar_error err;
    sigemptyset(&action.sa_mask);
    t->o.conversations = yes;
    t->o.base_alone = base_alone;
    t->o.on_text = t->c->json ? NULL : stream;
    t->o.user = t;
    t->begun = false;
    stop = 0;
    sigaction(SIGINT, &action, &before);
    ar_status s = ar_generate(&r, t->session, asked, &t->o, &err);
    sigaction(SIGINT, &before, NULL);
    *out = s || !r.text ? NULL : strdup(ar_session_said(t->session, r.text));
    if (!s && !t->c->json) {
        puts(stop ? " …stopped" : "");
        fflush(stdout);
    }
    ar_generate_result_release(&r);
    return s ? cli_fail(t->c, &err) : *out ? CLI_OK : cli_fail_memory(t->c);
}

static int say(struct chat *t, const char *line) {
    char *asked, *text = NULL, *base = NULL;
    json_t *message = json_pack("{s:s, s:s}", "role", "user", "content", line);
    if (!message) return cli_fail_code(t->c, CLI_FAILED, "format", "what was typed is not UTF-8");
    json_array_append_new(t->messages, message);
    asked = conversation(t);
    if (t->both && !t->c->json) fputs("with the adapter: ", stdout);
    int code = asked ? answer(&text, t, asked, false) : cli_fail_memory(t->c);
    if (!code && t->both && !t->c->json) fputs("the base alone: ", stdout);
    if (!code && t->both) code = answer(&base, t, asked, true);
    if (!code && t->c->json)
        code = cli_print_json(t->c, base ? json_pack("{s:s, s:s}", "text", text, "base", base) : json_pack("{s:s}", "text", text));
    if (code)
        json_array_remove(t->messages, json_array_size(t->messages) - 1); /* as if it had not been said */
    else
        json_array_append_new(t->messages, json_pack("{s:s, s:s}", "role", "assistant", "content", text));
    free(asked);
    free(text);
    free(base);
    return code;
}

/* ---- commands --------------------------------------------------------------------------------------------------------*/

static void tell(const struct chat *t, const char *text) { cli_log(t->c, AR_LOG_INFO, text); }

static void set_strength(struct chat *t, bool alpha, const char *rest) {
    char said[120], *end;
    double x = strtod(rest, &end);
    ar_error err;
    if (!*rest || *end) {
        snprintf(said, sizeof said, "wanted a number, such as /%s 16", alpha ? "alpha" : "scale");
    } else if (ar_session_set_strength(t->session, alpha, x, &err)) {
        snprintf(said, sizeof said, "%.100s", err.message);
    } else {
        snprintf(said, sizeof said, "%s %g from now on", alpha ? "alpha" : "s", x);
    }
    tell(t, said);
}

static void set_system(struct chat *t, const char *rest) {
    free(t->system);
    t->system = *rest ? strdup(rest) : NULL;
    tell(t, t->system ? "the system message is set" : "no system message");
}

/* Whether lines of training data may go on behind what the file has: it is new, or ends with a whole such line. */
static bool takes_lines(FILE *f) {
    char first = 0, last = 0;
    if (fseek(f, 0, SEEK_END)) return false;
    if (!ftell(f)) return true;
    bool read = !fseek(f, 0, SEEK_SET) && fread(&first, 1, 1, f) == 1 && !fseek(f, -1, SEEK_END) && fread(&last, 1, 1, f) == 1;
    return read && first == '{' && last == '\n' && !fseek(f, 0, SEEK_END);
}

static void save(struct chat *t, const char *rest) {
    char said[400];
    if (!*rest || !json_array_size(t->messages)) {
        tell(t, *rest ? "nothing was said yet" : "wanted the name of a file, such as /save talk.jsonl");
        return;
    }
    char *text = conversation(t);
    FILE *f = text ? fopen(rest, "a+") : NULL;
    if (!f) {
        snprintf(said, sizeof said, "%.200s: %s", rest, strerror(errno));
    } else if (!takes_lines(f)) {
        snprintf(said, sizeof said, "%.200s: is no file of whole lines of training data, and stays as it is; wanted another name", rest);
    } else {
        bool ok = fprintf(f, "{\"messages\": %s}\n", text) > 0 && !fflush(f);
        snprintf(said, sizeof said, ok ? "%.200s: the conversation, a line of training data" : "%.200s: could not be written", rest);
    }
    if (f) fclose(f);
    tell(t, said);
    free(text);
}

static void set_both(struct chat *t, const char *rest) {
    (void)rest;
    t->both = t->adapter && !t->both;
    tell(t, !t->adapter ? "there is no adapter to leave out"
            : t->both   ? "each answer twice: with the adapter, and the base alone"
                        : "one answer again");
}

static void reset(struct chat *t, const char *rest) {
    (void)rest;
    json_array_clear(t->messages);
    tell(t, "a new conversation");
}

static void set_alpha(struct chat *t, const char *rest) { set_strength(t, true, rest); }
static void set_scale(struct chat *t, const char *rest) { set_strength(t, false, rest); }
static void help(struct chat *t, const char *rest);

static const struct {
    const char *name, *help;
    void (*run)(struct chat *t, const char *rest);
} commands[] = {
    {"/alpha", "/alpha X    another alpha for the adapter", set_alpha},
    {"/scale", "/scale X    another s for every site", set_scale},
    {"/base", "/base       each answer with the adapter and from the base alone, or no longer", set_both},
    {"/reset", "/reset      a new conversation", reset},
    {"/system", "/system T   another system message; without T none", set_system},
    {"/save", "/save FILE  the conversation, as a line of training data behind those that are there", save},
    {"/help", "/help       this; /quit, /exit or Ctrl-D ends, Ctrl-C stops an answer", help},
};
enum { COMMANDS = sizeof commands / sizeof *commands };

static void help(struct chat *t, const char *rest) {
    (void)rest;
    for (int i = 0; i < COMMANDS; i++) tell(t, commands[i].help);
}

static void obey(struct chat *t, const char *line) {
    size_t n = strcspn(line, " ");
    const char *rest = line + n + strspn(line + n, " ");
    for (int i = 0; i < COMMANDS; i++)
        if (strlen(commands[i].name) == n && !strncmp(line, commands[i].name, n)) {
            commands[i].run(t, rest);
            return;
        }
    tell(t, "no such command; /help lists them (a message may not begin with /)");
}

static int talk(struct chat *t) {
    int code = CLI_OK, said;
    for (char *line; (line = cli_line_read("> ")) != NULL; free(line)) {
        if (!strcmp(line, "/quit") || !strcmp(line, "/exit")) {
            free(line);
            break;
        }
        if (*line == '/')
            obey(t, line);
        else if (*line && (said = say(t, line)) != CLI_OK)
            code = said; /* the conversation goes on; whoever feeds it from a file wants to know */
    }
    return code ? code : cli_finish(t->c);
}

/* With whom one talks, and how. */
static void introduce(struct chat *t, const struct values *v) {
    char said[700], strength[60] = "";
    const char *adapter = v->session.adapter.count ? v->session.adapter.items[0] : NULL;
    if (t->alpha_given) snprintf(strength, sizeof strength, ", alpha %g", v->sampling.alpha);
    if (t->scale_given) snprintf(strength, sizeof strength, ", s %g", v->sampling.scale);
    snprintf(said, sizeof said, "%.200s%s%.200s%s%s%s; /help lists what else can be typed; Ctrl-D ends", v->session.model,
             adapter ? " with " : "", adapter ? adapter : "", v->session.adapter.count > 1 ? " and more" : "", strength,
             t->system ? ", with a system message" : "");
    tell(t, said);
}

static int run(cli *c, const cli_args *args) {
    const struct values *v = args->values;
    ar_session_options so = {.has_scale = cli_given(args, "scale"),
                             .has_alpha = cli_given(args, "alpha"),
                             .scale = v->sampling.scale,
                             .alpha = v->sampling.alpha};
    struct chat t = {.c = c, .adapter = v->session.adapter.count > 0, .alpha_given = so.has_alpha, .scale_given = so.has_scale};
    ar_runtime *rt;
    if (so.has_scale && so.has_alpha) return cli_fail_usage(c, "found --scale and --alpha, wanted one of them");
    int code = cli_session_open(&t.session, &rt, c, args, &so);
    if (code) return code;
    t.messages = json_array();
    t.system = v->system && *v->system ? strdup(v->system) : NULL;
    t.o = cli_sampling(&v->sampling, v->session.common.seed);
    t.o.may_be_fewer = true;
    if (!ar_session_has_template(t.session)) {
        code = cli_fail_code(c, CLI_FAILED, "unsupported",
                             "the base has no chat template: --template FILE or chatml names one; generate continues plain text");
    } else {
        introduce(&t, v);
        code = talk(&t);
    }
    cli_session_close(t.session, rt);
    json_decref(t.messages);
    free(t.system);
    return code;
}

const cli_command cli_chat = {
    .name = "chat",
    .summary = "A conversation in the terminal; /alpha X changes the adapter's strength on the way.",
    .usage = "alphar chat --model FOLDER [--adapter PATH] [--system S]",
    .example = "alphar chat --model demo/base --adapter my-adapter --template chatml",
    .options = options,
    .borrows = options,
    .shared = cli_session_options,
    .values_size = sizeof(struct values),
    .run = run,
};
