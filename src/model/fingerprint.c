#include "model/fingerprint.h"

#include <stdio.h>

static uint64_t mix(uint64_t h, const void *bytes, size_t n) {
    for (size_t i = 0; i < n; i++) h = (h ^ ((const unsigned char *)bytes)[i]) * 0x100000001b3u;
    return h;
}

void ar__fingerprint_architecture(char out[AR_FINGERPRINT_CHARS], const ar_model *m) {
    uint64_t h = 0xcbf29ce484222325u;
    char line[512];
    for (size_t i = 0; i < m->module_count; i++) {
        const ar_module *mod = &m->modules[i];
        if (!mod->path) continue;
        int n = snprintf(line, sizeof line, "%s [%lld,%lld]\n", mod->path, (long long)mod->n_out, (long long)mod->n_in);
        h = mix(h, line, (size_t)n);
    }
    snprintf(out, AR_FINGERPRINT_CHARS, "%016llx", (unsigned long long)h);
}

void ar__fingerprint_weights(ar_buf *out, const ar_model *m) {
    enum { MODULES = 8 };
    for (size_t k = 0; k < MODULES; k++) {
        size_t i = k * (m->module_count - 1) / MODULES;
        while (i < m->module_count && (!m->modules[i].path || m->modules[i].kind == AR_MODULE_NORM)) i++;
        ar_weight w = ar__model_weight(m, i);
        const ar_dtype_info *t = ar__dtype(w.type);
        size_t n = w.rows * w.cols, at = (n / 3 + k * 7919) % n, first = at / t->block * t->block;
        float block[256];
        t->to_f32(block, (const char *)w.data + first / t->block * t->bytes, t->block);
        ar__buf_printf(out, "%s%s[%zu]=%.7g", k ? "," : "", m->modules[i].path, at, (double)block[at - first]);
    }
}
