#include "kern/cpu.h"

#include <math.h>
#include <sched.h>
#include <unistd.h>

#include "base/cgroup.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>
#endif

ar_cpu ar__cpu_detect(void) {
    ar_cpu c = {0};
#if defined(__x86_64__)
    __builtin_cpu_init(); /* these builtins check XCR0 as well as CPUID */
    unsigned a = 0, b = 0, cx = 0, d = 0;
    bool f16c = __get_cpuid(1, &a, &b, &cx, &d) && (cx >> 29 & 1);
    c.avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && f16c;
    c.avx512 = c.avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
               __builtin_cpu_supports("avx512vl");
    c.amd = __get_cpuid(0, &a, &b, &cx, &d) && b == signature_AMD_ebx && cx == signature_AMD_ecx && d == signature_AMD_edx;
    if (__get_cpuid_count(7, 1, &a, &b, &cx, &d)) c.avx512_bf16 = c.avx512 && (a >> 5 & 1);
    if (__get_cpuid_count(7, 0, &a, &b, &cx, &d)) c.amx_bf16 = c.avx512_bf16 && (d >> 22 & 1) && (d >> 24 & 1);
#elif defined(__aarch64__)
    c.neon = true; /* part of the architecture */
#endif
    return c;
}

bool ar__cpu_enable_amx(void) {
#if defined(__x86_64__)
    enum { REQUEST_XCOMP_PERMISSION = 0x1023, XTILEDATA = 18 }; /* Linux, arch/x86/include/uapi/asm/prctl.h; XCR0 bit */
    return syscall(SYS_arch_prctl, REQUEST_XCOMP_PERMISSION, XTILEDATA) == 0;
#else
    return false;
#endif
}

static int cpus_allowed(void) {
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0) return CPU_COUNT(&set);
    long n = sysconf(_SC_NPROCESSORS_ONLN);
    return n > 0 ? (int)n : 1;
}

int ar__cpu_count(void) {
    int allowed = cpus_allowed();
    double share = ceil(ar__cgroup_limits("").cpus);
    return share >= 1.0 && share < allowed ? (int)share : allowed;
}
