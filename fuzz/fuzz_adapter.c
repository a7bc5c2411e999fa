/* A PEFT folder: the configuration, NUL, the weights. */
#include "adapter/peft.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char *const names[] = {AR_PEFT_CONFIG, AR_PEFT_WEIGHTS};
    fuzz_open_adapter(fuzz_folder(data, size, names, 2));
    return 0;
}
