/* The device: opening, memory, addresses, staging, what went wrong. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ops/cuda/cuda.h"

extern "C" {
#include "base/fail.h"
#include "base/mem.h"
}

static const size_t ring_bytes = (size_t)16 << 20, reach = (size_t)6 << 20; /* of arrays of one operator at most */

bool cu_check(cu_device *d, cudaError_t e, const char *what) {
    if (e == cudaSuccess) return true;
    if (!d->failed)
        ar__fail(&d->failure, AR_ERR_DEVICE, "device cuda:%d (%s): %s: %s", d->index, d->properties.name, what, cudaGetErrorString(e));
    d->failed = true;
    return false;
}

void cu_launched(cu_device *d, const char *kernel) {
    cu_check(d, cudaGetLastError(), kernel);
    if (d->waits) cu_check(d, cudaStreamSynchronize(d->stream), kernel);
}

/* Which device a thread works with is the thread's own, and 0 in a new one. */
static bool choose(cu_device *d) {
    static thread_local int current = -1;
    if (current == d->index) return true;
    bool ok = cu_check(d, cudaSetDevice(d->index), "choosing it");
    current = ok ? d->index : -1;
    return ok;
}

cu_device *cu_of(const ar_runtime *rt) {
    cu_device *d = (cu_device *)rt->device_state;
    choose(d);
    return d;
}

/* ---- addresses ---- */

/* Where it is in the list, or would be. */
static size_t find_mirror(const cu_device *d, const char *p) {
    size_t low = 0, high = d->mirror_count;
    while (low < high) {
        size_t mid = (low + high) / 2;
        if (d->mirrors[mid].host + d->mirrors[mid].bytes <= p)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

void *cu_address(const cu_device *d, const void *pointer) {
    const char *p = (const char *)pointer;
    size_t i = p ? find_mirror(d, p) : d->mirror_count;
    if (i < d->mirror_count && p >= d->mirrors[i].host) return d->mirrors[i].copy + (p - d->mirrors[i].host);
    return (void *)pointer;
}

static void upload(cu_device *d, void *to, const void *host, size_t bytes) {
    if (bytes && !d->failed) cu_check(d, cudaMemcpyAsync(to, host, bytes, cudaMemcpyHostToDevice, d->stream), "copying to the device");
}

/* Of memory that the caller may write to at once: on some machines the copy itself does not wait. */
static void upload_now(cu_device *d, void *to, const void *host, size_t bytes) {
    upload(d, to, host, bytes);
    cu_check(d, cudaStreamSynchronize(d->stream), "copying to the device");
}

void cu_download(cu_device *d, void *host, const void *from, size_t bytes) {
    if (bytes && !d->failed) cu_check(d, cudaMemcpyAsync(host, from, bytes, cudaMemcpyDeviceToHost, d->stream), "copying from the device");
    cu_check(d, cudaStreamSynchronize(d->stream), "running");
    if (d->failed && bytes) memset(host, 0, bytes); /* what counts on it goes on until somebody settles */
}

/* ---- staging ---- */

const void *cu_stage_bytes(cu_device *d, const void *host, size_t bytes) {
    if (bytes == 0) return d->ring;
    /* Near the end the next array may be put at the beginning, where nothing that the same operator was given may lie. */
    size_t taken = d->ring_at + reach > ring_bytes ? reach : 0;
    for (unsigned i = 0; i < CU_STAGED; i++)
        if (d->staged[i].at >= taken && d->staged[i].bytes == bytes && !memcmp(d->ring_host + d->staged[i].at, host, bytes))
            return d->ring + d->staged[i].at;
    if (bytes > reach) {
        cu_check(d, cudaErrorInvalidValue, "an index array of more than 6 MiB");
        return d->ring;
    }
    if (d->ring_at + bytes > ring_bytes) { /* nothing may read what is written over now */
        cu_check(d, cudaStreamSynchronize(d->stream), "running");
        memset(d->staged, 0, sizeof d->staged);
        d->ring_at = 0;
    }
    size_t at = d->ring_at;
    memcpy(d->ring_host + at, host, bytes);
    upload(d, d->ring + at, d->ring_host + at, bytes);
    d->ring_at = (at + bytes + 63) / 64 * 64;
    d->staged[d->staged_next++ % CU_STAGED] = cu_staged{at, bytes};
    return d->ring + at;
}

void *cu_table(cu_device *d, size_t bytes) {
    if (bytes <= d->table_bytes) return d->table;
    free(d->table);
    d->table = (char *)ar__alloc(bytes, 2);
    d->table_bytes = d->table ? 2 * bytes : 0;
    if (!d->table) cu_check(d, cudaErrorMemoryAllocation, "a table on the host");
    return d->table;
}

void *cu_scratch(cu_device *d, cu_slot slot, size_t bytes) {
    if (bytes <= d->slot_bytes[slot]) return d->slot[slot];
    cu_check(d, cudaStreamSynchronize(d->stream), "running");
    cudaFree(d->slot[slot]);
    d->slot[slot] = NULL;
    d->slot_bytes[slot] = 0;
    size_t need = (bytes + (1 << 20) - 1) >> 20 << 20;
    if (cu_check(d, cudaMalloc(&d->slot[slot], need), "taking scratch")) d->slot_bytes[slot] = need;
    return d->slot[slot];
}

/* ---- memory ---- */

static void *take(const ar_runtime *rt, size_t bytes) {
    void *p = NULL;
    cu_of(rt);
    if (cudaMalloc(&p, bytes ? bytes : 1) == cudaSuccess) return p;
    cudaGetLastError(); /* said by who asked, and no failure of what runs */
    return NULL;
}

static void give(const ar_runtime *rt, void *memory) {
    cu_device *d = cu_of(rt);
    if (!memory) return;
    cudaStreamSynchronize(d->stream);
    cudaFree(memory);
}

static void write_to(const ar_runtime *rt, void *to, const void *host, size_t bytes) { upload_now(cu_of(rt), to, host, bytes); }
static void read_from(const ar_runtime *rt, void *host, const void *from, size_t bytes) { cu_download(cu_of(rt), host, from, bytes); }

static bool mirror(const ar_runtime *rt, const void *host, size_t bytes) {
    cu_device *d = cu_of(rt);
    const char *p = (const char *)host;
    size_t i = find_mirror(d, p);
    if (i < d->mirror_count && d->mirrors[i].host == p) {
        d->mirrors[i].count++;
        return true;
    }
    cu_mirror *list = (cu_mirror *)ar__grow(d->mirrors, &d->mirror_cap, d->mirror_count + 1, sizeof *list);
    if (!list) return false;
    d->mirrors = list;
    void *copy = take(rt, bytes);
    if (!copy) return false;
    memmove(list + i + 1, list + i, (d->mirror_count - i) * sizeof *list);
    list[i] = cu_mirror{p, bytes ? bytes : 1, (char *)copy, 1};
    d->mirror_count++;
    upload_now(d, copy, host, bytes);
    return true;
}

static void unmirror(const ar_runtime *rt, const void *host) {
    cu_device *d = cu_of(rt);
    const char *p = (const char *)host;
    size_t i = p ? find_mirror(d, p) : d->mirror_count;
    if (i == d->mirror_count || d->mirrors[i].host != p || --d->mirrors[i].count > 0) return;
    give(rt, d->mirrors[i].copy);
    memmove(d->mirrors + i, d->mirrors + i + 1, (d->mirror_count - i - 1) * sizeof *d->mirrors);
    d->mirror_count--;
}

static void put(const ar_runtime *rt, const void *host, size_t bytes) { upload_now(cu_of(rt), cu_address(cu_of(rt), host), host, bytes); }
static void get(const ar_runtime *rt, void *host, size_t bytes) { cu_download(cu_of(rt), host, cu_address(cu_of(rt), host), bytes); }

static ar_status settle(const ar_runtime *rt, ar_error *err) {
    cu_device *d = cu_of(rt);
    cu_check(d, cudaStreamSynchronize(d->stream), "running");
    if (!d->failed) return AR_OK;
    return ar__fail(err, AR_ERR_DEVICE, "%s", d->failure.message);
}

extern "C" const ar_memory ar__cuda_memory = {.is_host = false,
                                              .take = take,
                                              .give = give,
                                              .write = write_to,
                                              .read = read_from,
                                              .mirror = mirror,
                                              .unmirror = unmirror,
                                              .put = put,
                                              .get = get,
                                              .settle = settle};

/* ---- opening ---- */

static int count(char *why, size_t size) {
    int n = 0;
    cudaError_t e = cudaGetDeviceCount(&n);
    if (e != cudaSuccess) {
        snprintf(why, size, "the driver says '%s'", cudaGetErrorString(e));
        cudaGetLastError();
        return 0;
    }
    if (n == 0) snprintf(why, size, "there is a driver, and no device");
    return n;
}

static void close_device(void *state) {
    cu_device *d = (cu_device *)state;
    if (!d) return;
    choose(d);
    cudaStreamSynchronize(d->stream);
    cu_blas_close(d->blas);
    for (size_t i = 0; i < d->mirror_count; i++) cudaFree(d->mirrors[i].copy);
    for (int i = 0; i < CU_SLOTS; i++) cudaFree(d->slot[i]);
    cudaFree(d->ring);
    cudaFreeHost(d->ring_host);
    cudaStreamDestroy(d->stream);
    free(d->mirrors);
    free(d->table);
    free(d);
}

/* Whether there is code for the device at all. */
__global__ void probe(int *x) { *x = 0; }

static ar_status open_device(void **state, int index, const ar_ops *host, ar_error *err) {
    cu_device *d = (cu_device *)ar__alloc(1, sizeof *d);
    *state = NULL;
    if (!d) return ar__fail_memory(err, "device");
    d->index = index;
    d->host = host;
    bool ok = choose(d) && cu_check(d, cudaGetDeviceProperties(&d->properties, index), "asking what it is");
    if (ok && d->properties.major < 8) {
        ar__fail(err, AR_ERR_UNSUPPORTED, "device cuda:%d: %s has compute capability %d.%d, wanted 8.0 or later; use --device cpu", index,
                 d->properties.name, d->properties.major, d->properties.minor);
        free(d);
        return AR_ERR_UNSUPPORTED;
    }
    ok = ok && cu_check(d, cudaStreamCreateWithFlags(&d->stream, cudaStreamNonBlocking), "making a stream") &&
         cu_check(d, cudaMallocHost((void **)&d->ring_host, ring_bytes), "taking pinned memory") &&
         cu_check(d, cudaMalloc((void **)&d->ring, ring_bytes), "taking memory");
    if (!ok) {
        ar_error why = d->failure;
        close_device(d);
        return ar__fail(err, AR_ERR_DEVICE, "%s", why.message);
    }
    cudaFuncAttributes code;
    if (cudaFuncGetAttributes(&code, probe) != cudaSuccess) {
        ar__fail(
            err, AR_ERR_UNSUPPORTED,
            "device cuda:%d: %s has compute capability %d.%d, which libalphar-cuda.so has no code for; build it with CUDA_ARCHS=%d%d, or "
            "use --device cpu",
            index, d->properties.name, d->properties.major, d->properties.minor, d->properties.major, d->properties.minor);
        cudaGetLastError();
        close_device(d);
        return AR_ERR_UNSUPPORTED;
    }
    const char *waits = getenv("ALPHAR_CUDA_SYNC");
    d->waits = waits && *waits == '1';
    d->blas = cu_blas_open(d->stream);
    cudaGetLastError(); /* a library that does not open is no failure */
    *state = d;
    return AR_OK;
}

static void describe(void *state, ar_device_info *out) {
    cu_device *d = (cu_device *)state;
    choose(d);
    snprintf(out->name, sizeof out->name, "%.80s, compute capability %d.%d", d->properties.name, d->properties.major, d->properties.minor);
    cudaMemGetInfo(&out->free_bytes, &out->memory_bytes);
    for (int i = 0; i < CU_SLOTS; i++) out->scratch_bytes += d->slot_bytes[i];
    out->product = d->blas ? cu_blas_name(d->blas) : "own";
}

/* What slots come to: both sides of a product and the head's in bf16, a factor, q, k and v, rows that move or what a mixer keeps beside; a
 * stretch of a weight. */
static size_t scratch_bytes(const ar_runtime *rt, const ar_work *w) {
    size_t element = rt->bf16 ? 2 : 0, wide = w->rows * w->widest, head = w->head_rows * w->vocab,
           sides = wide > head ? 2 * wide : head + wide;
    size_t moved = w->rows * (w->widest > w->mixer ? w->widest : w->mixer) * sizeof(float);
    return (sides + w->factor + 3 * w->rows * w->queries) * element + moved + CU_STEP_BYTES + ((size_t)32 << 20);
}

#define CU_ENTRY(op) .op = ar__cuda_##op,
static const ar_ops operators = {.name = "cuda",
                                 .memory = &ar__cuda_memory,
                                 .enough_rows = 16384,
                                 .enough_head_rows = 2048,
                                 .scratch_bytes = scratch_bytes,
                                 AR_EACH_OP(CU_ENTRY)};

extern "C" AR_API const ar_device_library ar__device_library = {ar_version,   AR_DEVICE_LAYOUT, count,     open_device,
                                                                close_device, describe,         &operators};
