/* A base written as a Hugging Face folder: weights in the base's own dtype, configuration and tokenizer carried along. */
#include <stdlib.h>
#include <string.h>

#include "arch/names.h"
#include "base/fail.h"
#include "base/file.h"
#include "format/safetensors.h"
#include "model/bind.h"
#include "store/json_edit.h"

/* A Conv1D's weight as the file has it, in *memory in place of what is there. */
static const void *turn(void **memory, const void *data, ar_dtype type, size_t rows, size_t cols) {
    size_t bytes = ar__dtype(type)->bytes;
    char *to = ar__alloc(rows * cols, bytes);
    for (size_t r = 0; to && r < rows; r++)
        for (size_t c = 0; c < cols; c++) memcpy(to + (c * rows + r) * bytes, (const char *)data + (r * cols + c) * bytes, bytes);
    free(*memory);
    *memory = to;
    return to;
}

const char *ar__model_file_name(const ar_model *m, size_t module) {
    const char *path = m->modules[module].path;
    bool expert = module >= ar__module_experts(&m->arch), router = m->modules[module].is_parameter;
    if (!path || (!expert && !router)) return path;
    const ar_base_weight *w = m->base ? ar__base_find(m->base, path) : NULL;
    if (!m->base) return m->arch.names->renamed_experts || m->arch.names->turned_stacks ? NULL : path;
    return w && w->dims == 2 ? w->site : NULL;
}

static ar_status add_tensor(ar_st_writer *w, const ar_model *m, size_t i, const char *suffix, const ar_weight *from, void **rounded,
                            ar_error *err) {
    ar_buf name = {0};
    size_t count = from->rows * from->cols, bytes;
    bool turned = m->modules[i].is_conv1d && from->cols > 1;
    int64_t shape[2] = {(int64_t)(turned ? from->cols : from->rows), (int64_t)(turned ? from->rows : from->cols)};
    const void *data = from->data;
    ar_dtype type = from->type;
    if (type == AR_F32 && m->dtype != AR_F32) {
        if (!ar__dtype_bytes(&bytes, m->dtype, count) || !(*rounded = ar__alloc(bytes, 1))) return ar__fail_memory(err, m->modules[i].path);
        ar__dtype(m->dtype)->from_f32(*rounded, from->data, count);
        data = *rounded;
        type = m->dtype;
    }
    if (turned && !(data = turn(rounded, data, type, from->rows, from->cols))) return ar__fail_memory(err, m->modules[i].path);
    const char *path = ar__model_file_name(m, i);
    if (!path) return ar__fail(err, AR_ERR_UNSUPPORTED, "%s: one of several experts in a tensor, which is not written", m->modules[i].path);
    ar__buf_printf(&name, "%s%s", path, suffix);
    ar_status s = name.failed ? ar__fail_memory(err, m->modules[i].path)
                              : ar__st_writer_add(w, name.data, type, from->cols == 1 ? 1 : 2, shape, data, err);
    ar__buf_release(&name);
    return s;
}

static ar_status add_activation(ar_st_writer *w, const ar_model *m, int64_t layer, ar_error *err) {
    const int64_t one[] = {1};
    ar_status s = AR_OK;
    for (int i = 0; !s && i < 4; i++) { /* the last two are scalars */
        ar_buf name = {0};
        ar__buf_printf(&name, AR_XIELU_PATH "%s", m->arch.names->prefix, (long long)layer, ar__xielu_names[i]);
        s = name.failed ? ar__fail_memory(err, "activation")
                        : ar__st_writer_add(w, name.data, AR_F32, i < 2 ? 1 : 0, one, &m->layers[layer].xielu[i], err);
        ar__buf_release(&name);
    }
    return s;
}

static ar_status add_scalar(ar_st_writer *w, const ar_model *m, int64_t layer, ar_error *err) {
    const int64_t one[] = {1};
    ar_buf name = {0};
    ar__buf_printf(&name, AR_SCALAR_PATH, m->arch.names->prefix, (long long)layer);
    ar_status s =
        name.failed ? ar__fail_memory(err, "layer_scalar") : ar__st_writer_add(w, name.data, AR_F32, 1, one, &m->layers[layer].scalar, err);
    ar__buf_release(&name);
    return s;
}

static ar_status add_sinks(ar_st_writer *w, const ar_model *m, int64_t layer, ar_error *err) {
    ar_buf name = {0};
    ar__buf_printf(&name, AR_SINKS_PATH, m->arch.names->prefix, (long long)layer);
    ar_status s = name.failed ? ar__fail_memory(err, "sinks")
                              : ar__st_writer_add(w, name.data, AR_F32, 1, &m->arch.heads, m->layers[layer].sinks, err);
    ar__buf_release(&name);
    return s;
}

static ar_status add_head_norms(ar_st_writer *w, const ar_model *m, int64_t layer, int which, ar_error *err) {
    ar_status s = AR_OK;
    const char *below = ar__names_slot(m->arch.names, which ? AR_SLOT_K_HEADS : AR_SLOT_Q_HEADS)->hf;
    for (size_t h = 0; !s && h < ar__model_normed_heads(m, which); h++) {
        ar_buf name = {0};
        ar__buf_printf(&name, AR_HEAD_NORM_PATH ".weight", m->arch.names->prefix, (long long)layer, below, (long long)h);
        const float *from = m->layers[layer].head_norm[which] + h * (size_t)m->arch.head_dim;
        s = name.failed ? ar__fail_memory(err, "norms") : ar__st_writer_add(w, name.data, AR_F32, 1, &m->arch.head_dim, from, err);
        ar__buf_release(&name);
    }
    return s;
}

static ar_status add_routing(ar_st_writer *w, const ar_model *m, int64_t layer, ar_error *err) {
    const float *own = m->layers[layer].routing;
    ar_buf norm = {0}, factors = {0};
    ar__buf_printf(&norm, AR_ROUTER_NORM_PATH, m->arch.names->prefix, (long long)layer);
    ar__buf_printf(&factors, AR_EXPERT_FACTORS_PATH, m->arch.names->prefix, (long long)layer);
    ar_status s = norm.failed || factors.failed ? ar__fail_memory(err, "router") : AR_OK;
    if (!s) s = ar__st_writer_add(w, norm.data, AR_F32, 1, &m->arch.dim, own, err);
    if (!s) s = ar__st_writer_add(w, factors.data, AR_F32, 1, &m->arch.experts, own + m->arch.dim, err);
    ar__buf_release(&norm);
    ar__buf_release(&factors);
    return s;
}

static ar_status add_mixer(ar_st_writer *w, const ar_model *m, int64_t layer, ar_error *err) {
    ar_status s = AR_OK;
    for (int i = 0; !s && i < ar__mixer_tensor_count(&m->arch, layer); i++) {
        ar_mixer_tensor t = ar__mixer_tensor(&m->arch, layer, i);
        const int64_t shape[] = {t.rows, 1, t.cols};
        ar_buf name = {0};
        ar__buf_printf(&name, AR_MIXER_PATH "%s%s", m->arch.names->prefix, (long long)layer, t.module, t.suffix);
        s = name.failed ? ar__fail_memory(err, t.module)
                        : ar__st_writer_add(w, name.data, AR_F32, i == AR_PART_KERNEL ? 3 : 1, shape, ar__model_mixer(m, layer, i), err);
        ar__buf_release(&name);
    }
    return s;
}

static ar_status save_weights(const ar_model *m, const char *path, ar_error *err) {
    ar_st_writer *w = NULL;
    void **rounded = ar__alloc(2 * m->module_count, sizeof *rounded);
    ar_status s = rounded ? ar__st_writer_new(&w, err) : ar__fail_memory(err, path);
    for (size_t i = 0; !s && i < m->module_count; i++) {
        const ar_module *mod = &m->modules[i];
        if (!mod->path) continue;
        ar_weight weight = ar__model_weight(m, i), bias = {m->owned[i].bias, AR_F32, (size_t)mod->n_out, 1};
        bool tied = i == ar__module_head(&m->arch) && m->tied;
        if (!tied) s = add_tensor(w, m, i, ".weight", &weight, &rounded[2 * i], err);
        if (!s && mod->has_bias) s = add_tensor(w, m, i, ".bias", &bias, &rounded[2 * i + 1], err);
    }
    for (int64_t l = 0; !s && m->arch.activation == AR_XIELU && l < m->arch.layers; l++) s = add_activation(w, m, l, err);
    for (int64_t l = 0; !s && m->arch.layer_scalar && l < m->arch.layers; l++) s = add_scalar(w, m, l, err);
    for (int64_t l = 0; !s && m->arch.sinks && l < m->arch.layers; l++) s = add_sinks(w, m, l, err);
    for (int64_t l = 0; !s && m->arch.experts_beside && l < m->arch.layers; l++) s = add_routing(w, m, l, err);
    for (int64_t l = 0; !s && l < m->arch.layers; l++) s = add_mixer(w, m, l, err);
    for (int64_t l = 0; !s && m->arch.head_norms && l < m->arch.layers; l++)
        if (!(s = add_head_norms(w, m, l, 0, err))) s = add_head_norms(w, m, l, 1, err);
    if (!s) s = ar__st_writer_meta(w, "format", "pt", err);
    if (!s) s = ar__st_writer_save(w, path, err);
    ar__st_writer_free(w);
    for (size_t i = 0; rounded && i < 2 * m->module_count; i++) free(rounded[i]);
    free(rounded);
    return s;
}

static ar_status copy_file(const char *from, const char *dir, const char *name, ar_error *err) {
    char *to = ar__path_join(dir, name);
    ar_status s = to ? ar__file_copy(from, to, err) : ar__fail_memory(err, from);
    free(to);
    return s;
}

/* config.json as it was, but for a tie that the written files do not keep. */
static ar_status save_config(const ar_model *m, const char *from, const char *dir, ar_error *err) {
    if (!m->own_head) return copy_file(from, dir, "config.json", err);
    char *to = ar__path_join(dir, "config.json");
    ar_buf text = {0};
    ar_status s = to ? ar__file_read(&text, from, 1u << 30, err) : ar__fail_memory(err, from);
    if (!s && !ar__json_edit(&text, NULL, "tie_word_embeddings", "false", true)) s = ar__fail_memory(err, from);
    if (!s) s = ar__file_write(to, text.data, text.len, err);
    ar__buf_release(&text);
    free(to);
    return s;
}

static ar_status copy_if_there(const char *from_dir, const char *dir, const char *name, ar_error *err) {
    char *from = ar__path_join(from_dir, name);
    ar_status s = !from ? ar__fail_memory(err, from_dir) : ar__path_exists(from) ? copy_file(from, dir, name, err) : AR_OK;
    free(from);
    return s;
}

ar_status ar__model_save(const ar_model *m, const char *dir, const char *tokenizer_dir, ar_error *err) {
    if (m->arch.wrapped)
        return ar__fail(err, AR_ERR_UNSUPPORTED,
                        "%s: a multimodal base, of which the language model alone is read, cannot be written as a whole; "
                        "train an adapter and merge it",
                        m->path);
    static const char *const carried[] = {"tokenizer.json",
                                          "tokenizer.model",
                                          "tokenizer_config.json",
                                          "special_tokens_map.json",
                                          "generation_config.json",
                                          "added_tokens.json",
                                          "vocab.json",
                                          "merges.txt",
                                          "chat_template.jinja"};
    char *weights = ar__path_join(dir, "model.safetensors");
    char *config = m->base ? ar__path_join(m->path, "config.json") : ar__strdup(m->path);
    ar_status s = weights && config ? save_weights(m, weights, err) : ar__fail_memory(err, dir);
    for (size_t i = 0; !s && tokenizer_dir && i < sizeof carried / sizeof *carried; i++)
        s = copy_if_there(tokenizer_dir, dir, carried[i], err);
    if (!s) s = save_config(m, config, dir, err);
    free(weights);
    free(config);
    return s;
}
