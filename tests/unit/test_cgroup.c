/* Limits of control groups, on folders that look like a machine's /proc and /sys/fs/cgroup. */
#include <stdio.h>

#include "base/cgroup.h"
#include "base/proc.h"
#include "kern/cpu.h"
#include "util.h"

#define MIB (1024.0 * 1024.0)
static char root[600];
static const char *folder;

static void start(const char *name) {
    folder = name;
    snprintf(root, sizeof root, "%s", temp_path(name));
}

static void put(const char *path, const char *text) {
    char name[300];
    snprintf(name, sizeof name, "%s/%s", folder, path);
    temp_text(name, text);
}

static void machine_v2(const char *group, const char *shown) {
    char text[400];
    snprintf(text, sizeof text, "0::%s\n", group);
    put("proc/self/cgroup", text);
    snprintf(text, sizeof text,
             "22 1 8:1 / / rw - ext4 /dev/sda1 rw\n31 23 0:26 %s /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw\n", shown);
    put("proc/self/mountinfo", text);
}

static void expect(int64_t memory, double cpus) {
    ar_cgroup_limits l = ar__cgroup_limits(root);
    assert_int_equal(l.memory, memory);
    assert_true(l.cpus == cpus);
}

static void v2_takes_the_tightest_on_the_way_up(void **state) {
    (void)state;
    start("v2");
    machine_v2("/user/job", "/");
    put("sys/fs/cgroup/user/job/memory.max", "max\n");
    put("sys/fs/cgroup/user/job/memory.current", "1048576\n");
    put("sys/fs/cgroup/user/job/cpu.max", "max 100000\n");
    expect(-1, 0.0);
    put("sys/fs/cgroup/user/memory.max", "4294967296\n");
    put("sys/fs/cgroup/user/memory.current", "1073741824\n");
    put("sys/fs/cgroup/user/memory.stat", "anon 100\nfile 500\ninactive_file 268435456\nactive_file 268435456\n");
    put("sys/fs/cgroup/user/cpu.max", "150000 100000\n");
    expect((int64_t)(4096 * MIB - 512 * MIB), 1.5);
    put("sys/fs/cgroup/user/job/cpu.max", "50000 100000\n");
    put("sys/fs/cgroup/user/job/memory.high", "2147483648\n");
    expect((int64_t)(2048 * MIB - 1 * MIB), 0.5);
}

static void v2_in_a_container_sees_its_group_as_the_root(void **state) {
    (void)state;
    start("v2-namespace");
    machine_v2("/", "/");
    put("sys/fs/cgroup/memory.max", "1048576\n");
    put("sys/fs/cgroup/memory.current", "2097152\n");
    put("sys/fs/cgroup/cpu.max", "400000 100000\n");
    expect(0, 4.0);
    machine_v2("/docker/abc", "/docker/abc"); /* the host's path, and a mount that shows just this group */
    expect(0, 4.0);
    machine_v2("/../elsewhere", "/");
    expect(0, 4.0);
}

static void v1_has_a_hierarchy_for_each(void **state) {
    (void)state;
    start("v1");
    put("proc/self/cgroup", "9:name=systemd:/\n4:memory:/docker/abc\n2:cpu,cpuacct:/docker/abc\n0::/\n");
    put("proc/self/mountinfo", "30 23 0:20 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"
                               "31 23 0:26 /docker/abc /sys/fs/cgroup/memory ro,nosuid master:9 - cgroup cgroup rw,memory\n"
                               "32 23 0:27 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n");
    put("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
    put("sys/fs/cgroup/cpu,cpuacct/docker/abc/cpu.cfs_quota_us", "-1\n");
    put("sys/fs/cgroup/cpu,cpuacct/docker/abc/cpu.cfs_period_us", "100000\n");
    expect(-1, 0.0);
    put("sys/fs/cgroup/memory/memory.limit_in_bytes", "4294967296\n");
    put("sys/fs/cgroup/memory/memory.usage_in_bytes", "1048576\n");
    put("sys/fs/cgroup/memory/memory.stat", "active_file 1\ntotal_inactive_file 524288\n");
    put("sys/fs/cgroup/cpu,cpuacct/docker/cpu.cfs_quota_us", "200000\n");
    put("sys/fs/cgroup/cpu,cpuacct/docker/cpu.cfs_period_us", "100000\n");
    expect((int64_t)(4096 * MIB - 0.5 * MIB), 2.0);
}

static void what_is_missing_or_odd_is_no_limit(void **state) {
    (void)state;
    start("none");
    expect(-1, 0.0);
    machine_v2("/a", "/");
    expect(-1, 0.0);
    put("sys/fs/cgroup/a/memory.max", "");
    put("sys/fs/cgroup/a/cpu.max", "100000 0\n");
    expect(-1, 0.0);
    put("proc/self/cgroup", "nonsense\n4:memory\n");
    expect(-1, 0.0);
    put("proc/self/cgroup", "");
    put("proc/self/mountinfo", "");
    expect(-1, 0.0);
}

static void this_machine_is_within_its_limits(void **state) {
    (void)state;
    ar_cgroup_limits l = ar__cgroup_limits("");
    int64_t available = ar__memory_available();
    assert_true(ar__cpu_count() >= 1);
    if (l.cpus > 0.0) assert_true(ar__cpu_count() < l.cpus + 1.0);
    if (l.memory >= 0) assert_true(available >= 0 && available <= l.memory + (1 << 28)); /* others come and go */
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(v2_takes_the_tightest_on_the_way_up),
                                       cmocka_unit_test(v2_in_a_container_sees_its_group_as_the_root),
                                       cmocka_unit_test(v1_has_a_hierarchy_for_each), cmocka_unit_test(what_is_missing_or_odd_is_no_limit),
                                       cmocka_unit_test(this_machine_is_within_its_limits)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
