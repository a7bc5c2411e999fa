/* Members of a JSON text changed in place, so that every other byte stays.  The text has been parsed before, so that scanning it needs no
 * checks of its own. */
#ifndef AR_STORE_JSON_EDIT_H
#define AR_STORE_JSON_EDIT_H

#include "base/mem.h"

/* text: a JSON object.  Sets the member of the top level, or of the member `inside` (which must be an object; nothing
 * happens where there is none), to a JSON value; appended where it is missing and `add` says so. */
bool ar__json_edit(ar_buf *text, const char *inside, const char *key, const char *value, bool add);
/* text[at, at + length) becomes `with`. */
void ar__json_splice(ar_buf *text, size_t at, size_t length, const char *with);

#endif
