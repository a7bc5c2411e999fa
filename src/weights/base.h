/* A base as the adapter toolkit sees it: named matrices of any family, read a few rows at a time.  Nothing here runs a
 * model, so nothing needs the architecture record; opening reads headers only.
 *
 * Names, orientation and order of rows are Hugging Face's whatever the file: Conv1D weights come as [out, in], GGUF's
 * row orders are undone, quantised rows become f32. */
#ifndef AR_WEIGHTS_BASE_H
#define AR_WEIGHTS_BASE_H

#include "arch/names.h"
#include "base/log.h"
#include "format/gguf.h"
#include "format/safetensors.h"
#include "format/tensor.h"
#include "weights/packed.h"

typedef struct ar_base ar_base;

/* The warning that goes with has_own_head: path, tensor. */
#define AR_OWN_HEAD                                                                                                                        \
    "%s: config.json ties the head to the embedding, but tensor '%s' of the file differs from it: as in transformers 5 the file's head "   \
    "is used (version 4 uses the embedding)"

typedef struct ar_base_info {
    const char *path;
    const char *model_type;   /* of config.json, or GGUF's architecture; NULL: none given */
    const ar_name_map *names; /* NULL: the family is not in the table */
    ar_head_counts count;
    int64_t head_dim, layers; /* 0: not known */
    bool is_tied;             /* the head is the embedding */
    bool has_own_head;        /* the configuration ties it, but the file brings another one, which counts */
    bool is_gguf;
    const char *quantised;  /* how, where a configuration or tensors say so: "GPTQ, 4 bits"; NULL: not, or GGUF */
    const char *unreadable; /* what is wrong with the first of its packed weights that cannot be unpacked; NULL: all can, or none is */
    const char *own_name;   /* _name_or_path of config.json; NULL: none */
} ar_base_info;

/* A tensor: a weight with its bias, or anything else that the file holds, under its whole name. */
typedef struct ar_base_weight {
    const char *site;    /* module path, unwrapped where the family is known: "model.layers.0.self_attn.q_proj" */
    const char *tensor;  /* its name in the file */
    ar_module_kind kind; /* of an unknown family guessed from the name */
    ar_dtype type;
    const char *type_name; /* as the file has it */
    int dims;
    int64_t shape[AR_TENSOR_DIMS]; /* as Hugging Face stores it */
    int64_t n_out, n_in;           /* of the linear; embedding [vocab, dim]; convolution [out, in·kh·kw]; norm [n, 1] */
    bool is_conv1d;                /* stored [n_in, n_out] */
    ar_row_order order;
    bool is_plus_one;        /* stored 1 + w, */
    bool is_rate;            /* or -exp(w) */
    bool is_tied;            /* the head, and these are the embedding's bytes */
    const ar_packed *packed; /* how other tensors and this one make the values, of `type`; NULL: it holds them itself */
    const void *scale;       /* f32 that a GGUF file has beside it, by which the values are multiplied: one, or of a stack one of each */
    size_t scale_count;      /* matrix; NULL: none */
    const void *data;        /* n_out · n_in values in the file's map, unaligned */
    int file;                /* of ar__tensors_path */
    size_t bytes;
    const char *bias_tensor; /* NULL: none */
    const void *bias;        /* n_out values, in the file's row order */
    ar_dtype bias_type;
    size_t bias_count; /* checked against n_out when it is read */
} ar_base_weight;

/* path: a Hugging Face folder, one .safetensors file, or one .gguf file (of a split one the first part). */
ar_status ar__base_open(ar_base **out, const char *path, ar_error *err);
void ar__base_close(ar_base *base); /* NULL is fine */
/* The scale of a weight's matrix, 1 where there is none. */
float ar__base_scale(const ar_base_weight *w, int64_t matrix);
/* Tells log of a head that the configuration does not speak of; silent otherwise. */
void ar__base_warn_head(const ar_base *base, const ar_log *log);
const ar_base_info *ar__base_info(const ar_base *base);

/* The files themselves, for what is carried along. */
const ar_tensors *ar__base_files(const ar_base *base);

int ar__base_count(const ar_base *base);
const ar_base_weight *ar__base_at(const ar_base *base, int i); /* by name of the tensor; a tied head is not among them */
/* The weight of a module, by any of its names; of a tied base's head the embedding, marked.  NULL if absent.
 * _exact: without the names that only transformers 5 has for it. */
const ar_base_weight *ar__base_find(const ar_base *base, const char *site);
const ar_base_weight *ar__base_find_exact(const ar_base *base, const char *site);
/* Appends what the files of a family call the module that its code calls `site`, and back; most are called the same. */
void ar__base_name_in_files(ar_buf *out, const ar_name_map *map, const char *site);
void ar__base_name_in_code(ar_buf *out, const ar_name_map *map, const char *site);

/* A buffer that older versions saved and the family's code forms itself: masks of positions and what they are filled with, frequencies. */
bool ar__base_is_buffer(const char *tensor);

/* The input embedding and the head (of a tied base the embedding, marked); NULL where the file has none that is known. */
const ar_base_weight *ar__base_embedding(const ar_base *base);
const ar_base_weight *ar__base_head(const ar_base *base);
/* A head that the file itself has, tied or not; NULL: none. */
const ar_base_weight *ar__base_own_head(const ar_base *base);
/* The tensor inside which the base has the weight of a module that it lacks (q in a fused qkv); NULL: none, or it has it.
 * _fail_fused: the message for who needs the weight. */
const char *ar__base_fused(const ar_base *base, const char *site);
ar_status ar__base_fail_fused(const ar_base *base, const char *site, const char *tensor, ar_error *err);

/* count rows from `first` as f32 [count, n_in].  Fails, naming tensor and type, for types without a conversion, and where
 * the order of rows needs heads that are not known. */
ar_status ar__base_read_rows(float *dst, const ar_base *base, const ar_base_weight *w, int64_t first, int64_t count, ar_error *err);
/* Whether that can be put in Hugging Face's order in the file's type: not where a block of it holds columns of two heads. */
bool ar__base_keeps_type(const ar_base *base, const ar_base_weight *w);
/* All of it as [n_out, n_in] in Hugging Face's order of rows and columns, in the file's type: w->bytes bytes. */
ar_status ar__base_read_stored(void *dst, const ar_base *base, const ar_base_weight *w, ar_error *err);
/* All of it in a plain type, [n_out, n_in], by all threads. */
ar_status ar__base_read_as(void *dst, ar_dtype type, const ar_base *base, const ar_base_weight *w, ar_error *err);
/* The n_out values of a bias that is there. */
ar_status ar__base_read_bias(float *dst, const ar_base *base, const ar_base_weight *w, ar_error *err);
/* ‖W‖²_F in double; W's pages are given back.  The same bits for any number of threads. */
ar_status ar__base_norm2(double *out, const ar_base *base, const ar_base_weight *w, ar_error *err);
/* The weight is done with: its pages leave this process's memory. */
void ar__base_forget(const ar_base_weight *w);

#endif
