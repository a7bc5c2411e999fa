/* What the control groups of this process leave of the machine: the limits of containers, services and batch systems. */
#ifndef AR_BASE_CGROUP_H
#define AR_BASE_CGROUP_H

#include <stdint.h>

typedef struct ar_cgroup_limits {
    int64_t memory; /* bytes that may still be taken; -1: no limit */
    double cpus;    /* processors' worth of time, as 1.5; 0: no limit */
} ar_cgroup_limits;

/* The tightest limits from the process's own group up to the root.  `root` stands before every path: "" for the machine. */
ar_cgroup_limits ar__cgroup_limits(const char *root);

#endif
