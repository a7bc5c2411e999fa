/* Merging, as its files share it: which tensors change (merge_plan), how one is formed (merge_tensor), and what comes
 * out (merge_folder with merge_config, merge_gguf). */
#ifndef AR_ADAPTER_ALGEBRA_MERGE_H
#define AR_ADAPTER_ALGEBRA_MERGE_H

#include "adapter/adapter.h"
#include "alphar/algebra.h"
#include "base/map.h"
#include "base/spool.h"
#include "format/safetensors.h"
#include "kern/runtime.h"
#include "store/output.h"
#include "weights/base.h"

typedef struct ar_merge_part {
    const ar_adapter *ad;
    ar_pair *pair; /* of that adapter; its s has the adapter's factor in it */
} ar_merge_part;

/* One tensor to be written. */
typedef struct ar_merge_tensor {
    struct ar_merging *merge;
    const char *name;    /* in the file */
    ar_tensor from;      /* whose values it starts from (GGUF's too): another one's for a head that leaves its embedding */
    int file;            /* shard */
    ar_dtype to;         /* the type that it has, where it is only carried */
    bool is_transposed;  /* stored [n_in, n_out]: embeddings and Conv1D */
    ar_row_map order;    /* of GGUF's rows */
    bool is_plus_one;    /* GGUF stores 1 + w, */
    float scale;         /* or w / scale, the scale in a tensor beside it; 0: it has none */
    ar_merge_part *part; /* pairs that add to it; of a bias, those with a bias on B */
    size_t part_count, part_cap;
    ar_adapter *whole_of; /* of `whole` */
    ar_whole *whole;      /* replaces the values; NULL: nothing does */
    double along, norm2;  /* ⟨Q(W + ΔW) − Q(W), ΔW⟩, ‖ΔW‖² */
    bool is_rescued;      /* from a narrower type */
    bool is_formed;       /* its bytes wait in the merge's spool */
    uint64_t formed_at;
} ar_merge_tensor;

typedef struct ar_merging {
    const ar_runtime *rt;
    const ar_merge_options *o;
    ar_adapter **adapter;
    size_t adapter_count;
    ar_base *base;
    const ar_base_info *info;
    const ar_tensors *all;
    const ar_st_set *files; /* behind them; NULL: the base is a GGUF file */
    const ar_gguf *gguf;
    json_t *config;  /* config.json; NULL for GGUF */
    char *head_name; /* of the head's tensor where the base has none; NULL until it is needed */
    ar_merge_tensor *tensor;
    size_t count, cap;
    ar_map by_name;     /* places in tensor */
    size_t embed, head; /* places in tensor of the two that are tied; AR_MAP_NONE: none, or the base is not tied */
    bool untied;        /* what is written */
    int64_t vocabulary; /* of embedding and head as adapters bring them; 0: the base's */
    const ar_adapter *vocabulary_of;
    int64_t more_elements; /* that this adds to the file, or takes from it */
    bool has_dtype;
    ar_dtype dtype;   /* of all float tensors */
    ar_spool *formed; /* what was formed before it is written; NULL: nothing was */
    uint64_t done, total;
} ar_merging;

/* m->base, config and adapters are there: finds what each adapter touches. */
ar_status ar__merge_plan(ar_merging *m, ar_error *err);
static inline bool ar__merge_touches(const ar_merge_tensor *t) { return t->part_count || t->whole; }

/* May the whole tensor have another number of rows than the base's?  Embedding and head may, together: a vocabulary that was
 * extended for the training. */
bool ar__merge_may_grow(const ar_merging *m, const ar_base_weight *w, const ar_whole *with);
/* All is planned: gives embedding and head the rows that adapters bring. */
ar_status ar__merge_grow(ar_merging *m, ar_error *err);

/* The GGUF writer takes it from the file, whatever its type, and nobody is told of its bytes. */
static inline bool ar__merge_is_copied(const ar_merge_tensor *t) {
    return t->merge->gguf && !ar__merge_touches(t) && t->name == t->from.name;
}
static inline bool ar__merge_is_product(const ar_merge_tensor *t) { return t->part_count && t->from.dims >= 2; }

/* Forms all products, to know what survives, and gives the o->rescue worst a wider type.  The others' bytes are kept in a
 * spool, so that nothing is quantised twice. */
ar_status ar__merge_rescue(ar_merging *m, ar_error *err);
/* One product, into the spool. */
ar_status ar__merge_form(ar_merge_tensor *t, ar_error *err);

/* An ar_stream_fn with the ar_merge_tensor as user. */
ar_status ar__merge_stream(void *tensor, ar_writer *w, ar_error *err);

/* The text of a config.json with what the merge changes about it; all else byte for byte. */
ar_status ar__merge_config(ar_buf *text, const ar_merging *m, ar_error *err);

/* What may not be overwritten: o->out, as merges name it; the caller releases output->inputs. */
ar_status ar__merge_output(ar_output *output, const ar_merging *m, ar_error *err);
/* Whether o->out may be taken: before anything is written. */
ar_status ar__merge_folder_check(const ar_merging *m, ar_error *err);
ar_status ar__merge_file_check(const ar_merging *m, ar_error *err);
/* Everything, under a temporary name beside `out`, which it then takes: a folder, or a GGUF file. */
ar_status ar__merge_folder(ar_merging *m, ar_error *err);
ar_status ar__merge_file(ar_merging *m, ar_error *err);

#endif
