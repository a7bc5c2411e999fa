/* Where operators' numbers lie.  A table of operators (ops/ops.h) computes in its own memory, which need not be the host's:
 *
 *     own        what take gave: only operators look into it, and read and write copy
 *     mirrored   host memory that operators were told of: they are given its host address, and work on their copy of it.  put brings
 *                that copy what the host wrote, get brings the host what operators wrote
 *
 * Arrays of floats and weights that an operator is given are one or the other, a place anywhere within it.  What tells an operator what to
 * do is the host's, always: records, ar_rows and what it points to, blocks, lists of rows, ids, targets, numbers in double; of rope_fill
 * the frequencies, and of cross_entropy grad_scale.
 *
 * Where all memory is the host's (ar__memory_host, of ops/cpu and ops/ref) own is allocated, mirrored is the memory itself, and put and
 * get do nothing. */
#ifndef AR_OPS_MEMORY_H
#define AR_OPS_MEMORY_H

#include "kern/runtime.h"

typedef struct ar_memory {
    bool is_host; /* anybody may look into it */
    /* 64-byte aligned, not zeroed; NULL: there is no more. */
    void *(*take)(const ar_runtime *rt, size_t bytes);
    void (*give)(const ar_runtime *rt, void *memory); /* NULL is fine */
    void (*write)(const ar_runtime *rt, void *to, const void *host, size_t bytes);
    void (*read)(const ar_runtime *rt, void *host, const void *from, size_t bytes);
    /* Copies what host memory holds, and keeps the copy until unmirror was called as often as this with that address; told of it again,
     * nothing is copied.  Ranges do not overlap.  false: there is no more. */
    bool (*mirror)(const ar_runtime *rt, const void *host, size_t bytes);
    void (*unmirror)(const ar_runtime *rt, const void *host); /* before the host's memory is freed; NULL is fine */
    void (*put)(const ar_runtime *rt, const void *host, size_t bytes);
    void (*get)(const ar_runtime *rt, void *host, size_t bytes);
    /* Waits until all that was asked for is done.  AR_ERR_DEVICE: something failed, then or before, and nothing behind it counts. */
    ar_status (*settle)(const ar_runtime *rt, ar_error *err);
} ar_memory;

extern const ar_memory ar__memory_host;

#endif
