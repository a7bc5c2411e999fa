/* What the files of the CUDA backend share: the device's state, addresses, scratch, launches.
 *
 * Everything runs on one stream, in order.  An operator only asks for it; who waits is memory->read, get, write, put and settle, and
 * operators that give the host numbers: cross_entropy, grad_norm, route_fwd, norms of weights, a pair's ds.  Sums have a fixed order,
 * without atomic operations: the same run gives the same bits on one kind of device.
 *
 *     own memory       cudaMalloc; its address is what operators are given
 *     mirrored memory  a copy; cu_at turns the host's address, or one within, into the copy's
 *     staged arrays    index arrays of the host's, copied through a ring of pinned memory
 *
 * Compiled by nvcc, and for tests by a C++ compiler with tests/emulator in the place of the toolkit. */
#ifndef AR_OPS_CUDA_CUDA_H
#define AR_OPS_CUDA_CUDA_H

#include <cuda_runtime.h>

extern "C" {
#include "ops/device.h"
}

/* Scratch that grows and stays, one for each use that must not meet another. */
enum cu_slot {
    CU_SLOT_X,
    CU_SLOT_INPUT,
    CU_SLOT_FACTOR,
    CU_SLOT_SU,
    CU_SLOT_WEIGHT,
    CU_SLOT_PARTIAL,
    CU_SLOT_SUMS,
    CU_SLOT_QUERIES,
    CU_SLOT_KEYS,
    CU_SLOT_VALUES,
    CU_SLOTS
};

struct cu_mirror {
    const char *host;
    size_t bytes;
    char *copy;
    int count;
};

/* What was staged lately, so that what comes again is not copied again. */
struct cu_staged {
    size_t at, bytes;
};
enum { CU_STAGED = 16 };

struct cu_device {
    int index;
    cudaStream_t stream;
    cudaDeviceProp properties;
    const ar_ops *host;
    cu_mirror *mirrors; /* by address */
    size_t mirror_count, mirror_cap;
    char *ring_host, *ring;
    size_t ring_at;
    cu_staged staged[CU_STAGED];
    unsigned staged_next;
    void *slot[CU_SLOTS];
    size_t slot_bytes[CU_SLOTS];
    char *table; /* of the host, where one is written before it is staged */
    size_t table_bytes;
    struct cu_blas *blas; /* NULL: our own products */
    bool failed, waits;   /* waits: for every kernel */
    ar_error failure;     /* the first */
};

/* ---- state.cu ---- */
cu_device *cu_of(const ar_runtime *rt);                       /* and makes it the calling thread's */
bool cu_check(cu_device *d, cudaError_t e, const char *what); /* false, and the failure kept, where e is one */
void cu_launched(cu_device *d, const char *kernel);           /* with ALPHAR_CUDA_SYNC=1 waits, so that a kernel's fault has its name */
void *cu_address(const cu_device *d, const void *p);
/* The device's copy of an array of the host's; valid until the stream has run what is asked next. */
const void *cu_stage_bytes(cu_device *d, const void *host, size_t bytes);
void *cu_scratch(cu_device *d, cu_slot slot, size_t bytes);
/* Host memory for a table that is staged at once; NULL, and a failure kept, where there is none. */
void *cu_table(cu_device *d, size_t bytes);
void cu_download(cu_device *d, void *host, const void *from, size_t bytes); /* waits; behind a failure zeros */

template <class T> static inline T *cu_at(const cu_device *d, T *p) { return (T *)cu_address(d, p); }
template <class T> static inline const T *cu_stage(cu_device *d, const T *host, size_t count) {
    return host ? (const T *)cu_stage_bytes(d, host, count * sizeof(T)) : NULL;
}

/* CU_LAUNCH(d, kernel, grid, block, bytes of shared memory, arguments …); CU_LAUNCH_FLAT: of threads that never wait for each other. Behind
 * a failure nothing is launched. */
#ifdef EMULATED_CUDA
#define CU_START(d, kernel, flat, grid, block, shared, ...) emulator::launch(#kernel, flat, kernel, grid, block, shared, __VA_ARGS__)
#define CU_DYNAMIC_SHARED(type, name) type *name = (type *)emulator::dynamic_shared()
#else
#define CU_START(d, kernel, flat, grid, block, shared, ...) kernel<<<(grid), (block), (shared), (d)->stream>>>(__VA_ARGS__)
#define CU_DYNAMIC_SHARED(type, name)                                                                                                      \
    extern __shared__ __align__(16) unsigned char name##_bytes[];                                                                          \
    type *name = (type *)name##_bytes
#endif
#define CU_RUN(d, kernel, flat, grid, block, shared, ...)                                                                                  \
    do {                                                                                                                                   \
        if ((d)->failed) break;                                                                                                            \
        CU_START(d, kernel, flat, grid, block, shared, __VA_ARGS__);                                                                       \
        cu_launched((d), #kernel);                                                                                                         \
    } while (0)
#define CU_LAUNCH(d, kernel, grid, block, shared, ...) CU_RUN(d, kernel, false, grid, block, shared, __VA_ARGS__)
#define CU_LAUNCH_FLAT(d, kernel, grid, block, ...) CU_RUN(d, kernel, true, grid, block, 0, __VA_ARGS__)

enum { CU_THREADS = 256, CU_STEP_BYTES = 128 << 20 /* of a weight that is unpacked at a time */ };

/* A grid of blocks of CU_THREADS over n elements, a thread each; kernels loop where there are more. */
static inline unsigned cu_grid(size_t n) {
    size_t blocks = (n + CU_THREADS - 1) / CU_THREADS;
    return (unsigned)(blocks < 1 ? 1 : blocks > (1u << 20) ? 1u << 20 : blocks);
}

#ifdef __CUDACC__
#define CU_FN __device__ __forceinline__
#else
#define CU_FN static inline
#endif

/* CU_EACH(i, n): a loop over what lies in registers, whose places have to be known when it is compiled. */
#ifdef __CUDACC__
#define CU_EACH(i, n) _Pragma("unroll") for (int i = 0; i < (n); i++)
#else
#define CU_EACH(i, n) for (int i = 0; i < (n); i++)
#endif

/* for (size_t i = CU_FIRST; i < n; i += CU_STRIDE) */
#define CU_FIRST ((size_t)blockIdx.x * blockDim.x + threadIdx.x)
#define CU_STRIDE ((size_t)gridDim.x * blockDim.x)

/* ---- gemm.cu ---- */

/* One side of a product, row-major with rows ld elements apart, f32 or bf16.  Left is [m, k], right is [k, n]; turned: stored the other
 * way round. */
struct cu_operand {
    const void *at;
    bool half;
    size_t ld;
    bool turned;
};

/* c [m, n] = alpha left right (+ c).  Both sides are of one type; sums in f32. */
void cu_gemm(cu_device *d, float *c, size_t ldc, bool accumulate, float alpha, cu_operand left, cu_operand right, size_t m, size_t n,
             size_t k);

/* ---- operand.cu ---- */

/* f32 numbers [rows, n], ld apart, as a product takes them: themselves, or in the slot rounded to bf16. */
cu_operand cu_ready(const ar_runtime *rt, cu_slot slot, const float *x, size_t ld, size_t rows, size_t n);
void cu_round(cu_device *d, uint16_t *to, const float *x, size_t n); /* to bf16, nearest even */
/* Rows first … last - 1 of a weight as a product takes them, [rows, cols] without gaps. */
cu_operand cu_weight_rows(const ar_runtime *rt, const ar_weight *w, size_t first, size_t last);
/* How many rows cu_weight_rows should be asked for at once. */
size_t cu_weight_step(const ar_runtime *rt, const ar_weight *w);
/* Rows of a weight in f32: out[i] = W[row of i], ids on the device. */
void cu_weight_gather(const ar_runtime *rt, float *out, const ar_weight *w, const int32_t *ids, size_t count);

/* ---- blocks.cu ---- */

/* n numbers (whole blocks) of a block type, to bf16 or f32. */
void cu_unpack(cu_device *d, void *to, bool half, const void *from, ar_dtype type, size_t n);
/* out[i] = the row of ids[i], rows of n numbers. */
void cu_unpack_rows(cu_device *d, float *out, const void *from, ar_dtype type, const int32_t *ids, size_t count, size_t n);

/* ---- rows.cu ---- */

/* Of each row of the batch its sample's number and its position there: tables on the device. */
struct cu_row_tables {
    const int32_t *sample, *position;
};
cu_row_tables cu_rows(cu_device *d, const ar_rows *rows, const size_t *past);
/* out[j] += sum over rows of dy (times z; times scale[j]); NULL: without. */
void cu_column_sums(cu_device *d, float *out, const float *dy, const float *z, const float *scale, size_t rows, size_t n);

/* ---- the operators ---- */
extern "C" {
#define CU_OP(op) ar_##op##_fn ar__cuda_##op;
AR_EACH_OP(CU_OP)
#undef CU_OP
extern const ar_memory ar__cuda_memory;
}

/* cuBLAS, opened at run time where it is (blas.cu). */
struct cu_blas;
cu_blas *cu_blas_open(cudaStream_t stream);
void cu_blas_close(cu_blas *b);
const char *cu_blas_name(const cu_blas *b);
bool cu_blas_gemm(cu_blas *b, float *c, size_t ldc, bool accumulate, float alpha, cu_operand left, cu_operand right, size_t m, size_t n,
                  size_t k);

#endif
