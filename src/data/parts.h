/* What a row of training data says, as spans of text one behind the other, each to be learned or not.
 *
 *     fields (first match wins)          spans
 *     messages, conversations, lists     a conversation, which a chat template writes (data/supervise.h)
 *     prompt, completion                 prompt | completion, learned
 *     question, answer                   question "\n" | answer, learned
 *     instruction, [input], output       Alpaca's text around both | output, learned
 *     text                               text, learned
 *
 * With ar_form.turns the pairs are conversations: a system message from `system`, the prompt or question (or Alpaca's instruction and, an
 * empty line behind it, its input) as what a user says, the rest as what an assistant answers.
 *
 * Pairs for a comparison (data/preference.h) are read as prompt and completion, with a second completion.
 *
 * A mapped context stands before the prompt, an empty line between them.  A field that is null counts as absent: exports of
 * mixed tables fill rows with null.  Every other field with something in it must be used or be named in --ignore-fields. */
#ifndef AR_DATA_PARTS_H
#define AR_DATA_PARTS_H

#include <jansson.h>

#include "base/mem.h"
#include "data/conversation.h"
#include "data/form.h"
#include "data/lines.h"

typedef enum ar_data_kind {
    AR_DATA_TEXT,
    AR_DATA_COMPLETION,
    AR_DATA_ANSWER,
    AR_DATA_ALPACA,
    AR_DATA_MESSAGES,
    AR_DATA_KINDS
} ar_data_kind;

typedef struct ar_text_span {
    const char *text;
    size_t size;
    bool learned;
} ar_text_span;

typedef struct ar_parts {
    ar_data_kind kind;
    ar_text_span span[2]; /* of plain rows; a prompt that is empty is none */
    int count;
    ar_conversation conversation; /* of AR_DATA_MESSAGES */
    bool pair;                    /* the spans, or the conversation, are the chosen one's; these the other's: */
    ar_text_span rejected;        /* in the place of the last span */
    ar_conversation rejected_conversation;
    uint32_t mapped; /* bit i: the row has the i-th field of --map */
    json_t *root;    /* owns the strings… */
    ar_buf made;     /* …but for a prompt that was put together */
} ar_parts;

/* AR_ERR_FORMAT: the line is bad (the message lacks file and line, which the caller puts in front).  What concerns all rows
 * of the kind: AR_ERR_MISMATCH for a field that is neither used nor ignored. */
ar_status ar__parts_read(ar_parts *out, const ar_line *line, const ar_form *form, ar_error *err);
/* For the prompt alone, the first span: what would be learned may be absent, and a plain text is a prompt. */
ar_status ar__parts_read_prompt(ar_parts *out, const ar_line *line, const ar_form *form, ar_error *err);
void ar__parts_release(ar_parts *p); /* safe on a zeroed one */

/* The name by which a kind is recorded: that of its first field. */
const char *ar__parts_kind_name(ar_data_kind kind);

#endif
