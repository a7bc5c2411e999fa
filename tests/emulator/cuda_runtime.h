/* CUDA without a GPU: what src/ops/cuda uses of the toolkit, so that its very kernels run on a CPU, in tests.
 *
 * Threads of a block are fibers on one thread of the host: each runs until it waits for its block or for its warp, then the next.
 *
 *     waits for     __syncthreads, the end of the kernel
 *     of the warp   shuffles, __syncwarp, mma, ldmatrix: every lane brings its part, then each takes what it is due
 *
 * What a GPU would not forgive ends the program here: device memory that the host touches (its pages are closed while no kernel runs), a
 * kernel given memory of the host (pages of the device's, pinned memory and nothing else pass), a barrier that not all threads reach.  As
 * on a GPU a launch and a copy return at once; they run when somebody waits for the stream.  Time, registers, races between warps that no
 * barrier parts, and the order in which blocks run are not modelled. */
#ifndef EMULATOR_CUDA_RUNTIME_H
#define EMULATOR_CUDA_RUNTIME_H

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <type_traits>

#define EMULATED_CUDA 1
#define __global__ static
#define __device__
#define __host__
#define __forceinline__ inline
#define __shared__ static
#define __constant__
#define __launch_bounds__(...)

struct dim3 {
    unsigned x = 1, y = 1, z = 1;
    dim3() = default;
    dim3(unsigned a, unsigned b = 1, unsigned c = 1) : x(a), y(b), z(c) {}
};
struct float2 {
    float x, y;
};
struct alignas(16) float4 {
    float x, y, z, w;
};
struct alignas(16) uint4 {
    unsigned x, y, z, w;
};

extern dim3 threadIdx, blockIdx, blockDim, gridDim;

namespace emulator {
void barrier();
/* Brings `words` words; *all is what the lanes brought, each `stride` words behind the one before, valid until the next call. */
const uint32_t *exchange(const uint32_t *mine, int words, int *stride);
int lane();
unsigned char *dynamic_shared();
void check_pointer(const void *p, const char *kernel);
void check_aligned(const void *p, size_t bytes);
void enqueue(std::function<void()> work);
void run(dim3 grid, dim3 block, size_t shared, bool flat, const std::function<void()> &thread);

/* In a record whatever is as large as an address is taken for one, so that records have no gaps, whose bytes could be anything. */
template <class T> void check_argument(const T &value, const char *kernel) {
    if constexpr (std::is_pointer_v<T>) check_pointer(value, kernel);
    if constexpr (std::is_class_v<T>)
        for (size_t at = 0; at + 8 <= sizeof value; at += 8) {
            uint64_t word;
            memcpy(&word, (const char *)&value + at, 8);
            if (word >> 40 && word >> 47 == 0) check_pointer((const void *)word, kernel);
        }
}

template <class K, class... A> void launch(const char *name, bool flat, K kernel, dim3 grid, dim3 block, size_t shared, A... a) {
    (check_argument(a, name), ...);
    enqueue([=] { run(grid, block, shared, flat, [=] { kernel(a...); }); });
}

template <class T> T shuffled(T value, int from) {
    static_assert(sizeof(T) % 4 == 0);
    constexpr int words = sizeof(T) / 4;
    uint32_t mine[words];
    int stride;
    memcpy(mine, &value, sizeof value);
    const uint32_t *all = exchange(mine, words, &stride);
    memcpy(&value, all + from * stride, sizeof value);
    return value;
}
} // namespace emulator

static inline void __syncthreads() { emulator::barrier(); }
static inline void __syncwarp() {
    uint32_t nothing = 0;
    int stride;
    emulator::exchange(&nothing, 1, &stride);
}
template <class T> T __shfl_xor_sync(unsigned, T v, int mask) { return emulator::shuffled(v, emulator::lane() ^ mask); }
template <class T> T __shfl_sync(unsigned, T v, int from) { return emulator::shuffled(v, from & 31); }

static inline float rsqrtf(float x) { return 1.0f / sqrtf(x); }
template <class T> T __ldg(const T *p) { return *p; }
using std::max;
using std::min;

/* ---- the runtime's functions ---- */

typedef int cudaError_t;
enum { cudaSuccess = 0, cudaErrorMemoryAllocation = 2, cudaErrorInvalidValue = 1 };
enum cudaMemcpyKind { cudaMemcpyHostToDevice = 1, cudaMemcpyDeviceToHost = 2, cudaMemcpyDeviceToDevice = 3 };
enum { cudaFuncAttributeMaxDynamicSharedMemorySize = 8 };
enum { cudaStreamNonBlocking = 1 };
typedef struct emulated_stream *cudaStream_t;
struct cudaDeviceProp {
    char name[256];
    size_t totalGlobalMem;
    int major, minor, multiProcessorCount;
};

cudaError_t cudaGetDeviceCount(int *count);
cudaError_t cudaGetDeviceProperties(cudaDeviceProp *out, int device);
cudaError_t cudaSetDevice(int device);
cudaError_t cudaMemGetInfo(size_t *free_bytes, size_t *total);
cudaError_t cudaMalloc(void **out, size_t bytes);
cudaError_t cudaFree(void *p);
cudaError_t cudaMallocHost(void **out, size_t bytes);
cudaError_t cudaFreeHost(void *p);
cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, cudaMemcpyKind kind, cudaStream_t stream);
cudaError_t cudaMemsetAsync(void *to, int value, size_t bytes, cudaStream_t stream);
cudaError_t cudaStreamCreateWithFlags(cudaStream_t *out, unsigned flags);
cudaError_t cudaStreamDestroy(cudaStream_t stream);
cudaError_t cudaStreamSynchronize(cudaStream_t stream);
cudaError_t cudaGetLastError();
const char *cudaGetErrorString(cudaError_t e);
struct cudaFuncAttributes {
    int numRegs;
};
template <class K> cudaError_t cudaFuncGetAttributes(cudaFuncAttributes *, K) { return cudaSuccess; }
template <class K> cudaError_t cudaFuncSetAttribute(K, int, int) { return cudaSuccess; }

#endif
