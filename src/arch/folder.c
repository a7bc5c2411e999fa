#include "arch/folder.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/file.h"

/* The commit that a Hugging Face cache folder points to, without its line end; empty where there is none. */
static void cached_commit(char *out, size_t n, const char *dir) {
    ar_buf text = {0};
    char *refs = ar__path_join(dir, "refs/main");
    if (refs && ar__path_exists(refs)) (void)ar__file_read(&text, refs, 4096, NULL);
    snprintf(out, n, "%.*s", text.data ? (int)strcspn(text.data, "\r\n") : 0, text.data ? text.data : "");
    ar__buf_release(&text);
    free(refs);
}

ar_status ar__folder_check(const char *path, ar_error *err) {
    char commit[80];
    const char *slash = strchr(path, '/');
    /* "org/name", or one word without a dot's or slash's look of a path */
    bool hub = path[0] != '.' && path[0] != '~' && (!slash || (slash > path && slash[1] && !strchr(slash + 1, '/')));
    if (!ar__path_is_dir(path)) {
        return ar__fail(err, AR_ERR_NOT_FOUND, "%s: there is no such model folder%s%s%s", path,
                        hub ? "; if it is a name on the Hugging Face Hub, download it first (hf download " : "", hub ? path : "",
                        hub ? " --local-dir DIR) and give DIR" : "");
    }
    if (ar__dir_holds(path, "config.json")) return AR_OK;
    if (ar__dir_holds(path, "adapter_config.json"))
        return ar__fail(err, AR_ERR_UNSUPPORTED,
                        "%s: is an adapter, wanted its base; give the base's folder as --model and this one as --adapter", path);
    cached_commit(commit, sizeof commit, path);
    if (*commit)
        return ar__fail(err, AR_ERR_UNSUPPORTED, "%s: is a folder of the Hugging Face cache; give the model in it: %s/snapshots/%s", path,
                        path, commit);
    if (ar__dir_holds(path, "snapshots"))
        return ar__fail(err, AR_ERR_UNSUPPORTED, "%s: is a folder of the Hugging Face cache; give one of the models below %s/snapshots",
                        path, path);
    if (ar__dir_is_empty(path)) return ar__fail(err, AR_ERR_NOT_FOUND, "%s: is an empty folder, wanted config.json and safetensors", path);
    return ar__fail(err, AR_ERR_NOT_FOUND, "%s: holds no config.json, wanted a Hugging Face folder with config.json and safetensors", path);
}
