/* Do the settings select the sites that have pairs?  PEFT makes pairs by target_modules and ignores tensors of any other
 * module, so that the answer decides what a folder means. */
#include <stdlib.h>

#include "adapter/adapter.h"
#include "adapter/targets.h"
#include "base/fail.h"
#include "base/mem.h"

ar_status ar__adapter_unselected(size_t *out, const ar_adapter *ad, ar_error *err) {
    ar_adapter_settings s = ad->settings; /* a view: nothing of it is released */
    size_t n = ad->pair_count;
    *out = SIZE_MAX;
    if (!n || (!s.targets.regex && !s.targets.list.count && !s.targets.is_empty)) return AR_OK;
    s.save = (ar_strings){0}; /* what is saved whole has no pair, and need not be in this file */
    ar_module *modules = ar__alloc(n, sizeof *modules);
    ar_target *target = ar__alloc(n, sizeof *target);
    ar_status st = modules && target ? AR_OK : ar__fail_memory(err, "targets");
    for (size_t i = 0; !st && i < n; i++)
        modules[i] = (ar_module){.path = ad->pair[i].site, .kind = ad->pair[i].is_embedding ? AR_MODULE_EMBEDDING : AR_MODULE_LINEAR};
    ar_module_list list = {modules, (int)n, NULL, 0};
    if (!st) st = ar__targets_resolve(target, &s, &list, err);
    if (st == AR_ERR_NOT_FOUND) st = AR_OK; /* none at all: target is still zero, AR_TARGET_NONE */
    for (size_t i = n; !st && i-- > 0;)
        if (target[i] != AR_TARGET_PAIR) *out = i;
    free(modules);
    free(target);
    return st;
}
