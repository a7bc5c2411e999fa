#include "arch/gguf_write.h"

#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "arch/family.h"
#include "arch/gguf_layers.h"
#include "arch/gguf_table.h"
#include "arch/names.h"
#include "base/fail.h"
#include "base/mem.h"
#include "format/json.h"

typedef struct writer {
    ar_gguf_writer *w;
    const ar_arch *a;
    const ar_family *family;
    ar_config c; /* what config.json says, with the record's values where the file is silent */
    ar_buf key;
    ar_error *err;
} writer;

/* "llama.context_length" */
static const char *key_of(writer *r, const char *key) {
    ar__buf_clear(&r->key);
    ar__buf_printf(&r->key, "%s.%s", r->a->names->gguf, key);
    return r->key.failed ? "" : r->key.data;
}

static ar_status put_whole(writer *r, const char *key, int64_t value) {
    if (value < 0 || value > UINT32_MAX)
        return ar__fail(r->err, AR_ERR_VALUE, "'%s': %lld does not fit a GGUF file", key, (long long)value);
    return ar__gguf_writer_set_u32(r->w, key_of(r, key), (uint32_t)value, r->err);
}

static ar_status put_real(writer *r, const char *key, double value) {
    return ar__gguf_writer_set_f32(r->w, key_of(r, key), (float)value, r->err);
}

static const ar_field *field_of(const writer *r, const char *name) {
    for (size_t g = 0; g < AR_FIELD_GROUPS && r->family->fields.group[g]; g++)
        for (const ar_field *f = r->family->fields.group[g]; f->key; f++)
            if (!strcmp(f->key, name)) return f;
    return NULL;
}

/* theta stands in blocks, so that its field says not where. */
static int place_of(const ar_field *f) { return !strcmp(f->key, "rope_theta") ? (int)offsetof(ar_config, theta) : f->at; }

static ar_status put_field(writer *r, const ar_gguf_field *row) {
    const ar_field *f = NULL;
    for (int i = 0; !f && i < AR_GGUF_FIELDS && row->field[i]; i++) f = field_of(r, row->field[i]);
    if (!f || place_of(f) < 0 || ar__gguf_is_of_other_norms(row->key, r->family->layer_norm)) return AR_OK;
    const char *at = (const char *)&r->c + place_of(f);
    int64_t whole;
    double real;
    switch (f->type) {
    case AR_FIELD_WHOLE: memcpy(&whole, at, sizeof whole); return whole ? put_whole(r, row->key, whole) : AR_OK;
    case AR_FIELD_REAL: memcpy(&real, at, sizeof real); return real != 0 ? put_real(r, row->key, real) : AR_OK;
    case AR_FIELD_BOOL: return ar__gguf_writer_set_bool(r->w, key_of(r, row->key), *at != 0, r->err);
    default: return AR_OK;
    }
}

static ar_status put_windows(writer *r) {
    const ar_arch *a = r->a;
    ar_gguf_window says = r->family->gguf_window;
    if (says == AR_GGUF_NO_WINDOW) return AR_OK;
    ar_status s = a->window || says == AR_GGUF_WINDOW_OR_0 ? put_whole(r, "attention.sliding_window", a->window) : AR_OK;
    if (s || !a->window || says != AR_GGUF_WINDOW_LISTED) return s;
    return ar__gguf_writer_set_array(r->w, key_of(r, "attention.sliding_window_pattern"), AR_GGUF_BOOL, (size_t)a->layers, a->windowed,
                                     r->err);
}

static ar_status put_yarn(writer *r, const ar_rope_config *rope) {
    ar_status s = put_whole(r, "rope.scaling.original_context_length", (int64_t)rope->original_max);
    if (!s) s = put_real(r, "rope.scaling.yarn_beta_fast", rope->beta_fast);
    if (!s) s = put_real(r, "rope.scaling.yarn_beta_slow", rope->beta_slow);
    if (!s && rope->mscale_all_dim != 0) s = put_real(r, "rope.scaling.yarn_log_multiplier", rope->mscale_all_dim);
    if (!s && rope->query_beta != 0) s = put_real(r, "attention.temperature_scale", rope->query_beta);
    return s;
}

/* The factor on cos and sin of longrope. */
static double attention_factor(const ar_arch *a) {
    float *inv = ar__alloc((size_t)a->rotary_dim / 2, sizeof *inv), scale = 1;
    if (inv) ar__rope_frequencies(inv, &scale, a, 0, 1);
    free(inv);
    return (double)scale;
}

static ar_status put_rope(writer *r) {
    const ar_rope_config *rope = &r->a->rope[0];
    const char *type = rope->kind == AR_ROPE_LINEAR ? "linear" : rope->kind == AR_ROPE_YARN ? "yarn" : NULL;
    ar_status s = r->a->learned ? AR_OK : put_whole(r, "rope.dimension_count", r->a->rotary_dim);
    if (!s && type) s = ar__gguf_writer_set_string(r->w, key_of(r, "rope.scaling.type"), type, r->err);
    if (!s && type) s = put_real(r, "rope.scaling.factor", rope->factor);
    if (!s && rope->kind == AR_ROPE_YARN) s = put_yarn(r, rope);
    double original = rope->kind == AR_ROPE_LONG ? rope->original_max : r->c.original_max;
    if (!s && (r->family->long_rope || rope->kind == AR_ROPE_LONG))
        s = put_whole(r, "rope.scaling.original_context_length", (int64_t)original);
    if (!s && rope->kind == AR_ROPE_LONG) s = put_real(r, "rope.scaling.attn_factor", attention_factor(r->a));
    return s;
}

/* How the file says where layers have attention; what differs from that is found when it is read back. */
static int64_t attention_every(const ar_arch *a) {
    for (int64_t l = 0; l < a->layers; l++)
        if (a->mixer[l] == AR_MIX_ATTENTION) return l + 1;
    return a->layers + 1;
}

/* llama.cpp turns by three positions, which are one in text, and wants to know how heads are shared out to them. */
static ar_status put_delta(writer *r, const json_t *text) {
    static const int32_t usual[] = {11, 11, 10, 0};
    const json_t *list = json_object_get(json_object_get(text, "rope_parameters"), "mrope_section");
    int32_t sections[4] = {0};
    for (size_t i = 0; i < 4; i++) {
        int64_t n = 0;
        if (i < json_array_size(list) && (!ar__json_as_int(&n, json_array_get(list, i)) || n < 0 || n > INT32_MAX))
            return ar__fail(r->err, AR_ERR_VALUE, "mrope_section[%zu] is no whole number from 0", i);
        sections[i] = list ? (int32_t)n : usual[i];
    }
    ar_status s = put_whole(r, "ssm.inner_size", ar__delta_values(&r->a->delta));
    if (!s) s = put_whole(r, "full_attention_interval", attention_every(r->a));
    return s ? s : ar__gguf_writer_set_array(r->w, key_of(r, "rope.dimension_sections"), AR_GGUF_I32, 4, sections, r->err);
}

/* What the file leaves out has a value all the same. */
static void settle(writer *r) {
    const ar_arch *a = r->a;
    const ar_rope_config *rope = &a->rope[0];
    double dim = (double)a->rotary_dim;
    r->c.kv_heads = a->kv_heads;
    r->c.head_dim = a->head_dim;
    if (!a->experts || ar__arch_has(a, AR_SLOT_UP)) r->c.ff = a->ff; /* else nothing reads it */
    r->c.window = 0;                                                 /* put_windows */
    r->c.parallel = a->parallel;
    r->c.attention_every = 0;                                               /* put_delta */
    if (!a->experts) r->c.experts = r->c.experts_used = r->c.expert_ff = 0; /* gemma 4 may name them all the same */
    r->c.theta = rope->theta;
    if (rope->alpha != 0.0) r->c.theta *= pow(rope->alpha, dim / (dim - 2.0)); /* as ar__rope_frequencies */
    if (a->ropes > 1) r->c.local_theta = a->rope[1].theta;
}

static ar_status put_all(writer *r, const json_t *text) {
    ar_status s = ar__gguf_writer_set_string(r->w, "general.architecture", r->a->names->gguf, r->err);
    for (const ar_gguf_field *f = ar__gguf_fields; !s && f->key; f++) s = put_field(r, f);
    if (!s && field_of(r, "head_dim")) s = put_whole(r, "attention.value_length", r->a->head_dim);
    if (!s) s = put_whole(r, "vocab_size", r->a->vocab);
    if (!s && r->a->ropes > 1 && !field_of(r, "rope_local_base_freq")) s = put_real(r, "rope.freq_base_swa", r->a->rope[1].theta);
    if (!s && r->a->names->turned_stacks) s = put_whole(r, "expert_feed_forward_length", r->a->expert_ff);
    if (!s) s = put_windows(r);
    if (!s) s = put_rope(r);
    if (!s && r->family->delta) s = put_delta(r, text);
    if (!s && r->family->short_conv) s = ar__gguf_write_mixers(r->w, r->a, r->err);
    return s || !ar__gguf_is_layered(r->family) ? s : ar__gguf_write_layers(r->w, r->a, r->err);
}

ar_status ar__gguf_put_arch(ar_gguf_writer *w, const ar_arch *a, const json_t *config, const char *place, ar_error *err) {
    writer r = {.w = w, .a = a, .family = ar__family_find(a->family), .err = err};
    const json_t *text = a->wrapped ? json_object_get(config, "text_config") : config;
    r.c = r.family->initial;
    ar_status s = ar__fields_read(&r.c, &r.family->fields, text, a->family, place, err);
    settle(&r);
    if (!s) s = put_all(&r, text);
    if (!s && r.key.failed) s = ar__fail_memory(err, place);
    ar__buf_release(&r.key);
    return s;
}

static ar_status add_factors(ar_gguf_factors *out, const char *name, int64_t count, ar_error *err) {
    *out = (ar_gguf_factors){name, ar__alloc((size_t)count, sizeof(float)), count};
    return out->value ? AR_OK : ar__fail_memory(err, name);
}

/* Llama 3's: what scaling divides each frequency by. */
static ar_status llama3_factors(ar_gguf_factors *out, const ar_arch *a, ar_error *err) {
    ar_arch unscaled = *a;
    float scale, *plain = ar__alloc((size_t)a->rotary_dim / 2, sizeof *plain);
    unscaled.rope[0].kind = AR_ROPE_DEFAULT;
    ar_status s = plain ? add_factors(out, "rope_freqs.weight", a->rotary_dim / 2, err) : ar__fail_memory(err, "rope");
    if (!s) {
        ar__rope_frequencies(plain, &scale, &unscaled, 0, 1);
        ar__rope_frequencies(out->value, &scale, a, 0, 1);
        for (int64_t i = 0; i < out->count; i++) out->value[i] = plain[i] / out->value[i];
    }
    free(plain);
    return s;
}

ar_status ar__gguf_rope_factors(ar_gguf_factors out[AR_GGUF_FACTORS], int *count, const ar_arch *a, ar_error *err) {
    static const char *const names[] = {"rope_factors_long.weight", "rope_factors_short.weight"};
    const ar_rope_config *rope = &a->rope[0];
    const double *const lists[] = {rope->long_factor, rope->short_factor};
    ar_status s = AR_OK;
    bool proportional = rope->kind == AR_ROPE_PROPORTIONAL;
    *count = rope->kind == AR_ROPE_LLAMA3 || proportional ? 1 : rope->kind == AR_ROPE_LONG ? 2 : 0;
    if (rope->kind == AR_ROPE_LLAMA3) return llama3_factors(&out[0], a, err);
    if (proportional && !(s = add_factors(&out[0], "rope_freqs.weight", ar__rope_dim(a, 0) / 2, err)))
        ar__gguf_proportional(out[0].value, a);
    if (proportional) return s;
    for (int k = 0; !s && k < *count; k++)
        if (!(s = add_factors(&out[k], names[k], (int64_t)rope->factors, err)))
            for (size_t i = 0; i < rope->factors; i++) out[k].value[i] = (float)lists[k][i];
    return s;
}
