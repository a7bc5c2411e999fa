/* One safetensors file: every tensor read, every value of the metadata looked at. */
#include <string.h>

#include "format/safetensors.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    ar_st_set *st;
    const char *key;
    json_t *value;
    if (ar__st_open(&st, fuzz_file(data, size), NULL)) return 0;
    for (int i = 0; i < ar__st_count(st); i++) {
        const ar_tensor *t = ar__st_at(st, i);
        fuzz_check(ar__st_find(st, t->name) == t, "a tensor is not found by its name");
        fuzz_touch(t->data, t->bytes);
    }
    json_object_foreach((json_t *)(uintptr_t)ar__st_metadata_all(st), key, value) {
        fuzz_check(ar__st_metadata(st, key) == json_string_value(value), "metadata is not found by its key");
    }
    ar__st_close(st);
    return 0;
}
