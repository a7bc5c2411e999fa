/* A folder in NF4, as transformers saves a model that bitsandbytes quantised: every linear of the layers as
 *
 *     X.weight                                  U8 [n / 2, 1]      two codes a byte, the first in the high nibble, rows one after another
 *     X.weight.absmax                           F32 [n / 64]       or, its scales in 8 bits, U8 with
 *     X.weight.nested_absmax, .nested_quant_map F32 [n / 64 / 256], F32 [256]
 *     X.weight.quant_map                        F32 [16]
 *     X.weight.quant_state.bitsandbytes__nf4    U8                 JSON: shape, dtype, block sizes, offset
 *
 * and everything else byte for byte.  Matrices are formed first, one at a time, into the spool: a safetensors file lays scales before
 * codes. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/mem.h"
#include "kern/pack.h"
#include "store/json_edit.h"
#include "store/storing.h"
#include "weights/quantise.h"

enum { BLOCK = 64, BYTES = 36, SCALE = 4, CODES = 32, NESTED = 256, TABLE = 16, CONFIG_MAX = 64 << 20 };

/* ---- one matrix ----------------------------------------------------------------------------------------------------------- */

/* As one row: blocks run over the ends of rows. */
static ar_status form(char *blocks, double *noise, ar_dtype *as, const ar_storing *st, const ar_base_weight *w, bool twice, ar_error *err) {
    const ar_quantisation q = {.type = AR_NF4};
    size_t n = (size_t)w->n_out * (size_t)w->n_in;
    float *x = ar__alloc(n, sizeof *x);
    *as = ar__quantisation_type(&q, w->type);
    ar_status s = x ? ar__base_read_as(x, AR_F32, st->base, w, err) : ar__fail_memory(err, w->tensor);
    for (size_t i = 0; !s && i < n; i++)
        if (!isfinite(x[i]))
            s = ar__fail(err, AR_ERR_NUMERIC, "%s: tensor '%s': row %zu holds a NaN or an infinity: the model is damaged", st->o->model,
                         w->tensor, i / (size_t)w->n_in);
    if (!s) s = ar__quantise(st->rt, blocks, noise, *as, twice, x, AR_F32, n / BLOCK, BLOCK, err);
    free(x);
    return s;
}

/* X.weight + ending, its bytes in the spool. */
static ar_stored *add_part(ar_storing *st, const ar_base_weight *w, const char *ending, ar_dtype type, int dims, const int64_t *shape,
                           const void *bytes, ar_error *err) {
    ar_buf name = {0};
    ar__buf_printf(&name, "%s%s", w->tensor, ending);
    ar_stored *t = name.failed ? NULL : ar__storing_add(st, name.data, type, dims, shape, err);
    if (name.failed) ar__fail_memory(err, w->tensor);
    ar__buf_release(&name);
    if (t) t->shard = w->file;
    return t && !ar__storing_spool(t, bytes, t->bytes, err) ? t : NULL;
}

static bool add_numbers(ar_storing *st, const ar_base_weight *w, const char *ending, const float *x, size_t count, ar_error *err) {
    return add_part(st, w, ending, AR_F32, 1, (const int64_t[]){(int64_t)count}, x, err) != NULL;
}

static bool add_state(ar_storing *st, const ar_base_weight *w, ar_dtype as, const ar_nf4_scales *twice, ar_error *err) {
    const char *dtype = as == AR_NF4_BF16 ? "bfloat16" : as == AR_NF4_F16 ? "float16" : "float32";
    json_t *state = json_pack("{s:s, s:i, s:s, s:[I, I]}", "quant_type", "nf4", "blocksize", BLOCK, "dtype", dtype, "shape",
                              (json_int_t)w->n_out, (json_int_t)w->n_in);
    if (state && twice)
        json_object_update_new(state, json_pack("{s:i, s:s, s:f}", "nested_blocksize", NESTED, "nested_dtype", "float32", "nested_offset",
                                                (double)twice->mean));
    char *text = state ? json_dumps(state, 0) : NULL;
    bool ok = text && add_part(st, w, ".quant_state.bitsandbytes__nf4", AR_U8, 1, (const int64_t[]){(int64_t)strlen(text)}, text, err);
    if (!text) ar__fail_memory(err, w->tensor);
    free(text);
    json_decref(state);
    return ok;
}

static bool add_scales(ar_storing *st, const ar_base_weight *w, ar_dtype as, const float *scale, const ar_nf4_scales *twice, size_t count,
                       ar_error *err) {
    char block[BYTES] = {0};
    float one = 1, table[BLOCK];
    memcpy(block, &one, sizeof one);
    for (int i = 0; i < TABLE; i++) block[SCALE + i / 2] = (char)((unsigned char)block[SCALE + i / 2] | i << (i % 2 ? 0 : 4));
    ar__dtype(AR_NF4)->to_f32(table, block, BLOCK);
    bool ok = add_numbers(st, w, ".quant_map", table, TABLE, err) && add_state(st, w, as, twice, err);
    if (!twice) return ok && add_numbers(st, w, ".absmax", scale, count, err);
    return ok && add_part(st, w, ".absmax", AR_U8, 1, (const int64_t[]){(int64_t)count}, twice->code, err) &&
           add_numbers(st, w, ".nested_absmax", twice->nested, twice->nested_count, err) &&
           add_numbers(st, w, ".nested_quant_map", twice->map, NESTED, err);
}

/* Blocks apart into codes and scales, and these into the spool. */
static ar_status add_blocks(ar_storing *st, const ar_base_weight *w, ar_dtype as, double noise, const char *blocks,
                            const ar_nf4_scales *twice, size_t count, ar_error *err) {
    char *codes = ar__alloc(count, CODES);
    float *scale = ar__alloc(count, sizeof *scale);
    ar_status s = codes && scale ? AR_OK : ar__fail_memory(err, w->tensor);
    for (size_t i = 0; !s && i < count; i++) {
        memcpy(&scale[i], blocks + i * BYTES, SCALE);
        memcpy(codes + i * CODES, blocks + i * BYTES + SCALE, CODES);
    }
    size_t at = st->count;
    if (!s && !add_part(st, w, "", AR_U8, 2, (const int64_t[]){(int64_t)(count * CODES), 1}, codes, err)) s = AR_ERR_IO;
    if (!s && !add_scales(st, w, as, scale, twice, count, err)) s = AR_ERR_IO;
    if (!s) {
        double norm2 = 0;
        ar_stored *t = &st->list[at];
        for (size_t i = at + 1; i < st->count; i++) t->beside += st->list[i].bytes;
        t->w = w;
        t->is_matrix = true;
        t->weights = count * BLOCK;
        t->shown = st->twice ? "nf4-dq" : "nf4";
        s = ar__base_norm2(&norm2, st->base, w, err);
        t->whole = norm2;
        t->lost = noise * noise * norm2;
    }
    free(codes);
    free(scale);
    return s;
}

/* With scales in 8 bits it is formed twice: once for their codes, which are of the scales as they were, once for the noise of what these
 * give back. */
static ar_status add_matrix(ar_storing *st, const ar_base_weight *w, ar_error *err) {
    size_t count = (size_t)w->n_out * (size_t)w->n_in / BLOCK;
    char *blocks = ar__alloc(count, BYTES);
    ar_nf4_scales twice = {0};
    ar_dtype as;
    double noise = 0;
    ar_status s = blocks ? form(blocks, &noise, &as, st, w, false, err) : ar__fail_memory(err, w->tensor);
    if (!s && st->twice && !ar__nf4_scales_twice(&twice, blocks, count)) s = ar__fail_memory(err, w->tensor);
    if (!s && st->twice) s = form(blocks, &noise, &as, st, w, true, err);
    if (!s) s = add_blocks(st, w, as, noise, blocks, st->twice ? &twice : NULL, count, err);
    ar__nf4_scales_release(&twice);
    free(blocks);
    return s ? s : ar__storing_tell(st, 0, err);
}

/* ---- the folder ------------------------------------------------------------------------------------------------------------- */

/* What transformers makes a Linear4bit of: the linears, but for the head. */
static bool is_quantised(const ar_base_weight *w) {
    return w->kind == AR_MODULE_LINEAR && w->dims == 2 && strcmp(w->site, w->tensor) != 0 && !w->packed;
}

/* A matrix of no whole number of blocks stays as it is; transformers has to be told. */
static bool fits(const ar_base_weight *w) { return (size_t)w->n_out * (size_t)w->n_in % BLOCK == 0; }

static ar_status carry(ar_storing *st, const ar_tensor *raw, const ar_base_weight *w, ar_error *err) {
    ar_stored *t = ar__storing_add(st, raw->name, AR_U8, 1, (const int64_t[]){(int64_t)raw->bytes}, err);
    if (!t) return AR_ERR_VALUE;
    t->raw = raw;
    t->is_copied = true;
    t->shard = raw->file;
    if (!w || w->dims != 2) return AR_OK;
    t->is_matrix = w->kind != AR_MODULE_NORM;
    t->is_other = w->kind == AR_MODULE_LINEAR;
    t->weights = raw->count;
    t->shown = ar__dtype(raw->dtype)->name;
    return AR_OK;
}

static const ar_base_weight *find_weight(const ar_storing *st, const ar_tensor *t) {
    for (int i = 0; i < ar__base_count(st->base); i++)
        if (!strcmp(ar__base_at(st->base, i)->tensor, t->name)) return ar__base_at(st->base, i);
    return NULL;
}

ar_status ar__plan_nf4(ar_storing *st, ar_error *err) {
    const ar_tensors *files = ar__base_files(st->base);
    if (!st->info->names)
        return ar__fail(err, AR_ERR_UNSUPPORTED, "%s: model_type '%s', of which is not known which tensors are linears", st->o->model,
                        st->info->model_type ? st->info->model_type : "none");
    if (st->info->quantised)
        return ar__fail(err, AR_ERR_UNSUPPORTED, "%s: is quantised already (%s): quantise the model that it was made from", st->o->model,
                        st->info->quantised);
    ar_status s = AR_OK;
    for (int i = 0; !s && i < ar__tensors_count(files); i++) {
        const ar_tensor *raw = ar__tensors_at(files, i);
        const ar_base_weight *w = find_weight(st, raw);
        if (w && w->is_conv1d)
            return ar__fail(err, AR_ERR_UNSUPPORTED, "%s: tensor '%s' is a Conv1D's, which is not written in NF4: wanted a GGUF type",
                            st->o->model, raw->name);
        s = w && is_quantised(w) && fits(w) ? add_matrix(st, w, err) : carry(st, raw, w, err);
    }
    for (size_t i = 0; !s && i < st->count; i++) st->total += st->list[i].bytes;
    return s;
}

/* quantization_config as transformers 5 writes it, and what it is to leave alone. */
static char *quantisation(const ar_storing *st) {
    json_t *skip = NULL;
    for (size_t i = 0; i < st->count; i++) {
        const ar_stored *t = &st->list[i];
        size_t n = strlen(t->name);
        if (!t->is_copied || !t->is_other || n < 7) continue;
        if (!skip) skip = json_pack("[s]", "lm_head");
        json_array_append_new(skip, json_stringn(t->name, n - strlen(".weight")));
    }
    json_t *q = json_pack("{s:b, s:b, s:s, s:s, s:s, s:b, s:b, s:b, s:o, s:f, s:b, s:b, s:s}", "_load_in_4bit", 1, "_load_in_8bit", 0,
                          "bnb_4bit_compute_dtype", "float32", "bnb_4bit_quant_storage", "uint8", "bnb_4bit_quant_type", "nf4",
                          "bnb_4bit_use_double_quant", (int)st->twice, "llm_int8_enable_fp32_cpu_offload", 0, "llm_int8_has_fp16_weight", 0,
                          "llm_int8_skip_modules", skip ? skip : json_null(), "llm_int8_threshold", 6.0, "load_in_4bit", 1, "load_in_8bit",
                          0, "quant_method", "bitsandbytes");
    char *text = q ? json_dumps(q, JSON_COMPACT) : NULL;
    json_decref(q);
    return text;
}

static ar_status put_config(ar_outdir *d, const ar_storing *st, ar_error *err) {
    char *path = ar__path_join(st->o->model, "config.json"), *q = quantisation(st);
    ar_buf text = {0};
    ar_status s = path && q ? ar__file_read(&text, path, CONFIG_MAX, err) : ar__fail_memory(err, st->o->model);
    if (!s && !ar__json_edit(&text, NULL, "quantization_config", q, true)) s = ar__fail_memory(err, st->o->model);
    if (!s) s = ar__outdir_put(d, "config.json", text.data, text.len, err);
    ar__buf_release(&text);
    free(path);
    free(q);
    return s;
}

static bool goes_along(const void *user, const char *name) {
    (void)user;
    return ar__outdir_is_carried(name);
}

ar_status ar__write_nf4(ar_storing *st, ar_error *err) {
    ar_outdir d;
    ar_status s = ar__outdir_begin(&d, st->o->out, &st->rt->log, err);
    if (!s) s = put_config(&d, st, err);
    if (!s) s = ar__outdir_carry(&d, st->o->model, goes_along, NULL, err);
    if (!s) s = ar__write_shards(&d, st, err);
    if (!s) s = ar__outdir_mark(&d, st->command, json_pack("{s:s, s:s}", "model", st->o->model, "type", st->o->type), err);
    if (!s) s = ar__outdir_install(&d, err);
    ar__outdir_end(&d);
    return s;
}
