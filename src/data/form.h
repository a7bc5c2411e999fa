/* Which fields of a row count, and as what: the names below, unless --map gives a role to another field.
 *
 *     --map prompt=question,completion=sql,context=schema --ignore-fields id,source
 *
 * A field that plays a role of its own name gives it up where it is mapped to another one.  `context` has no field of that
 * name by itself and may be mapped several times; --ignore-fields says which fields are meant to be left out. */
#ifndef AR_DATA_FORM_H
#define AR_DATA_FORM_H

#include "adapter/settings.h"

typedef enum ar_field_role {
    AR_FIELD_PROMPT,
    AR_FIELD_COMPLETION,
    AR_FIELD_QUESTION,
    AR_FIELD_ANSWER,
    AR_FIELD_INSTRUCTION,
    AR_FIELD_INPUT,
    AR_FIELD_OUTPUT,
    AR_FIELD_TEXT,
    AR_FIELD_MESSAGES,
    AR_FIELD_CONVERSATIONS,
    AR_FIELD_CHOSEN,
    AR_FIELD_REJECTED,
    AR_FIELD_SYSTEM,
    AR_FIELD_TOOLS,
    AR_FIELD_CONTEXT,
    AR_FIELDS
} ar_field_role;

enum { AR_FORM_MAPPED = 32 }; /* fields mapped at most */

/* What rows are for: samples that are learned, pairs that are compared (data/preference.h), or whatever stands there. */
typedef enum ar_rows_wanted { AR_ROWS_SAMPLES, AR_ROWS_PAIRS, AR_ROWS_ANY } ar_rows_wanted;

typedef struct ar_form {
    ar_rows_wanted wanted;              /* samples, unless who reads it asks for others */
    bool turns;                         /* pairs of plain texts are what a user says and an assistant answers */
    ar_strings mapped;                  /* the fields of --map, in its order */
    ar_field_role role[AR_FORM_MAPPED]; /* what each of them is */
    ar_strings ignored;
    const char *field[AR_FIELDS]; /* of each role but the context; NULL: none */
} ar_form;

/* map, ignored: as in the options above; NULL: none.  Errors: AR_ERR_USAGE. */
ar_status ar__form_read(ar_form *out, const char *map, const char *ignored, ar_error *err);
void ar__form_release(ar_form *f); /* safe on a zeroed one */

bool ar__form_ignores(const ar_form *f, const char *field);
/* The place of a field in `mapped`, -1 if it is not mapped. */
int ar__form_mapped(const ar_form *f, const char *field);
/* A mapped field that no row has is a slip.  met: bit i for the i-th field of `mapped`; place: of the message. */
ar_status ar__form_check_met(const ar_form *f, uint32_t met, const char *place, ar_error *err);
const char *ar__field_name(ar_field_role role);

#endif
