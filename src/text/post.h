/* Post-processors: which ids go around a text.  Whatever the configuration, it comes to one list of ids in which
 * AR_POST_TEXT stands for the text's own. */
#ifndef AR_TEXT_POST_H
#define AR_TEXT_POST_H

#include <jansson.h>

#include "alphar/tokenizer.h"

enum { AR_POST_TEXT = -1 };

/* config: the "post_processor" of a tokenizer.json; NULL or null adds nothing. */
ar_status ar__post_read(ar_ids *out, const json_t *config, ar_error *err);
/* Whether a token's place in the text leaves out the white space around it (trim_offsets). */
bool ar__post_trims(const json_t *config);

#endif
