/* What the tokenizers of Hugging Face believe about code points, as a generated table (tools/make-unicode).
 *
 *     value:  bits 0-4 general category | 5-8 script (0: any other) | 9… flags
 *
 * The table is kept as runs; a reader that asks often unpacks it into pages once (ar_unicode). */
#ifndef AR_TEXT_UNICODE_H
#define AR_TEXT_UNICODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { AR_UNICODE_COUNT = 0x110000, AR_UNICODE_PAGE = 256 };

enum {
    AR_UC_CATEGORY = 0x1F,
    AR_UC_SCRIPT = 0xF << 5,
    AR_UC_WORD = 1 << 9,        /* \w of the regex engine */
    AR_UC_RUST_WORD = 1 << 10,  /* \w of Rust's regex crate (added tokens, the Whitespace pre-tokenizer) */
    AR_UC_SPACE = 1 << 11,      /* \s, everywhere */
    AR_UC_NUMERIC = 1 << 12,    /* the Digits pre-tokenizer */
    AR_UC_PUNCT = 1 << 13,      /* the Punctuation pre-tokenizer */
    AR_UC_MARK = 1 << 14,       /* what StripAccents takes away */
    AR_UC_JOIN = 1 << 15,       /* graphemes: Extend, ZWJ and SpacingMark */
    AR_UC_PREPEND = 1 << 16,    /* graphemes: Prepend */
    AR_UC_CONTROL = 1 << 17,    /* graphemes: Control, CR and LF */
    AR_UC_NFC_UNSAFE = 1 << 18, /* text without these is in form C */
    AR_UC_INERT = 1 << 19,      /* too new for the normal forms: neither moves, nor decomposes, nor composes */
    AR_UC_ALPHA = 1 << 20       /* [[:alpha:]] of the regex engine */
};

/* The two-letter categories in the order of the value, and the scripts from 1; NULL-terminated. */
extern const char *const ar__unicode_categories[], *const ar__unicode_scripts[];

typedef struct ar_unicode_run {
    uint32_t first, value;
} ar_unicode_run;
extern const ar_unicode_run ar__unicode_runs[];
extern const size_t ar__unicode_run_count;

/* Lower case: first, first + step, … (count of them) each move by delta. */
typedef struct ar_unicode_lower {
    uint32_t first;
    uint16_t count, step;
    int32_t delta;
} ar_unicode_lower;
extern const ar_unicode_lower ar__unicode_lowers[];
extern const size_t ar__unicode_lower_count;

/* The runs unpacked: value = pages[index[c / 256]][c % 256]. */
typedef struct ar_unicode {
    uint16_t index[AR_UNICODE_COUNT / AR_UNICODE_PAGE];
    uint32_t (*pages)[AR_UNICODE_PAGE];
} ar_unicode;

bool ar__unicode_init(ar_unicode *u); /* false when memory runs out */
void ar__unicode_release(ar_unicode *u);

static inline uint32_t ar__unicode_get(const ar_unicode *u, uint32_t c) {
    return u->pages[u->index[c / AR_UNICODE_PAGE]][c % AR_UNICODE_PAGE];
}

/* Lower case of c, 1 or 2 code points in out; returns how many. */
int ar__unicode_to_lower(uint32_t out[2], uint32_t c);

#endif
