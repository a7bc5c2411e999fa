/* Completion for shells, from the option tables: `alphar help --completion bash|zsh|fish`, which `make install` puts where
 * these shells look.  Commands first, then the command's options; values of an option that chooses are its choices, others
 * are file names. */
#include <stdio.h>
#include <string.h>

#include "options.h"

/* Between single quotes of a shell; for zsh's specifications `special` are escaped too. */
static void print_quoted(const char *text, const char *special) {
    for (; *text; text++) {
        if (*text == '\'')
            fputs("'\\''", stdout);
        else if (strchr(special, *text))
            printf("\\%c", *text);
        else
            putchar(*text);
    }
}

/* "a|b|c" as "a b c" */
static void print_choices(const char *choices) {
    for (; *choices; choices++) putchar(*choices == '|' ? ' ' : *choices);
}

/* Calls `print` for each option, and for the --no-NAME of those that have one. */
static void each_option(const cli_command *command, void (*print)(const cli_command *, int, const char *prefix)) {
    const cli_option *o;
    for (int i = 0; (o = cli_option_at(command, i)); i++) {
        if (o->kind == CLI_SECTION) continue;
        print(command, i, "");
        if (o->flags & CLI_NEGATABLE) print(command, i, "no-");
    }
}

static void bash_word(const cli_command *command, int i, const char *prefix) { printf(" --%s%s", prefix, cli_option_at(command, i)->name); }

static void bash_values(const cli_command *command) {
    const cli_option *o;
    for (int i = 0; (o = cli_option_at(command, i)); i++) {
        const char *choices = o->kind == CLI_SECTION ? NULL : cli_option_choices(o);
        if (!choices) continue;
        printf("    %s:--%s) words='", command->name, o->name);
        print_choices(choices);
        fputs("' ;;\n", stdout);
    }
}

/* Bash splits --option=value at '=': then the option stands two words back. */
static void print_bash(const cli_command *const *commands) {
    fputs("_alphar() {\n"
          "  local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} command=${COMP_WORDS[1]} words=\n"
          "  if [ \"$cur\" = = ]; then cur=; elif [ \"$prev\" = = ]; then prev=${COMP_WORDS[COMP_CWORD-2]}; fi\n"
          "  if [ \"$COMP_CWORD\" -eq 1 ] || { [ \"$COMP_CWORD\" -eq 2 ] && [ \"$command\" = help ]; }; then\n"
          "    words='",
          stdout);
    for (int i = 0; commands[i]; i++) printf("%s ", commands[i]->name);
    fputs("help --version --help'\n"
          "    mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$cur\")\n    return\n  fi\n"
          "  case $command:$prev in\n",
          stdout);
    for (int i = 0; commands[i]; i++) bash_values(commands[i]);
    fputs("  esac\n  if [ -z \"$words\" ] && [[ $cur == -* ]]; then\n    case $command in\n", stdout);
    for (int i = 0; commands[i]; i++) {
        printf("    %s) words='", commands[i]->name);
        each_option(commands[i], bash_word);
        fputs("' ;;\n", stdout);
    }
    fputs("    esac\n  fi\n"
          "  if [ -n \"$words\" ]; then mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$cur\")\n"
          "  else compopt -o filenames; mapfile -t COMPREPLY < <(compgen -f -- \"$cur\"); fi\n"
          "}\n"
          "complete -F _alphar alphar\n",
          stdout);
}

/* '--rank=[about]:N: ', '*--prompt=[about]:P:_files', '--policy=[about]:standard|rslora:(standard rslora)' */
static void zsh_spec(const cli_command *command, int i, const char *prefix) {
    const cli_option *o = cli_option_at(command, i);
    const char *choices = cli_option_choices(o);
    bool flag = o->kind == CLI_FLAG, path = o->kind == CLI_STRING || o->kind == CLI_LIST;
    printf("        '%s--%s%s%s[", o->kind == CLI_LIST ? "*" : "", prefix, o->name, flag ? "" : "=");
    print_quoted(cli_option_about(command, i), "[]:\\");
    putchar(']');
    if (!flag) {
        putchar(':');
        print_quoted(o->value, ":\\");
        putchar(':');
    }
    if (choices) {
        putchar('(');
        print_choices(choices);
        putchar(')');
    } else if (path) {
        fputs("_files", stdout);
    } else if (!flag) {
        putchar(' ');
    }
    fputs("' \\\n", stdout);
}

static void print_zsh(const cli_command *const *commands) {
    fputs("#compdef alphar\nlocal -a commands\ncommands=(\n", stdout);
    for (int i = 0; commands[i]; i++) {
        printf("  '%s:", commands[i]->name);
        print_quoted(commands[i]->summary, ":\\");
        fputs("'\n", stdout);
    }
    fputs("  'help:Shows the options of a command.'\n)\n"
          "if (( CURRENT == 2 )); then\n  _describe command commands\n  return\nfi\n"
          "local command=$words[2]\nshift words\n(( CURRENT-- ))\n"
          "case $command in\n  help) _describe command commands ;;\n",
          stdout);
    for (int i = 0; commands[i]; i++) {
        printf("  %s)\n    _arguments \\\n", commands[i]->name);
        each_option(commands[i], zsh_spec);
        fputs("        '*:file:_files' ;;\n", stdout);
    }
    fputs("esac\n", stdout);
}

/* In fish a backslash escapes within single quotes too. */
static void fish_about(const char *text) {
    fputs(" -d '", stdout);
    for (; *text; text++) {
        if (*text == '\'' || *text == '\\') putchar('\\');
        putchar(*text);
    }
    fputs("'\n", stdout);
}

static void fish_option(const cli_command *command, int i, const char *prefix) {
    const cli_option *o = cli_option_at(command, i);
    const char *choices = cli_option_choices(o);
    printf("complete -c alphar -n '__fish_seen_subcommand_from %s' -l %s%s", command->name, prefix, o->name);
    if (choices) {
        fputs(" -x -a '", stdout);
        print_choices(choices);
        putchar('\'');
    } else if (o->kind != CLI_FLAG) {
        fputs(o->kind == CLI_STRING || o->kind == CLI_LIST ? " -r" : " -x", stdout);
    }
    fish_about(cli_option_about(command, i));
}

static void print_fish(const cli_command *const *commands) {
    for (int i = 0; commands[i]; i++) {
        printf("complete -c alphar -f -n __fish_use_subcommand -a %s", commands[i]->name);
        fish_about(commands[i]->summary);
    }
    for (int i = 0; commands[i]; i++) each_option(commands[i], fish_option);
}

bool cli_completion_print(const cli_command *const *commands, const char *shell) {
    static const struct {
        const char *name;
        void (*print)(const cli_command *const *);
    } shells[] = {{"bash", print_bash}, {"zsh", print_zsh}, {"fish", print_fish}};
    for (size_t i = 0; i < sizeof shells / sizeof *shells; i++) {
        if (strcmp(shell, shells[i].name) != 0) continue;
        shells[i].print(commands);
        return true;
    }
    return false;
}
