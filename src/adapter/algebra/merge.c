/* ar_merge: opening what takes part, the order of the checks, and the report. */
#include "adapter/algebra/merge.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "adapter/correction.h"
#include "adapter/weighted.h"
#include "base/fail.h"
#include "base/file.h"
#include "format/json.h"

#define LOSSY 0.9 /* survival below which a warning is due */

static ar_status open_adapter(ar_adapter **out, const char *text, const ar_merge_options *o, const ar_log *log, ar_error *err) {
    ar_adapter_options options = o->adapter_options;
    char *path;
    double factor;
    if (!options.model) options.model = o->model;
    if (!options.log) {
        options.log = log->fn;
        options.log_user = log->user;
    }
    ar_status s = ar__weighted_split(&path, &factor, text, err);
    if (!s) s = ar_adapter_open(out, path, &options, err);
    if (!s) ar__adapter_warn_correction(*out, path, NULL, log);
    if (!s && o->has_scale) s = ar_adapter_set_scale(*out, o->scale, err);
    if (!s && o->has_alpha) s = ar_adapter_set_alpha(*out, o->alpha, err);
    if (!s && factor != 1.0) s = ar_adapter_multiply_scale(*out, factor, err);
    free(path);
    return s;
}

/* Directly in the folder, so that their last names tell shards apart. */
static ar_status check_shards(const ar_merging *m, ar_error *err) {
    const char *model = m->o->model;
    size_t n = strlen(model);
    while (n > 1 && model[n - 1] == '/') n--;
    for (int i = 0; i < ar__st_file_count(m->files); i++) {
        const char *shard = ar__st_path(m->files, i), *name = ar__path_base(shard);
        if (strspn(shard + n, "/") < (size_t)(name - shard) - n)
            return ar__fail(err, AR_ERR_UNSUPPORTED, "%s: a shard below the folder; move all shards into %s", shard, model);
    }
    return AR_OK;
}

static ar_status open_base(ar_merging *m, ar_error *err) {
    const char *model = m->o->model;
    ar_status s = ar__base_open(&m->base, model, err);
    if (s) return s;
    m->info = ar__base_info(m->base);
    m->all = ar__base_files(m->base);
    m->files = ar__tensors_safetensors(m->all);
    m->gguf = ar__tensors_gguf(m->all);
    ar__base_warn_head(m->base, &m->rt->log);
    if (m->gguf) return AR_OK;
    if (!ar__path_is_dir(model))
        return ar__fail(err, AR_ERR_UNSUPPORTED, "%s: wanted the base's folder, with config.json and safetensors, or a GGUF file", model);
    char *path = ar__path_join(model, "config.json");
    s = path ? ar__json_load_object(&m->config, path, 64 << 20, err) : ar__fail_memory(err, model);
    free(path);
    return s ? s : check_shards(m, err);
}

static ar_status read_dtype(ar_merging *m, ar_error *err) {
    const char *name = m->o->dtype;
    if (!name || !strcmp(name, "keep")) return AR_OK;
    bool known = ar__dtype_from_name(&m->dtype, name) && ar__dtype(m->dtype)->from_f32;
    if (!known || (!ar__dtype_is_float(m->dtype) && ar__dtype(m->dtype)->block == 1) || m->dtype == AR_F64)
        return ar__fail(err, AR_ERR_USAGE, "dtype '%s': wanted keep, f32, f16 or bf16, or in a GGUF file q8_0, q4_k, …", name);
    m->has_dtype = true;
    return AR_OK;
}

static ar_status check_dtype(const ar_merging *m, ar_error *err) {
    uint32_t type;
    if (m->gguf && m->has_dtype && !ar__ggml_type_of(&type, m->dtype))
        return ar__fail(err, AR_ERR_UNSUPPORTED, "%s: GGUF has no type for dtype %s, wanted one such as f16, q8_0 or q4_k", m->o->model,
                        m->o->dtype);
    if (m->gguf) return AR_OK;
    if (m->o->rescue)
        return ar__fail(
            err, AR_ERR_UNSUPPORTED,
            "%s: rescue wants a GGUF file, where each tensor has a type of its own; a folder's readers give all weights the one "
            "that config.json names: wanted dtype f32, or no rescue",
            m->o->model);
    if (!m->has_dtype) return AR_OK;
    if (!ar__dtype_is_float(m->dtype))
        return ar__fail(err, AR_ERR_UNSUPPORTED, "%s: dtype %s is of GGUF files, wanted keep, f32, f16 or bf16 in a folder", m->o->model,
                        m->o->dtype);
    if (ar__json_has(m->config, "quantization_config"))
        return ar__fail(err, AR_ERR_UNSUPPORTED, "%s: the base is quantised, and its scales must keep their type: wanted dtype keep",
                        m->o->model);
    return AR_OK;
}

static ar_status report(ar_merge_result *r, const ar_merging *m, ar_error *err) {
    r->min_survival = 1;
    r->untied = m->untied;
    r->sites = ar__alloc(m->count, sizeof *r->sites);
    if (!r->sites) return ar__fail_memory(err, "merge");
    for (size_t i = 0; i < m->count; i++) {
        const ar_merge_tensor *t = &m->tensor[i];
        r->replaced += t->whole != NULL;
        if (!t->part_count || t->from.dims < 2) continue;
        ar_merge_site *site = &r->sites[r->count];
        const ar_pair *first = t->part[0].pair;
        size_t length = ar__pair_in_stack(first) ? strcspn(first->site, "[") : strlen(first->site); /* a stack is one site here */
        *site = (ar_merge_site){.name = ar__strndup(first->site, length),
                                .survival = 1,
                                .is_zero = t->norm2 == 0,
                                .is_rescued = t->is_rescued,
                                .type = ar__dtype(t->to)->name};
        if (!site->name) return ar__fail_memory(err, "merge");
        if (!site->is_zero) site->survival = t->along / t->norm2;
        if (r->count == 0 || site->survival < r->min_survival) r->min_survival = site->survival; /* all may be above 1 */
        r->count++;
    }
    return AR_OK;
}

static void warn_lossy(const ar_merge_result *r, const ar_merging *m) {
    size_t lossy = 0, worst = 0;
    for (size_t i = 0; i < r->count; i++) {
        lossy += r->sites[i].survival < LOSSY;
        if (r->sites[i].survival < r->sites[worst].survival) worst = i;
    }
    if (lossy)
        ar__log_warn(
            &m->rt->log,
            "rounding ate more than a tenth of the update at %zu of %zu sites (%s keeps %.3f of it): write with --dtype f32%s, or keep "
            "the adapter apart",
            lossy, r->count, r->sites[worst].name, r->sites[worst].survival,
            m->gguf ? " (the adapted tensors alone) or with --rescue N (the N worst alone), merge into the model that was quantised" : "");
}

static ar_status open_all(ar_merging *m, ar_error *err) {
    const ar_merge_options *o = m->o;
    ar_status s;
    if (o->adapter_count < 1) return ar__fail(err, AR_ERR_USAGE, "merge: no adapter was given");
    if (o->rescue < 0) return ar__fail(err, AR_ERR_USAGE, "rescue %d: wanted a number of sites", o->rescue);
    if ((s = read_dtype(m, err)) || (s = open_base(m, err)) || (s = check_dtype(m, err))) return s;
    m->adapter = ar__alloc((size_t)o->adapter_count, sizeof(ar_adapter *));
    if (!m->adapter) return ar__fail_memory(err, "adapters");
    for (int i = 0; !s && i < o->adapter_count; i++) {
        ar_adapter **ad = &m->adapter[m->adapter_count++];
        s = open_adapter(ad, o->adapters[i], o, &m->rt->log, err);
    }
    return s;
}

static void release(ar_merging *m) {
    for (size_t i = 0; i < m->adapter_count; i++) ar_adapter_free(m->adapter[i]);
    for (size_t i = 0; i < m->count; i++) free(m->tensor[i].part);
    free(m->adapter);
    free(m->tensor);
    free(m->head_name);
    ar__spool_free(m->formed);
    ar__map_release(&m->by_name);
    ar__base_close(m->base);
    json_decref(m->config);
}

static ar_status write_out(ar_merging *m, ar_error *err) {
    ar_status s = m->gguf ? ar__merge_file_check(m, err) : ar__merge_folder_check(m, err);
    if (s || (s = ar__merge_plan(m, err)) || (m->o->rescue && (s = ar__merge_rescue(m, err)))) return s;
    return m->gguf ? ar__merge_file(m, err) : ar__merge_folder(m, err);
}

ar_status ar_merge(ar_merge_result *result, const ar_runtime *rt, const ar_merge_options *o, ar_error *err) {
    ar_merging m = {.rt = rt, .o = o};
    ar_status s;
    *result = (ar_merge_result){0};
    AR_ONE_CALL(rt, err);
    (void)((s = open_all(&m, err)) || (s = write_out(&m, err)) || (s = report(result, &m, err)));
    if (!s) warn_lossy(result, &m);
    release(&m);
    return s;
}

void ar_merge_result_release(ar_merge_result *r) {
    for (size_t i = 0; i < r->count; i++) free(r->sites[i].name);
    free(r->sites);
    *r = (ar_merge_result){0};
}
