#include "gen/trained.h"

#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/file.h"
#include "format/json.h"

/* Of several the first counts. */
static bool keep(char **to, const char *text) { return !text || *to || (*to = ar__strdup(text)); }

/* What one adapter, run or merge says. */
typedef struct said {
    const char *form, *map, *ignored, *template_hash, *template_text;
    long length;
} said;

static ar_status add(ar_trained *t, const said *s, ar_error *err) {
    const char *form = s->form;
    long length = s->length;
    bool ok = keep(&t->map, s->map) && keep(&t->ignored, s->ignored) && keep(&t->template_hash, s->template_hash) &&
              keep(&t->template_text, s->template_text);
    if (ok && form && !ar__strings_has(&t->forms, form)) ok = ar__strings_add(&t->forms, form);
    if (length >= 2 && length <= 1 << 24 && length > t->max_length) t->max_length = (int)length;
    return ok ? AR_OK : ar__fail_memory(err, "adapter");
}

ar_status ar__trained_add(ar_trained *t, const ar_adapter *ad, ar_error *err) {
    const char *length = ar__adapter_note(ad, AR_NOTE_MAX_LENGTH);
    said s = {ar__adapter_note(ad, AR_NOTE_FORM),     ar__adapter_note(ad, AR_NOTE_MAP),           ar__adapter_note(ad, AR_NOTE_IGNORED),
              ar__adapter_note(ad, AR_NOTE_TEMPLATE), ar__adapter_note(ad, AR_NOTE_TEMPLATE_TEXT), length ? strtol(length, NULL, 10) : 0};
    return add(t, &s, err);
}

ar_status ar__trained_read(ar_trained *t, const char *dir, const char *method, ar_error *err) {
    char *path = ar__path_join(dir, "run.json");
    json_t *run = NULL;
    ar_status s = path ? AR_OK : ar__fail_memory(err, dir);
    if (!s && ar__path_exists(path) && ar__json_load_object(&run, path, 1 << 24, NULL) == AR_OK && json_object_get(run, "alphar")) {
        const json_t *settings = json_object_get(run, "settings");
        const char *was = json_string_value(json_object_get(settings, "method"));
        const json_t *resolved = json_object_get(run, "resolved");
        said it = {json_string_value(json_object_get(resolved, "form")),
                   json_string_value(json_object_get(settings, "map")),
                   json_string_value(json_object_get(settings, "ignore-fields")),
                   json_string_value(json_object_get(resolved, "template")),
                   json_string_value(json_object_get(resolved, "template-text")),
                   (long)json_integer_value(json_object_get(settings, "max-length"))};
        if (was && !strcmp(was, method)) s = add(t, &it, err);
    }
    json_decref(run);
    free(path);
    return s;
}

ar_status ar__trained_read_merged(ar_trained *t, const char *dir, ar_error *err) {
    char *path = ar__path_join(dir, "merge.json");
    json_t *merge = NULL;
    ar_status s = path ? AR_OK : ar__fail_memory(err, dir);
    if (!s && ar__path_exists(path) && ar__json_load_object(&merge, path, 64 << 20, NULL) == AR_OK && json_object_get(merge, "alphar")) {
        const json_t *j = json_object_get(merge, "trained");
        const char *length = json_string_value(json_object_get(j, AR_NOTE_MAX_LENGTH));
        said it = {json_string_value(json_object_get(j, AR_NOTE_FORM)),          json_string_value(json_object_get(j, AR_NOTE_MAP)),
                   json_string_value(json_object_get(j, AR_NOTE_IGNORED)),       json_string_value(json_object_get(j, AR_NOTE_TEMPLATE)),
                   json_string_value(json_object_get(j, AR_NOTE_TEMPLATE_TEXT)), length ? strtol(length, NULL, 10) : 0};
        s = add(t, &it, err);
    }
    json_decref(merge);
    free(path);
    return s;
}

void ar__trained_release(ar_trained *t) {
    ar__strings_release(&t->forms);
    free(t->map);
    free(t->ignored);
    free(t->template_hash);
    free(t->template_text);
    *t = (ar_trained){0};
}

ar_data_kind ar__trained_kind(const ar_trained *t) {
    for (int k = 0; k < AR_DATA_KINDS && t->forms.count == 1; k++)
        if (!strcmp(t->forms.at[0], ar__parts_kind_name((ar_data_kind)k))) return (ar_data_kind)k;
    return AR_DATA_KINDS;
}
