/* The second of two parts, which follows another text: no special tokens are added, but EOS written behind it is EOS also
 * where a SentencePiece model does not match it. */
#ifndef AR_TEXT_WHOLE_H
#define AR_TEXT_WHOLE_H

#include "alphar/tokenizer.h"

ar_status ar__tokenizer_encode_rest(ar_ids *out, const ar_tokenizer *tk, const char *text, size_t n, ar_error *err);

#endif
