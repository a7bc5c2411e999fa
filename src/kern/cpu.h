/* What the CPU (and the operating system's register saving) allows. */
#ifndef AR_KERN_CPU_H
#define AR_KERN_CPU_H

#include <stdbool.h>

typedef struct ar_cpu {
    bool avx2, avx512, avx512_bf16, amx_bf16, neon; /* avx2 includes FMA and F16C; avx512 is F+BW+DQ+VL */
    bool amd;                                       /* whose AVX512-BF16 multiplies at twice the rate of f32 */
} ar_cpu;

ar_cpu ar__cpu_detect(void);
/* Asks Linux for the tile registers, once per process; false where it refuses. */
bool ar__cpu_enable_amx(void);
/* Cores that this process may use: its affinity, and the share of time that its control groups give it, rounded up. */
int ar__cpu_count(void);

#endif
