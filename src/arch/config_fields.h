/* What each field of config.json means to each family: a table of {key, families that read it, families to which it is
 * harmless, type, range}.  A family that does neither takes the field's off values alone (null, false, 0, "", [], {}),
 * because the file says something there that the family's code does not do.  Unknown fields have to be off too. */
#ifndef AR_ARCH_CONFIG_FIELDS_H
#define AR_ARCH_CONFIG_FIELDS_H

#include <jansson.h>

#include "alphar/error.h"
#include "arch/arch.h"

/* Bits of the table, one a family. */
enum { AR_LLAMA = 1, AR_MISTRAL = 2, AR_QWEN2 = 4, AR_QWEN3 = 8 };

/* Fails on the first field that is refused, or read and of another type or out of its range.  family: its bit; name: for
 * messages. */
ar_status ar__fields_check(const json_t *config, int family, const char *name, const char *place, ar_error *err);
/* The same for a block of rope parameters, which is one table for all families, by kind; a field that this kind does
 * not read is told to log. */
ar_status ar__rope_fields_check(const json_t *block, ar_rope_kind kind, const char *kind_name, const char *place, const ar_log *log,
                                ar_error *err);

#endif
