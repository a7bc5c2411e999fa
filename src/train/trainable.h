/* Everything that trains is one flat list; the optimizer knows nothing else.
 *
 * LoRA pairs, DoRA magnitudes, whole tensors, biases and full fine-tuning are different fillings.  Values are f32 and
 * stay where the adapter or the model keeps them, in the host's memory; gradients and moments belong to the list, in the operators' own
 * (ops/memory.h). */
#ifndef AR_TRAIN_TRAINABLE_H
#define AR_TRAIN_TRAINABLE_H

#include "model/attach.h"
#include "ops/ops.h"
#include "train/scales.h"

typedef struct ar_trainables {
    ar_trainable *at;
    size_t count, cap, total; /* total: numbers in all */
    const ar_runtime *rt;     /* whose operators' own memory the next two are: */
    ar_arena grads;           /* of all, in the order of the list: one flat list to who sums them up over machines (train/share.h) */
    size_t behind;            /* where in it, counted in floats, those begin whose modules stand behind the layers */
    ar_arena state;           /* moments, and what is held beside */
    ar_arena values;  /* the host's, which operators know: what learns close together, but stands elsewhere (ar_trainable.columns) */
    int lowest_layer; /* lowest layer with a trainable; the number of layers if only the head has */
    bool embed;       /* the embedding trains */
    bool ple;         /* the table, projection or norm of per-layer embeddings does */
} ar_trainables;

/* What of an attached adapter trains. */
typedef struct ar_training {
    bool pairs;        /* A, B, magnitudes; and whole tensors */
    ar_scales *scales; /* s; NULL: does not */
    double lr_ratio;
    bool moments;
} ar_training;

/* Wires the gradients into the attachment and the model. */
ar_status ar__trainables_from_adapter(ar_trainables *out, ar_model *m, ar_attachment *at, const ar_training *what, ar_error *err);
/* Backward adds what it would have to number `at` of the flat list to to(user, at) instead. */
typedef float *ar_redirect_fn(void *user, size_t at);
void ar__trainables_redirect(const ar_trainables *t, ar_model *m, ar_attachment *at, ar_redirect_fn *to, void *user);
/* After values have changed: where they stand a second time. */
void ar__trainables_spread(const ar_trainables *t);
/* To the operators the values, which the host wrote; and to the host, wherever they stand, what operators made of them. */
void ar__trainables_put(const ar_trainables *t);
void ar__trainables_get(const ar_trainables *t);
/* The scales among them; NULL where there are none. */
ar_trainable *ar__trainables_scales(ar_trainables *t);
/* Every weight of the model, which is made to own them. */
ar_status ar__trainables_from_model(ar_trainables *out, ar_model *m, bool moments, ar_error *err);
void ar__trainables_release(ar_trainables *t);

#endif
