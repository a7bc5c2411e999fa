#include "ops/cpu/cpu.h"

#define AR_CPU_OP(op) .op = ar__cpu_##op,
const ar_ops ar__ops_cpu = {.name = "cpu", .memory = &ar__memory_host, AR_EACH_OP(AR_CPU_OP)};
