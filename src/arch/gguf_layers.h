/* What differs from layer to layer, in a GGUF file's key-values: lists of one for each layer, and keys that end in _swa for layers with
 * the window where others have none.
 *
 *     attention.key_length, rope.dimension_count, rope.freq_base        of layers without the window
 *     …_swa                                                             of layers with it
 *     feed_forward_length, attention.head_count_kv                      a number, or a list over the layers
 *     attention.sliding_window_pattern                                  a list: true has the window
 *
 * Of an architecture with short convolutions attention.head_count_kv is 0 for the layers that have one in place of attention, and
 * feed_forward_length is what the rule of config.json made.
 *
 * Whether values are keys is not said: then layers without the window have no attn_v.  How much of their heads turns is a tensor,
 * rope_freqs: a frequency that is divided by 1e30 is none. */
#ifndef AR_ARCH_GGUF_LAYERS_H
#define AR_ARCH_GGUF_LAYERS_H

#include "arch/family.h"
#include "arch/gguf_write.h"

/* Whether a family's files have them. */
bool ar__gguf_is_layered(const ar_family *f);
/* To config the fields of the family's config.json, which are spelled as on the hub. */
ar_status ar__gguf_put_layers(json_t *config, const ar_tensors *files, const char *architecture, ar_error *err);
/* And the keys of a record. */
ar_status ar__gguf_write_layers(ar_gguf_writer *w, const ar_arch *a, ar_error *err);
/* Which layers have a short convolution in place of attention: to config, and of a record. */
ar_status ar__gguf_put_mixers(json_t *config, const ar_tensors *files, const char *architecture, ar_error *err);
ar_status ar__gguf_write_mixers(ar_gguf_writer *w, const ar_arch *a, ar_error *err);
/* rope_freqs of proportional rotary embeddings. */
void ar__gguf_proportional(float *factors, const ar_arch *a);

#endif
