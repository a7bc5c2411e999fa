#include "check/random_base.h"

#include <stdlib.h>

#include "arch/arch.h"
#include "arch/names.h"
#include "base/fail.h"
#include "base/file.h"
#include "base/rng.h"
#include "format/json.h"
#include "format/safetensors.h"

enum { MAX_CONFIG_BYTES = 16 << 20, BLOCK = 1 << 14 };

/* What one tensor is filled with: `fixed`, or noise of its stream. */
typedef struct filling {
    ar_rng rng;
    size_t count;
    bool random;
    float fixed;
} filling;

/* 16 random bits to a number in ±0.0346 (deviation 0.02). */
static float noise(uint64_t bits) { return (float)(int16_t)(uint16_t)bits * (0.0346f / 32768.0f); }

static ar_status stream(void *user, ar_writer *w, ar_error *err) {
    const filling *f = user;
    const ar_dtype_info *bf16 = ar__dtype(AR_BF16);
    float wide[BLOCK];
    uint16_t block[BLOCK];
    ar_status s = AR_OK;
    for (size_t at = 0; at < f->count && !s; at += BLOCK) {
        size_t n = f->count - at < BLOCK ? f->count - at : BLOCK;
        for (size_t i = 0; i < n; i += 4) {
            uint64_t bits = f->random ? ar__rng_u64(&f->rng, (at + i) / 4) : 0;
            for (size_t j = i; j < n && j < i + 4; j++, bits >>= 16) wide[j] = f->random ? noise(bits) : f->fixed;
        }
        bf16->from_f32(block, wide, n);
        s = ar__writer_put(w, block, n * sizeof *block, err);
    }
    return s;
}

static ar_status add(ar_st_writer *w, filling *f, const ar_module *m, const char *suffix, uint64_t seed, ar_error *err) {
    ar_buf name = {0};
    bool bias = suffix[1] == 'b';
    int64_t shape[2] = {m->n_out, m->n_in};
    ar__buf_printf(&name, "%s%s", m->path, suffix);
    if (name.failed) return ar__fail_memory(err, m->path);
    *f = (filling){.rng = ar__rng_stream(seed, AR_RNG_INIT, ar__rng_hash(name.data), 0),
                   .random = !bias && m->kind != AR_MODULE_NORM,
                   .fixed = bias ? 0.0f : 1.0f,
                   .count = (size_t)m->n_out};
    ar_status s = AR_OK;
    if (!bias && !ar__mul(&f->count, (size_t)m->n_out, (size_t)m->n_in)) s = ar__fail_memory(err, name.data);
    if (!s) s = ar__st_writer_add_stream(w, name.data, AR_BF16, bias || m->kind == AR_MODULE_NORM ? 1 : 2, shape, stream, f, err);
    ar__buf_release(&name);
    return s;
}

/* The factor of a layer's output. */
static ar_status add_scalar(ar_st_writer *w, filling *f, const ar_arch *a, int64_t layer, ar_error *err) {
    ar_buf name = {0};
    ar__buf_printf(&name, AR_SCALAR_PATH, a->names->prefix, (long long)layer);
    *f = (filling){.fixed = 1.0f, .count = 1};
    ar_status s = name.failed ? ar__fail_memory(err, "layer_scalar")
                              : ar__st_writer_add_stream(w, name.data, AR_BF16, 1, (const int64_t[]){1}, stream, f, err);
    ar__buf_release(&name);
    return s;
}

static ar_status add_sinks(ar_st_writer *w, filling *f, const ar_arch *a, int64_t layer, ar_error *err) {
    ar_buf name = {0};
    ar__buf_printf(&name, AR_SINKS_PATH, a->names->prefix, (long long)layer);
    *f = (filling){.fixed = 0.0f, .count = (size_t)a->heads};
    ar_status s =
        name.failed ? ar__fail_memory(err, "sinks") : ar__st_writer_add_stream(w, name.data, AR_BF16, 1, &a->heads, stream, f, err);
    ar__buf_release(&name);
    return s;
}

/* f: one for each head. */
static ar_status add_head_norms(ar_st_writer *w, filling *f, const ar_arch *a, int64_t layer, ar_slot slot, int64_t heads, ar_error *err) {
    ar_status s = AR_OK;
    for (int64_t h = 0; !s && h < heads; h++) {
        ar_buf name = {0};
        ar__buf_printf(&name, AR_HEAD_NORM_PATH ".weight", a->names->prefix, (long long)layer, ar__names_slot(a->names, slot)->hf,
                       (long long)h);
        f[h] = (filling){.fixed = 1.0f, .count = (size_t)a->head_dim};
        s = name.failed ? ar__fail_memory(err, "norms")
                        : ar__st_writer_add_stream(w, name.data, AR_BF16, 1, &a->head_dim, stream, &f[h], err);
        ar__buf_release(&name);
    }
    return s;
}

/* Of experts beside a dense MLP: a norm's weight, a factor for each. */
static ar_status add_routing(ar_st_writer *w, filling *f, const ar_arch *a, int64_t layer, ar_error *err) {
    const char *const path[] = {AR_ROUTER_NORM_PATH, AR_EXPERT_FACTORS_PATH};
    const int64_t count[] = {a->dim, a->experts};
    ar_status s = AR_OK;
    for (int i = 0; !s && i < 2; i++) {
        ar_buf name = {0};
        ar__buf_printf(&name, path[i], a->names->prefix, (long long)layer);
        f[i] = (filling){.fixed = 1.0f, .count = (size_t)count[i]};
        s = name.failed ? ar__fail_memory(err, "router")
                        : ar__st_writer_add_stream(w, name.data, AR_BF16, 1, &count[i], stream, &f[i], err);
        ar__buf_release(&name);
    }
    return s;
}

/* The tensors that a layer's mixer has beside its modules: a mean of a few rows, slow forgetting, no bias. */
static ar_status add_mixer(ar_st_writer *w, filling *f, const ar_arch *a, int64_t layer, ar_error *err) {
    ar_status s = AR_OK;
    for (int i = 0; !s && i < ar__mixer_tensor_count(a, layer); i++) {
        ar_mixer_tensor t = ar__mixer_tensor(a, layer, i);
        bool rate = a->mixer[layer] == AR_MIX_DELTA && i == AR_PART_RATE;
        const int64_t shape[] = {t.rows, 1, t.cols};
        ar_buf name = {0};
        ar__buf_printf(&name, AR_MIXER_PATH "%s%s", a->names->prefix, (long long)layer, t.module, t.suffix);
        f[i] = (filling){.fixed = i == AR_PART_KERNEL ? 1.0f / (float)t.cols : rate ? -3.0f : 0.0f, .count = (size_t)(t.rows * t.cols)};
        s = name.failed ? ar__fail_memory(err, t.module)
                        : ar__st_writer_add_stream(w, name.data, AR_BF16, i == AR_PART_KERNEL ? 3 : 1, shape, stream, &f[i], err);
        ar__buf_release(&name);
    }
    return s;
}

static ar_status write_weights(const char *path, const ar_arch *arch, const ar_module *modules, uint64_t seed, ar_error *err) {
    size_t count = ar__module_count(arch), layers = (size_t)arch->layers;
    ar_st_writer *w = NULL;
    size_t normed = arch->head_norms ? (size_t)(arch->heads + arch->kv_heads) : 0; /* heads of a layer */
    filling *f = ar__alloc(2 * count + (3 + AR_MIXER_PARTS + normed) * layers, sizeof *f), *of_heads;
    ar_status s = f ? ar__st_writer_new(&w, err) : ar__fail_memory(err, path);
    for (size_t i = 0; !s && i < count; i++) {
        if (!modules[i].path || (i == ar__module_head(arch) && arch->tied)) continue;
        s = add(w, &f[2 * i], &modules[i], ".weight", seed, err);
        if (!s && modules[i].has_bias) s = add(w, &f[2 * i + 1], &modules[i], ".bias", seed, err);
    }
    for (size_t l = 0; !s && arch->layer_scalar && l < layers; l++) s = add_scalar(w, &f[2 * count + l], arch, (int64_t)l, err);
    for (size_t l = 0; !s && arch->sinks && l < layers; l++) s = add_sinks(w, &f[2 * count + l], arch, (int64_t)l, err);
    for (size_t l = 0; !s && arch->experts_beside && l < layers; l++)
        s = add_routing(w, &f[2 * count + (1 + AR_MIXER_PARTS) * layers + 2 * l], arch, (int64_t)l, err);
    for (size_t l = 0; !s && l < layers; l++) s = add_mixer(w, &f[2 * count + layers + AR_MIXER_PARTS * l], arch, (int64_t)l, err);
    of_heads = f ? f + 2 * count + (3 + AR_MIXER_PARTS) * layers : NULL;
    for (size_t l = 0; !s && normed && l < layers; l++, of_heads += normed)
        if (!(s = add_head_norms(w, of_heads, arch, (int64_t)l, AR_SLOT_Q_HEADS, arch->heads, err)))
            s = add_head_norms(w, of_heads + arch->heads, arch, (int64_t)l, AR_SLOT_K_HEADS, arch->kv_heads, err);
    if (!s) s = ar__st_writer_meta(w, "format", "pt", err);
    if (!s) s = ar__st_writer_save(w, path, err);
    ar__st_writer_free(w);
    free(f);
    return s;
}

/* Byte-level BPE without merges: a token is a letter, or a blank (which byte-level writes as U+0120). */
static ar_status write_tokenizer(const char *path, ar_error *err) {
    ar_buf b = {0};
    ar__buf_puts(&b, "{\"version\":\"1.0\",\"added_tokens\":[],\"normalizer\":null,\"pre_tokenizer\":{\"type\":\"ByteLevel\","
                     "\"add_prefix_space\":false,\"trim_offsets\":true,\"use_regex\":true},\"post_processor\":null,"
                     "\"decoder\":{\"type\":\"ByteLevel\"},\"model\":{\"type\":\"BPE\",\"merges\":[],\"vocab\":{\"\xc4\xa0\":0");
    for (int c = 'a'; c <= 'z'; c++) ar__buf_printf(&b, ",\"%c\":%d", c, c - 'a' + 1);
    ar__buf_puts(&b, "}}}");
    ar_status s = b.failed ? ar__fail_memory(err, path) : ar__file_write(path, b.data, b.len, err);
    ar__buf_release(&b);
    return s;
}

static ar_status copy_config(const char *to, const char *from, ar_error *err) {
    ar_buf b = {0};
    ar_status s = ar__file_read(&b, from, MAX_CONFIG_BYTES, err);
    if (!s) s = ar__file_write(to, b.data, b.len, err);
    ar__buf_release(&b);
    return s;
}

ar_status ar__random_base_write(const char *dir, const char *config_path, uint64_t seed, ar_error *err) {
    char *config_to = ar__path_join(dir, "config.json"), *weights = ar__path_join(dir, "model.safetensors");
    char *tokenizer = ar__path_join(dir, "tokenizer.json");
    json_t *config = NULL;
    ar_arch arch = {0};
    ar_module *modules = NULL;
    ar_status s = config_to && weights && tokenizer ? AR_OK : ar__fail_memory(err, dir);
    if (!s) s = ar__json_load_object(&config, config_path, MAX_CONFIG_BYTES, err);
    if (!s) s = ar__arch_read(&arch, config, config_path, NULL, err);
    if (!s) s = ar__arch_modules(&modules, &arch, err);
    if (!s) s = copy_config(config_to, config_path, err);
    if (!s) s = write_tokenizer(tokenizer, err);
    if (!s) s = write_weights(weights, &arch, modules, seed, err);
    if (modules) ar__modules_free(modules, ar__module_count(&arch));
    ar__arch_release(&arch);
    json_decref(config);
    free(config_to);
    free(weights);
    free(tokenizer);
    return s;
}
