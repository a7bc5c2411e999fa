/* Moves of rows, sums of columns, multiples. */
#include "ops/cuda/cuda.h"
#include "ops/cuda/mma.h"

/* ---- tables of rows ---- */

cu_row_tables cu_rows(cu_device *d, const ar_rows *rows, const size_t *past) {
    int32_t *sample = (int32_t *)cu_table(d, 2 * rows->count * sizeof *sample), *position = sample + rows->count;
    if (!sample) return cu_row_tables{};
    for (size_t s = 0; s < rows->samples; s++)
        for (size_t i = rows->start[s]; i < rows->start[s + 1]; i++) {
            sample[i] = (int32_t)s;
            position[i] = (int32_t)(rows->position ? rows->position[i] : i - rows->start[s] + (past ? past[s] : 0));
        }
    const int32_t *staged = cu_stage(d, sample, 2 * rows->count);
    return cu_row_tables{staged, staged + rows->count};
}

/* ---- sums of columns ---- */

enum { COLUMNS = 32, LANES = 8 };

__global__ void sum_columns(float *out, const float *dy, const float *z, const float *scale, size_t rows, size_t n) {
    __shared__ float part[LANES][COLUMNS];
    size_t j = (size_t)blockIdx.x * COLUMNS + threadIdx.x;
    float sum = 0.0f;
    for (size_t i = threadIdx.y; j < n && i < rows; i += LANES) sum += z ? dy[i * n + j] * z[i * n + j] : dy[i * n + j];
    part[threadIdx.y][threadIdx.x] = sum;
    __syncthreads();
    if (threadIdx.y || j >= n) return;
    for (int l = 1; l < LANES; l++) sum += part[l][threadIdx.x];
    out[j] += scale ? sum * scale[j] : sum;
}

void cu_column_sums(cu_device *d, float *out, const float *dy, const float *z, const float *scale, size_t rows, size_t n) {
    CU_LAUNCH(d, sum_columns, dim3((unsigned)((n + COLUMNS - 1) / COLUMNS)), dim3(COLUMNS, LANES), 0, out, dy, z, scale, rows, n);
}

/* ---- element by element ---- */

__global__ void add_numbers(float *y, const float *x, size_t n) {
    for (size_t i = CU_FIRST; i < n; i += CU_STRIDE) y[i] += x[i];
}

__global__ void multiply(float *y, const float *x, float a, size_t n) {
    for (size_t i = CU_FIRST; i < n; i += CU_STRIDE) y[i] = a * x[i];
}

__global__ void round_numbers(uint16_t *y, const float *x, size_t n) {
    for (size_t i = CU_FIRST; i < n; i += CU_STRIDE) y[i] = (uint16_t)bf16_bits(x[i]);
}

__global__ void widen_numbers(float *y, const uint16_t *x, size_t n) {
    for (size_t i = CU_FIRST; i < n; i += CU_STRIDE) y[i] = bf16_value(x[i]);
}

void ar__cuda_add(const ar_runtime *rt, float *y, const float *x, size_t n) {
    cu_device *d = cu_of(rt);
    CU_LAUNCH_FLAT(d, add_numbers, cu_grid(n), CU_THREADS, cu_at(d, y), cu_at(d, x), n);
}

void ar__cuda_multiple(const ar_runtime *rt, float *y, const float *x, double a, size_t n) {
    cu_device *d = cu_of(rt);
    CU_LAUNCH_FLAT(d, multiply, cu_grid(n), CU_THREADS, cu_at(d, y), cu_at(d, x), (float)a, n);
}

void ar__cuda_scale(const ar_runtime *rt, float *x, double a, size_t n) {
    if (a != 1.0) ar__cuda_multiple(rt, x, x, a, n);
}

void ar__cuda_bf16_round(const ar_runtime *rt, uint16_t *y, const float *x, size_t n) {
    cu_device *d = cu_of(rt);
    CU_LAUNCH_FLAT(d, round_numbers, cu_grid(n), CU_THREADS, cu_at(d, y), cu_at(d, x), n);
}

void ar__cuda_bf16_widen(const ar_runtime *rt, float *y, const uint16_t *x, size_t n) {
    cu_device *d = cu_of(rt);
    CU_LAUNCH_FLAT(d, widen_numbers, cu_grid(n), CU_THREADS, cu_at(d, y), cu_at(d, x), n);
}

void ar__cuda_zero_bytes(const ar_runtime *rt, void *memory, size_t bytes) {
    cu_device *d = cu_of(rt);
    if (bytes) cu_check(d, cudaMemsetAsync(cu_address(d, memory), 0, bytes, d->stream), "zeroing");
}

void ar__cuda_zero_rows(const ar_runtime *rt, float *x, size_t rows, size_t width) { ar__cuda_zero_bytes(rt, x, rows * width * sizeof *x); }

/* ---- rows that go elsewhere ---- */

__global__ void take_rows(float *to, const float *from, const size_t *row, size_t count, size_t width) {
    for (size_t i = CU_FIRST; i < count * width; i += CU_STRIDE) to[i] = from[row[i / width] * width + i % width];
}

__global__ void put_rows(float *to, const float *from, const size_t *row, size_t count, size_t width) {
    for (size_t i = CU_FIRST; i < count * width; i += CU_STRIDE) to[row[i / width] * width + i % width] = from[i];
}

/* In place a row may be written before another thread has read it: by way of scratch. */
void ar__cuda_rows_take(const ar_runtime *rt, float *dst, const float *src, const size_t *row, size_t count, size_t width) {
    cu_device *d = cu_of(rt);
    const size_t *rows = cu_stage(d, row, count);
    size_t bytes = count * width * sizeof *dst;
    dst = cu_at(d, dst);
    src = cu_at(d, src);
    float *to = dst == src ? (float *)cu_scratch(d, CU_SLOT_SUMS, bytes) : dst;
    if (!count) return;
    CU_LAUNCH_FLAT(d, take_rows, cu_grid(count * width), CU_THREADS, to, src, rows, count, width);
    if (to != dst) cu_check(d, cudaMemcpyAsync(dst, to, bytes, cudaMemcpyDeviceToDevice, d->stream), "moving rows");
}

void ar__cuda_rows_put(const ar_runtime *rt, float *dst, const float *src, const size_t *row, size_t count, size_t width) {
    cu_device *d = cu_of(rt);
    const size_t *rows = cu_stage(d, row, count);
    if (count) CU_LAUNCH_FLAT(d, put_rows, cu_grid(count * width), CU_THREADS, cu_at(d, dst), cu_at(d, src), rows, count, width);
}

void ar__cuda_rows_spread(const ar_runtime *rt, float *x, size_t rows, const size_t *row, size_t count, size_t width) {
    cu_device *d = cu_of(rt);
    size_t bytes = count * width * sizeof *x;
    float *kept = (float *)cu_scratch(d, CU_SLOT_SUMS, bytes);
    x = cu_at(d, x);
    if (count) cu_check(d, cudaMemcpyAsync(kept, x, bytes, cudaMemcpyDeviceToDevice, d->stream), "moving rows");
    ar__cuda_zero_rows(rt, x, rows, width);
    ar__cuda_rows_put(rt, x, kept, row, count, width);
}

/* Places of `joined`: all of q before k and v, or head by head. */
struct joint {
    float *q, *k, *v;
    size_t q_width, kv_width, head, width;
};

CU_FN size_t joined_at(const joint &t, int part, size_t j) {
    size_t before = part == 0 ? 0 : part == 1 ? t.q_width : t.q_width + t.kv_width;
    if (!t.head) return before + j;
    size_t parts = t.v ? 3 : 2;
    return (j / t.head * parts + (size_t)part) * t.head + j % t.head;
}

CU_FN float *joint_number(const joint &t, size_t i, size_t j, size_t *at) {
    if (j < t.q_width) {
        *at = joined_at(t, 0, j);
        return t.q + i * t.q_width + j;
    }
    j -= t.q_width;
    if (j < t.kv_width) {
        *at = joined_at(t, 1, j);
        return t.k + i * t.kv_width + j;
    }
    j -= t.kv_width;
    *at = joined_at(t, 2, j);
    return t.v + i * t.kv_width + j;
}

__global__ void split_rows(joint t, const float *joined, size_t rows) {
    for (size_t i = CU_FIRST; i < rows * t.width; i += CU_STRIDE) {
        size_t at;
        float *one = joint_number(t, i / t.width, i % t.width, &at);
        *one = joined[i / t.width * t.width + at];
    }
}

__global__ void join_rows(float *joined, joint t, size_t rows) {
    for (size_t i = CU_FIRST; i < rows * t.width; i += CU_STRIDE) {
        size_t at;
        const float *one = joint_number(t, i / t.width, i % t.width, &at);
        joined[i / t.width * t.width + at] = *one;
    }
}

static joint joint_of(const cu_device *d, const ar_qkv *p) {
    size_t width = p->q_width + p->kv_width * (p->v ? 2 : 1);
    return joint{cu_at(d, p->q), cu_at(d, p->k), cu_at(d, p->v), p->q_width, p->kv_width, p->head, width};
}

void ar__cuda_qkv_split(const ar_runtime *rt, const ar_qkv *to, const float *joined, size_t rows) {
    cu_device *d = cu_of(rt);
    joint t = joint_of(d, to);
    CU_LAUNCH_FLAT(d, split_rows, cu_grid(rows * t.width), CU_THREADS, t, cu_at(d, joined), rows);
}

void ar__cuda_qkv_join(const ar_runtime *rt, float *joined, const ar_qkv *from, size_t rows) {
    cu_device *d = cu_of(rt);
    joint t = joint_of(d, from);
    CU_LAUNCH_FLAT(d, join_rows, cu_grid(rows * t.width), CU_THREADS, cu_at(d, joined), t, rows);
}

__global__ void copy_columns(float *to, size_t to_ld, const float *from, size_t from_ld, size_t rows, size_t width) {
    for (size_t i = CU_FIRST; i < rows * width; i += CU_STRIDE) to[i / width * to_ld + i % width] = from[i / width * from_ld + i % width];
}

void ar__cuda_columns_put(const ar_runtime *rt, float *dst, size_t stride, const float *src, size_t rows, size_t width) {
    cu_device *d = cu_of(rt);
    CU_LAUNCH_FLAT(d, copy_columns, cu_grid(rows * width), CU_THREADS, cu_at(d, dst), stride, cu_at(d, src), width, rows, width);
}

void ar__cuda_columns_take(const ar_runtime *rt, float *dst, const float *src, size_t stride, size_t rows, size_t width) {
    cu_device *d = cu_of(rt);
    CU_LAUNCH_FLAT(d, copy_columns, cu_grid(rows * width), CU_THREADS, cu_at(d, dst), width, cu_at(d, src), stride, rows, width);
}

__global__ void store_rows(float *cache, const float *x, const ar_block *blocks, size_t width) {
    ar_block b = blocks[blockIdx.x];
    for (size_t i = threadIdx.x; i < b.count * width; i += blockDim.x) cache[(b.keys + b.position) * width + i] = x[b.row * width + i];
}

void ar__cuda_rows_store(const ar_runtime *rt, float *cache, const float *x, const ar_block *blocks, size_t block_count, size_t width) {
    cu_device *d = cu_of(rt);
    const ar_block *staged = cu_stage(d, blocks, block_count);
    if (block_count) CU_LAUNCH_FLAT(d, store_rows, dim3((unsigned)block_count), CU_THREADS, cu_at(d, cache), cu_at(d, x), staged, width);
}
