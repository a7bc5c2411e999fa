/* The table of formats, and opening an adapter of any. */
#include "adapter/formats.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>

#include "adapter/fingerprint.h"
#include "adapter/mlx.h"
#include "adapter/peft.h"
#include "base/fail.h"
#include "base/mem.h"
#include "format/safetensors.h"
#include "weights/base.h"

static const ar_format *const formats[] = {&ar__format_mlx, &ar__format_peft, &ar__format_gguf, &ar__format_kohya, NULL};

const ar_format *ar__format_named(const char *name) {
    const ar_format *const *f = formats;
    while (*f && strcmp((*f)->name, name) != 0) f++;
    return *f;
}

const ar_format *ar__format_of(const char *path) {
    const ar_format *const *f = formats;
    while (*f && !(*f)->is_it(path)) f++;
    return *f;
}

static bool has_pickle(const char *dir) {
    static const char *const ends[] = {".bin", ".pt", ".pth", ".ckpt"};
    DIR *d = opendir(dir);
    bool found = false;
    for (struct dirent *e; d && !found && (e = readdir(d));) {
        const char *dot = strrchr(e->d_name, '.');
        for (size_t i = 0; dot && !found && i < sizeof ends / sizeof *ends; i++) found = !strcmp(dot, ends[i]);
    }
    if (d) closedir(d);
    return found;
}

static bool is_pointer(const char *file) {
    char text[23];
    return ar__file_peek(text, sizeof text, file) && !memcmp(text, "version https://git-lfs", sizeof text);
}

/* A file of the folder that is an adapter of one file, or else a pointer to weights; caller frees, NULL: none. */
static char *find_file(bool *pointer, const char *dir) {
    DIR *d = opendir(dir);
    char *found = NULL;
    *pointer = false;
    for (struct dirent *e; d && !found && (e = readdir(d));) {
        const char *dot = strrchr(e->d_name, '.');
        if (!dot || (strcmp(dot, ".safetensors") != 0 && strcmp(dot, ".gguf") != 0)) continue;
        char *file = ar__path_join(dir, e->d_name);
        *pointer = file && is_pointer(file);
        if (file && (*pointer || ar__format_of(file)))
            found = file;
        else
            free(file);
    }
    if (d) closedir(d);
    return found;
}

/* A folder without an adapter's configuration. */
static ar_status refuse_folder(const char *path, ar_error *err) {
    bool pointer;
    char *file = find_file(&pointer, path), *model = ar__path_join(path, "config.json");
    ar_status s;
    if (model && ar__path_exists(model))
        s = ar__fail(err, AR_ERR_NOT_FOUND,
                     "%s: a model's folder (config.json, no " AR_PEFT_CONFIG "), wanted an adapter; a base is given with --model", path);
    else if (file && pointer)
        s = ar__fail(err, AR_ERR_FORMAT,
                     "%s: a Git LFS pointer, wanted the weights: run `git lfs pull` in the repository (and there is no " AR_PEFT_CONFIG
                     " beside it)",
                     file);
    else if (file)
        s = ar__fail(err, AR_ERR_NOT_FOUND,
                     "%s: no " AR_PEFT_CONFIG ", so this is no adapter folder; it holds an adapter of one file: give %s", path, file);
    else
        s = ar__fail(err, AR_ERR_NOT_FOUND, "%s: no " AR_PEFT_CONFIG ", so this is no adapter folder", path);
    free(file);
    free(model);
    return s;
}

/* Nothing of ours: say what it is instead, as far as that can be told. */
static ar_status refuse(const char *path, ar_error *err) {
    ar_st_set *st;
    if (!ar__path_exists(path)) return ar__fail(err, AR_ERR_NOT_FOUND, "%s: no such adapter", path);
    if (ar__path_is_dir(path) && has_pickle(path))
        return ar__fail(err, AR_ERR_UNSUPPORTED,
                        "%s: no " AR_PEFT_CONFIG
                        ", and weights in a Python pickle, which can run code when read; wanted safetensors: convert "
                        "it where you trust it, with torch.load(..., weights_only=True) and safetensors.torch.save_file",
                        path);
    if (ar__path_is_dir(path)) return refuse_folder(path, err);
    ar_status s = ar__st_open(&st, path, err); /* has words of its own for pointers and pickles */
    if (s) return s;
    ar__st_close(st);
    return ar__fail(err, AR_ERR_UNSUPPORTED,
                    "%s: a safetensors file without kohya pairs; of a PEFT or MLX adapter, wanted its folder (which holds alpha)", path);
}

/* Does the base have these weights?  Names that only a kohya file knows cannot be looked up, and what to say of a quantised
 * weight is for whoever needs its numbers. */
static ar_status check_sites(const ar_adapter *ad, const ar_base *base, bool keeps_stacks, ar_error *err) {
    for (size_t i = 0; i < ad->pair_count; i++) {
        const ar_pair *p = &ad->pair[i];
        const ar_base_weight *w;
        bool told = keeps_stacks && p->experts; /* by whoever runs it */
        ar_status s = ar__pair_is_foreign(p) || told ? AR_OK : ar__base_need(&w, base, p, err);
        if (s && s != AR_ERR_UNSUPPORTED && (w || !ar__base_has_parts(base, p->site))) return s;
    }
    return AR_OK;
}

/* A file of a folder's adapter, named instead of the folder: the folder; caller frees.  NULL: it is none. */
static char *folder_of_file(const char *path) {
    static const char *const names[] = {AR_PEFT_CONFIG, AR_PEFT_WEIGHTS, AR_MLX_WEIGHTS, AR_MLX_OLD_WEIGHTS};
    const char *name = ar__path_base(path);
    bool known = false;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) known |= !strcmp(name, names[i]);
    char *dir = known && ar__path_exists(path) && !ar__path_is_dir(path) ? ar__path_parent(path) : NULL;
    if (dir && ar__format_of(dir)) return dir;
    free(dir);
    return NULL;
}

static ar_status open_any(ar_adapter **out, const char *path, const ar_adapter_options *options, ar_error *err) {
    const ar_format *format = ar__format_of(path);
    ar_read_context c = {.path = path};
    if (!format) return refuse(path, err);
    if (options) c.options = *options;
    c.log = (ar_log){c.options.log, c.options.log_user};
    ar_base *base = NULL;
    ar_status s = c.options.model ? ar__base_open(&base, c.options.model, err) : AR_OK;
    c.base = base;
    if (!s) s = format->read(out, &c, err);
    if (!s && base) s = check_sites(*out, base, c.options.keeps_stacks, err);
    if (!s) s = ar__wholes_check(*out, base, &c.log, err);
    if (!s && base) ar__base_note_name(*out, path, base, &c.log);
    if (!s && base && !c.options.leaves_base_unsaid) s = ar__base_warn(*out, path, base, &c.log, err);
    if (s) {
        ar_adapter_free(*out);
        *out = NULL;
    }
    ar__base_close(base);
    if (s) return s;
    (*out)->format = format->name;
    if (ar__strings_add(&(*out)->inputs, path)) return AR_OK;
    ar_adapter_free(*out);
    *out = NULL;
    return ar__fail_memory(err, path);
}

ar_status ar_adapter_open(ar_adapter **out, const char *path, const ar_adapter_options *options, ar_error *err) {
    *out = NULL;
    char *dir = ar__format_of(path) ? NULL : folder_of_file(path);
    ar_status s = open_any(out, dir ? dir : path, options, err);
    free(dir);
    return s;
}
