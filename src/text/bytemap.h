/* GPT-2's byte alphabet: printable Latin-1 stands for itself, the other 68 bytes for U+0100 and up, in order. */
#ifndef AR_TEXT_BYTEMAP_H
#define AR_TEXT_BYTEMAP_H

#include "base/mem.h"

/* Appends the image of n bytes. */
void ar__bytemap_put(ar_buf *out, const char *s, size_t n);
/* The byte that a code point stands for, -1 if none. */
int ar__bytemap_byte(uint32_t c);

#endif
