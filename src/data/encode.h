/* One line of data to token ids, and which of them are learned.
 *
 *     text      [BOS] text EOS             learned: everything
 *     two parts [BOS] prompt | learned EOS learned: from the bar on
 *
 * BOS, and whatever else the post-processor adds, as the tokenizer says, unless the text begins with it; the second part is
 * encoded without special tokens and joined without a separator.  EOS is added unless the ids already end with it.  An empty
 * prompt makes the second part a text.  The first token of a sample has nothing before it and is never learned. */
#ifndef AR_DATA_ENCODE_H
#define AR_DATA_ENCODE_H

#include "alphar/tokenizer.h"
#include "data/parts.h"

typedef struct ar_encoded {
    ar_ids ids;
    size_t first_target; /* ids[first_target..] are learned; at least 1 */
    ar_data_kind kind;
    bool own_bos; /* the text has it, and the tokenizer would have added another */
} ar_encoded;

/* Replaces what *out held; its memory is used again.  eos -1: append nothing. */
ar_status ar__encode(ar_encoded *out, const ar_line *line, const ar_tokenizer *tk, int32_t eos, bool train_on_all, ar_error *err);

#endif
