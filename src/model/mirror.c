#include "model/mirror.h"

#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/mem.h"
#include "ops/device.h"

/* Memory that operators know of, by address. */
typedef struct range {
    const void *data;
    size_t bytes;
} range;

struct ar_mirrors {
    range *at;
    size_t count, cap;
    bool failed; /* there was no memory for the list */
};

static void add(struct ar_mirrors *list, const void *data, size_t bytes) {
    if (!data || !bytes) return;
    range *at = ar__grow(list->at, &list->cap, list->count + 1, sizeof *at);
    if (!at) {
        list->failed = true;
        return;
    }
    list->at = at;
    at[list->count++] = (range){data, bytes};
}

static int by_address(const void *a, const void *b) {
    uintptr_t x = (uintptr_t)((const range *)a)->data, y = (uintptr_t)((const range *)b)->data;
    return x < y ? -1 : x > y;
}

static void add_floats(struct ar_mirrors *list, const float *data, size_t count) { add(list, data, count * sizeof *data); }

static void add_layer(struct ar_mirrors *list, const ar_model *m, int64_t layer) {
    const ar_layer *l = &m->layers[layer];
    size_t floats = l->mixer == AR_MIX_DELTA ? l->delta.value_heads : 0;
    for (int part = 0; l->mixer_memory && part < ar__mixer_tensor_count(&m->arch, layer); part++) {
        ar_mixer_tensor t = ar__mixer_tensor(&m->arch, layer, part);
        floats += (size_t)(t.rows * t.cols);
    }
    add_floats(list, l->mixer_memory, floats);
    add_floats(list, l->sinks, (size_t)m->arch.heads);
    add_floats(list, l->routing, (size_t)(m->arch.dim + m->arch.experts));
    for (int k = 0; k < 2; k++) add_floats(list, l->head_norm[k], ar__model_normed_heads(m, k) * (size_t)m->arch.head_dim);
}

/* All that operators may be given, each address once: a tied head is the embedding's. */
static void collect(struct ar_mirrors *list, const ar_model *m) {
    for (size_t i = 0; i < m->module_count; i++) {
        ar_weight w = ar__model_weight(m, i);
        size_t bytes = 0;
        if (w.data && ar__dtype_bytes(&bytes, w.type, w.rows * w.cols)) add(list, w.data, bytes);
        add_floats(list, m->owned[i].bias, (size_t)m->modules[i].n_out);
    }
    for (int64_t l = 0; l < m->arch.layers; l++) add_layer(list, m, l);
    if (m->ones) add_floats(list, m->ones, m->ones_count);
    if (list->count) qsort(list->at, list->count, sizeof *list->at, by_address);
    size_t n = 0;
    for (size_t i = 0; i < list->count; i++)
        if (n == 0 || list->at[n - 1].data != list->at[i].data) list->at[n++] = list->at[i];
    list->count = n;
}

static bool holds(const struct ar_mirrors *list, const range *r) {
    const range *found = list->count ? bsearch(r, list->at, list->count, sizeof *r, by_address) : NULL;
    return found && found->bytes == r->bytes;
}

static size_t sum_of(const struct ar_mirrors *list) {
    size_t sum = 0;
    for (size_t i = 0; i < list->count; i++) sum += list->at[i].bytes;
    return sum;
}

static ar_status no_room(const ar_model *m, const struct ar_mirrors *list, ar_error *err) {
    ar_device_info info = ar__device_info(m->rt);
    const double gib = 0x1p30;
    return ar__fail(err, AR_ERR_MEMORY,
                    "%s: the base takes %.2f GiB on %s, which has %.2f GiB, %.2f GiB of them free; use --quantize nf4, a smaller base, or "
                    "--device cpu",
                    m->path, (double)sum_of(list) / gib, ar_runtime_device(m->rt), (double)info.memory_bytes / gib,
                    (double)info.free_bytes / gib);
}

/* From what is known to what is wanted; *m->mirrors says at any moment what is known. */
static ar_status change(const ar_model *m, const struct ar_mirrors *wanted, ar_error *err) {
    const ar_memory *memory = m->rt->ops->memory;
    struct ar_mirrors *known = m->mirrors, old = *known;
    *known = (struct ar_mirrors){0};
    for (size_t i = 0; i < old.count; i++)
        if (!holds(wanted, &old.at[i])) memory->unmirror(m->rt, old.at[i].data);
    ar_status s = AR_OK;
    for (size_t i = 0; i < wanted->count; i++) {
        const range *r = &wanted->at[i];
        bool is_known = holds(&old, r);
        if (!is_known && (s || !memory->mirror(m->rt, r->data, r->bytes))) {
            if (!s) s = no_room(m, wanted, err);
            continue;
        }
        add(known, r->data, r->bytes);
        if (!known->failed) continue;
        known->failed = false;
        memory->unmirror(m->rt, r->data);
        if (!s) s = ar__fail_memory(err, m->path);
    }
    free(old.at);
    return s;
}

ar_status ar__model_mirror(const ar_model *m, ar_error *err) {
    struct ar_mirrors wanted = {0};
    if (m->rt->ops->memory->is_host) return AR_OK;
    collect(&wanted, m);
    ar_status s = wanted.failed ? ar__fail_memory(err, m->path) : change(m, &wanted, err);
    free(wanted.at);
    return s;
}

void ar__model_unmirror(const ar_model *m, const void *data) {
    struct ar_mirrors *known = m->mirrors;
    for (size_t i = 0; data && known && i < known->count; i++) {
        if (known->at[i].data != data) continue;
        m->rt->ops->memory->unmirror(m->rt, data);
        memmove(known->at + i, known->at + i + 1, (--known->count - i) * sizeof *known->at);
        return;
    }
}

struct ar_mirrors *ar__mirrors_new(void) {
    return ar__alloc(1, sizeof(struct ar_mirrors));
}

void ar__mirrors_free(ar_model *m) {
    struct ar_mirrors *known = m->mirrors;
    for (size_t i = 0; known && i < known->count; i++) m->rt->ops->memory->unmirror(m->rt, known->at[i].data);
    if (known) free(known->at);
    free(known);
    m->mirrors = NULL;
}

size_t ar__model_mirror_bytes(const ar_model *m, size_t *known) {
    struct ar_mirrors list = {0};
    collect(&list, m);
    size_t sum = sum_of(&list);
    *known = sum_of(m->mirrors);
    free(list.at);
    return sum;
}

void ar__model_get(const ar_model *m) {
    const ar_memory *memory = m->rt->ops->memory;
    for (size_t i = 0; !memory->is_host && i < m->module_count; i++) {
        const ar_module *mod = &m->modules[i];
        ar_owned *own = &m->owned[i];
        range weight = {own->weight, (size_t)mod->n_out * (size_t)mod->n_in * sizeof(float)};
        range bias = {own->bias, (size_t)mod->n_out * sizeof(float)};
        if (own->weight && holds(m->mirrors, &weight)) memory->get(m->rt, own->weight, weight.bytes);
        if (own->bias && holds(m->mirrors, &bias)) memory->get(m->rt, own->bias, bias.bytes);
    }
}
