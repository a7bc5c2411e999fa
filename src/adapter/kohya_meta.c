/* The metadata of a kohya file, all values strings: what its trainer noted.  Tensors alone decide what the adapter does;
 * this is read for what people see, and given back as it was.
 *
 *     ss_network_dim, ss_network_alpha   "16", "8.0"; "Dynamic" where modules differ
 *     ss_network_module                  "networks.lora"
 *     ss_sd_model_name                   the base, a file's name or a repository
 *     ss_…, modelspec.…, anything else   how it was trained
 *
 * The hashes (sshs_…, modelspec.hash_…) are of tensors that may change here, and are dropped. */
#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "adapter/kohya.h"
#include "base/fail.h"
#include "base/mem.h"

#define DIM "ss_network_dim"
#define ALPHA "ss_network_alpha"
#define MODULE "ss_network_module"
#define BASE "ss_sd_model_name"

static double rank_of(const ar_pair *p) { return p->rank; }
static double alpha_of_pair(const ar_pair *p) { return p->alpha; }

static bool starts(const char *s, const char *with) { return !strncmp(s, with, strlen(with)); }

/* The noted number where a pair has it (others have resized the adapter and left the note), else the most frequent. */
static double settled(const ar_adapter *ad, const char *noted, double (*of)(const ar_pair *p)) {
    char *end = NULL;
    double x = noted ? strtod(noted, &end) : NAN;
    for (size_t i = 0; noted && end != noted && !*end && i < ad->pair_count; i++)
        if (of(&ad->pair[i]) == x) return x;
    return ar__most_common(ad, of);
}

static ar_status keep_note(ar_adapter *ad, const char *key, const char *value, ar_error *err) {
    /* Written anew, or of tensors that may change; "lora_adapter_metadata" has been read into the pairs. */
    static const char *const own[] = {DIM, ALPHA, BASE, "format", "lora_adapter_metadata"};
    static const char *const dropped[] = {"sshs_", "modelspec.hash_", AR_NOTE_PREFIX};
    ar_buf name = {0};
    if (!value) return AR_OK;
    for (size_t i = 0; i < sizeof dropped / sizeof *dropped; i++)
        if (starts(key, dropped[i])) return AR_OK;
    for (size_t i = 0; i < sizeof own / sizeof *own; i++)
        if (!strcmp(key, own[i])) return AR_OK;
    ar__buf_printf(&name, AR_NOTE_FOREIGN "%s", key);
    ar_status s = name.failed ? ar__fail_memory(err, "metadata") : ar__adapter_set_note(ad, name.data, value, err);
    ar__buf_release(&name);
    return s;
}

ar_status ar__kohya_settings_read(ar_adapter *ad, const ar_st_set *st, ar_error *err) {
    const char *base = ar__st_metadata(st, BASE), *key;
    json_t *value;
    ar_status s = AR_OK;
    ad->settings.rank = (int)settled(ad, ar__st_metadata(st, DIM), rank_of);
    ad->settings.alpha = settled(ad, ar__st_metadata(st, ALPHA), alpha_of_pair);
    if (base && *base && strcmp(base, "None") != 0 && !(ad->settings.base = ar__strdup(base))) return ar__fail_memory(err, "metadata");
    json_object_foreach((json_t *)(uintptr_t)ar__st_metadata_all(st), key, value) {
        if (!s) s = keep_note(ad, key, json_string_value(value), err);
    }
    return s;
}

static ar_status write_number(ar_st_writer *w, const char *key, const ar_adapter *ad, double (*of)(const ar_pair *p), ar_error *err) {
    char text[40];
    double x = ar__most_common(ad, of);
    bool differ = false;
    for (size_t i = 0; i < ad->pair_count; i++) differ |= of(&ad->pair[i]) != x;
    snprintf(text, sizeof text, "%.9g", x);
    return ar__st_writer_meta(w, key, differ ? "Dynamic" : text, err);
}

ar_status ar__kohya_settings_write(ar_st_writer *w, const ar_adapter *ad, double (*alpha_of)(const ar_pair *p), ar_error *err) {
    const size_t n = sizeof AR_NOTE_FOREIGN - 1;
    ar_status s = ar__st_writer_meta(w, MODULE, "networks.lora", err);
    for (size_t i = 0; !s && i < ad->note_keys.count; i++)
        if (starts(ad->note_keys.at[i], AR_NOTE_FOREIGN)) s = ar__st_writer_meta(w, ad->note_keys.at[i] + n, ad->note_values.at[i], err);
    if (!s && ad->settings.base) s = ar__st_writer_meta(w, BASE, ad->settings.base, err);
    if (!s) s = write_number(w, DIM, ad, rank_of, err);
    return s ? s : write_number(w, ALPHA, ad, alpha_of, err);
}
