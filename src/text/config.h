/* Reading the parts of a tokenizer.json: typed members with one message each, base64, strings with lengths. */
#ifndef AR_TEXT_CONFIG_H
#define AR_TEXT_CONFIG_H

#include <jansson.h>
#include <stdbool.h>

#include "alphar/error.h"
#include "base/mem.h"

/* The "type" of a part; NULL when there is none. */
const char *ar__config_type(const json_t *part);
/* Members: absent or null leaves *out as it is; another type is AR_ERR_FORMAT. */
ar_status ar__config_bool(bool *out, const json_t *part, const char *key, ar_error *err);
ar_status ar__config_size(size_t *out, const json_t *part, const char *key, ar_error *err);
/* The string stays the document's; it must be there. */
ar_status ar__config_text(const char **out, size_t *len, const json_t *part, const char *key, ar_error *err);
/* An array member that must be there. */
ar_status ar__config_array(const json_t **out, const json_t *part, const char *key, ar_error *err);
/* Refusal of a part by name: `tokenizer.json: pre-tokenizer 'Foo' is not supported; …` */
ar_status ar__config_refuse(const char *what, const json_t *part, ar_error *err);
/* Decodes standard base64 into out; false when it is none. */
bool ar__base64_decode(ar_buf *out, const char *s, size_t n);

#endif
