/* What a changed adapter takes over from the one that it was made of. */
#include <string.h>

#include "adapter/adapter.h"
#include "base/fail.h"
#include "base/mem.h"

ar_status ar__adapter_copy_settings(ar_adapter *out, const ar_adapter *from, ar_error *err) {
    ar_status s = AR_OK;
    ar__settings_release(&out->settings);
    if (!ar__settings_copy(&out->settings, &from->settings)) return ar__fail_memory(err, "adapter");
    for (size_t i = 0; !s && i < from->note_keys.count; i++)
        s = ar__adapter_set_note(out, from->note_keys.at[i], from->note_values.at[i], err);
    out->format = from->format;
    return s ? s : ar__adapter_copy_inputs(out, from, err);
}

ar_status ar__adapter_copy_inputs(ar_adapter *out, const ar_adapter *from, ar_error *err) {
    bool ok = true;
    for (size_t i = 0; ok && i < from->inputs.count; i++) ok = ar__strings_add(&out->inputs, from->inputs.at[i]);
    return ok ? AR_OK : ar__fail_memory(err, "adapter");
}

ar_status ar__adapter_copy_wholes(ar_adapter *out, const ar_adapter *from, ar_error *err) {
    for (size_t i = 0; i < from->whole_count; i++) {
        const ar_whole *w = &from->whole[i];
        ar_whole *copy;
        bool stored = w->stored.is_there;
        ar_status s = stored ? ar__adapter_add_whole_stored(&copy, out, w->name, w->dims, w->shape, err)
                             : ar__adapter_add_whole(&copy, out, w->name, w->dims, w->shape, err);
        if (s) return s;
        if (stored)
            copy->stored = w->stored;
        else
            memcpy(copy->data, w->data, w->count * sizeof *w->data);
    }
    return AR_OK;
}
