#include "gen/sampler.h"

#include <math.h>
#include <string.h>

#include "base/rng.h"

/* A key that grows where the logit falls; both zeros have one. */
static uint32_t key_of(float logit) {
    uint32_t bits;
    logit += 0.0f;
    memcpy(&bits, &logit, sizeof bits);
    return bits >> 31 ? bits : ~(bits | 1u << 31);
}

/* Largest logit first, the lower id first among equals: the list comes in the order of the ids and three stable passes of
 * eleven bits keep it.  The result lies in `to`. */
static void sort(ar_candidate *to, ar_candidate *from, size_t n) {
    enum { BITS = 11, PASSES = 3, BUCKETS = 1 << BITS };
    size_t at[PASSES][BUCKETS] = {0};
    for (size_t i = 0; i < n; i++)
        for (int p = 0; p < PASSES; p++) at[p][key_of(from[i].logit) >> (p * BITS) & (BUCKETS - 1)]++;
    for (int p = 0; p < PASSES; p++) {
        size_t first = 0;
        for (int b = 0; b < BUCKETS; b++) {
            size_t count = at[p][b];
            at[p][b] = first;
            first += count;
        }
        for (size_t i = 0; i < n; i++) to[at[p][key_of(from[i].logit) >> (p * BITS) & (BUCKETS - 1)]++] = from[i];
        ar_candidate *swap = to;
        to = from;
        from = swap;
    }
}

static int32_t largest(const float *logits, size_t vocab) {
    size_t best = 0;
    for (size_t i = 1; i < vocab; i++)
        if (logits[i] > logits[best]) best = i;
    return (int32_t)best;
}

static void penalise(float *logits, size_t vocab, const uint8_t *seen, double penalty) {
    for (size_t i = 0; i < vocab; i++)
        if (seen[i]) logits[i] = (float)(logits[i] > 0.0f ? (double)logits[i] / penalty : (double)logits[i] * penalty);
}

/* Keeps the candidates (sorted) that the filters leave; at least one. */
static size_t filter(const ar_candidate *c, size_t n, const ar_generate_options *o) {
    if (o->top_k > 0 && (size_t)o->top_k < n) n = (size_t)o->top_k;
    double total = 0.0, sum = 0.0, top = (double)c[0].logit;
    if (o->top_p < 1.0) {
        size_t keep = 0;
        for (size_t i = 0; i < n; i++) total += exp((double)c[i].logit - top);
        while (keep < n && (keep == 0 || sum < o->top_p * total)) sum += exp((double)c[keep++].logit - top);
        n = keep;
    }
    if (o->min_p > 0.0)
        while (n > 1 && exp((double)c[n - 1].logit - top) < o->min_p) n--;
    return n;
}

int32_t ar__sample(float *logits, size_t vocab, const uint8_t *seen, ar_candidate *room, const ar_generate_options *o, uint64_t position) {
    if (o->repeat_penalty != 1.0) penalise(logits, vocab, seen, o->repeat_penalty);
    if (o->temperature <= 0.0) return largest(logits, vocab);
    for (size_t i = 0; i < vocab; i++) room[i] = (ar_candidate){(float)((double)logits[i] / o->temperature), (int32_t)i};
    sort(room + vocab, room, vocab);
    room += vocab;
    size_t n = filter(room, vocab, o);
    double total = 0.0, sum = 0.0;
    for (size_t i = 0; i < n; i++) total += exp((double)room[i].logit - (double)room[0].logit);
    ar_rng g = ar__rng_stream(o->seed, AR_RNG_SAMPLE, 1, 0);
    double at = ar__rng_uniform(&g, position) * total;
    for (size_t i = 0; i + 1 < n; i++) {
        sum += exp((double)room[i].logit - (double)room[0].logit);
        if (at < sum) return room[i].id;
    }
    return room[n - 1].id;
}
