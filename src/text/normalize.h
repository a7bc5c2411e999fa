/* Normalizers: how a text is rewritten before it is cut.  A configuration becomes a flat list of steps. */
#ifndef AR_TEXT_NORMALIZE_H
#define AR_TEXT_NORMALIZE_H

#include <jansson.h>

#include "alphar/error.h"
#include "text/charsmap.h"
#include "text/nfc.h"
#include "text/pattern.h"

typedef enum ar_normal_kind {
    AR_NORMAL_FORM,
    AR_NORMAL_PREPEND,
    AR_NORMAL_REPLACE,
    AR_NORMAL_LOWER,
    AR_NORMAL_STRIP,
    AR_NORMAL_STRIP_ACCENTS,
    AR_NORMAL_NMT,
    AR_NORMAL_CHARSMAP,
    AR_NORMAL_BYTES
} ar_normal_kind;

typedef struct ar_normal_step {
    ar_normal_kind kind;
    ar_form form;
    bool left, right;    /* STRIP */
    ar_pattern *pattern; /* REPLACE */
    char *text;          /* PREPEND, REPLACE: what goes in */
    size_t text_len;
    ar_charsmap map;
} ar_normal_step;

typedef struct ar_normal {
    ar_normal_step *step;
    size_t count, cap;
} ar_normal;

/* config: the "normalizer" of a tokenizer.json; NULL or null makes no steps. */
ar_status ar__normal_read(ar_normal *out, const json_t *config, ar_error *err);
void ar__normal_release(ar_normal *n);

/* Rewrites the valid UTF-8 in io, with spare as scratch (the two may change places).
 * *kept_start turns false when something in front was taken away; no_prefix leaves Prepend out. */
ar_status ar__normal_run(const ar_normal *normal, ar_buf *io, ar_buf *spare, bool *kept_start, ar_matcher *matcher,
                         const ar_unicode *unicode, bool no_prefix, ar_error *err);

#endif
