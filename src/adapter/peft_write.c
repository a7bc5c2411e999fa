/* Pairs and whole tensors → a PEFT folder. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "adapter/formats.h"
#include "adapter/peft.h"
#include "adapter/provenance.h"
#include "base/fail.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/size.h"

struct whole_emit {
    const ar_adapter *ad;
    ar_whole *whole;
    ar_dtype type;
};

struct peft_writer {
    const ar_write_context *c;
    const ar_adapter *ad;
    ar_st_writer *st;
    ar_buf key;
    ar_emit *emit; /* two a pair */
    struct whole_emit *whole;
    struct stack_emit *stack; /* two a pair */
};

static const char *key_of(struct peft_writer *w, const char *path, const char *tail) {
    ar__buf_clear(&w->key);
    ar__buf_printf(&w->key, "base_model.model.%s%s", path, tail);
    return w->key.failed ? NULL : w->key.data;
}

static ar_status add_factor(struct peft_writer *w, size_t i, ar_factor which, ar_error *err) {
    const ar_pair *p = &w->ad->pair[i];
    static const char *const tails[2][2] = {{".lora_A.weight", ".lora_B.weight"}, {".lora_embedding_A", ".lora_embedding_B"}};
    const char *key = key_of(w, p->site, tails[p->is_embedding][which]);
    ar_emit *e = &w->emit[2 * i + which];
    *e = (ar_emit){.ad = w->ad, .pair = i, .which = which, .factor = 1, .type = ar__write_dtype(w->c, p, which)};
    int64_t shape[4] = {(int64_t)ar__factor_rows(p, which), (int64_t)ar__factor_columns(p, which), 1, 1};
    if (p->kernel[0] && which == AR_FACTOR_A) {
        shape[1] = p->n_in / (p->kernel[0] * p->kernel[1]);
        memcpy(&shape[2], p->kernel, sizeof p->kernel);
    }
    return key ? ar__st_writer_add_stream(w->st, key, e->type, p->kernel[0] ? 4 : 2, shape, ar__emit, e, err)
               : ar__fail_memory(err, p->site);
}

static ar_status add_vector(struct peft_writer *w, const ar_pair *p, const char *tail, const float *x, ar_error *err) {
    const char *key = key_of(w, p->site, tail);
    return key ? ar__st_writer_add(w->st, key, AR_F32, 1, &p->n_out, x, err) : ar__fail_memory(err, p->site);
}

static ar_status add_pair(struct peft_writer *w, size_t i, ar_error *err) {
    const ar_pair *p = &w->ad->pair[i];
    ar_status s = add_factor(w, i, AR_FACTOR_A, err);
    if (!s) s = add_factor(w, i, AR_FACTOR_B, err);
    if (!s && p->magnitude) s = add_vector(w, p, ".lora_magnitude_vector", p->magnitude, err);
    if (!s && p->b_bias) s = add_vector(w, p, ".lora_B.bias", p->b_bias, err);
    return s;
}

static ar_status emit_whole(void *user, ar_writer *file, ar_error *err) {
    const struct whole_emit *e = user;
    ar_whole *t = e->whole;
    const ar_dtype_info *type = ar__dtype(e->type);
    char bytes[4096 * sizeof(float)];
    bool was_here = t->data;
    ar_status s = ar__whole_load(e->ad, t, err);
    for (size_t at = 0; !s && at < t->count; at += 4096) {
        size_t n = t->count - at < 4096 ? t->count - at : 4096;
        type->from_f32(bytes, t->data + at, n);
        s = ar__writer_put(file, bytes, n * type->bytes, err);
    }
    if (!was_here) ar__whole_unload(t);
    return s;
}

/* A bias of an adapted module lives behind PEFT's wrapper: PATH.base_layer.bias. */
static ar_status add_whole(struct peft_writer *w, size_t i, ar_error *err) {
    ar_whole *t = &w->ad->whole[i];
    const char *dot = strrchr(t->name, '.'), *tail = "";
    char *path = ar__strndup(t->name, dot && !strcmp(dot, ".bias") ? (size_t)(dot - t->name) : strlen(t->name));
    if (!path) return ar__fail_memory(err, t->name);
    if (path[strlen(path)] != t->name[strlen(path)]) tail = ar__adapter_find_pair(w->ad, path) ? ".base_layer.bias" : ".bias";
    const char *key = key_of(w, path, tail);
    ar_dtype kept = t->stored.is_there ? t->stored.type : AR_F32;
    w->whole[i] = (struct whole_emit){w->ad, t, w->c->keep ? kept : w->c->dtype};
    ar_status s = key ? ar__st_writer_add_stream(w->st, key, w->whole[i].type, t->dims, t->shape, emit_whole, &w->whole[i], err)
                      : ar__fail_memory(err, t->name);
    free(path);
    return s;
}

/* The pairs of one stack from the first on, whose tensors are A of one expert below the other, and B with the experts fastest. */
struct stack_emit {
    const ar_adapter *ad;
    size_t first, count;
    ar_factor which;
    ar_dtype type;
};

static ar_status put_numbers(const float *x, size_t n, ar_dtype type, ar_writer *file, ar_error *err) {
    const ar_dtype_info *t = ar__dtype(type);
    char bytes[4096 * sizeof(float)];
    ar_status s = AR_OK;
    for (size_t at = 0; !s && at < n; at += 4096) {
        size_t len = n - at < 4096 ? n - at : 4096;
        t->from_f32(bytes, x + at, len);
        s = ar__writer_put(file, bytes, len * t->bytes, err);
    }
    return s;
}

static ar_status emit_stack(void *user, ar_writer *file, ar_error *err) {
    const struct stack_emit *e = user;
    const ar_pair *p = &e->ad->pair[e->first];
    bool is_b = e->which == AR_FACTOR_B;
    size_t one = ar__factor_rows(p, e->which) * ar__factor_columns(p, e->which), all;
    float *x = ar__alloc(one, sizeof *x), *whole = is_b && ar__mul(&all, one, e->count) ? ar__alloc(all, sizeof *whole) : NULL;
    ar_status s = x && (whole || !is_b) ? AR_OK : ar__fail_memory(err, p->site);
    for (size_t i = 0; !s && i < e->count; i++) {
        s = ar__factor_read(x, e->ad, p + i, e->which, err);
        if (!s && !is_b) s = put_numbers(x, one, e->type, file, err);
        for (size_t k = 0; !s && is_b && k < one; k++) whole[k * e->count + i] = x[k];
    }
    if (!s && is_b) s = put_numbers(whole, all, e->type, file, err);
    free(whole);
    free(x);
    return s;
}

/* PATH.gate_up_proj[3] → the length of PATH; *gate_up says which of the two. */
static size_t stack_path(const ar_pair *p, bool *gate_up) {
    const char *bracket = strrchr(p->site, '['), *dot = bracket;
    while (dot[-1] != '.') dot--;
    *gate_up = !strncmp(dot, "gate_up_proj[", 13);
    return (size_t)(dot - 1 - p->site);
}

/* Where both parameters of a module are adapted, gate_up_proj's wrapper is the inner one. */
static bool has_both(const ar_adapter *ad, const ar_pair *p, size_t length) {
    ar_buf other = {0};
    ar__buf_printf(&other, "%.*s.down_proj[0]", (int)length, p->site);
    bool both = !other.failed && ar__adapter_find_pair(ad, other.data);
    ar__buf_release(&other);
    return both;
}

static ar_status add_stack(struct peft_writer *w, size_t i, ar_error *err) {
    static const char *const tails[] = {".lora_A.weight", ".lora_B.weight"};
    const ar_pair *p = &w->ad->pair[i];
    bool gate_up;
    size_t n = stack_path(p, &gate_up);
    const char *inner = gate_up && has_both(w->ad, p, n) ? ".base_layer" : "";
    ar_status s = AR_OK;
    for (int f = 0; !s && f < 2; f++) {
        struct stack_emit *e = &w->stack[2 * i + (size_t)f];
        int64_t wide = (int64_t)p->rank * p->experts;
        int64_t shape[2] = {f ? p->n_out : wide, f ? wide : p->n_in};
        *e = (struct stack_emit){w->ad, i, (size_t)p->experts, (ar_factor)f, ar__write_dtype(w->c, p, (ar_factor)f)};
        ar__buf_clear(&w->key);
        ar__buf_printf(&w->key, "base_model.model.%.*s%s%s", (int)n, p->site, inner, tails[f]);
        s = w->key.failed ? ar__fail_memory(err, p->site)
                          : ar__st_writer_add_stream(w->st, w->key.data, e->type, 2, shape, emit_stack, e, err);
    }
    return s;
}

static ar_status write_weights(struct peft_writer *w, const char *path, ar_error *err) {
    ar_status s = ar__provenance_write(w->st, w->ad, NULL, NULL, err);
    for (size_t i = 0; !s && i < w->ad->pair_count; i++) {
        const ar_pair *p = &w->ad->pair[i];
        if (!ar__pair_in_stack(p))
            s = add_pair(w, i, err);
        else if (p->expert == 0)
            s = add_stack(w, i, err);
    }
    for (size_t i = 0; !s && i < w->ad->whole_count; i++) s = add_whole(w, i, err);
    return s ? s : ar__st_writer_save(w->st, path, err);
}

static ar_status write_peft(ar_write_context *c, const ar_adapter *ad, ar_error *err) {
    struct peft_writer w = {.c = c, .ad = ad, .emit = ar__alloc(2 * ad->pair_count, sizeof *w.emit)};
    w.whole = ar__alloc(ad->whole_count, sizeof *w.whole);
    w.stack = ar__alloc(2 * ad->pair_count, sizeof *w.stack);
    char *weights = ar__path_join(c->path, AR_PEFT_WEIGHTS), *config = ar__path_join(c->path, AR_PEFT_CONFIG);
    ar_status s = w.emit && w.whole && w.stack && weights && config ? ar__st_writer_new(&w.st, err) : ar__fail_memory(err, c->path);
    if (!s) s = write_weights(&w, weights, err);
    if (!s) s = ar__peft_config_write(&c->alpha, ad, config, err);
    ar__st_writer_free(w.st);
    ar__buf_release(&w.key);
    free(weights);
    free(config);
    free(w.emit);
    free(w.whole);
    free(w.stack);
    return s;
}

static bool is_peft(const char *path) {
    char *config = ar__path_join(path, AR_PEFT_CONFIG);
    bool there = config && ar__path_exists(config);
    free(config);
    return there;
}

static const char *const files[] = {AR_PEFT_WEIGHTS, AR_PEFT_CONFIG, NULL};

const ar_format ar__format_peft = {
    .name = "peft", .files = files, .is_it = is_peft, .read = ar__peft_read, .check = ar__peft_check, .write = write_peft};
