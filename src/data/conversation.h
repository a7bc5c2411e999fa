/* A row's conversation, brought to the form that chat templates expect: a list of messages with role and content.
 *
 *     messages        [{"role", "content", …}]              as OpenAI and Hugging Face write it
 *     conversations   [{"from", "value"}], system, tools    ShareGPT's: human, gpt, system, tool, function_call, observation
 *     prompt, completion                                    lists of messages, or strings where a template is asked for
 *
 * As apply_chat_template does, keys of a message that are null go, and `reasoning_content`, `thinking`, `reasoning` stand for one another.
 */
#ifndef AR_DATA_CONVERSATION_H
#define AR_DATA_CONVERSATION_H

#include <jansson.h>

#include "alphar/data.h"
#include "data/form.h"

/* LEARNED: where an assistant says it.  NAMED: the message says so itself, whoever says it. */
enum { AR_MESSAGE_UNLEARNED, AR_MESSAGE_LEARNED, AR_MESSAGE_NAMED };

typedef struct ar_conversation {
    json_t *messages; /* a list of objects, own */
    json_t *tools;    /* NULL: none */
    json_t *vars;     /* chat_template_kwargs; NULL: none */
    uint8_t *learn;   /* of each message, what the row wants: AR_UNLEARNED … */
    bool given;       /* a message says so itself: train, training, weight */
    size_t count;
} ar_conversation;

/* What the field of that role says; NULL where it is absent or null. */
const json_t *ar__row_value(const json_t *row, const ar_form *f, ar_field_role role);
/* Whether the row has a conversation. */
bool ar__conversation_is_in(const json_t *row, const ar_form *f);
/* From the row's fields.  Errors: AR_ERR_FORMAT.  Release in any case. */
ar_status ar__conversation_read(ar_conversation *out, const json_t *row, const ar_form *f, ar_error *err);
/* Of a prompt (NULL: none), which is not learned, and what the field of that role says behind it; each is a list of messages, one
 * message, or a string, which the prompt's user says, and then the assistant.  The row brings tools too.  Errors: AR_ERR_FORMAT. */
ar_status ar__conversation_of_halves(ar_conversation *out, const json_t *row, const ar_form *f, const json_t *prompt,
                                     ar_field_role completion, ar_error *err);
/* From a list of messages: a file's, or a chat's. */
ar_status ar__conversation_from(ar_conversation *out, const json_t *messages, const json_t *tools, ar_error *err);
/* What is said in a conversation of one turn. */
typedef struct ar_turn_texts {
    const char *system, *user, *answer; /* NULL: none */
    size_t system_size, user_size, answer_size;
} ar_turn_texts;

/* row: NULL, or where tools and variables are. */
ar_status ar__conversation_of_texts(ar_conversation *out, const json_t *row, const ar_form *f, const ar_turn_texts *t, ar_error *err);
void ar__conversation_release(ar_conversation *c); /* safe on a zeroed one */

bool ar__message_is_from(const json_t *message, const char *role);
/* Neither content, nor tool calls, nor reasoning. */
bool ar__message_is_silent(const json_t *message);

#endif
