/* A vocabulary that was extended (or cut) for the training: embedding and head are saved whole with other rows than the
 * published base has, and take its place together. */
#include <string.h>

#include "adapter/algebra/merge.h"
#include "base/fail.h"

bool ar__merge_may_grow(const ar_merging *m, const ar_base_weight *w, const ar_whole *with) {
    const ar_base_weight *embedding = ar__base_embedding(m->base), *head = ar__base_head(m->base);
    bool of_vocabulary = w && (w == embedding || w == head || (embedding && w->data == embedding->data));
    return !m->gguf && of_vocabulary && w->dims == 2 && with->dims == 2 && with->shape[0] > 0 && with->shape[1] == w->shape[1];
}

static ar_status take_rows(ar_merging *m, ar_merge_tensor *t, ar_error *err) {
    int64_t rows = t->whole->shape[0];
    if (m->vocabulary && m->vocabulary != rows)
        return ar__fail(err, AR_ERR_MISMATCH, "tensor '%s' has %lld rows, embedding or head %lld: wanted one vocabulary for both", t->name,
                        (long long)rows, (long long)m->vocabulary);
    m->vocabulary = rows;
    m->vocabulary_of = t->whole_of;
    m->more_elements += (int64_t)t->whole->count - (int64_t)t->from.count;
    t->from.shape[0] = rows; /* the values come from the adapter: nothing reads the base's as if it had so many */
    t->from.count = t->whole->count;
    if (ar__dtype_bytes(&t->from.bytes, t->from.dtype, t->from.count)) return AR_OK;
    return ar__fail(err, AR_ERR_VALUE, "tensor '%s': too large", t->name);
}

static ar_status check_rows(const ar_merging *m, size_t at, ar_error *err) {
    const ar_merge_tensor *t = at == AR_MAP_NONE ? NULL : &m->tensor[at];
    if (!t || t->from.shape[0] == m->vocabulary) return AR_OK;
    return ar__fail(err, AR_ERR_MISMATCH,
                    "the adapter brings a vocabulary of %lld, but '%s' keeps the base's %lld: wanted both embedding and head in the "
                    "adapter (modules_to_save), or a base that was saved with its vocabulary extended (resize_token_embeddings)",
                    (long long)m->vocabulary, t->name, (long long)t->from.shape[0]);
}

ar_status ar__merge_grow(ar_merging *m, ar_error *err) {
    const ar_base_weight *embedding = ar__base_embedding(m->base), *head = ar__base_head(m->base);
    ar_status s = AR_OK;
    for (size_t i = 0; !s && i < m->count; i++) {
        ar_merge_tensor *t = &m->tensor[i];
        if (t->whole && t->from.dims == 2 && t->from.shape[0] != t->whole->shape[0]) s = take_rows(m, t, err);
    }
    if (s || !m->vocabulary) return s;
    s = check_rows(m, ar__map_find_str(&m->by_name, embedding->tensor), err);
    return s ? s : check_rows(m, m->head != AR_MAP_NONE ? m->head : ar__map_find_str(&m->by_name, head->tensor), err);
}
