/* What a row of training data says: the prompt and what is to be learned after it, or one plain text.
 *
 *     fields (first match wins)          prompt                     learned
 *     prompt, completion                 prompt                     completion
 *     question, answer                   question "\n"              answer
 *     instruction, [input], output       Alpaca's text around both  output
 *     text                               none                       text
 *
 * A mapped context stands before the prompt, an empty line between them.  A field that is null counts as absent: exports of
 * mixed tables fill rows with null.  Every other field with something in it must be used or be named in --ignore-fields;
 * `messages` and `conversations` are refused until chat templates are read. */
#ifndef AR_DATA_PARTS_H
#define AR_DATA_PARTS_H

#include <jansson.h>

#include "base/mem.h"
#include "data/form.h"
#include "data/lines.h"

typedef enum ar_data_kind { AR_DATA_TEXT, AR_DATA_COMPLETION, AR_DATA_ANSWER, AR_DATA_ALPACA, AR_DATA_KINDS } ar_data_kind;

typedef struct ar_parts {
    ar_data_kind kind;
    const char *prompt; /* NULL for AR_DATA_TEXT */
    const char *learned;
    size_t prompt_size, learned_size;
    uint32_t mapped; /* bit i: the row has the i-th field of --map */
    json_t *root;    /* owns the strings… */
    ar_buf made;     /* …but for a prompt that was put together */
} ar_parts;

/* AR_ERR_FORMAT: the line is bad (the message lacks file and line, which the caller puts in front).  What concerns all rows
 * of the kind: AR_ERR_MISMATCH for a field that is neither used nor ignored, AR_ERR_UNSUPPORTED for conversations. */
ar_status ar__parts_read(ar_parts *out, const ar_line *line, const ar_form *form, ar_error *err);
/* For the prompt alone, which is set: what would be learned may be absent, and a plain text is a prompt. */
ar_status ar__parts_read_prompt(ar_parts *out, const ar_line *line, const ar_form *form, ar_error *err);
void ar__parts_release(ar_parts *p); /* safe on a zeroed one */

/* The name by which a kind is recorded: that of its first field. */
const char *ar__parts_kind_name(ar_data_kind kind);

#endif
