/* One .npz archive: every array read. */
#include "format/npz.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    ar_npz *z;
    if (ar__npz_open(&z, fuzz_file(data, size), NULL)) return 0;
    for (int i = 0; i < ar__npz_count(z); i++) {
        const ar_npz_array *a = ar__npz_at(z, i);
        fuzz_check(ar__npz_find(z, a->name) == a, "an array is not found by its name");
        fuzz_touch(a->data, a->bytes);
    }
    ar__npz_close(z);
    return 0;
}
