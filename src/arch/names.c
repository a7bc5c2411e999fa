/* Looking names up in the table, and row orders.
 *
 * Row orders (llama.cpp's converters): GGUF row ← Hugging Face row, heads of d rows each
 *     LLAMA   h·d + 2j + t              ←  h·d + t·(d/2) + j        t in {0, 1}, j < d/2
 *     QKV     (t·heads + h)·d + i       ←  (3h + t)·d + i           t in {0, 1, 2}: q, k, v */
#include "arch/names.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"

enum { MAX_LAYER_DIGITS = 6 };

const char *const ar__xielu_names[AR_XIELU_NUMBERS] = {".alpha_p", ".alpha_n", ".beta", ".eps"};

const ar_name_map *ar__names_for_model_type(const char *model_type) {
    const ar_name_map *map;
    for (int i = 0; (map = ar__names_at(i)); i++)
        for (int k = 0; k < AR_NAME_TYPES && map->model_type[k]; k++)
            if (!strcmp(map->model_type[k], model_type)) return map;
    return NULL;
}

const ar_name_map *ar__names_for_gguf(const char *architecture) {
    const ar_name_map *map;
    for (int i = 0; (map = ar__names_at(i)); i++)
        if (!strcmp(map->gguf, architecture)) return map;
    return NULL;
}

const ar_name_map *ar__names_for_file(const char *architecture, bool above_0(const void *file, const char *key), const void *file) {
    const ar_name_map *map;
    for (int i = 0; (map = ar__names_at(i)); i++)
        if (map->told_by && !strcmp(map->gguf, architecture) && above_0(file, map->told_by)) return map;
    return ar__names_for_gguf(architecture);
}

/* The part of s behind prefix, NULL if it does not begin with it. */
static const char *behind(const char *s, const char *prefix) {
    size_t n = strlen(prefix);
    return strncmp(s, prefix, n) ? NULL : s + n;
}

/* `12.rest` → 12, the rest; NULL unless a plain number and a dot stand there. */
static const char *read_layer(int64_t *layer, const char *s) {
    size_t n = strspn(s, "0123456789");
    if (!n || n > MAX_LAYER_DIGITS || s[n] != '.' || (n > 1 && *s == '0')) return NULL;
    *layer = 0;
    for (size_t i = 0; i < n; i++) *layer = *layer * 10 + (s[i] - '0');
    return s + n + 1;
}

static const ar_name_row *find_row(const ar_name_row *list, const char *name, bool gguf) {
    for (; list->hf; list++)
        if (!strcmp(gguf ? list->gguf : list->hf, name)) return list;
    return NULL;
}

static const ar_name_row *find_in_layer(const ar_name_map *map, const char *name, bool gguf) {
    for (int g = 0; g < AR_NAME_GROUPS && map->group[g]; g++) {
        const ar_name_row *row = find_row(map->group[g], name, gguf);
        if (row) return row;
    }
    return NULL;
}

const char *ar__names_unwrap(const char *hf_path) {
    static const char *const wrappers[] = {"model.language_model.", "language_model.", "model.text_model."};
    for (size_t i = 0; i < sizeof wrappers / sizeof *wrappers; i++) {
        const char *rest = behind(hf_path, wrappers[i]);
        if (rest) return rest;
    }
    return hf_path;
}

bool ar__names_find(ar_name *out, const ar_name_map *map, const char *hf_path) {
    const char *path = ar__names_unwrap(hf_path), *bare = behind(path, map->prefix);
    *out = (ar_name){NULL, -1};
    if (!bare) bare = path;
    const char *rest = behind(bare, map->layers);
    if (rest && (rest = read_layer(&out->layer, rest))) return (out->row = find_in_layer(map, rest, false)) != NULL;
    for (const ar_name_row *row = map->top; row->hf; row++) {
        const char *name = behind(row->hf, map->prefix);
        if (strcmp(row->hf, path) != 0 && !(name && !strcmp(name, bare))) continue;
        out->row = row;
        return true;
    }
    return false;
}

bool ar__names_find_gguf(ar_name *out, const ar_name_map *map, const char *stem) {
    const char *rest = behind(stem, "blk.");
    *out = (ar_name){NULL, -1};
    if (!rest) return (out->row = find_row(map->top, stem, true)) != NULL;
    return (rest = read_layer(&out->layer, rest)) && (out->row = find_in_layer(map, rest, true));
}

const ar_name_row *ar__names_row(const ar_name_map *map, const char *hf_path) {
    ar_name name;
    return ar__names_find(&name, map, hf_path) ? name.row : NULL;
}

const ar_name_row *ar__names_slot(const ar_name_map *map, ar_slot slot) {
    for (int g = 0; g < AR_NAME_GROUPS && map->group[g]; g++)
        for (const ar_name_row *row = map->group[g]; row->hf; row++)
            if (row->slot == slot) return row;
    return NULL;
}

const ar_name_row *ar__names_top(const ar_name_map *map, ar_module_kind kind) {
    for (const ar_name_row *row = map->top; row->hf; row++)
        if (row->kind == kind) return row;
    return NULL;
}

const ar_name_row *ar__names_outside(const ar_name_map *map, ar_slot slot) {
    for (const ar_name_row *row = map->top; row->hf; row++)
        if (row->slot == slot) return row;
    return NULL;
}

void ar__names_print(ar_buf *out, const ar_name_map *map, const ar_name *name) {
    if (name->layer >= 0)
        ar__buf_printf(out, "%s%s%lld.%s", map->prefix, map->layers, (long long)name->layer, name->row->hf);
    else
        ar__buf_puts(out, name->row->hf);
}

void ar__names_print_gguf(ar_buf *out, const ar_name *name) {
    if (name->layer >= 0) ar__buf_printf(out, "blk.%lld.", (long long)name->layer);
    ar__buf_puts(out, name->row->gguf);
}

void ar__names_key(ar_buf *out, const ar_name_map *map, const char *hf_path) {
    ar_name name;
    if (map && ar__names_find(&name, map, hf_path)) {
        ar__names_print_gguf(out, &name);
        return;
    }
    const char *path = ar__names_unwrap(hf_path), *inner = behind(path, "model.");
    ar__buf_puts(out, inner ? inner : path);
}

ar_status ar__names_to_gguf(ar_buf *out, const ar_name_map *map, const char *hf_path, ar_error *err) {
    ar_name name;
    if (!ar__names_find(&name, map, hf_path))
        return ar__fail(err, AR_ERR_UNSUPPORTED, "'%s': the family %s (GGUF %s) has no GGUF name for such a module", hf_path,
                        map->model_type[0], map->gguf);
    ar__names_print_gguf(out, &name);
    return AR_OK;
}

ar_status ar__names_from_gguf(ar_buf *out, const ar_name_map *map, const char *stem, ar_error *err) {
    ar_name name;
    if (!ar__names_find_gguf(&name, map, stem))
        return ar__fail(err, AR_ERR_UNSUPPORTED, "'%s': the GGUF architecture %s (family %s) has no such module", stem, map->gguf,
                        map->model_type[0]);
    ar__names_print(out, map, &name);
    return AR_OK;
}

/* The rule for a path of the family, NULL where mlx-lm has the same one. */
static const ar_name_prefix *mlx_rule(const ar_name_map *map, const char *hf_path) {
    for (int i = 0; i < AR_NAME_PREFIXES && map->mlx[i].hf; i++)
        if (behind(hf_path, map->mlx[i].hf)) return &map->mlx[i];
    return NULL;
}

void ar__names_to_mlx(ar_buf *out, const ar_name_map *map, const char *hf_path, bool wrapped) {
    const char *path = ar__names_unwrap(hf_path);
    ar_name name;
    ar_buf full = {0};
    if (wrapped) ar__buf_puts(out, "language_model.");
    if (map && ar__names_find(&name, map, path))
        ar__names_print(&full, map, &name);
    else
        ar__buf_printf(&full, "%s%s", path != hf_path && behind(hf_path, "model.") ? "model." : "", path);
    out->failed |= full.failed;
    const ar_name_prefix *rule = full.failed || !map ? NULL : mlx_rule(map, full.data);
    if (rule) ar__buf_puts(out, rule->mlx);
    if (!full.failed) ar__buf_puts(out, full.data + (rule ? strlen(rule->hf) : 0));
    ar__buf_release(&full);
}

/* Appends the path that mlx-lm's rules for this map give, if it is a module of the family. */
static bool undo_mlx(ar_buf *out, const ar_name_map *map, const char *path) {
    for (int i = 0; i < AR_NAME_PREFIXES && map->mlx[i].hf; i++) {
        const char *rest = behind(path, map->mlx[i].mlx);
        ar_buf full = {0};
        ar_name name;
        if (!rest) continue;
        ar__buf_printf(&full, "%s%s", map->mlx[i].hf, rest);
        out->failed |= full.failed;
        bool found = !full.failed && mlx_rule(map, full.data) == &map->mlx[i] && ar__names_find(&name, map, full.data);
        if (found) ar__names_print(out, map, &name);
        ar__buf_release(&full);
        if (found) return true;
    }
    return false;
}

void ar__names_from_mlx(ar_buf *out, const ar_name_map *map, const char *mlx_path) {
    const char *inner = behind(mlx_path, "language_model."), *below = inner ? behind(inner, "model.") : NULL;
    const ar_name_map *each;
    if (inner) {
        ar__buf_printf(out, "%s%s", below ? "model.language_model." : "", below ? below : inner);
        return;
    }
    bool done = map && undo_mlx(out, map, mlx_path);
    for (int i = 0; !map && !done && (each = ar__names_at(i)); i++) done = undo_mlx(out, each, mlx_path);
    if (!done) ar__buf_puts(out, mlx_path);
}

const ar_name_map *ar__names_guess(const char *hf_path) {
    const ar_name_map *map;
    const char *path = ar__names_unwrap(hf_path);
    ar_name name;
    for (int i = 0; (map = ar__names_at(i)); i++)
        if ((path != hf_path || behind(path, map->prefix)) && ar__names_find(&name, map, path) && name.layer >= 0) return map;
    return NULL;
}

bool ar__order_is_known(ar_row_order order, const ar_head_counts *c) {
    if (order == AR_ROWS_SAME) return true;
    if (order >= AR_ROWS_VALUE_HEADS) return c->key_heads > 0 && c->value_heads > 0 && c->value_dim > 0;
    return order == AR_ROWS_LLAMA_K ? c->kv_heads > 0 : c->heads > 0;
}

static ar_status init_values(ar_row_map *out, int64_t rows, const ar_head_counts *c, ar_error *err) {
    int64_t values;
    bool fits = c->value_heads % c->key_heads == 0 && !__builtin_mul_overflow(c->value_heads, c->value_dim, &values) &&
                (rows == c->value_heads || rows >= values);
    if (!fits)
        return ar__fail(err, AR_ERR_MISMATCH, "%lld rows over %lld value heads of %lld and %lld key heads", (long long)rows,
                        (long long)c->value_heads, (long long)c->value_dim, (long long)c->key_heads);
    bool one = rows == c->value_heads;
    out->size = one ? 1 : c->value_dim;
    out->first = one ? 0 : rows - values;
    out->heads = c->key_heads;
    out->each = c->value_heads / c->key_heads;
    return AR_OK;
}

ar_status ar__row_map_init(ar_row_map *out, ar_row_order order, int64_t rows, const ar_head_counts *counts, ar_error *err) {
    int64_t n = order == AR_ROWS_LLAMA_K ? counts->kv_heads : counts->heads, parts = order == AR_ROWS_QKV_HEADS ? 3 : 2;
    *out = (ar_row_map){order, 1, 1, 0, 1};
    if (order == AR_ROWS_SAME) return AR_OK;
    if (!ar__order_is_known(order, counts))
        return ar__fail(err, AR_ERR_NOT_FOUND,
                        order >= AR_ROWS_VALUE_HEADS
                            ? "the order of GGUF's rows depends on the value heads of linear attention, which are not known: name the base "
                              "with --model"
                            : "the order of GGUF's rows depends on the number of attention heads, which is not known: "
                              "name the base with --model, or the numbers with --heads H,KV");
    if (order >= AR_ROWS_VALUE_HEADS) return init_values(out, rows, counts, err);
    if (n > rows || rows % n || rows / n % parts)
        return ar__fail(err, AR_ERR_MISMATCH, "%lld rows over %lld heads, wanted heads of a multiple of %lld rows", (long long)rows,
                        (long long)n, (long long)parts);
    out->heads = n;
    out->size = order == AR_ROWS_QKV_HEADS ? rows / n / 3 : rows / n;
    return AR_OK;
}

/* The block of a row among `from` times `to`, turned to `to` times `from`. */
static int64_t turn(const ar_row_map *m, int64_t row, int64_t from, int64_t to) {
    int64_t at = row - m->first, block = at / m->size;
    return at < 0 ? row : m->first + (block % to * from + block / to) * m->size + at % m->size;
}

int64_t ar__row_from_gguf(const ar_row_map *m, int64_t row) {
    int64_t d = m->size, block = row / d, i = row % d;
    if (m->order == AR_ROWS_SAME) return row;
    if (m->order >= AR_ROWS_VALUE_HEADS) return turn(m, row, m->each, m->heads);
    if (m->order == AR_ROWS_QKV_HEADS) return (3 * (block % m->heads) + block / m->heads) * d + i;
    return block * d + i % 2 * (d / 2) + i / 2;
}

int64_t ar__row_to_gguf(const ar_row_map *m, int64_t row) {
    int64_t d = m->size, block = row / d, i = row % d;
    if (m->order == AR_ROWS_SAME) return row;
    if (m->order >= AR_ROWS_VALUE_HEADS) return turn(m, row, m->heads, m->each);
    if (m->order == AR_ROWS_QKV_HEADS) return (block % 3 * m->heads + block / 3) * d + i;
    return block * d + 2 * (i % (d / 2)) + i / (d / 2);
}

void ar__head_counts_print(char *out, size_t size, const ar_head_counts *c) {
    int n = snprintf(out, size, "%lld,%lld", (long long)c->heads, (long long)c->kv_heads);
    if (c->value_heads && n > 0 && (size_t)n < size)
        snprintf(out + n, size - (size_t)n, ",%lld,%lld,%lld", (long long)c->key_heads, (long long)c->value_heads, (long long)c->value_dim);
}

ar_head_counts ar__head_counts_read(const char *note) {
    int64_t n[5] = {0};
    char *end = (char *)(uintptr_t)note;
    int count = 0;
    while (count < 5) {
        n[count++] = strtoll(end, &end, 10);
        if (*end++ != ',') break;
    }
    if (count < 2) n[1] = n[0];
    for (int i = 0; i < 5; i++)
        if (n[i] < 0 || n[i] > INT32_MAX) return (ar_head_counts){0};
    return (ar_head_counts){n[0], n[1], n[2], n[3], n[4]};
}
