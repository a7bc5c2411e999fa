/* The sum that is carried along the ranks, chunk by chunk: up from 0 to the last, where it is whole, and down again.
 *
 *     got        chunks whose sum of the ranks below is here (rank 0: that are ready)
 *     done       with this rank's added, and sent up; of the last rank: whole
 *     whole      that came down
 *     passed     and were sent down
 *
 * Each only grows; done ≤ got, whole ≤ done, passed ≤ whole.  All that is under way at once is on different chunks, so that a line of ranks
 * is busy in both directions, and backward may still be forming the later ones. */
#include <stdlib.h>

#include "base/mem.h"
#include "base/size.h"
#include "train/comm_mpi.h"

enum { UP = 1, DOWN = 2, BLOCK = 4096 };

typedef struct line {
    ar_clerk *clerk;
    const ar_carry *carry;
    int rank;
    bool first, last;
    size_t got, done, whole, passed;
    MPI_Request from_below, from_above;
    bool bad;
} line;

static bool room(ar_clerk *c, size_t chunks) {
    if (c->cap >= chunks) return true;
    free(c->up);
    free(c->down);
    c->up = ar__alloc(chunks, sizeof(MPI_Request));
    c->down = ar__alloc(chunks, sizeof(MPI_Request));
    c->cap = c->up && c->down ? chunks : 0;
    return c->cap > 0;
}

static void send(line *l, size_t chunk, int to, int tag, MPI_Request *request) {
    const ar_chunk *k = &l->carry->chunk[chunk];
    l->clerk->ranks->sent += k->count * sizeof(float);
    l->bad |= !ar__clerk_check(l->clerk, MPI_Isend(l->carry->sum + k->at, (int)k->count, MPI_FLOAT, to, tag, l->clerk->work, request));
}

/* Whether the chunk has come from a neighbour; asks for it where that was not done. */
static bool arrives(line *l, size_t chunk, int from, int tag, MPI_Request *request) {
    const ar_chunk *k = &l->carry->chunk[chunk];
    int there = 0;
    if (*request == MPI_REQUEST_NULL)
        l->bad |=
            !ar__clerk_check(l->clerk, MPI_Irecv(l->carry->sum + k->at, (int)k->count, MPI_FLOAT, from, tag, l->clerk->work, request));
    if (!l->bad) l->bad |= !ar__clerk_check(l->clerk, MPI_Test(request, &there, MPI_STATUS_IGNORE));
    return !l->bad && there;
}

static bool is_sent(line *l, MPI_Request *request) {
    int there = 0;
    l->bad |= !ar__clerk_check(l->clerk, MPI_Test(request, &there, MPI_STATUS_IGNORE));
    return !l->bad && there;
}

/* Slots in their order, element by element. */
static void add_slots(const ar_carry *y, const ar_chunk *k) {
    const ar_slots *of = &y->slots[k->at >= y->slots[1].begin];
    for (size_t at = k->at; at < k->at + k->count; at += BLOCK)
        for (size_t s = 0; s < of->count; s++)
            y->add(y->sum + at, 1.0f, of->at + (ptrdiff_t)s * of->stride + (at - of->begin), ar__min(BLOCK, k->at + k->count - at));
}

/* One look at everything that may go on; false: nothing did. */
static bool move(line *l) {
    size_t ready = ar__clerk_ready(l->clerk), n = l->carry->chunks;
    bool moved = false;
    if (l->first)
        l->got = ready;
    else if (l->got < n && arrives(l, l->got, l->rank - 1, UP, &l->from_below))
        l->got++, moved = true;
    if (!l->bad && l->done < l->got && l->done < ready) {
        add_slots(l->carry, &l->carry->chunk[l->done]);
        if (!l->last) send(l, l->done, l->rank + 1, UP, &l->clerk->up[l->done]);
        l->done++, moved = true;
    }
    if (!l->bad && l->whole < l->done &&
        (l->last || (is_sent(l, &l->clerk->up[l->whole]) && arrives(l, l->whole, l->rank + 1, DOWN, &l->from_above))))
        l->whole++, moved = true;
    if (!l->bad && l->passed < l->whole) {
        if (!l->first) send(l, l->passed, l->rank - 1, DOWN, &l->clerk->down[l->passed]);
        l->passed++, moved = true;
    }
    return moved;
}

bool ar__clerk_carry(ar_clerk *c, const ar_carry *carry) {
    line l = {.clerk = c,
              .carry = carry,
              .rank = c->ranks->index,
              .first = c->ranks->index == 0,
              .last = c->ranks->index == c->ranks->count - 1,
              .from_below = MPI_REQUEST_NULL,
              .from_above = MPI_REQUEST_NULL};
    if (!room(c, carry->chunks)) {
        ar__comm_fail(c->ranks, AR_ERR_MEMORY, "out of memory: ranks");
        return false;
    }
    for (size_t i = 0; i < carry->chunks; i++) c->up[i] = c->down[i] = MPI_REQUEST_NULL;
    while (!l.bad && l.passed < carry->chunks)
        if (!move(&l) && !ar__clerk_nap(c)) return false;
    return !l.bad && ar__clerk_wait(c, c->down, (int)carry->chunks);
}
