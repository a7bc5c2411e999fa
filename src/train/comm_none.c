/* The seam without MPI: a process alone.  What several ranks would call is never reached, since none are joined. */
#include "base/fail.h"
#include "train/comm.h"

const char *ar_ranks_engine(void) { return NULL; }

ar_status ar__comm_open(ar_ranks *r, const ar_place *mine, ar_ranks_end_fn on_end, void *user, ar_error *err) {
    (void)r, (void)mine, (void)on_end, (void)user;
    return ar__fail(
        err, AR_ERR_UNSUPPORTED,
        "started as one of %d processes, and this build is without MPI: each would do the same work; build with make MPI=1, start "
        "one, or say ALPHAR_RANKS=1 where each has work of its own",
        ar__comm_launched());
}

static ar_status alone(ar_error *err) { return ar__fail(err, AR_ERR_UNSUPPORTED, "ranks: this build is without MPI"); }

void ar__comm_close(ar_ranks *r) { (void)r; }
void ar__comm_fail(ar_ranks *r, ar_status status, const char *message) { (void)r, (void)status, (void)message; }

bool ar__comm_is_lost(const ar_ranks *r) {
    (void)r;
    return false;
}

bool ar__comm_is_over(const ar_ranks *r) {
    (void)r;
    return false;
}

ar_status ar__comm_broadcast(ar_ranks *r, void *data, size_t bytes, ar_error *err) {
    (void)r, (void)data, (void)bytes;
    return alone(err);
}

ar_status ar__comm_gather(ar_ranks *r, double *list, const size_t *bound, ar_error *err) {
    (void)r, (void)list, (void)bound;
    return alone(err);
}

ar_status ar__comm_hand(ar_ranks *r, int from, int to, void *data, size_t bytes, ar_error *err) {
    (void)r, (void)from, (void)to, (void)data, (void)bytes;
    return alone(err);
}

ar_status ar__comm_carry_begin(ar_ranks *r, const ar_carry *carry, ar_error *err) {
    (void)r, (void)carry;
    return alone(err);
}

void ar__comm_carry_ready(ar_ranks *r, size_t chunks) { (void)r, (void)chunks; }
ar_status ar__comm_carry_end(ar_ranks *r, ar_error *err) {
    (void)r;
    return alone(err);
}
