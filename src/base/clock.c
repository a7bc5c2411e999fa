/* The clock of progress and benchmarks; nothing that is computed depends on it. */
#include "base/clock.h"

#include <time.h>

double ar__clock_seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}
