#include "base/proc.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "alphar/runtime.h"
#include "base/cgroup.h"
#include "base/file.h"

int64_t ar__proc_bytes(const char *path, const char *key) {
    ar_buf text = {0};
    int64_t kb = -1;
    if (ar__file_read(&text, path, 1 << 20, NULL) == AR_OK) {
        const char *at = strstr(text.data, key);
        if (at) kb = strtoll(at + strlen(key), NULL, 10);
    }
    ar__buf_release(&text);
    return kb < 0 ? -1 : kb * 1024;
}

int64_t ar__memory_available(void) {
    int64_t machine = ar__proc_bytes("/proc/meminfo", "MemAvailable:"), groups = ar__cgroup_limits("").memory;
    if (groups < 0 || (machine >= 0 && machine < groups)) return machine;
    return groups;
}

void ar__proc_reset_peak(void) {
    int fd = open("/proc/self/clear_refs", O_WRONLY | O_CLOEXEC);
    if (fd < 0) return;
    ssize_t done = write(fd, "5", 1);
    (void)done;
    close(fd);
}

void ar_process_settle(char **argv) {
    if (getenv("OMP_WAIT_POLICY") || getenv("GOMP_SPINCOUNT") || setenv("GOMP_SPINCOUNT", "2000", 1)) return;
    execv("/proc/self/exe", argv);
}

char *ar__program_path(void) { return realpath("/proc/self/exe", NULL); }
