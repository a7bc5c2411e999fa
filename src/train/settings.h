/* What the user asked for: contradictions refused, and as JSON for run.json and resume. */
#ifndef AR_TRAIN_SETTINGS_H
#define AR_TRAIN_SETTINGS_H

#include <jansson.h>

#include "adapter/settings.h"
#include "alphar/settings.h"
#include "alphar/train.h"

static inline bool ar__has_samples(const ar_data_source *d) { return d->files.count || d->sample_count; }

/* A setting's value in the options: of what is whole (flags, choices too), of any number; of texts; of lists. */
int64_t ar__setting_integer(const ar_train_options *o, const ar_setting *s);
double ar__setting_number(const ar_train_options *o, const ar_setting *s);
const char *ar__setting_text(const ar_train_options *o, const ar_setting *s);
const ar_texts *ar__setting_texts(const ar_train_options *o, const ar_setting *s);
/* Returns the number of choices; *name (not ended) and its length are the i-th one's, where there is one. */
int ar__setting_choice(size_t *length, const char **name, const ar_setting *s, int i);

/* The adapter settings that the options describe; the base is the name to record. */
ar_status ar__train_adapter_settings(ar_adapter_settings *out, const ar_train_options *o, ar_error *err);

/* The settings of those parts (1 << AR_PART_COURSE | …) by their names.  NULL when memory runs out. */
json_t *ar__settings_parts_json(const ar_train_options *o, unsigned parts);
/* Every setting by its name.  NULL when memory runs out.  data_hash NULL: not known yet, no checkpoint either. */
json_t *ar__train_settings_json(const ar_train_options *o, int64_t steps, const uint64_t *data_hash);
/* Names of those that were given where run.json's value alone does not tell: it holds what they became. */
json_t *ar__train_given_json(const ar_train_options *o);
/* Do the settings of a resumed run (`before`) allow `now`?  The first difference that matters is an error that names
 * both values. */
ar_status ar__train_settings_agree(const json_t *before, const json_t *now, const char *place, ar_error *err);

#endif
