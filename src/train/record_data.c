/* What an adapter says of the rows that it was trained on, for whoever asks it (gen/trained.h). */
#include <stdio.h>
#include <string.h>

#include "train/record.h"

const char *ar__record_form(const ar_trainer *t) { return ar__parts_kind_name(ar__dataset_kind(t->data)); }

bool ar__record_template(char hash[17], const ar_trainer *t) {
    if (!t->chat || t->chat->broken || strcmp(ar__record_form(t), "messages") != 0) return false;
    snprintf(hash, 17, "%016llx", (unsigned long long)ar__chat_hash(t->chat));
    return true;
}

static ar_status note_template(ar_trainer *t, ar_error *err) {
    char hash[17];
    if (!ar__record_template(hash, t)) return AR_OK;
    ar_status s = ar__adapter_set_note(t->adapter, AR_NOTE_TEMPLATE, hash, err);
    if (s || !t->own_template) return s;
    return ar__adapter_set_note(t->adapter, AR_NOTE_TEMPLATE_TEXT, t->chat->of[t->chat->standard].source, err);
}

ar_status ar__record_data_notes(ar_trainer *t, ar_error *err) {
    char length[24];
    snprintf(length, sizeof length, "%d", t->o.course.max_length);
    ar_status s = ar__adapter_set_note(t->adapter, AR_NOTE_FORM, ar__record_form(t), err);
    if (!s && t->o.course.map) s = ar__adapter_set_note(t->adapter, AR_NOTE_MAP, t->o.course.map, err);
    if (!s && t->o.course.ignore_fields) s = ar__adapter_set_note(t->adapter, AR_NOTE_IGNORED, t->o.course.ignore_fields, err);
    if (!s) s = note_template(t, err);
    return s ? s : ar__adapter_set_note(t->adapter, AR_NOTE_MAX_LENGTH, length, err);
}
