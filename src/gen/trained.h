/* What adapters say of their training: how the rows read, and how long they were.  Noted in the adapter's file; a model that
 * was trained whole has it in the run.json beside its weights, and an adapter of before there were notes its length.
 *
 *     alphar.data.form         text | prompt | question | instruction | mixed: the first field of the rows
 *     alphar.data.map          as --map, alphar.data.ignore-fields as --ignore-fields; absent where not given
 *     alphar.data.max-length   tokens */
#ifndef AR_GEN_TRAINED_H
#define AR_GEN_TRAINED_H

#include "adapter/adapter.h"
#include "data/parts.h"

typedef struct ar_trained {
    ar_strings forms; /* different ones */
    char *map, *ignored;
    char *template_hash, *template_text; /* of the chat template; text NULL: it was the base's */
    int max_length;                      /* the longest; 0: not known */
} ar_trained;

ar_status ar__trained_add(ar_trained *t, const ar_adapter *ad, ar_error *err);
/* What DIR/run.json says, where a training by that method left one: "full" beside a model, "lora" beside an adapter. */
ar_status ar__trained_read(ar_trained *t, const char *dir, const char *method, ar_error *err);
/* What DIR/merge.json keeps of the adapters that were merged. */
ar_status ar__trained_read_merged(ar_trained *t, const char *dir, ar_error *err);
void ar__trained_release(ar_trained *t);

/* The form that prompts are to be given; AR_DATA_KINDS: none, they go as they stand. */
ar_data_kind ar__trained_kind(const ar_trained *t);

#endif
