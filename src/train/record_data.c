/* What an adapter says of the rows that it was trained on, for whoever asks it (gen/trained.h). */
#include <stdio.h>
#include <string.h>

#include "train/record.h"

const char *ar__record_form(const ar_learner *l) { return ar__parts_kind_name(ar__dataset_kind(l->course->data)); }

bool ar__record_template(char hash[17], const ar_learner *l) {
    if (!l->course->chat || l->course->chat->broken || strcmp(ar__record_form(l), "messages") != 0) return false;
    snprintf(hash, 17, "%016llx", (unsigned long long)ar__chat_hash(l->course->chat));
    return true;
}

static ar_status note_template(ar_learner *l, ar_error *err) {
    char hash[17];
    if (!ar__record_template(hash, l)) return AR_OK;
    ar_status s = ar__adapter_set_note(l->adapter, AR_NOTE_TEMPLATE, hash, err);
    if (s || !l->course->own_template) return s;
    return ar__adapter_set_note(l->adapter, AR_NOTE_TEMPLATE_TEXT, l->course->chat->of[l->course->chat->standard].source, err);
}

ar_status ar__record_data_notes(ar_learner *l, ar_error *err) {
    char length[24];
    snprintf(length, sizeof length, "%d", l->o.course.max_length);
    ar_status s = ar__adapter_set_note(l->adapter, AR_NOTE_FORM, ar__record_form(l), err);
    if (!s && l->o.course.map) s = ar__adapter_set_note(l->adapter, AR_NOTE_MAP, l->o.course.map, err);
    if (!s && l->o.course.ignore_fields) s = ar__adapter_set_note(l->adapter, AR_NOTE_IGNORED, l->o.course.ignore_fields, err);
    if (!s) s = note_template(l, err);
    return s ? s : ar__adapter_set_note(l->adapter, AR_NOTE_MAX_LENGTH, length, err);
}
