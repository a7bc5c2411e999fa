/* JSON files over jansson: whole-file loading with line and column, and typed getters.
 *
 * A getter leaves *out alone where the key is absent or null, so that the caller sets the default first, and fails
 * with `FILE: 'key': found string, wanted integer` where the value has another type.  `place` is the file's path. */
#ifndef AR_FORMAT_JSON_H
#define AR_FORMAT_JSON_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "alphar/error.h"

/* The only way to jansson's parser.  Every number that JSON or Python's json allows is read: integers past 64 bits
 * (tokenizer files hold 1e30 written out) as reals; NaN, infinities and what is past a double as notes (below).  A byte
 * order mark is skipped.  Flags are jansson's; NULL and *at where it is no JSON, its columns those of the text unless
 * such a number stands before on the line. */
enum { AR_JSON_NOTE_INTEGERS = 1 << 30 }; /* beside jansson's flags: integers past 64 bits are notes, not reals */
json_t *ar__json_decode(const char *text, size_t n, size_t flags, json_error_t *at);
/* The same with words for what is wrong: `place:line:column: not JSON: …`.  Caller json_decref's. */
ar_status ar__json_read(json_t **out, const char *text, size_t n, size_t flags, const char *place, ar_error *err);
/* As ar__json_read; repeated keys, of which readers take the first or the last, are refused. */
ar_status ar__json_parse(json_t **out, const char *text, size_t n, const char *place, ar_error *err);
/* As ar__json_parse for a whole file. */
ar_status ar__json_load(json_t **out, const char *path, size_t max_bytes, ar_error *err);
/* As ar__json_load; the value must be an object. */
ar_status ar__json_load_object(json_t **out, const char *path, size_t max_bytes, ar_error *err);

ar_status ar__json_get_int(int64_t *out, const json_t *object, const char *key, const char *place, ar_error *err);
ar_status ar__json_get_double(double *out, const json_t *object, const char *key, const char *place, ar_error *err);
ar_status ar__json_get_bool(bool *out, const json_t *object, const char *key, const char *place, ar_error *err);
/* Borrowed from the object. */
ar_status ar__json_get_string(const char **out, const json_t *object, const char *key, const char *place, ar_error *err);
ar_status ar__json_get_array(const json_t **out, const json_t *object, const char *key, const char *place, ar_error *err);
ar_status ar__json_get_object(const json_t **out, const json_t *object, const char *key, const char *place, ar_error *err);
/* Fails unless the key is there and not null. */
ar_status ar__json_need(const json_t *object, const char *key, const char *place, ar_error *err);

/* The same for a bare value, for elements of arrays and patterns: false when it is something else. */
bool ar__json_as_int(int64_t *out, const json_t *value);
bool ar__json_as_double(double *out, const json_t *value);

/* The fewest significant digits, from `digits` on, that give x back when it is read: for JSON_REAL_PRECISION. */
unsigned ar__json_digits(unsigned digits, double x);

bool ar__json_has(const json_t *object, const char *key);   /* present and not null */
bool ar__json_holds(const json_t *array, const char *text); /* among its strings */
bool ar__json_is_off(const json_t *value);                  /* NULL, null, false, "", [] or {} */
const char *ar__json_type(const json_t *value);             /* "string", "integer", "NaN", …; for messages */
/* A number without a value here, as it was written ("1e400", "NaN"); NULL: something else. */
const char *ar__json_number_note(const json_t *value);
size_t ar__json_bom(const char *text, size_t n); /* bytes of the byte order mark that it begins with: 0 or 3 */

#endif
