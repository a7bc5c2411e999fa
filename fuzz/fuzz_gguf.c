/* One GGUF file: every value and tensor read, then copied into a new file, which must read the same. */
#include <string.h>

#include "format/gguf.h"
#include "fuzz.h"

static void look_at_value(const ar_gguf *g, const ar_gguf_kv *kv) {
    fuzz_check(ar__gguf_kv_find(g, kv->key) == kv, "a key is not found");
    fuzz_touch(kv->raw, kv->raw_bytes);
    if (kv->type == AR_GGUF_ARRAY) return;
    for (size_t i = 0; i < kv->count; i++) {
        int64_t v;
        double d;
        bool yes;
        ar_gguf_string s;
        ar__gguf_int_at(&v, kv, i);
        if (ar__gguf_string_at(&s, kv, i))
            fuzz_touch(s.at, s.len);
        else
            fuzz_check(ar__gguf_double_at(&d, kv, i) || ar__gguf_bool_at(&yes, kv, i) || kv->type == AR_GGUF_U64, "no value");
    }
}

static void check_same(const ar_gguf *a, const ar_gguf *b) {
    for (int i = 0; i < ar__gguf_kv_count(b); i++) {
        const ar_gguf_kv *y = ar__gguf_kv_at(b, i), *x = ar__gguf_kv_find(a, y->key);
        fuzz_check(x && x->raw_bytes == y->raw_bytes && !memcmp(x->raw, y->raw, x->raw_bytes), "the copy's values differ");
    }
    fuzz_check(ar__gguf_count(a) == ar__gguf_count(b), "the copy lacks tensors");
    for (int i = 0; i < ar__gguf_count(a); i++) {
        const ar_gguf_tensor *x = ar__gguf_at(a, i), *y = ar__gguf_at(b, i);
        fuzz_check(!strcmp(x->name, y->name) && x->type == y->type && x->count == y->count && x->bytes == y->bytes,
                   "the copy's tensors differ");
        fuzz_check(!memcmp(x->data, y->data, x->bytes), "the copy's bytes differ");
    }
}

static void copy(const ar_gguf *g) {
    ar_gguf_writer *w;
    ar_gguf *again;
    const char *path = fuzz_path("copy.gguf");
    bool refused = ar__gguf_writer_new(&w, NULL) != AR_OK;
    for (int i = 0; i < ar__gguf_kv_count(g) && !refused; i++) refused = ar__gguf_writer_copy_kv(w, ar__gguf_kv_at(g, i), NULL) != AR_OK;
    for (int i = 0; i < ar__gguf_count(g) && !refused; i++) {
        const ar_gguf_tensor *t = ar__gguf_at(g, i);
        refused = ar__gguf_writer_copy(w, t, NULL) != AR_OK;
        fuzz_check(!refused || !*t->name || strlen(t->name) > AR_GGUF_MAX_NAME, "a tensor that was read is refused by the writer");
    }
    if (!refused) {
        fuzz_check(ar__gguf_writer_save(w, path, NULL) == AR_OK, "cannot write");
        fuzz_check(ar__gguf_open(&again, path, NULL) == AR_OK, "what was written cannot be read");
        check_same(g, again);
        ar__gguf_close(again);
    }
    ar__gguf_writer_free(w);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    ar_gguf *g;
    if (ar__gguf_open(&g, fuzz_file(data, size), NULL)) return 0;
    for (int i = 0; i < ar__gguf_kv_count(g); i++) look_at_value(g, ar__gguf_kv_at(g, i));
    for (int i = 0; i < ar__gguf_count(g); i++) {
        const ar_gguf_tensor *t = ar__gguf_at(g, i);
        fuzz_check(ar__gguf_find(g, t->name) == t, "a tensor is not found by its name");
        fuzz_touch(t->data, t->bytes);
    }
    copy(g);
    ar__gguf_close(g);
    return 0;
}
