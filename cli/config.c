/* --config FILE.yaml: one mapping from long option names to values.
 *
 *     rank: 16
 *     pack: false                  # a flag
 *     targets: [q_proj, v_proj]    # names: the same as q_proj,v_proj
 *     rank-pattern:                # an option that may repeat
 *       - q_proj=8
 *
 * An empty value counts as not given.  Anchors, further documents and nested mappings are refused by line. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#include "options.h"

struct reader {
    cli_args *args;
    const char *path;
    yaml_parser_t parser;
    yaml_event_t event; /* the current one; deleted by next */
    bool seen[CLI_MAX_OPTIONS];
    char joined[4096]; /* a list of names */
};

static unsigned long line_of(const struct reader *r) { return (unsigned long)r->event.start_mark.line + 1; }

static int next(struct reader *r) {
    yaml_event_delete(&r->event);
    if (yaml_parser_parse(&r->parser, &r->event)) return CLI_OK;
    memset(&r->event, 0, sizeof r->event);
    return cli_args_fail(r->args, CLI_USAGE, "%s:%lu: %s, wanted YAML", r->path, (unsigned long)r->parser.problem_mark.line + 1,
                         r->parser.problem ? r->parser.problem : "cannot read");
}

static int wrong(struct reader *r, const char *wanted) {
    return cli_args_fail(r->args, CLI_USAGE, "%s:%lu: found something else, wanted %s", r->path, line_of(r), wanted);
}

static bool is_empty(const yaml_event_t *e) {
    const char *text = (const char *)e->data.scalar.value;
    if (e->data.scalar.style != YAML_PLAIN_SCALAR_STYLE) return false;
    return !*text || !strcmp(text, "~") || !strcmp(text, "null");
}

/* YAML 1.1's other spellings of true and false. */
static const char *flag_text(const char *text) {
    static const char *const yes[] = {"True", "TRUE", "yes", "Yes", "on", "On"}, *const no[] = {"False", "FALSE", "no", "No", "off", "Off"};
    for (size_t i = 0; i < sizeof yes / sizeof *yes; i++) {
        if (!strcmp(text, yes[i])) return "true";
        if (!strcmp(text, no[i])) return "false";
    }
    return text;
}

static int set(struct reader *r, int option, const char *text, size_t n) {
    const cli_option *o = cli_option_at(r->args->command, option);
    char place[400];
    if (strlen(text) != n) return wrong(r, "text without NUL");
    snprintf(place, sizeof place, "%.300s:%lu: %s", r->path, line_of(r), o->name);
    if (r->args->given[option] > 1) return CLI_OK; /* the command line wins */
    const char *kept = cli_args_own(r->args, text, n);
    if (!kept) return cli_args_fail(r->args, CLI_FAILED, "%s: out of memory", r->path);
    return cli_option_set(r->args, option, o->kind == CLI_FLAG ? flag_text(kept) : kept, false, 1, place);
}

/* Adds one name behind a comma (a set of names behind a semicolon). */
static int join(struct reader *r, const char *text, const char *between) {
    size_t used = strlen(r->joined), n = strlen(text);
    if (!text[strspn(text, " \t")]) return wrong(r, "a name, not an empty one");
    if (used + n + 2 > sizeof r->joined) return wrong(r, "a shorter list");
    snprintf(r->joined + used, sizeof r->joined - used, "%s%s", used ? between : "", text);
    return CLI_OK;
}

static int read_list(struct reader *r, int option) {
    const cli_option *o = cli_option_at(r->args->command, option);
    bool names = (o->flags & CLI_COMMAS) != 0;
    if (o->kind != CLI_LIST && !names) return wrong(r, "one value, not a list");
    r->joined[0] = '\0';
    for (;;) {
        int code = next(r);
        if (code) return code;
        if (r->event.type == YAML_SEQUENCE_END_EVENT) return names ? set(r, option, r->joined, strlen(r->joined)) : CLI_OK;
        if (r->event.type != YAML_SCALAR_EVENT) return wrong(r, "a list of plain values");
        const char *text = (const char *)r->event.data.scalar.value;
        code = names ? join(r, text, o->flags & CLI_SETS ? ";" : ",") : set(r, option, text, r->event.data.scalar.length);
        if (code) return code;
    }
}

static int find_key(int *option, struct reader *r) {
    const cli_command *command = r->args->command;
    if (r->event.type != YAML_SCALAR_EVENT) return wrong(r, "the name of an option");
    const char *name = (const char *)r->event.data.scalar.value;
    *option = cli_option_find(command, name);
    bool usable = *option >= 0 && strcmp(name, "config") != 0 && strcmp(name, "help") != 0;
    if (usable && !r->seen[*option]) {
        r->seen[*option] = true;
        return CLI_OK;
    }
    if (usable) return cli_args_fail(r->args, CLI_USAGE, "%s:%lu: found '%s' again, wanted it once", r->path, line_of(r), name);
    char advice[200];
    int plain = strncmp(name, "no-", 3) ? -1 : cli_option_find(command, name + 3);
    if (*option >= 0)
        snprintf(advice, sizeof advice, "wanted it on the command line");
    else if (plain >= 0 && (cli_option_at(command, plain)->flags & CLI_NEGATABLE))
        snprintf(advice, sizeof advice, "here it is '%.60s: false'", name + 3);
    else
        cli_advise_option(advice, sizeof advice, command, name, "");
    return cli_args_fail(r->args, CLI_USAGE, "%s:%lu: unknown option '%.60s', %s", r->path, line_of(r), name, advice);
}

static int read_pair(struct reader *r) {
    int option, code = find_key(&option, r);
    if (code || (code = next(r))) return code;
    if (r->event.type == YAML_SEQUENCE_START_EVENT) return read_list(r, option);
    if (r->event.type != YAML_SCALAR_EVENT) return wrong(r, "a value or a list");
    if (is_empty(&r->event)) return CLI_OK;
    return set(r, option, (const char *)r->event.data.scalar.value, r->event.data.scalar.length);
}

static int read_document(struct reader *r) {
    int code;
    if ((code = next(r)) || (code = next(r))) return code;     /* start of stream, start of document */
    if (r->event.type == YAML_STREAM_END_EVENT) return CLI_OK; /* an empty file */
    if ((code = next(r))) return code;
    if (r->event.type == YAML_SCALAR_EVENT && is_empty(&r->event)) return CLI_OK;
    if (r->event.type != YAML_MAPPING_START_EVENT) return wrong(r, "lines of the form 'option: value'");
    while (!(code = next(r)) && r->event.type != YAML_MAPPING_END_EVENT)
        if ((code = read_pair(r))) return code;
    if (code || (code = next(r)) || (code = next(r))) return code; /* end of document, end of stream */
    return r->event.type == YAML_STREAM_END_EVENT ? CLI_OK : wrong(r, "one document");
}

int cli_config_read(cli_args *args, const char *path) {
    FILE *f = fopen(path, "rb");
    if (!f) return cli_args_fail(args, CLI_FAILED, "%s: cannot open: %s", path, strerror(errno));
    struct reader *r = calloc(1, sizeof *r);
    int code = CLI_FAILED;
    if (!r || !yaml_parser_initialize(&r->parser)) {
        cli_args_say(args, "%s: out of memory", path);
    } else {
        r->args = args;
        r->path = path;
        yaml_parser_set_input_file(&r->parser, f);
        code = read_document(r);
        yaml_event_delete(&r->event);
        yaml_parser_delete(&r->parser);
    }
    free(r);
    fclose(f);
    return code;
}
