/* How many slips apart two words are: Damerau-Levenshtein distance, where a swap of neighbours counts one. */
#include <stdint.h>
#include <string.h>

#include "alphar/error.h"

enum { LONGEST = 40 };

static size_t least(size_t a, size_t b) { return a < b ? a : b; }

size_t ar_word_distance(const char *a, const char *b) {
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
