/* A kohya or diffusers file; what was read is written and read again. */
#include "adapter/kohya.h"
#include "fuzz.h"

static void write_again(const ar_adapter *ad) {
    ar_adapter *back = NULL;
    ar_write_context c = {.path = fuzz_path("again.safetensors"), .keep = true};
    const ar_read_context rc = {.path = c.path};
    if (ar__format_kohya.check(ad, &c, NULL) || ar__format_kohya.write(&c, ad, NULL)) return;
    fuzz_check(!ar__kohya_read(&back, &rc, NULL), "the file that was written cannot be read");
    fuzz_check(back->pair_count == ad->pair_count, "the file that was written has other pairs");
    ar_adapter_free(back);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const char *path = fuzz_file(data, size);
    const ar_read_context c = {.path = path, .options.trust = size & 1 ? AR_TRUST_METADATA : AR_TRUST_CONFIG};
    ar_adapter *ad;
    fuzz_open_adapter(path);
    if (!ar__kohya_read(&ad, &c, NULL)) write_again(ad);
    ar_adapter_free(ad);
    return 0;
}
