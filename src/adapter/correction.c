#include "adapter/correction.h"

#include <string.h>

const char *ar__adapter_corrects(const ar_adapter *ad) {
    const char *init = ar__adapter_note(ad, AR_NOTE_INIT);
    return init && !strncmp(init, "loftq", 5) ? ar__adapter_note(ad, AR_NOTE_QUANTIZE) : NULL;
}

void ar__adapter_warn_correction(const ar_adapter *ad, const char *path, const char *quantize, const ar_log *log) {
    const char *type = ar__adapter_corrects(ad);
    if (type && (!quantize || strcmp(type, quantize) != 0))
        ar__log_warn(
            log,
            "%s: makes up for what quantising to %s took off the base (loftq), and over another is one error more: use it over the "
            "base quantised so (eval, generate: quantize %s), or take the correction away (alphar combine OUT THIS:1 THIS/start:-1)",
            path, type, type);
}
