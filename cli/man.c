/* Manual pages, in man(7), from the option tables: `alphar help --man [COMMAND]`, which `make install` puts into MANDIR. */
#include <stdio.h>
#include <string.h>

#include "alphar/runtime.h"
#include "options.h"

/* Text in which roff sees nothing of its own: no escapes, no hyphens to break at, no request at a line's start. */
static void print_text(const char *text) {
    if (*text == '.' || *text == '\'') fputs("\\&", stdout);
    for (; *text; text++) {
        if (*text == '\\')
            fputs("\\e", stdout);
        else if (*text == '-')
            fputs("\\-", stdout);
        else
            putchar(*text);
    }
}

static void print_section(const char *request, const char *name) { printf(".%s \"%s\"\n", request, name); }

/* .TH NAME 1; without a date, which would only say when it was built. */
static void print_head(const char *name, const char *summary) {
    fputs(".TH ", stdout);
    for (const char *p = name; *p; p++) putchar(*p >= 'a' && *p <= 'z' ? *p - 32 : *p);
    printf(" 1 \"\" \"alphar %s\" \"User Commands\"\n", ar_version());
    print_section("SH", "NAME");
    print_text(name);
    fputs(" \\- ", stdout);
    print_text(summary);
    putchar('\n');
}

static void print_option(const cli_command *command, int i) {
    const cli_option *o = cli_option_at(command, i);
    const char *value = cli_option_value(o);
    fputs(".TP\n\\fB\\-\\-", stdout);
    print_text(o->name);
    fputs("\\fR", stdout);
    if (value) {
        fputs(" \\fI", stdout);
        print_text(o->kind == CLI_CHOICE || !o->value ? value : o->value);
        fputs("\\fR", stdout);
    }
    if (o->flags & CLI_NEGATABLE) {
        fputs(", \\fB\\-\\-no\\-", stdout);
        print_text(o->name);
        fputs("\\fR", stdout);
    }
    putchar('\n');
    const char *about = cli_option_about(command, i);
    print_text(about);
    if (o->kind == CLI_LIST && !strstr(about, "repeat")) fputs(" (may repeat)", stdout);
    if (o->initial && o->kind != CLI_FLAG) {
        fputs("; default ", stdout);
        print_text(o->initial);
    }
    fputs(".\n", stdout);
}

static void print_example(const char *text) {
    print_section("SH", "EXAMPLES");
    fputs(".nf\n.RS 4\n", stdout);
    print_text(text);
    fputs("\n.RE\n.fi\n", stdout);
}

static void print_status(void) {
    print_section("SH", "EXIT STATUS");
    fputs(".TP\n.B 0\nDone.\n.TP\n.B 1\nFailed; the message names the place, what was found, what was wanted.\n"
          ".TP\n.B 2\nWrong usage.\n.TP\n.B 130\nInterrupted.\n",
          stdout);
}

static void print_command(const cli_command *command) {
    char name[64];
    const cli_option *o;
    snprintf(name, sizeof name, "alphar-%s", command->name);
    print_head(name, command->summary);
    print_section("SH", "SYNOPSIS");
    print_text(command->usage);
    putchar('\n');
    print_section("SH", "OPTIONS");
    for (int i = 0; (o = cli_option_at(command, i)); i++) {
        if (o->kind == CLI_SECTION)
            print_section("SS", o->name);
        else
            print_option(command, i);
    }
    fputs(".PP\nOf choices that are written a|b the first is the default.\n", stdout);
    print_status();
    print_example(command->example);
    print_section("SH", "SEE ALSO");
    fputs(".BR alphar (1)\n", stdout);
}

static void print_program(const cli_command *const *commands) {
    print_head("alphar", "fine-tunes language models with LoRA on CPUs, and looks after LoRA adapters");
    print_section("SH", "SYNOPSIS");
    fputs(".B alphar\n.I COMMAND\n.RI [ options ]\n.br\n.B alphar \\-\\-version\n.br\n.B alphar help\n.RI [ COMMAND ]\n", stdout);
    print_section("SH", "DESCRIPTION");
    fputs("Each command has a page of its own, as\n.BR alphar\\-train (1).\n"
          "The result of a command goes to the standard output, everything else to the standard error;\n"
          "with\n.B \\-\\-json\nthe result is one JSON object.\n",
          stdout);
    print_section("SH", "COMMANDS");
    for (int i = 0; commands[i]; i++) {
        printf(".TP\n.BR alphar\\-%s (1)\n", commands[i]->name);
        print_text(commands[i]->summary);
        putchar('\n');
    }
    print_status();
    print_example("alphar train --model demo/base --data demo/task/train.jsonl --out my-adapter");
}

void cli_man_print(const cli_command *const *commands, const cli_command *command) {
    if (command)
        print_command(command);
    else
        print_program(commands);
}
