/* Starting from an adapter that exists: its function is kept, whatever the new rank and alpha. */
#ifndef AR_TRAIN_INIT_ADAPTER_H
#define AR_TRAIN_INIT_ADAPTER_H

#include "adapter/adapter.h"
#include "alphar/train.h"
#include "base/log.h"

/* Fills `ad` (fresh, as the options describe it) from o->course.init_adapter.  Sites, DoRA and whole tensors must agree; a
 * larger rank gets the old rows of A and fresh ones, with zero columns of B; a change of s goes into B:
 * B' = B s_old / s_new.  Where neither rank nor alpha was asked for, the old ones are taken over. */
ar_status ar__init_adapter(ar_adapter *ad, const ar_train_options *o, const ar_log *log, ar_error *err);
/* Rank, alpha and policy of the options where they were not given, from the adapter they start from. */
ar_status ar__init_adapter_options(ar_train_options *o, ar_error *err);
/* The same for its sites, where no targets were given, and for its patterns, where neither rank nor alpha was. */
ar_status ar__init_adapter_settings(ar_adapter_settings *s, const ar_train_options *o, bool own_strengths, ar_error *err);
/* The chat template that it brings (*text NULL: none of its own; caller frees), and whether its rows were conversations. */
ar_status ar__init_adapter_template(char **text, bool *turns, const ar_course_options *o, ar_error *err);

#endif
