/* The list of modules of a record, with their Hugging Face paths and shapes. */
#include <stdlib.h>
#include <string.h>

#include "arch/arch.h"
#include "arch/names.h"
#include "base/fail.h"
#include "base/mem.h"

static void slot_shape(ar_module *m, const ar_arch *a, int64_t layer, ar_slot slot) {
    int64_t d = ar__arch_head_dim(a, layer), q = a->heads * d, kv = ar__arch_kv_heads(a, layer) * d, ff = ar__arch_ff(a, layer);
    int64_t q_norm = a->qk_wide ? q : d, k_norm = a->qk_wide ? kv : d;
    const struct {
        int64_t out, in;
        bool bias;
    } shape[AR_SLOT_COUNT] = {
        [AR_SLOT_QKV] = {q + 2 * kv, a->dim, a->bias_qkv},
        [AR_SLOT_GATE_UP] = {2 * ff, a->dim, a->bias_mlp},
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
        [AR_SLOT_CONV_IN] = {3 * a->dim, a->dim, a->conv_bias},
        [AR_SLOT_CONV_OUT] = {a->dim, a->dim, a->conv_bias},
        [AR_SLOT_GATE] = {ff, a->dim, a->bias_mlp},
        [AR_SLOT_UP] = {ff, a->dim, a->bias_mlp},
        [AR_SLOT_DOWN] = {a->dim, ff, a->bias_mlp},
        [AR_SLOT_ROUTER] = {a->experts, a->dim, a->bias_experts},
        [AR_SLOT_SHARED_GATE] = {a->shared_ff, a->dim, a->bias_mlp},
        [AR_SLOT_SHARED_UP] = {a->shared_ff, a->dim, a->bias_mlp},
        [AR_SLOT_SHARED_DOWN] = {a->dim, a->shared_ff, a->bias_mlp},
        [AR_SLOT_SHARED_MIX] = {1, a->dim, false},
        [AR_SLOT_ATTN_NORM] = {a->dim, 1, a->norm_bias},
        [AR_SLOT_MLP_NORM] = {a->dim, 1, a->norm_bias},
        [AR_SLOT_ATTN_OUT_NORM] = {a->dim, 1, a->norm_bias},
        [AR_SLOT_MLP_OUT_NORM] = {a->dim, 1, a->norm_bias},
        [AR_SLOT_DENSE_OUT_NORM] = {a->dim, 1, a->norm_bias},
        [AR_SLOT_EXPERTS_NORM] = {a->dim, 1, a->norm_bias},
        [AR_SLOT_EXPERTS_OUT_NORM] = {a->dim, 1, a->norm_bias},
        [AR_SLOT_PLE_GATE] = {a->ple_dim, a->dim, false},
        [AR_SLOT_PLE_PROJECTION] = {a->dim, a->ple_dim, false},
        [AR_SLOT_PLE_NORM] = {a->dim, 1, a->norm_bias},
    };
    m->n_out = shape[slot].out;
    m->n_in = shape[slot].in;
    m->has_bias = shape[slot].bias;
}

/* A slot that the family lacks has no path, and the kind of the others'. */
static ar_module_kind kind_of(ar_slot slot) {
    bool ple = slot == AR_SLOT_PLE_GATE || slot == AR_SLOT_PLE_PROJECTION;
    bool linear = slot <= AR_SLOT_O || (slot >= AR_SLOT_DELTA_OUT && slot <= AR_SLOT_SHARED_MIX) || ple;
    return !linear ? AR_MODULE_NORM : AR_MODULE_LINEAR;
}

/* Takes the path of the language model alone, in `own`. */
static bool take_path(ar_module *m, const ar_arch *a, ar_buf *own, int64_t layer) {
    ar_buf b = {0};
    size_t prefix = strlen(a->names->prefix);
    bool below = a->wrapped && !own->failed && !strncmp(own->data, a->names->prefix, prefix);
    if (!own->failed) ar__buf_printf(&b, "%s%s", below ? AR_WRAPPER : "", below ? own->data + prefix : own->data);
    bool ok = !own->failed && !b.failed;
    ar__buf_release(own);
    m->path = b.data;
    m->layer = (int)layer;
    return ok;
}

static bool fill(ar_module *m, const ar_arch *a, const ar_name_row *row, int64_t layer) {
    ar_buf own = {0};
    ar__names_print(&own, a->names, &(ar_name){row, layer});
    return take_path(m, a, &own, layer);
}

static bool fill_experts(ar_module *m, const ar_arch *a, int64_t layer) {
    static const char *const part[AR_EXPERT_PARTS] = {"gate_proj", "up_proj", "down_proj"};
    bool ok = true;
    for (int64_t i = 0; ok && i < a->experts * AR_EXPERT_PARTS; i++) {
        bool down = i % AR_EXPERT_PARTS == AR_EXPERT_DOWN;
        ar_buf own = {0};
        m[i] = (ar_module){.kind = AR_MODULE_LINEAR, .layer = (int)layer};
        if (ar__layer_is_dense(a, layer)) continue;
        ar__buf_printf(&own, "%s%s%lld.%s.%lld.%s", a->names->prefix, a->names->layers, (long long)layer, a->names->experts,
                       (long long)(i / AR_EXPERT_PARTS), part[i % AR_EXPERT_PARTS]);
        ok = take_path(&m[i], a, &own, layer);
        m[i].n_out = down ? a->dim : a->expert_ff;
        m[i].n_in = down ? a->expert_ff : a->dim;
        m[i].has_bias = a->bias_experts;
    }
    return ok;
}

/* PEFT finds linears by their class, which most routers are not. */
static void set_peft(ar_module *m, const ar_arch *a, ar_slot slot) {
    bool router = slot == AR_SLOT_ROUTER && !a->names->linear_router,
         mlp = slot >= AR_SLOT_GATE_UP && slot <= AR_SLOT_SHARED_MIX && slot != AR_SLOT_ROUTER;
    m->is_parameter = router;
    m->is_left_out = a->experts && (a->names->all_experts ? mlp : router);
}

static bool fill_layer(ar_module *m, const ar_arch *a, int64_t layer) {
    bool ok = true;
    for (int s = 0; ok && s < AR_SLOT_COUNT; s++) {
        const ar_name_row *row = ar__names_slot(a->names, (ar_slot)s);
        m[s] = (ar_module){.kind = kind_of((ar_slot)s), .layer = (int)layer};
        if (!ar__arch_layer_has(a, layer, (ar_slot)s)) continue;
        m[s].is_conv1d = row->is_conv1d;
        set_peft(&m[s], a, (ar_slot)s);
        ok = fill(&m[s], a, row, layer);
        slot_shape(&m[s], a, layer, (ar_slot)s);
    }
    return ok;
}

static bool fill_top(ar_module *m, const ar_arch *a, ar_module_kind kind, int64_t n_out, int64_t n_in) {
    *m = (ar_module){.kind = kind, .n_out = n_out, .n_in = n_in};
    return fill(m, a, ar__names_top(a->names, kind), -1);
}

/* What few families have outside the layers; without a path where this one does not. */
static bool fill_rare(ar_module *m, const ar_arch *a, ar_slot slot, ar_module_kind kind, bool there, int64_t n_out, int64_t n_in) {
    *m = (ar_module){.kind = kind, .layer = -1, .n_out = n_out, .n_in = n_in};
    return !there || fill(m, a, ar__names_outside(a->names, slot), -1);
}

ar_status ar__arch_modules(ar_module **out, const ar_arch *a, ar_error *err) {
    size_t n = ar__module_count(a);
    int64_t ple = a->layers * a->ple_dim;
    ar_module *m = ar__alloc(n, sizeof *m);
    *out = NULL;
    if (!m) return ar__fail_memory(err, "module list");
    ar_module *norm = &m[ar__module_norm(a)], *head = &m[ar__module_head(a)], *positions = &m[ar__module_positions(a)];
    bool ok = fill_top(&m[0], a, AR_MODULE_EMBEDDING, a->vocab, a->dim) && fill_top(norm, a, AR_MODULE_NORM, a->dim, 1) &&
              fill_top(head, a, AR_MODULE_HEAD, a->vocab, a->dim);
    norm->has_bias = a->norm_bias;
    head->has_bias = a->bias_head;
    ok = ok && fill_rare(positions, a, AR_SLOT_POSITIONS, AR_MODULE_EMBEDDING, a->learned, a->max_positions, a->dim);
    ok = ok && fill_rare(&m[ar__module_ple_table(a)], a, AR_SLOT_PLE_TABLE, AR_MODULE_EMBEDDING, a->ple_dim > 0, a->ple_vocab, ple);
    ok = ok && fill_rare(&m[ar__module_ple_mix(a)], a, AR_SLOT_PLE_MIX, AR_MODULE_LINEAR, a->ple_dim > 0, ple, a->dim);
    ok = ok && fill_rare(&m[ar__module_ple_norm(a)], a, AR_SLOT_PLE_MIX_NORM, AR_MODULE_NORM, a->ple_dim > 0, a->ple_dim, 1);
    for (int64_t l = 0; ok && l < a->layers; l++)
        ok = fill_layer(m + ar__module_at(l, AR_SLOT_QKV), a, l) && fill_experts(m + ar__module_expert(a, l, 0, AR_EXPERT_GATE), a, l);
    if (!ok) {
        ar__modules_free(m, n);
        return ar__fail_memory(err, "module list");
    }
    *out = m;
    return AR_OK;
}

/* PATH.gate_up_proj or PATH.down_proj of PATH.0.gate_proj. */
static bool fill_stack(ar_module *m, const ar_arch *a, const ar_module *first, bool down) {
    ar_buf path = {0};
    const char *end = strrchr(first->path, '.');
    ar__buf_printf(&path, "%.*s%s", (int)(end - 1 - first->path), first->path, down ? "down_proj" : "gate_up_proj");
    *m = (ar_module){.path = path.data,
                     .kind = AR_MODULE_EXPERTS,
                     .layer = first->layer,
                     .n_out = down ? a->dim : 2 * a->expert_ff,
                     .n_in = down ? a->expert_ff : a->dim,
                     .experts = (int)a->experts,
                     .is_parameter = true,
                     .is_left_out = !a->names->all_experts};
    return !path.failed;
}

ar_status ar__arch_targets(ar_module **out, int *count, const ar_module *modules, const ar_arch *a, bool apart, ar_error *err) {
    size_t n = ar__module_count(a), experts = ar__module_experts(a), k = 0;
    ar_module *list = *out = ar__alloc(n + 2 * (size_t)a->layers, sizeof *list);
    bool ok = list != NULL;
    for (size_t i = 0; ok && i < (apart ? n : experts); i++)
        if (modules[i].path) list[k++] = modules[i];
    for (int64_t l = 0; ok && a->experts && l < a->layers; l++) {
        const ar_module *first = &modules[ar__module_expert(a, l, 0, AR_EXPERT_GATE)];
        for (int down = 0; ok && first->path && down < 2; down++) ok = fill_stack(&list[k++], a, first, down);
    }
    *count = (int)k;
    if (ok) return AR_OK;
    ar__targets_free(list, (int)k);
    *out = NULL;
    return ar__fail_memory(err, "module list");
}

void ar__targets_free(ar_module *m, int count) {
    for (int i = 0; m && i < count; i++)
        if (m[i].kind == AR_MODULE_EXPERTS) free((void *)(uintptr_t)m[i].path);
    free(m);
}

bool ar__arch_has(const ar_arch *a, ar_slot slot) { return !(a->absent & ar__slot_bit(slot)) && ar__names_slot(a->names, slot) != NULL; }

int ar__mixer_tensor_count(const ar_arch *a, int64_t layer) {
    switch ((ar_mixer)a->mixer[layer]) {
    case AR_MIX_ATTENTION: return 0;
    case AR_MIX_DELTA: return AR_PART_SHIFT + 1;
    case AR_MIX_CONV: return a->conv_bias ? AR_PART_BIAS + 1 : AR_PART_KERNEL + 1;
    }
    return 0;
}

ar_mixer_tensor ar__mixer_tensor(const ar_arch *a, int64_t layer, int part) {
    const ar_delta_sizes *d = &a->delta;
    const ar_mixer_tensor
        delta[] = {[AR_PART_KERNEL] = {"linear_attn.conv1d", ".weight", ar__delta_columns(d), d->taps},
                   [AR_PART_RATE] = {"linear_attn.A_log", "", d->value_heads, 1},
                   [AR_PART_SHIFT] = {"linear_attn.dt_bias", "", d->value_heads, 1}},
        conv[] = {[AR_PART_KERNEL] = {"conv.conv", ".weight", a->dim, a->conv_taps}, [AR_PART_BIAS] = {"conv.conv", ".bias", a->dim, 1}};
    return a->mixer[layer] == AR_MIX_DELTA ? delta[part] : conv[part];
}

void ar__modules_free(ar_module *m, size_t count) {
    for (size_t i = 0; m && i < count; i++) free((void *)(uintptr_t)m[i].path);
    free(m);
}

int64_t ar__arch_linear_params(const ar_arch *a) {
    int64_t n = 0;
    for (int64_t l = 0; l < a->layers; l++) {
        for (int s = 0; s < AR_SLOT_COUNT; s++) {
            ar_module m = {0};
            if (kind_of((ar_slot)s) != AR_MODULE_LINEAR || !ar__arch_layer_has(a, l, (ar_slot)s)) continue;
            slot_shape(&m, a, l, (ar_slot)s);
            n += m.n_out * m.n_in;
        }
        if (!ar__layer_is_dense(a, l)) n += AR_EXPERT_PARTS * a->experts_used * a->expert_ff * a->dim;
    }
    return n + a->layers * a->ple_dim * a->dim;
}
