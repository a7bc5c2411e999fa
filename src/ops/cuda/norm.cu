/* Norms (ops/norm.h): a warp a row where rows are short (heads), a block a row where they are long. */
#include "ops/cuda/reduce.h"

enum { SHORT = 512 };

struct norm_parts {
    const float *w, *b;
    size_t heads; /* w is [heads, n]; 0: one for all rows */
    float eps, offset;
    size_t centred;
};

static norm_parts norm_of(const cu_device *d, const ar_norm *n) {
    return norm_parts{cu_at(d, n->w), cu_at(d, n->b), n->heads, n->eps, n->offset, n->centred};
}

/* Which row a thread is at work on, and its place there. */
template <int THREADS> CU_FN size_t row_of() { return (size_t)blockIdx.x * (blockDim.x / THREADS) + threadIdx.x / THREADS; }
template <int THREADS> CU_FN size_t place_of() { return threadIdx.x % THREADS; }

template <int THREADS> CU_FN float mean_of(const float *x, size_t n, float *shared) {
    float sum = 0.0f;
    for (size_t j = place_of<THREADS>(); j < n; j += THREADS) sum += x[j];
    return row_sum<THREADS>(sum, shared) / (float)n;
}

/* add NULL: none; kept: r is read, not made. */
template <int THREADS>
__global__ void norm_rows(float *y, float *r, norm_parts f, float *x, const float *add, int kept, size_t rows, size_t n) {
    __shared__ float shared[32];
    size_t row = row_of<THREADS>();
    if (row >= rows) return;
    x += row * n;
    y += row * n;
    if (f.heads) f.w += row % f.heads * n;
    for (size_t j = place_of<THREADS>(); add && j < n; j += THREADS) x[j] += add[row * n + j];
    float centre = f.centred ? mean_of<THREADS>(x, n, shared) : 0.0f, inverse;
    if (kept) {
        inverse = r[row];
    } else {
        float sum = 0.0f;
        for (size_t j = place_of<THREADS>(); j < n; j += THREADS) sum += (x[j] - centre) * (x[j] - centre);
        inverse = 1.0f / sqrtf(row_sum<THREADS>(sum, shared) / (float)n + f.eps);
        if (r && place_of<THREADS>() == 0) r[row] = inverse;
    }
    for (size_t j = place_of<THREADS>(); j < n; j += THREADS)
        y[j] = (f.w[j] + f.offset) * ((x[j] - centre) * inverse) + (f.b ? f.b[j] : 0.0f);
}

/* centre: where the means of rows go, for the sums over rows; NULL: nobody asks. */
template <int THREADS>
__global__ void norm_rows_bwd(float *dx, int accumulate, const float *dy, norm_parts f, const float *x, const float *r, float *centres,
                              size_t rows, size_t n) {
    __shared__ float shared[32];
    size_t row = row_of<THREADS>();
    if (row >= rows) return;
    x += row * n;
    dy += row * n;
    if (f.heads) f.w += row % f.heads * n;
    float centre = f.centred ? mean_of<THREADS>(x, n, shared) : 0.0f, g = 0.0f, gc = 0.0f, inverse = r[row];
    if (centres && place_of<THREADS>() == 0) centres[row] = centre;
    if (!dx) return;
    dx += row * n;
    for (size_t j = place_of<THREADS>(); j < n; j += THREADS) {
        float v = (f.w[j] + f.offset) * dy[j];
        g += v;
        gc += v * (x[j] - centre);
    }
    g = f.centred ? row_sum<THREADS>(g, shared) / (float)n : 0.0f;
    gc = row_sum<THREADS>(gc, shared) / (float)n;
    for (size_t j = place_of<THREADS>(); j < n; j += THREADS) {
        float v = inverse * ((f.w[j] + f.offset) * dy[j] - g - (x[j] - centre) * inverse * inverse * gc);
        dx[j] = accumulate ? dx[j] + v : v;
    }
}

/* dw += sum over rows of dy (x - centre) r;  db += dy */
__global__ void norm_weights_bwd(float *dw, float *db, const float *dy, const float *x, const float *r, const float *centres, size_t rows,
                                 size_t n) {
    for (size_t j = CU_FIRST; j < n; j += CU_STRIDE) {
        float w = 0.0f, b = 0.0f;
        for (size_t i = 0; i < rows; i++) {
            w += dy[i * n + j] * (x[i * n + j] - centres[i]) * r[i];
            b += dy[i * n + j];
        }
        if (dw) dw[j] += w;
        if (db) db[j] += b;
    }
}

/* Rows a block takes, and its threads. */
static dim3 grid_of(size_t rows, size_t n) { return dim3((unsigned)(n <= SHORT ? (rows + 7) / 8 : rows)); }

static void run(const ar_runtime *rt, float *y, float *r, const ar_norm *f, float *x, const float *add, bool kept, size_t rows, size_t n) {
    cu_device *d = cu_of(rt);
    auto kernel = n <= SHORT ? norm_rows<32> : norm_rows<CU_THREADS>;
    if (!rows) return;
    CU_LAUNCH(d, kernel, grid_of(rows, n), dim3(CU_THREADS), 0, cu_at(d, y), cu_at(d, r), norm_of(d, f), cu_at(d, x), cu_at(d, add),
              (int)kept, rows, n);
}

void ar__cuda_norm_fwd(const ar_runtime *rt, float *y, float *r, const ar_norm *norm, const float *x, size_t rows, size_t n) {
    run(rt, y, r, norm, (float *)x, NULL, false, rows, n);
}

void ar__cuda_norm_fwd_add(const ar_runtime *rt, float *y, float *r, const ar_norm *norm, float *sum, const float *add, size_t rows,
                           size_t n) {
    run(rt, y, r, norm, sum, add, false, rows, n);
}

void ar__cuda_norm_again(const ar_runtime *rt, float *y, const float *r, const ar_norm *norm, const float *x, size_t rows, size_t n) {
    run(rt, y, (float *)r, norm, (float *)x, NULL, true, rows, n);
}

void ar__cuda_norm_bwd(const ar_runtime *rt, float *dx, bool accumulate, const float *dy, const ar_norm *norm, const float *x,
                       const float *r, const ar_rows *rows, size_t per_row, size_t n) {
    cu_device *d = cu_of(rt);
    size_t count = rows->count * per_row;
    bool sums = norm->dw || norm->db;
    auto kernel = n <= SHORT ? norm_rows_bwd<32> : norm_rows_bwd<CU_THREADS>;
    if (!count) return;
    float *centres = sums ? (float *)cu_scratch(d, CU_SLOT_SUMS, count * sizeof *centres) : NULL;
    /* The sums first, since dx may be dy; but they ask for the centres, which a call without dx makes. */
    if (sums) {
        CU_LAUNCH(d, kernel, grid_of(count, n), dim3(CU_THREADS), 0, (float *)NULL, 0, cu_at(d, dy), norm_of(d, norm), cu_at(d, x),
                  cu_at(d, r), centres, count, n);
        CU_LAUNCH_FLAT(d, norm_weights_bwd, cu_grid(n), CU_THREADS, cu_at(d, norm->dw), cu_at(d, norm->db), cu_at(d, dy), cu_at(d, x),
                       cu_at(d, r), (const float *)centres, count, n);
    }
    if (dx)
        CU_LAUNCH(d, kernel, grid_of(count, n), dim3(CU_THREADS), 0, cu_at(d, dx), (int)accumulate, cu_at(d, dy), norm_of(d, norm),
                  cu_at(d, x), cu_at(d, r), (float *)NULL, count, n);
}
