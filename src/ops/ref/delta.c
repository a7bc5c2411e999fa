/* The delta rule row by row, and its backward through all states in time; the convolution as a sum. */
#include "ops/ref/ref.h"

#include <math.h>
#include <string.h>

/* The sum, in front of what may stand behind it, of row i of a sample that begins at `first`; before: the rows of a cache, NULL: zeros. */
static double taps_sum(const ar_conv *c, const float *x, const float *before, size_t first, size_t i, size_t column) {
    double sum = c->bias ? (double)c->bias[column] : 0.0;
    for (size_t tap = 0; tap < c->taps; tap++) {
        size_t back = c->taps - 1 - tap;
        double value = 0.0;
        if (back <= i)
            value = (double)x[(first + i - back) * c->width + column];
        else if (before)
            value = (double)before[(c->taps - 1 + i - back) * c->width + column];
        sum += (double)c->w[column * c->taps + tap] * value;
    }
    return sum;
}

static void keep_rows(float *memory, const ar_conv *c, const float *x, const float *before, size_t first, size_t count) {
    for (size_t column = 0; column < c->width; column++)
        for (size_t r = 0; r + 1 < c->taps; r++) { /* ascending: what is read lies at r or behind it */
            size_t at = count + r, kept = c->taps - 1;
            float old = before && at < kept ? before[at * c->width + column] : 0.0f;
            memory[r * c->width + column] = at < kept ? old : x[(first + at - kept) * c->width + column];
        }
}

void ar__ref_conv_fwd(const ar_runtime *rt, float *y, const float *x, const ar_conv *c, const ar_rows *rows, const ar_recurrence *m) {
    (void)rt;
    for (size_t s = 0; s < rows->samples; s++) {
        size_t first = rows->start[s], count = rows->start[s + 1] - first;
        float *memory = m ? m->at + m->sequence[s] * m->each : NULL;
        const float *before = m && m->past[s] ? memory : NULL;
        for (size_t i = 0; i < count; i++)
            for (size_t column = 0; column < c->width; column++) {
                double sum = taps_sum(c, x, before, first, i, column);
                y[(first + i) * c->width + column] = (float)(c->silu ? sum / (1.0 + exp(-sum)) : sum);
            }
        if (memory) keep_rows(memory, c, x, before, first, count);
    }
}

void ar__ref_conv_bwd(const ar_runtime *rt, float *dx, float *dy, const float *x, const ar_conv *c, const ar_rows *rows) {
    (void)rt;
    for (size_t s = 0; s < rows->samples; s++)
        for (size_t i = 0; c->silu && i < rows->start[s + 1] - rows->start[s]; i++)
            for (size_t column = 0; column < c->width; column++) {
                double z = taps_sum(c, x, NULL, rows->start[s], i, column), sigma = 1.0 / (1.0 + exp(-z));
                float *slope = dy + (rows->start[s] + i) * c->width + column;
                *slope = (float)((double)*slope * sigma * (1.0 + z * (1.0 - sigma)));
            }
    for (size_t s = 0; s < rows->samples; s++)
        for (size_t i = rows->start[s]; i < rows->start[s + 1]; i++)
            for (size_t column = 0; column < c->width; column++) {
                double sum = 0.0;
                for (size_t back = 0; back < c->taps && i + back < rows->start[s + 1]; back++)
                    sum += (double)c->w[column * c->taps + c->taps - 1 - back] * (double)dy[(i + back) * c->width + column];
                dx[i * c->width + column] = (float)sum;
            }
}

/* One row of one value head. */
typedef struct step {
    const float *q, *k, *v;
    double q_scale, k_scale; /* to the vectors of the rule */
    double decay, beta;
    double soft_slope; /* of g by a */
} step;

static double inverse_length(const float *x, size_t n) {
    double sum = AR_DELTA_EPS;
    for (size_t i = 0; i < n; i++) sum += (double)x[i] * (double)x[i];
    return 1.0 / sqrt(sum);
}

static step step_at(const ar_delta *d, const float *x, const float *b, const float *a, size_t row, size_t head) {
    size_t keys = d->key_heads * d->key_dim, at = row * d->value_heads + head;
    const float *in = x + row * ar__delta_width(d), *q = in + head / (d->value_heads / d->key_heads) * d->key_dim;
    double t = (double)a[at] + (double)d->shift[head], rate = (double)d->rate[head];
    return (step){.q = q,
                  .k = q + keys,
                  .v = in + 2 * keys + head * d->value_dim,
                  .q_scale = inverse_length(q, d->key_dim) / sqrt((double)d->key_dim),
                  .k_scale = inverse_length(q + keys, d->key_dim),
                  .decay = exp(-rate * (fmax(t, 0.0) + log1p(exp(-fabs(t))))),
                  .beta = 1.0 / (1.0 + exp(-(double)b[at])),
                  .soft_slope = -rate / (1.0 + exp(-t))};
}

/* v_e - (e^g S)^T k */
static double missing(const ar_delta *d, const step *st, const double *s, size_t e) {
    double sum = 0.0;
    for (size_t i = 0; i < d->key_dim; i++) sum += s[i * d->value_dim + e] * st->decay * (double)st->k[i] * st->k_scale;
    return (double)st->v[e] - sum;
}

/* The state behind a row, from that before it; after may be before. */
static void advance(double *after, const double *before, const ar_delta *d, const step *st) {
    for (size_t e = 0; e < d->value_dim; e++) {
        double u = st->beta * missing(d, st, before, e);
        for (size_t i = 0; i < d->key_dim; i++)
            after[i * d->value_dim + e] = st->decay * before[i * d->value_dim + e] + (double)st->k[i] * st->k_scale * u;
    }
}

/* Doubles: states before each row and behind the last, the gradient of one, and those of the q and k of the rule. */
size_t ar__ref_delta_scratch(const ar_runtime *rt, const ar_delta *d, size_t longest) {
    (void)rt;
    return 2 * ((longest + 2) * d->key_dim * d->value_dim + 2 * longest * d->key_dim) + 16;
}

static void state_read(double *s, const ar_recurrence *m, size_t sample, size_t head, size_t n) {
    for (size_t i = 0; i < n; i++) s[i] = m && m->past[sample] ? (double)m->at[m->sequence[sample] * m->each + head * n + i] : 0.0;
}

static void state_write(const ar_recurrence *m, const double *s, size_t sample, size_t head, size_t n) {
    for (size_t i = 0; m && i < n; i++) m->at[m->sequence[sample] * m->each + head * n + i] = (float)s[i];
}

void ar__ref_delta_fwd(const ar_runtime *rt, float *o, const float *x, const float *b, const float *a, const ar_delta *d,
                       const ar_rows *rows, const ar_recurrence *memory, float *scratch) {
    (void)rt;
    double *s = (double *)(void *)scratch;
    for (size_t sample = 0; sample < rows->samples; sample++)
        for (size_t head = 0; head < d->value_heads; head++) {
            state_read(s, memory, sample, head, d->key_dim * d->value_dim);
            for (size_t row = rows->start[sample]; row < rows->start[sample + 1]; row++) {
                step st = step_at(d, x, b, a, row, head);
                advance(s, s, d, &st);
                for (size_t e = 0; e < d->value_dim; e++) {
                    double sum = 0.0;
                    for (size_t i = 0; i < d->key_dim; i++) sum += s[i * d->value_dim + e] * (double)st.q[i] * st.q_scale;
                    o[(row * d->value_heads + head) * d->value_dim + e] = (float)sum;
                }
            }
            state_write(memory, s, sample, head, d->key_dim * d->value_dim);
        }
}

/* Gradients of one row and head: of the vectors of the rule (added to), of v, beta and g. */
typedef struct step_grads {
    double *q, *k;
    float *v;
    double beta, g;
} step_grads;

/* ds: of the state behind the row, and then of that before it. */
static void step_bwd(step_grads *out, double *ds, const ar_delta *d, const step *st, const double *before, const double *after,
                     const float *d_o) {
    size_t n = d->value_dim;
    out->beta = out->g = 0.0;
    for (size_t i = 0; i < d->key_dim; i++)
        for (size_t e = 0; e < n; e++) {
            out->q[i] += after[i * n + e] * (double)d_o[e];
            ds[i * n + e] += (double)st->q[i] * st->q_scale * (double)d_o[e];
        }
    for (size_t e = 0; e < n; e++) {
        double lack = missing(d, st, before, e), du = 0.0;
        for (size_t i = 0; i < d->key_dim; i++) du += ds[i * n + e] * (double)st->k[i] * st->k_scale;
        out->beta += du * lack;
        out->v[e] = (float)(st->beta * du);
        for (size_t i = 0; i < d->key_dim; i++) {
            double decayed = st->decay * before[i * n + e];
            out->k[i] += ds[i * n + e] * st->beta * lack - decayed * st->beta * du;
            ds[i * n + e] -= (double)st->k[i] * st->k_scale * st->beta * du;
            out->g += ds[i * n + e] * decayed;
            ds[i * n + e] *= st->decay;
        }
    }
}

/* Of a vector from that of its unit vector times `scale`: r (dy - y (y · dy)), with all of it in double. */
static void unit_bwd(float *dx, const double *dy, const float *x, double scale, size_t n) {
    double r = inverse_length(x, n), along = 0.0;
    for (size_t i = 0; i < n; i++) along += (double)x[i] * r * dy[i];
    for (size_t i = 0; i < n; i++) dx[i] = (float)(scale * r * (dy[i] - (double)x[i] * r * along));
}

typedef struct bwd_args {
    float *dx, *db, *da;
    const float *d_o, *x, *b, *a;
    const ar_delta *d;
} bwd_args;

static void head_bwd(const bwd_args *c, double *states, double *dq, double *dk, size_t first, size_t count, size_t head) {
    const ar_delta *d = c->d;
    size_t n = d->key_dim * d->value_dim, values = 2 * d->key_heads * d->key_dim;
    double *ds = states + (count + 1) * n;
    memset(states, 0, n * sizeof *states);
    memset(ds, 0, n * sizeof *ds);
    for (size_t t = 0; t < count; t++) {
        step st = step_at(d, c->x, c->b, c->a, first + t, head);
        advance(states + (t + 1) * n, states + t * n, d, &st);
    }
    for (size_t t = count; t-- > 0;) {
        size_t row = first + t, at = row * d->value_heads + head;
        step st = step_at(d, c->x, c->b, c->a, row, head);
        float *dv = c->dx + row * ar__delta_width(d) + values + head * d->value_dim;
        step_grads g = {.q = dq + t * d->key_dim, .k = dk + t * d->key_dim, .v = dv};
        step_bwd(&g, ds, d, &st, states + t * n, states + (t + 1) * n, c->d_o + at * d->value_dim);
        c->db[at] = (float)(g.beta * st.beta * (1.0 - st.beta));
        c->da[at] = (float)(g.g * st.soft_slope);
    }
}

void ar__ref_delta_bwd(const ar_runtime *rt, float *dx, float *db, float *da, const float *d_o, const float *x, const float *b,
                       const float *a, const ar_delta *d, const ar_rows *rows, float *scratch) {
    bwd_args c = {dx, db, da, d_o, x, b, a, d};
    size_t group = d->value_heads / d->key_heads, keys = d->key_heads * d->key_dim, width = ar__delta_width(d);
    double *states = (double *)(void *)scratch;
    (void)rt;
    for (size_t s = 0; s < rows->samples; s++) {
        size_t first = rows->start[s], count = rows->start[s + 1] - first;
        double *dq = states + (count + 2) * d->key_dim * d->value_dim, *dk = dq + count * d->key_dim;
        for (size_t h = 0; h < d->key_heads; h++) {
            memset(dq, 0, 2 * count * d->key_dim * sizeof *dq);
            for (size_t g = 0; g < group; g++) head_bwd(&c, states, dq, dk, first, count, h * group + g);
            for (size_t t = 0; t < count; t++) {
                size_t at = (first + t) * width + h * d->key_dim;
                unit_bwd(dx + at, dq + t * d->key_dim, x + at, 1.0 / sqrt((double)d->key_dim), d->key_dim);
                unit_bwd(dx + at + keys, dk + t * d->key_dim, x + at + keys, 1.0, d->key_dim);
            }
        }
    }
}
