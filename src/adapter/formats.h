/* The adapter formats, one row each: how a file is told, read, and written.  Readers and writers of a format share no
 * code with each other, so that reading back what was written proves something.
 *
 * A reader gives canonical pairs: Hugging Face module paths, A [r, n_in], B [n_out, r] in Hugging Face's row order, and
 * per site the s that the format's own readers would use.  Factors stay in the file (ar__adapter_add_stored,
 * ar__adapter_keep).  What the format's readers would drop or misread is an error that says so, or a warning.
 * A writer gets canonical pairs and produces factors such that the format's rule gives the same s·B·A. */
#ifndef AR_ADAPTER_FORMATS_H
#define AR_ADAPTER_FORMATS_H

#include "adapter/adapter.h"
#include "base/file.h"
#include "base/log.h"

struct ar_base; /* weights/base.h */
struct ar_base_weight;

/* What a reader may ask beside the file. */
typedef struct ar_read_context {
    const char *path;
    ar_adapter_options options;
    const struct ar_base *base; /* NULL: not given */
    ar_log log;
} ar_read_context;

typedef struct ar_write_context {
    const char *path; /* of a folder that exists and is empty, or of the file to be made; both have temporary names */
    const struct ar_base *base;
    int heads, kv_heads; /* given by hand; 0: not */
    bool keep;           /* each factor's own dtype, as far as the format has it (f32 where not) */
    ar_dtype dtype;      /* otherwise */
    /* What the writer did: sites whose B was multiplied, and the α (GGUF), scale (MLX) or first α (others) that it wrote. */
    int folded;
    double alpha;
    char names[64];    /* of ar_proof */
    const char *unrun; /* a site that the format's program takes and does not run; NULL: none */
} ar_write_context;

typedef struct ar_format {
    const char *name;                /* "peft", "gguf", "mlx", "kohya" */
    const char *const *files;        /* of a folder, in the order in which they take their names; NULL: one file */
    bool (*is_it)(const char *path); /* a cheap look; true may still mean a broken file */
    ar_status (*read)(ar_adapter **out, const ar_read_context *c, ar_error *err);
    /* Errors: AR_ERR_UNSUPPORTED naming what the format cannot hold, and the way round it.  Nothing has been written. */
    ar_status (*check)(const ar_adapter *ad, const ar_write_context *c, ar_error *err);
    ar_status (*write)(ar_write_context *c, const ar_adapter *ad, ar_error *err);
    /* Are all names in the written file modules of the target's loader?  c->names says by which list; NULL: the reader's
     * own table is that list, or there is none.  Errors: AR_ERR_MISMATCH. */
    ar_status (*prove_names)(ar_write_context *c, ar_error *err);
} ar_format;

extern const ar_format ar__format_peft, ar__format_gguf, ar__format_mlx, ar__format_kohya;
const ar_format *ar__format_named(const char *name); /* NULL: no such format */
const ar_format *ar__format_of(const char *path);    /* by what stands there; NULL: none of them */

/* The base's weight at the pair's site; of one of stacked experts the stack, or where the base has its experts apart the expert's first
 * matrix.  Errors: AR_ERR_MISMATCH where there is none, or one of another shape;
 * AR_ERR_UNSUPPORTED where the base has it, quantised and packed. */
ar_status ar__base_need(const struct ar_base_weight **out, const struct ar_base *base, const ar_pair *p, ar_error *err);
/* Of one of stacked experts, what a base that has them apart has in its place: part 0 of `gate_up_proj[3]` is `3.gate_proj`, part 1
 * `3.up_proj`; `down_proj[3]` has part 0 alone.  NULL: not there. */
const struct ar_base_weight *ar__base_expert_part(const struct ar_base *base, const ar_pair *p, int part);
/* Do the whole tensors fit the pairs beside them and, of a base that is given (else NULL), its tensors?  AR_ERR_UNSUPPORTED: a
 * pair and a whole tensor of one weight; AR_ERR_MISMATCH: the base has no such tensor, or another shape. */
ar_status ar__wholes_check(const ar_adapter *ad, const struct ar_base *base, const ar_log *log, ar_error *err);

/* The one message for a base whose weights are packed; AR_ERR_UNSUPPORTED. */
ar_status ar__base_is_packed(const struct ar_base *base, const char *site, ar_error *err);
/* Are there tensors below this module? */
bool ar__base_has_parts(const struct ar_base *base, const char *site);

/* A factor on its way into a file: read, multiplied, laid out, rounded once from double, put.  An ar_stream_fn with the
 * struct as user; the adapter outlives the writer. */
typedef struct ar_emit {
    const ar_adapter *ad;
    size_t pair;
    ar_factor which;
    double factor; /* 1: as it is */
    ar_dtype type;
    bool transposed;                /* the file gets [columns, rows] */
    const uint32_t *rows, *columns; /* row i of the file is row rows[i] of the factor, and so columns; NULL: in order */
    int rank;                       /* of the file where one rank holds for all: the pair's and zeros behind it; 0: the pair's own */
} ar_emit;
ar_status ar__emit(void *emit, ar_writer *w, ar_error *err);

/* The dtype of a factor in the file, by the context; formats without q8_0 or the like get f32. */
ar_dtype ar__write_dtype(const ar_write_context *c, const ar_pair *p, ar_factor which);

/* The value that most pairs have (the first of equals), for formats that hold one.  of(p): finite. */
double ar__most_common(const ar_adapter *ad, double (*of)(const ar_pair *p));

/* Is the site only known by the name that a kohya file gives it, and no module path? */
bool ar__pair_is_foreign(const ar_pair *p);

/* The one message of writers for a pair of stacked experts; AR_ERR_UNSUPPORTED. */
ar_status ar__pair_is_stacked(const ar_pair *p, const char *format, ar_error *err);

/* One message for what GGUF and kohya cannot hold: DoRA, biases on B, whole tensors.  format as people write it. */
ar_status ar__check_plain_pairs(const ar_adapter *ad, const char *format, bool stacks, ar_error *err);

#endif
