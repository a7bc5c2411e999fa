/* What ties a GGUF file's key-values to config.json: one table, which the reader of a file and the writer of one go by. */
#ifndef AR_ARCH_GGUF_TABLE_H
#define AR_ARCH_GGUF_TABLE_H

#include <stdbool.h>

enum { AR_GGUF_FIELDS = 5 };

/* ARCHITECTURE.key: the first of its fields that the family reads. */
typedef struct ar_gguf_field {
    const char *key, *field[AR_GGUF_FIELDS];
} ar_gguf_field;

extern const ar_gguf_field ar__gguf_fields[]; /* ends with key NULL */
/* Whether it is the epsilon of the norms that the family has not: in config.json both kinds may have one name. */
bool ar__gguf_is_of_other_norms(const char *key, bool layer_norm);
/* The same of a rope block of kind yarn; one field each. */
extern const ar_gguf_field ar__gguf_yarn[];

#endif
