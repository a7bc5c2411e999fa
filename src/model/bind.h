/* Finds a module's tensors in the files of a base, checked against the record. */
#ifndef AR_MODEL_BIND_H
#define AR_MODEL_BIND_H

#include "model/model.h"

/* Binds every module of m to m->base.  Norms and biases become owned f32 copies. */
ar_status ar__model_bind(ar_model *m, ar_error *err);

#endif
