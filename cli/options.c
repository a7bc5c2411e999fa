#include "options.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const cli_option common[] = {
    {.name = "Every command", .kind = CLI_SECTION},
    {.name = "json", .kind = CLI_FLAG, .at = offsetof(cli_common, json), .about = "print one JSON object"},
    {.name = "quiet", .kind = CLI_FLAG, .at = offsetof(cli_common, quiet), .about = "no progress and no information, only warnings"},
    {.name = "threads",
     .kind = CLI_INT,
     .at = offsetof(cli_common, threads),
     .value = "N",
     .min = 1,
     .max = 4096,
     .about = "default: the processors that this process may use"},
    {.name = "seed",
     .kind = CLI_INT,
     .at = offsetof(cli_common, seed),
     .value = "N",
     .initial = "1",
     .max = 0x1p63,
     .about = "of all random numbers"},
    {.name = "config",
     .kind = CLI_STRING,
     .at = offsetof(cli_common, config),
     .value = "FILE.yaml",
     .about = "options from a file, by the same names; the command line wins"},
    {.name = "help", .kind = CLI_FLAG, .at = offsetof(cli_common, help), .help = "", .about = "show the options"},
    {0},
};

/* Whether a command has an option of a common one's name itself. */
static bool is_taken(const cli_option *const tables[2], const cli_option *common_one) {
    for (int t = 0; t < 2; t++)
        for (const cli_option *o = tables[t]; o && o->name; o++)
            if (!strcmp(o->name, common_one->name)) return true;
    return false;
}

const cli_option *cli_option_at(const cli_command *command, int i) {
    const cli_option *const tables[3] = {command->shared, command->options, common};
    for (int t = 0; t < 3; t++)
        for (const cli_option *o = tables[t]; o && o->name; o++)
            if (!(t == 2 && is_taken(tables, o)) && i-- == 0) return o;
    return NULL;
}

int cli_option_find(const cli_command *command, const char *name) {
    const cli_option *o;
    for (int i = 0; (o = cli_option_at(command, i)); i++)
        if (o->kind != CLI_SECTION && !strcmp(o->name, name)) return i;
    return -1;
}

bool cli_given(const cli_args *args, const char *name) {
    int i = cli_option_find(args->command, name);
    return i >= 0 && args->given[i];
}

void cli_args_say(cli_args *args, const char *format, ...) {
    va_list ap;
    va_start(ap, format);
    vsnprintf(args->message, sizeof args->message, format, ap);
    va_end(ap);
}

const char *cli_args_own(cli_args *args, const char *text, size_t n) {
    if (args->owned_count == args->owned_cap) {
        size_t cap = args->owned_cap ? 2 * args->owned_cap : 16;
        char **grown = realloc(args->owned, cap * sizeof *grown);
        if (!grown) return NULL;
        args->owned = grown;
        args->owned_cap = cap;
    }
    char *copy = malloc(n + 1);
    if (!copy) return NULL;
    memcpy(copy, text, n);
    copy[n] = '\0';
    return args->owned[args->owned_count++] = copy;
}

void cli_args_release(cli_args *args) {
    const cli_option *o;
    for (int i = 0; args->values && (o = cli_option_at(args->command, i)); i++)
        if (o->kind == CLI_LIST) free((void *)(uintptr_t)((ar_texts *)(void *)((char *)args->values + o->at))->items);
    for (size_t i = 0; i < args->owned_count; i++) free(args->owned[i]);
    free(args->owned);
    free(args->positional);
    free(args->values);
    *args = (cli_args){0};
}

/* One option of the command line, still as text. */
struct word {
    int option;
    const char *value;
    bool negated;
};

/* typed: as it stood on the command line, dashes and all. */
static int unknown(cli_args *args, const char *typed) {
    char advice[200];
    cli_advise_option(advice, sizeof advice, args->command, typed + strspn(typed, "-"), "--");
    return cli_args_fail(args, CLI_USAGE, "%s: unknown option '%.*s', %s", args->command->name, (int)strcspn(typed, "="), typed, advice);
}

static int take_positional(cli_args *args, const char *text) {
    if (args->positional_count >= args->command->positional_count)
        return cli_args_fail(args, CLI_USAGE, "%s: found the extra argument '%.200s', wanted options only: %s", args->command->name, text,
                             args->command->usage);
    args->positional[args->positional_count++] = text;
    return CLI_OK;
}

/* Splits argv[*i] into option and value, taking the next argument where the value stands apart. */
static int read_word(struct word *out, cli_args *args, int argc, char **argv, int *i) {
    const cli_command *command = args->command;
    const char *text = argv[*i] + 2, *equals = strchr(text, '=');
    char name[80];
    size_t n = equals ? (size_t)(equals - text) : strlen(text);
    if (n >= sizeof name) return unknown(args, argv[*i]);
    memcpy(name, text, n);
    name[n] = '\0';
    *out = (struct word){.option = cli_option_find(command, name)};
    if (out->option < 0 && !strncmp(name, "no-", 3)) {
        out->option = cli_option_find(command, name + 3);
        out->negated = out->option >= 0 && (cli_option_at(command, out->option)->flags & CLI_NEGATABLE);
        if (!out->negated) out->option = -1;
    }
    if (out->option < 0) return unknown(args, argv[*i]);
    const cli_option *o = cli_option_at(command, out->option);
    if (o->kind == CLI_FLAG) {
        if (equals && (o->flags & CLI_NAMES)) return take_positional(args, equals + 1);
        if (equals) return cli_args_fail(args, CLI_USAGE, "%s --%s: found a value, wanted none", command->name, name);
        return CLI_OK;
    }
    out->value = equals ? equals + 1 : NULL;
    if (equals) return CLI_OK;
    if (*i + 1 >= argc || !strncmp(argv[*i + 1], "--", 2))
        return cli_args_fail(args, CLI_USAGE, "%s --%s: found no value, wanted --%s=%s", command->name, name, name, o->value);
    out->value = argv[++*i];
    return CLI_OK;
}

static int read_words(struct word *words, int *count, cli_args *args, int argc, char **argv) {
    int code = CLI_OK;
    bool only_positional = false;
    for (int i = 0; i < argc && code == CLI_OK; i++) {
        const char *text = argv[i];
        if (only_positional || text[0] != '-' || !text[1])
            code = take_positional(args, text);
        else if (!strcmp(text, "--"))
            only_positional = true;
        else if (!strcmp(text, "-h"))
            words[(*count)++] = (struct word){.option = cli_option_find(args->command, "help")};
        else if (text[1] != '-')
            code = unknown(args, text);
        else if ((code = read_word(&words[*count], args, argc, argv, &i)) == CLI_OK)
            ++*count;
    }
    return code;
}

static int set_defaults(cli_args *args) {
    const cli_option *o;
    int code = CLI_OK;
    for (int i = 0; code == CLI_OK && (o = cli_option_at(args->command, i)); i++)
        if (o->initial && o->kind != CLI_SECTION) code = cli_option_set(args, i, o->initial, false, 0, o->name);
    return code;
}

static int check_required(cli_args *args) {
    const cli_option *o;
    for (int i = 0; (o = cli_option_at(args->command, i)); i++)
        if ((o->flags & CLI_REQUIRED) && !args->given[i])
            return cli_args_fail(args, CLI_USAGE, "%s: --%s is missing, wanted --%s %s: %s", args->command->name, o->name, o->name,
                                 o->value, args->command->usage);
    return CLI_OK;
}

/* What counts once and stands there twice is a slip of which only one can have been meant. */
static int check_once(cli_args *args, const struct word *words, int count) {
    for (int i = 0; i < count; i++) {
        const cli_option *o = cli_option_at(args->command, words[i].option);
        const struct word *first = NULL;
        for (int j = 0; j < i && !first; j++)
            if (words[j].option == words[i].option) first = &words[j];
        if (!first || o->kind == CLI_LIST) continue;
        const char *command = args->command->name;
        if (first->negated != words[i].negated)
            return cli_args_fail(args, CLI_USAGE, "%s: found --%s and --no-%s, wanted one of them", command, o->name, o->name);
        if (o->kind == CLI_FLAG) return cli_args_fail(args, CLI_USAGE, "%s --%s: found it twice, wanted it once", command, o->name);
        return cli_args_fail(args, CLI_USAGE, "%s --%s: found it twice, '%.100s' and '%.100s', wanted it once", command, o->name,
                             first->value, words[i].value);
    }
    return CLI_OK;
}

/* Defaults, then the file, then the command line. */
static int apply(cli_args *args, const struct word *words, int count) {
    cli_common *c = args->values;
    int code = set_defaults(args), help = cli_option_find(args->command, "help"), config = cli_option_find(args->command, "config");
    const char *path = NULL;
    for (int i = 0; i < count; i++) {
        if (words[i].option == help) c->help = true;
        if (words[i].option == config) path = words[i].value;
    }
    if (c->help) return CLI_OK;
    if (code == CLI_OK) code = check_once(args, words, count);
    if (code == CLI_OK && path) code = cli_config_read(args, path);
    for (int i = 0; i < count && code == CLI_OK; i++) {
        char place[160];
        snprintf(place, sizeof place, "%s --%s%s", args->command->name, words[i].negated ? "no-" : "",
                 cli_option_at(args->command, words[i].option)->name);
        code = cli_option_set(args, words[i].option, words[i].value, words[i].negated, 2, place);
    }
    if (code == CLI_OK && args->command->prepare) code = args->command->prepare(args);
    return code == CLI_OK ? check_required(args) : code;
}

int cli_args_read(cli_args *args, const cli_command *command, struct ar_ranks *ranks, int argc, char **argv) {
    *args = (cli_args){.command = command, .ranks = ranks};
    size_t room = (size_t)argc + 1;
    struct word *words = calloc(room, sizeof *words);
    args->values = calloc(1, command->values_size);
    args->positional = calloc(room, sizeof *args->positional);
    int count = 0, code = CLI_OK;
    if (!words || !args->values || !args->positional) code = cli_args_fail(args, CLI_FAILED, "%s: out of memory", command->name);
    if (code == CLI_OK) code = read_words(words, &count, args, argc, argv);
    if (code == CLI_OK) code = apply(args, words, count);
    free(words);
    return code;
}
