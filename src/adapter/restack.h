/* Experts that other formats have apart, as PEFT's stacks, and the other way round. */
#ifndef AR_ADAPTER_RESTACK_H
#define AR_ADAPTER_RESTACK_H

#include "adapter/adapter.h"

/* Whether the adapter has pairs of a stack's experts that stand apart. */
bool ar__adapter_has_apart(const ar_adapter *ad);
/* A copy of `ad` whose experts are stacked; new numbers go to a spool in dir, and its whole tensors stay in ad's files.  Errors:
 * AR_ERR_UNSUPPORTED where experts of a stack are missing or differ in what one pair of tensors cannot hold. */
ar_status ar__adapter_restacked(ar_adapter **out, const ar_adapter *ad, bool in_turn, const char *dir, ar_error *err);

/* Whether the adapter has stacks; a copy of it without.  in_turn: rows of gate and up take turns in a stack's B (gpt_oss). */
bool ar__adapter_has_stacks(const ar_adapter *ad);
ar_status ar__adapter_unstacked(ar_adapter **out, const ar_adapter *ad, bool in_turn, const char *dir, ar_error *err);

#endif
