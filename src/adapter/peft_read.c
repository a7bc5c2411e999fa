/* adapter_model.safetensors → pairs, whose factors stay in the file until they are loaded, and whole tensors. */
#include <stdlib.h>
#include <string.h>

#include "adapter/fingerprint.h"
#include "adapter/peft_impl.h"
#include "adapter/provenance.h"
#include "adapter/site_name.h"
#include "adapter/targets.h"
#include "base/fail.h"
#include "base/file.h"
#include "base/mem.h"

/* layers.2 before layers.10 */
static int by_path(const void *a, const void *b) { return strverscmp(((const ar_peft_site *)a)->path, ((const ar_peft_site *)b)->path); }

static ar_status read_tensors(ar_peft_reader *r, ar_error *err) {
    ar_status s = AR_OK;
    for (int i = 0; !s && i < ar__st_count(r->st); i++) s = ar__peft_sort(r, ar__st_at(r->st, i)->name, err);
    if (r->count) qsort(r->site, r->count, sizeof *r->site, by_path);
    for (size_t i = 0; !s && i < r->count; i++) s = ar__peft_read_pair(r, &r->site[i], err);
    if (!s && !r->count && !r->ad->whole_count) s = ar__fail(err, AR_ERR_FORMAT, "%s: holds no adapter tensors", r->place);
    return s;
}

/* Gives the pairs the paths of their keys, or takes these away again: pairs stand in the order of the sites. */
static void swap_names(const ar_peft_reader *r) {
    size_t k = 0;
    for (size_t i = 0; i < r->ad->pair_count; i++) {
        ar_pair *p = &r->ad->pair[i];
        if (p->experts) continue;
        while (k < r->count && !r->site[k].part[AR_PEFT_EMBEDDING_A] && ar__peft_is_stack(&r->ad->settings, r->site[k].path)) k++;
        if (k == r->count) return;
        char *name = p->site;
        p->site = r->site[k].raw;
        r->site[k].raw = name;
        k++;
    }
}

/* Names and patterns may mean the paths that the keys have. */
static ar_status find_unselected(size_t *out, const ar_peft_reader *r, ar_error *err) {
    size_t by_key = SIZE_MAX;
    ar_status s = ar__adapter_unselected(out, r->ad, err);
    if (s || *out == SIZE_MAX || !r->odd) return s;
    swap_names(r);
    s = ar__adapter_unselected(&by_key, r->ad, NULL);
    swap_names(r);
    if (!s && by_key == SIZE_MAX) *out = SIZE_MAX;
    return AR_OK;
}

static ar_status check_targets(const ar_peft_reader *r, ar_error *err) {
    const ar_names *targets = &r->ad->settings.targets;
    size_t i;
    bool given = targets->regex || targets->list.count || targets->is_empty;
    ar_status s = ar__peft_default_targets(r->ad, r->c, err);
    if (!s) s = find_unselected(&i, r, err);
    if (s) return ar__fail_at(err, s, AR_PEFT_CONFIG);
    if (i == SIZE_MAX) return AR_OK;
    if (!given)
        return ar__fail(err, AR_ERR_MISMATCH,
                        "%s: site '%s' has a pair, but target_modules of " AR_PEFT_CONFIG
                        " is null, for which PEFT takes the default of the base's family (%s) and passes over all other pairs: write the "
                        "names that were trained into target_modules",
                        r->place, r->ad->pair[i].site, ar__base_info(r->c->base)->model_type);
    return ar__fail(err, AR_ERR_MISMATCH,
                    "%s: site '%s' has a pair, but target_modules of " AR_PEFT_CONFIG
                    " (with exclude_modules and layers_to_transform) do not "
                    "select it, so that PEFT would ignore it: correct the configuration",
                    r->place, r->ad->pair[i].site);
}

static void say_what_is_odd(const ar_peft_reader *r) {
    if (r->odd)
        ar__log_warn(&r->c->log,
                     "%s: '%s' does not name its module as %s does: PEFT finds modules by exact name and would load nothing from such "
                     "keys; it is read here as what is meant, and alphar convert IN OUT --to peft mends it",
                     r->place, r->odd, r->c->base ? "the base" : "PEFT");
    else if (r->named)
        ar__log_warn(
            &r->c->log,
            "%s: '%s' has the adapter's name in it: PEFT before 0.21 would load nothing from such keys; alphar convert IN OUT --to "
            "peft mends it",
            r->place, r->named);
    if (r->has_other_base) ar__base_warn_copies(r->place, r->c->base, &r->c->log);
}

static ar_status read_all(ar_peft_reader *r, ar_error *err) {
    const ar_provenance rule = {.source = AR_PEFT_CONFIG, .trust = r->c->options.trust};
    ar_status s;
    (void)((s = ar__pattern_set_init(&r->ranks, &r->ad->settings.rank_pattern, err)) ||
           (s = ar__pattern_set_init(&r->alphas, &r->ad->settings.alpha_pattern, err)) || (s = read_tensors(r, err)) ||
           (s = check_targets(r, err)) || (s = ar__peft_check_whole(r->ad, r->c, err)) ||
           (s = ar__provenance_read(r->ad, r->st, r->place, &rule, err)));
    if (!s) say_what_is_odd(r);
    ar__pattern_set_release(&r->ranks);
    ar__pattern_set_release(&r->alphas);
    for (size_t i = 0; i < r->count; i++) {
        free(r->site[i].path);
        free(r->site[i].raw);
    }
    free(r->site);
    ar__map_release(&r->names);
    return s;
}

/* Full paths among the names may carry wrappers as the keys do. */
static ar_status unwrap_names(ar_strings *list, ar_error *err) {
    for (size_t i = 0; i < list->count; i++) {
        ar_buf plain = {0};
        const char *wrapper;
        ar__site_unwrapped(&plain, list->at[i], &wrapper);
        if (plain.failed) return ar__fail_memory(err, AR_PEFT_CONFIG);
        if (wrapper && plain.len) {
            free(list->at[i]);
            list->at[i] = plain.data;
        } else {
            ar__buf_release(&plain);
        }
    }
    return AR_OK;
}

static ar_status find_weights(char **out, const char *dir, ar_error *err) {
    *out = ar__path_join(dir, AR_PEFT_WEIGHTS);
    char *pickle = ar__path_join(dir, "adapter_model.bin");
    ar_status s = AR_OK;
    if (!*out || !pickle)
        s = ar__fail_memory(err, dir);
    else if (ar__path_exists(*out))
        s = AR_OK;
    else if (ar__path_exists(pickle))
        s = ar__fail(err, AR_ERR_UNSUPPORTED,
                     "%s: a Python pickle, which can run code when read; wanted " AR_PEFT_WEIGHTS
                     ": convert it where you trust it, with torch.load(..., weights_only=True) and safetensors.torch.save_file",
                     pickle);
    else
        s = ar__fail(err, AR_ERR_NOT_FOUND, "%s: no " AR_PEFT_WEIGHTS, dir);
    free(pickle);
    return s;
}

static void close_files(void *st) { ar__st_close(st); }

ar_status ar__peft_read(ar_adapter **out, const ar_read_context *c, ar_error *err) {
    ar_peft_reader r = {.c = c};
    char *config = ar__path_join(c->path, AR_PEFT_CONFIG);
    ar_status s;
    *out = NULL;
    if (!config) return ar__fail_memory(err, c->path);
    if (!(s = ar__adapter_new(&r.ad, err)) && !(s = ar__peft_config_read(&r.ad->settings, config, &c->options, err)) &&
        !(s = unwrap_names(&r.ad->settings.targets.list, err)) && !(s = unwrap_names(&r.ad->settings.exclude.list, err)) &&
        !(s = unwrap_names(&r.ad->settings.save, err)) && !(s = find_weights(&r.ad->place, c->path, err)) &&
        !(s = ar__st_open(&r.st, r.ad->place, err)) && !(s = ar__adapter_keep(r.ad, r.st, close_files, err))) {
        r.place = r.ad->place;
        s = read_all(&r, err);
    }
    free(config);
    if (s)
        ar_adapter_free(r.ad);
    else
        *out = r.ad;
    return s;
}
