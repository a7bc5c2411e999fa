/* What ranks that measure together have to have in common (train/agree.h). */
#ifndef AR_CHECK_AGREEMENT_H
#define AR_CHECK_AGREEMENT_H

#include "check/evaluation.h"

/* An evaluation whose data are loaded: settings, base, adapter, samples. */
ar_status ar__evaluation_agree(const ar_evaluation *e, const char *name, ar_error *err);
/* A search for the best strength, before anything is loaded. */
ar_status ar__search_agree(const ar_strengths_options *o, const ar_runtime *rt, ar_error *err);
/* One more session, by all that its answers depend on. */
ar_status ar__session_agree(const ar_session *s, const char *name, ar_ranks *ranks, ar_error *err);

#endif
