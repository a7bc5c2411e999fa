/* The safetensors files of a folder: model.safetensors, or model-0000I-of-0000N.safetensors and their index. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "format/safetensors.h"
#include "store/storing.h"

enum { NAME = 64 };

static void name_shard(char out[NAME], const ar_storing *st, int shard) {
    if (st->shards == 1)
        snprintf(out, NAME, "model.safetensors");
    else
        snprintf(out, NAME, "model-%05d-of-%05d.safetensors", shard + 1, st->shards);
}

static ar_status add_tensor(ar_st_writer *w, ar_stored *t, ar_error *err) {
    if (t->is_copied) return ar__st_writer_add_like(w, t->raw, ar__stored_stream, t, err);
    return ar__st_writer_add_stream(w, t->name, t->to, t->dims, t->shape, ar__stored_stream, t, err);
}

static ar_status put_shard(ar_outdir *d, ar_storing *st, int shard, ar_error *err) {
    char name[NAME];
    name_shard(name, st, shard);
    ar_st_writer *w = NULL;
    char *path = ar__outdir_path(d, name);
    ar_status s = path ? ar__st_writer_new(&w, err) : ar__fail_memory(err, name);
    for (size_t i = 0; !s && i < st->count; i++)
        if (st->list[i].shard == shard) s = add_tensor(w, &st->list[i], err);
    if (!s) s = ar__st_writer_meta(w, "format", "pt", err);
    if (!s) s = ar__st_writer_save(w, path, err);
    ar__st_writer_free(w);
    free(path);
    return s ? s : ar__outdir_note(d, name, err);
}

static ar_status put_index(ar_outdir *d, const ar_storing *st, ar_error *err) {
    json_t *map = json_object();
    for (size_t i = 0; i < st->count; i++) {
        char name[NAME];
        name_shard(name, st, st->list[i].shard);
        json_object_set_new(map, st->list[i].name, json_string(name));
    }
    json_t *root = json_pack("{s:{s:I}, s:o}", "metadata", "total_size", (json_int_t)st->total, "weight_map", map);
    char *text = root && json_object_size(map) == st->count ? json_dumps(root, JSON_INDENT(2) | JSON_SORT_KEYS) : NULL;
    ar_status s = text ? ar__outdir_put(d, "model.safetensors.index.json", text, strlen(text), err) : ar__fail_memory(err, "index");
    free(text);
    json_decref(root);
    return s;
}

ar_status ar__write_shards(ar_outdir *d, ar_storing *st, ar_error *err) {
    ar_status s = AR_OK;
    st->shards = 1;
    for (size_t i = 0; i < st->count; i++)
        if (st->list[i].shard >= st->shards) st->shards = st->list[i].shard + 1;
    for (int i = 0; !s && i < st->shards; i++) s = put_shard(d, st, i, err);
    return s || st->shards == 1 ? s : put_index(d, st, err);
}
