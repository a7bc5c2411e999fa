/* A GGUF file as a base that runs: its configuration, its weights bound to operators, its vocabulary and its chat template. */
#include <string.h>

#include "alphar/model.h"
#include "alphar/runtime.h"
#include "alphar/tokenizer.h"
#include "fuzz.h"
#include "text/beside.h"

static const ar_runtime *runtime(void) {
    static ar_runtime *rt;
    if (!rt) fuzz_check(!ar_runtime_new(&rt, &(ar_runtime_options){.threads = 1}, NULL), "no runtime");
    return rt;
}

static void use_tokenizer(const ar_tokenizer *tk) {
    static const char text[] = "Hello <s> <|a|>\n\n 12345 it's \xC3\xA9\xE2\x96\x81 x";
    ar_ids ids = {0};
    if (!ar_tokenizer_encode(&ids, tk, text, sizeof text - 1, AR_TOKENIZE_SPECIAL, NULL))
        for (size_t i = 0; i < ids.count; i++)
            fuzz_check(ids.id[i] >= 0 && ids.id[i] < ar_tokenizer_count(tk), "an id outside of the vocabulary");
    ar_ids_release(&ids);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char *const names[] = {"model.gguf"};
    fuzz_folder(data, size, names, 1);
    const char *path = fuzz_path("model.gguf");
    json_t *config, *map;
    ar_tokenizer *tk;
    ar_model *m;
    if (!ar_model_open(&m, runtime(), path, NULL)) {
        fuzz_check(ar_model_vocab(m) > 0 && ar_model_parameters(m) > 0, "a model without weights");
        ar_model_free(m);
    }
    if (!ar_tokenizer_open(&tk, path, NULL)) {
        use_tokenizer(tk);
        ar_tokenizer_free(tk);
    }
    if (!ar__tokenizer_beside(&config, &map, path, NULL)) {
        json_decref(config);
        json_decref(map);
    }
    return 0;
}
