/* Several processes that work on one training: ranks, started by mpirun or srun with the same command on one machine or many.
 *
 *     ar_ranks *ranks;
 *     ar_ranks_join(&ranks, NULL, NULL, &err);       first of all
 *     options.ranks = ranks;                         every rank calls ar_train, with the same options
 *     s = ar_train(&result, rt, &options, &err);
 *     if (s) ar_ranks_fail(ranks, s, err.message);   the others end with that message
 *     ar_ranks_leave(ranks);
 *
 * Rank 0 writes: the folder, the log, the checkpoints.  A build without MPI, and a process that was started alone, is one rank. */
#ifndef ALPHAR_RANKS_H
#define ALPHAR_RANKS_H

#include <stdbool.h>

#include "alphar/error.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct ar_ranks ar_ranks;

/* Called from a thread of the ranks where one of them is lost or has failed and this process computes on: behind it the process ends. */
typedef void (*ar_ranks_end_fn)(void *user, const char *message);

/* Meets the other processes that were started with this one.  AR_ERR_UNSUPPORTED where there are several and the build has no MPI.
 * Caller leaves in any case; *out is NULL on failure. */
AR_API ar_status ar_ranks_join(ar_ranks **out, ar_ranks_end_fn on_end, void *user, ar_error *err);
/* Waits for the others.  Where one was lost, the process ends here.  NULL is fine. */
AR_API void ar_ranks_leave(ar_ranks *r);
/* Tells the others that this rank cannot go on: what they call next fails with this message. */
AR_API void ar_ranks_fail(ar_ranks *r, ar_status status, const char *message);

/* Whether one of them is out of reach, so that none may be there to say it. */
AR_API bool ar_ranks_is_lost(const ar_ranks *r);

AR_API int ar_ranks_index(const ar_ranks *r); /* from 0; 0 of NULL, as are the next */
AR_API int ar_ranks_count(const ar_ranks *r); /* 1 of NULL */
/* Threads that this rank should use: the cores that it may use, shared out among those that may use the same. */
AR_API int ar_ranks_threads(const ar_ranks *r);
/* Rank 0's text in all of them: *text is replaced on the others.  malloc'ed; NULL travels too. */
AR_API ar_status ar_ranks_text(ar_ranks *r, char **text, ar_error *err);
/* How fast the slowest link between neighbours carries a sum, in bits a second each way: all ranks together send some MiB around.  0
 * where there is one. */
AR_API ar_status ar_ranks_measure(ar_ranks *r, double *bits_per_second, ar_error *err);
/* "Open MPI 4.1.4"; NULL in a build without. */
AR_API const char *ar_ranks_engine(void);

#ifdef __cplusplus
}
#endif
#endif
