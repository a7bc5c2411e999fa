#include "base/lock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fail.h"
#include "base/file.h"

static ar_status fail_held(const char *dir, int fd, ar_error *err) {
    char owner[160] = "";
    ssize_t n = pread(fd, owner, sizeof owner - 1, 0);
    while (n > 0 && owner[n - 1] == '\n') owner[--n] = '\0';
    return ar__fail(err, AR_ERR_EXISTS, "%s: %s is writing there; wait for it, stop it (a checkpoint is kept), or give another folder", dir,
                    n > 0 ? owner : "another process");
}

/* Whether the file that fd holds still stands under its name: an owner that ends removes it. */
static bool is_current(int fd, const char *path) {
    struct stat held, named;
    return fstat(fd, &held) == 0 && stat(path, &named) == 0 && held.st_dev == named.st_dev && held.st_ino == named.st_ino;
}

static ar_status note_owner(int fd, const char *path, ar_error *err) {
    char host[80] = "", owner[160];
    gethostname(host, sizeof host - 1);
    int n = snprintf(owner, sizeof owner, "process %ld on %s\n", (long)getpid(), host);
    bool written = ftruncate(fd, 0) == 0 && pwrite(fd, owner, (size_t)n, 0) == n;
    /* A full disk must not keep a run from going on: the lock holds without its owner's name. */
    return written || errno == ENOSPC || errno == EDQUOT ? AR_OK : ar__fail_errno(err, "%s: cannot write", path);
}

ar_status ar__lock_take(ar_lock *out, const char *dir, ar_error *err) {
    *out = (ar_lock){.fd = -1, .path = ar__path_join(dir, AR_LOCK_NAME)};
    if (!out->path) return ar__fail_memory(err, dir);
    ar_status s = AR_OK;
    while (!s) {
        out->fd = open(out->path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666);
        bool locked = out->fd >= 0 && flock(out->fd, LOCK_EX | LOCK_NB) == 0;
        out->is_loose = !locked && out->fd >= 0 && errno != EWOULDBLOCK;
        if (out->fd < 0)
            s = ar__fail_errno(err, "%s: cannot create", out->path);
        else if (!locked && !out->is_loose)
            s = fail_held(dir, out->fd, err);
        else if (is_current(out->fd, out->path))
            break;
        if (out->fd >= 0) close(out->fd);
        out->fd = -1;
    }
    if (!s) s = note_owner(out->fd, out->path, err);
    if (s) ar__lock_drop(out);
    return s;
}

void ar__lock_rename(ar_lock *lock, const char *path) {
    char *copy = ar__strdup(path);
    if (copy) free(lock->path); /* else the file stays behind, which harms nobody */
    if (copy) lock->path = copy;
}

void ar__lock_drop(ar_lock *lock) {
    if (lock->fd >= 0) {
        unlink(lock->path); /* while it is held: whoever opened it meanwhile sees that it is gone and starts over */
        close(lock->fd);
    }
    free(lock->path);
    *lock = AR_LOCK_NONE;
}

ar_status ar__lock_check(const char *dir, ar_error *err) {
    char *path = ar__path_join(dir, AR_LOCK_NAME);
    if (!path) return ar__fail_memory(err, dir);
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    ar_status s = AR_OK;
    if (fd >= 0 && flock(fd, LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK) s = fail_held(dir, fd, err);
    if (fd >= 0) close(fd);
    free(path);
    return s;
}
