/* --help: one screen per command, 80 columns wide, from the option table.  Options that share a row stand side by side; a
 * value that is shown is the default, and of a|b the first one is. */
#include <stdio.h>
#include <string.h>

#include "alphar/runtime.h"
#include "options.h"
#include "progress.h"

enum { WIDTH = 80, LEFT = 30, HELP_AT = 2 + LEFT + 2 };

const char *cli_option_choices(const cli_option *o) {
    if (o->kind == CLI_CHOICE) return o->value;
    bool words = o->kind == CLI_STRING && o->value && strchr(o->value, '|');
    for (const char *p = words ? o->value : ""; *p; p++)
        if (*p >= 'A' && *p <= 'Z') return NULL; /* capitals stand for something: DIR|FILE.gguf */
    return words ? o->value : NULL;
}

const char *cli_option_value(const cli_option *o) {
    if (o->kind == CLI_FLAG) return NULL;
    if (o->kind == CLI_CHOICE) return o->value;
    if (o->shown) return o->shown;
    return o->initial ? o->initial : o->value;
}

const char *cli_option_about(const cli_command *command, int i) {
    const cli_option *o = cli_option_at(command, i);
    if (o->about) return o->about;
    while (o && !o->help) o = cli_option_at(command, ++i);
    return o ? o->help : "";
}

/* "--rank 16", "--pack|--no-pack", "--policy standard|rslora", "--data FILE.jsonl" */
static void name_option(char *out, size_t size, const cli_option *o) {
    bool on = o->initial && !strcmp(o->initial, "true");
    if (o->kind == CLI_FLAG && !(o->flags & CLI_NEGATABLE))
        snprintf(out, size, "--%s", o->name);
    else if (o->kind == CLI_FLAG)
        snprintf(out, size, on ? "--%s|--no-%s" : "--no-%s|--%s", o->name, o->name);
    else
        snprintf(out, size, "--%s %s", o->name, cli_option_value(o));
}

/* Whether a line may break before this word: anywhere in prose, in a command line only where an option or a group begins. */
static bool may_break(const char *word, bool prose) { return prose || strchr("-[(", *word); }

/* Prints the text from column `at` on; lines that go on begin at `indent`, and `tail` stands at the end of a broken one. */
static void print_wrapped(const char *text, int at, int indent, bool prose, const char *tail) {
    int room = WIDTH - (int)strlen(tail), start = at;
    while (*text) {
        const char *end = text + strcspn(text, " ");
        while (*end && !may_break(end + strspn(end, " "), prose)) end += strspn(end, " ") + strcspn(end + strspn(end, " "), " ");
        size_t n = (size_t)(end - text);
        if (at > start && at + 1 + cli_columns(text, n) > room) {
            printf("%s\n%*s", tail, indent, "");
            at = start = indent;
        }
        at += printf("%s", at > start ? " " : "") + cli_columns(text, n);
        fwrite(text, 1, n, stdout);
        text = end + strspn(end, " ");
    }
    putchar('\n');
}

static void print_row(const char *left, const char *help) {
    int at = printf("  %s", left);
    if (!*help) {
        putchar('\n');
        return;
    }
    if (at + 2 > HELP_AT && at + 2 + cli_columns(help, strlen(help)) > WIDTH) {
        putchar('\n');
        at = 0;
    }
    at += printf("%*s", at + 2 > HELP_AT ? 2 : HELP_AT - at, "");
    print_wrapped(help, at, HELP_AT, true, "");
}

/* The rows of one kind: what one needs first, or the rest under its headings. */
static void print_rows(const cli_command *command, bool first) {
    const cli_option *o;
    char left[320] = "";
    size_t at = 0;
    for (int i = 0; (o = cli_option_at(command, i)); i++) {
        if (((o->flags & CLI_FIRST) != 0) != first) continue;
        if (o->kind == CLI_SECTION) {
            printf("%s:\n", o->name);
            continue;
        }
        char text[160];
        name_option(text, sizeof text, o);
        at += (size_t)snprintf(left + at, sizeof left - at, "%s%s", at ? "  " : "", text);
        if (at >= sizeof left) at = sizeof left - 1;
        if (!o->help) continue;
        print_row(left, o->help);
        at = 0;
        left[0] = '\0';
    }
}

void cli_help_command(const cli_command *command) {
    printf("Usage: ");
    print_wrapped(command->usage, 7, 11, false, "");
    print_wrapped(command->summary, 0, 0, true, "");
    print_rows(command, true);
    print_rows(command, false);
    printf("Defaults are shown; of a|b the first.  At length: alphar help --man %s\nExample:\n  ", command->name);
    print_wrapped(command->example, 2, 6, false, " \\");
}

void cli_help_overview(const cli_command *const *commands) {
    printf("alphar %s: LoRA fine-tuning on CPUs in which alpha is right.\nUsage: alphar COMMAND [options]\n\n", ar_version());
    for (int i = 0; commands[i]; i++) {
        int at = printf("  %-10s ", commands[i]->name);
        print_wrapped(commands[i]->summary, at, at, true, "");
    }
    puts("\n'alphar COMMAND --help' lists a command's options; 'alphar --version' says what\nruns here.\nExample:\n"
         "  alphar train --model demo/base --data demo/task/train.jsonl --out my-adapter");
}
