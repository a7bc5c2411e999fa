#include "base/spool.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fail.h"
#include "base/file.h"
#include "base/mem.h"

struct ar_spool {
    int fd;
    uint64_t end;
    char *dir;
};

/* mkstemp and unlink rather than O_TMPFILE, which not every file system has. */
static ar_status open_unlinked(ar_spool *spool, ar_error *err) {
    ar_buf name = {0};
    ar__buf_printf(&name, "%s/.alphar-XXXXXX", spool->dir);
    if (name.failed) return ar__fail_memory(err, spool->dir);
    spool->fd = mkstemp(name.data);
    ar_status s = spool->fd < 0 ? ar__fail_errno(err, "%s: cannot create a file for intermediate numbers", spool->dir) : AR_OK;
    if (!s) unlink(name.data);
    ar__buf_release(&name);
    return s;
}

/* An output's folder may come later: what of the path is there is on the same disk. */
static char *nearest_folder(const char *dir) {
    char *at = ar__strdup(dir);
    while (at && !ar__path_exists(at) && strcmp(at, ".") != 0) {
        char *above = ar__path_parent(at);
        free(at);
        at = above;
    }
    return at;
}

ar_status ar__spool_new(ar_spool **out, const char *dir, ar_error *err) {
    ar_spool *spool = ar__alloc(1, sizeof *spool);
    *out = NULL;
    if (!spool) return ar__fail_memory(err, dir);
    spool->fd = -1;
    spool->dir = nearest_folder(dir);
    ar_status s = spool->dir ? open_unlinked(spool, err) : ar__fail_memory(err, dir);
    if (s)
        ar__spool_free(spool);
    else
        *out = spool;
    return s;
}

void ar__spool_free(ar_spool *spool) {
    if (!spool) return;
    if (spool->fd >= 0) close(spool->fd);
    free(spool->dir);
    free(spool);
}

ar_status ar__spool_put(uint64_t *at, ar_spool *spool, const void *bytes, size_t n, ar_error *err) {
    const char *p = bytes;
    *at = spool->end;
    for (uint64_t to = spool->end; n;) {
        ssize_t k = pwrite(spool->fd, p, n > (1u << 30) ? (1u << 30) : n, (off_t)to);
        if (k < 0 && errno == EINTR) continue;
        if (k <= 0) return ar__fail_errno(err, "%s: cannot write intermediate numbers", spool->dir);
        p += k;
        n -= (size_t)k;
        to += (uint64_t)k;
        spool->end = to;
    }
    return AR_OK;
}

ar_status ar__spool_get(void *out, const ar_spool *spool, uint64_t at, size_t n, ar_error *err) {
    char *p = out;
    while (n) {
        ssize_t k = pread(spool->fd, p, n > (1u << 30) ? (1u << 30) : n, (off_t)at);
        if (k < 0 && errno == EINTR) continue;
        if (k <= 0) return ar__fail_errno(err, "%s: cannot read intermediate numbers back", spool->dir);
        p += k;
        n -= (size_t)k;
        at += (uint64_t)k;
    }
    return AR_OK;
}
