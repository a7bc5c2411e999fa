/* What our own files say about themselves, beside what the format's reader goes by. */
#include "adapter/provenance.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "format/json.h"

/* One pair's s by the metadata against its s by the file. */
static ar_status settle(ar_pair *p, double noted, ar_policy policy, const ar_provenance *rule, const char *place, ar_error *err) {
    if (!isfinite(noted)) return ar__fail(err, AR_ERR_FORMAT, "%s: metadata: the scale of '%s' is not finite", place, p->site);
    bool same = fabs(noted - p->scale) <= (rule->tolerance > 0 ? rule->tolerance : 1e-9) * fabs(p->scale);
    if (!same && rule->trust == AR_TRUST_NONE)
        return ar__fail(err, AR_ERR_MISMATCH,
                        "%s: site '%s': the metadata says s = %.6g, %s gives %.6g (alpha %g, rank %d, %s): one of them was changed; choose "
                        "with --trust config or --trust metadata",
                        place, p->site, noted, rule->source, p->scale, p->alpha, p->rank, ar_policy_name(p->policy));
    if (same && rule->tolerance > 0) return AR_OK;
    if (!same) {
        p->policy = policy;
        p->alpha = ar__policy_alpha(policy, noted, p->rank);
    }
    p->scale = noted;
    return AR_OK;
}

static ar_status settle_all(ar_adapter *ad, const json_t *scales, ar_policy policy, const ar_provenance *rule, const char *place,
                            ar_error *err) {
    for (size_t i = 0; i < ad->pair_count; i++) {
        ar_pair *p = &ad->pair[i];
        double noted;
        if (!ar__json_as_double(&noted, json_object_get(scales, p->site))) continue;
        ar_status s = settle(p, noted, policy, rule, place, err);
        if (s) return s;
    }
    if (rule->trust == AR_TRUST_METADATA) ad->settings.policy = policy;
    return AR_OK;
}

static ar_status read_scales(ar_adapter *ad, const ar_st_set *st, const char *place, const ar_provenance *rule, ar_error *err) {
    const char *text = ar__st_metadata(st, AR_NOTE_PREFIX "scales"), *name = ar__st_metadata(st, AR_NOTE_PREFIX "policy");
    ar_policy policy = ad->settings.policy;
    json_t *scales;
    if (!text || rule->trust == AR_TRUST_CONFIG) return AR_OK;
    for (int p = AR_POLICY_STANDARD; name && p <= AR_POLICY_RSLORA; p++)
        if (!strcmp(name, ar_policy_name((ar_policy)p))) policy = (ar_policy)p;
    ar_status s = ar__json_parse(&scales, text, strlen(text), "metadata alphar.scales", err);
    if (s) return ar__fail_at(err, s, place);
    s = settle_all(ad, scales, policy, rule, place, err);
    json_decref(scales);
    return s;
}

static ar_status read_notes(ar_adapter *ad, const ar_st_set *st, ar_error *err) {
    static const char *const own[] = {"scales", "policy", "version", "sites"}; /* written anew */
    const size_t n = sizeof AR_NOTE_PREFIX - 1;
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)ar__st_metadata_all(st), key, value) {
        bool skip = strncmp(key, AR_NOTE_PREFIX, n) != 0;
        for (size_t i = 0; !skip && i < sizeof own / sizeof *own; i++) skip = !strcmp(key + n, own[i]);
        ar_status s = skip ? AR_OK : ar__adapter_set_note(ad, key + n, json_string_value(value), err);
        if (s) return s;
    }
    return AR_OK;
}

ar_status ar__provenance_read(ar_adapter *ad, const ar_st_set *st, const char *place, const ar_provenance *rule, ar_error *err) {
    ar_status s = read_scales(ad, st, place, rule, err);
    return s ? s : read_notes(ad, st, err);
}

/* {"SITE": s, …}; caller frees.  17 digits give the same double back. */
static char *scales_text(const ar_adapter *ad, ar_scale_fn of, const void *user) {
    json_t *scales = json_object();
    for (size_t i = 0; i < ad->pair_count; i++) {
        const ar_pair *p = &ad->pair[i];
        json_object_set_new(scales, p->site, json_real(of ? of(p, user) : p->scale));
    }
    char *text = json_object_size(scales) == ad->pair_count ? json_dumps(scales, JSON_COMPACT | JSON_REAL_PRECISION(17)) : NULL;
    json_decref(scales);
    return text;
}

ar_status ar__provenance_write_but(ar_st_writer *w, const ar_adapter *ad, const char *prefix, ar_scale_fn scale_of, const void *user,
                                   ar_error *err) {
    ar_buf key = {0};
    char *scales = scales_text(ad, scale_of, user);
    ar_status s;
    if (!scales) return ar__fail(err, AR_ERR_VALUE, "adapter: two sites of one name, or a name that is no UTF-8");
    (void)((s = ar__st_writer_meta(w, "format", "pt", err)) || (s = ar__st_writer_meta(w, AR_NOTE_PREFIX "version", ar_version(), err)) ||
           (s = ar__st_writer_meta(w, AR_NOTE_PREFIX "policy", ar_policy_name(ad->settings.policy), err)) ||
           (s = ar__st_writer_meta(w, AR_NOTE_PREFIX "scales", scales, err)));
    for (size_t i = 0; !s && i < ad->note_keys.count; i++) {
        if (prefix && !strncmp(ad->note_keys.at[i], prefix, strlen(prefix))) continue;
        ar__buf_clear(&key);
        ar__buf_printf(&key, AR_NOTE_PREFIX "%s", ad->note_keys.at[i]);
        s = key.failed ? ar__fail_memory(err, "metadata") : ar__st_writer_meta(w, key.data, ad->note_values.at[i], err);
    }
    ar__buf_release(&key);
    free(scales);
    return s;
}

ar_status ar__provenance_write(ar_st_writer *w, const ar_adapter *ad, ar_scale_fn scale_of, const void *user, ar_error *err) {
    return ar__provenance_write_but(w, ad, NULL, scale_of, user, err);
}
