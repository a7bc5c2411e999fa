#include "model/fingerprint.h"

#include <stdlib.h>

#include "base/fail.h"

static bool read_model(float *value, void *user, const ar_fingerprint_module *module, size_t at) {
    const ar_model *m = user;
    if (m->owned[module->index].weight_borrowed) return false;
    ar_weight w = ar__model_weight(m, module->index);
    const ar_dtype_info *t = ar__dtype(w.type);
    float block[256];
    size_t first = at / t->block * t->block;
    t->to_f32(block, (const char *)w.data + first / t->block * t->bytes, t->block);
    *value = block[at - first];
    return true;
}

ar_status ar__model_fingerprint(char architecture[AR_FINGERPRINT_CHARS], ar_buf *weights, const ar_model *m, ar_error *err) {
    bool whole =
        m->quantised || (m->base && (m->arch.kv_shared || m->arch.experts)); /* whose files may have more, or fewer, than modules */
    if (whole) return ar__base_fingerprint(architecture, weights, m->base, err);
    ar_fingerprint_module *list = ar__alloc(m->module_count, sizeof *list);
    size_t count = 0;
    if (!list) return ar__fail_memory(err, "fingerprint");
    for (size_t i = 0; i < m->module_count; i++) {
        const ar_module *mod = &m->modules[i];
        if (!mod->path || (i == ar__module_head(&m->arch) && m->arch.tied)) continue;
        list[count++] = (ar_fingerprint_module){mod->path, mod->n_out, mod->n_in, i};
    }
    ar__fingerprint_modules(architecture, weights, list, count, read_model, (void *)(uintptr_t)m);
    free(list);
    return weights->failed ? ar__fail_memory(err, "fingerprint") : AR_OK;
}
