/* What a run notes of itself: run.json, and the provenance inside the adapter. */
#ifndef AR_TRAIN_RECORD_H
#define AR_TRAIN_RECORD_H

#include "train/learner.h"
#include "train/remarks.h"

/* Hash of all sample ids: tells whether a resumed run sees the same data. */
uint64_t ar__data_hash(const ar_dataset *data);
/* What the rows are, as an adapter keeps it; the hash of the template that wrote them (false: none did). */
const char *ar__record_form(const ar_learner *l);
bool ar__record_template(char hash[17], const ar_learner *l);
/* DIR/run.json: settings by option name, how they were resolved, and at the end the remarks (NULL before). */
ar_status ar__record_write(const ar_learner *l, const char *dir, const ar_remarks *remarks, ar_error *err);
/* Compares DIR/run.json, where there is one, with this run. */
ar_status ar__record_check(const ar_learner *l, const char *dir, ar_error *err);
/* Notes on the data: form of the rows, map, length. */
ar_status ar__record_data_notes(ar_learner *l, ar_error *err);
/* Provenance notes of the adapter: base, learning rate, version. */
ar_status ar__record_provenance(ar_learner *l, ar_error *err);

#endif
