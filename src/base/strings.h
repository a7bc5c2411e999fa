/* A list of owned strings. */
#ifndef AR_BASE_STRINGS_H
#define AR_BASE_STRINGS_H

#include <stdbool.h>
#include <stddef.h>

/* The zeroed struct is an empty list. */
typedef struct ar_strings {
    char **at;
    size_t count, cap;
} ar_strings;
bool ar__strings_add(ar_strings *list, const char *s); /* copies; false when memory runs out */
bool ar__strings_has(const ar_strings *list, const char *s);
bool ar__strings_copy(ar_strings *out, const ar_strings *from); /* out must be empty */
void ar__strings_release(ar_strings *list);

#endif
