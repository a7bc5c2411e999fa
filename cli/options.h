/* Declarative option tables: parsing, YAML files, --help and suggestions all come from one table per command.
 *
 * A command's values live in a struct of its own that begins with a cli_common; a row of the table names a member by
 * its offset.  Types: CLI_FLAG bool, CLI_INT int64_t, CLI_COUNT int, CLI_NUMBER double, CLI_STRING const char *, CLI_CHOICE int
 * (place in `choices`, "a|b|c"), CLI_SIZE uint64_t (bytes; K, M, G, T are powers of 1024), CLI_LIST ar_texts.  CLI_SETTING is a
 * row that settings.h fills in. */
#ifndef ALPHAR_CLI_OPTIONS_H
#define ALPHAR_CLI_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "alphar/data.h"

typedef enum cli_kind {
    CLI_SECTION,
    CLI_FLAG,
    CLI_INT,
    CLI_COUNT,
    CLI_NUMBER,
    CLI_STRING,
    CLI_CHOICE,
    CLI_SIZE,
    CLI_LIST,
    CLI_SETTING
} cli_kind;

enum {
    CLI_NEGATABLE = 1, /* a flag with --no-NAME */
    CLI_REQUIRED = 2,
    CLI_COMMAS = 4,  /* a string of names: a YAML list is joined by commas */
    CLI_NAMES = 64,  /* a flag whose value, where it has one, is the command's argument: --resume=DIR is --resume DIR */
    CLI_ABOVE = 8,   /* min itself is out */
    CLI_BELOW = 16,  /* max itself is out */
    CLI_FIRST = 32,  /* --help shows its row before all sections: what one needs */
    CLI_RANKS = 256, /* a number that may be given as a multiple of the rank: 2r, r */
    CLI_SETS = 128   /* with CLI_COMMAS: several of them, with semicolons between them; a YAML list is joined by these */
};

typedef struct cli_option {
    const char *name; /* without dashes; of a section its heading; NULL ends the table */
    cli_kind kind;
    size_t at;           /* offsetof */
    const char *value;   /* what --help shows for the value */
    const char *choices; /* of CLI_CHOICE, where they are to be shown in another order; NULL: value */
    const char *initial; /* the default as text, parsed as if given; NULL: zero */
    const char *shown;   /* the default as --help shows it, where that is another text */
    const char *help;    /* NULL: shares the row of the next option */
    const char *about;   /* what this option alone does, where `help` speaks of a row; for man page and completion */
    unsigned flags;
    double min, max;  /* both 0: any finite number; integers 0 … 2^31-1 */
    const char *word; /* "auto": taken besides a number, stored as 0 */
} cli_option;

typedef struct cli_common {
    bool json, quiet, help;
    int64_t threads, seed;
    const char *config;
} cli_common;

struct cli_args;
struct cli;
typedef struct cli_command {
    const char *name, *summary, *usage, *example;
    const cli_option *options, *shared; /* its own; those it has in common with another command, or NULL */
    cli_option *borrows;                /* its own, where rows of kind CLI_SETTING are among them; or NULL */
    size_t values_size;
    int positional_count;                  /* at most so many arguments without dashes */
    bool unrecorded;                       /* leaves no row in the record of runs */
    bool shares;                           /* its work, over the ranks of mpirun */
    bool finishes_step;                    /* the first Ctrl-C only sets the flag of interrupt.h */
    int (*prepare)(struct cli_args *args); /* fills in options that were not given, before required ones are looked for; or NULL */
    int (*run)(struct cli *cli, const struct cli_args *args);
} cli_command;

enum { CLI_MAX_OPTIONS = 96 };
enum { CLI_OK = 0, CLI_FAILED = 1, CLI_USAGE = 2, CLI_INTERRUPTED = 130 };

typedef struct cli_args {
    const cli_command *command;
    struct ar_ranks *ranks;               /* NULL: alone */
    void *values;                         /* the command's struct, values_size bytes */
    unsigned char given[CLI_MAX_OPTIONS]; /* 0 default, 1 configuration file, 2 command line; by place in cli_option_at */
    const char **positional;
    int positional_count;
    double in_ranks; /* what an option of CLI_RANKS was given as last: the multiple; 0: a number */
    char **owned;    /* strings read from YAML */
    size_t owned_count, owned_cap;
    char message[1024]; /* what went wrong, without "alphar: " */
} cli_args;

/* Reads argv (without program and command) and the file of --config.  CLI_USAGE or CLI_FAILED leave args->message.
 * Release in any case. */
int cli_args_read(cli_args *args, const cli_command *command, struct ar_ranks *ranks, int argc, char **argv);
void cli_args_release(cli_args *args);
/* Whether the option was given, by either way.  The name must be in the table. */
bool cli_given(const cli_args *args, const char *name);
static inline const cli_common *cli_common_of(const cli_args *args) { return args->values; }

/* The shared rows, the command's own, the common ones, sections included; NULL behind the last. */
const cli_option *cli_option_at(const cli_command *command, int i);
/* The place of an option by name, -1 if absent. */
int cli_option_find(const cli_command *command, const char *name);

/* Sets an option from text.  negated: --no-NAME.  place names it in messages: "train --rank" or "run.yaml:3: rank". */
int cli_option_set(cli_args *args, int option, const char *text, bool negated, int source, const char *place);
/* The same for a row of no table, into args->values. */
int cli_value_set(cli_args *args, const cli_option *o, const char *text, const char *place);
/* Sets args->message; cli_args_fail is `code`, also to an analyzer that sees one file at a time. */
void cli_args_say(cli_args *args, const char *format, ...) __attribute__((format(printf, 2, 3)));
#define cli_args_fail(args, code, ...) (cli_args_say(args, __VA_ARGS__), (code))
/* Keeps a copy of the string until release; NULL when memory runs out. */
const char *cli_args_own(cli_args *args, const char *text, size_t n);

/* config.c: the options in a YAML file that the command line does not override. */
int cli_config_read(cli_args *args, const char *path);

/* help.c; commands ends with NULL */
void cli_help_overview(const cli_command *const *commands);
void cli_help_command(const cli_command *command);
/* The values that an option chooses from, "a|b|c"; NULL where it takes something else. */
const char *cli_option_choices(const cli_option *o);
/* What --help shows behind its name: the default, or what the value stands for; NULL for a flag. */
const char *cli_option_value(const cli_option *o);
/* What the option at this place does, in words; never NULL. */
const char *cli_option_about(const cli_command *command, int i);

/* man.c: the manual page of a command, of the program where it is NULL. */
void cli_man_print(const cli_command *const *commands, const cli_command *command);
/* completion.c: for bash, zsh or fish; false for another shell. */
bool cli_completion_print(const cli_command *const *commands, const char *shell);

/* suggest.c: the name nearest to `text`, NULL where none is near.  *best (start with SIZE_MAX) goes down. */
const char *cli_nearest(const char *text, const char *candidate, const char *so_far, size_t *best);
const char *cli_nearest_option(const cli_command *command, const char *text, char *buffer, size_t size);

/* "did you mean '--lr'?", "here it is '--lr'", …: what to say of a name that is no option.  dashes: "--" or "". */
void cli_advise_option(char *out, size_t size, const cli_command *command, const char *text, const char *dashes);

/* foreign.c: what another tool's name is here; note is NULL or says how. */
bool cli_foreign_option(const char **ours, const char **note, const cli_command *command, const char *text);
const char *cli_foreign_command(const char *text); /* NULL where it is nobody's */

#endif
