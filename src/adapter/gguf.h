/* GGUF adapters, as llama.cpp reads them; docs/gguf.md.
 *
 *     general.type "adapter"   adapter.type "lora"   general.architecture   adapter.lora.alpha f32
 *     STEM.weight.lora_a ne {n_in, r}     STEM.weight.lora_b ne {r, n_out}        s = α ? α / r : 1, r from each tensor
 *     token_embd: lora_a ne {r, vocab}, lora_b ne {r, width}
 *
 * B's rows stand in the order that the base's rows have in GGUF (arch/names.h). */
#ifndef AR_ADAPTER_GGUF_H
#define AR_ADAPTER_GGUF_H

#include "adapter/formats.h"
#include "arch/names.h"
#include "format/gguf.h"

#define AR_GGUF_ALPHA "adapter.lora.alpha"
#define AR_GGUF_ALORA "adapter.alora.invocation_tokens"
#define AR_GGUF_NOTE_PREFIX "alphar."
ar_status ar__gguf_adapter_read(ar_adapter **out, const ar_read_context *c, ar_error *err);

/* Key-values that nothing here goes by, as notes of the adapter, so that a GGUF file made of it has them again, through a
 * PEFT folder too: note "gguf.KEY", "text:VALUE" of a string, else "hex:" and type word and value as in the file.
 * write: keep_types false leaves out what describes the dtypes of the old file. */
ar_status ar__gguf_keys_read(ar_adapter *ad, const ar_gguf *g, ar_error *err);
ar_status ar__gguf_keys_write(ar_gguf_writer *w, const ar_adapter *ad, bool keep_types, ar_error *err);

/* Heads by hand, else the base's, else the adapter's note; 0, 0 where nobody knows. */
ar_head_counts ar__gguf_heads(const ar_adapter *ad, const struct ar_base *base, int given, int given_kv);

#endif
