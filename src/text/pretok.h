/* Pre-tokenizers: how a normalised text is cut before the model sees it.  A configuration becomes a flat list of steps. */
#ifndef AR_TEXT_PRETOK_H
#define AR_TEXT_PRETOK_H

#include <jansson.h>

#include "alphar/error.h"
#include "text/pattern.h"
#include "text/pieces.h"
#include "text/track.h"
#include "text/unicode.h"

/* What becomes of a delimiter: "a-b--c" cut at "-" is
 * removed a b c | isolated a - b - - c | previous a- b- - c | next a -b - -c | contiguous a - b -- c */
typedef enum ar_split { AR_SPLIT_REMOVED, AR_SPLIT_ISOLATED, AR_SPLIT_PREVIOUS, AR_SPLIT_NEXT, AR_SPLIT_CONTIGUOUS } ar_split;

typedef enum ar_pretok_kind {
    AR_PRETOK_PATTERN,      /* cut at matches of a pattern (of anything else when invert is set) */
    AR_PRETOK_CLASS,        /* cut at every code point with one of the flags in mask */
    AR_PRETOK_WORDS,        /* keep runs of \w and runs of neither \w nor \s */
    AR_PRETOK_PREFIX_SPACE, /* " " in front unless there is one */
    AR_PRETOK_BYTES,        /* to the byte alphabet */
    AR_PRETOK_META          /* " " becomes the mark, and one goes in front as `prepend` says */
} ar_pretok_kind;

typedef enum ar_prepend { AR_PREPEND_ALWAYS, AR_PREPEND_FIRST, AR_PREPEND_NEVER } ar_prepend;

typedef struct ar_pretok_step {
    ar_pretok_kind kind;
    ar_split behavior;
    bool invert;
    ar_prepend prepend;
    uint32_t mask;
    ar_pattern *pattern;
    char mark[8]; /* META: UTF-8, NUL-terminated */
} ar_pretok_step;

typedef struct ar_pretok {
    ar_pretok_step *step;
    size_t count, cap;
} ar_pretok;

/* config: the "pre_tokenizer" of a tokenizer.json; NULL or null makes no steps. */
ar_status ar__pretok_read(ar_pretok *out, const json_t *config, ar_error *err);
/* Adds one step and returns it; NULL when memory runs out. */
ar_pretok_step *ar__pretok_add(ar_pretok *p, ar_pretok_kind kind);
void ar__pretok_release(ar_pretok *p);

/* Runs the steps over the pieces that are text.  spare is scratch.  no_prefix: the first piece gets nothing in front.  track: NULL, or
 * moved along; then the text of ids goes along too. */
ar_status ar__pretok_run(const ar_pretok *p, ar_pieces *pieces, ar_pieces *spare, ar_matcher *matcher, const ar_unicode *unicode,
                         bool no_prefix, ar_track *track, ar_error *err);

#endif
