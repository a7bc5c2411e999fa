/* The nearest name: Damerau-Levenshtein distance (a swap of neighbours counts one). */
#include <stdio.h>
#include <string.h>

#include "options.h"

enum { LONGEST = 40 };

static size_t least(size_t a, size_t b) { return a < b ? a : b; }

static size_t distance(const char *a, const char *b) {
    size_t na = strlen(a), nb = strlen(b), d[LONGEST + 1][LONGEST + 1];
    if (na > LONGEST || nb > LONGEST) return SIZE_MAX;
    for (size_t i = 0; i <= na; i++) d[i][0] = i;
    for (size_t j = 0; j <= nb; j++) d[0][j] = j;
    for (size_t i = 1; i <= na; i++)
        for (size_t j = 1; j <= nb; j++) {
            size_t best = least(d[i - 1][j], d[i][j - 1]) + 1;
            best = least(best, d[i - 1][j - 1] + (a[i - 1] != b[j - 1]));
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) best = least(best, d[i - 2][j - 2] + 1);
            d[i][j] = best;
        }
    return d[na][nb];
}

const char *cli_nearest(const char *text, const char *candidate, const char *so_far, size_t *best) {
    size_t n = strlen(text), d = distance(text, candidate);
    /* A prefix of at least three letters is as good as one slip. */
    if (n >= 3 && !strncmp(text, candidate, n)) d = least(d, 1);
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
