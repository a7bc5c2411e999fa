/* One sample to token ids, and which of them are learned.
 *
 *     text      [BOS] text EOS             learned: everything
 *     two parts [BOS] prompt | learned EOS learned: from the bar on
 *     messages  what the template writes   learned: what touches a learned span (text/marked.h)
 *
 * BOS, and whatever else the post-processor adds, as the tokenizer says, unless the text begins with it; the second part is
 * encoded without special tokens and joined without a separator.  EOS is added unless the ids already end with it.  An empty
 * prompt makes the second part a text.  The first token of a sample has nothing before it and is never learned. */
#ifndef AR_DATA_ENCODE_H
#define AR_DATA_ENCODE_H

#include "alphar/data.h"
#include "alphar/tokenizer.h"
#include "data/odd.h"
#include "data/parts.h"
#include "data/supervise.h"

/* Which completion of a comparison a sample is. */
typedef enum ar_half { AR_HALF_NONE, AR_HALF_CHOSEN, AR_HALF_REJECTED } ar_half;

typedef struct ar_encoded {
    ar_ids ids;
    size_t first_target; /* ids[first_target..] are learned, at least 1; where there are marks, the first that is marked */
    bool marked;
    ar_buf marks; /* marked: [ids.count] which ids are learned; that of the first is 0 */
    ar_data_kind kind;
    ar_half half;
    uint32_t mapped;         /* as in ar_parts */
    bool own_bos;            /* the text has it, and the tokenizer would have added another */
    size_t rewritten;        /* turns of a conversation that the template does not leave as they were (data/supervise.h) */
    ar_odd odd;              /* of a conversation */
    ar_rendered whole, part; /* of a conversation; whole.text is its text */
} ar_encoded;

typedef struct ar_encoding {
    const ar_tokenizer *tk;
    const ar_form *form;
    const ar_chat *chat;     /* NULL: the base has no chat template, and none was named */
    const ar_frames *frames; /* of the chat; NULL: none */
    int32_t eos;             /* -1: append nothing */
    ar_train_on train_on;
    bool keep_text; /* whole.text of plain rows too */
} ar_encoding;

/* Replace what *out held; its memory is used again.  rejected: of a comparison the second sample, where out->half says that
 * there is one; may be NULL where rows are no comparisons. */
ar_status ar__encode(ar_encoded *out, ar_encoded *rejected, const ar_line *line, const ar_encoding *how, ar_error *err);
ar_status ar__encode_parts(ar_encoded *out, const ar_parts *parts, const ar_encoding *how, ar_error *err);
ar_status ar__encode_memory(ar_encoded *out, ar_encoded *rejected, const ar_memory_sample *sample, const ar_encoding *how, ar_error *err);
void ar__encoded_release(ar_encoded *e); /* safe on a zeroed one */

#endif
