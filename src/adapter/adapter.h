/* The adapter: pairs with their scales, whole tensors, settings, provenance.
 *
 * A pair's factors are in memory (a, b), or stored in the file it was read from or in the adapter's spool; ar__pair_load
 * brings them in and ar__pair_unload lets them go, so that work on one site after another needs memory for one.  A
 * trainer loads all (ar__adapter_load) and updates them in place: arrays are f32, 64-byte aligned and stay where they are
 * until unloaded; the structs themselves may move when a pair or tensor is added. */
#ifndef AR_ADAPTER_ADAPTER_H
#define AR_ADAPTER_ADAPTER_H

#include "adapter/settings.h"
#include "alphar/adapter.h"
#include "arch/module.h"
#include "base/spool.h"
#include "kern/dtype.h"

typedef enum ar_factor { AR_FACTOR_A, AR_FACTOR_B } ar_factor;

/* Where a factor's numbers stand while they are not in memory.  The zeroed struct: nowhere. */
typedef struct ar_stored {
    const char *name;  /* of the tensor, for messages; borrowed from the open file, NULL in the spool */
    const void *bytes; /* in a file that the adapter keeps open (ar__adapter_keep); NULL in the spool */
    uint64_t spool_at;
    bool is_there, is_transposed; /* transposed: the file has [columns, rows] */
    ar_dtype type;                /* of the numbers as stored, and what `keep` writes */
    size_t row_step, column_step; /* in elements, of a part of a larger matrix in a file; 0: the factor is the tensor */
    const uint32_t *rows;         /* B: row i of the file is row rows[i] of the factor; NULL: in order.  Owned by the adapter */
    const uint32_t *columns;      /* A: and so its columns */
} ar_stored;

typedef struct ar_pair {
    char *site;
    char *key;           /* the module's name in a kohya file, of a diffusers file A's whole name; NULL elsewhere */
    int64_t n_in, n_out; /* embedding: vocabulary, width; convolution: channels in · kernel, channels out */
    int64_t kernel[2];   /* of a convolution; {0, 0}: a linear layer or an embedding */
    int rank;
    double alpha;
    ar_policy policy;
    double scale;        /* s: what everything computes with */
    int expert, experts; /* of a stack (adapter/peft_experts.c): which, of how many; experts 0: none */
    bool is_apart;       /* of a stack, but the base has this expert's matrix as a tensor of its own, whose module `site` is */
    bool is_embedding;
    bool has_gguf_rows;  /* rows of B stand in llama.cpp's order, because nobody said how many heads there are */
    float *a;            /* [rank, n_in]; NULL while not loaded */
    float *b;            /* [n_out, rank] */
    bool is_parted;      /* b has the even rows before the odd ones, as ar__pair_part leaves it */
    float *magnitude;    /* [n_out], NULL without DoRA; these two are always in memory */
    float *b_bias;       /* [n_out], NULL without lora_bias */
    ar_stored stored[2]; /* by ar_factor */
} ar_pair;

/* A tensor saved whole; its numbers come and go as a pair's do. */
typedef struct ar_whole {
    char *name; /* "lm_head.weight", "model.layers.0.self_attn.q_proj.bias" */
    int dims;
    int64_t shape[8];
    size_t count;
    float *data; /* NULL while not loaded */
    ar_stored stored;
} ar_whole;

struct ar_adapter {
    ar_pair *pair;
    size_t pair_count, pair_cap;
    ar_whole *whole;
    size_t whole_count, whole_cap;
    ar_adapter_settings settings;
    ar_strings note_keys, note_values; /* provenance: metadata "alphar.KEY" */
    const char *format;                /* a row's name in adapter/formats.c */
    char *place;                       /* path it was read from, for messages; NULL: made in memory */
    ar_strings inputs;                 /* paths of what it was made of, which no output may be */
    ar_spool *spool;                   /* NULL: new pairs stay in memory */
    struct ar_kept {
        void *handle;
        void (*close)(void *handle);
    } * kept; /* open files and arrays that stored factors point into */
    size_t kept_count, kept_cap;
};

/* What ar__adapter_add_pair is to make; alpha decides s by the policy. */
typedef struct ar_pair_shape {
    const char *site, *key; /* key NULL: none */
    int64_t n_in, n_out, kernel[2];
    int rank, expert, experts;
    double alpha;
    ar_policy policy;
    bool is_embedding, has_gguf_rows, dora, b_bias, is_apart;
} ar_pair_shape;

ar_status ar__adapter_new(ar_adapter **out, ar_error *err);
/* Adds a pair of zeros; *out (may be NULL) is valid until the next one is added.  _stored: one without factors in memory,
 * whose `stored` the caller fills (magnitude and b_bias are there, zeroed). */
ar_status ar__adapter_add_stored(ar_pair **out, ar_adapter *ad, const ar_pair_shape *shape, ar_error *err);
ar_status ar__adapter_add_pair(ar_pair **out, ar_adapter *ad, const ar_pair_shape *shape, ar_error *err);
ar_status ar__adapter_add_whole_stored(ar_whole **out, ar_adapter *ad, const char *name, int dims, const int64_t *shape, ar_error *err);
ar_status ar__adapter_add_whole(ar_whole **out, ar_adapter *ad, const char *name, int dims, const int64_t *shape, ar_error *err);
/* A shape that copies a pair: name, sizes, rank, α, policy, kind. */
ar_pair_shape ar__pair_shape_of(const ar_pair *p);
/* The adapter closes the handle when it is freed (at once where memory runs out). */
ar_status ar__adapter_keep(ar_adapter *ad, void *handle, void (*close)(void *handle), ar_error *err);

/* Settings, notes and format of another; and its whole tensors, whose numbers stay in the other's file, so that it has to
 * live longer. */
ar_status ar__adapter_copy_settings(ar_adapter *out, const ar_adapter *from, ar_error *err);
ar_status ar__adapter_copy_inputs(ar_adapter *out, const ar_adapter *from, ar_error *err);
ar_status ar__adapter_copy_wholes(ar_adapter *out, const ar_adapter *from, ar_error *err);

/* New pairs' numbers go to an unlinked file in dir as soon as they are settled. */
ar_status ar__adapter_use_spool(ar_adapter *ad, const char *dir, ar_error *err);
/* A pair of this adapter is complete, or a factor in memory was changed: with a spool it is stored there and leaves
 * memory, without one it stays and is no longer what the file has. */
ar_status ar__factor_settle(ar_adapter *ad, ar_pair *p, ar_factor which, ar_error *err);
ar_status ar__pair_settle(ar_adapter *ad, ar_pair *p, ar_error *err);
/* Rows of gate and up that take turns in files, as gpt_oss has them, apart in b: gate's, then up's.  Whoever reads the factor gets them in
 * the files' order all the same.  Nothing where it is done already. */
ar_status ar__pair_part(ar_pair *p, ar_error *err);
/* The factors in memory, in Alphar's orientation and row order.  Errors: AR_ERR_NUMERIC for NaN or infinity. */
ar_status ar__pair_load(const ar_adapter *ad, ar_pair *p, ar_error *err);
void ar__pair_unload(ar_pair *p); /* frees factors that are stored elsewhere too */
ar_status ar__whole_load(const ar_adapter *ad, ar_whole *w, ar_error *err);
void ar__whole_unload(ar_whole *w);
ar_status ar__adapter_load(ar_adapter *ad, ar_error *err); /* all pairs and whole tensors */
/* One factor into dst, [rank, n_in] or [n_out, rank]. */
ar_status ar__factor_read(float *dst, const ar_adapter *ad, const ar_pair *p, ar_factor which, ar_error *err);
/* Is its weight one of several in a tensor of three dimensions? */
static inline bool ar__pair_in_stack(const ar_pair *p) { return p->experts && !p->is_apart; }
/* Pairs from the i-th on that are one parameter's, whose r and s are one number each: of a stack whose first expert is there all of it,
 * else 1. */
size_t ar__stack_length(const ar_adapter *ad, size_t i);
static inline size_t ar__factor_rows(const ar_pair *p, ar_factor which) {
    return which == AR_FACTOR_A ? (size_t)p->rank : (size_t)p->n_out;
}
static inline size_t ar__factor_columns(const ar_pair *p, ar_factor which) {
    return which == AR_FACTOR_A ? (size_t)p->n_in : (size_t)p->rank;
}

/* By the name, else by another spelling of it (ar__site_is_same). */
ar_pair *ar__adapter_find_pair(const ar_adapter *ad, const char *site);   /* NULL if absent */
ar_whole *ar__adapter_find_whole(const ar_adapter *ad, const char *name); /* NULL if absent */
/* Provenance ("base.weights", "train.lr", …), written to the file's metadata; replaces an older value. */
ar_status ar__adapter_set_note(ar_adapter *ad, const char *key, const char *value, ar_error *err);
const char *ar__adapter_note(const ar_adapter *ad, const char *key); /* NULL if absent */

/* Notes that let an adapter become a GGUF file without its base at hand. */
#define AR_NOTE_ARCHITECTURE "base.gguf_architecture" /* "llama" */
#define AR_NOTE_HEADS "base.heads"                    /* ar__head_counts_print */
#define AR_NOTE_QUANTIZE "base.quantize"              /* "nf4": in what type the base was trained on */
#define AR_NOTE_INIT "train.init"                     /* "pissa", "loftq:1": where the pairs began, unless as usual */
#define AR_NOTE_FORM "data.form"                      /* these: gen/trained.h */
#define AR_NOTE_MAP "data.map"
#define AR_NOTE_IGNORED "data.ignore-fields"
#define AR_NOTE_MAX_LENGTH "data.max-length"
#define AR_NOTE_TEMPLATE "data.template"           /* hash of the chat template… */
#define AR_NOTE_TEMPLATE_TEXT "data.template-text" /* …and the template, where it was not the base's */

double ar__policy_scale(ar_policy policy, double alpha, int rank);
double ar__policy_alpha(ar_policy policy, double scale, int rank);

/* Start values: A ~ U(−1/√n_in, 1/√n_in), B = 0; embedding: A = 0, B ~ N(0, 1).  Each site and factor has its own
 * stream of the seed.  The magnitude is left alone: it needs W. */
void ar__pair_init(ar_pair *pair, uint64_t seed);

/* A new adapter on a base: settings (copied) resolved against the base's modules, pairs with start values, and zeroed
 * whole tensors for modules_to_save and biases; the caller fills those and the magnitudes from the base.
 * default_targets (suffixes) stand in where the settings give none; threads only share the work.  The adapter's settings then name the
 * modules as ar__targets_describe does. */
ar_status ar__adapter_build(ar_adapter **out, const ar_adapter_settings *settings, const ar_module *modules, int module_count,
                            const char *const *default_targets, int default_count, uint64_t seed, int threads, ar_error *err);

/* The first pair whose site the settings' targets do not select (PEFT would ignore its tensors); SIZE_MAX: none, or no
 * targets are given.  Errors: a pattern that does not compile. */
ar_status ar__adapter_unselected(size_t *out, const ar_adapter *ad, ar_error *err);

/* Does the base have what the adapter adapts?  Sites and whole tensors must be modules of the base with these shapes,
 * and the settings must select every site (PEFT would ignore one that they do not). */
ar_status ar__adapter_check_base(const ar_adapter *ad, const ar_module *modules, int module_count, const char *const *default_targets,
                                 int default_count, ar_error *err);

#endif
