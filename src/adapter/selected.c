/* Do the settings select the sites that have pairs?  PEFT makes pairs by target_modules and ignores tensors of any other
 * module, so that the answer decides what a folder means. */
#include <stdlib.h>
#include <string.h>

#include "adapter/peft.h"
#include "adapter/targets.h"
#include "base/fail.h"
#include "base/mem.h"

/* Stacked experts and single parameters are chosen by target_parameters. */
static bool is_parameter(const ar_adapter *ad, const ar_pair *p) {
    return p->experts || ar__peft_targets_parameter(&ad->settings, p->site, strlen(p->site), "weight");
}

ar_status ar__adapter_unselected(size_t *out, const ar_adapter *ad, ar_error *err) {
    ar_adapter_settings s = ad->settings; /* a view: nothing of it is released */
    size_t n = 0;
    *out = SIZE_MAX;
    if (!s.targets.regex && !s.targets.list.count && !s.targets.is_empty) return AR_OK;
    s.save = (ar_strings){0}; /* what is saved whole has no pair, and need not be in this file */
    ar_module *modules = ar__alloc(ad->pair_count, sizeof *modules);
    ar_target *target = ar__alloc(ad->pair_count, sizeof *target);
    size_t *pair = ar__alloc(ad->pair_count, sizeof *pair);
    ar_status st = modules && target && pair ? AR_OK : ar__fail_memory(err, "targets");
    for (size_t i = 0; !st && i < ad->pair_count; i++) {
        const ar_pair *p = &ad->pair[i];
        if (is_parameter(ad, p)) continue;
        modules[n] = (ar_module){.path = p->site, .kind = p->is_embedding ? AR_MODULE_EMBEDDING : AR_MODULE_LINEAR};
        pair[n++] = i;
    }
    ar_module_list list = {modules, (int)n, NULL, 0};
    if (!st && n) st = ar__targets_resolve(target, &s, &list, err);
    if (st == AR_ERR_NOT_FOUND) st = AR_OK; /* none at all: target is still zero, AR_TARGET_NONE */
    for (size_t i = n; !st && i-- > 0;)
        if (target[i] != AR_TARGET_PAIR) *out = pair[i];
    free(modules);
    free(target);
    free(pair);
    return st;
}
