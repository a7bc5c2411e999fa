/* The list of modules of a record, with their Hugging Face paths and shapes. */
#include <stdio.h>
#include <stdlib.h>

#include "arch/arch.h"
#include "base/fail.h"
#include "base/mem.h"

typedef struct slot_info {
    const char *suffix;
    ar_module_kind kind;
} slot_info;

static const slot_info slots[AR_SLOT_COUNT] = {
    [AR_SLOT_Q] = {"self_attn.q_proj", AR_MODULE_LINEAR},
    [AR_SLOT_K] = {"self_attn.k_proj", AR_MODULE_LINEAR},
    [AR_SLOT_V] = {"self_attn.v_proj", AR_MODULE_LINEAR},
    [AR_SLOT_O] = {"self_attn.o_proj", AR_MODULE_LINEAR},
    [AR_SLOT_Q_NORM] = {"self_attn.q_norm", AR_MODULE_NORM},
    [AR_SLOT_K_NORM] = {"self_attn.k_norm", AR_MODULE_NORM},
    [AR_SLOT_GATE] = {"mlp.gate_proj", AR_MODULE_LINEAR},
    [AR_SLOT_UP] = {"mlp.up_proj", AR_MODULE_LINEAR},
    [AR_SLOT_DOWN] = {"mlp.down_proj", AR_MODULE_LINEAR},
    [AR_SLOT_ATTN_NORM] = {"input_layernorm", AR_MODULE_NORM},
    [AR_SLOT_MLP_NORM] = {"post_attention_layernorm", AR_MODULE_NORM},
};

static void slot_shape(ar_module *m, const ar_arch *a, ar_slot slot) {
    int64_t q = a->heads * a->head_dim, kv = a->kv_heads * a->head_dim;
    const struct {
        int64_t out, in;
        bool bias;
    } shape[AR_SLOT_COUNT] = {
        [AR_SLOT_Q] = {q, a->dim, a->bias_qkv},        [AR_SLOT_K] = {kv, a->dim, a->bias_qkv},
        [AR_SLOT_V] = {kv, a->dim, a->bias_qkv},       [AR_SLOT_O] = {a->dim, q, a->bias_o},
        [AR_SLOT_Q_NORM] = {a->head_dim, 1, false},    [AR_SLOT_K_NORM] = {a->head_dim, 1, false},
        [AR_SLOT_GATE] = {a->ff, a->dim, a->bias_mlp}, [AR_SLOT_UP] = {a->ff, a->dim, a->bias_mlp},
        [AR_SLOT_DOWN] = {a->dim, a->ff, a->bias_mlp}, [AR_SLOT_ATTN_NORM] = {a->dim, 1, false},
        [AR_SLOT_MLP_NORM] = {a->dim, 1, false},
    };
    m->n_out = shape[slot].out;
    m->n_in = shape[slot].in;
    m->has_bias = shape[slot].bias;
}

static bool fill_layer(ar_module *m, const ar_arch *a, int64_t layer) {
    for (int s = 0; s < AR_SLOT_COUNT; s++) {
        m[s] = (ar_module){.kind = slots[s].kind, .layer = (int)layer};
        if ((s == AR_SLOT_Q_NORM || s == AR_SLOT_K_NORM) && !a->qk_norm) continue;
        ar_buf b = {0};
        ar__buf_printf(&b, "model.layers.%lld.%s", (long long)layer, slots[s].suffix);
        m[s].path = b.data;
        if (b.failed) return false;
        slot_shape(&m[s], a, (ar_slot)s);
    }
    return true;
}

ar_status ar__arch_modules(ar_module **out, const ar_arch *a, ar_error *err) {
    size_t n = ar__module_count(a);
    ar_module *m = ar__alloc(n, sizeof *m);
    *out = NULL;
    if (!m) return ar__fail_memory(err, "module list");
    m[0] = (ar_module){ar__strdup("model.embed_tokens"), AR_MODULE_EMBEDDING, -1, a->vocab, a->dim, false};
    m[n - 2] = (ar_module){ar__strdup("model.norm"), AR_MODULE_NORM, -1, a->dim, 1, false};
    m[n - 1] = (ar_module){ar__strdup("lm_head"), AR_MODULE_HEAD, -1, a->vocab, a->dim, false};
    bool ok = m[0].path && m[n - 2].path && m[n - 1].path;
    for (int64_t l = 0; ok && l < a->layers; l++) ok = fill_layer(m + ar__module_at(l, AR_SLOT_Q), a, l);
    if (!ok) {
        ar__modules_free(m, n);
        return ar__fail_memory(err, "module list");
    }
    *out = m;
    return AR_OK;
}

void ar__modules_free(ar_module *m, size_t count) {
    for (size_t i = 0; m && i < count; i++) free((void *)(uintptr_t)m[i].path);
    free(m);
}

int64_t ar__arch_linear_params(const ar_arch *a) {
    int64_t q = a->heads * a->head_dim, kv = a->kv_heads * a->head_dim;
    return a->layers * (a->dim * (2 * q + 2 * kv) + 3 * a->dim * a->ff);
}
