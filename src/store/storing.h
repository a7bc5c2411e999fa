/* A model being written anew, as the files of this folder share it: which tensors come out (plan_gguf, plan_folder), how one is formed
 * (form), and what they stand in (write_gguf, write_folder, nf4). */
#ifndef AR_STORE_STORING_H
#define AR_STORE_STORING_H

#include "alphar/quantize.h"
#include "arch/arch.h"
#include "base/file.h"
#include "base/spool.h"
#include "format/tensor.h"
#include "kern/runtime.h"
#include "store/output.h"
#include "weights/experts.h"

/* One tensor that is written.  Its values come from a weight of the base, from its bias, from a tensor as a file has it, or from memory. */
typedef struct ar_stored {
    struct ar_storing *in;
    char *name; /* owned */
    ar_dtype to;
    int dims;
    int64_t shape[AR_TENSOR_DIMS]; /* as Hugging Face has it, the dimension that lies together last */
    size_t rows, cols, bytes;
    const ar_base_weight *w;
    ar_expert_weight *expert; /* owned: matrices of experts, one below the other, in place of w's rows; w is the first one's */
    size_t experts;
    int64_t layer; /* of biases of experts, a row each: w NULL; of */
    ar_expert_part first, last;
    bool is_bias;
    const ar_tensor *raw;         /* whose rows are taken as they lie; w NULL */
    int raw_at;                   /* of the base's files */
    const ar_base_weight *scaled; /* of raw: the weight, where a scale stands beside it that stays there; the report is of what both give */
    const float *values;          /* w and raw NULL; the storing's; */
    size_t values_from;           /* the first of them is of this row */
    bool is_copied;               /* raw, byte for byte */
    bool is_turned;               /* of w the transposed: Conv1D in a folder; of experts each one's, gate and up in turn */
    bool is_spooled;              /* its bytes wait in the storing's spool */
    uint64_t spooled_at;
    int shard;          /* of a folder */
    ar_row_map order;   /* of what is written: GGUF's */
    bool adds_one;      /* stored 1 + w, */
    bool is_rate;       /* or -exp(w) */
    bool is_matrix;     /* counted in the report: */
    size_t weights;     /* its numbers, */
    size_t beside;      /* bytes of other tensors that belong to them, */
    const char *shown;  /* and its type */
    bool is_other;      /* ar_rewritten */
    double whole, lost; /* ‖W‖², ‖W − Q(W)‖² */
} ar_stored;

typedef struct ar_storing {
    const ar_runtime *rt;
    const ar_rewrite_options *o;
    const char *command; /* "quantize", "convert" */
    ar_base *base;
    const ar_base_info *info;
    json_t *config; /* config.json, or what a GGUF file comes to */
    ar_arch arch;
    bool has_arch;
    ar_dtype type; /* of the matrices */
    bool twice;    /* NF4, its scales in 8 bits */
    ar_stored *list;
    size_t count, cap;
    float *values[3]; /* of tensors that no file of the model has */
    ar_spool *spool;  /* what was formed before it is written; NULL: nothing was */
    int shards;       /* of a folder */
    uint64_t done, total;
} ar_storing;

/* Adds a tensor without values; NULL with the message set. */
ar_stored *ar__storing_add(ar_storing *st, const char *name, ar_dtype to, int dims, const int64_t *shape, ar_error *err);

/* An ar_stream_fn with the ar_stored as user. */
ar_status ar__stored_stream(void *tensor, ar_writer *w, ar_error *err);
/* Rows first … first + count into bytes of t->to, by all threads; adds to t->whole and t->lost. */
ar_status ar__stored_form(char *bytes, ar_stored *t, size_t first, size_t count, ar_error *err);
/* Told of bytes that were written: AR_ERR_INTERRUPTED where the caller wants to stop. */
ar_status ar__storing_tell(ar_storing *st, uint64_t bytes, ar_error *err);

/* Bytes of a tensor that wait for it to be written. */
ar_status ar__storing_spool(ar_stored *t, const void *bytes, size_t n, ar_error *err);

/* The stacks of experts of a GGUF file, or their tensors of a folder; used: by index of the base's weights, those that went into them. */
ar_status ar__plan_experts(bool *used, ar_storing *st, bool folder, ar_error *err);

/* The tensors of a GGUF file. */
ar_status ar__plan_gguf(ar_storing *st, ar_error *err);
ar_status ar__write_gguf(ar_storing *st, ar_error *err);

/* The tensors of a folder that bitsandbytes reads; its matrices are formed. */
ar_status ar__plan_nf4(ar_storing *st, ar_error *err);
/* The tensors of a Hugging Face folder, of a GGUF file's. */
ar_status ar__plan_folder(ar_storing *st, ar_error *err);
/* Shards and index into the folder: as the model has them, or of at most 5 GB each. */
ar_status ar__write_shards(ar_outdir *d, ar_storing *st, ar_error *err);
ar_status ar__write_nf4(ar_storing *st, ar_error *err);
ar_status ar__write_folder(ar_storing *st, ar_error *err);

#endif
