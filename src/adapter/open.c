/* Tells what kind of adapter stands at a path. */
#include <stdlib.h>

#include "adapter/peft.h"
#include "base/fail.h"
#include "base/file.h"
#include "format/safetensors.h"

/* A lone file: the reader's own words for pointers and pickles, else what is missing beside it. */
static ar_status refuse_file(const char *path, ar_error *err) {
    ar_st_set *st;
    ar_status s = ar__st_open(&st, path, err);
    if (s) return s;
    ar__st_close(st);
    return ar__fail(err, AR_ERR_UNSUPPORTED, "%s: a safetensors file alone, wanted its folder with " AR_PEFT_CONFIG " (which holds alpha)",
                    path);
}

ar_status ar_adapter_open(ar_adapter **out, const char *path, const ar_adapter_options *options, ar_error *err) {
    *out = NULL;
    if (!ar__path_exists(path)) return ar__fail(err, AR_ERR_NOT_FOUND, "%s: no such adapter", path);
    if (!ar__path_is_dir(path)) return refuse_file(path, err);
    char *config = ar__path_join(path, AR_PEFT_CONFIG);
    if (!config) return ar__fail_memory(err, path);
    bool there = ar__path_exists(config);
    free(config);
    if (!there) return ar__fail(err, AR_ERR_NOT_FOUND, "%s: no " AR_PEFT_CONFIG ", so this is no adapter folder", path);
    return ar__peft_read(out, path, options, err);
}
