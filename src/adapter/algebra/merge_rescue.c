/* The sites of a GGUF base that rounding hurts most get a wider type.
 *
 * Which they are is known when all are formed; a GGUF file says the types of all tensors first.  So products are formed into
 * a spool, the worst are chosen, and the file is written from the spool but for those. */
#include "adapter/algebra/merge.h"
#include "base/fail.h"
#include "base/file.h"

/* F16 keeps 11 bits of every weight and is known to all that reads GGUF; BF16 keeps 8. */
static ar_dtype wider(ar_dtype t) { return ar__dtype_is_float(t) ? AR_F32 : AR_F16; }

static double survival(const ar_merge_tensor *t) { return t->along / t->norm2; }

static bool may_be_rescued(const ar_merge_tensor *t) {
    return ar__merge_is_product(t) && !t->is_rescued && t->norm2 > 0 && t->to != AR_F32 && t->to != AR_F64;
}

static ar_merge_tensor *worst(const ar_merging *m) {
    ar_merge_tensor *found = NULL;
    for (size_t i = 0; i < m->count; i++) {
        ar_merge_tensor *t = &m->tensor[i];
        if (may_be_rescued(t) && (!found || survival(t) < survival(found))) found = t;
    }
    return found;
}

static ar_status widen(ar_merging *m, ar_merge_tensor *t, ar_error *err) {
    size_t before, after;
    ar_dtype to = wider(t->to);
    if (!ar__dtype_bytes(&before, t->to, t->from.count) || !ar__dtype_bytes(&after, to, t->from.count))
        return ar__fail(err, AR_ERR_VALUE, "tensor '%s': too large", t->name);
    m->total += after - before;
    t->to = to;
    t->is_rescued = true;
    t->is_formed = false;
    t->along = t->norm2 = 0;
    return AR_OK;
}

static ar_status form_all(ar_merging *m, ar_error *err) {
    ar_status s = AR_OK;
    size_t bytes;
    for (size_t i = 0; i < m->count; i++)
        if (ar__merge_is_product(&m->tensor[i]) && ar__dtype_bytes(&bytes, m->tensor[i].to, m->tensor[i].from.count)) m->total += bytes;
    for (size_t i = 0; !s && i < m->count; i++)
        if (ar__merge_is_product(&m->tensor[i])) s = ar__merge_form(&m->tensor[i], err);
    return s;
}

ar_status ar__merge_rescue(ar_merging *m, ar_error *err) {
    ar_merge_tensor *t;
    char *dir = ar__path_parent(m->o->out);
    ar_status s = dir ? ar__spool_new(&m->formed, dir, err) : ar__fail_memory(err, m->o->out);
    free(dir);
    if (!s) s = form_all(m, err);
    for (int i = 0; !s && i < m->o->rescue && (t = worst(m)); i++) s = widen(m, t, err);
    return s;
}
