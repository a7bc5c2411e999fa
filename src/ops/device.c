#include "ops/device.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/proc.h"

#define LIBRARY "libalphar-cuda.so"

struct ar_device {
    void *handle; /* of dlopen, never closed */
    const ar_device_library *library;
    void *state; /* the library's */
    char name[32];
};

/* "cuda" is "cuda:0". */
static ar_status read_name(int *index, const char *name, ar_error *err) {
    char *end = NULL;
    *index = 0;
    if (!strcmp(name, "cuda")) return AR_OK;
    long n = strncmp(name, "cuda:", 5) == 0 && name[5] >= '0' && name[5] <= '9' ? strtol(name + 5, &end, 10) : -1;
    if (!end || *end || n < 0 || n > 1023) return ar__fail(err, AR_ERR_VALUE, "device: found '%s', wanted auto, cpu, cuda or cuda:N", name);
    *index = (int)n;
    return AR_OK;
}

/* Beside the program, or where an installation has libraries. */
static void *open_near(void) {
    static const char *const folders[] = {"", "../lib/"};
    char *program = ar__program_path(), *slash = program ? strrchr(program, '/') : NULL;
    void *handle = NULL;
    for (size_t i = 0; slash && !handle && i < sizeof folders / sizeof *folders; i++) {
        ar_buf path = {0};
        ar__buf_printf(&path, "%.*s/%s%s", (int)(slash - program), program, folders[i], LIBRARY);
        if (!path.failed && ar__path_exists(path.data)) handle = dlopen(path.data, RTLD_NOW | RTLD_LOCAL);
        ar__buf_release(&path);
    }
    free(program);
    return handle;
}

static ar_status open_library(struct ar_device *d, ar_error *err) {
    const char *given = getenv("ALPHAR_CUDA");
    if (given && *given)
        d->handle = dlopen(given, RTLD_NOW | RTLD_LOCAL);
    else if (!(d->handle = open_near()))
        d->handle = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL);
    if (!d->handle) {
        const char *why = dlerror();
        return ar__fail(err, AR_ERR_NOT_FOUND,
                        "device cuda: %s; wanted %s beside the program or in ALPHAR_CUDA (make CUDA=1 builds it), or --device cpu",
                        why ? why : "the library is not there", LIBRARY);
    }
    d->library = dlsym(d->handle, AR_DEVICE_SYMBOL);
    if (!d->library) return ar__fail(err, AR_ERR_MISMATCH, "device cuda: %s is no library of Alphar's", given ? given : LIBRARY);
    if (d->library->layout != AR_DEVICE_LAYOUT || strcmp(d->library->version(), ar_version()) != 0)
        return ar__fail(err, AR_ERR_MISMATCH, "device cuda: %s is of another build (%s) than this one (%s); build both with make CUDA=1",
                        given ? given : LIBRARY, d->library->version(), ar_version());
    return AR_OK;
}

static ar_status open_device(ar_runtime *rt, struct ar_device *d, const char *name, ar_error *err) {
    int index;
    char why[256] = "";
    ar_status s = read_name(&index, name, err);
    if (!s) s = open_library(d, err);
    if (s) return s;
    int count = d->library->count(why, sizeof why);
    if (count == 0) return ar__fail(err, AR_ERR_NOT_FOUND, "device cuda: %s; use --device cpu", why);
    if (index >= count)
        return ar__fail(err, AR_ERR_NOT_FOUND, "device '%s': found %d device%s, cuda:0 to cuda:%d", name, count, count == 1 ? "" : "s",
                        count - 1);
    snprintf(d->name, sizeof d->name, "cuda:%d", index);
    return d->library->open(&d->state, index, rt->ops, err);
}

ar_status ar__device_open(ar_runtime *rt, const char *name, ar_error *err) {
    struct ar_device *d = ar__alloc(1, sizeof *d);
    if (!d) return ar__fail_memory(err, "device");
    ar_status s = open_device(rt, d, name, err);
    rt->device = d;
    if (s) {
        ar__device_close(rt);
        return s;
    }
    rt->device_state = d->state;
    ar__runtime_use_ops(rt, d->library->ops);
    return AR_OK;
}

void ar__device_close(ar_runtime *rt) {
    struct ar_device *d = rt->device;
    if (!d) return;
    if (d->state) d->library->close(d->state); /* the library stays: a driver does not like to be unloaded */
    free(d);
    rt->device = NULL;
    rt->device_state = NULL;
}

ar_device_info ar__device_info(const ar_runtime *rt) {
    ar_device_info info = {0};
    if (rt->device) rt->device->library->describe(rt->device->state, &info);
    return info;
}

const char *ar_runtime_device(const ar_runtime *rt) { return rt->device ? rt->device->name : "cpu"; }

void ar_device_describe(char *out, size_t size) {
    ar_runtime rt = {.ops = &ar__ops_cpu};
    ar_error why;
    if (ar__device_open(&rt, "cuda", &why)) {
        static const char place[] = "device cuda: ";
        bool said = !strncmp(why.message, place, sizeof place - 1);
        snprintf(out, size, "none: %s", why.message + (said ? sizeof place - 1 : 0));
        return;
    }
    ar_device_info info = ar__device_info(&rt);
    snprintf(out, size, "%s  %s, %.1f GiB, products by %s", ar_runtime_device(&rt), info.name, (double)info.memory_bytes / 0x1p30,
             info.product);
    ar__device_close(&rt);
}
