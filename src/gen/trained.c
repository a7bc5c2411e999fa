#include "gen/trained.h"

#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/file.h"
#include "format/json.h"

/* Of several the first counts. */
static bool keep(char **to, const char *text) { return !text || *to || (*to = ar__strdup(text)); }

static ar_status add(ar_trained *t, const char *form, const char *map, const char *ignored, long length, ar_error *err) {
    bool ok = keep(&t->map, map) && keep(&t->ignored, ignored);
    if (ok && form && !ar__strings_has(&t->forms, form)) ok = ar__strings_add(&t->forms, form);
    if (length >= 2 && length <= 1 << 24 && length > t->max_length) t->max_length = (int)length;
    return ok ? AR_OK : ar__fail_memory(err, "adapter");
}

ar_status ar__trained_add(ar_trained *t, const ar_adapter *ad, ar_error *err) {
    const char *length = ar__adapter_note(ad, AR_NOTE_MAX_LENGTH);
    return add(t, ar__adapter_note(ad, AR_NOTE_FORM), ar__adapter_note(ad, AR_NOTE_MAP), ar__adapter_note(ad, AR_NOTE_IGNORED),
               length ? strtol(length, NULL, 10) : 0, err);
}

ar_status ar__trained_read(ar_trained *t, const char *dir, const char *method, ar_error *err) {
    char *path = ar__path_join(dir, "run.json");
    json_t *run = NULL;
    ar_status s = path ? AR_OK : ar__fail_memory(err, dir);
    if (!s && ar__path_exists(path) && ar__json_load_object(&run, path, 1 << 24, NULL) == AR_OK && json_object_get(run, "alphar")) {
        const json_t *settings = json_object_get(run, "settings");
        const char *was = json_string_value(json_object_get(settings, "method"));
        if (was && !strcmp(was, method))
            s = add(t, json_string_value(json_object_get(json_object_get(run, "resolved"), "form")),
                    json_string_value(json_object_get(settings, "map")), json_string_value(json_object_get(settings, "ignore-fields")),
                    (long)json_integer_value(json_object_get(settings, "max-length")), err);
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
        const json_t *said = json_object_get(merge, "trained");
        const char *length = json_string_value(json_object_get(said, AR_NOTE_MAX_LENGTH));
        s = add(t, json_string_value(json_object_get(said, AR_NOTE_FORM)), json_string_value(json_object_get(said, AR_NOTE_MAP)),
                json_string_value(json_object_get(said, AR_NOTE_IGNORED)), length ? strtol(length, NULL, 10) : 0, err);
    }
    json_decref(merge);
    free(path);
    return s;
}

void ar__trained_release(ar_trained *t) {
    ar__strings_release(&t->forms);
    free(t->map);
    free(t->ignored);
    *t = (ar_trained){0};
}

ar_data_kind ar__trained_kind(const ar_trained *t) {
    for (int k = 0; k < AR_DATA_KINDS && t->forms.count == 1; k++)
        if (!strcmp(t->forms.at[0], ar__parts_kind_name((ar_data_kind)k))) return (ar_data_kind)k;
    return AR_DATA_KINDS;
}
