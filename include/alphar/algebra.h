/* Looking at adapters and changing them, without running a model.  Work goes site by site: memory is that of one site,
 * whatever the adapter's size.  A runtime is asked for its threads and its log. */
#ifndef ALPHAR_ALGEBRA_H
#define ALPHAR_ALGEBRA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "alphar/adapter.h"
#include "alphar/error.h"
#include "alphar/eval.h"
#include "alphar/runtime.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- noise: what quantising takes off the weights that an adapter sits on ------------------------------------------- */
typedef struct ar_noise_options {
    const char *model;    /* required: a base, as everywhere */
    const char *quantize; /* what is made of the model, a folder, as train's quantize makes it: "nf4", "q4_k", … */
    const char *original; /* or: the model is quantised already, and was made from this one.  One of the two */
} ar_noise_options;

/* Of the ratios ‖s·B·A‖ / ‖W − Q(W)‖ over the sites that have one; NaN where none has. */
typedef struct ar_noise_range {
    size_t sites;
    double least, median, most;
} ar_noise_range;

/* ---- inspect: what an adapter is, and what is odd about it --------------------------------------------------------- */
typedef struct ar_site_figures {
    ar_site site;
    double norm_a, norm_b;        /* ‖A‖_F, ‖B‖_F */
    double norm_update;           /* ‖s·B·A‖_F */
    double norm_weight, strength; /* ‖W‖_F, ‖s·B·A‖ / ‖W‖; NaN without a base */
    double stable_rank;           /* ‖BA‖_F² / ‖BA‖₂²; 0 where B·A = 0 */
    int rank_90, rank_99;         /* singular values that hold 90 and 99 % of ‖BA‖_F² */
    double *singular;             /* [rank]: those of s·B·A, falling; the inspection's */
    double norm_noise;            /* ‖W − Q(W)‖_F; NaN unless added, and where the matrix is not quantised */
    double over_noise;            /* ‖s·B·A‖ / ‖W − Q(W)‖: at 1 the update is as large as what quantising took */
} ar_site_figures;

/* code: for scripts; text: what it means and what to do. */
typedef struct ar_warning {
    const char *code;
    char *text;
} ar_warning;

typedef struct ar_inspection {
    ar_site_figures *sites; /* in the adapter's order; names are the adapter's */
    size_t count;
    ar_warning *warnings;
    size_t warning_count;
    double parameters;            /* of all pairs */
    double norm_update, strength; /* root of the sum of squares; mean over the sites (NaN without a base) */
    double scale_min, scale_max;  /* 0 without sites */
    int rank_min, rank_max;
    ar_noise_range over_noise; /* sites 0: not added */
} ar_inspection;

/* model: the base's folder or GGUF file for norm_weight and strength; NULL: none.  Release with ar_inspection_release,
 * before the adapter. */
AR_API ar_status ar_adapter_inspect(ar_inspection *out, ar_adapter *ad, const ar_runtime *rt, const char *model, ar_error *err);
AR_API void ar_inspection_release(ar_inspection *x); /* safe on a zeroed one */
/* Fills norm_noise and over_noise of an inspection of `ad`, its sites in the adapter's order.  Memory is one site's in f32.  A matrix that
 * train's quantize leaves as it is (head, embedding, rows that blocks do not divide) has none.
 * Errors: AR_ERR_USAGE unless one of quantize and original is given, AR_ERR_UNSUPPORTED for a quantised model with quantize. */
AR_API ar_status ar_inspection_add_noise(ar_inspection *x, const ar_adapter *ad, const ar_runtime *rt, const ar_noise_options *o,
                                         ar_error *err);

/* ---- diff: how far apart two adapters' updates are ----------------------------------------------------------------- */
typedef struct ar_site_difference {
    const char *name;
    double relative;       /* ‖s·B·A(a) − s·B·A(b)‖_F / ‖s·B·A(a)‖_F; against b where a is zero, 0 where both are */
    double max_abs;        /* largest difference of one element */
    double norm_a, norm_b; /* ‖s·B·A‖_F */
    double cosine;         /* ⟨a, b⟩ / (‖a‖·‖b‖); NaN where one is zero */
    double factor;         /* the c for which c·a is nearest to b; NaN where a is zero */
    double norm_noise;     /* ‖W − Q(W)‖_F, as in an inspection; and by it: */
    double over_noise, over_noise_a, over_noise_b; /* ‖s·B·A(a) − s·B·A(b)‖_F, norm_a, norm_b */
} ar_site_difference;

typedef struct ar_difference {
    ar_site_difference *sites; /* in both, in a's order */
    const char **only_in_a, **only_in_b;
    size_t count, only_in_a_count, only_in_b_count;
    double max_relative;
    double cosine, factor;     /* the same over all sites in both */
    const char *code;          /* of the conclusion, for scripts: "same", "rslora_lost", … (docs/algebra.md) */
    char conclusion[400];      /* what a person should conclude */
    ar_noise_range over_noise; /* sites 0: not added */
} ar_difference;

/* Any two adapters in any formats.  Names are those of a and b; release with ar_difference_release, before these.
 * Errors: AR_ERR_MISMATCH where a site has other shapes, AR_ERR_UNSUPPORTED where one has DoRA (s·B·A does not describe it)
 * and the other has not or has other magnitudes' sites. */
AR_API ar_status ar_adapter_diff(ar_difference *out, ar_adapter *a, ar_adapter *b, const ar_runtime *rt, ar_error *err);
AR_API void ar_difference_release(ar_difference *x); /* safe on a zeroed one */
/* Fills norm_noise and what is by it; a: the first of the two.  As ar_inspection_add_noise. */
AR_API ar_status ar_difference_add_noise(ar_difference *x, const ar_adapter *a, const ar_runtime *rt, const ar_noise_options *o,
                                         ar_error *err);

/* ---- rescale: alpha on purpose ------------------------------------------------------------------------------------- */
typedef enum ar_rescale_kind {
    AR_RESCALE_ALPHA,    /* α; without sites, a site with an α of its own keeps its ratio to the adapter's */
    AR_RESCALE_SCALE,    /* s */
    AR_RESCALE_FACTOR,   /* s and α times value */
    AR_RESCALE_STRENGTH, /* s such that ‖s·B·A‖ / ‖W‖ = value at each site; needs model */
    AR_RESCALE_POLICY    /* α stays, s follows the policy given */
} ar_rescale_kind;

typedef struct ar_rescale_options {
    ar_rescale_kind kind;
    double value;
    bool has_policy; /* sites get this policy, and what kind asks for is solved with it: FACTOR 1 keeps s, POLICY keeps α */
    ar_policy policy;
    const char *sites;   /* a regular expression, matched as rank_pattern is: `(.*\.)?(sites)$`; NULL: all */
    bool keep_function;  /* multiply B by s_old / s_new, so that s·B·A stays */
    const char *model;   /* the base; NULL where kind does not need it */
    const char *scratch; /* folder for intermediate numbers; NULL: memory */
} ar_rescale_options;

/* Changes the adapter in memory.  *changed (may be NULL): sites whose s is another now.
 * Errors: AR_ERR_VALUE where nothing matches or the function cannot be kept (s = 0), AR_ERR_NUMERIC for NaN or infinity. */
AR_API ar_status ar_adapter_rescale(size_t *changed, ar_adapter *ad, const ar_runtime *rt, const ar_rescale_options *options,
                                    ar_error *err);

/* ---- what a change of rank made of each site ------------------------------------------------------------------------ */
typedef struct ar_site_fit {
    const char *name; /* the resulting adapter's */
    int rank;
    double relative_error; /* ‖wanted − B·A‖_F / ‖wanted‖_F, from the singular values; 0 where nothing was left out */
    double energy;         /* kept share of ‖wanted‖²_F */
} ar_site_fit;

typedef struct ar_fit {
    ar_site_fit *sites;
    size_t count, cap;
} ar_fit;
AR_API void ar_fit_release(ar_fit *fit); /* safe on a zeroed one */

/* The rank of a site: the smallest that satisfies energy and max_error, but never more than rank.  0: not asked. */
typedef struct ar_rank_choice {
    int rank;
    double energy;    /* share of ‖B·A‖²_F to keep, at most 1 */
    double max_error; /* relative Frobenius error to stay within, below 1 */
} ar_rank_choice;

/* ---- resize: another rank, the same s ------------------------------------------------------------------------------- */
typedef struct ar_resize_options {
    ar_rank_choice to;   /* one of its three */
    const char *scratch; /* folder for intermediate numbers; NULL: memory */
} ar_resize_options;

/* Changes the adapter in memory; s and policy stay, α follows the rank.  Up: zero rows of A and zero columns of B, the
 * numbers that were there keep their bits.  Down: the best approximation of B·A, its singular values split evenly; of a
 * site with DoRA the magnitude stays (docs/algebra.md), with a warning.  Release the report before the adapter.
 * Errors: AR_ERR_USAGE unless one choice is made, AR_ERR_VALUE for one that makes no sense. */
AR_API ar_status ar_adapter_resize(ar_fit *report, ar_adapter *ad, const ar_runtime *rt, const ar_resize_options *options, ar_error *err);

/* ---- combine: a weighted sum of updates ------------------------------------------------------------------------------ */
typedef enum ar_combine_method {
    AR_COMBINE_CONCAT, /* exact: factors side by side, ranks add up; beyond a rank or energy that is asked, the best of it */
    AR_COMBINE_SVD,    /* the sum at its best in the rank asked */
    AR_COMBINE_TIES,   /* arXiv 2306.01708 on the dense updates, then as svd */
    AR_COMBINE_DARE    /* arXiv 2311.03099 on the dense updates, then as svd */
} ar_combine_method;

typedef struct ar_combine_options {
    ar_combine_method method;
    ar_rank_choice to;   /* needed by all but concat */
    double density;      /* ties, dare: share of entries kept; 0: 0.2 and 0.5 */
    uint64_t seed;       /* of dare */
    const char *scratch; /* folder for intermediate numbers; NULL: memory */
} ar_combine_options;

/* *out: Σ weights[i] · sᵢ Bᵢ Aᵢ over all sites of all sources, a site that a source lacks counting as zero there.  s is 1 and
 * α the rank at every site.  Settings are the first source's; caller frees with ar_adapter_free.
 * Errors: AR_ERR_UNSUPPORTED for a source with DoRA, biases on B or whole tensors, which no sum of pairs can express;
 * AR_ERR_MISMATCH where a site's shapes differ; AR_ERR_USAGE for options that do not fit the method. */
AR_API ar_status ar_adapters_combine(ar_adapter **out, ar_fit *report, ar_adapter *const *sources, const double *weights, size_t count,
                                     const ar_runtime *rt, const ar_combine_options *options, ar_error *err);

/* ---- extract: the difference of two models as an adapter -------------------------------------------------------------- */
typedef struct ar_extract_options {
    const char *base, *tuned; /* folders, .safetensors or .gguf files */
    ar_rank_choice to;        /* one of rank and energy, or energy up to a rank */
    bool has_alpha;           /* else α = rank at each site, so that s = 1 */
    double alpha;
    uint64_t seed;       /* of the start vectors; results agree to their tolerance whatever it is */
    const char *scratch; /* folder for intermediate numbers; NULL: memory */
} ar_extract_options;

/* *out: per linear and embedding whose weights differ, the best rank-r approximation of tuned − base; caller frees.
 * What differs and cannot be a pair (norms, biases) is named in a warning.
 * Errors: AR_ERR_MISMATCH where a weight's shapes differ, AR_ERR_VALUE where no weight differs or α = 0. */
AR_API ar_status ar_adapter_extract(ar_adapter **out, ar_fit *report, const ar_runtime *rt, const ar_extract_options *options,
                                    ar_error *err);

/* ---- merge: the adapters' updates added into the weights of their base -------------------------------------------- */
typedef struct ar_merge_options {
    const char *model;           /* a Hugging Face folder of any family, or a GGUF file */
    const char *const *adapters; /* "PATH" or "PATH:0.5", which multiplies that one's s; their updates add up */
    int adapter_count;
    ar_adapter_options adapter_options;
    bool has_scale, has_alpha; /* s of every site; or alpha, by which each site's own policy and rank give s */
    double scale, alpha;
    const char *out; /* the merged folder, or file */
    /* "f32", "f16", "bf16": of all weights; in a GGUF file of the adapted matrices alone, and there "q8_0", "q4_k", … as
     * well; NULL or "keep": each its own */
    const char *dtype;
    /* GGUF: that many sites, those with the least survival, get f16, or f32 where they would have f16 or bf16.  0: none. */
    int rescue;
    bool overwrite; /* replace a folder that an earlier merge wrote, never another */
    /* Called now and then with bytes written and to write; returning false stops (AR_ERR_INTERRUPTED).  NULL: none. */
    bool (*on_progress)(void *user, uint64_t done, uint64_t total);
    void *user;
} ar_merge_options;

typedef struct ar_merge_site {
    char *name; /* the site's Hugging Face path */
    /* What rounding to the written dtype Q left of the update ΔW: ⟨Q(W + ΔW) − Q(W), ΔW⟩ / ‖ΔW‖².  1: all of it. */
    double survival;
    bool is_zero;     /* ΔW = 0: survival is 1 */
    bool is_rescued;  /* has a wider type than the others, by rescue */
    const char *type; /* the weight's as written, "bf16"; not owned */
} ar_merge_site;

typedef struct ar_merge_result {
    ar_merge_site *sites;
    size_t count;
    double min_survival; /* 1 without sites */
    size_t replaced;     /* tensors that an adapter saved whole */
    bool untied;         /* embedding and head were one tensor and are two now */
} ar_merge_result;

/* Writes the base with the adapters merged in, as a folder like the base's (shards, index, configuration, tokenizer), to
 * out, which appears whole or not at all.  Products in f32; each weight is rounded once, to nearest even.  DoRA adapters
 * are merged alone.  Caller releases the result, also after an error.
 * Errors: AR_ERR_EXISTS for an out that may not be taken; AR_ERR_MISMATCH for an adapter of another base;
 * AR_ERR_UNSUPPORTED for quantised weights of a folder at an adapted site, for a type that is not written, for what does not
 * add, and for rescue in a folder. */
AR_API ar_status ar_merge(ar_merge_result *result, const ar_runtime *rt, const ar_merge_options *o, ar_error *err);
AR_API void ar_merge_result_release(ar_merge_result *r);

#ifdef __cplusplus
}
#endif
#endif
