#include "cuda_runtime.h"

#include <csetjmp>
#include <memory>
#include <sys/mman.h>
#include <ucontext.h>
#include <vector>

dim3 threadIdx, blockIdx, blockDim, gridDim;

/* A barrier or memory that is wrong: on a GPU the run would be lost too. */
[[noreturn]] static void die(const char *what, const char *where) {
    fprintf(stderr, "emulated device: %s%s%s\n", what, where ? ": " : "", where ? where : "");
    abort();
}

/* ---- device memory: one stretch of addresses, closed while no kernel runs ---- */

namespace {
const size_t pool_bytes = (size_t)1 << 38, page = 4096, huge_page = (size_t)2 << 20;
unsigned char *pool;
size_t pool_used, device_bytes, in_use;
cudaError_t last_error;

struct block {
    size_t at, bytes;
    bool used;
};
std::vector<block> blocks;
std::vector<block> pinned; /* at: the address */

size_t limit() {
    const char *text = getenv("ALPHAR_EMULATED_MIB");
    return (text ? strtoull(text, nullptr, 10) : 4096) << 20;
}

void make_pool() {
    if (pool) return;
    pool = (unsigned char *)mmap(nullptr, pool_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (pool == MAP_FAILED) die("no addresses for device memory", nullptr);
    pool += (huge_page - (size_t)pool % huge_page) % huge_page;
    madvise(pool, pool_bytes - huge_page, MADV_HUGEPAGE); /* opening and closing costs by the page */
    device_bytes = limit();
}

void open_pool(bool open) {
    if (pool_used) mprotect(pool, (pool_used + huge_page - 1) / huge_page * huge_page, open ? PROT_READ | PROT_WRITE : PROT_NONE);
}

bool in_pool(const void *p) { return pool && (const unsigned char *)p >= pool && (const unsigned char *)p < pool + pool_used; }

bool is_pinned(const void *p) {
    for (const block &b : pinned)
        if ((size_t)p >= b.at && (size_t)p < b.at + b.bytes) return true;
    return false;
}

/* ---- what was asked for and has not run ---- */

std::vector<std::function<void()>> queue;

void drain() {
    if (queue.empty()) return;
    open_pool(true);
    for (size_t i = 0; i < queue.size(); i++) queue[i]();
    queue.clear();
    open_pool(false);
}
} // namespace

/* ---- fibers ---- */

namespace {
const int most_threads = 1024, warp = 32, most_words = 32;
const size_t stack_bytes = 128 << 10;
enum state { READY, AT_WARP, AT_BLOCK, DONE };

struct fiber {
    jmp_buf at;
    bool begun;
    state is;
    unsigned calls; /* of exchange */
    dim3 index;
};

fiber fibers[most_threads];
unsigned char *stacks;
jmp_buf scheduler;
int current = -1;
bool flat_now;
uint32_t slots[2][most_threads][most_words];
alignas(128) unsigned char shared_memory[256 << 10];
const std::function<void()> *body;

void yield(state why) {
    fiber &f = fibers[current];
    f.is = why;
    if (!_setjmp(f.at)) _longjmp(scheduler, 1);
}

/* A fiber lives as long as the program: a thread of one block after the other. */
void trampoline() {
    for (;;) {
        (*body)();
        yield(DONE);
    }
}

void enter(int t) {
    fiber &f = fibers[t];
    current = t;
    threadIdx = f.index;
    if (_setjmp(scheduler)) return;
    if (f.begun) _longjmp(f.at, 1);
    f.begun = true;
    static ucontext_t context, back;
    getcontext(&context);
    context.uc_stack.ss_sp = stacks + (size_t)t * stack_bytes;
    context.uc_stack.ss_size = stack_bytes;
    context.uc_link = &back;
    makecontext(&context, trampoline, 0);
    setcontext(&context);
}

/* Runs the lanes of a warp until all are done or at the block's barrier. */
void run_warp(int first, int end) {
    for (;;) {
        int waiting = 0, others = 0;
        for (int t = first; t < end; t++) {
            if (fibers[t].is == READY) enter(t);
            waiting += fibers[t].is == AT_WARP;
            others += fibers[t].is != AT_WARP;
        }
        if (!waiting) return;
        if (others) die("lanes of a warp wait for others that are gone, or at the block's barrier", nullptr);
        for (int t = first; t < end; t++) fibers[t].is = READY;
    }
}

void run_block(int count) {
    for (;;) {
        int waiting = 0, done = 0;
        for (int first = 0; first < count; first += warp) run_warp(first, first + warp < count ? first + warp : count);
        for (int t = 0; t < count; t++) {
            waiting += fibers[t].is == AT_BLOCK;
            done += fibers[t].is == DONE;
        }
        if (done == count) return;
        if (waiting != count) die("a barrier that not all threads of the block reach", nullptr);
        for (int t = 0; t < count; t++) fibers[t].is = READY;
    }
}
} // namespace

namespace emulator {
int lane() { return current % warp; }

void barrier() {
    if (flat_now) die("a barrier in a kernel that was launched as one without", nullptr);
    yield(AT_BLOCK);
}

const uint32_t *exchange(const uint32_t *mine, int words, int *stride) {
    if (flat_now) die("a warp's operation in a kernel that was launched as one without", nullptr);
    if (words > most_words) die("more words than lanes may bring", nullptr);
    fiber &f = fibers[current];
    uint32_t(*side)[most_words] = slots[f.calls++ % 2];
    memcpy(side[current], mine, (size_t)words * 4);
    yield(AT_WARP);
    *stride = most_words;
    return side[current / warp * warp];
}

unsigned char *dynamic_shared() { return shared_memory; }

void check_pointer(const void *p, const char *kernel) {
    if (p && !in_pool(p) && !is_pinned(p)) die("a kernel was given memory of the host", kernel);
}

void check_aligned(const void *p, size_t bytes) {
    if ((size_t)p % bytes) die("an address that is not as aligned as its instruction wants it", nullptr);
}

void enqueue(std::function<void()> work) { queue.push_back(std::move(work)); }

void run(dim3 grid, dim3 block, size_t shared, bool flat, const std::function<void()> &thread) {
    int count = (int)(block.x * block.y * block.z);
    if (count > most_threads || !count || !grid.x || !grid.y || !grid.z || grid.y > 65535 || grid.z > 65535)
        die("a grid or a block of a size that there is not", nullptr);
    if (shared > sizeof shared_memory) die("more shared memory than there is", nullptr);
    if (!stacks)
        stacks = (unsigned char *)mmap(nullptr, most_threads * stack_bytes, PROT_READ | PROT_WRITE,
                                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    gridDim = grid;
    blockDim = block;
    body = &thread;
    flat_now = flat;
    for (unsigned z = 0; z < grid.z; z++)
        for (unsigned y = 0; y < grid.y; y++)
            for (unsigned x = 0; x < grid.x; x++) {
                blockIdx = dim3(x, y, z);
                memset(shared_memory, 0xff, shared); /* NaN, where something is read that nobody wrote */
                for (int t = 0; t < count; t++) {
                    dim3 at((unsigned)t % block.x, (unsigned)t / block.x % block.y, (unsigned)t / block.x / block.y);
                    if (flat) {
                        threadIdx = at;
                        thread();
                    }
                    fibers[t].is = READY;
                    fibers[t].calls = 0;
                    fibers[t].index = at;
                }
                if (!flat) run_block(count);
            }
    flat_now = false;
}
} // namespace emulator

/* ---- the runtime's functions ---- */

cudaError_t cudaGetDeviceCount(int *count) {
    *count = getenv("ALPHAR_EMULATED_NONE") ? 0 : 1;
    return cudaSuccess;
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp *out, int) {
    make_pool();
    *out = cudaDeviceProp{};
    snprintf(out->name, sizeof out->name, "emulated device");
    out->totalGlobalMem = device_bytes;
    out->major = 8;
    out->multiProcessorCount = 4;
    return cudaSuccess;
}

cudaError_t cudaSetDevice(int) { return cudaSuccess; }

cudaError_t cudaMemGetInfo(size_t *free_bytes, size_t *total) {
    make_pool();
    *total = device_bytes;
    *free_bytes = device_bytes - in_use;
    return cudaSuccess;
}

/* First fit of what was freed, else behind the last. */
cudaError_t cudaMalloc(void **out, size_t bytes) {
    make_pool();
    drain();
    size_t need = (bytes + page - 1) / page * page;
    *out = nullptr;
    if (in_use + need > device_bytes || pool_used + need > pool_bytes - 2 * huge_page) return last_error = cudaErrorMemoryAllocation;
    in_use += need;
    for (block &b : blocks)
        if (!b.used && b.bytes == need) {
            b.used = true;
            *out = pool + b.at;
        }
    if (!*out) {
        blocks.push_back(block{pool_used, need, true});
        *out = pool + pool_used;
        pool_used += need;
    }
    open_pool(true);
    memset(*out, 0xff, need);
    open_pool(false);
    return cudaSuccess;
}

cudaError_t cudaFree(void *p) {
    drain();
    for (block &b : blocks)
        if (b.used && pool + b.at == p) {
            b.used = false;
            in_use -= b.bytes;
            return cudaSuccess;
        }
    if (p) die("memory is freed that was not taken", nullptr);
    return cudaSuccess;
}

cudaError_t cudaMallocHost(void **out, size_t bytes) {
    *out = malloc(bytes);
    pinned.push_back(block{(size_t)*out, bytes, true});
    return *out ? cudaSuccess : cudaErrorMemoryAllocation;
}

cudaError_t cudaFreeHost(void *p) {
    drain();
    for (size_t i = 0; i < pinned.size(); i++)
        if (pinned[i].at == (size_t)p) pinned.erase(pinned.begin() + (long)i);
    free(p);
    return cudaSuccess;
}

static void check_extent(const void *p, size_t bytes, bool device) {
    if (device != in_pool(p)) die("a copy between other memories than it says", nullptr);
    if (!device) return;
    for (const block &b : blocks)
        if ((const unsigned char *)p >= pool + b.at && (const unsigned char *)p + bytes <= pool + b.at + b.bytes && b.used) return;
    die("a copy past the end of device memory, or into freed memory", nullptr);
}

cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, cudaMemcpyKind kind, cudaStream_t) {
    check_extent(to, bytes, kind != cudaMemcpyDeviceToHost);
    check_extent(from, bytes, kind != cudaMemcpyHostToDevice);
    /* Pageable memory is read before the call returns, and the stream is waited for before it is written; pinned memory is not. */
    if (kind == cudaMemcpyHostToDevice && !is_pinned(from)) {
        auto copy = std::make_shared<std::vector<unsigned char>>((const unsigned char *)from, (const unsigned char *)from + bytes);
        emulator::enqueue([=] { memcpy(to, copy->data(), bytes); });
        return cudaSuccess;
    }
    emulator::enqueue([=] { memcpy(to, from, bytes); });
    if (kind == cudaMemcpyDeviceToHost && !is_pinned(to)) drain();
    return cudaSuccess;
}

cudaError_t cudaMemsetAsync(void *to, int value, size_t bytes, cudaStream_t) {
    check_extent(to, bytes, true);
    emulator::enqueue([=] { memset(to, value, bytes); });
    return cudaSuccess;
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *out, unsigned) {
    *out = nullptr;
    return cudaSuccess;
}
cudaError_t cudaStreamDestroy(cudaStream_t) { return cudaSuccess; }

cudaError_t cudaStreamSynchronize(cudaStream_t) {
    drain();
    return cudaSuccess;
}

cudaError_t cudaGetLastError() {
    cudaError_t e = last_error;
    last_error = cudaSuccess;
    return e;
}

const char *cudaGetErrorString(cudaError_t e) {
    return e == cudaErrorMemoryAllocation ? "out of memory" : e ? "invalid value" : "no error";
}
