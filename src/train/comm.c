#include "train/comm.h"

#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fail.h"
#include "base/mem.h"
#include "kern/cpu.h"

/* Variables that a launcher sets for each process that it starts: how many there are. */
static const char *const counts[] = {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "MV2_COMM_WORLD_SIZE"};

static int number_in(const char *name) {
    const char *text = getenv(name);
    long n = text ? strtol(text, NULL, 10) : 0;
    return n > 0 && n < 1 << 20 ? (int)n : 0;
}

int ar__comm_launched(void) {
    if (number_in("ALPHAR_RANKS") == 1) return 0; /* each of them is to work for itself */
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++)
        if (number_in(counts[i])) return number_in(counts[i]);
    if (!getenv("PMIX_RANK")) return 0; /* srun --mpi=pmix */
    return number_in("SLURM_STEP_NUM_TASKS") ? number_in("SLURM_STEP_NUM_TASKS") : number_in("SLURM_NTASKS");
}

/* FNV-1a of the cores that this process may use. */
static uint64_t hash_mask(void) {
    cpu_set_t set;
    uint64_t hash = 14695981039346656037u;
    CPU_ZERO(&set);
    if (sched_getaffinity(0, sizeof set, &set)) return 0;
    for (size_t i = 0; i < CPU_SETSIZE; i++)
        if (CPU_ISSET(i, &set)) hash = (hash ^ i) * 1099511628211u;
    return hash;
}

static ar_place place_here(void) {
    ar_place p = {.mask = hash_mask(), .cores = ar__cpu_count(), .machine_cores = (int32_t)sysconf(_SC_NPROCESSORS_ONLN)};
    if (gethostname(p.host, sizeof p.host - 1)) memcpy(p.host, "unknown", 8);
    return p;
}

ar_status ar_ranks_join(ar_ranks **out, ar_ranks_end_fn on_end, void *user, ar_error *err) {
    ar_place mine = place_here();
    *out = NULL;
    ar_ranks *r = ar__alloc(1, sizeof *r);
    if (!r) return ar__fail_memory(err, "ranks");
    r->count = 1;
    ar_status s = ar__comm_launched() > 1 ? ar__comm_open(r, &mine, on_end, user, err) : AR_OK;
    if (s) {
        free(r->place);
        free(r);
        return s;
    }
    *out = r;
    return AR_OK;
}

void ar_ranks_leave(ar_ranks *r) {
    if (!r) return;
    if (r->own) ar__comm_close(r);
    free(r->place);
    free(r);
}

void ar_ranks_fail(ar_ranks *r, ar_status status, const char *message) {
    if (ar__is_shared(r)) ar__comm_fail(r, status, message);
}

bool ar_ranks_is_lost(const ar_ranks *r) { return ar__is_shared(r) && ar__comm_is_lost(r); }

int ar__ranks_here(const ar_ranks *r) {
    int here = 0;
    for (int i = 0; ar__is_shared(r) && i < r->count; i++) here += !strcmp(r->place[i].host, r->place[r->index].host);
    return here ? here : 1;
}

int ar_ranks_index(const ar_ranks *r) { return r ? r->index : 0; }
int ar_ranks_count(const ar_ranks *r) { return r ? r->count : 1; }

int ar_ranks_threads(const ar_ranks *r) {
    if (!ar__is_shared(r)) return 0;
    const ar_place *mine = &r->place[r->index];
    int alike = 0;
    for (int i = 0; i < r->count; i++) alike += !strcmp(r->place[i].host, mine->host) && r->place[i].mask == mine->mask;
    return alike && mine->cores > alike ? mine->cores / alike : 1;
}

ar_status ar_ranks_text(ar_ranks *r, char **text, ar_error *err) {
    if (!ar__is_shared(r)) return AR_OK;
    uint64_t bytes = *text ? strlen(*text) + 1 : 0;
    ar_status s = ar__comm_broadcast(r, &bytes, sizeof bytes, err);
    if (s) return s;
    if (r->index > 0) {
        free(*text);
        *text = bytes ? ar__alloc(bytes, 1) : NULL;
        if (bytes && !*text) return ar__fail_memory(err, "ranks");
    }
    return bytes ? ar__comm_broadcast(r, *text, bytes, err) : AR_OK;
}

/* ---- the link --------------------------------------------------------------------------------------------------------*/

enum { TRIAL_CHUNKS = 16 };

static void add(float *y, float a, const float *x, size_t n) {
    for (size_t i = 0; i < n; i++) y[i] += a * x[i];
}

/* A chunk goes up and down 2 (ranks − 1) links one after the other, and the others follow it closely. */
double ar__carry_bytes(double bytes, int ranks) { return bytes + (2.0 * (ranks - 1) - 1.0) * (double)AR_CHUNK * sizeof(float); }

static ar_status time_carry(double *seconds, ar_ranks *r, const ar_carry *carry, ar_error *err) {
    uint64_t word = 0;
    ar_status s = ar__comm_broadcast(r, &word, sizeof word, err); /* together */
    double began = ar__clock_seconds();
    if (!s) s = ar__comm_carry_begin(r, carry, err);
    if (s) return s;
    ar__comm_carry_ready(r, carry->chunks);
    s = ar__comm_carry_end(r, err);
    *seconds = ar__clock_seconds() - began;
    return s;
}

ar_status ar_ranks_measure(ar_ranks *r, double *bits_per_second, ar_error *err) {
    ar_chunk chunk[TRIAL_CHUNKS];
    size_t n = (size_t)TRIAL_CHUNKS * AR_CHUNK;
    double seconds = 0.0;
    *bits_per_second = 0.0;
    if (!ar__is_shared(r)) return AR_OK;
    float *sum = ar__alloc(n, sizeof *sum), *slot = ar__alloc(n, sizeof *slot);
    for (size_t i = 0; i < TRIAL_CHUNKS; i++) chunk[i] = (ar_chunk){i * AR_CHUNK, AR_CHUNK, 0};
    ar_carry carry = {
        .sum = sum, .slots = {{.at = slot, .count = r->index > 0}, {.begin = n}}, .chunk = chunk, .chunks = TRIAL_CHUNKS, .add = add};
    ar_status s = sum && slot ? time_carry(&seconds, r, &carry, err) : ar__fail_memory(err, "ranks");
    if (!s) s = time_carry(&seconds, r, &carry, err); /* the first one opened the connections */
    if (!s) *bits_per_second = 8.0 * ar__carry_bytes((double)n * sizeof *sum, r->count) / seconds;
    free(sum);
    free(slot);
    return s;
}
