/* Adapters whose pairs hold what quantising took off W (train/start.h, loftq), by their notes. */
#ifndef AR_ADAPTER_CORRECTION_H
#define AR_ADAPTER_CORRECTION_H

#include "adapter/adapter.h"
#include "base/log.h"

/* The type over which alone the adapter is right, since its pairs hold what quantising took off W; NULL: none such. */
const char *ar__adapter_corrects(const ar_adapter *ad);
/* A warning where that is not the type of the base that it is used on (NULL: as it is). */
void ar__adapter_warn_correction(const ar_adapter *ad, const char *path, const char *quantize, const ar_log *log);

#endif
