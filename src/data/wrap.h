/* The text around a prompt: a newline behind a question, Alpaca's text around an instruction. */
#ifndef AR_DATA_WRAP_H
#define AR_DATA_WRAP_H

#include "data/parts.h"

/* The prompt of that kind around a question or an instruction; input counts for an instruction, n_input 0: none. */
void ar__wrap(ar_buf *out, ar_data_kind kind, const char *text, size_t n, const char *input, size_t n_input);
/* Whether the text is such a prompt already. */
bool ar__is_wrapped(ar_data_kind kind, const char *text, size_t n);

/* Alpaca's text with %s-free placeholders, for the log: "…### Instruction:\n{instruction}…", newlines as \n. */
const char *ar__alpaca_text(void);

#endif
