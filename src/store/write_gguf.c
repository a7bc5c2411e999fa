/* The GGUF file: key-values of architecture and tokenizer, the planned tensors, and the proof that both are the model's. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "arch/gguf_write.h"
#include "base/fail.h"
#include "store/storing.h"
#include "store/types.h"
#include "text/gguf_vocab.h"

enum { QUANTIZATION_VERSION = 2 };

static ar_status put_general(ar_gguf_writer *w, const ar_storing *st, ar_error *err) {
    ar_status s;
    if ((s = ar__gguf_writer_set_u32(w, "general.file_type", ar__file_type_number(st->type), err)) ||
        (ar__dtype(st->type)->block > 1 && (s = ar__gguf_writer_set_u32(w, "general.quantization_version", QUANTIZATION_VERSION, err))))
        return s;
    return ar__output_mark(w, st->command, st->o->model, err);
}

/* The folder's own name, where it has one. */
static ar_status put_name(ar_gguf_writer *w, const ar_storing *st, ar_error *err) {
    const char *own = st->info->own_name ? st->info->own_name : st->o->model;
    size_t n = strlen(own);
    while (n > 1 && own[n - 1] == '/') n--;
    char *path = ar__strndup(own, n);
    ar_status s = path ? ar__gguf_writer_set_string(w, "general.type", "model", err) : ar__fail_memory(err, own);
    if (!s) s = ar__gguf_writer_set_string(w, "general.name", ar__path_base(path), err);
    free(path);
    return s;
}

static ar_status activation_number(float *out, const ar_storing *st, int64_t layer, int number, ar_error *err) {
    ar_buf name = {0};
    ar__buf_printf(&name, AR_XIELU_PATH "%s", st->info->names->prefix, (long long)layer, ar__xielu_names[number]);
    const ar_base_weight *w = name.failed ? NULL : ar__base_find(st->base, name.data);
    ar_status s = name.failed ? ar__fail_memory(err, "activation")
                  : w && w->n_out == 1 && w->n_in == 1
                      ? ar__base_read_rows(out, st->base, w, 0, 1, err)
                      : ar__fail(err, AR_ERR_MISMATCH, "%s: no number '%s', wanted one for each layer", st->o->model, name.data);
    ar__buf_release(&name);
    return s;
}

/* xielu's numbers: one list over the layers of each. */
static ar_status put_activation(ar_gguf_writer *w, const ar_storing *st, ar_error *err) {
    float *x = ar__alloc((size_t)st->arch.layers, sizeof *x);
    ar_status s = x ? AR_OK : ar__fail_memory(err, "activation");
    for (int i = 0; !s && i < AR_XIELU_NUMBERS; i++) {
        char key[32];
        snprintf(key, sizeof key, "xielu%s", ar__xielu_names[i]);
        for (int64_t l = 0; !s && l < st->arch.layers; l++) s = activation_number(&x[l], st, l, i, err);
        if (!s) s = ar__gguf_writer_set_array(w, key, AR_GGUF_F32, (size_t)st->arch.layers, x, err);
    }
    free(x);
    return s;
}

static ar_status put_keys(ar_gguf_writer *w, const ar_storing *st, ar_error *err) {
    const ar_gguf *g = ar__tensors_gguf(ar__base_files(st->base));
    ar_status s = AR_OK;
    for (int i = 0; g && !s && i < ar__gguf_kv_count(g); i++) {
        const ar_gguf_kv *kv = ar__gguf_kv_at(g, i);
        if (strncmp(kv->key, "split.", 6) != 0) s = ar__gguf_writer_copy_kv(w, kv, err); /* what comes out is one file */
    }
    if (!s && !g && !(s = ar__gguf_put_arch(w, &st->arch, st->config, st->o->model, err)) && !(s = put_name(w, st, err)))
        s = ar__gguf_put_vocab(w, st->o->model, st->info->names->gguf, st->config, st->arch.vocab, &st->rt->log, err);
    if (!s && !g && st->arch.activation == AR_XIELU) s = put_activation(w, st, err);
    return s ? s : put_general(w, st, err);
}

static ar_status put_tensor(ar_gguf_writer *w, ar_stored *t, ar_error *err) {
    int64_t ne[AR_GGUF_MAX_DIMS];
    if (t->is_copied) return ar__gguf_writer_copy(w, ar__tensors_gguf_at(ar__base_files(t->in->base), t->raw_at), err);
    if (t->dims > AR_GGUF_MAX_DIMS) return ar__fail(err, AR_ERR_UNSUPPORTED, "tensor '%s': %d dimensions, GGUF has 4", t->name, t->dims);
    for (int i = 0; i < t->dims; i++) ne[i] = t->shape[t->dims - 1 - i];
    return ar__gguf_writer_add_stream(w, t->name, t->to, t->dims, ne, ar__stored_stream, t, err);
}

/* What was written, read as any GGUF base is. */
static ar_status check(const ar_storing *st, const char *path, ar_error *err) {
    ar_tensors *files = NULL;
    json_t *config = NULL;
    ar_arch found = {0};
    bool windowless = false;
    ar_status s = ar__tensors_open(&files, path, err);
    if (!s) s = ar__gguf_config(&config, files, err);
    if (!s) s = ar__arch_read(&found, config, path, NULL, err);
    if (!s) s = ar__arch_check_same(&windowless, &st->arch, &found, st->o->model, err);
    if (!s) s = ar__tokenizers_agree(st->o->model, path, err);
    if (!s && windowless)
        ar__log_warn(
            &st->rt->log,
            "%s: attention has a window of %lld tokens, which a GGUF file of the architecture %s does not say: longer texts are read "
            "without one",
            st->o->model, (long long)st->arch.window, st->info->names->gguf);
    ar__arch_release(&found);
    json_decref(config);
    ar__tensors_close(files);
    return s;
}

/* Under another name first, which it loses when it was read back. */
static ar_status save(ar_gguf_writer *w, const ar_storing *st, ar_error *err) {
    ar_buf path = {0};
    if (st->info->is_gguf) return ar__gguf_writer_save(w, st->o->out, err);
    ar__buf_printf(&path, "%s.tmp-%ld.gguf", st->o->out, (long)getpid());
    ar_status s = path.failed ? ar__fail_memory(err, st->o->out) : ar__gguf_writer_save(w, path.data, err);
    if (!s) s = check(st, path.data, err);
    if (!s) s = ar__path_rename(path.data, st->o->out, err);
    if (s && !path.failed) unlink(path.data);
    ar__buf_release(&path);
    return s;
}

ar_status ar__write_gguf(ar_storing *st, ar_error *err) {
    ar_gguf_writer *w = NULL;
    ar_status s = ar__gguf_writer_new(&w, err);
    if (!s) s = put_keys(w, st, err);
    for (size_t i = 0; !s && i < st->count; i++) s = put_tensor(w, &st->list[i], err);
    if (!s) s = save(w, st, err);
    ar__gguf_writer_free(w);
    return s;
}
