/* Statuses, the error record and the log callback that every part of Alphar shares. */
#ifndef ALPHAR_ERROR_H
#define ALPHAR_ERROR_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define AR_API __attribute__((visibility("default")))
#define AR_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#else
#define AR_API
#define AR_PRINTF(fmt, args)
#endif

/* What a call came to.  Everything but AR_OK comes with a message in the ar_error. */
typedef enum ar_status {
    AR_OK = 0,
    AR_ERR_IO,          /* the operating system refused: open, read, write, rename */
    AR_ERR_FORMAT,      /* a file is not what it claims to be */
    AR_ERR_UNSUPPORTED, /* understood, but outside what Alphar does; the message offers a way */
    AR_ERR_VALUE,       /* an argument or setting has a value that makes no sense */
    AR_ERR_USAGE,       /* options that make no sense, alone or together */
    AR_ERR_MISMATCH,    /* two things that must agree do not */
    AR_ERR_NOT_FOUND,
    AR_ERR_EXISTS, /* an output is already there */
    AR_ERR_MEMORY,
    AR_ERR_NUMERIC,     /* NaN or infinity where a number was needed */
    AR_ERR_INTERRUPTED, /* stopped by the caller's request; what was saved is whole */
    AR_ERR_BUSY,        /* the runtime is in a call of another thread */
    AR_ERR_DEVICE       /* the device that computes failed; what was saved before is whole */
} ar_status;

/* One failure.  The message reads `place: found, wanted, what to do`.
 * Wherever an `ar_error *err` is taken, NULL is fine: then only the status is returned. */
typedef struct ar_error {
    ar_status status;
    char message[1024];
} ar_error;

/* A short lower-case word for scripts: "io", "format", "mismatch", … Never NULL. */
AR_API const char *ar_status_name(ar_status status);

typedef enum ar_log_level { AR_LOG_INFO, AR_LOG_WARNING } ar_log_level;

/* Receives progress and warnings, one line without a newline.  Called from the calling thread only. */
typedef void (*ar_log_fn)(void *user, ar_log_level level, const char *line);

/* "MAJOR.MINOR.PATCH" of the library. */
AR_API const char *ar_version(void);

/* How many slips (letters wrong, missing, added, swapped) apart two words are; SIZE_MAX where one is past 40 letters. */
AR_API size_t ar_word_distance(const char *a, const char *b);

#ifdef __cplusplus
}
#endif
#endif
