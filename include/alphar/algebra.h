/* Looking at adapters and changing them, without running a model.  Work goes site by site: memory is that of one site,
 * whatever the adapter's size.  A runtime is asked for its threads and its log. */
#ifndef ALPHAR_ALGEBRA_H
#define ALPHAR_ALGEBRA_H

#include <stdbool.h>
#include <stddef.h>

#include "alphar/adapter.h"
#include "alphar/error.h"
#include "alphar/runtime.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- inspect: what an adapter is, and what is odd about it --------------------------------------------------------- */
typedef struct ar_site_figures {
    ar_site site;
    double norm_a, norm_b;        /* ‖A‖_F, ‖B‖_F */
    double norm_update;           /* ‖s·B·A‖_F */
    double norm_weight, strength; /* ‖W‖_F, ‖s·B·A‖ / ‖W‖; NaN without a base */
    double stable_rank;           /* ‖BA‖_F² / ‖BA‖₂²; 0 where B·A = 0 */
    int rank_90, rank_99;         /* singular values that hold 90 and 99 % of ‖BA‖_F² */
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
} ar_inspection;

/* model: the base's folder or GGUF file for norm_weight and strength; NULL: none.  Release with ar_inspection_release,
 * before the adapter. */
AR_API ar_status ar_adapter_inspect(ar_inspection *out, ar_adapter *ad, const ar_runtime *rt, const char *model, ar_error *err);
AR_API void ar_inspection_release(ar_inspection *x); /* safe on a zeroed one */

/* ---- diff: how far apart two adapters' updates are ----------------------------------------------------------------- */
typedef struct ar_site_difference {
    const char *name;
    double relative; /* ‖s·B·A(a) − s·B·A(b)‖_F / ‖s·B·A(a)‖_F; against b where a is zero, 0 where both are */
    double max_abs;  /* largest difference of one element */
} ar_site_difference;

typedef struct ar_difference {
    ar_site_difference *sites; /* in both, in a's order */
    const char **only_in_a, **only_in_b;
    size_t count, only_in_a_count, only_in_b_count;
    double max_relative;
} ar_difference;

/* Any two adapters in any formats.  Names are those of a and b; release with ar_difference_release, before these.
 * Errors: AR_ERR_MISMATCH where a site has other shapes, AR_ERR_UNSUPPORTED where one has DoRA (s·B·A does not describe it)
 * and the other has not or has other magnitudes' sites. */
AR_API ar_status ar_adapter_diff(ar_difference *out, ar_adapter *a, ar_adapter *b, const ar_runtime *rt, ar_error *err);
AR_API void ar_difference_release(ar_difference *x); /* safe on a zeroed one */

/* ---- rescale: alpha on purpose ------------------------------------------------------------------------------------- */
typedef enum ar_rescale_kind {
    AR_RESCALE_ALPHA,   /* α; without sites, a site with an α of its own keeps its ratio to the adapter's */
    AR_RESCALE_SCALE,   /* s */
    AR_RESCALE_FACTOR,  /* s and α times value */
    AR_RESCALE_STRENGTH /* s such that ‖s·B·A‖ / ‖W‖ = value at each site; needs model */
} ar_rescale_kind;

typedef struct ar_rescale_options {
    ar_rescale_kind kind;
    double value;
    const char *sites;   /* a regular expression, matched as rank_pattern is: `(.*\.)?(sites)$`; NULL: all */
    bool keep_function;  /* multiply B by s_old / s_new, so that s·B·A stays */
    const char *model;   /* the base; NULL where kind does not need it */
    const char *scratch; /* folder for intermediate numbers; NULL: memory */
} ar_rescale_options;

/* Changes the adapter in memory.  *changed (may be NULL): sites whose s is another now.
 * Errors: AR_ERR_VALUE where nothing matches or the function cannot be kept (s = 0), AR_ERR_NUMERIC for NaN or infinity. */
AR_API ar_status ar_adapter_rescale(size_t *changed, ar_adapter *ad, const ar_runtime *rt, const ar_rescale_options *options,
                                    ar_error *err);

#ifdef __cplusplus
}
#endif
#endif
