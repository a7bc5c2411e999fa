#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>

static void emit(const ar_log *log, ar_log_level level, const char *format, va_list ap) AR_PRINTF(3, 0);

static void emit(const ar_log *log, ar_log_level level, const char *format, va_list ap) {
    if (!log || !log->fn) return;
    char line[1024];
    vsnprintf(line, sizeof line, format, ap);
    log->fn(log->user, level, line);
}

void ar__log_info(const ar_log *log, const char *format, ...) {
    va_list ap;
    va_start(ap, format);
    emit(log, AR_LOG_INFO, format, ap);
    va_end(ap);
}

void ar__log_warn(const ar_log *log, const char *format, ...) {
    va_list ap;
    va_start(ap, format);
    emit(log, AR_LOG_WARNING, format, ap);
    va_end(ap);
}
