/* The layers' matrices in fewer bits, in memory; embedding, head, norms and biases stay as they are. */
#include <math.h>
#include <stdlib.h>

#include "base/fail.h"
#include "base/mem.h"
#include "model/model.h"
#include "weights/quantise.h"

/* Rows that the type's blocks do not divide keep their type. */
static ar_status quantise_one(ar_model *m, size_t i, const ar_quantisation *q, bool *kept, ar_error *err) {
    ar_linear *lin = ar__model_linear(m, i);
    ar_dtype to = ar__quantisation_type(q, lin->w.type);
    size_t rows = lin->w.rows, cols = lin->w.cols, bytes;
    *kept = cols % ar__dtype(to)->block != 0;
    if (*kept) return AR_OK;
    void *data = ar__mul(&bytes, rows, cols) && ar__dtype_bytes(&bytes, to, bytes) ? ar__alloc(bytes, 1) : NULL;
    if (!data) return ar__fail_memory(err, m->modules[i].path);
    ar_status s = ar__quantise(m->rt, data, &m->owned[i].noise, to, q->twice, lin->w.data, lin->w.type, rows, cols, err);
    if (s) {
        free(data);
        return s;
    }
    const ar_base_weight *w = ar__base_find(m->base, m->modules[i].path);
    if (w) ar__base_forget(w);
    free(m->owned[i].turned);
    m->owned[i].turned = data;
    lin->w.data = data;
    lin->w.type = to;
    m->quantised_bytes += bytes;
    return AR_OK;
}

static void say(const ar_model *m, const ar_quantisation *q, size_t done, size_t other) {
    double least = INFINITY, most = 0;
    for (size_t i = 0; i < m->module_count; i++) {
        double noise = m->owned[i].noise;
        if (noise <= 0) continue;
        least = fmin(least, noise);
        most = fmax(most, noise);
    }
    if (other)
        ar__log_warn(&m->rt->log, "%s: %zu of %zu matrices keep their type, because their rows are no multiple of %zu values", m->path,
                     other, other + done, ar__dtype(q->type)->block);
    if (most > 0)
        ar__log_info(&m->rt->log, "quantize %s: the layers' matrices in %.2f GB of memory, ‖W − Q(W)‖ / ‖W‖ %.3g to %.3g", m->quantised,
                     (double)m->quantised_bytes / 1e9, least, most);
}

ar_status ar__model_quantise(ar_model *m, const char *name, ar_error *err) {
    ar_quantisation q;
    size_t done = 0, other = 0;
    ar_status s = ar__quantisation_read(&q, name, err);
    if (s) return s;
    const ar_base_info *info = m->base ? ar__base_info(m->base) : NULL;
    if (!info || info->is_gguf || info->quantised)
        return ar__fail(err, AR_ERR_UNSUPPORTED, "%s: quantize wants a Hugging Face folder of f32, f16 or bf16, found %s", m->path,
                        !info             ? "random weights"
                        : info->quantised ? info->quantised
                                          : "a GGUF file, whose types are its own");
    for (size_t i = 0; !s && i < m->module_count; i++) {
        const ar_module *mod = &m->modules[i];
        bool kept;
        if (!mod->path || mod->kind != AR_MODULE_LINEAR || mod->layer < 0) continue;
        s = quantise_one(m, i, &q, &kept, err);
        if (kept)
            other++;
        else
            done++;
    }
    if (!s && !(m->quantised = ar__strdup(name))) s = ar__fail_memory(err, m->path);
    if (!s) say(m, &q, done, other);
    return s;
}
