/* A merged folder against the base with its adapters, on sequences of random ids. */
#include <math.h>
#include <stdlib.h>

#include "alphar/algebra.h"
#include "base/fail.h"
#include "base/mem.h"
#include "base/rng.h"
#include "gen/session.h"

enum { SHORTEST = 8, LONGEST = 32 };

static size_t draw_prompt(int32_t *ids, const ar_session *s, uint64_t seed, uint64_t prompt) {
    ar_rng g = ar__rng_stream(seed, AR_RNG_SAMPLE, prompt, 0);
    uint64_t vocab = (uint64_t)ar_model_vocab(s->model), most = (uint64_t)ar_model_max_positions(s->model);
    int32_t bos = s->tokenizer ? ar_tokenizer_bos(s->tokenizer) : -1;
    size_t n = SHORTEST + (size_t)(ar__rng_u64(&g, 0) % (LONGEST - SHORTEST + 1));
    if (n > most) n = (size_t)most;
    for (size_t i = 0; i < n; i++) ids[i] = (int32_t)(ar__rng_u64(&g, i + 1) % vocab);
    if (bos >= 0 && (uint64_t)bos < vocab) ids[0] = bos;
    return n;
}

ar_status ar_merge_check_run(ar_merge_check *out, ar_session *before, const ar_runtime *rt, const char *merged, int prompts, uint64_t seed,
                             ar_error *err) {
    ar_session_options o = {.model = merged};
    ar_session *after = NULL;
    double x[LONGEST], y[LONGEST], sum = 0;
    int32_t ids[LONGEST];
    size_t count = 0;
    *out = (ar_merge_check){.prompts = prompts};
    ar_status s = ar_session_open(&after, rt, &o, err);
    for (int k = 0; !s && k < prompts; k++) {
        size_t n = draw_prompt(ids, before, seed, (uint64_t)k);
        if ((s = ar_score(x, before, ids, n, NULL, err)) || (s = ar_score(y, after, ids, n, NULL, err))) break;
        for (size_t i = 0; i + 1 < n; i++) {
            double d = fabs(x[i] - y[i]);
            if (d > out->max_difference) out->max_difference = d;
            sum += d;
            count++;
        }
    }
    ar_session_free(after);
    out->mean_difference = count ? sum / (double)count : 0;
    return s;
}
