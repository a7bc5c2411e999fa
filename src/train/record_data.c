/* What an adapter says of the rows that it was trained on, for whoever asks it (gen/trained.h). */
#include <stdio.h>

#include "train/record.h"

ar_status ar__record_data_notes(ar_trainer *t, ar_error *err) {
    char length[24];
    snprintf(length, sizeof length, "%d", t->o.max_length);
    ar_status s = ar__adapter_set_note(t->adapter, AR_NOTE_FORM, ar__parts_kind_name(ar__dataset_kind(t->data)), err);
    if (!s && t->o.map) s = ar__adapter_set_note(t->adapter, AR_NOTE_MAP, t->o.map, err);
    if (!s && t->o.ignore_fields) s = ar__adapter_set_note(t->adapter, AR_NOTE_IGNORED, t->o.ignore_fields, err);
    return s ? s : ar__adapter_set_note(t->adapter, AR_NOTE_MAX_LENGTH, length, err);
}
