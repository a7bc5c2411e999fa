/* --help: one screen per command, from the option table.  Options that share a row stand side by side; a value that is
 * shown is the default, and of a|b the first one is. */
#include <stdio.h>
#include <string.h>

#include "options.h"

enum { LEFT = 43 };

static int add(char *out, size_t size, int at, const char *text) {
    int n = at < (int)size ? snprintf(out + at, size - (size_t)at, "%s", text) : 0;
    return at + n;
}

/* "--rank 16", "--pack|--no-pack", "--policy standard|rslora", "--data FILE.jsonl" */
static int add_option(char *out, size_t size, int at, const cli_option *o) {
    char text[160];
    const char *value = o->kind == CLI_CHOICE ? o->value : o->shown ? o->shown : o->initial ? o->initial : o->value;
    bool on = o->initial && !strcmp(o->initial, "true");
    if (o->kind == CLI_FLAG && !(o->flags & CLI_NEGATABLE))
        snprintf(text, sizeof text, "--%s", o->name);
    else if (o->kind == CLI_FLAG)
        snprintf(text, sizeof text, on ? "--%s|--no-%s" : "--no-%s|--%s", o->name, o->name);
    else
        snprintf(text, sizeof text, "--%s %s", o->name, value);
    if (at) at = add(out, size, at, "  ");
    return add(out, size, at, text);
}

static void print_row(const char *left, const char *help) {
    if (!*help)
        printf("  %s\n", left);
    else if (strlen(left) <= LEFT)
        printf("  %-*s  %s\n", LEFT, left, help);
    else
        printf("  %s\n  %-*s  %s\n", left, LEFT, "", help);
}

void cli_help_command(const cli_command *command) {
    const cli_option *o;
    char left[320] = "";
    int at = 0;
    printf("Usage: %s\n%s\n", command->usage, command->summary);
    for (int i = 0; (o = cli_option_at(command, i)); i++) {
        if (o->kind == CLI_SECTION) {
            printf("%s:\n", o->name);
            continue;
        }
        at = add_option(left, sizeof left, at, o);
        if (!o->help) continue;
        print_row(left, o->help);
        at = 0;
        left[0] = '\0';
    }
    printf("A value shown is the default, and so is the first of a|b.\nExample:\n  %s\n", command->example);
}
