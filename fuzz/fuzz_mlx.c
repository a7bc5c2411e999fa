/* An MLX folder: the configuration, NUL, the weights. */
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char *const names[] = {"adapter_config.json", "adapters.safetensors"};
    fuzz_open_adapter(fuzz_folder(data, size, names, 2));
    return 0;
}
