#include "train/journal.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
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

ar_status ar__journal_open(ar_journal *out, const char *dir, const char *name, int64_t step, ar_error *err) {
    *out = (ar_journal){.fd = -1, .path = ar__path_join(dir, name)};
    if (!out->path) return ar__fail_memory(err, dir);
    ar_buf old = {0};
    ar_status s = AR_OK;
    if (step > 0 && ar__path_exists(out->path)) s = ar__file_read(&old, out->path, (size_t)1 << 32, err);
    if (!s) s = ar__file_write(out->path, old.data ? old.data : "", keep_length(old.data, old.len, step), err);
    ar__buf_release(&old);
    if (!s) out->fd = open(out->path, O_WRONLY | O_APPEND | O_CLOEXEC);
    if (!s && out->fd < 0) s = ar__fail_errno(err, "%s: cannot open", out->path);
    if (s) ar__journal_close(out);
    return s;
}

void ar__journal_close(ar_journal *j) {
    if (j->fd >= 0) close(j->fd);
    free(j->path);
    ar__buf_release(&j->waiting);
    *j = AR_JOURNAL_NONE;
}

ar_status ar__journal_flush(ar_journal *j, ar_error *err) {
    size_t done = 0;
    ssize_t k = 0;
    while (done < j->waiting.len && ((k = write(j->fd, j->waiting.data + done, j->waiting.len - done)) > 0 || errno == EINTR))
        if (k > 0) done += (size_t)k;
    ar_status s = done == j->waiting.len ? AR_OK : ar__fail_errno(err, "%s: cannot write", j->path);
    if (done) memmove(j->waiting.data, j->waiting.data + done, j->waiting.len - done);
    j->waiting.len -= done;
    return s;
}

ar_status ar__journal_add(ar_journal *j, const char *line, size_t n, ar_error *err) {
    ar__buf_add(&j->waiting, line, n);
    if (j->waiting.failed) return ar__fail_memory(err, j->path);
    ar__journal_flush(j, NULL); /* what fails now is tried again, and reported by the next checkpoint */
    return AR_OK;
}
