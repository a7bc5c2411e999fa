#include "progress.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int columns(void) {
    struct winsize w;
    return ioctl(STDERR_FILENO, TIOCGWINSZ, &w) == 0 && w.ws_col > 10 ? w.ws_col : 80;
}

void cli_progress_init(cli_progress *p, bool quiet) {
    const char *term = getenv("TERM");
    *p = (cli_progress){.silent = quiet, .last = -1e9};
    p->terminal = isatty(STDERR_FILENO) && term && strcmp(term, "dumb") != 0;
}

int cli_columns(const char *text, size_t n) {
    int columns = 0;
    for (size_t i = 0; i < n && text[i]; i++) columns += ((unsigned char)text[i] & 0xc0) != 0x80;
    return columns;
}

/* Bytes of the line that fit into `limit` columns: whole fields, two spaces apart, so that no number is cut; of a first
 * field that is too long itself whole characters. */
static int fitting(const char *line, int limit) {
    int end = 0, shown = 0, at = 0;
    for (; line[at]; at++) {
        if (line[at] == ' ' && line[at + 1] == ' ' && shown <= limit) end = at;
        if (cli_columns(line + at, 1) && ++shown > limit) return end ? end : at;
    }
    return at;
}

void cli_progress_show(cli_progress *p, bool always, const char *format, ...) {
    char line[512];
    double t = now();
    if (p->silent || (!always && t - p->last < (p->terminal ? 0.1 : 1.0))) return;
    p->last = t;
    va_list ap;
    va_start(ap, format);
    vsnprintf(line, sizeof line, format, ap);
    va_end(ap);
    if (p->terminal) {
        fprintf(stderr, "\r%.*s\033[K", fitting(line, columns() - 1), line);
        fflush(stderr);
        p->open = true;
    } else {
        fprintf(stderr, "%s\n", line);
    }
}

void cli_progress_clear(cli_progress *p) {
    if (p->open) fputs("\r\033[K", stderr);
    p->open = false;
}

void cli_progress_end(cli_progress *p) {
    if (p->open) fputc('\n', stderr);
    p->open = false;
}

const char *cli_duration(char *buffer, unsigned long size, double seconds) {
    long s = seconds < 0 || !isfinite(seconds) ? 0 : seconds > 1e9 ? 1000000000 : lround(seconds);
    if (s < 60)
        snprintf(buffer, size, "%ld s", s);
    else if (s < 3600)
        snprintf(buffer, size, "%ld min %02ld s", s / 60, s % 60);
    else
        snprintf(buffer, size, "%ld h %02ld min", s / 3600, s / 60 % 60);
    return buffer;
}
