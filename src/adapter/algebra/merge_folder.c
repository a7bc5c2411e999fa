/* The folder that a merge writes:
 *
 *     model*.safetensors, index     as the base has them
 *     config.json                   the base's, with what the merge changes about it
 *     tokenizer, templates, …       the base's small files; neither weights in other formats nor what a training left
 *     merge.json                    {"alphar": version, "command": "merge", "model", "dtype", "adapters", "trained", "files"}
 *
 * It is written under a temporary name beside its place.  merge.json is what lets a later merge replace it: only a folder
 * with one, and with nothing in it that the list of files lacks, may be. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "adapter/algebra/merge.h"
#include "base/fail.h"
#include "base/file.h"
#include "format/json.h"

#define MARKER "merge.json"
#define INDEX "model.safetensors.index.json"
#define TEMPLATE "chat_template.jinja"

enum { SMALL_FILE = 64 << 20, INDEX_MAX = 256 << 20 };

/* ---- whether `out` may be taken ------------------------------------------------------------------------------------- */
static ar_status check_input(const ar_merging *m, const char *path, ar_error *err) {
    if (!path || !ar__path_lies_in(path, m->o->out)) return AR_OK;
    return ar__fail(err, AR_ERR_EXISTS, "%s: is or holds %s, which this merge reads; give another --out", m->o->out, path);
}

ar_status ar__merge_check_inputs(const ar_merging *m, ar_error *err) {
    ar_status s = check_input(m, m->o->model, err);
    for (int i = 0; !s && m->files && i < ar__st_file_count(m->files); i++) s = check_input(m, ar__st_path(m->files, i), err);
    for (size_t k = 0; !s && k < m->adapter_count; k++) s = check_input(m, m->adapter[k]->place, err);
    return s;
}

static bool is_dots(const char *name) { return !strcmp(name, ".") || !strcmp(name, ".."); }

static bool is_empty(const char *dir) {
    DIR *d = opendir(dir);
    bool empty = d != NULL;
    for (struct dirent *e; d && empty && (e = readdir(d));) empty = is_dots(e->d_name);
    if (d) closedir(d);
    return empty;
}

static bool lists(const json_t *files, const char *name) {
    for (size_t i = 0; i < json_array_size(files); i++) {
        const char *s = json_string_value(json_array_get(files, i));
        if (s && !strcmp(s, name)) return true;
    }
    return false;
}

/* The folder holds what an earlier merge wrote, and nothing else. */
static ar_status check_ours(const char *dir, ar_error *err) {
    char *path = ar__path_join(dir, MARKER);
    json_t *marker = NULL;
    ar_status s = path ? AR_OK : ar__fail_memory(err, dir);
    bool ours = path && ar__path_exists(path) && ar__json_load_object(&marker, path, SMALL_FILE, NULL) == AR_OK &&
                json_object_get(marker, "alphar") && json_is_array(json_object_get(marker, "files"));
    DIR *d = ours ? opendir(dir) : NULL;
    if (!s && !d) s = ar__fail(err, AR_ERR_EXISTS, "%s: exists and was not written by a merge of alphar; give another --out", dir);
    for (struct dirent *e; !s && (e = readdir(d));)
        if (!is_dots(e->d_name) && strcmp(e->d_name, MARKER) != 0 && !lists(json_object_get(marker, "files"), e->d_name))
            s = ar__fail(err, AR_ERR_EXISTS, "%s: holds '%s', which no merge wrote; move it away or give another --out", dir, e->d_name);
    if (d) closedir(d);
    json_decref(marker);
    free(path);
    return s;
}

ar_status ar__merge_folder_check(const ar_merging *m, ar_error *err) {
    const char *out = m->o->out;
    struct stat st;
    size_t n = strlen(out);
    if (n > 5 && !strcmp(out + n - 5, ".gguf"))
        return ar__fail(err, AR_ERR_UNSUPPORTED,
                        "%s: a folder cannot be merged into a GGUF file; merge into a folder and convert that with llama.cpp's "
                        "convert_hf_to_gguf.py",
                        out);
    if (!ar__path_exists(out)) return AR_OK;
    if (lstat(out, &st) != 0 || !S_ISDIR(st.st_mode))
        return ar__fail(err, AR_ERR_EXISTS, "%s: exists and is no folder; give another --out", out);
    ar_status s = ar__merge_check_inputs(m, err);
    if (s || is_empty(out)) return s;
    if (!m->o->overwrite) return ar__fail(err, AR_ERR_EXISTS, "%s: exists already; give another --out, or --overwrite", out);
    return check_ours(out, err);
}

/* ---- its files ------------------------------------------------------------------------------------------------------ */
struct folder {
    ar_merging *m;
    char *out, *temporary, *old; /* without slashes at the end */
    char *tokenizer;             /* the folder whose tokenizer goes with a changed vocabulary; NULL: the base's stays */
    ar_strings files;
};

static ar_status note_file(struct folder *f, const char *name, ar_error *err) {
    return ar__strings_add(&f->files, name) ? AR_OK : ar__fail_memory(err, name);
}

static ar_status put_file(struct folder *f, const char *name, const void *bytes, size_t n, ar_error *err) {
    char *path = ar__path_join(f->temporary, name);
    ar_status s = path ? ar__file_write(path, bytes, n, err) : ar__fail_memory(err, name);
    free(path);
    return s ? s : note_file(f, name, err);
}

static bool ends_in(const char *name, const char *const *endings) {
    size_t n = strlen(name);
    for (; *endings; endings++) {
        size_t k = strlen(*endings);
        if (n >= k && !strcmp(name + n - k, *endings)) return true;
    }
    return false;
}

/* Weights, state of a training, and what this merge writes itself stay behind. */
static bool is_carried(const char *name) {
    static const char *const weights[] = {".safetensors", ".bin", ".gguf", ".pth",  ".pt",      ".onnx",   ".onnx_data",  ".h5",
                                          ".msgpack",     ".ot",  ".npz",  ".ckpt", ".mlmodel", ".tflite", ".index.json", NULL};
    static const char *const own[] = {"config.json",        "run.json", "metrics.jsonl", "strength.jsonl", MARKER, "adapter_config.json",
                                      "trainer_state.json", NULL};
    if (*name == '.' || strstr(name, ".tmp-") || ends_in(name, weights)) return false;
    for (const char *const *p = own; *p; p++)
        if (!strcmp(*p, name)) return false;
    return true;
}

static ar_status carry_file(struct folder *f, const char *dir, const char *name, ar_error *err) {
    char *path = ar__path_join(dir, name);
    struct stat st;
    ar_buf bytes = {0};
    ar_status s = path ? AR_OK : ar__fail_memory(err, name);
    bool regular = path && stat(path, &st) == 0 && S_ISREG(st.st_mode);
    if (regular && st.st_size > SMALL_FILE)
        ar__log_warn(&f->m->rt->log, "%s: %lld bytes, too large to be carried along; copy it yourself where it is needed", path,
                     (long long)st.st_size);
    else if (regular && !(s = ar__file_read(&bytes, path, SMALL_FILE, err)))
        s = put_file(f, name, bytes.data, bytes.len, err);
    ar__buf_release(&bytes);
    free(path);
    return s;
}

/* What a tokenizer consists of, as a training with an extended vocabulary leaves it beside the adapter. */
static bool is_tokenizer(const char *name) {
    static const char *const names[] = {
        "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "vocab.json", "merges.txt",
        "vocab.txt",      "tokenizer.model",       "chat_template.jinja"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (!strcmp(names[i], name)) return true;
    return false;
}

static bool has_tokenizer(const char *dir) {
    static const char *const names[] = {"tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt"};
    bool there = false;
    for (size_t i = 0; dir && !there && i < sizeof names / sizeof *names; i++) {
        char *path = ar__path_join(dir, names[i]);
        there = path && ar__path_exists(path);
        free(path);
    }
    return there;
}

/* Where the vocabulary changed, the folder of the adapter that changed it; NULL: it has no tokenizer, or nothing changed. */
static char *find_tokenizer(const ar_merging *m) {
    const char *place = m->vocabulary_of && m->vocabulary_of->place ? m->vocabulary_of->place : NULL;
    char *dir = place ? ar__path_parent(place) : NULL;
    if (place && has_tokenizer(dir)) {
        ar__log_info(&m->rt->log, "the vocabulary has %lld entries now; the tokenizer is the one in %s", (long long)m->vocabulary, dir);
        return dir;
    }
    if (m->vocabulary)
        ar__log_warn(&m->rt->log,
                     "the vocabulary has %lld entries now, and the tokenizer is still the base's: copy the one of the training into %s",
                     (long long)m->vocabulary, m->o->out);
    free(dir);
    return NULL;
}

/* The note, where all adapters say the same; NULL else. */
static const char *common_note(const ar_merging *m, const char *key) {
    const char *value = ar__adapter_note(m->adapter[0], key);
    for (size_t k = 1; value && k < m->adapter_count; k++) {
        const char *other = ar__adapter_note(m->adapter[k], key);
        if (!other || strcmp(value, other) != 0) value = NULL;
    }
    return value;
}

/* What was learned was learned in this notation: it is the model's from now on, for other programs too. */
static ar_status put_template(struct folder *f, const char *template, ar_error *err) {
    if (!template) return AR_OK;
    ar__log_info(&f->m->rt->log, "%s: the chat template of the training, in the place of the base's", TEMPLATE);
    return put_file(f, TEMPLATE, template, strlen(template), err);
}

static ar_status carry_files(struct folder *f, ar_error *err) {
    const char *template = common_note(f->m, AR_NOTE_TEMPLATE_TEXT);
    ar_status s = put_template(f, template, err);
    f->tokenizer = find_tokenizer(f->m);
    for (int i = 0; !s && i < 1 + (f->tokenizer != NULL); i++) {
        const char *dir = i ? f->tokenizer : f->m->o->model;
        DIR *d = opendir(dir);
        if (!d) return ar__fail_errno(err, "%s: cannot open folder", dir);
        for (struct dirent *e; !s && (e = readdir(d));) {
            bool own = f->tokenizer && is_tokenizer(e->d_name);
            if (template && !strcmp(e->d_name, TEMPLATE)) continue;
            if (i ? own : !own && is_carried(e->d_name)) s = carry_file(f, dir, e->d_name, err);
        }
        closedir(d);
    }
    return s;
}

static ar_status put_config(struct folder *f, ar_error *err) {
    ar_buf text;
    ar_status s = ar__merge_config(&text, f->m, err);
    if (s) return s;
    s = put_file(f, "config.json", text.data, text.len, err);
    ar__buf_release(&text);
    return s;
}

static ar_status add_tensor(ar_st_writer *w, ar_merge_tensor *t, ar_error *err) {
    if (t->name == t->from.name && t->to == t->from.dtype) return ar__st_writer_add_like(w, &t->from, ar__merge_stream, t, err);
    return ar__st_writer_add_stream(w, t->name, t->to, t->from.dims, t->from.shape, ar__merge_stream, t, err);
}

static ar_status put_shard(struct folder *f, int file, ar_error *err) {
    ar_merging *m = f->m;
    ar_st_writer *w = NULL;
    const char *name = ar__path_base(ar__st_path(m->files, file)), *key;
    char *path = ar__path_join(f->temporary, name);
    json_t *value;
    ar_status s = path ? ar__st_writer_new(&w, err) : ar__fail_memory(err, name);
    for (size_t i = 0; !s && i < m->count; i++)
        if (m->tensor[i].file == file) s = add_tensor(w, &m->tensor[i], err);
    json_object_foreach((json_t *)(uintptr_t)ar__st_file_metadata(m->files, file), key, value) if (!s) s =
        ar__st_writer_meta(w, key, json_string_value(value), err);
    if (!s) s = ar__st_writer_save(w, path, err);
    ar__st_writer_free(w);
    free(path);
    return s ? s : note_file(f, name, err);
}

/* weight_map and total_size; the file stays as it is where both do. */
static ar_status edit_index(json_t *root, const ar_merging *m, bool *changed, ar_error *err) {
    json_t *meta = json_object_get(root, "metadata"), *map = json_object_get(root, "weight_map");
    json_t *total = json_object_get(meta, "total_size"), *parameters = json_object_get(meta, "total_parameters");
    const ar_merge_tensor *head = m->head_name ? &m->tensor[m->head] : NULL;
    json_int_t more = m->more_elements + (head ? (json_int_t)head->from.count : 0);
    bool bad = false;
    *changed = head || (uint64_t)json_number_value(total) != m->total;
    if (!*changed) return AR_OK;
    if (!meta) bad |= json_object_set_new(root, "metadata", meta = json_object()) != 0;
    bad |= json_object_set_new(meta, "total_size", json_integer((json_int_t)m->total)) != 0;
    if (head) bad |= json_object_set_new(map, head->name, json_string(ar__path_base(ar__st_path(m->files, head->file)))) != 0;
    if (more && parameters) bad |= json_object_set_new(meta, "total_parameters", json_integer(json_integer_value(parameters) + more)) != 0;
    return bad ? ar__fail_memory(err, INDEX) : AR_OK;
}

static ar_status put_index(struct folder *f, ar_error *err) {
    char *path = ar__path_join(f->m->o->model, INDEX), *single = ar__path_join(f->m->o->model, "model.safetensors");
    json_t *root = NULL;
    ar_buf text = {0};
    bool changed = false;
    ar_status s = path && single ? AR_OK : ar__fail_memory(err, INDEX);
    if (!s && !ar__path_exists(single)) {
        (void)((s = ar__json_load_object(&root, path, INDEX_MAX, err)) || (s = edit_index(root, f->m, &changed, err)) ||
               (s = ar__file_read(&text, path, INDEX_MAX, err)));
        char *dump = !s && changed ? json_dumps(root, JSON_INDENT(2) | JSON_SORT_KEYS) : NULL;
        if (!s && changed && !dump) s = ar__fail_memory(err, INDEX);
        if (!s) s = put_file(f, INDEX, dump ? dump : text.data, dump ? strlen(dump) : text.len, err);
        free(dump);
    }
    json_decref(root);
    ar__buf_release(&text);
    free(path);
    free(single);
    return s;
}

/* What all adapters say of how their rows read, so that prompts still get that form (gen/trained.h reads it); JSON null where
 * they disagree or say nothing. */
static json_t *trained(const ar_merging *m) {
    static const char *const notes[] = {AR_NOTE_FORM,       AR_NOTE_MAP,      AR_NOTE_IGNORED,
                                        AR_NOTE_MAX_LENGTH, AR_NOTE_TEMPLATE, AR_NOTE_TEMPLATE_TEXT};
    json_t *out = json_object();
    for (size_t n = 0; n < sizeof notes / sizeof *notes; n++) {
        const char *value = common_note(m, notes[n]), *first = ar__adapter_note(m->adapter[0], notes[n]);
        if (first && !value && !strcmp(notes[n], AR_NOTE_FORM))
            ar__log_warn(&m->rt->log,
                         "the adapters were not all trained on the form '%s': the folder keeps none, and prompts go as they stand", first);
        json_object_set_new(out, notes[n], value ? json_string(value) : json_null());
    }
    return out;
}

static ar_status put_marker(struct folder *f, ar_error *err) {
    const ar_merge_options *o = f->m->o;
    json_t *adapters = json_array(), *files = json_array();
    for (int i = 0; i < o->adapter_count; i++) json_array_append_new(adapters, json_string(o->adapters[i]));
    for (size_t i = 0; i < f->files.count; i++) json_array_append_new(files, json_string(f->files.at[i]));
    json_t *root = json_pack("{s:s, s:s, s:s, s:s, s:o, s:o, s:o}", "alphar", ar_version(), "command", "merge", "model", o->model, "dtype",
                             o->dtype ? o->dtype : "keep", "adapters", adapters, "trained", trained(f->m), "files", files);
    char *text = root ? json_dumps(root, JSON_INDENT(1)) : NULL;
    ar_status s =
        text && json_array_size(files) == f->files.count ? put_file(f, MARKER, text, strlen(text), err) : ar__fail_memory(err, MARKER);
    free(text);
    json_decref(root);
    return s;
}

/* ---- its name ------------------------------------------------------------------------------------------------------- */
static ar_status name_folder(struct folder *f, ar_error *err) {
    size_t n = strlen(f->m->o->out);
    while (n > 1 && f->m->o->out[n - 1] == '/') n--;
    ar_buf temporary = {0}, old = {0};
    f->out = ar__strndup(f->m->o->out, n);
    ar__buf_printf(&temporary, "%s.tmp-%ld", f->out ? f->out : "", (long)getpid());
    ar__buf_printf(&old, "%s.old-%ld", f->out ? f->out : "", (long)getpid());
    f->temporary = temporary.data;
    f->old = old.data;
    return f->out && !temporary.failed && !old.failed ? AR_OK : ar__fail_memory(err, f->m->o->out);
}

static ar_status install(const struct folder *f, ar_error *err) {
    ar_status s = ar__dir_sync(f->temporary, err);
    bool replaces = !s && ar__path_exists(f->out) && !is_empty(f->out);
    if (replaces) s = ar__path_rename(f->out, f->old, err);
    if (s) return s;
    if ((s = ar__path_rename(f->temporary, f->out, err))) {
        if (replaces) rename(f->old, f->out);
        return s;
    }
    if (replaces && ar__dir_remove(f->old, NULL)) ar__log_warn(&f->m->rt->log, "%s: the replaced folder could not be removed", f->old);
    return AR_OK;
}

static ar_status fill(struct folder *f, ar_error *err) {
    ar_status s;
    if ((s = ar__dir_make(f->temporary, err)) || (s = put_config(f, err)) || (s = carry_files(f, err))) return s;
    for (int i = 0; !s && i < ar__st_file_count(f->m->files); i++) s = put_shard(f, i, err);
    if (s || (s = put_index(f, err)) || (s = put_marker(f, err))) return s;
    return install(f, err);
}

ar_status ar__merge_folder(ar_merging *m, ar_error *err) {
    struct folder f = {.m = m};
    ar_status s = name_folder(&f, err);
    if (!s && !(s = ar__dir_remove(f.temporary, err))) {
        s = fill(&f, err);
        if (s) ar__dir_remove(f.temporary, NULL);
    }
    free(f.out);
    free(f.temporary);
    free(f.old);
    free(f.tokenizer);
    ar__strings_release(&f.files);
    return s;
}
