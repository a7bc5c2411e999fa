/* adapter_config.json alone. */
#include "adapter/peft.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const ar_adapter_options options = {.has_alpha = true, .alpha = 16};
    ar_adapter_settings settings;
    if (!ar__peft_config_read(&settings, fuzz_file(data, size), &options, NULL)) ar__settings_release(&settings);
    return 0;
}
