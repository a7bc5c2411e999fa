/* Files: read-only maps, whole reads, and writes that appear whole or not at all (temporary name, fsync, rename). */
#ifndef AR_BASE_FILE_H
#define AR_BASE_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "alphar/error.h"
#include "base/mem.h"

/* A file's bytes, mapped read-only and shared; pages come in when touched. */
typedef struct ar_filemap {
    const unsigned char *data; /* NULL when the file is empty */
    size_t size;
} ar_filemap;

ar_status ar__filemap_open(ar_filemap *out, const char *path, ar_error *err);
void ar__filemap_close(ar_filemap *m); /* safe on a zeroed map */
/* These bytes of some map are done with: their pages leave this process's memory, and come back when touched.  Whole
 * pages only, so that calling it for every tensor of a file keeps a page or two between neighbours. */
void ar__filemap_forget(const void *bytes, size_t n);

/* The whole file as a buffer (NUL-terminated).  Refuses more than max_bytes. */
ar_status ar__file_read(ar_buf *out, const char *path, size_t max_bytes, ar_error *err);

/* The first n bytes of a regular file; false where there are fewer, or it cannot be read. */
bool ar__file_peek(void *out, size_t n, const char *path);

/* A file being written under `path.tmp-PID`; it takes its name in commit, or vanishes in abort. */
typedef struct ar_writer {
    int fd;
    char *path, *temporary;
    uint64_t bytes;
} ar_writer;

ar_status ar__writer_open(ar_writer *out, const char *path, ar_error *err);
ar_status ar__writer_put(ar_writer *w, const void *bytes, size_t n, ar_error *err);
ar_status ar__writer_commit(ar_writer *w, ar_error *err); /* on failure the temporary is gone and the old file stands */
void ar__writer_abort(ar_writer *w);                      /* safe after commit and on a zeroed writer with fd -1 */

/* What a format's writer calls when it comes to a tensor: puts all of its bytes, in order. */
typedef ar_status (*ar_stream_fn)(void *user, ar_writer *w, ar_error *err);

/* Writes n bytes to path, whole or not at all. */
ar_status ar__file_write(const char *path, const void *bytes, size_t n, ar_error *err);

/* The bytes of `from` under the name `to`, which appears whole or not at all: a copy, or a second name of the same file
 * where the file system has such (a copy elsewhere). */
ar_status ar__file_copy(const char *from, const char *to, ar_error *err);
ar_status ar__file_link(const char *from, const char *to, ar_error *err);
/* Bytes that may still be written to the file system that holds the folder; -1 where it does not say. */
int64_t ar__disk_free(const char *dir);

bool ar__path_exists(const char *path);
bool ar__path_is_dir(const char *path);
bool ar__dir_holds(const char *dir, const char *name); /* is there a file or folder of that name in it? */
bool ar__dir_is_empty(const char *path);               /* false where it cannot be read */
/* Is `path` the folder itself, or does it lie somewhere below it?  Links do not hide it. */
bool ar__path_lies_in(const char *path, const char *dir);
/* `dir/name`, malloc'ed; NULL when memory runs out. */
char *ar__path_join(const char *dir, const char *name);
/* The folder that holds it, "." where the path names none; malloc'ed; NULL when memory runs out. */
char *ar__path_parent(const char *path);
const char *ar__path_base(const char *path);               /* the part behind the last '/' */
ar_status ar__dir_make(const char *path, ar_error *err);   /* with parents; existing is fine */
ar_status ar__dir_remove(const char *path, ar_error *err); /* with everything in it; absent is fine */
ar_status ar__dir_sync(const char *path, ar_error *err);   /* makes renames in it durable */
/* rename(2) + sync of the parent. */
ar_status ar__path_rename(const char *from, const char *to, ar_error *err);

#endif
