/* Log-probabilities of a given sequence, and its logits as a file. */
#include <math.h>
#include <stdlib.h>

#include "base/fail.h"
#include "base/mem.h"
#include "gen/session.h"

static ar_status write_logits(ar_pass *p, const ar_batch *b, const char *path, ar_error *err) {
    size_t t = b->rows.count, vocab = (size_t)p->model->arch.vocab, n;
    float *logits = ar__mul(&n, t, vocab) ? ar__alloc(n, sizeof *logits) : NULL;
    size_t *rows = ar__alloc(t, sizeof *rows);
    ar_st_writer *w = NULL;
    ar_status s = logits && rows ? ar__st_writer_new(&w, err) : ar__fail_memory(err, "logits");
    for (size_t i = 0; rows && i < t; i++) rows[i] = i;
    if (!s) {
        ar__pass_logits(p, logits, b, rows, t);
        s = p->model->rt->ops->memory->settle(p->model->rt, err);
        if (!s) s = ar__st_writer_add(w, "logits", AR_F32, 2, (const int64_t[]){(int64_t)t, (int64_t)vocab}, logits, err);
    }
    if (!s) s = ar__st_writer_save(w, path, err);
    ar__st_writer_free(w);
    free(logits);
    free(rows);
    return s;
}

ar_status ar_score(double *logprobs, ar_session *s, const int32_t *ids, size_t count, const char *logits_path, ar_error *err) {
    AR_ONE_CALL(s->rt, err);
    if (!ids || !logprobs) return ar__fail(err, AR_ERR_VALUE, "score: ids or logprobs are NULL");
    if (count < 2) return ar__fail(err, AR_ERR_VALUE, "score: %zu token%s, wanted at least 2", count, count == 1 ? "" : "s");
    ar_status st = ar__session_check_ids(s, ids, count, err);
    if (!st) st = ar__session_check_length(s, count, err);
    if (st) return st;
    int32_t *targets = ar__alloc(count, sizeof *targets);
    float *nll = ar__alloc(count, sizeof *nll);
    ar_pass *p = NULL;
    st = targets && nll ? ar__session_pass(&p, s, count, 1, count, 0, err) : ar__fail_memory(err, "score");
    if (!st) {
        size_t start[2] = {0, count};
        double sum;
        ar_segment seg = ar__session_segment(s, 1);
        ar_batch b = {.rows = {.count = count, .samples = 1, .start = start, .segments = &seg, .segment_count = 1},
                      .ids = ids,
                      .targets = targets,
                      .all_rows = logits_path != NULL};
        for (size_t i = 0; i < count; i++) targets[i] = i + 1 < count ? ids[i + 1] : -1;
        ar__pass_forward(p, &b, NULL);
        ar__pass_loss(p, &b, &sum, nll, 0.0f);
        st = s->rt->ops->memory->settle(s->rt, err);
        for (size_t i = 0; i + 1 < count; i++) logprobs[i] = -(double)nll[i];
        for (size_t i = 0; !st && i + 1 < count; i++)
            if (!isfinite(nll[i])) st = ar__session_not_finite(s, "the log-probabilities", err);
        if (!st && logits_path) st = write_logits(p, &b, logits_path, err);
    }
    ar__pass_free(p);
    free(targets);
    free(nll);
    return st;
}
