/* How src/ reports the world's faults: set the message where the failure is known, return the status. */
#ifndef AR_BASE_FAIL_H
#define AR_BASE_FAIL_H

#include "alphar/error.h"

/* Formats the message into err (NULL is fine) and returns status, so that `return ar__fail(…)` is one line. */
ar_status ar__fail(ar_error *err, ar_status status, const char *format, ...) AR_PRINTF(3, 4);

/* As ar__fail with AR_ERR_IO and the text of errno behind the message. */
ar_status ar__fail_errno(ar_error *err, const char *format, ...) AR_PRINTF(2, 3);

/* The one message for memory that ran out while doing `what`. */
ar_status ar__fail_memory(ar_error *err, const char *what);

/* Puts `place: ` in front of the message that err already holds. */
ar_status ar__fail_at(ar_error *err, ar_status status, const char *place);

/* Messages speak of an output by the name that it was to have: replaces `way`, the name that it had on its way (with the
 * `/.new-PID` of a stage inside), by `name`. */
void ar__fail_rename(ar_error *err, const char *way, const char *name);

#endif
