/* The list of modules of a record, with their Hugging Face paths and shapes. */
#include <stdlib.h>
#include <string.h>

#include "arch/arch.h"
#include "arch/names.h"
#include "base/fail.h"
#include "base/mem.h"

static void slot_shape(ar_module *m, const ar_arch *a, ar_slot slot) {
    int64_t q = a->heads * a->head_dim, kv = a->kv_heads * a->head_dim;
    int64_t q_norm = a->qk_wide ? q : a->head_dim, k_norm = a->qk_wide ? kv : a->head_dim;
    const struct {
        int64_t out, in;
        bool bias;
    } shape[AR_SLOT_COUNT] = {
        [AR_SLOT_QKV] = {q + 2 * kv, a->dim, a->bias_qkv},
        [AR_SLOT_GATE_UP] = {2 * a->ff, a->dim, a->bias_mlp},
        [AR_SLOT_Q] = {a->gated ? 2 * q : q, a->dim, a->bias_qkv},
        [AR_SLOT_K] = {kv, a->dim, a->bias_qkv},
        [AR_SLOT_V] = {kv, a->dim, a->bias_qkv},
        [AR_SLOT_O] = {a->dim, q, a->bias_o},
        [AR_SLOT_Q_NORM] = {q_norm, 1, a->norm_bias},
        [AR_SLOT_K_NORM] = {k_norm, 1, a->norm_bias},
        [AR_SLOT_DELTA_NORM] = {a->delta.value_dim, 1, false},
        [AR_SLOT_DELTA_OUT] = {a->dim, ar__delta_values(&a->delta), false},
        [AR_SLOT_DELTA_QKV] = {ar__delta_columns(&a->delta), a->dim, false},
        [AR_SLOT_DELTA_Z] = {ar__delta_values(&a->delta), a->dim, false},
        [AR_SLOT_DELTA_B] = {a->delta.value_heads, a->dim, false},
        [AR_SLOT_DELTA_A] = {a->delta.value_heads, a->dim, false},
        [AR_SLOT_GATE] = {a->ff, a->dim, a->bias_mlp},
        [AR_SLOT_UP] = {a->ff, a->dim, a->bias_mlp},
        [AR_SLOT_DOWN] = {a->dim, a->ff, a->bias_mlp},
        [AR_SLOT_ATTN_NORM] = {a->dim, 1, a->norm_bias},
        [AR_SLOT_MLP_NORM] = {a->dim, 1, a->norm_bias},
        [AR_SLOT_ATTN_OUT_NORM] = {a->dim, 1, a->norm_bias},
        [AR_SLOT_MLP_OUT_NORM] = {a->dim, 1, a->norm_bias},
    };
    m->n_out = shape[slot].out;
    m->n_in = shape[slot].in;
    m->has_bias = shape[slot].bias;
}

/* A slot that the family lacks has no path, and the kind of the others'. */
static ar_module_kind kind_of(ar_slot slot) {
    bool linear = slot <= AR_SLOT_O || (slot >= AR_SLOT_DELTA_OUT && slot <= AR_SLOT_DOWN);
    return !linear ? AR_MODULE_NORM : AR_MODULE_LINEAR;
}

static bool fill(ar_module *m, const ar_arch *a, const ar_name_row *row, int64_t layer) {
    ar_buf own = {0}, b = {0};
    ar__names_print(&own, a->names, &(ar_name){row, layer});
    size_t prefix = strlen(a->names->prefix);
    bool below = a->wrapped && !own.failed && !strncmp(own.data, a->names->prefix, prefix);
    if (!own.failed) ar__buf_printf(&b, "%s%s", below ? AR_WRAPPER : "", below ? own.data + prefix : own.data);
    bool ok = !own.failed && !b.failed;
    ar__buf_release(&own);
    m->path = b.data;
    m->layer = (int)layer;
    return ok;
}

static bool fill_layer(ar_module *m, const ar_arch *a, int64_t layer) {
    bool ok = true;
    for (int s = 0; ok && s < AR_SLOT_COUNT; s++) {
        const ar_name_row *row = ar__names_slot(a->names, (ar_slot)s);
        m[s] = (ar_module){.kind = kind_of((ar_slot)s), .layer = (int)layer};
        if (!ar__arch_layer_has(a, layer, (ar_slot)s)) continue;
        m[s].is_conv1d = row->is_conv1d;
        ok = fill(&m[s], a, row, layer);
        slot_shape(&m[s], a, (ar_slot)s);
    }
    return ok;
}

static bool fill_top(ar_module *m, const ar_arch *a, ar_module_kind kind, int64_t n_out, int64_t n_in) {
    *m = (ar_module){.kind = kind, .n_out = n_out, .n_in = n_in};
    return fill(m, a, ar__names_top(a->names, kind), -1);
}

ar_status ar__arch_modules(ar_module **out, const ar_arch *a, ar_error *err) {
    size_t n = ar__module_count(a);
    ar_module *m = ar__alloc(n, sizeof *m);
    *out = NULL;
    if (!m) return ar__fail_memory(err, "module list");
    ar_module *norm = &m[ar__module_norm(a)], *head = &m[ar__module_head(a)], *positions = &m[ar__module_positions(a)];
    bool ok = fill_top(&m[0], a, AR_MODULE_EMBEDDING, a->vocab, a->dim) && fill_top(norm, a, AR_MODULE_NORM, a->dim, 1) &&
              fill_top(head, a, AR_MODULE_HEAD, a->vocab, a->dim);
    norm->has_bias = a->norm_bias;
    head->has_bias = a->bias_head;
    *positions = (ar_module){.kind = AR_MODULE_EMBEDDING, .layer = -1, .n_out = a->max_positions, .n_in = a->dim};
    if (ok && a->learned) ok = fill(positions, a, ar__names_positions(a->names), -1);
    for (int64_t l = 0; ok && l < a->layers; l++) ok = fill_layer(m + ar__module_at(l, AR_SLOT_QKV), a, l);
    if (!ok) {
        ar__modules_free(m, n);
        return ar__fail_memory(err, "module list");
    }
    *out = m;
    return AR_OK;
}

bool ar__arch_has(const ar_arch *a, ar_slot slot) { return !(a->absent >> (int)slot & 1) && ar__names_slot(a->names, slot) != NULL; }

bool ar__arch_layer_has(const ar_arch *a, int64_t layer, ar_slot slot) {
    bool mixes = slot <= AR_SLOT_DELTA_A, delta = slot >= AR_SLOT_DELTA_NORM;
    return ar__arch_has(a, slot) && (!mixes || delta == (a->recurrent[layer] != 0));
}

ar_delta_tensor ar__delta_tensor(const ar_arch *a, ar_delta_part part) {
    const ar_delta_sizes *d = &a->delta;
    switch (part) {
    case AR_DELTA_CONV: return (ar_delta_tensor){"conv1d", ".weight", ar__delta_columns(d), d->taps};
    case AR_DELTA_RATE: return (ar_delta_tensor){"A_log", "", d->value_heads, 1};
    case AR_DELTA_SHIFT: return (ar_delta_tensor){"dt_bias", "", d->value_heads, 1};
    case AR_DELTA_PARTS: break;
    }
    return (ar_delta_tensor){0};
}

void ar__modules_free(ar_module *m, size_t count) {
    for (size_t i = 0; m && i < count; i++) free((void *)(uintptr_t)m[i].path);
    free(m);
}

int64_t ar__arch_linear_params(const ar_arch *a) {
    int64_t n = 0;
    for (int64_t l = 0; l < a->layers; l++)
        for (int s = 0; s < AR_SLOT_COUNT; s++) {
            ar_module m = {0};
            if (kind_of((ar_slot)s) != AR_MODULE_LINEAR || !ar__arch_layer_has(a, l, (ar_slot)s)) continue;
            slot_shape(&m, a, (ar_slot)s);
            n += m.n_out * m.n_in;
        }
    return n;
}
