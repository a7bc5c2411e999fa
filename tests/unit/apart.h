/* The operators of the CPU with memory of their own, apart from the host's, for tests of who looks where (ops/memory.h).
 *
 *     own        pages that nobody may touch while no operator runs; new ones are full of NaN
 *     mirrored   while an operator runs, the operators' copy lies where the host's numbers do, which are put aside
 *
 * so that a host that reads or writes there without asking crashes, or has old numbers, and so do operators. */
#ifndef AR_TESTS_APART_H
#define AR_TESTS_APART_H

#include "ops/ops.h"

/* NULL: not on this machine's CPU. */
const ar_ops *apart_ops(void);
/* What is taken or mirrored now, and has not been given back. */
size_t apart_held(void);
/* From now on `calls` times it is said that all went well; then that the device failed.  Negative: never. */
void apart_fail_after(int calls);

#endif
