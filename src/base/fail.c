#include "base/fail.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static void set(ar_error *err, ar_status status, const char *format, va_list ap) AR_PRINTF(3, 0);

static void set(ar_error *err, ar_status status, const char *format, va_list ap) {
    err->status = status;
    vsnprintf(err->message, sizeof err->message, format, ap);
    /* Names come from files: none of them may break the line or steer a terminal. */
    for (char *p = err->message; *p; p++)
        if ((unsigned char)*p < 0x20 || *p == 0x7f) *p = '?';
}

ar_status ar__fail(ar_error *err, ar_status status, const char *format, ...) {
    if (err) {
        va_list ap;
        va_start(ap, format);
        set(err, status, format, ap);
        va_end(ap);
    }
    return status;
}

ar_status ar__fail_errno(ar_error *err, const char *format, ...) {
    int code = errno;
    if (err) {
        va_list ap;
        va_start(ap, format);
        set(err, AR_ERR_IO, format, ap);
        va_end(ap);
        size_t n = strlen(err->message);
        snprintf(err->message + n, sizeof err->message - n, ": %s", strerror(code));
    }
    return AR_ERR_IO;
}

ar_status ar__fail_memory(ar_error *err, const char *what) { return ar__fail(err, AR_ERR_MEMORY, "%s: out of memory", what); }

ar_status ar__fail_at(ar_error *err, ar_status status, const char *place) {
    if (err) {
        char rest[sizeof err->message];
        memcpy(rest, err->message, sizeof rest);
        rest[sizeof rest - 1] = '\0';
        err->status = status;
        snprintf(err->message, sizeof err->message, "%.300s: %.700s", place, rest);
    }
    return status;
}

const char *ar_status_name(ar_status status) {
    switch (status) {
    case AR_OK: return "ok";
    case AR_ERR_IO: return "io";
    case AR_ERR_FORMAT: return "format";
    case AR_ERR_UNSUPPORTED: return "unsupported";
    case AR_ERR_VALUE: return "value";
    case AR_ERR_USAGE: return "usage";
    case AR_ERR_MISMATCH: return "mismatch";
    case AR_ERR_NOT_FOUND: return "not-found";
    case AR_ERR_EXISTS: return "exists";
    case AR_ERR_MEMORY: return "memory";
    case AR_ERR_NUMERIC: return "numeric";
    case AR_ERR_INTERRUPTED: return "interrupted";
    case AR_ERR_BUSY: return "busy";
    case AR_ERR_DEVICE: return "device";
    }
    return "unknown";
}

const char *ar_version(void) { return "0.1.0"; }

void ar__fail_rename(ar_error *err, const char *way, const char *name) {
    char *at = err ? strstr(err->message, way) : NULL;
    if (!at) return;
    const char *rest = at + strlen(way);
    if (!strncmp(rest, "/.new-", 6)) rest += 6 + strspn(rest + 6, "0123456789");
    ar_error said = *err;
    snprintf(at, sizeof err->message - (size_t)(at - err->message), "%s%s", name, said.message + (rest - err->message));
}
