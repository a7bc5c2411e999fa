/* config.json of a base: the record of any family, its modules, and what a pass would ask of it. */
#include "alphar/error.h"
#include "arch/arch.h"
#include "format/json.h"
#include "fuzz.h"

enum { MOST_BYTES = 64 << 10, MOST_MODULES = 4096 };

static void check_record(const ar_arch *a) {
    float inv_freq[2048], scale;
    fuzz_check(a->heads > 0 && a->kv_heads > 0 && a->heads % a->kv_heads == 0, "heads that do not divide");
    fuzz_check(a->rotary_dim >= 2 && a->rotary_dim % 2 == 0 && a->rotary_dim <= a->head_dim, "a rotary size outside of the head");
    fuzz_check(a->ropes >= 1 && a->ropes <= AR_ROPES && a->windowed && a->unturned, "a record without its lists");
    for (int i = 0; i < a->ropes; i++)
        for (size_t length = 1; length < 1u << 20; length *= 32) ar__rope_frequencies(inv_freq, &scale, a, i, length);
    for (int64_t l = 0; l < a->layers; l++) fuzz_check(!a->windowed[l] || a->window > 0, "a layer with a window of nothing");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    json_t *config = NULL;
    ar_arch a;
    ar_module *modules;
    if (ar__json_load_object(&config, fuzz_file(data, size), MOST_BYTES, NULL)) return 0;
    ar_status s = ar__arch_read(&a, config, "config.json", NULL, NULL);
    json_decref(config);
    if (s) return 0;
    check_record(&a);
    if (ar__module_count(&a) < MOST_MODULES && !ar__arch_modules(&modules, &a, NULL)) {
        for (size_t i = 0; i < ar__module_count(&a); i++)
            fuzz_check(!modules[i].path || (modules[i].n_out > 0 && modules[i].n_in > 0), "a module without a size");
        ar__modules_free(modules, ar__module_count(&a));
    }
    ar__arch_release(&a);
    return 0;
}
