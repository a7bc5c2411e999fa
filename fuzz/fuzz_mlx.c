/* An MLX folder: the configuration, NUL, the weights; the same bytes also as an archive of before. */
#include <unistd.h>

#include "adapter/mlx.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char *const names[] = {AR_MLX_CONFIG, AR_MLX_WEIGHTS}, *const old[] = {AR_MLX_CONFIG, AR_MLX_OLD_WEIGHTS};
    unlink(fuzz_path(AR_MLX_OLD_WEIGHTS));
    fuzz_open_adapter(fuzz_folder(data, size, names, 2));
    unlink(fuzz_path(AR_MLX_WEIGHTS));
    fuzz_open_adapter(fuzz_folder(data, size, old, 2));
    return 0;
}
