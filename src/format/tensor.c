/* Tensors of a model over safetensors or GGUF, and the parts of a GGUF file that llama-gguf-split cut:
 * NAME-00001-of-00003.gguf, numbered from 0 by `split.no`, with `split.count` in each. */
#include "format/tensor.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/map.h"
#include "base/mem.h"
#include "format/gguf.h"
#include "format/safetensors.h"

enum { MOST_PARTS = 10000, SUFFIX = 56 };

typedef struct part {
    ar_gguf *gguf;
} part;

typedef struct entry {
    ar_tensor tensor;
    const ar_gguf_tensor *raw;
} entry;

struct ar_tensors {
    ar_st_set *st; /* this, or parts */
    part *part;
    entry *list; /* of the parts, one after another */
    int parts, count;
    ar_map names;
};

/* "-00001-of-00003.gguf" of part `number` (from 1). */
static void print_suffix(char out[SUFFIX], int64_t number, int64_t count) {
    snprintf(out, SUFFIX, "-%05lld-of-%05lld.gguf", (long long)number, (long long)count);
}

/* The path of another part; NULL where this one's name is not that of part `number`, or without memory. */
static char *part_path(const char *path, int64_t number, int64_t other, int64_t count) {
    char own[SUFFIX], wanted[SUFFIX];
    ar_buf b = {0};
    print_suffix(own, number, count);
    print_suffix(wanted, other, count);
    size_t n = strlen(path), k = strlen(own);
    if (n < k || strcmp(path + n - k, own) != 0) return NULL;
    ar__buf_printf(&b, "%.*s%s", (int)(n - k), path, wanted);
    if (!b.failed) return b.data;
    ar__buf_release(&b);
    return NULL;
}

static ar_status read_split(int64_t *no, int64_t *count, const ar_gguf *g, ar_error *err) {
    *no = 0;
    *count = 1;
    ar_status s = ar__gguf_get_int(no, g, "split.no", err);
    if (!s) s = ar__gguf_get_int(count, g, "split.count", err);
    if (s) return s;
    if (*count == 0) *count = 1; /* a file that was never split may say so */
    if (*count < 1 || *count > MOST_PARTS || *no < 0 || *no >= *count)
        return ar__fail(err, AR_ERR_FORMAT, "%s: part %lld of %lld, which cannot be", ar__gguf_path(g), (long long)*no + 1,
                        (long long)*count);
    return AR_OK;
}

static ar_status open_part(ar_tensors *t, const char *path, int64_t number, int64_t count, ar_error *err) {
    int64_t no, of;
    if (!ar__path_exists(path))
        return ar__fail(err, AR_ERR_NOT_FOUND, "%s: is not there, and the model is cut in %lld parts: wanted all of them in one folder",
                        path, (long long)count);
    ar_status s = ar__gguf_open(&t->part[t->parts].gguf, path, err);
    if (s) return s;
    const ar_gguf *g = t->part[t->parts++].gguf;
    if ((s = read_split(&no, &of, g, err))) return s;
    if (no == number && of == count) return AR_OK;
    return ar__fail(err, AR_ERR_MISMATCH,
                    "%s: says that it is part %lld of %lld, wanted %lld of %lld: the parts belong to different models", path,
                    (long long)no + 1, (long long)of, (long long)number + 1, (long long)count);
}

static ar_status open_parts(ar_tensors *t, const char *path, ar_error *err) {
    ar_gguf *first;
    int64_t no, count;
    ar_status s = ar__gguf_open(&first, path, err);
    if (s) return s;
    s = read_split(&no, &count, first, err);
    t->part = s ? NULL : ar__alloc((size_t)count, sizeof *t->part);
    if (!t->part) {
        ar__gguf_close(first);
        return s ? s : ar__fail_memory(err, path);
    }
    t->part[t->parts++].gguf = first;
    if (no > 0) {
        char *head = part_path(path, no + 1, 1, count);
        s = ar__fail(err, AR_ERR_USAGE, "%s: part %lld of %lld, wanted the first one%s%s", path, (long long)no + 1, (long long)count,
                     head ? ": " : "", head ? head : "");
        free(head);
    }
    for (int64_t i = 1; !s && i < count; i++) {
        char *other = part_path(path, 1, i + 1, count);
        s = other ? open_part(t, other, i, count, err)
                  : ar__fail(err, AR_ERR_NOT_FOUND,
                             "%s: the first of %lld parts, wanted a name that ends in -00001-of-%05lld.gguf, by which "
                             "the others are found",
                             path, (long long)count, (long long)count);
        free(other);
    }
    return s;
}

static ar_tensor from_gguf(const ar_gguf_tensor *t, int file) {
    ar_tensor out = {.name = t->name,
                     .dtype = t->dtype,
                     .dtype_name = t->type_name,
                     .dims = t->dims,
                     .count = t->count,
                     .bytes = t->bytes,
                     .data = t->data,
                     .file = file};
    for (int i = 0; i < t->dims; i++) out.shape[i] = t->ne[t->dims - 1 - i];
    return out;
}

static ar_status list_parts(ar_tensors *t, ar_error *err) {
    size_t count = 0;
    for (int p = 0; p < t->parts; p++) count += (size_t)ar__gguf_count(t->part[p].gguf);
    t->list = ar__alloc(count, sizeof *t->list);
    if (!t->list) return ar__fail_memory(err, ar__gguf_path(t->part[0].gguf));
    for (int p = 0; p < t->parts; p++)
        for (int i = 0; i < ar__gguf_count(t->part[p].gguf); i++) {
            const ar_gguf_tensor *from = ar__gguf_at(t->part[p].gguf, i);
            if (ar__map_find_str(&t->names, from->name) != AR_MAP_NONE)
                return ar__fail(err, AR_ERR_FORMAT, "%s: tensor '%s' stands in an earlier part too", ar__gguf_path(t->part[p].gguf),
                                from->name);
            if (!ar__map_put(&t->names, from->name, strlen(from->name), (size_t)t->count)) return ar__fail_memory(err, from->name);
            t->list[t->count++] = (entry){from_gguf(from, p), from};
        }
    return AR_OK;
}

ar_status ar__tensors_open(ar_tensors **out, const char *path, ar_error *err) {
    ar_tensors *t = ar__alloc(1, sizeof *t);
    *out = NULL;
    if (!t) return ar__fail_memory(err, path);
    ar_status s = ar__gguf_is_name(path) ? open_parts(t, path, err) : ar__st_open(&t->st, path, err);
    if (!s && t->parts) s = list_parts(t, err);
    if (s) {
        ar__tensors_close(t);
        return s;
    }
    *out = t;
    return AR_OK;
}

void ar__tensors_close(ar_tensors *t) {
    if (!t) return;
    ar__map_release(&t->names);
    for (int i = 0; i < t->parts; i++) ar__gguf_close(t->part[i].gguf);
    free(t->part);
    free(t->list);
    ar__st_close(t->st);
    free(t);
}

int ar__tensors_count(const ar_tensors *t) { return t->st ? ar__st_count(t->st) : t->count; }
const ar_tensor *ar__tensors_at(const ar_tensors *t, int i) { return t->st ? ar__st_at(t->st, i) : &t->list[i].tensor; }

const ar_tensor *ar__tensors_find(const ar_tensors *t, const char *name) {
    if (t->st) return ar__st_find(t->st, name);
    size_t i = ar__map_find_str(&t->names, name);
    return i == AR_MAP_NONE ? NULL : &t->list[i].tensor;
}

const char *ar__tensors_path(const ar_tensors *t, int file) { return t->st ? ar__st_path(t->st, file) : ar__gguf_path(t->part[file].gguf); }

size_t ar__tensors_bytes(const ar_tensors *t) {
    size_t bytes = 0;
    for (int i = 0; i < ar__tensors_count(t); i++) bytes += ar__tensors_at(t, i)->bytes;
    return bytes;
}

const ar_st_set *ar__tensors_safetensors(const ar_tensors *t) { return t->st; }
const ar_gguf *ar__tensors_gguf(const ar_tensors *t) { return t->parts ? t->part[0].gguf : NULL; }
const ar_gguf_tensor *ar__tensors_gguf_at(const ar_tensors *t, int i) { return t->list[i].raw; }
