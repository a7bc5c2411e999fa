/* Products: cuBLAS where it is; else our own, on tensor cores for bf16, by hand for f32.
 *
 * A block makes a tile [BM, BN] of the result; a slice of 32 of k lies in shared memory three times, so that two slices are on their way
 * while one is multiplied.  Where tiles are few and k is long (dA, dB: k is the batch) k is cut into parts, each a tile of its own in
 * scratch, that are then added in order.
 *
 *     left    [m, k]: rows of 32 + 8        turned [k, m]: rows of BM + 8       the 8 keep eight rows of ldmatrix on different banks
 *     right   [k, n]: rows of BN + 8        turned [n, k]: rows of 32 + 8 */
#include "ops/cuda/mma.h"

enum { SLICE = 32, STAGES = 3, GAP = 8 };

/* One side as a kernel sees it: rows and columns of what is stored. */
struct side {
    const uint16_t *at;
    size_t ld, rows, cols;
    size_t wide; /* 16 bytes may be read at every multiple of 8 */
};

/* A stretch [ROWS, COLS] of what is stored, from (row, col) on; zeros past its ends. */
template <int ROWS, int COLS, int THREADS> __device__ static inline void fetch(uint16_t *to, const side &s, size_t row, size_t col) {
    constexpr int chunks = ROWS * (COLS / 8);
    for (int i = threadIdx.x; i < chunks; i += THREADS) {
        int r = i / (COLS / 8), c = i % (COLS / 8) * 8;
        size_t gr = row + r, gc = col + c;
        uint16_t *dst = to + r * (COLS + GAP) + c;
        int have = gr < s.rows && gc < s.cols ? (s.cols - gc < 8 ? (int)(s.cols - gc) : 8) : 0;
        if (s.wide) {
            copy_async(dst, have ? s.at + gr * s.ld + gc : s.at, have * 2);
            continue;
        }
        for (int e = 0; e < 8; e++) dst[e] = e < have ? s.at[gr * s.ld + gc + e] : (uint16_t)0;
    }
}

template <int BM, int BN, int WM, int WN, bool LEFT_TURNED, bool RIGHT_TURNED>
__global__ void __launch_bounds__(32 * (BM / WM) * (BN / WN))
    gemm_kernel(float *c, size_t ldc, int accumulate, float alpha, side left, side right, size_t m, size_t n, size_t k, size_t part,
                float *partial) {
    constexpr int threads = 32 * (BM / WM) * (BN / WN);
    constexpr int left_rows = LEFT_TURNED ? SLICE : BM, left_cols = LEFT_TURNED ? BM : SLICE;
    constexpr int right_rows = RIGHT_TURNED ? BN : SLICE, right_cols = RIGHT_TURNED ? SLICE : BN;
    constexpr int left_size = left_rows * (left_cols + GAP), right_size = right_rows * (right_cols + GAP);
    CU_DYNAMIC_SHARED(uint16_t, memory);
    size_t row = (size_t)blockIdx.y * BM, col = (size_t)blockIdx.x * BN, from = blockIdx.z * part, to = from + part < k ? from + part : k;
    int warp = threadIdx.x / 32, wr = warp / (BN / WN) * WM, wc = warp % (BN / WN) * WN;
    int slices = (int)((to - from + SLICE - 1) / SLICE);
    float sum[WM / 16][WN / 8][4] = {};
    /* What lies past this part of k is another's. */
    if (LEFT_TURNED)
        left.rows = to;
    else
        left.cols = to;
    if (RIGHT_TURNED)
        right.cols = to;
    else
        right.rows = to;
    auto ask = [&](int slice) {
        uint16_t *l = memory + slice % STAGES * (left_size + right_size), *r = l + left_size;
        size_t at = from + (size_t)slice * SLICE;
        if (slice < slices) {
            fetch<left_rows, left_cols, threads>(l, left, LEFT_TURNED ? at : row, LEFT_TURNED ? row : at);
            fetch<right_rows, right_cols, threads>(r, right, RIGHT_TURNED ? col : at, RIGHT_TURNED ? at : col);
        }
        copies_close();
    };
    for (int s = 0; s < STAGES - 1; s++) ask(s);
    for (int s = 0; s < slices; s++) {
        copies_wait<STAGES - 2>();
        __syncthreads();
        ask(s + STAGES - 1);
        const uint16_t *l = memory + s % STAGES * (left_size + right_size), *r = l + left_size;
        CU_EACH (half, SLICE / 16) {
            int kk = half * 16;
            uint32_t a[WM / 16][4], b[WN / 16][2][2];
            CU_EACH (i, WM / 16)
                load_left(a[i], LEFT_TURNED ? l + kk * (BM + GAP) + wr + i * 16 : l + (wr + i * 16) * (SLICE + GAP) + kk, left_cols + GAP,
                          LEFT_TURNED);
            CU_EACH (j, WN / 16)
                load_right(b[j], RIGHT_TURNED ? r + (wc + j * 16) * (SLICE + GAP) + kk : r + kk * (BN + GAP) + wc + j * 16,
                           right_cols + GAP, RIGHT_TURNED);
            CU_EACH (i, WM / 16)
                CU_EACH (j, WN / 8) mma_bf16(sum[i][j], a[i], b[j / 2][j % 2]);
        }
    }
    int lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
    float *out = partial ? partial + blockIdx.z * m * n : c;
    size_t ld = partial ? n : ldc;
    CU_EACH (i, WM / 16)
        CU_EACH (j, WN / 8)
            CU_EACH (e, 4) {
                size_t r = row + wr + i * 16 + g + e / 2 * 8, q = col + wc + j * 8 + 2 * t + e % 2;
                if (r >= m || q >= n) continue;
                float *at = out + r * ld + q, v = partial ? sum[i][j][e] : alpha * sum[i][j][e];
                *at = accumulate && !partial ? *at + v : v;
            }
}

/* The parts of k, in their order. */
__global__ void add_parts(float *c, size_t ldc, int accumulate, float alpha, const float *partial, size_t m, size_t n, size_t parts) {
    for (size_t i = CU_FIRST; i < m * n; i += CU_STRIDE) {
        float sum = 0.0f;
        for (size_t p = 0; p < parts; p++) sum += partial[p * m * n + i];
        float *at = c + i / n * ldc + i % n;
        *at = accumulate ? *at + alpha * sum : alpha * sum;
    }
}

/* f32: a block makes 64 x 64, a thread 4 x 4; strides say how a side is stored. */
struct strides {
    const float *at;
    size_t outer, inner; /* of a row (column) of the result; of k */
};

__global__ void gemm_f32(float *c, size_t ldc, int accumulate, float alpha, strides left, strides right, size_t m, size_t n, size_t k) {
    __shared__ float l[16][65], r[16][65];
    size_t row = (size_t)blockIdx.y * 64, col = (size_t)blockIdx.x * 64;
    int x = threadIdx.x % 16, y = threadIdx.x / 16;
    float sum[4][4] = {};
    for (size_t at = 0; at < k; at += 16) {
        for (int i = threadIdx.x; i < 16 * 64; i += 256) {
            /* neighbours in memory by neighbouring threads */
            int lk = left.inner == 1 ? i % 16 : i / 64, li = left.inner == 1 ? i / 16 : i % 64;
            int rk = right.inner == 1 ? i % 16 : i / 64, ri = right.inner == 1 ? i / 16 : i % 64;
            l[lk][li] = row + li < m && at + lk < k ? left.at[(row + li) * left.outer + (at + lk) * left.inner] : 0.0f;
            r[rk][ri] = col + ri < n && at + rk < k ? right.at[(col + ri) * right.outer + (at + rk) * right.inner] : 0.0f;
        }
        __syncthreads();
        CU_EACH (kk, 16)
            CU_EACH (i, 4)
                CU_EACH (j, 4) sum[i][j] += l[kk][y + 16 * i] * r[kk][x + 16 * j];
        __syncthreads();
    }
    CU_EACH (i, 4)
        CU_EACH (j, 4) {
            size_t p = row + y + 16 * i, q = col + x + 16 * j;
            if (p >= m || q >= n) continue;
            float *to = c + p * ldc + q, v = alpha * sum[i][j];
            *to = accumulate ? *to + v : v;
        }
}

/* ---- choosing ---- */

struct call {
    float *c;
    size_t ldc;
    int accumulate;
    float alpha;
    cu_operand left, right;
    size_t m, n, k;
};

static side side_of(const cu_operand &o, size_t rows, size_t cols) {
    size_t address = (size_t)o.at;
    return side{(const uint16_t *)o.at, o.ld, o.turned ? cols : rows, o.turned ? rows : cols, o.ld % 8 == 0 && address % 16 == 0};
}

/* Parts of k: enough blocks for two on each multiprocessor, none shorter than eight slices. */
static size_t parts_of(const cu_device *d, const call &o, size_t tiles) {
    size_t want = 2 * (size_t)d->properties.multiProcessorCount / tiles, most = o.k / (8 * SLICE);
    return want < 1 || most < 1 ? 1 : want < most ? want : most;
}

template <int BM, int BN, int WM, int WN, bool LT, bool RT> static void run(cu_device *d, const call &o) {
    constexpr size_t bytes = STAGES * 2 * ((LT ? SLICE * (BM + GAP) : BM * (SLICE + GAP)) + (RT ? BN * (SLICE + GAP) : SLICE * (BN + GAP)));
    constexpr unsigned threads = 32 * (BM / WM) * (BN / WN);
    auto kernel = gemm_kernel<BM, BN, WM, WN, LT, RT>;
    size_t across = (o.n + BN - 1) / BN, down = (o.m + BM - 1) / BM, parts = parts_of(d, o, across * down);
    size_t part = ((o.k + parts - 1) / parts + SLICE - 1) / SLICE * SLICE;
    parts = (o.k + part - 1) / part;
    float *partial = parts > 1 ? (float *)cu_scratch(d, CU_SLOT_PARTIAL, parts * o.m * o.n * sizeof(float)) : NULL;
    if (bytes > 48 << 10) cu_check(d, cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, (int)bytes), "gemm");
    CU_LAUNCH(d, kernel, dim3((unsigned)across, (unsigned)down, (unsigned)parts), dim3(threads), bytes, o.c, o.ldc, o.accumulate, o.alpha,
              side_of(o.left, o.m, o.k), side_of(o.right, o.k, o.n), o.m, o.n, o.k, part, partial);
    if (parts > 1)
        CU_LAUNCH_FLAT(d, add_parts, cu_grid(o.m * o.n), CU_THREADS, o.c, o.ldc, o.accumulate, o.alpha, (const float *)partial, o.m, o.n,
                       parts);
}

template <int BM, int BN, int WM, int WN> static void run_turned(cu_device *d, const call &o) {
    if (o.left.turned && o.right.turned)
        run<BM, BN, WM, WN, true, true>(d, o);
    else if (o.left.turned)
        run<BM, BN, WM, WN, true, false>(d, o);
    else if (o.right.turned)
        run<BM, BN, WM, WN, false, true>(d, o);
    else
        run<BM, BN, WM, WN, false, false>(d, o);
}

static void run_f32(cu_device *d, const call &o) {
    strides left = {(const float *)o.left.at, o.left.turned ? 1 : o.left.ld, o.left.turned ? o.left.ld : 1};
    strides right = {(const float *)o.right.at, o.right.turned ? o.right.ld : 1, o.right.turned ? 1 : o.right.ld};
    dim3 grid((unsigned)((o.n + 63) / 64), (unsigned)((o.m + 63) / 64));
    CU_LAUNCH(d, gemm_f32, grid, dim3(256), 0, o.c, o.ldc, o.accumulate, o.alpha, left, right, o.m, o.n, o.k);
}

void cu_gemm(cu_device *d, float *c, size_t ldc, bool accumulate, float alpha, cu_operand left, cu_operand right, size_t m, size_t n,
             size_t k) {
    call o = {c, ldc, accumulate, alpha, left, right, m, n, k};
    if (!m || !n || !k) return;
    if (d->blas && cu_blas_gemm(d->blas, c, ldc, accumulate, alpha, left, right, m, n, k)) return;
    if (!left.half)
        run_f32(d, o);
    else if (m <= 32)
        run_turned<32, 128, 32, 32>(d, o);
    else if (n <= 32)
        run_turned<128, 32, 32, 32>(d, o);
    else if (m <= 64 || n <= 64 || ((m + 127) / 128) * ((n + 127) / 128) < (size_t)d->properties.multiProcessorCount)
        run_turned<64, 64, 32, 32>(d, o);
    else
        run_turned<128, 128, 64, 32>(d, o);
}
