#include "base/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/fail.h"

static ar_status open_regular(int *fd, size_t *size, const char *path, ar_error *err) {
    struct stat st;
    *fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a FIFO must be refused below, not waited for */
    if (*fd < 0) return ar__fail_errno(err, "%s: cannot open", path);
    if (fstat(*fd, &st) != 0) {
        ar_status s = ar__fail_errno(err, "%s: cannot stat", path);
        close(*fd);
        return s;
    }
    if (!S_ISREG(st.st_mode)) {
        close(*fd);
        return ar__fail(err, AR_ERR_IO, "%s: %s, wanted a regular file", path, S_ISDIR(st.st_mode) ? "is a folder" : "is a special file");
    }
    *size = (size_t)st.st_size;
    return AR_OK;
}

ar_status ar__filemap_open(ar_filemap *out, const char *path, ar_error *err) {
    int fd;
    *out = (ar_filemap){0};
    ar_status s = open_regular(&fd, &out->size, path, err);
    if (s) return s;
    if (out->size) {
        void *p = mmap(NULL, out->size, PROT_READ, MAP_SHARED, fd, 0);
        if (p == MAP_FAILED) {
            s = ar__fail_errno(err, "%s: cannot map %zu bytes", path, out->size);
            out->size = 0;
        } else {
            out->data = p;
        }
    }
    close(fd);
    return s;
}

void ar__filemap_close(ar_filemap *m) {
    if (m->data) munmap((void *)(uintptr_t)m->data, m->size);
    *m = (ar_filemap){0};
}

void ar__filemap_forget(const void *bytes, size_t n) {
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), from = (uintptr_t)bytes;
    uintptr_t first = (from + page - 1) / page * page, end = (from + n) / page * page;
    if (end > first) madvise((void *)first, end - first, MADV_DONTNEED);
}

ar_status ar__file_read(ar_buf *out, const char *path, size_t max_bytes, ar_error *err) {
    int fd;
    size_t size;
    ar_status s = open_regular(&fd, &size, path, err);
    if (s) return s;
    if (size > max_bytes) {
        close(fd);
        return ar__fail(err, AR_ERR_FORMAT, "%s: %zu bytes, at most %zu were expected here", path, size, max_bytes);
    }
    char block[65536];
    for (;;) {
        ssize_t n = read(fd, block, sizeof block);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) {
            s = ar__fail_errno(err, "%s: cannot read", path);
            break;
        }
        if (n == 0) break;
        ar__buf_add(out, block, (size_t)n);
    }
    close(fd);
    ar__buf_add(out, "", 0);
    if (!s && out->failed) s = ar__fail_memory(err, path);
    return s;
}

bool ar__file_peek(void *out, size_t n, const char *path) {
    int fd;
    size_t size;
    if (open_regular(&fd, &size, path, NULL)) return false;
    bool got = size >= n && pread(fd, out, n, 0) == (ssize_t)n;
    close(fd);
    return got;
}

ar_status ar__writer_open(ar_writer *out, const char *path, ar_error *err) {
    *out = (ar_writer){.fd = -1};
    ar_buf name = {0};
    ar__buf_printf(&name, "%s.tmp-%ld", path, (long)getpid());
    out->path = ar__strdup(path);
    out->temporary = name.data;
    if (name.failed || !out->path) {
        ar__writer_abort(out);
        return ar__fail_memory(err, path);
    }
    out->fd = open(out->temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (out->fd < 0) {
        ar_status s = ar__fail_errno(err, "%s: cannot create", path);
        ar__writer_abort(out);
        return s;
    }
    return AR_OK;
}

ar_status ar__writer_put(ar_writer *w, const void *bytes, size_t n, ar_error *err) {
    const char *p = bytes;
    while (n) {
        ssize_t k = write(w->fd, p, n > (1u << 30) ? (1u << 30) : n);
        if (k < 0 && errno == EINTR) continue;
        if (k < 0) return ar__fail_errno(err, "%s: cannot write at byte %llu", w->path, (unsigned long long)w->bytes);
        p += k;
        n -= (size_t)k;
        w->bytes += (uint64_t)k;
    }
    return AR_OK;
}

char *ar__path_parent(const char *path) {
    size_t n = strlen(path);
    while (n > 1 && path[n - 1] == '/') n--; /* a folder may be written so */
    while (n > 0 && path[n - 1] != '/') n--;
    if (n == 0) return ar__strdup(".");
    return ar__strndup(path, n == 1 ? 1 : n - 1);
}

ar_status ar__dir_sync(const char *path, ar_error *err) {
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return ar__fail_errno(err, "%s: cannot open folder", path);
    /* Some file systems refuse to sync a folder (EINVAL); there the rename is as durable as it gets. */
    int bad = fsync(fd) != 0 && errno != EINVAL && errno != EROFS;
    ar_status s = bad ? ar__fail_errno(err, "%s: cannot sync folder", path) : AR_OK;
    close(fd);
    return s;
}

ar_status ar__path_rename(const char *from, const char *to, ar_error *err) {
    if (rename(from, to) != 0) return ar__fail_errno(err, "%s: cannot rename to %s", from, to);
    char *dir = ar__path_parent(to);
    if (!dir) return ar__fail_memory(err, to);
    ar_status s = ar__dir_sync(dir, err);
    free(dir);
    return s;
}

ar_status ar__writer_commit(ar_writer *w, ar_error *err) {
    ar_status s = AR_OK;
    if (fsync(w->fd) != 0) s = ar__fail_errno(err, "%s: cannot sync", w->path);
    if (close(w->fd) != 0 && !s) s = ar__fail_errno(err, "%s: cannot close", w->path);
    w->fd = -1;
    if (!s) s = ar__path_rename(w->temporary, w->path, err);
    if (s) {
        ar__writer_abort(w);
        return s;
    }
    free(w->temporary);
    w->temporary = NULL;
    ar__writer_abort(w);
    return AR_OK;
}

void ar__writer_abort(ar_writer *w) {
    if (w->fd >= 0) close(w->fd);
    if (w->temporary) unlink(w->temporary);
    free(w->temporary);
    free(w->path);
    *w = (ar_writer){.fd = -1};
}

ar_status ar__file_write(const char *path, const void *bytes, size_t n, ar_error *err) {
    ar_writer w;
    ar_status s = ar__writer_open(&w, path, err);
    if (s) return s;
    if ((s = ar__writer_put(&w, bytes, n, err))) {
        ar__writer_abort(&w);
        return s;
    }
    return ar__writer_commit(&w, err);
}

ar_status ar__file_copy(const char *from, const char *to, ar_error *err) {
    ar_filemap map;
    ar_writer w;
    ar_status s = ar__filemap_open(&map, from, err);
    if (s) return s;
    if (!(s = ar__writer_open(&w, to, err))) {
        s = ar__writer_put(&w, map.data, map.size, err);
        if (!s) s = ar__writer_commit(&w, err);
        ar__writer_abort(&w);
    }
    ar__filemap_close(&map);
    return s;
}

ar_status ar__file_link(const char *from, const char *to, ar_error *err) {
    ar_buf name = {0};
    ar__buf_printf(&name, "%s.tmp-%ld", to, (long)getpid());
    if (name.failed) return ar__fail_memory(err, to);
    unlink(name.data);
    bool linked = link(from, name.data) == 0;
    ar_status s = linked ? ar__path_rename(name.data, to, err) : ar__file_copy(from, to, err);
    /* Where both names are the same file already, rename(2) does nothing and leaves the first. */
    if (linked) unlink(name.data);
    ar__buf_release(&name);
    return s;
}

int64_t ar__disk_free(const char *dir) {
    struct statvfs fs;
    return statvfs(dir, &fs) == 0 ? (int64_t)fs.f_bavail * (int64_t)fs.f_frsize : -1;
}

bool ar__path_exists(const char *path) {
    struct stat st;
    return lstat(path, &st) == 0;
}

bool ar__path_is_dir(const char *path) {
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

bool ar__path_lies_in(const char *path, const char *dir) {
    struct stat x, y;
    if (stat(path, &x) == 0 && stat(dir, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino) return true;
    char *inner = realpath(path, NULL), *outer = realpath(dir, NULL);
    size_t n = outer ? strlen(outer) : 0;
    bool in = inner && outer && !strncmp(inner, outer, n) && (inner[n] == '\0' || inner[n] == '/' || !strcmp(outer, "/"));
    free(inner);
    free(outer);
    return in;
}

char *ar__path_join(const char *dir, const char *name) {
    ar_buf b = {0};
    size_t n = strlen(dir);
    ar__buf_printf(&b, "%s%s%s", dir, n && dir[n - 1] == '/' ? "" : "/", name);
    if (b.failed) ar__buf_release(&b);
    return b.data;
}

const char *ar__path_base(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

bool ar__dir_holds(const char *dir, const char *name) {
    char *path = ar__path_join(dir, name);
    bool there = path && ar__path_exists(path);
    free(path);
    return there;
}

bool ar__dir_is_empty(const char *path) {
    DIR *d = opendir(path);
    if (!d) return false;
    bool empty = true;
    for (struct dirent *e; empty && (e = readdir(d));) empty = !strcmp(e->d_name, ".") || !strcmp(e->d_name, "..");
    closedir(d);
    return empty;
}

ar_status ar__dir_make(const char *path, ar_error *err) {
    char *copy = ar__strdup(path);
    if (!copy) return ar__fail_memory(err, path);
    ar_status s = AR_OK;
    for (char *p = copy + 1; !s && *p; p++) {
        if (*p != '/') continue;
        *p = '\0';
        if (mkdir(copy, 0777) != 0 && errno != EEXIST) s = ar__fail_errno(err, "%s: cannot create folder", copy);
        *p = '/';
    }
    if (!s && mkdir(copy, 0777) != 0 && errno != EEXIST) s = ar__fail_errno(err, "%s: cannot create folder", copy);
    if (!s && !ar__path_is_dir(path)) s = ar__fail(err, AR_ERR_IO, "%s: is a file, wanted a folder", path);
    free(copy);
    return s;
}

ar_status ar__dir_remove(const char *path, ar_error *err) {
    struct stat st;
    if (lstat(path, &st) != 0) return errno == ENOENT ? AR_OK : ar__fail_errno(err, "%s: cannot stat", path);
    if (!S_ISDIR(st.st_mode)) return unlink(path) == 0 ? AR_OK : ar__fail_errno(err, "%s: cannot remove", path);
    DIR *d = opendir(path);
    if (!d) return ar__fail_errno(err, "%s: cannot open folder", path);
    ar_status s = AR_OK;
    for (struct dirent *e; !s && (e = readdir(d));) {
        if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, "..")) continue;
        char *child = ar__path_join(path, e->d_name);
        s = child ? ar__dir_remove(child, err) : ar__fail_memory(err, path);
        free(child);
    }
    closedir(d);
    if (!s && rmdir(path) != 0) s = ar__fail_errno(err, "%s: cannot remove folder", path);
    return s;
}
