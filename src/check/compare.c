/* Two sessions on the same sequences of random ids: how far apart what they say is. */
#include <math.h>
#include <stdlib.h>

#include "base/fail.h"
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

ar_status ar_sessions_compare(ar_session_difference *out, ar_session *a, ar_session *b, int prompts, uint64_t seed, ar_error *err) {
    double x[LONGEST], y[LONGEST], sum = 0;
    int32_t ids[LONGEST];
    size_t count = 0;
    ar_status s = AR_OK;
    *out = (ar_session_difference){.prompts = prompts};
    AR_ONE_CALL(a->rt, err);
    if (ar_model_vocab(a->model) != ar_model_vocab(b->model))
        return ar__fail(err, AR_ERR_MISMATCH, "one model has %lld tokens, the other %lld", (long long)ar_model_vocab(a->model),
                        (long long)ar_model_vocab(b->model));
    for (int k = 0; !s && k < prompts; k++) {
        size_t n = draw_prompt(ids, a, seed, (uint64_t)k);
        if ((s = ar_score(x, a, ids, n, NULL, err)) || (s = ar_score(y, b, ids, n, NULL, err))) break;
        for (size_t i = 0; i + 1 < n; i++) {
            double d = fabs(x[i] - y[i]);
            if (d > out->largest) out->largest = d;
            sum += d;
            count++;
        }
    }
    out->mean = count ? sum / (double)count : 0;
    return s;
}
