/* The short convolution and the delta rule (ops/delta.h).
 *
 * A column of the rule's state S [key_dim, value_dim] depends on no other: forward is a thread a column, which walks through the sample.
 * Backward sums over columns as well: a block a head of a sample, from chunk to chunk backwards.  States before each chunk are kept, those
 * within one are formed again:
 *
 *     kept     | S0 | S64 | S128 | …        within   | S64 | S65 | … | S128 |        slope   | dS |        of each pair (sample, head)
 *
 * Their memory is the pass's scratch, for as many pairs as SCRATCH_BYTES hold; those of larger batches take turns. */
#include "ops/cuda/reduce.h"

enum { MOST_AT_ONCE = 128, CHUNK = 64, SCRATCH_BYTES = 128 << 20 };

/* ---- the convolution ---- */

struct conv {
    const float *w, *bias;
    size_t width, taps;
    size_t silu;
};

static conv conv_of(const cu_device *d, const ar_conv *c) { return conv{cu_at(d, c->w), cu_at(d, c->bias), c->width, c->taps, c->silu}; }

/* What goes from call to call; at NULL: samples are whole. */
struct recurrence {
    float *at;
    size_t each;
    const size_t *sequence, *past;
};

static recurrence recurrence_of(cu_device *d, const ar_recurrence *m, size_t samples) {
    if (!m) return recurrence{};
    return recurrence{cu_at(d, m->at), m->each, cu_stage(d, m->sequence, samples), cu_stage(d, m->past, samples)};
}

/* The sum in front of what may stand behind it; before: the rows of a cache, NULL: zeros; i: the row's place in its sample. */
CU_FN float taps_sum(const conv &c, const float *x, const float *before, size_t row, size_t i, size_t column) {
    float sum = c.bias ? c.bias[column] : 0.0f;
    for (size_t tap = 0; tap < c.taps; tap++) {
        size_t back = c.taps - 1 - tap;
        float value = back <= i ? x[(row - back) * c.width + column] : before ? before[(c.taps - 1 + i - back) * c.width + column] : 0.0f;
        sum += c.w[column * c.taps + tap] * value;
    }
    return sum;
}

__global__ void convolve(float *y, const float *x, conv c, recurrence m, cu_row_tables rows, size_t count) {
    for (size_t at = CU_FIRST; at < count * c.width; at += CU_STRIDE) {
        size_t row = at / c.width, column = at % c.width, sample = (size_t)rows.sample[row];
        const float *before = m.at && m.past[sample] ? m.at + m.sequence[sample] * m.each : NULL;
        float sum = taps_sum(c, x, before, row, (size_t)rows.position[row], column);
        y[at] = c.silu ? sum / (1.0f + expf(-sum)) : sum;
    }
}

/* The last taps - 1 rows of each sample to its memory; ascending, so that what is read lies at r or behind it. */
__global__ void keep_rows(const float *x, conv c, recurrence m, const size_t *start, size_t samples) {
    for (size_t at = CU_FIRST; at < samples * c.width; at += CU_STRIDE) {
        size_t sample = at / c.width, column = at % c.width, first = start[sample], count = start[sample + 1] - first, kept = c.taps - 1;
        float *memory = m.at + m.sequence[sample] * m.each;
        for (size_t r = 0; r < kept; r++) {
            size_t from = count + r;
            float old = m.past[sample] && from < kept ? memory[from * c.width + column] : 0.0f;
            memory[r * c.width + column] = from < kept ? old : x[(first + from - kept) * c.width + column];
        }
    }
}

void ar__cuda_conv_fwd(const ar_runtime *rt, float *y, const float *x, const ar_conv *conv, const ar_rows *rows,
                       const ar_recurrence *memory) {
    cu_device *d = cu_of(rt);
    recurrence m = recurrence_of(d, memory, rows->samples);
    if (!rows->count) return;
    CU_LAUNCH_FLAT(d, convolve, cu_grid(rows->count * conv->width), CU_THREADS, cu_at(d, y), cu_at(d, x), conv_of(d, conv), m,
                   cu_rows(d, rows, NULL), rows->count);
    if (memory)
        CU_LAUNCH_FLAT(d, keep_rows, cu_grid(rows->samples * conv->width), CU_THREADS, cu_at(d, x), conv_of(d, conv), m,
                       cu_stage(d, rows->start, rows->samples + 1), rows->samples);
}

/* dy becomes the gradient in front of SiLU. */
__global__ void convolve_silu_bwd(float *dy, const float *x, conv c, cu_row_tables rows, size_t count) {
    for (size_t at = CU_FIRST; at < count * c.width; at += CU_STRIDE) {
        size_t row = at / c.width;
        float z = taps_sum(c, x, NULL, row, (size_t)rows.position[row], at % c.width), sigma = 1.0f / (1.0f + expf(-z));
        dy[at] *= sigma * (1.0f + z * (1.0f - sigma));
    }
}

__global__ void convolve_bwd(float *dx, const float *dy, conv c, cu_row_tables rows, const size_t *start, size_t count) {
    for (size_t at = CU_FIRST; at < count * c.width; at += CU_STRIDE) {
        size_t row = at / c.width, column = at % c.width, end = start[rows.sample[row] + 1];
        float sum = 0.0f;
        for (size_t back = 0; back < c.taps && row + back < end; back++)
            sum += c.w[column * c.taps + c.taps - 1 - back] * dy[(row + back) * c.width + column];
        dx[at] = sum;
    }
}

void ar__cuda_conv_bwd(const ar_runtime *rt, float *dx, float *dy, const float *x, const ar_conv *conv, const ar_rows *rows) {
    cu_device *d = cu_of(rt);
    unsigned grid = cu_grid(rows->count * conv->width);
    if (!rows->count) return;
    cu_row_tables t = cu_rows(d, rows, NULL);
    if (conv->silu) CU_LAUNCH_FLAT(d, convolve_silu_bwd, grid, CU_THREADS, cu_at(d, dy), cu_at(d, x), conv_of(d, conv), t, rows->count);
    CU_LAUNCH_FLAT(d, convolve_bwd, grid, CU_THREADS, cu_at(d, dx), (const float *)cu_at(d, dy), conv_of(d, conv), t,
                   cu_stage(d, rows->start, rows->samples + 1), rows->count);
}

/* ---- the delta rule ---- */

/* Sizes, what the rule reads of each row, and where samples begin. */
struct rule {
    size_t key_heads, value_heads, key_dim, value_dim, width; /* width: of a row of x */
    const float *x, *q, *k;            /* q, k [rows, key_heads, key_dim] as the rule has them: unit vectors, q by 1 / sqrt(key_dim) */
    const float *decay, *beta, *slope; /* [rows, value_heads]; slope: of g by a */
    const size_t *start;
};

__global__ void unit_vectors(float *q, float *k, const float *x, size_t rows, size_t heads, size_t dim, size_t width) {
    for (size_t at = CU_FIRST; at < 2 * rows * heads; at += CU_STRIDE) {
        size_t row = at / (2 * heads), part = at / heads % 2, head = at % heads;
        const float *in = x + row * width + (part * heads + head) * dim;
        float *out = (part ? k : q) + (row * heads + head) * dim, sum = (float)AR_DELTA_EPS;
        for (size_t i = 0; i < dim; i++) sum += in[i] * in[i];
        float scale = 1.0f / sqrtf(part ? sum : sum * (float)dim);
        for (size_t i = 0; i < dim; i++) out[i] = in[i] * scale;
    }
}

__global__ void gates(float *decay, float *beta, float *slope, const float *b, const float *a, const float *rate, const float *shift,
                      size_t rows, size_t heads) {
    for (size_t at = CU_FIRST; at < rows * heads; at += CU_STRIDE) {
        float t = a[at] + shift[at % heads], r = rate[at % heads];
        decay[at] = expf(-r * (fmaxf(t, 0.0f) + log1pf(expf(-fabsf(t)))));
        beta[at] = 1.0f / (1.0f + expf(-b[at]));
        slope[at] = -r / (1.0f + expf(-t));
    }
}

static rule prepare(const ar_runtime *rt, const float *x, const float *b, const float *a, const ar_delta *delta, const ar_rows *rows,
                    size_t more, float **rest) {
    cu_device *d = cu_of(rt);
    size_t n = rows->count, keys = n * delta->key_heads * delta->key_dim, heads = n * delta->value_heads, width = ar__delta_width(delta);
    float *q = (float *)cu_scratch(d, CU_SLOT_SUMS, (2 * keys + 3 * heads + more) * sizeof *q), *k = q + keys, *decay = k + keys;
    *rest = decay + 3 * heads;
    x = cu_at(d, x);
    CU_LAUNCH_FLAT(d, unit_vectors, cu_grid(2 * n * delta->key_heads), CU_THREADS, q, k, x, n, delta->key_heads, delta->key_dim, width);
    CU_LAUNCH_FLAT(d, gates, cu_grid(heads), CU_THREADS, decay, decay + heads, decay + 2 * heads, cu_at(d, b), cu_at(d, a),
                   cu_at(d, delta->rate), cu_at(d, delta->shift), n, delta->value_heads);
    return rule{delta->key_heads,
                delta->value_heads,
                delta->key_dim,
                delta->value_dim,
                width,
                x,
                q,
                k,
                decay,
                decay + heads,
                decay + 2 * heads,
                cu_stage(d, rows->start, rows->samples + 1)};
}

/* One row and head of the rule. */
struct instant {
    const float *q, *k, *v;
    float decay, beta;
};

CU_FN instant instant_at(const rule &r, size_t row, size_t head) {
    size_t key = (row * r.key_heads + head / (r.value_heads / r.key_heads)) * r.key_dim, at = row * r.value_heads + head;
    return instant{r.q + key, r.k + key, r.x + row * r.width + 2 * r.key_heads * r.key_dim + head * r.value_dim, r.decay[at], r.beta[at]};
}

/* Column e of the state behind a row, from that before it; after may be before.  Gives what the row reads there. */
CU_FN float advance(float *after, const float *before, const rule &r, const instant &now, size_t e) {
    float sum = 0.0f, o = 0.0f;
    for (size_t i = 0; i < r.key_dim; i++) sum += before[i * r.value_dim + e] * now.k[i];
    float u = now.beta * (now.v[e] - now.decay * sum);
    for (size_t i = 0; i < r.key_dim; i++) {
        float s = now.decay * before[i * r.value_dim + e] + now.k[i] * u;
        after[i * r.value_dim + e] = s;
        o += s * now.q[i];
    }
    return o;
}

/* Pairs from `first` on.  o NULL: nobody reads; kept NULL: states before chunks are not. */
__global__ void delta_columns(float *o, float *states, float *kept, size_t kept_each, rule r, recurrence m, size_t first, size_t pairs) {
    size_t n = r.key_dim * r.value_dim;
    for (size_t at = CU_FIRST; at < pairs * r.value_dim; at += CU_STRIDE) {
        size_t pair = at / r.value_dim, e = at % r.value_dim, sample = (first + pair) / r.value_heads,
               head = (first + pair) % r.value_heads;
        float *s = states + pair * n, *memory = m.at ? m.at + m.sequence[sample] * m.each + head * n : NULL;
        for (size_t i = 0; i < r.key_dim; i++) s[i * r.value_dim + e] = memory && m.past[sample] ? memory[i * r.value_dim + e] : 0.0f;
        for (size_t row = r.start[sample], t = 0; row < r.start[sample + 1]; row++, t++) {
            instant now = instant_at(r, row, head);
            for (size_t i = 0; kept && t % CHUNK == 0 && i < r.key_dim; i++)
                kept[pair * kept_each + t / CHUNK * n + i * r.value_dim + e] = s[i * r.value_dim + e];
            float read = advance(s, s, r, now, e);
            if (o) o[(row * r.value_heads + head) * r.value_dim + e] = read;
        }
        for (size_t i = 0; memory && i < r.key_dim; i++) memory[i * r.value_dim + e] = s[i * r.value_dim + e];
    }
}

static size_t chunks_of(size_t rows) { return (rows + CHUNK - 1) / CHUNK; }

/* Of a pair: its state; and in backward the states before chunks, those of one, the slope, and two numbers a column. */
static size_t pair_floats(const ar_delta *d, size_t longest) {
    size_t n = d->key_dim * d->value_dim;
    return longest ? (1 + chunks_of(longest) + CHUNK + 1 + 1) * n + 2 * d->value_dim : n;
}

static size_t pairs_at_once(const ar_delta *d, size_t longest) {
    size_t fit = SCRATCH_BYTES / (pair_floats(d, longest) * sizeof(float)), most = MOST_AT_ONCE;
    return fit < 1 ? 1 : fit < most ? fit : most;
}

size_t ar__cuda_delta_scratch(const ar_runtime *rt, const ar_delta *d, size_t longest) {
    size_t floats = pairs_at_once(d, longest) * pair_floats(d, longest), threads = (size_t)rt->threads;
    return (floats + threads - 1) / threads; /* the pass gives so much for each thread */
}

void ar__cuda_delta_fwd(const ar_runtime *rt, float *o, const float *x, const float *b, const float *a, const ar_delta *delta,
                        const ar_rows *rows, const ar_recurrence *memory, float *scratch) {
    cu_device *d = cu_of(rt);
    size_t all = rows->samples * delta->value_heads, at_once = pairs_at_once(delta, 0);
    float *rest;
    if (!rows->count) return;
    rule r = prepare(rt, x, b, a, delta, rows, 0, &rest);
    recurrence m = recurrence_of(d, memory, rows->samples);
    for (size_t first = 0; first < all; first += at_once) {
        size_t pairs = all - first < at_once ? all - first : at_once;
        CU_LAUNCH_FLAT(d, delta_columns, cu_grid(pairs * delta->value_dim), CU_THREADS, cu_at(d, o), cu_at(d, scratch), (float *)NULL,
                       (size_t)0, r, m, first, pairs);
    }
}

/* Where a pair's memory lies in backward. */
struct pair_memory {
    float *states, *kept, *within, *slope, *columns; /* each of all pairs, one behind the other */
    size_t kept_each;
};

/* dq, dk [rows, value_heads, key_dim] of the vectors of the rule; dx: its values' part is written. */
struct rule_grads {
    float *dx, *db, *da, *dq, *dk;
    const float *d_o;
};

/* A row of a pair, whose states before and behind it are there; threads take columns, then rows of the state, then columns. */
CU_FN void instant_bwd(const rule_grads &g, float *ds, float *lack, float *du, const float *before, const float *after, const rule &r,
                       size_t row, size_t head, float *shared) {
    instant now = instant_at(r, row, head);
    size_t at = row * r.value_heads + head, n = r.value_dim;
    const float *d_o = g.d_o + at * n;
    float beta = 0.0f, gate = 0.0f;
    for (size_t e = threadIdx.x; e < n; e += CU_THREADS) {
        float sum = 0.0f, slope = 0.0f;
        for (size_t i = 0; i < r.key_dim; i++) {
            float s = ds[i * n + e] + now.q[i] * d_o[e];
            ds[i * n + e] = s;
            slope += s * now.k[i];
            sum += before[i * n + e] * now.k[i];
        }
        lack[e] = now.v[e] - now.decay * sum;
        du[e] = slope;
        beta += slope * lack[e];
        g.dx[row * r.width + 2 * r.key_heads * r.key_dim + head * n + e] = now.beta * slope;
    }
    __syncthreads();
    for (size_t i = threadIdx.x; i < r.key_dim; i += CU_THREADS) {
        float q = 0.0f, k = 0.0f;
        for (size_t e = 0; e < n; e++) {
            q += after[i * n + e] * d_o[e];
            k += now.beta * (ds[i * n + e] * lack[e] - now.decay * before[i * n + e] * du[e]);
        }
        g.dq[at * r.key_dim + i] = q;
        g.dk[at * r.key_dim + i] = k;
    }
    __syncthreads();
    for (size_t e = threadIdx.x; e < n; e += CU_THREADS)
        for (size_t i = 0; i < r.key_dim; i++) {
            float s = ds[i * n + e] - now.k[i] * now.beta * du[e];
            gate += s * now.decay * before[i * n + e];
            ds[i * n + e] = s * now.decay;
        }
    beta = row_sum<CU_THREADS>(beta, shared);
    gate = row_sum<CU_THREADS>(gate, shared);
    if (threadIdx.x == 0) {
        g.db[at] = beta * now.beta * (1.0f - now.beta);
        g.da[at] = gate * r.slope[at];
    }
    __syncthreads();
}

__global__ void delta_rows_bwd(rule_grads g, pair_memory mem, rule r, size_t first) {
    __shared__ float shared[32];
    size_t pair = blockIdx.x, sample = (first + pair) / r.value_heads, head = (first + pair) % r.value_heads, n = r.key_dim * r.value_dim;
    size_t begin = r.start[sample], count = r.start[sample + 1] - begin;
    float *ds = mem.slope + pair * n, *within = mem.within + pair * (CHUNK + 1) * n, *lack = mem.columns + pair * 2 * r.value_dim;
    for (size_t i = threadIdx.x; i < n; i += CU_THREADS) ds[i] = 0.0f;
    for (size_t chunk = (count + CHUNK - 1) / CHUNK; chunk-- > 0;) {
        size_t from = chunk * CHUNK, most = CHUNK, rows = count - from < most ? count - from : most;
        const float *before = mem.kept + pair * mem.kept_each + chunk * n;
        __syncthreads();
        for (size_t e = threadIdx.x; e < r.value_dim; e += CU_THREADS) {
            for (size_t i = 0; i < r.key_dim; i++) within[i * r.value_dim + e] = before[i * r.value_dim + e];
            for (size_t t = 0; t < rows; t++) advance(within + (t + 1) * n, within + t * n, r, instant_at(r, begin + from + t, head), e);
        }
        __syncthreads();
        for (size_t t = rows; t-- > 0;)
            instant_bwd(g, ds, lack, lack + r.value_dim, within + t * n, within + (t + 1) * n, r, begin + from + t, head, shared);
    }
}

/* Of the vectors in x from those of the rule, summed over the heads that share them: scale r (dy - y (y · dy)), y the unit vector. */
__global__ void unit_vectors_bwd(rule_grads g, rule r, size_t rows) {
    size_t group = r.value_heads / r.key_heads;
    for (size_t at = CU_FIRST; at < 2 * rows * r.key_heads; at += CU_STRIDE) {
        size_t row = at / (2 * r.key_heads), part = at / r.key_heads % 2, head = at % r.key_heads,
               place = row * r.width + (part * r.key_heads + head) * r.key_dim;
        const float *x = r.x + place, *dy = (part ? g.dk : g.dq) + (row * r.value_heads + head * group) * r.key_dim;
        float sum = (float)AR_DELTA_EPS, along = 0.0f, scale = part ? 1.0f : 1.0f / sqrtf((float)r.key_dim);
        for (size_t i = 0; i < r.key_dim; i++) sum += x[i] * x[i];
        float inverse = 1.0f / sqrtf(sum);
        for (size_t i = 0; i < r.key_dim; i++) {
            float slope = 0.0f;
            for (size_t q = 0; q < group; q++) slope += dy[q * r.key_dim + i];
            g.dx[place + i] = slope;
            along += x[i] * inverse * slope;
        }
        for (size_t i = 0; i < r.key_dim; i++) g.dx[place + i] = scale * inverse * (g.dx[place + i] - x[i] * inverse * along);
    }
}

static size_t longest_of(const ar_rows *rows) {
    size_t longest = 0;
    for (size_t s = 0; s < rows->samples; s++) {
        size_t n = rows->start[s + 1] - rows->start[s];
        if (n > longest) longest = n;
    }
    return longest;
}

void ar__cuda_delta_bwd(const ar_runtime *rt, float *dx, float *db, float *da, const float *d_o, const float *x, const float *b,
                        const float *a, const ar_delta *delta, const ar_rows *rows, float *scratch) {
    cu_device *d = cu_of(rt);
    size_t all = rows->samples * delta->value_heads, n = delta->key_dim * delta->value_dim,
           grads = rows->count * delta->value_heads * delta->key_dim;
    size_t longest = longest_of(rows), kept_each = chunks_of(longest) * n, at_once = pairs_at_once(delta, longest);
    float *rest, *states = cu_at(d, scratch), *kept = states + at_once * n, *within = kept + at_once * kept_each;
    float *slope = within + at_once * (CHUNK + 1) * n;
    if (!rows->count) return;
    rule r = prepare(rt, x, b, a, delta, rows, 2 * grads, &rest);
    pair_memory mem = {states, kept, within, slope, slope + at_once * n, kept_each};
    rule_grads g = {cu_at(d, dx), cu_at(d, db), cu_at(d, da), rest, rest + grads, cu_at(d, d_o)};
    for (size_t first = 0; first < all; first += at_once) {
        size_t pairs = all - first < at_once ? all - first : at_once;
        CU_LAUNCH_FLAT(d, delta_columns, cu_grid(pairs * delta->value_dim), CU_THREADS, (float *)NULL, states, kept, kept_each, r,
                       recurrence{}, first, pairs);
        CU_LAUNCH(d, delta_rows_bwd, dim3((unsigned)pairs), dim3(CU_THREADS), 0, g, mem, r, first);
    }
    CU_LAUNCH_FLAT(d, unit_vectors_bwd, cu_grid(2 * rows->count * delta->key_heads), CU_THREADS, g, r, rows->count);
}
