/* One sample to token ids, and which of them are learned.
 *
 *     text      [BOS] text EOS             learned: everything
 *     two parts [BOS] prompt | learned EOS learned: from the bar on
 *
 * BOS, and whatever else the post-processor adds, as the tokenizer says, unless the text begins with it; the second part is
 * encoded without special tokens and joined without a separator.  EOS is added unless the ids already end with it.  An empty
 * prompt makes the second part a text.  The first token of a sample has nothing before it and is never learned. */
#ifndef AR_DATA_ENCODE_H
#define AR_DATA_ENCODE_H

#include "alphar/data.h"
#include "alphar/tokenizer.h"
#include "data/parts.h"

typedef struct ar_encoded {
    ar_ids ids;
    size_t first_target; /* ids[first_target..] are learned, at least 1; where there are marks, the first that is marked */
    bool marked;
    uint8_t *marks; /* marked: [ids.count] which ids are learned; marks[0] is 0 */
    size_t marks_cap;
    ar_data_kind kind;
    uint32_t mapped; /* as in ar_parts */
    bool own_bos;    /* the text has it, and the tokenizer would have added another */
} ar_encoded;

typedef struct ar_encoding {
    const ar_tokenizer *tk;
    const ar_form *form;
    int32_t eos; /* -1: append nothing */
    bool train_on_all;
} ar_encoding;

/* Replace what *out held; its memory is used again. */
ar_status ar__encode(ar_encoded *out, const ar_line *line, const ar_encoding *how, ar_error *err);
ar_status ar__encode_memory(ar_encoded *out, const ar_memory_sample *sample, const ar_encoding *how, ar_error *err);
void ar__encoded_release(ar_encoded *e); /* safe on a zeroed one */

#endif
