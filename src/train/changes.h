/* Habits that change more than they seem to: another rank or policy under the same alpha, another s·lr. */
#ifndef AR_TRAIN_CHANGES_H
#define AR_TRAIN_CHANGES_H

#include "adapter/adapter.h"
#include "alphar/train.h"
#include "base/log.h"

/* Against the adapter that this run begins with.  Its function is kept; this is about how it trains on. */
void ar__changes_warn_of_adapter(const ar_adapter *from, const ar_train_options *o, const ar_log *log);
/* Against the run whose result this one replaces in its folder; silent where none was there. */
void ar__changes_warn_of_run(const ar_train_options *o, const ar_log *log);

#endif
