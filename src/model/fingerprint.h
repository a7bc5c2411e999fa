/* Two fingerprints of a base, kept in adapters made on it.
 *
 *   architecture   FNV-1a over every module's path and shape, 16 hex digits
 *   weights        "path[index]=value" at fixed positions of eight modules spread over the model, dequantised, so that a
 *                  bf16 or GGUF copy of the same base is recognised within its dtype's tolerance */
#ifndef AR_MODEL_FINGERPRINT_H
#define AR_MODEL_FINGERPRINT_H

#include "base/mem.h"
#include "model/model.h"

enum { AR_FINGERPRINT_CHARS = 17 };

void ar__fingerprint_architecture(char out[AR_FINGERPRINT_CHARS], const ar_model *m);
void ar__fingerprint_weights(ar_buf *out, const ar_model *m);

#endif
