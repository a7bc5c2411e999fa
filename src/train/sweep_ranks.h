/* A sweep over ranks: each trains some of the candidates over a base of its own, and no gradient travels.
 *
 *     rank 0   run-01 run-03 | ~~~ | ~~~ | ~~~ |     writes --out; its own candidates' folders are there
 *     rank 1   run-02 run-04 | ~~~ | ~~~ | ~~~ |     folders in a private one, whose news go to rank 0 (train/parcel.h)
 *                            ^     ^     ^     ^     the ranks meet: where all stand, what is new on disks, what follows
 *
 * Between two meetings a rank computes alone.  When the next is due rank 0 says: after so many of the slowest rank's steps that waiting for
 * each other costs little; at once where nobody has a step to take before a rung, or the end. */
#ifndef AR_TRAIN_SWEEP_RANKS_H
#define AR_TRAIN_SWEEP_RANKS_H

#include "train/sweep.h"

typedef struct ar_sweep_ranks {
    ar_ranks *ranks;
    int owner[AR_CANDIDATES]; /* [count] the rank that has each candidate, */
    int place[AR_CANDIDATES]; /* and where it is in lists of which each rank says a run: */
    size_t *bound;            /* [ranks + 1] rank i has the places bound[i] .. bound[i + 1) */
    double *said;             /* [count, numbers of a candidate], and behind that [ranks, numbers of a rank]: scratch of a meeting */
    double *load;             /* [ranks] scratch of sharing out */
    double due;               /* of the next meeting, by the clock */
    double step_seconds;      /* of this rank's last step */
    int idle;                 /* ranks that have no candidate, as far as was said */
    double tokens;            /* of all ranks' candidates, as of the last meeting */
    char *folder;             /* the private one; NULL: of rank 0 */
    ar_lock lock;             /* on it */
    json_t *lines;            /* what this rank's log says of its candidates, until it is sent: [[level, line], …] */
    const ar_runtime *rt;     /* whose log is */
    ar_log log;               /* this one, when the sweep is over */
} ar_sweep_ranks;

/* Before anything is written: all have the same settings and candidates.  Nothing happens on one rank, also in the next two. */
ar_status ar__sweep_agree(const ar_sweep_options *o, const ar_runtime *rt, ar_error *err);
/* Takes the ranks' part of the state, and on helpers the private folder.  Close in any case. */
ar_status ar__sweep_ranks_open(ar_sweep_state *s, const ar_runtime *rt, ar_error *err);
void ar__sweep_ranks_close(ar_sweep_state *s);

/* Who has which candidates, once it is known which are running. */
void ar__sweep_share(ar_sweep_state *s);
/* Whether a candidate is this rank's, and whether it is running here; whether this rank has such a one; whether it writes. */
bool ar__sweep_owns(const ar_sweep_state *s, int i);
static inline bool ar__sweep_is_here(const ar_sweep_state *s, int i) { return ar__sweep_is_running(s, i) && ar__sweep_owns(s, i); }
bool ar__sweep_has_work(const ar_sweep_state *s);
bool ar__sweep_is_first(const ar_sweep_state *s);

/* Once the course is open, where this rank has one: all have read the same.  Says who takes part. */
ar_status ar__sweep_agree_on_course(const ar_sweep_state *s, const ar_runtime *rt, ar_error *err);
/* To go on from: rank 0's folders of the others' candidates, to them. */
ar_status ar__sweep_hand_out(const ar_sweep_state *s, ar_error *err);

/* Whether it is time to meet, for a rank that has steps to take. */
bool ar__sweep_is_due(const ar_sweep_state *s);
/* Meets: tells where the own candidates stand, brings their news to rank 0's disk, takes note of the others.  *more becomes true where any
 * rank has a step to take before the next rung. */
ar_status ar__sweep_meet(bool *more, ar_sweep_state *s, ar_error *err);
/* Rank 0's word, and when to meet again. */
ar_status ar__sweep_take_turn(ar_turn *turn, ar_sweep_state *s, ar_error *err);
/* Everyone's losses at a rung, in all. */
ar_status ar__sweep_gather(const ar_sweep_state *s, double *loss, ar_error *err);

#endif
