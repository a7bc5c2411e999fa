/* Experts that other formats have apart, as PEFT's stacks. */
#ifndef AR_ADAPTER_RESTACK_H
#define AR_ADAPTER_RESTACK_H

#include "adapter/adapter.h"

/* Whether the adapter has pairs of a stack's experts that stand apart. */
bool ar__adapter_has_apart(const ar_adapter *ad);
/* A copy of `ad` whose experts are stacked; new numbers go to a spool in dir, and its whole tensors stay in ad's files.  Errors:
 * AR_ERR_UNSUPPORTED where experts of a stack are missing or differ in what one pair of tensors cannot hold. */
ar_status ar__adapter_restacked(ar_adapter **out, const ar_adapter *ad, const char *dir, ar_error *err);

#endif
