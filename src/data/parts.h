/* What a line of training data says: the prompt and what is to be learned after it, or one plain text.
 *
 *     fields (first match wins)          prompt                     learned
 *     prompt, completion                 prompt                     completion
 *     question, answer                   question "\n"              answer
 *     instruction, [input], output       Alpaca's text around both  output
 *     text                               none                       text
 *
 * `messages` stands before all of them and is refused until chat templates are read.  A field that is null counts as
 * absent: exports of mixed tables fill rows with null. */
#ifndef AR_DATA_PARTS_H
#define AR_DATA_PARTS_H

#include <jansson.h>

#include "base/mem.h"
#include "data/lines.h"

typedef enum ar_data_kind { AR_DATA_TEXT, AR_DATA_COMPLETION, AR_DATA_ANSWER, AR_DATA_ALPACA } ar_data_kind;

typedef struct ar_parts {
    ar_data_kind kind;
    const char *prompt; /* NULL for AR_DATA_TEXT */
    const char *learned;
    size_t prompt_size, learned_size;
    json_t *root; /* owns the strings… */
    ar_buf made;  /* …but for a prompt that was put together */
} ar_parts;

/* AR_ERR_FORMAT: the line is bad (the message lacks file and line, which the caller puts in front);
 * AR_ERR_UNSUPPORTED: `messages`. */
ar_status ar__parts_read(ar_parts *out, const ar_line *line, ar_error *err);
/* For the prompt alone, which is set: what would be learned may be absent, and a plain text is a prompt. */
ar_status ar__parts_read_prompt(ar_parts *out, const ar_line *line, ar_error *err);
void ar__parts_release(ar_parts *p); /* safe on a zeroed one */

/* Alpaca's text with %s-free placeholders, for the log: "…### Instruction:\n{instruction}…", newlines as \n. */
const char *ar__parts_alpaca_text(void);

#endif
