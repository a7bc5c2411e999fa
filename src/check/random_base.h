/* A base of random weights on disk, for measuring: config.json is all it takes. */
#ifndef AR_CHECK_RANDOM_BASE_H
#define AR_CHECK_RANDOM_BASE_H

#include <stdint.h>

#include "alphar/error.h"

/* Fills the folder with config.json (a copy), model.safetensors (bf16, uniform with deviation 0.02, norms 1, biases 0) and
 * a tokenizer.json of the letters a to z and the blank.  Never holds more than a block of a tensor in memory. */
ar_status ar__random_base_write(const char *dir, const char *config_path, uint64_t seed, ar_error *err);

#endif
