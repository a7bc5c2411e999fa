/* The base in memory; internal to its own files. */
#ifndef AR_WEIGHTS_IMPL_H
#define AR_WEIGHTS_IMPL_H

#include "base/map.h"
#include "format/json.h"
#include "weights/base.h"

struct ar_base {
    ar_base_info info;
    char *path, *model_type, *quantised, *own_name, *unreadable;
    ar_tensors *files;
    const ar_gguf *gguf; /* of files; NULL: safetensors */
    ar_base_weight *weight;
    size_t count, cap;
    json_t *packing; /* quantization_config, or MLX's; NULL: none */
    char *dtype;     /* of the configuration; NULL: none */
    struct ar_packed_slot {
        ar_packed *of; /* its place stays where the list grows */
    } * packed;
    size_t packed_count, packed_cap;
    bool has_packed; /* some main tensor is there, so that parts are parts */
    char **site;     /* owned; weight[i].site */
    size_t site_cap;
    ar_map keys;                            /* ar__names_key → index */
    ar_base_weight tied;                    /* the head that is the embedding */
    const ar_base_weight *embedding, *head; /* of the vocabulary; NULL: none */
    signed char says_tied;                  /* of the configuration: 1, 0, or -1 for nothing */
};

/* Everything of info but path and the list of weights: from config.json where the folder has one, from the key-values. */
ar_status ar__base_config_read(ar_base *base, const char *dir, ar_error *err);
/* info.quantised: from config.json, or by the names of tensors. */
ar_status ar__base_quantised_read(ar_base *base, const json_t *root, const json_t *text, ar_error *err);
ar_status ar__base_quantised_guess(ar_base *base, ar_error *err);
/* The weight that transformers 5 calls `site` and the file otherwise (renamed.c); NULL: no such name, or no such weight. */
const ar_base_weight *ar__base_find_renamed(const ar_base *base, const char *site);
ar_status ar__base_gguf_read(ar_base *base, ar_error *err);

#endif
