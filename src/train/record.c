#include "train/record.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "arch/names.h"
#include "base/fail.h"
#include "base/file.h"
#include "format/json.h"
#include "model/fingerprint.h"
#include "train/settings.h"

uint64_t ar__data_hash(const ar_dataset *data) {
    uint64_t h = 0xcbf29ce484222325u;
    for (size_t i = 0; i < ar__dataset_count(data); i++) {
        ar_sample s = ar__dataset_at(data, i);
        for (int j = 0; j < s.count; j++) h = (h ^ ((uint64_t)(uint32_t)s.ids[j] << 1 | s.learned[j])) * 0x100000001b3u;
        h = (h ^ 0xffffffffu) * 0x100000001b3u;
    }
    return h;
}

static ar_status write_json(json_t *j, const char *path, ar_error *err) {
    char *text = j ? json_dumps(j, JSON_INDENT(2) | JSON_REAL_PRECISION(15)) : NULL;
    ar_buf b = {0};
    ar_status s = text ? AR_OK : ar__fail_memory(err, path);
    if (!s) {
        ar__buf_printf(&b, "%s\n", text);
        s = b.failed ? ar__fail_memory(err, path) : ar__file_write(path, b.data, b.len, err);
    }
    ar__buf_release(&b);
    free(text);
    return s;
}

static json_t *count_or_null(bool known, size_t n) { return known ? json_integer((json_int_t)n) : json_null(); }

/* What quantising took off each site, and what of it is left behind the correction, both by ‖W‖. */
static json_t *noise_of(const ar_learner *l) {
    json_t *sites = json_object();
    for (size_t i = 0; i < l->adapter->pair_count; i++) {
        double before = l->course->model->owned[l->attachment->module[i]].noise;
        if (l->corrected[i] < 0.0) continue;
        json_object_set_new(sites, l->adapter->pair[i].site, json_pack("{s:f, s:f}", "before", before, "after", l->corrected[i]));
    }
    return sites;
}

ar_status ar__record_write(const ar_learner *l, const char *dir, const ar_remarks *remarks, ar_error *err) {
    char *path = ar__path_join(dir, "run.json");
    if (!path) return ar__fail_memory(err, dir);
    bool known = !ar__dataset_is_reading(l->course->data);
    uint64_t hash = known ? ar__data_hash(l->course->data) : 0;
    json_t *settings = ar__train_settings_json(&l->o, l->steps, known ? &hash : NULL);
    json_t *j =
        settings ? json_pack("{s:s, s:o, s:o, s:{s:i, s:b, s:I, s:I, s:s, s:s, s:I, s:o, s:o}}", "alphar", ar_version(), "settings",
                             settings, "given", ar__train_given_json(&l->asked), "resolved", "micro-batch", l->course->choice.micro_rows,
                             "checkpoint-layers", l->course->choice.again + l->course->choice.mlp_again > 0, "activation-bytes",
                             (json_int_t)l->course->choice.bytes, "trainable", (json_int_t)l->list.total, "isa", l->course->rt->kern.isa,
                             "backend", l->course->rt->gemm[0]->name, "samples", (json_int_t)ar__dataset_count(l->course->data), "tokens",
                             count_or_null(known, l->course->stats.tokens), "supervised", count_or_null(known, l->course->stats.supervised))
                 : NULL;
    json_t *resolved = json_object_get(j, "resolved");
    json_t *said = json_array();
    char template[17];
    json_object_set_new(j, "remarks", said);
    json_object_set_new(resolved, "form", json_string(ar__record_form(l)));
    if (ar__record_template(template, l)) json_object_set_new(resolved, "template", json_string(template));
    if (ar__record_template(template, l) && l->course->own_template)
        json_object_set_new(resolved, "template-text", json_string(l->course->chat->of[l->course->chat->standard].source));
    if (l->corrected) json_object_set_new(resolved, "noise", noise_of(l));
    for (int i = 0; remarks && i < remarks->count; i++) json_array_append_new(said, json_string(remarks->text[i]));
    ar_status s = write_json(j, path, err);
    json_decref(j);
    free(path);
    return s;
}

ar_compute ar_train_compute(const ar_train_options *o) {
    json_t *run = NULL;
    char *path = o->course.compute == AR_COMPUTE_AUTO && o->run.resume && o->run.out ? ar__path_join(o->run.out, "run.json") : NULL;
    const char *stored = NULL;
    if (path && ar__path_exists(path) && !ar__json_load_object(&run, path, 1 << 24, NULL))
        stored = json_string_value(json_object_get(json_object_get(run, "settings"), "compute"));
    ar_compute compute = o->course.compute;
    if (stored && !strcmp(stored, "f32")) compute = AR_COMPUTE_F32;
    if (stored && !strcmp(stored, "bf16")) compute = AR_COMPUTE_BF16;
    json_decref(run);
    free(path);
    return compute;
}

ar_status ar__record_check(const ar_learner *l, const char *dir, ar_error *err) {
    char *path = ar__path_join(dir, "run.json");
    json_t *old = NULL, *now = NULL;
    ar_status s = path ? AR_OK : ar__fail_memory(err, dir);
    if (!s && ar__path_exists(path)) {
        uint64_t hash = ar__data_hash(l->course->data);
        now = ar__train_settings_json(&l->o, l->steps, &hash);
        s = now ? ar__json_load_object(&old, path, 1 << 24, err) : ar__fail_memory(err, dir);
        if (!s) s = ar__train_settings_agree(json_object_get(old, "settings"), now, path, err);
    }
    json_decref(old);
    json_decref(now);
    free(path);
    return s;
}

/* What converters to GGUF have to know. */
static ar_status note_architecture(ar_learner *l, ar_error *err) {
    const ar_arch *a = &l->course->model->arch;
    const ar_name_map *names = ar__names_for_model_type(a->family);
    const ar_head_counts count = {a->heads, a->kv_heads, a->delta.key_heads, a->delta.value_heads, a->delta.value_dim};
    char heads[120];
    ar__head_counts_print(heads, sizeof heads, &count);
    ar_status s = names ? ar__adapter_set_note(l->adapter, AR_NOTE_ARCHITECTURE, names->gguf, err) : AR_OK;
    return s ? s : ar__adapter_set_note(l->adapter, AR_NOTE_HEADS, heads, err);
}

ar_status ar__record_provenance(ar_learner *l, ar_error *err) {
    char architecture[AR_FINGERPRINT_CHARS], rate[32];
    ar_buf weights = {0};
    ar_status s = ar__model_fingerprint(architecture, &weights, l->course->model, err);
    snprintf(rate, sizeof rate, "%.9g", l->o.learner.lr);
    if (!s) s = ar__adapter_set_note(l->adapter, "base.architecture", architecture, err);
    if (!s && weights.data) s = ar__adapter_set_note(l->adapter, "base.weights", weights.data, err);
    if (!s) s = ar__adapter_set_note(l->adapter, "base.dtype", ar__dtype(l->course->model->dtype)->name, err);
    if (!s) s = ar__adapter_set_note(l->adapter, "train.lr", rate, err);
    if (!s && l->o.course.quantize) s = ar__adapter_set_note(l->adapter, AR_NOTE_QUANTIZE, l->o.course.quantize, err);
    if (!s && ar__init_from_weights(&l->course->init)) s = ar__adapter_set_note(l->adapter, AR_NOTE_INIT, l->o.course.init, err);
    if (!s) s = note_architecture(l, err);
    if (!s) s = ar__record_data_notes(l, err);
    ar__buf_release(&weights);
    return s;
}
