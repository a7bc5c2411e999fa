/* A GGUF file as a Hugging Face folder: config.json as the reader forms it, the weights under their own names and in their own order of
 * rows, tokenizer.json of the vocabulary. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "arch/family.h"
#include "base/fail.h"
#include "base/mem.h"
#include "store/storing.h"
#include "text/gguf_vocab.h"

enum { MOST_SHARDS = 1000 };
#define SHARD 5000000000U /* bytes, as transformers' own default */

/* ---- which tensors -------------------------------------------------------------------------------------------------------------- */

/* Files keep the older name of a head that newer transformers calls otherwise: the last of its rows. */
static void print_name(ar_buf *out, const ar_storing *st, const ar_base_weight *w) {
    const ar_name_map *map = st->arch.names;
    const ar_name_row *own = ar__names_row(map, w->site);
    const char *name = w->site;
    for (const ar_name_row *row = own->kind == AR_MODULE_HEAD ? map->top : own; row->hf && own->kind == AR_MODULE_HEAD; row++)
        if (!strcmp(row->gguf, own->gguf)) name = row->hf;
    ar__base_name_in_files(out, map, name);
}

/* "model.layers.0.self_attn.q_proj" + ".weight" or ".bias" */
static ar_stored *add(ar_storing *st, const ar_base_weight *w, const char *ending, int dims, const int64_t *shape, ar_error *err) {
    ar_buf name = {0};
    print_name(&name, st, w);
    ar__buf_puts(&name, ending);
    ar_stored *t = name.failed ? NULL : ar__storing_add(st, name.data, st->type, dims, shape, err);
    if (name.failed) ar__fail_memory(err, w->tensor);
    ar__buf_release(&name);
    if (t) t->w = w;
    return t;
}

static ar_status add_weight(ar_storing *st, const ar_base_weight *w, const ar_name_row *row, ar_error *err) {
    bool turned = row->is_conv1d && w->dims == 2;
    bool mix = row->slot == AR_SLOT_SHARED_MIX; /* a vector in the file, a matrix of one row here */
    bool kernel = row->slot == AR_SLOT_CONV_KERNEL;
    int64_t shape[3] = {mix ? 1 : turned ? w->n_in : w->n_out, mix ? w->n_out * w->n_in : turned ? w->n_out : w->n_in};
    if (kernel) { /* [width, 1, taps] */
        shape[1] = 1;
        shape[2] = w->n_in;
    }
    int dims = kernel ? 3 : w->dims < 2 && !mix ? 1 : 2;
    bool whole = row->slot >= AR_SLOT_SCALAR && !kernel; /* the row is the tensor's whole name */
    ar_stored *t = add(st, w, whole ? "" : ".weight", dims, shape, err);
    if (!t) return AR_ERR_VALUE;
    t->is_turned = turned;
    t->is_matrix = w->dims == 2 && !kernel;
    t->weights = (size_t)w->n_out * (size_t)w->n_in;
    t->shown = ar__dtype(st->type)->name;
    if (!w->bias) return AR_OK;
    if (!(t = add(st, w, ".bias", 1, &w->n_out, err))) return AR_ERR_VALUE;
    t->is_bias = true;
    return AR_OK;
}

/* Factors of RoPE stand in config.json. */
static bool is_in_config(const ar_base_weight *w) {
    return !strcmp(w->tensor, "rope_freqs.weight") || !strncmp(w->tensor, "rope_factors_", 13);
}

static ar_status add_number(ar_storing *st, int64_t layer, int number, const float *value, ar_error *err) {
    ar_buf name = {0};
    const int64_t one[] = {1};
    ar__buf_printf(&name, AR_XIELU_PATH "%s", st->info->names->prefix, (long long)layer, ar__xielu_names[number]);
    ar_stored *t =
        name.failed ? NULL : ar__storing_add(st, name.data, st->type, number < 2 ? 1 : 0, one, err); /* the last two are scalars */
    ar_status s = t ? AR_OK : name.failed ? ar__fail_memory(err, "activation") : AR_ERR_VALUE;
    if (t) t->values = value;
    ar__buf_release(&name);
    return s;
}

/* xielu's numbers, which the file has in lists over the layers. */
static ar_status add_activation(ar_storing *st, ar_error *err) {
    const ar_gguf *g = ar__tensors_gguf(ar__base_files(st->base));
    size_t layers = (size_t)st->arch.layers;
    if (st->arch.activation != AR_XIELU) return AR_OK;
    float *x = st->values[0] = ar__alloc(AR_XIELU_NUMBERS * layers, sizeof *x);
    ar_status s = x ? AR_OK : ar__fail_memory(err, "activation");
    for (int i = 0; !s && i < AR_XIELU_NUMBERS; i++, x += layers) {
        char key[32];
        snprintf(key, sizeof key, "xielu%s", ar__xielu_names[i]);
        const ar_gguf_kv *kv = ar__gguf_kv_find(g, key);
        double number = 0;
        if (!kv || kv->count != layers)
            return ar__fail(err, AR_ERR_FORMAT, "%s: '%s': wanted a number for each of %zu layers", st->o->model, key, layers);
        for (size_t l = 0; !s && l < layers; l++) {
            if (!ar__gguf_double_at(&number, kv, l)) return ar__fail(err, AR_ERR_FORMAT, "%s: '%s': wanted numbers", st->o->model, key);
            x[l] = (float)number;
            s = add_number(st, (int64_t)l, i, &x[l], err);
        }
    }
    return s;
}

/* Norms of single heads, a tensor each, of the matrix that the file has; values: where its numbers go. */
static ar_status add_head_norms(ar_storing *st, int64_t layer, ar_slot slot, int64_t heads, float *values, ar_error *err) {
    int64_t d = st->arch.head_dim;
    ar_name own = {ar__names_slot(st->arch.names, slot), layer};
    ar_buf name = {0};
    ar__names_print(&name, st->arch.names, &own);
    const ar_base_weight *w = name.failed ? NULL : ar__base_find(st->base, name.data);
    ar_status s = name.failed ? ar__fail_memory(err, "norms") : AR_OK;
    if (!s && (!w || w->n_out != heads || w->n_in != d))
        s = ar__fail(err, AR_ERR_MISMATCH, "%s: no tensor '%s' of %lld times %lld numbers, which its key-values want", st->o->model,
                     name.data, (long long)heads, (long long)d);
    if (!s) s = ar__base_read_rows(values, st->base, w, 0, heads, err);
    for (int64_t h = 0; !s && h < heads; h++) {
        ar__buf_clear(&name);
        ar__buf_printf(&name, AR_HEAD_NORM_PATH ".weight", st->arch.names->prefix, (long long)layer, own.row->hf, (long long)h);
        ar_stored *t = name.failed ? NULL : ar__storing_add(st, name.data, st->type, 1, &d, err);
        s = t ? AR_OK : name.failed ? ar__fail_memory(err, "norms") : AR_ERR_VALUE;
        if (t) t->values = values + h * d;
    }
    ar__buf_release(&name);
    return s;
}

static ar_status add_all_head_norms(ar_storing *st, ar_error *err) {
    const ar_arch *a = &st->arch;
    if (!a->head_norms) return AR_OK;
    size_t of_layer = (size_t)((a->heads + a->kv_heads) * a->head_dim);
    float *values = st->values[1] = ar__alloc(of_layer * (size_t)a->layers, sizeof *values);
    ar_status s = values ? AR_OK : ar__fail_memory(err, "norms");
    for (int64_t l = 0; !s && l < a->layers; l++, values += of_layer)
        if (!(s = add_head_norms(st, l, AR_SLOT_Q_HEADS, a->heads, values, err)))
            s = add_head_norms(st, l, AR_SLOT_K_HEADS, a->kv_heads, values + a->heads * a->head_dim, err);
    return s;
}

static ar_status share_out(ar_storing *st, ar_error *err) {
    uint64_t in_shard = 0;
    int shard = 0;
    for (size_t i = 0; i < st->count; i++) {
        ar_stored *t = &st->list[i];
        if (in_shard && in_shard + t->bytes > SHARD) {
            shard++;
            in_shard = 0;
        }
        in_shard += t->bytes;
        t->shard = shard;
        st->total += t->bytes;
    }
    return shard < MOST_SHARDS ? AR_OK : ar__fail(err, AR_ERR_VALUE, "%s: more than %d shards", st->o->model, MOST_SHARDS);
}

ar_status ar__plan_folder(ar_storing *st, ar_error *err) {
    bool *of_experts = ar__alloc((size_t)ar__base_count(st->base) + 1, sizeof *of_experts);
    ar_status s = of_experts ? add_activation(st, err) : ar__fail_memory(err, st->o->model);
    if (!s) s = ar__plan_experts(of_experts, st, true, err);
    if (!s) s = add_all_head_norms(st, err);
    for (int i = 0; !s && i < ar__base_count(st->base); i++) {
        const ar_base_weight *w = ar__base_at(st->base, i);
        const ar_name_row *row = ar__names_row(st->arch.names, w->site);
        if (of_experts[i] || is_in_config(w) || (w->kind == AR_MODULE_HEAD && st->info->is_tied)) continue;
        if (row && (row->slot == AR_SLOT_Q_HEADS || row->slot == AR_SLOT_K_HEADS)) continue; /* add_all_head_norms */
        if (!row || !strcmp(w->site, w->tensor) || w->dims > 2)
            s = ar__fail(err, AR_ERR_UNSUPPORTED,
                         "%s: tensor '%s' is not one that the family %s has, and leaving it out would change the model", st->o->model,
                         w->tensor, st->arch.family);
        else
            s = add_weight(st, w, row, err);
    }
    free(of_experts);
    return s ? s : share_out(st, err);
}

/* ---- its files ------------------------------------------------------------------------------------------------------------------- */

/* What transformers would fill in otherwise: a padding token of its own, and windows by a pattern. */
static bool settle(json_t *config, const ar_storing *st) {
    int64_t pad = -1;
    bool ok = !ar__gguf_get_int(&pad, ar__tensors_gguf(ar__base_files(st->base)), "tokenizer.ggml.padding_token_id", NULL) &&
              !json_object_set_new(config, "pad_token_id", pad >= 0 && pad < st->arch.vocab ? json_integer(pad) : json_null());
    if (!ok || st->arch.window || ar__family_find(st->arch.family)->window != AR_WINDOW_PATTERN) return ok;
    json_t *types = json_array();
    for (int64_t l = 0; l < st->arch.layers; l++) json_array_append_new(types, json_string("full_attention"));
    return !json_object_set_new(config, "layer_types", types);
}

static ar_status put_config(ar_outdir *d, const ar_storing *st, ar_error *err) {
    const char *dtype = st->type == AR_F32 ? "float32" : st->type == AR_F16 ? "float16" : "bfloat16";
    json_t *config = json_copy(st->config);
    bool ok = config && !json_object_set_new(config, "torch_dtype", json_string(dtype)) && settle(config, st);
    char *text = ok ? json_dumps(config, JSON_INDENT(2) | JSON_SORT_KEYS) : NULL;
    ar_status s = text ? ar__outdir_put(d, "config.json", text, strlen(text), err) : ar__fail_memory(err, st->o->model);
    free(text);
    json_decref(config);
    return s;
}

static ar_status put_tokenizer(ar_outdir *d, const ar_storing *st, ar_error *err) {
    char *json, *config;
    ar_status s = ar__gguf_tokenizer_json(&json, &config, st->o->model, err);
    if (!s) s = ar__outdir_put(d, "tokenizer.json", json, strlen(json), err);
    if (!s) s = ar__outdir_put(d, "tokenizer_config.json", config, strlen(config), err);
    free(json);
    free(config);
    return s ? s : ar__tokenizers_agree(st->o->model, d->temporary, err);
}

ar_status ar__write_folder(ar_storing *st, ar_error *err) {
    ar_outdir d;
    ar_status s = ar__outdir_begin(&d, st->o->out, &st->rt->log, err);
    if (!s) s = put_config(&d, st, err);
    if (!s) s = put_tokenizer(&d, st, err);
    if (!s) s = ar__write_shards(&d, st, err);
    if (!s) s = ar__outdir_mark(&d, st->command, json_pack("{s:s, s:s}", "model", st->o->model, "dtype", ar__dtype(st->type)->name), err);
    if (!s) s = ar__outdir_install(&d, err);
    ar__outdir_end(&d);
    return s;
}
