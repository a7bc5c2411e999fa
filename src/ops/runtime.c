/* A runtime with its operators, which kern/ does not know, and the device that it computes on. */
#include <stdlib.h>
#include <string.h>

#include "ops/device.h"

static void say_device(const ar_runtime *rt) {
    ar_device_info info = ar__device_info(rt);
    ar__log_info(&rt->log, "device %s: %s, %.1f of %.1f GiB free, products by %s", ar_runtime_device(rt), info.name,
                 (double)info.free_bytes / 0x1p30, (double)info.memory_bytes / 0x1p30, info.product);
}

/* Where a device was not asked for by name, its absence is no error. */
static ar_status choose_device(ar_runtime *rt, const char *name, ar_error *err) {
    if (!name || !strcmp(name, "cpu")) return AR_OK;
    if (strcmp(name, "auto") != 0) return ar__device_open(rt, name, err);
    ar_error why;
    ar_status s = ar__device_open(rt, "cuda", &why);
    const char *given = getenv("ALPHAR_CUDA");
    if (s == AR_ERR_NOT_FOUND && (!given || !*given || !strcmp(given, "none"))) return AR_OK;
    if (s) ar__log_warn(&rt->log, "%s; the CPU computes", why.message);
    return AR_OK;
}

ar_status ar_runtime_new(ar_runtime **out, const ar_runtime_options *options, ar_error *err) {
    ar_status s = ar__runtime_new(out, options, err);
    if (s) return s;
    ar__runtime_use_ops(*out, &ar__ops_cpu);
    s = choose_device(*out, options ? options->device : NULL, err);
    if (!s && (*out)->device) {
        if (options && options->compute == AR_COMPUTE_AUTO)
            (*out)->bf16 = true; /* every device that is opened multiplies it many times faster */
        say_device(*out);
    }
    if (!s) return AR_OK;
    ar_runtime_free(*out);
    *out = NULL;
    return s;
}

void ar_runtime_free(ar_runtime *rt) {
    if (!rt) return;
    ar__device_close(rt);
    ar__runtime_free(rt);
}

void ar__runtime_use_ops(ar_runtime *rt, const ar_ops *ops) { rt->ops = ops; }
