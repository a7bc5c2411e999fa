/* One process at a time writes into a folder: a file in it, `.alphar-lock`, that its owner holds with flock(2) and that
 * names him.  The kernel drops the lock with the process, however that ends, so a lock is never stale. */
#ifndef AR_BASE_LOCK_H
#define AR_BASE_LOCK_H

#include <stdbool.h>

#include "alphar/error.h"

#define AR_LOCK_NAME ".alphar-lock"

typedef struct ar_lock {
    int fd; /* -1: not held */
    char *path;
    bool is_loose; /* the file system knows no locks: nothing keeps another process out */
} ar_lock;

#define AR_LOCK_NONE ((ar_lock){.fd = -1})

/* Takes the lock of an existing folder, or fails with AR_ERR_EXISTS, naming the process that has it. */
ar_status ar__lock_take(ar_lock *out, const char *dir, ar_error *err);
/* The folder got another name, and with it the lock's file. */
void ar__lock_rename(ar_lock *lock, const char *path);
/* Removes the file and gives the lock up; safe on AR_LOCK_NONE and a second time. */
void ar__lock_drop(ar_lock *lock);
/* AR_ERR_EXISTS, naming the process, while one holds the folder's lock; AR_OK otherwise, also where there is no folder. */
ar_status ar__lock_check(const char *dir, ar_error *err);

#endif
