#include "checkasm.h"
void bench_all(const char *isa, int threads) { printf("%s %d\n", isa, threads); }
