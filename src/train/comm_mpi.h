/* Inside the MPI filling: the clerk, its notes (comm_mpi.c) and the sum that is carried along (comm_mpi_carry.c). */
#ifndef AR_TRAIN_COMM_MPI_H
#define AR_TRAIN_COMM_MPI_H

#include <mpi.h>
#include <pthread.h>

#include "train/comm.h"

/* What ranks tell each other beside the work: that they are there, and that one cannot go on. */
typedef struct ar_tidings {
    int32_t failed; /* 0: alive; else an ar_status */
    char text[1020];
} ar_tidings;

/* Rank 0 hears of all, the others of rank 0. */
typedef struct ar_peer {
    int rank;
    double heard;
    bool told; /* of the failure */
    ar_tidings in, out;
    MPI_Request coming, going;
} ar_peer;

typedef enum ar_job_kind { AR_JOB_BROADCAST, AR_JOB_GATHER, AR_JOB_HAND, AR_JOB_CARRY, AR_JOB_LEAVE } ar_job_kind;

typedef struct ar_job {
    ar_job_kind kind;
    void *data;
    size_t bytes;
    const size_t *bound;
    int from, to;
    const ar_carry *carry;
} ar_job;

typedef struct ar_clerk {
    ar_ranks *ranks;
    ar_place mine;
    MPI_Comm work, notes;
    pthread_t thread;
    ar_ranks_end_fn on_end;
    void *user;
    /* Under the lock. */
    pthread_mutex_t lock;
    pthread_cond_t asked, answered;
    ar_job job;
    bool busy;  /* there is a job that is not done, */
    bool waits; /* and the caller waits for it */
    bool joined;
    bool alone;       /* who waited for the others to begin has given up */
    size_t ready;     /* of the carry's chunks, here */
    ar_status failed; /* why nothing goes on; AR_OK: it does */
    bool lost;        /* a rank is out of reach */
    bool said;        /* that the caller was told by on_end, or is by what it called */
    double since;
    char text[1100];
    /* The clerk's own. */
    ar_peer *peer;
    int peers;
    double beaten;          /* when it last told that it is there */
    MPI_Request *up, *down; /* [cap] of the carry's chunks on their way */
    size_t cap;
} ar_clerk;

/* Between two looks at what is under way: sleeps a little, hears and tells.  false: something has failed. */
bool ar__clerk_nap(ar_clerk *c);
/* Waits for requests so; false: they were given up. */
bool ar__clerk_wait(ar_clerk *c, MPI_Request *request, int count);
/* Takes note of what MPI returned. */
bool ar__clerk_check(ar_clerk *c, int code);
bool ar__clerk_carry(ar_clerk *c, const ar_carry *carry);
size_t ar__clerk_ready(ar_clerk *c);

#endif
