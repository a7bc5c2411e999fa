/* Memory of operators that work on the host's. */
#include "ops/memory.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

static void *take(const ar_runtime *rt, size_t bytes) {
    ar_arena a;
    (void)rt;
    return ar__arena_init(&a, bytes ? bytes : 1) ? a.base : NULL;
}

static void give(const ar_runtime *rt, void *memory) {
    (void)rt;
    free(memory);
}

static void copy(void *to, const void *from, size_t bytes) {
    if (bytes) memcpy(to, from, bytes);
}

static void write(const ar_runtime *rt, void *to, const void *host, size_t bytes) {
    (void)rt;
    copy(to, host, bytes);
}

static void read(const ar_runtime *rt, void *host, const void *from, size_t bytes) {
    (void)rt;
    copy(host, from, bytes);
}

static bool mirror(const ar_runtime *rt, const void *host, size_t bytes) {
    (void)rt, (void)host, (void)bytes;
    return true;
}

static void unmirror(const ar_runtime *rt, const void *host) { (void)rt, (void)host; }

static void put(const ar_runtime *rt, const void *host, size_t bytes) { (void)rt, (void)host, (void)bytes; }

static void get(const ar_runtime *rt, void *host, size_t bytes) { (void)rt, (void)host, (void)bytes; }

static ar_status settle(const ar_runtime *rt, ar_error *err) {
    (void)rt, (void)err;
    return AR_OK;
}

const ar_memory ar__memory_host = {.is_host = true,
                                   .take = take,
                                   .give = give,
                                   .write = write,
                                   .read = read,
                                   .mirror = mirror,
                                   .unmirror = unmirror,
                                   .put = put,
                                   .get = get,
                                   .settle = settle};
