/* How the conversations of a base are written: its chat template, with the variables that the template sees.  It does not change after
 * opening and may be used by several threads.
 *
 *     --template FILE or NAME, else the base's: chat_template.jinja, additional_chat_templates/NAME.jinja, or chat_template of
 *     tokenizer_config.json, a string or a list of named ones (`default`; `tool_use` for rows with tools) */
#ifndef AR_DATA_CHAT_H
#define AR_DATA_CHAT_H

#include "alphar/tokenizer.h"
#include "base/log.h"
#include "data/parts.h"
#include "text/marked.h"

enum { AR_CHAT_TEMPLATES = 16 };

typedef struct ar_chat_template {
    char *name, *source;
    size_t size;
    ar_template *t;
    ar_control control;
} ar_chat_template;

typedef struct ar_chat {
    ar_chat_template of[AR_CHAT_TEMPLATES];
    int count, standard, tool_use; /* places; tool_use -1: none */
    json_t *vars;                  /* bos_token and the like */
    char *place;                   /* where they come from, for messages */
    time_t now;
    ar_status broken; /* the base's own cannot be used; whoever needs it gets this error */
    ar_error why;
} ar_chat;

/* path: the base, or its tokenizer.  *out NULL with AR_OK: no template was asked for, and there is none.  A template of the base that
 * cannot be used is no error here, since most data does without. */
ar_status ar__chat_open(ar_chat **out, const char *path, const char *name, const ar_tokenizer *tk, ar_error *err);
/* The same with the source of a template, as an adapter keeps it. */
ar_status ar__chat_open_text(ar_chat **out, const char *path, const char *source, const ar_tokenizer *tk, ar_error *err);
void ar__chat_free(ar_chat *c); /* NULL is fine */

/* Says what may be meant otherwise: rows of plain text at a base that has a template, a template for another vocabulary.  c may be NULL. */
void ar__chat_remark(const ar_chat *c, const ar_tokenizer *tk, ar_data_kind kind, const ar_log *log);

/* The one that a conversation is written with. */
const ar_chat_template *ar__chat_choose(const ar_chat *c, const ar_conversation *conversation);
uint64_t ar__chat_hash(const ar_chat *c); /* of the standard one's source */

/* The first `count` messages, and the beginning of an answer where `prompt` is set.  Errors: AR_ERR_VALUE. */
ar_status ar__chat_render(ar_rendered *out, const ar_chat *c, const ar_conversation *conversation, size_t count, bool prompt,
                          ar_error *err);

#endif
