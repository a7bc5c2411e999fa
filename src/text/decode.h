/* Decoders: from the texts of tokens to one text.  A configuration becomes a flat list of steps, each of which maps a list
 * of texts to a list of texts; what is left at the end is joined. */
#ifndef AR_TEXT_DECODE_H
#define AR_TEXT_DECODE_H

#include <jansson.h>

#include "alphar/error.h"
#include "text/pattern.h"
#include "text/pieces.h"

typedef enum ar_decode_kind {
    AR_DECODE_BYTES,         /* byte alphabet to bytes, all joined */
    AR_DECODE_BYTE_FALLBACK, /* runs of <0xNN> to characters, U+FFFD for each when they are none */
    AR_DECODE_FUSE,
    AR_DECODE_STRIP, /* up to `start` / `stop` times `text` off either end */
    AR_DECODE_REPLACE,
    AR_DECODE_META,     /* the mark to a space; gone at the start of the first when `drop` */
    AR_DECODE_SUFFIX,   /* BPEDecoder: the suffix to a space, gone at the very end */
    AR_DECODE_WORDPIECE /* a prefix glues, anything else gets a space in front */
} ar_decode_kind;

typedef struct ar_decode_step {
    ar_decode_kind kind;
    ar_pattern *pattern;
    char *text;
    size_t text_len, start, stop;
    bool drop;
} ar_decode_step;

typedef struct ar_decoder {
    ar_decode_step *step;
    size_t count, cap;
    bool none; /* no decoder at all: tokens are joined with spaces */
} ar_decoder;

/* config: the "decoder" of a tokenizer.json. */
ar_status ar__decoder_read(ar_decoder *out, const json_t *config, ar_error *err);
void ar__decoder_release(ar_decoder *d);
/* Runs the steps over the texts (ids are not looked at) and appends the result. */
ar_status ar__decoder_run(ar_buf *out, const ar_decoder *d, ar_pieces *pieces, ar_pieces *spare, ar_matcher *matcher, ar_error *err);

/* Appends n bytes, with U+FFFD for each maximal part that is no UTF-8 (as Rust's from_utf8_lossy). */
void ar__utf8_lossy(ar_buf *out, const char *s, size_t n);

#endif
