/* A text on its way to ids: cut into pieces, some of which are ids already (added tokens).
 *
 *     text:   one buffer;  piece: [at, at + len) of it, in order; they need not cover it */
#ifndef AR_TEXT_PIECES_H
#define AR_TEXT_PIECES_H

#include "base/mem.h"

typedef struct ar_piece {
    size_t at, len;
    int32_t id; /* -1: text still */
    bool first; /* starts where the input starts, and nothing was cut away in front */
} ar_piece;

typedef struct ar_pieces {
    ar_buf text;
    ar_piece *piece;
    size_t count, cap;
    bool failed; /* memory ran out (text has its own flag) */
} ar_pieces;

static inline void ar__pieces_add(ar_pieces *p, ar_piece one) {
    if (p->count == p->cap) {
        ar_piece *grown = p->failed ? NULL : ar__grow(p->piece, &p->cap, p->count + 1, sizeof *grown);
        if (!grown) {
            p->failed = true;
            return;
        }
        p->piece = grown;
    }
    p->piece[p->count++] = one;
}

static inline void ar__pieces_clear(ar_pieces *p) {
    ar__buf_clear(&p->text);
    p->count = 0;
}

void ar__pieces_release(ar_pieces *p);

#endif
