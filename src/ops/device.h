/* A device that computes instead of the CPU: a library of its own, opened at run time, which brings a table of operators and their memory.
 *
 * `libalphar-cuda.so` (make CUDA=1) is looked for where ALPHAR_CUDA says, beside the program, where the library is installed, and where the
 * loader looks.  A program without it, or a machine without a driver or a device, loses nothing but that device. */
#ifndef AR_OPS_DEVICE_H
#define AR_OPS_DEVICE_H

#include "ops/ops.h"

/* What a device is, and has left. */
typedef struct ar_device_info {
    char name[128];                                 /* "NVIDIA H100 80GB HBM3, compute capability 9.0" */
    size_t memory_bytes, free_bytes, scratch_bytes; /* scratch: taken by its operators */
    const char *product;                            /* who makes products of bf16: "cublas 13.0", "own" */
} ar_device_info;

/* What such a library exports, as ar__device_library.  Both sides are of one version of Alphar; `layout` catches those that are not. */
typedef struct ar_device_library {
    const char *(*version)(void); /* ar_version, as the library has it */
    size_t layout;                /* AR_DEVICE_LAYOUT */
    /* How many there are; why there are none, in words. */
    int (*count)(char *why, size_t size);
    /* Device `index`; `host` computes what it has no kernels for.  *state is the caller's to close. */
    ar_status (*open)(void **state, int index, const ar_ops *host, ar_error *err);
    void (*close)(void *state);
    void (*describe)(void *state, ar_device_info *out);
    const ar_ops *ops;
} ar_device_library;

#define AR_DEVICE_LAYOUT (sizeof(ar_runtime) + 4096 * sizeof(ar_ops) + sizeof(ar_rows))
#define AR_DEVICE_SYMBOL "ar__device_library"

/* Puts the runtime on "cuda" or "cuda:N".  AR_ERR_NOT_FOUND: there is no such library, driver or device; the message says which. */
ar_status ar__device_open(ar_runtime *rt, const char *name, ar_error *err);
void ar__device_close(ar_runtime *rt);
/* All zero without a device. */
ar_device_info ar__device_info(const ar_runtime *rt);

#endif
