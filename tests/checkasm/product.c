#include "product.h"

#include "base/mem.h"
#include "base/size.h"
#include "kern/half.h"

#if defined(__x86_64__)
void check_kernels_amx_modelled(ar_kernels *k);

static void use_model(ar_runtime *rt) {
    check_kernels_amx_modelled(&rt->kern);
    rt->gemm[0] = &ar__gemm_matrix;
    rt->gemm[1] = &ar__gemm_own;
}
#else
static void use_model(ar_runtime *rt) { (void)rt; }
#endif

bool product_setup_open(product_setup *s, const char *isa, const char *backend, bool bf16) {
    bool modelled = !strcmp(backend, "modelled");
    *s = (product_setup){.backend = backend, .bf16 = bf16};
    for (int i = 0; i < PRODUCT_THREADS; i++) {
        ar_error err;
        ar_runtime_options o = {
            .isa = isa, .backend = modelled ? "bf16" : backend, .threads = i + 1, .compute = bf16 ? AR_COMPUTE_BF16 : AR_COMPUTE_F32};
        if (ar__runtime_new(&s->rt[i], &o, &err)) {
            check_skip(isa, backend, err.message);
            product_setup_close(s);
            return false;
        }
        if (modelled) use_model(s->rt[i]);
    }
    return true;
}

void product_setup_close(product_setup *s) {
    for (int i = 0; i < PRODUCT_THREADS; i++) ar__runtime_free(s->rt[i]);
}

bool product_tries_reference(const char *isa) { return !strcmp(isa, "c"); }

/* Rows of B as they are stored, one by one. */
static void widen(product *p) {
    const ar_gemm *g = &p->g;
    const ar_dtype_info *t = ar__dtype(g->b_type);
    size_t rows = g->b_rows ? g->n : g->k, len = g->b_rows ? g->k : g->n;
    float *row = ar__alloc(len + 1, sizeof *row);
    if (!row) abort();
    for (size_t i = 0; i < rows; i++) {
        t->to_f32(row, (const char *)g->b + i * g->b_ld / t->block * t->bytes, len);
        for (size_t q = 0; q < len; q++) p->wide[g->b_rows ? i * g->k + q : q * g->k + i] = row[q];
    }
    free(row);
}

product product_new(size_t m, size_t n, size_t k, ar_dtype t, bool b_rows, bool transposed, bool accumulate) {
    product p = {.transposed = transposed};
    size_t block = ar__dtype(t)->block, bytes = ar__dtype(t)->bytes;
    if (b_rows)
        k = ar__round_up(k, block); /* rows of B are whole blocks */
    else
        n = ar__round_up(n, block);
    size_t a_ld = (transposed ? m : k) + check_below(5), b_ld = (b_rows ? k : n) + check_below(5) * block, c_ld = n + check_below(5);
    /* the last row ends where its elements end: reading the stride's tail would be reading outside */
    size_t a_count = transposed ? (k ? (k - 1) * a_ld + m : 0) : (m - 1) * a_ld + k, b_rows_count = b_rows ? n : k;
    size_t b_count = b_rows_count ? (b_rows_count - 1) * b_ld + (b_rows ? k : n) : 0, c_count = (m - 1) * c_ld + n;
    p.a = check_block_new(a_count * sizeof(float), 4 * check_below(16));
    p.b = check_block_new(b_count / block * bytes, bytes * check_below(16));
    p.c = check_block_new(c_count * sizeof(float), 4 * check_below(16));
    p.before = check_block_new(c_count * sizeof(float), 0);
    check_fill(check_f32(&p.a), a_count);
    check_fill_type(p.b.data, t, b_count);
    check_fill(check_f32(&p.before), c_count);
    p.g = (ar_gemm){.m = m,
                    .n = n,
                    .k = k,
                    .a = check_f32(&p.a),
                    .a_row = transposed ? 1 : a_ld,
                    .a_col = transposed ? a_ld : 1,
                    .b = p.b.data,
                    .b_type = t,
                    .b_ld = b_ld,
                    .b_rows = b_rows,
                    .c = check_f32(&p.c),
                    .c_ld = c_ld,
                    .accumulate = accumulate};
    p.wide = ar__alloc(n * k + 1, sizeof *p.wide);
    if (!p.wide) abort();
    widen(&p);
    product_reset(&p);
    return p;
}

void product_reset(product *p) { memcpy(p->c.data, p->before.data, p->before.bytes); }

void product_free(product *p) {
    check_block_free(&p->a);
    check_block_free(&p->b);
    check_block_free(&p->c);
    check_block_free(&p->before);
    free(p->wide);
}

float product_b(const void *b, ar_dtype t, size_t ld, bool rows, size_t p, size_t j) {
    float v;
    ar__dtype(t)->to_f32(&v, (const char *)b + (rows ? j * ld + p : p * ld + j) * ar__dtype(t)->bytes, 1);
    return v;
}

float product_round(float x) {
    uint16_t h;
    ar__dtype(AR_BF16)->from_f32(&h, &x, 1);
    return ar__bf16_to_f32(h);
}

double product_exact(const product_setup *s, const product *x, size_t i, size_t j, double *size) {
    const ar_gemm *g = &x->g;
    double sum = 0;
    *size = 0;
    for (size_t p = 0; p < g->k; p++) {
        float a = g->a[i * g->a_row + p * g->a_col], b = x->wide[j * g->k + p];
        double v = (double)(s->bf16 ? product_round(a) : a) * (double)(s->bf16 && !g->is_pair ? product_round(b) : b);
        sum += v;
        *size += fabs(v);
    }
    return sum;
}

double product_slack(const product_setup *s, const ar_gemm *g) { return s->bf16 && g->is_pair ? 0x1p-17 : 0.0; }

void product_describe(char *out, size_t room, const product *p) {
    snprintf(out, room, "%zux%zux%zu%s%s%s", p->g.m, p->g.n, p->g.k, p->g.is_pair ? ", of a pair" : "",
             p->transposed ? ", a transposed" : "", p->g.accumulate ? ", accumulating" : "");
}
