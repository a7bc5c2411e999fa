/* One module, several spellings.  What an adapter's file calls a module is brought to one name here, for every command:
 *
 *   wrappers    _orig_mod (torch.compile), _fsdp_wrapped_module, _checkpoint_wrapped_module, _forward_module, module (DDP,
 *               DeepSpeed) are no part of a path, wherever they stand
 *   doubled     `model.model.layers…` of a model that was wrapped once more
 *   by a base   the spelling that the base's own file has, where it is a plain language model: `language_model.model.layers…`,
 *               `model.language_model.layers…` and `layers…` are its `model.layers…`.  A multimodal base has several right
 *               spellings, so that there the adapter's stays.
 *
 * PEFT loads a tensor by the exact path of its module and passes over the others without a word. */
#ifndef AR_ADAPTER_SITE_NAME_H
#define AR_ADAPTER_SITE_NAME_H

#include "base/mem.h"
#include "weights/base.h"

/* Appends the path without wrappers; *found (may be NULL): the first of these, NULL where there is none. */
void ar__site_unwrapped(ar_buf *out, const char *path, const char **found);
/* Appends the one name.  base NULL: by rule. */
void ar__site_name(ar_buf *out, const ar_base *base, const char *path);
/* Do two paths mean one module, whatever the wrapper of a multimodal model and a leading "model."? */
bool ar__site_is_same(const char *a, const char *b);
/* "model.layers.3.mlp.up_proj": layer 3, −1 where there is none, and role up_proj, which is part of the path. */
long ar__site_layer(const char *path);
const char *ar__site_role(const char *path);

#endif
