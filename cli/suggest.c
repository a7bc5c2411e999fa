/* The nearest name. */
#include <stdio.h>
#include <string.h>

#include "alphar/error.h"
#include "options.h"

enum { LONGEST = 40 };

const char *cli_nearest(const char *text, const char *candidate, const char *so_far, size_t *best) {
    size_t n = strlen(text), d = ar_word_distance(text, candidate);
    /* A prefix of at least three letters is as good as one slip. */
    if (n >= 3 && d > 1 && !strncmp(text, candidate, n)) d = 1;
    if (d > 1 + n / 4 || d >= *best) return so_far;
    *best = d;
    return candidate;
}

const char *cli_nearest_option(const cli_command *command, const char *text, char *buffer, size_t size) {
    const cli_option *o;
    const char *found = NULL;
    size_t best = SIZE_MAX;
    for (int i = 0; (o = cli_option_at(command, i)); i++) {
        char negated[LONGEST + 8];
        if (o->kind == CLI_SECTION) continue;
        if (cli_nearest(text, o->name, NULL, &best)) {
            snprintf(buffer, size, "%s", o->name);
            found = buffer;
        }
        if (!(o->flags & CLI_NEGATABLE)) continue;
        snprintf(negated, sizeof negated, "no-%s", o->name);
        if (cli_nearest(text, negated, NULL, &best)) {
            snprintf(buffer, size, "%s", negated);
            found = buffer;
        }
    }
    return found;
}

void cli_advise_option(char *out, size_t size, const cli_command *command, const char *text, const char *dashes) {
    char near[LONGEST + 8];
    const char *ours, *note, *best;
    if (cli_foreign_option(&ours, &note, command, text))
        snprintf(out, size, "here it is '%s%s'%s%s%s", dashes, ours, note ? " (" : "", note ? note : "", note ? ")" : "");
    else if ((best = cli_nearest_option(command, text, near, sizeof near)))
        snprintf(out, size, "did you mean '%s%s'?", dashes, best);
    else
        snprintf(out, size, "wanted one that 'alphar %s --help' lists", command->name);
}
