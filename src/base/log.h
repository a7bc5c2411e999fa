/* Log lines go to the callback of the runtime; src/ itself never prints. */
#ifndef AR_BASE_LOG_H
#define AR_BASE_LOG_H

#include "alphar/error.h"

typedef struct ar_log {
    ar_log_fn fn; /* NULL: silence */
    void *user;
} ar_log;

void ar__log_info(const ar_log *log, const char *format, ...) AR_PRINTF(2, 3);
void ar__log_warn(const ar_log *log, const char *format, ...) AR_PRINTF(2, 3);

#endif
