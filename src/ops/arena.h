/* An arena (base/mem.h) over memory that operators own (ops/memory.h). */
#ifndef AR_OPS_ARENA_H
#define AR_OPS_ARENA_H

#include "ops/ops.h"

/* false: there is no more.  size 0 makes a measuring arena. */
bool ar__own_arena_init(ar_arena *a, const ar_runtime *rt, size_t size);
void ar__own_arena_release(ar_arena *a, const ar_runtime *rt); /* safe on a zeroed one */

#endif
