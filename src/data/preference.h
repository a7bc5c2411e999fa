/* Rows of two completions of one prompt, of which one was chosen (--objective).
 *
 *     prompt, chosen, rejected    strings: prompt | chosen EOS, prompt | rejected EOS, as prompt and completion are
 *                                 messages: a chat template writes prompt and completion, of which the latter is learned
 *     [prompt], chosen, rejected  whole conversations: the messages that both begin with are the prompt
 *
 * Each row becomes two samples, the chosen one in front. */
#ifndef AR_DATA_PREFERENCE_H
#define AR_DATA_PREFERENCE_H

#include "data/conversation.h"

/* Whether the row has both completions. */
bool ar__preference_is_in(const json_t *row, const ar_form *f);
/* Of a row that has them: whether something is a message, and not all are strings. */
bool ar__preference_has_messages(const json_t *row, const ar_form *f);
/* Both conversations of such a row.  Errors: AR_ERR_FORMAT.  Release both in any case. */
ar_status ar__preference_read(ar_conversation *chosen, ar_conversation *rejected, const json_t *row, const ar_form *f, ar_error *err);
/* The error for completions without a prompt before them. */
ar_status ar__preference_no_prompt(const json_t *row, const ar_form *f, ar_error *err);

#endif
