/* Samples that are in memory already, for training and evaluating without files. */
#ifndef ALPHAR_DATA_H
#define ALPHAR_DATA_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* One sample, in one of three ways:
 *   - text: all of it is learned; BOS and EOS come as from a file;
 *   - prompt and completion: the completion is learned;
 *   - ids, just as they are: nothing is added; learned [count] marks the targets with 1 (NULL: all but the first).
 * Texts are UTF-8 and end with NUL.  What is not used is NULL.  The caller keeps everything until the call returns. */
typedef struct ar_memory_sample {
    const char *text;
    const char *prompt, *completion;
    const int32_t *ids;
    const uint8_t *learned;
    size_t count;
} ar_memory_sample;

#ifdef __cplusplus
}
#endif
#endif
