/* Merging, as its files share it: which tensors change (merge_plan), how one is formed (merge_tensor), and the folder
 * that comes out (merge_folder, merge_config). */
#ifndef AR_ADAPTER_ALGEBRA_MERGE_H
#define AR_ADAPTER_ALGEBRA_MERGE_H

#include "adapter/adapter.h"
#include "alphar/algebra.h"
#include "arch/names.h"
#include "base/map.h"
#include "format/safetensors.h"
#include "kern/runtime.h"

typedef struct ar_merge_part {
    const ar_adapter *ad;
    ar_pair *pair; /* of that adapter; its s has the adapter's factor in it */
} ar_merge_part;

/* One tensor of the folder to be written. */
typedef struct ar_merge_tensor {
    struct ar_merging *merge;
    const char *name;         /* in the checkpoint */
    const ar_st_tensor *from; /* whose values it starts from: another one's for a head that leaves its embedding */
    int file;
    ar_dtype to;         /* AR_DTYPE_COUNT, or the type it has, where it is only carried */
    bool is_transposed;  /* stored [n_in, n_out]: embeddings and Conv1D */
    ar_merge_part *part; /* pairs that add to it; of a bias, those with a bias on B */
    size_t part_count, part_cap;
    ar_adapter *whole_of; /* of `whole` */
    ar_whole *whole;      /* replaces the values; NULL: nothing does */
    double along, norm2;  /* ⟨Q(W + ΔW) − Q(W), ΔW⟩, ‖ΔW‖² */
} ar_merge_tensor;

typedef struct ar_merging {
    const ar_runtime *rt;
    const ar_merge_options *o;
    ar_adapter **adapter;
    size_t adapter_count;
    ar_st_set *base;
    json_t *config;           /* config.json */
    const ar_name_map *names; /* NULL: a family that the table lacks */
    char *head_name;          /* of the head's tensor where the base has none; NULL until it is needed */
    ar_merge_tensor *tensor;
    size_t count, cap;
    ar_map by_name, by_module; /* places in tensor: by its name; by "GGUF stem" + ".weight" for families of the table */
    size_t embed, head;        /* places in tensor of the two that may be tied; AR_MAP_NONE: none */
    bool is_tied, untied;      /* the base's; what is written */
    bool has_dtype;
    ar_dtype dtype; /* of all float tensors */
    uint64_t done, total;
} ar_merging;

/* m->base, config and adapters are there: finds what each adapter touches. */
ar_status ar__merge_plan(ar_merging *m, ar_error *err);
static inline bool ar__merge_touches(const ar_merge_tensor *t) { return t->part_count || t->whole; }

/* An ar_stream_fn with the ar_merge_tensor as user. */
ar_status ar__merge_stream(void *tensor, ar_writer *w, ar_error *err);

/* The text of a config.json with what the merge changes about it; all else byte for byte. */
ar_status ar__merge_config(ar_buf *text, const ar_merging *m, ar_error *err);
/* text: a JSON object.  Sets the member of the top level, or of the member `inside` (which must be an object; nothing
 * happens where there is none), to a JSON value; appended where it is missing and `add` says so. */
bool ar__json_edit(ar_buf *text, const char *inside, const char *key, const char *value, bool add);

/* Whether o->out may be taken: before anything is written. */
ar_status ar__merge_out_check(const ar_merging *m, ar_error *err);
/* Everything, into a folder beside `out` that then takes its name. */
ar_status ar__merge_write(ar_merging *m, ar_error *err);

#endif
