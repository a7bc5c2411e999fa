/* Attention on tensor cores (arXiv 2205.14135, 2307.08691): scores never leave registers.
 *
 * A block has 64 rows, 16 a warp, and walks over tiles of the other side; D is the head's size, rounded up, T rows of a tile.
 *
 *     forward   rows: queries   tiles: keys, values       S = Q Kᵀ    O = O e^(m - m') + P V         one head
 *     dq        rows: queries   tiles: keys, values       S, dP = dO Vᵀ     dQ += dS K               one head
 *     dk, dv    rows: keys      tiles: queries, dO        Sᵀ = K Qᵀ, dPᵀ = V dOᵀ    dV += Pᵀ dO, dK += dSᵀ Q    the heads of a group, in
 * order
 *
 * so that every sum has one order and one owner; S is formed three times for it.  What a lane holds of a product's result is what it has to
 * bring of the left side of the next (mma.h), so P and dS go from one to the other rounded to bf16, without shared memory. */
#include "ops/cuda/attention.h"
#include "ops/cuda/mma.h"

enum { ROWS = 64, THREADS = 128, GAP = 8 };

/* q, k, v and dO in bf16, rows as wide as their heads. */
struct halves {
    const uint16_t *q, *k, *v, *d_o;
};

CU_FN float quick_exp(float x) { return exp2f(x * 1.44269504088896340736f); }

/* A tile of `T` rows of one head: zeros past `rows` and past the head's size. */
template <int D, int T> CU_FN void fetch(uint16_t *to, const uint16_t *from, size_t ld, size_t rows, size_t d) {
    constexpr int chunks = T * (D / 8);
    for (int i = threadIdx.x; i < chunks; i += THREADS) {
        size_t r = i / (D / 8), c = i % (D / 8) * 8;
        bool have = r < rows && c < d;
        copy_async(to + r * (D + GAP) + c, have ? from + r * ld + c : from, have ? 16 : 0);
    }
}

/* s [16, T] += rows of the warp · tileᵀ, both [·, D] in shared memory. */
template <int D, int T> CU_FN void rows_by_rows(float s[T / 8][4], const uint16_t *rows, const uint16_t *tile) {
    CU_EACH (part, D / 16) {
        int k = part * 16;
        uint32_t a[4], b[2][2];
        load_left(a, rows + k, D + GAP, false);
        CU_EACH (j, T / 16) {
            load_right(b, tile + j * 16 * (D + GAP) + k, D + GAP, true);
            mma_bf16(s[2 * j], a, b[0]);
            mma_bf16(s[2 * j + 1], a, b[1]);
        }
    }
}

/* out [16, D] += p [16, T] tile [T, D]; p: what products gave, rounded here. */
template <int D, int T> CU_FN void weigh_rows_of(float out[D / 8][4], const float p[T / 8][4], const uint16_t *tile) {
    CU_EACH (j, T / 16) {
        uint32_t a[4] = {bf16_pair(p[2 * j][0], p[2 * j][1]), bf16_pair(p[2 * j][2], p[2 * j][3]),
                         bf16_pair(p[2 * j + 1][0], p[2 * j + 1][1]), bf16_pair(p[2 * j + 1][2], p[2 * j + 1][3])};
        CU_EACH (n, D / 16) {
            uint32_t b[2][2];
            load_right(b, tile + j * 16 * (D + GAP) + n * 16, D + GAP, false);
            mma_bf16(out[2 * n], a, b[0]);
            mma_bf16(out[2 * n + 1], a, b[1]);
        }
    }
}

/* Writes a warp's [16, D] by rows of `ld`, the first `rows` of them. */
template <int D> CU_FN void put(float *to, size_t ld, const float x[D / 8][4], const float scale[2], size_t rows, size_t d) {
    int lane = threadIdx.x % 32, g = lane / 4, t = lane % 4, first = threadIdx.x / 32 * 16;
    CU_EACH (n, D / 8)
        CU_EACH (e, 4) {
            size_t r = first + g + e / 2 * 8, c = n * 8 + 2 * t + e % 2;
            if (r < rows && c < d) to[r * ld + c] = x[n][e] * scale[e / 2];
        }
}

/* The four lanes that share a row. */
CU_FN float quad_max(float x) {
    x = fmaxf(x, __shfl_xor_sync(0xffffffffu, x, 1));
    return fmaxf(x, __shfl_xor_sync(0xffffffffu, x, 2));
}
CU_FN float quad_sum(float x) {
    x += __shfl_xor_sync(0xffffffffu, x, 1);
    return x + __shfl_xor_sync(0xffffffffu, x, 2);
}

CU_FN bool sees(const cu_attention &at, size_t query, size_t key) { return key <= query && (!at.window || query - key < at.window); }

/* Where the tiles of what a block's queries see begin. */
template <int T> CU_FN size_t first_tile(const cu_attention &at, size_t position) {
    return at.window && position + 1 > at.window ? (position + 1 - at.window) / T * T : 0;
}

template <int D, int T>
__global__ void __launch_bounds__(THREADS) flash_fwd(float *o, float *lse, halves in, cu_attention at, const ar_block *blocks) {
    CU_DYNAMIC_SHARED(uint16_t, memory);
    uint16_t *q = memory, *k = q + ROWS * (D + GAP), *v = k + T * (D + GAP);
    ar_block b = blocks[blockIdx.x];
    size_t head = blockIdx.y, d = at.head_dim, ld = at.heads * d, kv_ld = at.kv_heads * d, kv_head = head / (at.heads / at.kv_heads);
    int lane = threadIdx.x % 32, g = lane / 4, t = lane % 4, first = threadIdx.x / 32 * 16;
    float sum[D / 8][4] = {}, top[2], total[2];
    CU_EACH (h, 2) {
        top[h] = at.sinks ? at.sinks[head] : -INFINITY;
        total[h] = at.sinks && t == 0 ? 1.0f : 0.0f; /* of the four lanes one */
    }
    fetch<D, ROWS>(q, in.q + b.row * ld + head * d, ld, b.count, d);
    size_t end = b.position + b.count;
    for (size_t j0 = first_tile<T>(at, b.position); j0 < end; j0 += T) {
        size_t from = (b.keys + j0) * kv_ld + kv_head * d;
        __syncthreads();
        fetch<D, T>(k, in.k + from, kv_ld, end - j0, d);
        fetch<D, T>(v, in.v + from, kv_ld, end - j0, d);
        copies_close();
        copies_wait<0>();
        __syncthreads();
        float s[T / 8][4] = {}, most[2] = {top[0], top[1]};
        rows_by_rows<D, T>(s, q + first * (D + GAP), k);
        CU_EACH (n, T / 8)
            CU_EACH (e, 4) {
                size_t query = b.position + first + g + e / 2 * 8, key = j0 + n * 8 + 2 * t + e % 2;
                s[n][e] = sees(at, query, key) ? cu_score(at, s[n][e]) : -INFINITY;
                most[e / 2] = fmaxf(most[e / 2], s[n][e]);
            }
        CU_EACH (h, 2) {
            most[h] = quad_max(most[h]);
            /* a row that has seen nothing yet, as one past the block's last: 0 in the place of -inf - -inf */
            float shrink = top[h] == -INFINITY ? 0.0f : quick_exp(top[h] - most[h]);
            total[h] *= shrink;
            top[h] = most[h];
            CU_EACH (n, D / 8) {
                sum[n][2 * h] *= shrink;
                sum[n][2 * h + 1] *= shrink;
            }
        }
        CU_EACH (n, T / 8)
            CU_EACH (e, 4) {
                s[n][e] = s[n][e] == -INFINITY ? 0.0f : quick_exp(s[n][e] - top[e / 2]);
                total[e / 2] += s[n][e];
            }
        weigh_rows_of<D, T>(sum, s, v);
    }
    float scale[2];
    CU_EACH (h, 2) {
        size_t r = first + g + h * 8;
        float whole = quad_sum(total[h]);
        scale[h] = 1.0f / whole;
        if (lse && t == 0 && r < b.count) lse[(b.row + r) * at.heads + head] = top[h] + logf(whole);
    }
    put<D>(o + b.row * ld + head * d, ld, sum, scale, b.count, d);
}

template <int D, int T>
__global__ void __launch_bounds__(THREADS)
    flash_dq(float *dq, halves in, const float *lse, const float *dsum, cu_attention at, const ar_block *blocks) {
    CU_DYNAMIC_SHARED(uint16_t, memory);
    uint16_t *q = memory, *d_o = q + ROWS * (D + GAP), *k = d_o + ROWS * (D + GAP), *v = k + T * (D + GAP);
    ar_block b = blocks[blockIdx.x];
    size_t head = blockIdx.y, d = at.head_dim, ld = at.heads * d, kv_ld = at.kv_heads * d, kv_head = head / (at.heads / at.kv_heads);
    int lane = threadIdx.x % 32, g = lane / 4, t = lane % 4, first = threadIdx.x / 32 * 16;
    float sum[D / 8][4] = {}, own_lse[2], own_sum[2];
    CU_EACH (h, 2) {
        size_t r = first + g + h * 8, place = (b.row + (r < b.count ? r : 0)) * at.heads + head;
        own_lse[h] = lse[place];
        own_sum[h] = dsum[place];
    }
    fetch<D, ROWS>(q, in.q + b.row * ld + head * d, ld, b.count, d);
    fetch<D, ROWS>(d_o, in.d_o + b.row * ld + head * d, ld, b.count, d);
    size_t end = b.position + b.count;
    for (size_t j0 = first_tile<T>(at, b.position); j0 < end; j0 += T) {
        size_t from = (b.keys + j0) * kv_ld + kv_head * d;
        __syncthreads();
        fetch<D, T>(k, in.k + from, kv_ld, end - j0, d);
        fetch<D, T>(v, in.v + from, kv_ld, end - j0, d);
        copies_close();
        copies_wait<0>();
        __syncthreads();
        float s[T / 8][4] = {}, dp[T / 8][4] = {};
        rows_by_rows<D, T>(s, q + first * (D + GAP), k);
        rows_by_rows<D, T>(dp, d_o + first * (D + GAP), v);
        CU_EACH (n, T / 8)
            CU_EACH (e, 4) {
                size_t query = b.position + first + g + e / 2 * 8, key = j0 + n * 8 + 2 * t + e % 2;
                float score = cu_score(at, s[n][e]), p = sees(at, query, key) ? quick_exp(score - own_lse[e / 2]) : 0.0f;
                s[n][e] = p * (dp[n][e] - own_sum[e / 2]) * cu_score_slope(at, score);
            }
        weigh_rows_of<D, T>(sum, s, k);
    }
    const float one[2] = {1.0f, 1.0f};
    put<D>(dq + b.row * ld + head * d, ld, sum, one, b.count, d);
}

template <int D, int T>
__global__ void __launch_bounds__(THREADS)
    flash_dkv(float *dk, float *dv, halves in, const float *lse, const float *dsum, cu_attention at, const ar_block *blocks) {
    CU_DYNAMIC_SHARED(uint16_t, memory);
    uint16_t *k = memory, *v = k + ROWS * (D + GAP), *q = v + ROWS * (D + GAP), *d_o = q + T * (D + GAP);
    ar_block b = blocks[blockIdx.x];
    size_t kv_head = blockIdx.y, d = at.head_dim, ld = at.heads * d, kv_ld = at.kv_heads * d, group = at.heads / at.kv_heads;
    int lane = threadIdx.x % 32, g = lane / 4, t = lane % 4, first = threadIdx.x / 32 * 16;
    float k_sum[D / 8][4] = {}, v_sum[D / 8][4] = {};
    size_t last = b.position + b.count - 1, end = at.window && last + at.window < b.length ? last + at.window : b.length;
    fetch<D, ROWS>(k, in.k + b.row * kv_ld + kv_head * d, kv_ld, b.count, d);
    fetch<D, ROWS>(v, in.v + b.row * kv_ld + kv_head * d, kv_ld, b.count, d);
    for (size_t head = kv_head * group; head < (kv_head + 1) * group; head++)
        for (size_t i0 = b.position; i0 < end; i0 += T) {
            size_t from = (b.keys + i0) * ld + head * d;
            __syncthreads();
            fetch<D, T>(q, in.q + from, ld, end - i0, d);
            fetch<D, T>(d_o, in.d_o + from, ld, end - i0, d);
            copies_close();
            copies_wait<0>();
            __syncthreads();
            float s[T / 8][4] = {}, dp[T / 8][4] = {};
            rows_by_rows<D, T>(s, k + first * (D + GAP), q);
            rows_by_rows<D, T>(dp, v + first * (D + GAP), d_o);
            CU_EACH (n, T / 8)
                CU_EACH (e, 4) {
                    size_t key = b.position + first + g + e / 2 * 8, query = i0 + n * 8 + 2 * t + e % 2;
                    bool seen = query < end && sees(at, query, key);
                    size_t place = (b.keys + (seen ? query : i0)) * at.heads + head;
                    float score = cu_score(at, s[n][e]), p = seen ? quick_exp(score - lse[place]) : 0.0f;
                    s[n][e] = p;
                    dp[n][e] = p * (dp[n][e] - dsum[place]) * cu_score_slope(at, score);
                }
            weigh_rows_of<D, T>(v_sum, s, d_o);
            weigh_rows_of<D, T>(k_sum, dp, q);
        }
    const float one[2] = {1.0f, 1.0f};
    put<D>(dk + b.row * kv_ld + kv_head * d, kv_ld, k_sum, one, b.count, d);
    put<D>(dv + b.row * kv_ld + kv_head * d, kv_ld, v_sum, one, b.count, d);
}

/* ---- choosing ---- */

/* Whole pieces of 16 bytes, a size that there is, and no cache: decoding has one row a sample, and its keys would be rounded anew each
 * time. */
bool cu_attention_bf16_fits(const cu_attention *at, const ar_block *blocks, size_t block_count) {
    for (size_t i = 0; i < block_count; i++)
        if (blocks[i].keys + blocks[i].position != blocks[i].row) return false;
    return at->head_dim % 8 == 0 && at->head_dim <= 256;
}

static const uint16_t *rounded(cu_device *d, cu_slot slot, const float *x, size_t n) {
    uint16_t *to = (uint16_t *)cu_scratch(d, slot, n * sizeof *to);
    cu_round(d, to, x, n);
    return to;
}

static size_t rows_of(const ar_block *blocks, size_t count) {
    size_t rows = 0;
    for (size_t i = 0; i < count; i++) rows = blocks[i].row + blocks[i].count > rows ? blocks[i].row + blocks[i].count : rows;
    return rows;
}

static halves round_all(cu_device *d, const float *q, const float *k, const float *v, const float *d_o, const cu_attention &at,
                        size_t rows) {
    size_t n = rows * at.heads * at.head_dim, kv = rows * at.kv_heads * at.head_dim;
    return halves{rounded(d, CU_SLOT_QUERIES, q, n), rounded(d, CU_SLOT_KEYS, k, kv), rounded(d, CU_SLOT_VALUES, v, kv),
                  d_o ? rounded(d, CU_SLOT_X, d_o, n) : NULL};
}

template <class K> static void allow(cu_device *d, K kernel, size_t bytes) {
    if (bytes > 48 << 10) cu_check(d, cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, (int)bytes), "attention");
}

template <int D, int T>
static void run_fwd(cu_device *d, float *o, float *lse, halves in, cu_attention at, const ar_block *blocks, size_t count) {
    auto kernel = flash_fwd<D, T>;
    size_t bytes = (ROWS + 2 * T) * (D + GAP) * sizeof(uint16_t);
    allow(d, kernel, bytes);
    CU_LAUNCH(d, kernel, dim3((unsigned)count, (unsigned)at.heads), dim3(THREADS), bytes, o, lse, in, at, blocks);
}

template <int D, int T>
static void run_bwd(cu_device *d, float *dq, float *dk, float *dv, const float *dsum, const float *lse, halves in, cu_attention at,
                    const ar_block *blocks, size_t count) {
    auto by_query = flash_dq<D, T>;
    auto by_key = flash_dkv<D, T>;
    size_t bytes = (2 * ROWS + 2 * T) * (D + GAP) * sizeof(uint16_t);
    allow(d, by_query, bytes);
    allow(d, by_key, bytes);
    CU_LAUNCH(d, by_query, dim3((unsigned)count, (unsigned)at.heads), dim3(THREADS), bytes, dq, in, lse, dsum, at, blocks);
    CU_LAUNCH(d, by_key, dim3((unsigned)count, (unsigned)at.kv_heads), dim3(THREADS), bytes, dk, dv, in, lse, dsum, at, blocks);
}

void cu_attention_bf16_fwd(cu_device *d, float *o, float *lse, const float *q, const float *k, const float *v, cu_attention at,
                           const ar_block *blocks, const ar_block *staged, size_t count) {
    halves in = round_all(d, q, k, v, NULL, at, rows_of(blocks, count));
    if (at.head_dim <= 32)
        run_fwd<32, 64>(d, o, lse, in, at, staged, count);
    else if (at.head_dim <= 64)
        run_fwd<64, 64>(d, o, lse, in, at, staged, count);
    else if (at.head_dim <= 128)
        run_fwd<128, 64>(d, o, lse, in, at, staged, count);
    else
        run_fwd<256, 32>(d, o, lse, in, at, staged, count);
}

void cu_attention_bf16_bwd(cu_device *d, float *dq, float *dk, float *dv, const float *dsum, const float *d_o, const float *q,
                           const float *k, const float *v, const float *lse, cu_attention at, const ar_block *blocks,
                           const ar_block *staged, size_t count) {
    halves in = round_all(d, q, k, v, d_o, at, rows_of(blocks, count));
    if (at.head_dim <= 32)
        run_bwd<32, 64>(d, dq, dk, dv, dsum, lse, in, at, staged, count);
    else if (at.head_dim <= 64)
        run_bwd<64, 64>(d, dq, dk, dv, dsum, lse, in, at, staged, count);
    else if (at.head_dim <= 128)
        run_bwd<128, 32>(d, dq, dk, dv, dsum, lse, in, at, staged, count);
    else
        run_bwd<256, 32>(d, dq, dk, dv, dsum, lse, in, at, staged, count);
}
