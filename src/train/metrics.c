#include "train/metrics.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

#include "base/fail.h"

ar_status ar__metrics_open(ar_metrics *out, const char *dir, bool with_sites, int64_t step, ar_error *err) {
    *out = AR_METRICS_NONE;
    ar_status s = ar__journal_open(&out->steps, dir, AR_METRICS_FILE, step, err);
    if (!s && with_sites) s = ar__journal_open(&out->sites, dir, AR_STRENGTH_FILE, step, err);
    if (s) ar__metrics_close(out);
    return s;
}

void ar__metrics_close(ar_metrics *m) {
    ar__journal_close(&m->steps);
    ar__journal_close(&m->sites);
}

ar_status ar__metrics_flush(ar_metrics *m, ar_error *err) {
    ar_status s = ar__journal_flush(&m->steps, err);
    return s ? s : ar__journal_flush(&m->sites, err);
}

ar_status ar__metrics_step(ar_metrics *m, int64_t step, double loss, double lr, double grad_norm, uint64_t tokens, uint64_t supervised,
                           double seconds, const ar_judged *judged, double uneven, double strength, ar_error *err) {
    char line[512];
    int n = snprintf(line, sizeof line,
                     "{\"step\":%" PRId64 ",\"loss\":%.9g,\"lr\":%.9g,\"grad_norm\":%.9g,\"tokens\":%" PRIu64 ",\"supervised\":%" PRIu64
                     ",\"seconds\":%.4f",
                     step, loss, lr, grad_norm, tokens, supervised, seconds);
    if (judged) n += snprintf(line + n, sizeof line - (size_t)n, ",\"margin\":%.9g,\"accuracy\":%.9g", judged->margin, judged->accuracy);
    if (uneven >= 0.0) n += snprintf(line + n, sizeof line - (size_t)n, ",\"router_aux_loss\":%.9g", uneven);
    if (strength >= 0.0) n += snprintf(line + n, sizeof line - (size_t)n, ",\"strength\":%.6g", strength);
    n += snprintf(line + n, sizeof line - (size_t)n, "}\n");
    return ar__journal_add(&m->steps, line, (size_t)n, err);
}

ar_status ar__metrics_sites(ar_metrics *m, int64_t step, const ar_adapter *ad, const double *strength, ar_error *err) {
    ar_buf line = {0};
    ar__buf_printf(&line, "{\"step\":%" PRId64 ",\"strength\":{", step);
    for (size_t i = 0; i < ad->pair_count; i++) ar__buf_printf(&line, "%s\"%s\":%.6g", i ? "," : "", ad->pair[i].site, strength[i]);
    ar__buf_puts(&line, "}}\n");
    ar_status s = line.failed ? ar__fail_memory(err, AR_STRENGTH_FILE) : ar__journal_add(&m->sites, line.data, line.len, err);
    ar__buf_release(&line);
    return s;
}

ar_status ar__metrics_eval(ar_metrics *m, int64_t step, double loss, const ar_judged *judged, ar_error *err) {
    char line[256];
    int n = snprintf(line, sizeof line, "{\"step\":%" PRId64 ",\"eval_loss\":%.9g", step, loss);
    if (judged)
        n += snprintf(line + n, sizeof line - (size_t)n, ",\"eval_margin\":%.9g,\"eval_accuracy\":%.9g}\n", judged->margin,
                      judged->accuracy);
    else
        n += snprintf(line + n, sizeof line - (size_t)n, ",\"eval_perplexity\":%.9g}\n", exp(loss));
    return ar__journal_add(&m->steps, line, (size_t)n, err);
}
