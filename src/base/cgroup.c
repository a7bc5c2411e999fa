/* Control groups, v1 and v2.
 *
 *     /proc/self/cgroup      4:memory:/a/b          a hierarchy's controllers and the group of this process in it;
 *                            0::/a/b                v2 names no controllers
 *     /proc/self/mountinfo   … ROOT MOUNT … - cgroup2 … OPTIONS     a hierarchy's folder: MOUNT shows the group ROOT
 *
 * A limit counts for all groups below, so each is looked for from the own group up to the folder of the mount.  A container
 * may see only its own part of a hierarchy: then the group's path does not begin with ROOT, and MOUNT is the own group.
 * A set of processors (cpuset) is not read here: sched_getaffinity knows it. */
#include "base/cgroup.h"

#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"

enum { MOST_BYTES = 1 << 20 };
#define NO_LIMIT ((double)(1LL << 60)) /* v1 writes "none" as the largest multiple of a page */

/* Where one controller's files of this process stand. */
struct place {
    char dir[PATH_MAX];
    size_t top; /* length of the mount's part of dir */
    bool v2;
};

static bool read_file(ar_buf *out, const char *dir, const char *name) {
    char path[PATH_MAX + 64];
    *out = (ar_buf){0};
    int n = snprintf(path, sizeof path, "%s/%s", dir, name);
    if (n > 0 && (size_t)n < sizeof path && ar__file_read(out, path, MOST_BYTES, NULL) == AR_OK) return true;
    ar__buf_release(out);
    return false;
}

/* Up to two numbers of a file; false where it is not there or says "max". */
static bool read_numbers(double *first, double *second, const char *dir, const char *name) {
    ar_buf text;
    if (!read_file(&text, dir, name)) return false;
    int found = sscanf(text.data, second ? "%lf %lf" : "%lf", first, second);
    ar__buf_release(&text);
    return found == (second ? 2 : 1);
}

/* The sum of two `key number` lines of memory.stat; what is not there counts 0. */
static double read_stat(const char *dir, const char *const keys[2]) {
    ar_buf text;
    double sum = 0.0;
    if (!read_file(&text, dir, "memory.stat")) return 0.0;
    for (int i = 0; i < 2; i++) {
        size_t n = strlen(keys[i]);
        for (const char *line = text.data; line; line = strchr(line, '\n')) {
            line += *line == '\n';
            if (!strncmp(line, keys[i], n) && line[n] == ' ') sum += strtod(line + n, NULL);
        }
    }
    ar__buf_release(&text);
    return sum;
}

/* Whether a list "cpu,cpuacct" has the controller. */
static bool lists(const char *list, size_t n, const char *controller) {
    size_t wanted = strlen(controller);
    for (const char *p = list, *end = list + n; p < end;) {
        const char *comma = memchr(p, ',', (size_t)(end - p));
        size_t len = (size_t)((comma ? comma : end) - p);
        if (len == wanted && !memcmp(p, controller, len)) return true;
        p += len + 1;
    }
    return false;
}

/* The group of this process, as /proc/self/cgroup writes it; false where the hierarchy is not listed. */
static bool find_group(char *group, size_t size, const char *text, const char *controller, bool v2) {
    for (const char *line = text; line && *line; line = strchr(line, '\n')) {
        line += *line == '\n';
        const char *list = strchr(line, ':'), *path = list ? strchr(list + 1, ':') : NULL;
        if (!path) return false;
        size_t n = strcspn(path + 1, "\n");
        bool fits = v2 ? path == list + 1 : lists(list + 1, (size_t)(path - list - 1), controller);
        if (!fits || n >= size) continue;
        memcpy(group, path + 1, n);
        group[n] = '\0';
        return true;
    }
    return false;
}

/* One line of mountinfo that is the wanted hierarchy's, with the group below the mount. */
static bool take_mount(struct place *out, const char *line, const char *root, const char *groups, const char *controller, bool v2) {
    char shown[PATH_MAX], mount[PATH_MAX], type[32], options[1024], group[PATH_MAX];
    const char *dash = strstr(line, " - ");
    if (!dash || sscanf(line, "%*s %*s %*s %4095s %4095s", shown, mount) != 2) return false;
    if (sscanf(dash, " - %31s %*s %1023s", type, options) != 2) return false;
    if (strcmp(type, v2 ? "cgroup2" : "cgroup") != 0 || (!v2 && !lists(options, strlen(options), controller))) return false;
    if (!find_group(group, sizeof group, groups, controller, v2)) return false;

    size_t n = !strcmp(shown, "/") ? 0 : strlen(shown);
    bool below = !strncmp(group, shown, n) && (group[n] == '/' || !group[n]);
    const char *rest = below && strcmp(group + n, "/") != 0 ? group + n : "";
    int length = snprintf(out->dir, sizeof out->dir, "%s%s%s", root, mount, rest);
    out->top = strlen(root) + strlen(mount);
    out->v2 = v2;
    return length > 0 && (size_t)length < sizeof out->dir;
}

/* A controller is in v2 only where no hierarchy of v1 has it. */
static bool find_place(struct place *out, const char *root, const char *controller) {
    ar_buf mounts, groups;
    bool found = false;
    if (!read_file(&groups, root, "proc/self/cgroup")) return false;
    if (read_file(&mounts, root, "proc/self/mountinfo")) {
        for (int v2 = 0; !found && v2 < 2; v2++)
            for (char *line = mounts.data; !found && line && *line; line = strchr(line, '\n')) {
                line += *line == '\n';
                char *end = strchr(line, '\n');
                if (end) *end = '\0';
                found = take_mount(out, line, root, groups.data, controller, v2);
                if (!end) break;
                *end = '\n';
            }
        ar__buf_release(&mounts);
    }
    ar__buf_release(&groups);
    return found;
}

static bool go_up(struct place *p) {
    char *slash = strrchr(p->dir, '/');
    if (!slash || strlen(p->dir) <= p->top) return false;
    *slash = '\0';
    return true;
}

/* What is used counts pages of files, which the kernel takes back: as in MemAvailable they are free. */
static double memory_left(const struct place *p, const char *limit_name) {
    static const char *const keys[2][2] = {{"total_active_file", "total_inactive_file"}, {"active_file", "inactive_file"}};
    double limit, used;
    if (!read_numbers(&limit, NULL, p->dir, limit_name) || limit >= NO_LIMIT) return NO_LIMIT;
    if (!read_numbers(&used, NULL, p->dir, p->v2 ? "memory.current" : "memory.usage_in_bytes")) used = 0.0;
    used -= read_stat(p->dir, keys[p->v2]);
    double left = limit - (used > 0.0 ? used : 0.0);
    return left > 0.0 ? left : 0.0;
}

static double cpu_share(const struct place *p) {
    double quota, period;
    bool given = p->v2 ? read_numbers(&quota, &period, p->dir, "cpu.max")
                       : read_numbers(&quota, NULL, p->dir, "cpu.cfs_quota_us") && read_numbers(&period, NULL, p->dir, "cpu.cfs_period_us");
    return given && quota > 0.0 && period > 0.0 ? quota / period : NO_LIMIT;
}

static double least(double a, double b) { return a < b ? a : b; }

ar_cgroup_limits ar__cgroup_limits(const char *root) {
    struct place p;
    double memory = NO_LIMIT, cpus = NO_LIMIT;
    bool more = find_place(&p, root, "memory");
    for (; more; more = go_up(&p)) {
        memory = least(memory, memory_left(&p, p.v2 ? "memory.max" : "memory.limit_in_bytes"));
        if (p.v2) memory = least(memory, memory_left(&p, "memory.high")); /* above it the process is slowed to a crawl */
    }
    for (more = find_place(&p, root, "cpu"); more; more = go_up(&p)) cpus = least(cpus, cpu_share(&p));
    return (ar_cgroup_limits){.memory = memory < NO_LIMIT ? (int64_t)memory : -1, .cpus = cpus < NO_LIMIT ? cpus : 0.0};
}
