/* The tensors of a GGUF file: of a folder's weights by the table of names, of another GGUF file as they stand. */
#include <stdlib.h>
#include <string.h>

#include "arch/gguf_write.h"
#include "base/fail.h"
#include "store/storing.h"
#include "store/types.h"

static ar_dtype type_of(const ar_storing *st, ar_module_kind kind, bool is_head, ar_dtype from, size_t cols) {
    return is_head || kind == AR_MODULE_HEAD ? ar__file_type_of_head(st->type, from, cols) : ar__file_type_for(st->type, from, cols);
}

static ar_status add_bias(ar_storing *st, const ar_base_weight *w, const char *stem, const ar_row_map *order, ar_error *err) {
    ar_buf name = {0};
    ar__buf_printf(&name, "%s.bias", stem);
    ar_stored *t = name.failed ? NULL : ar__storing_add(st, name.data, AR_F32, 1, &w->n_out, err);
    ar_status s = t ? AR_OK : name.failed ? ar__fail_memory(err, w->tensor) : AR_ERR_VALUE;
    if (t) {
        t->w = w;
        t->is_bias = true;
        t->order = *order;
    }
    ar__buf_release(&name);
    return s;
}

static ar_status add_module(ar_storing *st, const ar_base_weight *w, const ar_name_row *row, const char *stem, ar_error *err) {
    const ar_name_map *names = st->info->names;
    bool routes = row->slot == AR_SLOT_ROUTER || row->slot == AR_SLOT_SHARED_MIX; /* in F32 */
    bool matrix = w->dims == 2 && row->kind != AR_MODULE_NORM && row->slot != AR_SLOT_POSITIONS && !routes;
    int64_t shape[2] = {w->n_out, w->n_in};
    ar_row_map order;
    ar_buf name = {0};
    ar_status s = ar__row_map_init(&order, row->order, ar__order_is_of_columns(row->order) ? w->n_in : w->n_out, &st->info->count, err);
    if (s) return ar__fail_at(err, s, w->tensor);
    bool head = row->kind == AR_MODULE_EMBEDDING && st->info->is_tied && row->slot == AR_SLOT_NONE;
    ar_dtype to = matrix ? type_of(st, row->kind, head, w->type, (size_t)w->n_in) : AR_F32;
    ar__buf_printf(&name, "%s%s", stem, row->slot >= AR_SLOT_ROUTER_NORM ? "" : ".weight");
    ar_stored *t = name.failed ? NULL : ar__storing_add(st, name.data, to, w->dims < 2 ? 1 : 2, shape, err);
    s = t ? AR_OK : name.failed ? ar__fail_memory(err, w->tensor) : AR_ERR_VALUE;
    if (t) {
        t->w = w;
        t->order = order;
        t->is_matrix = matrix;
        t->is_other = matrix && to != st->type;
        t->weights = (size_t)w->n_out * (size_t)w->n_in;
        t->shown = ar__dtype(to)->name;
        t->adds_one = ar__names_add_one(names, row);
        t->is_rate = row->slot == AR_SLOT_DELTA_RATE;
    }
    ar__buf_release(&name);
    return s || !w->bias ? s : add_bias(st, w, stem, &order, err);
}

static ar_status no_place(const ar_storing *st, const ar_base_weight *w, ar_error *err) {
    return ar__fail(err, AR_ERR_UNSUPPORTED,
                    "%s: tensor '%s' has no place in a GGUF file of the architecture %s, and leaving it out would change the model",
                    st->o->model, w->tensor, st->info->names->gguf);
}

/* *left: tensors of a multimodal model's other parts. */
static ar_status add_weight(ar_storing *st, const ar_base_weight *w, size_t *left, ar_error *err) {
    const ar_name_map *names = st->info->names;
    ar_name name;
    ar_buf stem = {0};
    if (ar__base_is_buffer(w->tensor)) return AR_OK;
    if (st->arch.activation == AR_XIELU && strstr(w->tensor, ".act_fn.")) return AR_OK; /* keys of the file */
    if (st->arch.head_norms && strstr(w->tensor, "_layernorm.norms.")) return AR_OK;    /* add_all_head_norms */
    ar_buf site = {0};
    ar__base_name_in_code(&site, names, w->site);
    if (site.failed) return ar__fail_memory(err, w->tensor);
    bool known = ar__names_find(&name, names, site.data) && (strcmp(w->site, w->tensor) != 0 || name.row->slot >= AR_SLOT_SCALAR);
    ar__buf_release(&site);
    if (!known && st->arch.wrapped) {
        ++*left;
        return AR_OK;
    }
    bool kernel = known && name.row->slot == AR_SLOT_CONV_KERNEL && w->dims == 3 && w->shape[1] == 1;
    if (!known || (w->dims > 2 && !kernel)) return no_place(st, w, err);
    if (name.row->kind == AR_MODULE_HEAD && st->info->is_tied) return AR_OK;
    if (name.row->kind == AR_MODULE_HEAD && names->gguf_norms_plus_one && strncmp(names->gguf, "gemma", 5) == 0)
        return no_place(st, w, err);
    ar__names_print_gguf(&stem, &name);
    ar_status s = stem.failed ? ar__fail_memory(err, w->tensor) : add_module(st, w, name.row, stem.data, err);
    ar__buf_release(&stem);
    return s;
}

/* The norm of one head. */
static ar_status read_head_norm(float *to, const ar_storing *st, int64_t layer, const char *below, int64_t head, ar_error *err) {
    ar_buf name = {0};
    ar__buf_printf(&name, AR_HEAD_NORM_PATH, st->info->names->prefix, (long long)layer, below, (long long)head);
    const ar_base_weight *w = name.failed ? NULL : ar__base_find(st->base, name.data);
    ar_status s = name.failed ? ar__fail_memory(err, "norm") : AR_OK;
    if (!s && (!w || w->n_out != st->arch.head_dim || w->n_in != 1))
        s = ar__fail(err, AR_ERR_MISMATCH, "%s: no tensor '%s.weight' of %lld numbers, which config.json wants", st->o->model, name.data,
                     (long long)st->arch.head_dim);
    ar__buf_release(&name);
    return s ? s : ar__base_read_rows(to, st->base, w, 0, st->arch.head_dim, err);
}

/* Norms of single heads, of all heads of a layer in one tensor. */
static ar_status add_head_norms(ar_storing *st, int64_t layer, ar_slot slot, int64_t heads, float *values, ar_error *err) {
    const ar_name_row *row = ar__names_slot(st->info->names, slot);
    const int64_t shape[] = {heads, st->arch.head_dim};
    ar_status s = AR_OK;
    for (int64_t h = 0; !s && h < heads; h++) s = read_head_norm(values + h * st->arch.head_dim, st, layer, row->hf, h, err);
    if (s) return s;
    ar_buf name = {0};
    ar__names_print_gguf(&name, &(ar_name){row, layer});
    ar__buf_puts(&name, ".weight");
    ar_stored *t = name.failed ? NULL : ar__storing_add(st, name.data, AR_F32, 2, shape, err);
    s = t ? AR_OK : name.failed ? ar__fail_memory(err, "norms") : AR_ERR_VALUE;
    if (t) t->values = values;
    ar__buf_release(&name);
    return s;
}

static ar_status add_all_head_norms(ar_storing *st, ar_error *err) {
    const ar_arch *a = &st->arch;
    if (!a->head_norms) return AR_OK;
    size_t of_layer = (size_t)((a->heads + a->kv_heads) * a->head_dim);
    float *values = st->values[AR_GGUF_FACTORS] = ar__alloc(of_layer * (size_t)a->layers, sizeof *values);
    ar_status s = values ? AR_OK : ar__fail_memory(err, "norms");
    for (int64_t l = 0; !s && l < a->layers; l++, values += of_layer)
        if (!(s = add_head_norms(st, l, AR_SLOT_Q_HEADS, a->heads, values, err)))
            s = add_head_norms(st, l, AR_SLOT_K_HEADS, a->kv_heads, values + a->heads * a->head_dim, err);
    return s;
}

static ar_status add_factors(ar_storing *st, ar_error *err) {
    ar_gguf_factors factors[AR_GGUF_FACTORS];
    int count = 0;
    ar_status s = ar__gguf_rope_factors(factors, &count, &st->arch, err);
    for (int i = 0; i < count; i++) {
        st->values[i] = factors[i].value;
        ar_stored *t = s ? NULL : ar__storing_add(st, factors[i].name, AR_F32, 1, &factors[i].count, err);
        if (t)
            t->values = factors[i].value;
        else if (!s)
            s = AR_ERR_MEMORY;
    }
    return s;
}

static ar_status plan_folder(ar_storing *st, ar_error *err) {
    size_t left = 0;
    bool *of_experts = ar__alloc((size_t)ar__base_count(st->base) + 1, sizeof *of_experts);
    ar_status s = of_experts ? add_factors(st, err) : ar__fail_memory(err, st->o->model);
    if (!s) s = ar__plan_experts(of_experts, st, false, err);
    if (!s) s = add_all_head_norms(st, err);
    for (int i = 0; !s && i < ar__base_count(st->base); i++)
        if (!of_experts[i]) s = add_weight(st, ar__base_at(st->base, i), &left, err);
    free(of_experts);
    if (!s && left)
        ar__log_warn(&st->rt->log, "%s: %zu tensors of the multimodal model's other parts are left out: the file holds the language model",
                     st->o->model, left);
    return s;
}

/* ---- GGUF → GGUF ------------------------------------------------------------------------------------------------------------ */

/* Of another file: matrices of linears, embeddings and stacked experts; what llama.cpp wants in F32 stays as it is. */
static bool is_matrix(const ar_tensor *t) {
    static const char *const kept[] = {"_norm", "position_embd", "token_types", "ffn_gate_inp", "ssm_conv1d", "shortconv.conv", "rope_"};
    size_t n = strlen(t->name);
    if (t->dims < 2 || n < 7 || strcmp(t->name + n - 7, ".weight") != 0) return false;
    for (size_t i = 0; i < sizeof kept / sizeof *kept; i++)
        if (strstr(t->name, kept[i])) return false;
    return true;
}

static const ar_base_weight *find_scaled(const ar_storing *st, const ar_tensor *raw) {
    for (int i = 0; i < ar__base_count(st->base); i++) {
        const ar_base_weight *w = ar__base_at(st->base, i);
        if (w->scale && w->data == raw->data) return w;
    }
    return NULL;
}

static ar_status add_raw(ar_storing *st, const ar_tensor *raw, int at, bool tied, ar_error *err) {
    bool matrix = is_matrix(raw), head = !strcmp(raw->name, "output.weight") || (tied && !strcmp(raw->name, "token_embd.weight"));
    size_t cols = raw->dims ? (size_t)raw->shape[raw->dims - 1] : 1;
    ar_dtype to = matrix ? type_of(st, AR_MODULE_LINEAR, head, raw->dtype, cols) : raw->dtype;
    if (matrix && !ar__dtype(raw->dtype)->to_f32)
        return ar__fail(err, AR_ERR_UNSUPPORTED, "%s: tensor '%s' has type %s, wanted one that Alphar reads", st->o->model, raw->name,
                        raw->dtype_name);
    bool copied = to == raw->dtype;
    ar_stored *t = ar__storing_add(st, raw->name, copied ? AR_U8 : to, copied ? 1 : raw->dims,
                                   copied ? (const int64_t[]){(int64_t)raw->bytes} : raw->shape, err);
    if (!t) return AR_ERR_VALUE;
    t->raw = raw;
    t->raw_at = at;
    t->scaled = find_scaled(st, raw);
    t->is_copied = copied;
    t->is_matrix = matrix;
    t->is_other = matrix && to != st->type;
    t->weights = raw->count;
    t->shown = ar__dtype(to)->name;
    return AR_OK;
}

static ar_status plan_file(ar_storing *st, ar_error *err) {
    const ar_tensors *files = ar__base_files(st->base);
    bool tied = !ar__tensors_find(files, "output.weight"), packed = false;
    ar_status s = AR_OK;
    for (int i = 0; !s && i < ar__tensors_count(files); i++) {
        s = add_raw(st, ar__tensors_at(files, i), i, tied, err);
        packed = packed || ar__dtype(ar__tensors_at(files, i)->dtype)->block > 1;
    }
    if (!s && packed)
        ar__log_warn(&st->rt->log,
                     "%s: is quantised already, and what it lost stays lost: noise is against what it holds; better quantise the "
                     "model that it was made from",
                     st->o->model);
    return s;
}

ar_status ar__plan_gguf(ar_storing *st, ar_error *err) {
    ar_status s = st->info->is_gguf ? plan_file(st, err) : plan_folder(st, err);
    for (size_t i = 0; !s && i < st->count; i++) st->total += st->list[i].bytes;
    return s;
}
