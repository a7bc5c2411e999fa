/* A table of operators around a device's, for tests whose memory is the host's: before an operator the whole of that memory is put, behind
 * it what the operator changed is brought.  A library of its own, which tests/unit/ops_check.c opens where ALPHAR_TEST_DEVICE names it. */
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <type_traits>

extern "C" {
#include "ops/ops.h"
}

static const size_t page = 4096;
static const ar_ops *inner;
static unsigned char *memory, *before, *behind;
static size_t (*used)(void);

/* What the device has is `before`: only pages that differ go there. */
static void enter(const ar_runtime *rt) {
    for (size_t at = 0, n = used(); at < n; at += page) {
        size_t bytes = n - at < page ? n - at : page;
        if (!memcmp(memory + at, before + at, bytes)) continue;
        memcpy(before + at, memory + at, bytes);
        inner->memory->put(rt, memory + at, bytes);
    }
}

/* Word by word: what the host was given at once, such as nll, stands there already. */
static void take_changes(size_t at, size_t bytes) {
    for (size_t i = at; i < at + bytes; i += 4)
        if (memcmp(memory + i, before + i, 4))
            memcpy(before + i, memory + i, 4);
        else
            memcpy(memory + i, behind + i, 4);
}

static void leave(const ar_runtime *rt) {
    ar_error err;
    size_t n = used();
    memcpy(behind, memory, n);
    inner->memory->get(rt, memory, n);
    for (size_t at = 0; at < n; at += page) {
        size_t bytes = n - at < page ? n - at : page;
        if (memcmp(memory + at, behind + at, bytes)) take_changes(at, bytes);
    }
    if (inner->memory->settle(rt, &err)) {
        fprintf(stderr, "%s\n", err.message);
        abort();
    }
}

template <auto member> struct around;
template <class R, class... A, R (*ar_ops::*member)(const ar_runtime *, A...)> struct around<member> {
    static R call(const ar_runtime *rt, A... a) {
        enter(rt);
        if constexpr (std::is_void_v<R>) {
            (inner->*member)(rt, a...);
            leave(rt);
        } else {
            R r = (inner->*member)(rt, a...);
            leave(rt);
            return r;
        }
    }
};

#define AROUND(op) .op = around<&ar_ops::op>::call,
static ar_ops table = {
    .name = "around", .memory = NULL, .enough_rows = 0, .enough_head_rows = 0, .scratch_bytes = NULL, AR_EACH_OP(AROUND)};

extern "C" __attribute__((visibility("default"))) const ar_ops *ops_around(const ar_runtime *rt, void *base, size_t bytes,
                                                                           size_t (*now)(void)) {
    inner = rt->ops;
    memory = (unsigned char *)base;
    used = now;
    before = (unsigned char *)calloc(bytes, 1);
    behind = (unsigned char *)malloc(bytes);
    table.memory = inner->memory;
    table.scratch_bytes = inner->scratch_bytes;
    memset(base, 0, bytes);
    return before && behind && inner->memory->mirror(rt, base, bytes) ? &table : NULL;
}
