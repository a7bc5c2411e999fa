/* A sweep on its way: runs over one course, and what sweep.json keeps of them. */
#ifndef AR_TRAIN_SWEEP_H
#define AR_TRAIN_SWEEP_H

#include <jansson.h>

#include "alphar/sweep.h"
#include "train/run.h"

enum { AR_CANDIDATES = 99 }; /* at most */

/* Where a candidate stands, beside what is said of it outside. */
typedef struct ar_stand {
    int64_t step, steps; /* done; in all */
    double eval_loss;    /* of its own last evaluation; negative: none */
    /* Of its folder, as the rank that trains it knows: */
    int64_t saved, published; /* steps of the newest checkpoint, and of that whose adapter stands in the folder itself; −1: none */
    int64_t sent;             /* the newest checkpoint that rank 0 has too */
    bool news;                /* something else is new since then */
} ar_stand;

/* What follows for all candidates. */
typedef enum ar_turn { AR_TURN_STEP, AR_TURN_RUNG, AR_TURN_STOP, AR_TURN_DONE } ar_turn;

typedef struct ar_sweep_state {
    const ar_sweep_options *o;
    ar_course course;
    ar_output output;
    const char *dir;
    ar_run *run;             /* [count]; closed where the candidate is not running, or not on this rank */
    char **path, **named;    /* [count] the folder of each: here, and as its records have it */
    ar_candidate *candidate; /* [count] */
    ar_stand *stand;         /* [count] */
    int count;
    json_t *rungs; /* [{"step": [of each], "loss": [of each], "left": [indices]}] of those that were decided */
    int rung_count;
    double began, tokens;              /* tokens: of this rank's candidates */
    struct ar_sweep_ranks *over_ranks; /* NULL: this process is alone (train/sweep_ranks.h) */
} ar_sweep_state;

static inline bool ar__sweep_is_running(const ar_sweep_state *s, int i) { return s->candidate[i].state == AR_CANDIDATE_RUNNING; }

/* Writes sweep.json: settings, candidates, rungs; rank 0 alone. */
ar_status ar__sweep_record_write(const ar_sweep_state *s, ar_error *err);
/* Reads it, of the same sweep: states and losses of candidates, rungs.  Nothing happens where there is none.  AR_ERR_MISMATCH where
 * the candidates, the settings or halving are others.  Over ranks rank 0 reads for all. */
ar_status ar__sweep_record_read(ar_sweep_state *s, ar_error *err);
/* Removes what an earlier sweep left. */
ar_status ar__sweep_clear(const char *dir, ar_error *err);

/* To the sweep's on_progress; tokens: of all candidates. */
void ar__sweep_report(const ar_sweep_state *s, double tokens);

#endif
