/* The folder that a merge writes:
 *
 *     model*.safetensors, index     as the base has them
 *     config.json                   the base's, with what the merge changes about it
 *     tokenizer, templates, …       the base's small files; neither weights in other formats nor what a training left
 *     merge.json                    {"alphar": version, "command": "merge", "model", "dtype", "adapters", "trained", "files"}
 *
 * It is written under a temporary name beside its place.  merge.json is what lets a later merge replace it: only a folder
 * with one, and with nothing in it that the list of files lacks, may be. */
#include <stdlib.h>
#include <string.h>

#include "adapter/algebra/merge.h"
#include "base/fail.h"
#include "base/file.h"
#include "format/json.h"

#define INDEX "model.safetensors.index.json"
#define TEMPLATE "chat_template.jinja"

enum { INDEX_MAX = 256 << 20 };

/* ---- whether `out` may be taken ------------------------------------------------------------------------------------- */
ar_status ar__merge_output(ar_output *output, const ar_merging *m, ar_error *err) {
    *output = (ar_output){.path = m->o->out, .command = "merge", .overwrite = m->o->overwrite};
    bool ok = ar__strings_add(&output->inputs, m->o->model);
    for (int i = 0; ok && m->files && i < ar__st_file_count(m->files); i++) ok = ar__strings_add(&output->inputs, ar__st_path(m->files, i));
    for (size_t k = 0; ok && k < m->adapter_count; k++)
        ok = !m->adapter[k]->place || ar__strings_add(&output->inputs, m->adapter[k]->place);
    return ok ? AR_OK : ar__fail_memory(err, m->o->out);
}

ar_status ar__merge_folder_check(const ar_merging *m, ar_error *err) {
    const char *out = m->o->out;
    ar_output output;
    size_t n = strlen(out);
    if (n > 5 && !strcmp(out + n - 5, ".gguf"))
        return ar__fail(err, AR_ERR_UNSUPPORTED,
                        "%s: a folder cannot be merged into a GGUF file; merge into a folder and write that as one: alphar quantize", out);
    ar_status s = ar__merge_output(&output, m, err);
    if (!s) s = ar__output_check_folder(&output, err);
    ar__strings_release(&output.inputs);
    return s;
}

/* ---- its files ------------------------------------------------------------------------------------------------------ */
struct folder {
    ar_merging *m;
    ar_outdir dir;
    char *tokenizer;      /* the folder whose tokenizer goes with a changed vocabulary; NULL: the base's stays */
    const char *template; /* of the training, in the place of the base's; NULL: none */
};

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
static ar_status put_template(struct folder *f, ar_error *err) {
    if (!f->template) return AR_OK;
    ar__log_info(&f->m->rt->log, "%s: the chat template of the training, in the place of the base's", TEMPLATE);
    return ar__outdir_put(&f->dir, TEMPLATE, f->template, strlen(f->template), err);
}

static bool is_replaced(const struct folder *f, const char *name) { return f->template && !strcmp(name, TEMPLATE); }

static bool of_base(const void *user, const char *name) {
    const struct folder *f = user;
    return !is_replaced(f, name) && !(f->tokenizer && is_tokenizer(name)) && ar__outdir_is_carried(name);
}

static bool of_training(const void *user, const char *name) { return !is_replaced(user, name) && is_tokenizer(name); }

static ar_status carry_files(struct folder *f, ar_error *err) {
    f->template = common_note(f->m, AR_NOTE_TEMPLATE_TEXT);
    f->tokenizer = find_tokenizer(f->m);
    ar_status s = put_template(f, err);
    if (!s) s = ar__outdir_carry(&f->dir, f->m->o->model, of_base, f, err);
    return s || !f->tokenizer ? s : ar__outdir_carry(&f->dir, f->tokenizer, of_training, f, err);
}

static ar_status put_config(struct folder *f, ar_error *err) {
    ar_buf text;
    ar_status s = ar__merge_config(&text, f->m, err);
    if (s) return s;
    s = ar__outdir_put(&f->dir, "config.json", text.data, text.len, err);
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
    char *path = ar__outdir_path(&f->dir, name);
    json_t *value;
    ar_status s = path ? ar__st_writer_new(&w, err) : ar__fail_memory(err, name);
    for (size_t i = 0; !s && i < m->count; i++)
        if (m->tensor[i].file == file) s = add_tensor(w, &m->tensor[i], err);
    json_object_foreach((json_t *)(uintptr_t)ar__st_file_metadata(m->files, file), key, value) if (!s) s =
        ar__st_writer_meta(w, key, json_string_value(value), err);
    if (!s) s = ar__st_writer_save(w, path, err);
    ar__st_writer_free(w);
    free(path);
    return s ? s : ar__outdir_note(&f->dir, name, err);
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
        if (!s) s = ar__outdir_put(&f->dir, INDEX, dump ? dump : text.data, dump ? strlen(dump) : text.len, err);
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
    json_t *adapters = json_array();
    for (int i = 0; i < o->adapter_count; i++) json_array_append_new(adapters, json_string(o->adapters[i]));
    return ar__outdir_mark(&f->dir, "merge",
                           json_pack("{s:s, s:s, s:o, s:o}", "model", o->model, "dtype", o->dtype ? o->dtype : "keep", "adapters", adapters,
                                     "trained", trained(f->m)),
                           err);
}

static ar_status fill(struct folder *f, ar_error *err) {
    ar_status s;
    if ((s = put_config(f, err)) || (s = carry_files(f, err))) return s;
    for (int i = 0; !s && i < ar__st_file_count(f->m->files); i++) s = put_shard(f, i, err);
    if (s || (s = put_index(f, err)) || (s = put_marker(f, err))) return s;
    return ar__outdir_install(&f->dir, err);
}

ar_status ar__merge_folder(ar_merging *m, ar_error *err) {
    struct folder f = {.m = m};
    ar_status s = ar__outdir_begin(&f.dir, m->o->out, &m->rt->log, err);
    if (!s) s = fill(&f, err);
    ar__outdir_end(&f.dir);
    free(f.tokenizer);
    return s;
}
