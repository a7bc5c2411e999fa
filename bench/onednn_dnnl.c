/* oneDNN's matmul primitive (its C API, 2.x) with weights in the format that it asks for. */
#include <dnnl.h>
#include <stdio.h>
#include <stdlib.h>

#include "onednn.h"

struct onednn {
    dnnl_engine_t engine;
    dnnl_stream_t stream;
    dnnl_primitive_t matmul;
    dnnl_memory_t x, w, y;
};

/* A copy of f32 data in another type or layout. */
static bool convert(onednn *d, dnnl_memory_t *out, const dnnl_memory_desc_t *to, const dnnl_memory_desc_t *from, const float *data) {
    dnnl_memory_t source = NULL;
    dnnl_primitive_desc_t pd = NULL;
    dnnl_primitive_t reorder = NULL;
    union {
        const float *in;
        void *p;
    } bytes = {.in = data};
    bool ok = !dnnl_memory_create(&source, from, d->engine, bytes.p) && !dnnl_memory_create(out, to, d->engine, DNNL_MEMORY_ALLOCATE) &&
              !dnnl_reorder_primitive_desc_create(&pd, from, d->engine, to, d->engine, NULL) && !dnnl_primitive_create(&reorder, pd);
    if (ok) {
        dnnl_exec_arg_t args[] = {{DNNL_ARG_FROM, source}, {DNNL_ARG_TO, *out}};
        ok = !dnnl_primitive_execute(reorder, d->stream, 2, args) && !dnnl_stream_wait(d->stream);
    }
    dnnl_primitive_destroy(reorder);
    dnnl_primitive_desc_destroy(pd);
    dnnl_memory_destroy(source);
    return ok;
}

static bool prepare(onednn *d, bool bf16, const float *x, const float *w, bool rows, size_t m, size_t n, size_t k) {
    const dnnl_data_type_t type = bf16 ? dnnl_bf16 : dnnl_f32;
    const dnnl_dims_t dx = {(dnnl_dim_t)m, (dnnl_dim_t)k}, dw = {(dnnl_dim_t)k, (dnnl_dim_t)n}, dy = {(dnnl_dim_t)m, (dnnl_dim_t)n};
    dnnl_memory_desc_t x32, w32, x_to, w_any, y;
    dnnl_matmul_desc_t desc;
    dnnl_primitive_desc_t pd = NULL;
    if (dnnl_engine_create(&d->engine, dnnl_cpu, 0) || dnnl_stream_create(&d->stream, d->engine, dnnl_stream_default_flags) ||
        dnnl_memory_desc_init_by_tag(&x32, 2, dx, dnnl_f32, dnnl_ab) ||
        dnnl_memory_desc_init_by_tag(&w32, 2, dw, dnnl_f32, rows ? dnnl_ba : dnnl_ab) ||
        dnnl_memory_desc_init_by_tag(&x_to, 2, dx, type, dnnl_ab) ||
        dnnl_memory_desc_init_by_tag(&w_any, 2, dw, type, dnnl_format_tag_any) ||
        dnnl_memory_desc_init_by_tag(&y, 2, dy, dnnl_f32, dnnl_ab) || dnnl_matmul_desc_init(&desc, &x_to, &w_any, NULL, &y) ||
        dnnl_primitive_desc_create(&pd, &desc, NULL, d->engine, NULL))
        return false;
    const dnnl_memory_desc_t *w_to = dnnl_primitive_desc_query_md(pd, dnnl_query_weights_md, 0);
    bool ok = !dnnl_primitive_create(&d->matmul, pd) && convert(d, &d->x, &x_to, &x32, x) && convert(d, &d->w, w_to, &w32, w) &&
              !dnnl_memory_create(&d->y, &y, d->engine, DNNL_MEMORY_ALLOCATE);
    dnnl_primitive_desc_destroy(pd);
    return ok;
}

onednn *onednn_open(bool bf16, const float *x, const float *w, bool rows, size_t m, size_t n, size_t k) {
    onednn *d = calloc(1, sizeof *d);
    if (d && prepare(d, bf16, x, w, rows, m, n, k)) return d;
    onednn_close(d);
    return NULL;
}

void onednn_run(onednn *d) {
    dnnl_exec_arg_t args[] = {{DNNL_ARG_SRC, d->x}, {DNNL_ARG_WEIGHTS, d->w}, {DNNL_ARG_DST, d->y}};
    dnnl_primitive_execute(d->matmul, d->stream, 3, args);
    dnnl_stream_wait(d->stream);
}

const float *onednn_result(const onednn *d) {
    void *p = NULL;
    dnnl_memory_get_data_handle(d->y, &p);
    return p;
}

void onednn_close(onednn *d) {
    if (!d) return;
    dnnl_primitive_destroy(d->matmul);
    dnnl_memory_destroy(d->x);
    dnnl_memory_destroy(d->w);
    dnnl_memory_destroy(d->y);
    dnnl_stream_destroy(d->stream);
    dnnl_engine_destroy(d->engine);
    free(d);
}

const char *onednn_version(void) {
    static char text[32];
    const dnnl_version_t *v = dnnl_version();
    snprintf(text, sizeof text, "oneDNN %d.%d.%d", v->major, v->minor, v->patch);
    return text;
}
