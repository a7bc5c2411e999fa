/* Pairs and whole tensors → a PEFT folder.  Both files are written under other names first and renamed when both are
 * whole, weights before configuration, so that no failure leaves a configuration that its weights do not fit. */
#include <stdlib.h>
#include <string.h>

#include "adapter/peft.h"
#include "base/fail.h"
#include "base/file.h"
#include "base/mem.h"

static ar_status add(ar_st_writer *w, ar_buf *key, const char *path, const char *tail, int dims, const int64_t *shape, const float *data,
                     ar_error *err) {
    ar__buf_clear(key);
    ar__buf_printf(key, "base_model.model.%s%s", path, tail);
    return key->failed ? ar__fail_memory(err, path) : ar__st_writer_add(w, key->data, AR_F32, dims, shape, data, err);
}

static ar_status add_pair(ar_st_writer *w, ar_buf *key, const ar_pair *p, ar_error *err) {
    bool e = p->is_embedding;
    ar_status s;
    if ((s = add(w, key, p->site, e ? ".lora_embedding_A" : ".lora_A.weight", 2, (int64_t[]){p->rank, p->n_in}, p->a, err)) ||
        (s = add(w, key, p->site, e ? ".lora_embedding_B" : ".lora_B.weight", 2, (int64_t[]){p->n_out, p->rank}, p->b, err)))
        return s;
    if (p->magnitude && (s = add(w, key, p->site, ".lora_magnitude_vector", 1, &p->n_out, p->magnitude, err))) return s;
    return p->b_bias ? add(w, key, p->site, ".lora_B.bias", 1, &p->n_out, p->b_bias, err) : AR_OK;
}

/* A bias of an adapted module lives behind PEFT's wrapper: PATH.base_layer.bias. */
static ar_status add_whole(ar_st_writer *w, ar_buf *key, const ar_adapter *ad, const ar_whole *t, ar_error *err) {
    const char *dot = strrchr(t->name, '.');
    if (!dot || strcmp(dot, ".bias") != 0) return add(w, key, t->name, "", t->dims, t->shape, t->data, err);
    char *path = ar__strndup(t->name, (size_t)(dot - t->name));
    if (!path) return ar__fail_memory(err, t->name);
    ar_status s = add(w, key, path, ar__adapter_find_pair(ad, path) ? ".base_layer.bias" : ".bias", t->dims, t->shape, t->data, err);
    free(path);
    return s;
}

static ar_status write_weights(const ar_adapter *ad, const char *path, ar_error *err) {
    ar_st_writer *w;
    ar_buf key = {0};
    ar_status s = ar__st_writer_new(&w, err);
    if (s) return s;
    s = ar__peft_meta_write(w, ad, err);
    for (size_t i = 0; !s && i < ad->pair_count; i++) s = add_pair(w, &key, &ad->pair[i], err);
    for (size_t i = 0; !s && i < ad->whole_count; i++) s = add_whole(w, &key, ad, &ad->whole[i], err);
    if (!s) s = ar__st_writer_save(w, path, err);
    ar__buf_release(&key);
    ar__st_writer_free(w);
    return s;
}

struct paths {
    char *weights, *config, *new_weights, *new_config;
};

static void paths_release(struct paths *p) {
    free(p->weights);
    free(p->config);
    free(p->new_weights);
    free(p->new_config);
}

static bool paths_init(struct paths *p, const char *dir) {
    *p = (struct paths){ar__path_join(dir, AR_PEFT_WEIGHTS), ar__path_join(dir, AR_PEFT_CONFIG),
                        ar__path_join(dir, "." AR_PEFT_WEIGHTS ".new"), ar__path_join(dir, "." AR_PEFT_CONFIG ".new")};
    return p->weights && p->config && p->new_weights && p->new_config;
}

static ar_status write_files(const ar_adapter *ad, const struct paths *p, ar_error *err) {
    ar_status s;
    if ((s = write_weights(ad, p->new_weights, err)) || (s = ar__peft_config_write(ad, p->new_config, err)) ||
        (s = ar__dir_remove(p->config, err)) || (s = ar__path_rename(p->new_weights, p->weights, err)) ||
        (s = ar__path_rename(p->new_config, p->config, err))) {
        ar__dir_remove(p->new_weights, NULL);
        ar__dir_remove(p->new_config, NULL);
    }
    return s;
}

ar_status ar_adapter_save(const ar_adapter *ad, const char *dir, bool overwrite, ar_error *err) {
    struct paths p;
    ar_status s = AR_OK;
    if (!paths_init(&p, dir))
        s = ar__fail_memory(err, dir);
    else if (!overwrite && (ar__path_exists(p.weights) || ar__path_exists(p.config)))
        s = ar__fail(err, AR_ERR_EXISTS, "%s: there is an adapter already; give another folder or --overwrite", dir);
    else if (!(s = ar__dir_make(dir, err)))
        s = write_files(ad, &p, err);
    paths_release(&p);
    return s;
}
