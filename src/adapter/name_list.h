/* Names as people type them: "q_proj, v_proj", "regex:.*mlp.*", "all-linear". */
#ifndef AR_ADAPTER_NAME_LIST_H
#define AR_ADAPTER_NAME_LIST_H

#include "adapter/settings.h"
#include "alphar/error.h"

/* The n bytes at text without spaces around them; *n follows. */
const char *ar__trimmed(size_t *n, const char *text);
/* Names between commas, trimmed.  Errors: AR_ERR_USAGE, naming the option, for an empty one and for none. */
ar_status ar__strings_parse(ar_strings *out, const char *option, const char *text, ar_error *err);
/* The same, or `regex:RE`, or all-linear in any case. */
ar_status ar__names_parse(ar_names *out, const char *option, const char *text, ar_error *err);

#endif
