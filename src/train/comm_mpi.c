/* The seam over Open MPI.  A thread, the clerk, makes all calls of MPI, in a loop that never blocks:
 *
 *     job of the caller (broadcast, gather, hand, carry, leave) begun without waiting  ->  look whether it is done  ->  nap  ->  look …
 *     every BEAT seconds a note to its peers that it is there; from a peer nothing for PATIENCE seconds: lost
 *
 * A failure ends the job at hand and every later one with its message.  A caller that computes on and does not ask is told through on_end;
 * GRACE seconds later the process ends from here.  It does not end at once where a rank is lost: mpirun finds out by itself (by its
 * keepalive, docs/machines.md) and ends all, but asked to do so over a cable that is cut it would wait for an answer. */
#include "train/comm_mpi.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/fail.h"
#include "base/mem.h"

enum { BEAT = 2, PATIENCE = 20, GRACE = 20, BEGIN = 60, NAP_NANOSECONDS = 100000, IDLE_NANOSECONDS = 200000000, PIECE = 1 << 30, HAND = 3 };

const char *ar_ranks_engine(void) {
    static char line[32];
    snprintf(line, sizeof line, "Open MPI %d.%d.%d", OMPI_MAJOR_VERSION, OMPI_MINOR_VERSION, OMPI_RELEASE_VERSION);
    return line;
}

/* ---- failures --------------------------------------------------------------------------------------------------------*/

/* The first one counts. */
static void set_failed(ar_clerk *c, ar_status status, bool lost, const char *text) {
    pthread_mutex_lock(&c->lock);
    if (!c->failed) {
        c->failed = status;
        c->lost = lost;
        c->since = ar__clock_seconds();
        snprintf(c->text, sizeof c->text, "%.1090s", text);
    }
    pthread_mutex_unlock(&c->lock);
}

static bool has_failed(ar_clerk *c) {
    pthread_mutex_lock(&c->lock);
    bool failed = c->failed != AR_OK;
    pthread_mutex_unlock(&c->lock);
    return failed;
}

static void name_rank(char out[AR_HOST_CHARS + 40], const ar_clerk *c, int rank) {
    snprintf(out, AR_HOST_CHARS + 40, "rank %d on %s", rank, c->ranks->place[rank].host);
}

static void lose(ar_clerk *c, int rank, const char *how) {
    char name[AR_HOST_CHARS + 40], text[400];
    name_rank(name, c, rank);
    snprintf(text, sizeof text, "%s is lost: %s; the newest checkpoint is whole: go on with --resume once all machines are there", name,
             how);
    set_failed(c, AR_ERR_IO, true, text);
}

bool ar__clerk_check(ar_clerk *c, int code) {
    char what[MPI_MAX_ERROR_STRING], text[MPI_MAX_ERROR_STRING + 80];
    int len = 0;
    if (code == MPI_SUCCESS) return true;
    MPI_Error_string(code, what, &len);
    snprintf(text, sizeof text, "a connection between ranks broke: %.*s", len, what);
    set_failed(c, AR_ERR_IO, true, text);
    return false;
}

/* ---- notes -----------------------------------------------------------------------------------------------------------*/

static void listen_to(ar_clerk *c, ar_peer *p) {
    ar__clerk_check(c, MPI_Irecv(&p->in, sizeof p->in, MPI_BYTE, p->rank, 0, c->notes, &p->coming));
}

static void hear(ar_clerk *c, ar_peer *p, double now) {
    char name[AR_HOST_CHARS + 40], text[1200];
    int there = 0;
    while (ar__clerk_check(c, MPI_Test(&p->coming, &there, MPI_STATUS_IGNORE)) && there) {
        p->heard = now;
        p->in.text[sizeof p->in.text - 1] = '\0';
        name_rank(name, c, p->rank);
        snprintf(text, sizeof text, "%s%s%.1020s", c->ranks->index ? "" : name, c->ranks->index ? "" : ": ", p->in.text);
        if (p->in.failed) set_failed(c, (ar_status)p->in.failed, false, text);
        listen_to(c, p);
    }
}

static void tell(ar_clerk *c, ar_peer *p) {
    int there = 1;
    if (p->going != MPI_REQUEST_NULL && (!ar__clerk_check(c, MPI_Test(&p->going, &there, MPI_STATUS_IGNORE)) || !there)) return;
    pthread_mutex_lock(&c->lock);
    p->out.failed = (int32_t)c->failed;
    snprintf(p->out.text, sizeof p->out.text, "%.1000s", c->text);
    p->told = c->failed != AR_OK;
    pthread_mutex_unlock(&c->lock);
    ar__clerk_check(c, MPI_Isend(&p->out, sizeof p->out, MPI_BYTE, p->rank, 0, c->notes, &p->going));
}

/* The caller is told where it does not wait for an answer: of a loss at once, by rank 0 of another's failure too, but that it may be about
 * to fail in the same way itself.  Behind its time the process ends. */
static void end_late(ar_clerk *c, double now) {
    char text[sizeof c->text];
    pthread_mutex_lock(&c->lock);
    bool due = c->lost || (c->ranks->index == 0 && now - c->since > BEAT);
    bool tell_it = c->failed && due && !c->busy && !c->said, late = c->failed && now - c->since > GRACE;
    memcpy(text, c->text, sizeof text);
    c->said = c->said || tell_it;
    pthread_mutex_unlock(&c->lock);
    if (tell_it && c->on_end) c->on_end(c->user, text);
    if (late && (c->lost || c->ranks->index == 0 || now - c->since > 2 * GRACE)) MPI_Abort(MPI_COMM_WORLD, 1);
}

static void hear_and_tell(ar_clerk *c) {
    double now = ar__clock_seconds();
    bool beat = now - c->beaten >= BEAT, failed = has_failed(c);
    for (int i = 0; i < c->peers; i++) {
        ar_peer *p = &c->peer[i];
        hear(c, p, now);
        if (beat || (failed && !p->told)) tell(c, p);
        if (now - p->heard > PATIENCE) lose(c, p->rank, "nothing was heard of it for 20 seconds");
    }
    if (beat) c->beaten = now;
    end_late(c, now);
}

/* ---- jobs ------------------------------------------------------------------------------------------------------------*/

/* Short while the caller waits; while it computes a sum may take longer, and the core is the caller's. */
bool ar__clerk_nap(ar_clerk *c) {
    pthread_mutex_lock(&c->lock);
    bool waits = c->waits;
    pthread_mutex_unlock(&c->lock);
    nanosleep(&(struct timespec){.tv_nsec = waits ? NAP_NANOSECONDS : 5 * NAP_NANOSECONDS}, NULL);
    hear_and_tell(c);
    return !has_failed(c);
}

bool ar__clerk_wait(ar_clerk *c, MPI_Request *request, int count) {
    int done = 0;
    for (;;) {
        if (!ar__clerk_check(c, MPI_Testall(count, request, &done, MPI_STATUSES_IGNORE))) return false;
        if (done) return true;
        if (!ar__clerk_nap(c)) return false;
    }
}

static bool broadcast(ar_clerk *c, char *data, size_t bytes) {
    for (size_t at = 0; at < bytes; at += PIECE) {
        MPI_Request r;
        int n = (int)(bytes - at < PIECE ? bytes - at : PIECE);
        if (!ar__clerk_check(c, MPI_Ibcast(data + at, n, MPI_BYTE, 0, c->work, &r)) || !ar__clerk_wait(c, &r, 1)) return false;
    }
    return true;
}

static bool gather(ar_clerk *c, double *list, const size_t *bound) {
    int n = c->ranks->count, *counts = ar__alloc((size_t)n * 2, sizeof *counts);
    MPI_Request r;
    if (!counts) {
        set_failed(c, AR_ERR_MEMORY, false, "out of memory: ranks");
        return false;
    }
    for (int i = 0; i < n; i++) {
        counts[i] = (int)(bound[i + 1] - bound[i]);
        counts[n + i] = (int)bound[i];
    }
    bool ok = ar__clerk_check(c, MPI_Iallgatherv(MPI_IN_PLACE, 0, MPI_DATATYPE_NULL, list, counts, counts + n, MPI_DOUBLE, c->work, &r)) &&
              ar__clerk_wait(c, &r, 1);
    free(counts);
    return ok;
}

/* Of the two whom it concerns. */
static bool hand(ar_clerk *c, const ar_job *job) {
    bool gives = c->ranks->index == job->from;
    for (size_t at = 0; at < job->bytes; at += PIECE) {
        MPI_Request r;
        char *data = (char *)job->data + at;
        int n = (int)(job->bytes - at < PIECE ? job->bytes - at : PIECE);
        int code =
            gives ? MPI_Isend(data, n, MPI_BYTE, job->to, HAND, c->work, &r) : MPI_Irecv(data, n, MPI_BYTE, job->from, HAND, c->work, &r);
        if (!ar__clerk_check(c, code) || !ar__clerk_wait(c, &r, 1)) return false;
    }
    return true;
}

/* Those who fail together still meet here, for a while; rank 0 is the first to lose patience. */
static void leave(ar_clerk *c) {
    MPI_Request r;
    int done = 0;
    double until = ar__clock_seconds() + (c->ranks->index ? 2 * GRACE : GRACE / 2);
    if (MPI_Ibarrier(c->notes, &r)) return; /* where no other call of all can be left half done */
    while (c->lost) ar__clerk_nap(c);       /* until the launcher ends this process, or its time is over */
    while (!MPI_Test(&r, &done, MPI_STATUS_IGNORE) && !done && (!has_failed(c) || ar__clock_seconds() < until)) ar__clerk_nap(c);
    if (!done) MPI_Abort(MPI_COMM_WORLD, 1);
    for (int i = 0; i < c->peers; i++) {
        MPI_Cancel(&c->peer[i].coming);
        MPI_Request_free(&c->peer[i].coming);
        if (c->peer[i].going != MPI_REQUEST_NULL) MPI_Request_free(&c->peer[i].going);
    }
    MPI_Finalize();
}

static void run(ar_clerk *c, const ar_job *job) {
    switch (job->kind) {
    case AR_JOB_BROADCAST: broadcast(c, job->data, job->bytes); break;
    case AR_JOB_GATHER: gather(c, job->data, job->bound); break;
    case AR_JOB_HAND: hand(c, job); break;
    case AR_JOB_CARRY: ar__clerk_carry(c, job->carry); break;
    case AR_JOB_LEAVE: leave(c); break;
    }
}

/* ---- the clerk -------------------------------------------------------------------------------------------------------*/

/* Begins MPI, which lasts until all processes have begun it; false: it cannot, or nobody waits for it any more. */
static bool begin(ar_clerk *c) {
    int level;
    if (MPI_Init_thread(NULL, NULL, MPI_THREAD_FUNNELED, &level)) return false;
    pthread_mutex_lock(&c->lock);
    bool alone = c->alone;
    c->joined = !alone;
    pthread_mutex_unlock(&c->lock);
    if (alone) MPI_Abort(MPI_COMM_WORLD, 1);
    return !alone;
}

static void meet(ar_clerk *c) {
    ar_ranks *r = c->ranks;
    const ar_place *mine = &c->mine;
    MPI_Comm_rank(MPI_COMM_WORLD, &r->index);
    MPI_Comm_size(MPI_COMM_WORLD, &r->count);
    r->place = ar__alloc((size_t)r->count, sizeof *r->place);
    c->peers = r->index ? 1 : r->count - 1;
    c->peer = ar__alloc((size_t)c->peers, sizeof *c->peer);
    if (!r->place || !c->peer) MPI_Abort(MPI_COMM_WORLD, 1);
    MPI_Comm_dup(MPI_COMM_WORLD, &c->work);
    MPI_Comm_dup(MPI_COMM_WORLD, &c->notes);
    MPI_Comm_set_errhandler(c->work, MPI_ERRORS_RETURN);
    MPI_Comm_set_errhandler(c->notes, MPI_ERRORS_RETURN);
    MPI_Allgather(mine, sizeof *mine, MPI_BYTE, r->place, sizeof *mine, MPI_BYTE, c->work);
    for (int i = 0; i < c->peers; i++) {
        c->peer[i] =
            (ar_peer){.rank = r->index ? 0 : i + 1, .heard = ar__clock_seconds(), .coming = MPI_REQUEST_NULL, .going = MPI_REQUEST_NULL};
        listen_to(c, &c->peer[i]);
    }
}

/* Until there is a job. */
static ar_job next_job(ar_clerk *c) {
    pthread_mutex_lock(&c->lock);
    while (!c->busy) {
        struct timespec t;
        clock_gettime(CLOCK_REALTIME, &t);
        t.tv_nsec += IDLE_NANOSECONDS;
        t.tv_sec += t.tv_nsec / 1000000000;
        t.tv_nsec %= 1000000000;
        pthread_cond_timedwait(&c->asked, &c->lock, &t);
        if (c->busy) break;
        pthread_mutex_unlock(&c->lock);
        hear_and_tell(c);
        pthread_mutex_lock(&c->lock);
    }
    ar_job job = c->job;
    pthread_mutex_unlock(&c->lock);
    return job;
}

static void answer(ar_clerk *c) {
    pthread_mutex_lock(&c->lock);
    c->busy = false;
    pthread_cond_broadcast(&c->answered);
    pthread_mutex_unlock(&c->lock);
}

static void *work(void *user) {
    ar_clerk *c = user;
    bool left = !begin(c);
    if (!left) meet(c);
    answer(c);
    while (!left) {
        ar_job job = next_job(c);
        run(c, &job);
        left = job.kind == AR_JOB_LEAVE;
        answer(c);
    }
    return NULL;
}

/* ---- the caller ------------------------------------------------------------------------------------------------------*/

static void ask(ar_clerk *c, const ar_job *job) {
    pthread_mutex_lock(&c->lock);
    c->job = *job;
    c->busy = true;
    c->ready = 0;
    pthread_cond_signal(&c->asked);
    pthread_mutex_unlock(&c->lock);
}

static ar_status await(ar_clerk *c, ar_error *err) {
    pthread_mutex_lock(&c->lock);
    c->waits = true;
    while (c->busy) pthread_cond_wait(&c->answered, &c->lock);
    c->waits = false;
    ar_status s = c->failed ? ar__fail(err, c->failed, "%s", c->text) : AR_OK;
    c->said = c->said || s;
    pthread_mutex_unlock(&c->lock);
    return s;
}

static ar_status call(ar_ranks *r, const ar_job *job, ar_error *err) {
    ask(r->own, job);
    return await(r->own, err);
}

static void release(ar_clerk *c) {
    free(c->peer);
    free(c->up);
    free(c->down);
    pthread_cond_destroy(&c->asked);
    pthread_cond_destroy(&c->answered);
    pthread_mutex_destroy(&c->lock);
    free(c);
}

/* A process that ends before it meets the others, or has nothing to meet for, is waited for inside MPI without end: so only for BEGIN
 * seconds here. */
static bool await_others(ar_clerk *c) {
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += BEGIN;
    pthread_mutex_lock(&c->lock);
    c->waits = true;
    while (c->busy && !pthread_cond_timedwait(&c->answered, &c->lock, &until)) continue;
    c->alone = c->busy && !c->joined;
    bool alone = c->alone;
    pthread_mutex_unlock(&c->lock);
    if (!alone) await(c, NULL);
    return !alone;
}

ar_status ar__comm_open(ar_ranks *r, const ar_place *mine, ar_ranks_end_fn on_end, void *user, ar_error *err) {
    ar_clerk *c = ar__alloc(1, sizeof *c);
    int wanted = ar__comm_launched();
    if (!c) return ar__fail_memory(err, "ranks");
    *c = (ar_clerk){.ranks = r, .mine = *mine, .busy = true, .on_end = on_end, .user = user};
    pthread_mutex_init(&c->lock, NULL);
    pthread_cond_init(&c->asked, NULL);
    pthread_cond_init(&c->answered, NULL);
    if (pthread_create(&c->thread, NULL, work, c)) {
        release(c);
        return ar__fail(err, AR_ERR_IO, "ranks: no thread could be started");
    }
    if (!await_others(c)) /* the clerk stays where it is, with what it needs, until the process ends */
        return ar__fail(err, AR_ERR_IO,
                        "started as one of %d processes, and after %d seconds not all of them are there: one has ended, or runs another "
                        "command; give all of them this one, or say ALPHAR_RANKS=1 where each has work of its own",
                        wanted, BEGIN);
    r->own = c;
    if (c->joined && r->count == wanted) return AR_OK;
    int found = r->count;
    if (c->joined) ar__comm_close(r);
    r->own = NULL;
    return ar__fail(err, AR_ERR_UNSUPPORTED,
                    "started as one of %d processes, and Open MPI sees %d; start them with Open MPI's mpirun, or srun --mpi=pmix", wanted,
                    found);
}

void ar__comm_close(ar_ranks *r) {
    call(r, &(ar_job){.kind = AR_JOB_LEAVE}, NULL);
    pthread_join(r->own->thread, NULL);
    release(r->own);
    r->own = NULL;
}

/* The caller knows. */
void ar__comm_fail(ar_ranks *r, ar_status status, const char *message) {
    set_failed(r->own, status, false, message);
    pthread_mutex_lock(&r->own->lock);
    r->own->said = true;
    pthread_mutex_unlock(&r->own->lock);
}

bool ar__comm_is_lost(const ar_ranks *r) {
    ar_clerk *c = r->own;
    pthread_mutex_lock(&c->lock);
    bool lost = c->lost;
    pthread_mutex_unlock(&c->lock);
    return lost;
}

bool ar__comm_is_over(const ar_ranks *r) { return has_failed(r->own); }

ar_status ar__comm_broadcast(ar_ranks *r, void *data, size_t bytes, ar_error *err) {
    return call(r, &(ar_job){.kind = AR_JOB_BROADCAST, .data = data, .bytes = bytes}, err);
}

ar_status ar__comm_gather(ar_ranks *r, double *list, const size_t *bound, ar_error *err) {
    if (bound[r->count] > INT_MAX) return ar__fail(err, AR_ERR_UNSUPPORTED, "ranks: a list of %zu numbers", bound[r->count]);
    return call(r, &(ar_job){.kind = AR_JOB_GATHER, .data = list, .bound = bound}, err);
}

ar_status ar__comm_hand(ar_ranks *r, int from, int to, void *data, size_t bytes, ar_error *err) {
    if (r->index != from && r->index != to) return AR_OK;
    return call(r, &(ar_job){.kind = AR_JOB_HAND, .data = data, .bytes = bytes, .from = from, .to = to}, err);
}

ar_status ar__comm_carry_begin(ar_ranks *r, const ar_carry *carry, ar_error *err) {
    ar_clerk *c = r->own;
    if (has_failed(c)) return await(c, err);
    ask(c, &(ar_job){.kind = AR_JOB_CARRY, .carry = carry});
    return AR_OK;
}

void ar__comm_carry_ready(ar_ranks *r, size_t chunks) {
    pthread_mutex_lock(&r->own->lock);
    r->own->ready = chunks;
    pthread_mutex_unlock(&r->own->lock);
}

ar_status ar__comm_carry_end(ar_ranks *r, ar_error *err) {
    double began = ar__clock_seconds();
    ar_status s = await(r->own, err);
    r->waited += ar__clock_seconds() - began;
    return s;
}

size_t ar__clerk_ready(ar_clerk *c) {
    pthread_mutex_lock(&c->lock);
    size_t ready = c->ready;
    pthread_mutex_unlock(&c->lock);
    return ready;
}
