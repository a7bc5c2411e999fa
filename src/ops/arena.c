#include "ops/arena.h"

bool ar__own_arena_init(ar_arena *a, const ar_runtime *rt, size_t size) {
    *a = (ar_arena){0};
    if (size == 0) return true;
    a->base = rt->ops->memory->take(rt, size);
    a->size = size;
    return a->base != NULL;
}

void ar__own_arena_release(ar_arena *a, const ar_runtime *rt) {
    if (a->base) rt->ops->memory->give(rt, a->base);
    *a = (ar_arena){0};
}
