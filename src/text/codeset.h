/* Sets of code points as sorted ranges: what a character class of a pattern comes to. */
#ifndef AR_TEXT_CODESET_H
#define AR_TEXT_CODESET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct ar_coderange {
    uint32_t first, last;
} ar_coderange;

/* The zeroed struct is the empty set.  `failed` stays set once memory ran out. */
typedef struct ar_codeset {
    ar_coderange *range;
    size_t count, cap;
    bool failed;
} ar_codeset;

void ar__codeset_add(ar_codeset *s, uint32_t first, uint32_t last);
/* Adds every code point whose table value v satisfies (v & mask) == want; `nonzero` asks for (v & mask) != 0 instead. */
void ar__codeset_add_masked(ar_codeset *s, uint32_t mask, uint32_t want, bool nonzero);
void ar__codeset_add_set(ar_codeset *s, const ar_codeset *other);
void ar__codeset_invert(ar_codeset *s);
void ar__codeset_intersect(ar_codeset *s, ar_codeset *other); /* other is sorted, not changed in meaning */
void ar__codeset_sort(ar_codeset *s);                         /* ranges become disjoint and ascending */
void ar__codeset_release(ar_codeset *s);

/* A \p{name}: a category ("L", "Lu"), a script ("Han"), or Any; false if the table knows no such name. */
bool ar__codeset_property(ar_codeset *s, const char *name, size_t len);
/* A POSIX class such as "punct". */
bool ar__codeset_posix(ar_codeset *s, const char *name, size_t len);

#endif
