/* What operators know of a base in the host's memory (ops/memory.h): every tensor that they run on, told of once, and told to forget before
 * it goes.  Where all memory is the host's, nothing of this does anything. */
#ifndef AR_MODEL_MIRROR_H
#define AR_MODEL_MIRROR_H

#include "model/model.h"

/* Tells of what is new, and forgets what has been replaced: whoever runs the base asks for it, behind every change of where a tensor lies.
 * In the order of addresses, which is that of a file.  AR_ERR_MEMORY says what the base needs, and what there is. */
ar_status ar__model_mirror(const ar_model *m, ar_error *err);
/* Forgets one tensor, whose memory goes; NULL, or what nobody told of, is fine. */
void ar__model_unmirror(const ar_model *m, const void *data);
/* The list, empty; and everything forgotten, with the base. */
struct ar_mirrors *ar__mirrors_new(void);
void ar__mirrors_free(ar_model *m);
/* Bytes that ar__model_mirror tells of in all; *known: of them, what it told of before. */
size_t ar__model_mirror_bytes(const ar_model *m, size_t *known);
/* Brings the host what training changed of the base's own copies. */
void ar__model_get(const ar_model *m);

#endif
