#include "train/metrics.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fail.h"
#include "base/file.h"

/* The bytes of the lines whose step is at most `step`. */
static size_t keep_length(const char *text, size_t n, int64_t step) {
    size_t kept = 0;
    while (text && kept < n) {
        const char *line = text + kept, *end = memchr(line, '\n', n - kept);
        int64_t at;
        if (!end || sscanf(line, "{\"step\":%" SCNd64, &at) != 1 || at > step) break;
        kept = (size_t)(end - text) + 1;
    }
    return kept;
}

ar_status ar__metrics_open(ar_metrics *out, const char *dir, int64_t step, ar_error *err) {
    *out = (ar_metrics){.fd = -1, .path = ar__path_join(dir, "metrics.jsonl")};
    if (!out->path) return ar__fail_memory(err, dir);
    ar_buf old = {0};
    ar_status s = AR_OK;
    if (step > 0 && ar__path_exists(out->path)) s = ar__file_read(&old, out->path, (size_t)1 << 32, err);
    if (!s) s = ar__file_write(out->path, old.data ? old.data : "", keep_length(old.data, old.len, step), err);
    ar__buf_release(&old);
    if (!s) out->fd = open(out->path, O_WRONLY | O_APPEND | O_CLOEXEC);
    if (!s && out->fd < 0) s = ar__fail_errno(err, "%s: cannot open", out->path);
    if (s) ar__metrics_close(out);
    return s;
}

void ar__metrics_close(ar_metrics *m) {
    if (m->fd >= 0) close(m->fd);
    free(m->path);
    ar__buf_release(&m->waiting);
    *m = (ar_metrics){.fd = -1};
}

ar_status ar__metrics_flush(ar_metrics *m, ar_error *err) {
    size_t done = 0;
    ssize_t k = 0;
    while (done < m->waiting.len && ((k = write(m->fd, m->waiting.data + done, m->waiting.len - done)) > 0 || errno == EINTR))
        if (k > 0) done += (size_t)k;
    ar_status s = done == m->waiting.len ? AR_OK : ar__fail_errno(err, "%s: cannot write", m->path);
    if (done) memmove(m->waiting.data, m->waiting.data + done, m->waiting.len - done);
    m->waiting.len -= done;
    return s;
}

static ar_status put(ar_metrics *m, const char *line, size_t n, ar_error *err) {
    ar__buf_add(&m->waiting, line, n);
    if (m->waiting.failed) return ar__fail_memory(err, m->path);
    ar__metrics_flush(m, NULL); /* what fails now is tried again, and reported by the next checkpoint */
    return AR_OK;
}

ar_status ar__metrics_step(ar_metrics *m, int64_t step, double loss, double lr, double grad_norm, uint64_t tokens, uint64_t supervised,
                           double seconds, const ar_judged *judged, double strength, ar_error *err) {
    char line[512];
    int n = snprintf(line, sizeof line,
                     "{\"step\":%" PRId64 ",\"loss\":%.9g,\"lr\":%.9g,\"grad_norm\":%.9g,\"tokens\":%" PRIu64 ",\"supervised\":%" PRIu64
                     ",\"seconds\":%.4f",
                     step, loss, lr, grad_norm, tokens, supervised, seconds);
    if (judged) n += snprintf(line + n, sizeof line - (size_t)n, ",\"margin\":%.9g,\"accuracy\":%.9g", judged->margin, judged->accuracy);
    if (strength >= 0.0) n += snprintf(line + n, sizeof line - (size_t)n, ",\"strength\":%.6g", strength);
    n += snprintf(line + n, sizeof line - (size_t)n, "}\n");
    return put(m, line, (size_t)n, err);
}

ar_status ar__metrics_eval(ar_metrics *m, int64_t step, double loss, const ar_judged *judged, ar_error *err) {
    char line[256];
    int n = snprintf(line, sizeof line, "{\"step\":%" PRId64 ",\"eval_loss\":%.9g", step, loss);
    if (judged)
        n += snprintf(line + n, sizeof line - (size_t)n, ",\"eval_margin\":%.9g,\"eval_accuracy\":%.9g}\n", judged->margin,
                      judged->accuracy);
    else
        n += snprintf(line + n, sizeof line - (size_t)n, ",\"eval_perplexity\":%.9g}\n", exp(loss));
    return put(m, line, (size_t)n, err);
}
