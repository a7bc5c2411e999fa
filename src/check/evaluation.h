/* An evaluation that is open: a session's data, loaded once, asked about at any strengths. */
#ifndef AR_CHECK_EVALUATION_H
#define AR_CHECK_EVALUATION_H

#include "gen/session.h"
#include "train/batcher.h"
#include "train/objective.h"

typedef struct ar_evaluation {
    ar_session *session;
    ar_eval_options o; /* with every default resolved */
    ar_dataset *data;
    ar_batcher batcher;
} ar_evaluation;

/* Strengths of the session's adapter: alphas, or s.  values NULL: as it stands. */
typedef struct ar_strength_list {
    bool alpha;
    const double *values;
    size_t count;
} ar_strength_list;

ar_strength_list ar__strength_list(const ar_eval_options *o);

/* Batches are made for `lists` strengths at a time; name is the data's, in messages.  Over ranks all have to open the same.  Close in any
 * case. */
ar_status ar__evaluation_open(ar_evaluation *e, ar_session *s, const ar_eval_options *o, const char *name, size_t lists, ar_error *err);
void ar__evaluation_close(ar_evaluation *e);
/* results [max(1, list->count)], in its order, of one pass over the data for as many as it was opened for.  The session's adapter is
 * left at the last strength. */
ar_status ar__evaluation_run(ar_evaluation *e, ar_eval_result *results, const ar_strength_list *list, ar_error *err);

#endif
