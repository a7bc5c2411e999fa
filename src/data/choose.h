/* A part of the lines for an estimate: one of each of `want` equal stretches, at a place of its own, and beside these the
 * few longest, which tell how long samples become.
 *
 *     |  x      |      x  |x        | …        stretch j of total / want lines has line floor((j + u_j) total / want) */
#ifndef AR_DATA_CHOOSE_H
#define AR_DATA_CHOOSE_H

#include "adapter/settings.h"
#include "data/lines.h"

typedef enum ar_chosen { AR_LEFT_OUT, AR_CHOSEN, AR_CHOSEN_FOR_LENGTH } ar_chosen;

typedef struct ar_chooser {
    size_t total, want; /* lines; want 0: all are taken */
    size_t long_from;   /* bytes of the shortest of the longest… */
    bool shortest_left; /* …which is still to come */
    size_t at, stretch, next;
} ar_chooser;

/* Looks the files through.  All lines are wanted where they have up to `bytes` together; else as many as have about half of that. */
ar_status ar__chooser_init(ar_chooser *out, const ar_strings *paths, const ar_buf *input, uint64_t seed, size_t bytes, ar_error *err);
/* About the next line of the files. */
ar_chosen ar__chooser_take(ar_chooser *c, const ar_line *line);

#endif
