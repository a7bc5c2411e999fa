/* The chat templates that come with a tokenizer. */
#ifndef AR_TEXT_TEMPLATES_H
#define AR_TEXT_TEMPLATES_H

#include <jansson.h>

#include "alphar/error.h"

/* *out: an array of {"name", "template"}, the caller's.  Of a folder chat_template.jinja ("default") and additional_chat_templates' files
 * stand before the configuration, which then does not count; folder NULL: there are none.  place: for messages. */
ar_status ar__chat_templates(json_t **out, const char *folder, const json_t *config, const char *place, ar_error *err);

#endif
