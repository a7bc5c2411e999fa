/* What the user asked for, resolved: defaults filled in, contradictions refused, and as JSON for run.json and resume. */
#ifndef AR_TRAIN_SETTINGS_H
#define AR_TRAIN_SETTINGS_H

#include <jansson.h>

#include "adapter/settings.h"
#include "alphar/train.h"

/* Values that make no sense alone or together: AR_ERR_USAGE. */
ar_status ar__train_options_check(const ar_train_options *o, ar_error *err);

/* Files or samples in memory. */
static inline bool ar__has_data(const ar_train_options *o) { return o->data || o->more_data_count || o->sample_count; }
static inline bool ar__has_eval_data(const ar_train_options *o) { return o->eval_data || o->more_eval_data_count || o->eval_sample_count; }

/* The adapter settings that the options describe; base is the name to record. */
ar_status ar__train_adapter_settings(ar_adapter_settings *out, const ar_train_options *o, ar_error *err);

/* Every setting by its option's name.  NULL when memory runs out.  data_hash NULL: not known yet, no checkpoint either. */
json_t *ar__train_settings_json(const ar_train_options *o, int64_t steps, const uint64_t *data_hash);
/* Names of those options that were given where run.json's value alone does not tell: it holds what they became. */
json_t *ar__train_given_json(const ar_train_options *o);
/* Do the settings of a resumed run (`before`) allow `now`?  The first difference that matters is an error that names
 * both values. */
ar_status ar__train_settings_agree(const json_t *before, const json_t *now, const char *place, ar_error *err);

#endif
