/* The GGUF file that a merge into a GGUF base writes: every key-value and tensor as it was, adapted tensors in their own
 * type, and "alphar.merge" with what was merged, which is what lets a later merge replace the file. */
#include <string.h>

#include "adapter/algebra/merge.h"
#include "base/fail.h"
#include "base/mem.h"

ar_status ar__merge_file_check(const ar_merging *m, ar_error *err) {
    const char *out = m->o->out;
    ar_output output;
    size_t n = strlen(out);
    if (n < 6 || strcmp(out + n - 5, ".gguf") != 0)
        return ar__fail(err, AR_ERR_USAGE, "%s: the base is a GGUF file, and so is what comes out: wanted a name that ends in .gguf", out);
    ar_status s = ar__merge_output(&output, m, err);
    if (!s) s = ar__output_check_file(&output, err);
    ar__strings_release(&output.inputs);
    return s;
}

static ar_status add_tensor(ar_gguf_writer *w, ar_merging *m, ar_merge_tensor *t, int at, ar_error *err) {
    int64_t ne[AR_GGUF_MAX_DIMS];
    if (ar__merge_is_copied(t)) return ar__gguf_writer_copy(w, ar__tensors_gguf_at(m->all, at), err);
    for (int i = 0; i < t->from.dims; i++) ne[i] = t->from.shape[t->from.dims - 1 - i];
    return ar__gguf_writer_add_stream(w, t->name, t->to, t->from.dims, ne, ar__merge_stream, t, err);
}

static ar_status note(ar_gguf_writer *w, const ar_merging *m, ar_error *err) {
    ar_buf text = {0};
    ar__buf_puts(&text, m->o->model);
    for (int i = 0; i < m->o->adapter_count; i++) ar__buf_printf(&text, " + %s", m->o->adapters[i]);
    ar_status s = text.failed ? ar__fail_memory(err, "merge") : ar__output_mark(w, "merge", text.data, err);
    ar__buf_release(&text);
    return s;
}

ar_status ar__merge_file(ar_merging *m, ar_error *err) {
    ar_gguf_writer *w = NULL;
    ar_status s = ar__gguf_writer_new(&w, err);
    for (int i = 0; !s && i < ar__gguf_kv_count(m->gguf); i++) {
        const ar_gguf_kv *kv = ar__gguf_kv_at(m->gguf, i);
        if (strncmp(kv->key, "split.", 6) != 0) s = ar__gguf_writer_copy_kv(w, kv, err); /* what comes out is one file */
    }
    if (!s) s = note(w, m, err);
    for (size_t i = 0; !s && i < m->count; i++) s = add_tensor(w, m, &m->tensor[i], (int)i, err);
    if (!s) s = ar__gguf_writer_save(w, m->o->out, err);
    ar__gguf_writer_free(w);
    return s;
}
