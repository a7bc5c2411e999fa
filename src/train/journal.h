/* A file of lines that begin with {"step":N: cut back to whole lines on resume.  Lines that the disk has no room for wait in
 * memory: a full disk ends no run before its checkpoint has to be written. */
#ifndef AR_TRAIN_JOURNAL_H
#define AR_TRAIN_JOURNAL_H

#include <stdint.h>

#include "alphar/error.h"
#include "base/mem.h"

typedef struct ar_journal {
    int fd; /* −1: not open, and nothing is written */
    char *path;
    ar_buf waiting; /* bytes that could not be written yet */
} ar_journal;

#define AR_JOURNAL_NONE ((ar_journal){.fd = -1})

/* Opens DIR/name, keeping the lines of steps up to `step` (0: none). */
ar_status ar__journal_open(ar_journal *out, const char *dir, const char *name, int64_t step, ar_error *err);
void ar__journal_close(ar_journal *j); /* safe on AR_JOURNAL_NONE */
/* A line with its newline. */
ar_status ar__journal_add(ar_journal *j, const char *line, size_t n, ar_error *err);
/* Writes what waits; until that succeeds no checkpoint may say that these steps are done. */
ar_status ar__journal_flush(ar_journal *j, ar_error *err);

#endif
