/* A base: one GGUF file, or a folder's config.json, NUL, model.safetensors.  Every weight is read whole, and in parts. */
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "weights/base.h"

/* As a model is bound. */
static void read_nf4(const ar_base_weight *w) {
    ar_dtype type;
    if (!w->packed || !ar__packed_is_nf4(&type, w->packed)) return;
    size_t bytes = (size_t)(w->n_out * w->n_in / 64) * 36;
    void *blocks = malloc(bytes + 1);
    fuzz_check(blocks != NULL, "out of memory");
    ar__packed_nf4(blocks, w->packed);
    fuzz_touch(blocks, bytes);
    free(blocks);
}

static void read_weight(const ar_base *base, const ar_base_weight *w) {
    double norm;
    read_nf4(w);
    fuzz_check(w->n_out >= 0 && w->n_in >= 0, "a weight of a negative size");
    fuzz_check(ar__base_find(base, w->site) != NULL, "a weight is not found by its site");
    if (ar__base_norm2(&norm, base, w, NULL) || w->n_in == 0) return;
    int64_t half = w->n_out / 2;
    float *x = malloc((size_t)((w->n_out - half) * w->n_in + 1) * sizeof *x), *b = malloc((size_t)(w->n_out + 1) * sizeof *b);
    fuzz_check(x && b, "out of memory");
    if (!ar__base_read_rows(x, base, w, half, w->n_out - half, NULL)) fuzz_touch(x, (size_t)((w->n_out - half) * w->n_in) * sizeof *x);
    if (w->bias && !ar__base_read_bias(b, base, w, NULL)) fuzz_touch(b, (size_t)w->n_out * sizeof *b);
    free(x);
    free(b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char *const gguf[] = {"base.gguf"}, *const folder[] = {"config.json", "model.safetensors"};
    bool one = size >= 4 && !memcmp(data, "GGUF", 4);
    const char *path = fuzz_folder(data, size, one ? gguf : folder, one ? 1 : 2);
    ar_base *base;
    if (ar__base_open(&base, one ? fuzz_path("base.gguf") : path, NULL)) return 0;
    for (int i = 0; i < ar__base_count(base); i++) read_weight(base, ar__base_at(base, i));
    (void)ar__base_find(base, "lm_head");
    ar__base_close(base);
    return 0;
}
