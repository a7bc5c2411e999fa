/* What the kernel says of this process and this machine; Linux's /proc. */
#ifndef AR_BASE_PROC_H
#define AR_BASE_PROC_H

#include <stdint.h>

/* The bytes of a `Key:   123 kB` line of a /proc file; -1 where it is not there. */
int64_t ar__proc_bytes(const char *path, const char *key);
/* The bytes that this process may still take without swapping: what the machine has, or what its control groups leave of
 * it (base/cgroup.h); -1 where neither is known. */
int64_t ar__memory_available(void);
/* Lets the peak of resident memory (VmHWM) start again from what is resident now; does nothing where that is refused. */
void ar__proc_reset_peak(void);
/* Where the program that runs lies, links followed; malloc'ed; NULL where that is not known. */
char *ar__program_path(void);

#endif
