/* What a base is called: in adapter_config.json, on a command line, on the hub, in its cache. */
#ifndef AR_ADAPTER_BASE_NAME_H
#define AR_ADAPTER_BASE_NAME_H

#include <stdbool.h>

/* How a new adapter names the base at this path: ORG/NAME where it is a snapshot in Hugging Face's cache
 * (…/models--ORG--NAME/snapshots/HASH), else the absolute path; caller frees, NULL: out of memory. */
char *ar__base_reference(const char *path);
/* May two names mean one model?  Their last parts are compared without case, signs, and words for a file's format or
 * quantisation ("-bnb-4bit", "-GGUF"). */
bool ar__base_name_is_like(const char *a, const char *b);

#endif
