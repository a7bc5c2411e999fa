/* A GGUF adapter, with and without heads given by hand; what was read is written and read again. */
#include "adapter/gguf.h"
#include "fuzz.h"

static void write_again(const ar_adapter *ad) {
    ar_adapter *back = NULL;
    ar_write_context c = {.path = fuzz_path("again.gguf"), .keep = true};
    const ar_read_context rc = {.path = c.path};
    if (ar__format_gguf.check(ad, &c, NULL) || ar__format_gguf.write(&c, ad, NULL)) return;
    fuzz_check(!ar__gguf_adapter_read(&back, &rc, NULL), "the file that was written cannot be read");
    fuzz_check(back->pair_count == ad->pair_count, "the file that was written has other pairs");
    ar_adapter_free(back);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const char *path = fuzz_file(data, size);
    ar_read_context c = {.path = path};
    ar_adapter *ad;
    if (size & 1) c.options.heads = c.options.kv_heads = 2;
    fuzz_open_adapter(path);
    if (!ar__gguf_adapter_read(&ad, &c, NULL)) write_again(ad);
    ar_adapter_free(ad);
    return 0;
}
