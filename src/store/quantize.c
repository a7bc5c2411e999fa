/* ar_quantize and ar_convert_model: opening the model, the order of the checks, and the report. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "format/json.h"
#include "store/storing.h"
#include "store/types.h"

enum { CONFIG_MAX = 64 << 20 };

static ar_status open_model(ar_storing *st, ar_error *err) {
    const char *model = st->o->model;
    ar_status s = ar__base_open(&st->base, model, err);
    if (s) return s;
    st->info = ar__base_info(st->base);
    ar__base_warn_head(st->base, &st->rt->log);
    if (st->info->is_gguf) return AR_OK;
    if (st->info->unreadable) return ar__fail(err, AR_ERR_UNSUPPORTED, "%s", st->info->unreadable);
    char *path = ar__path_join(model, "config.json");
    s = !path ? ar__fail_memory(err, model)
        : ar__path_is_dir(model)
            ? ar__json_load_object(&st->config, path, CONFIG_MAX, err)
            : ar__fail(err, AR_ERR_UNSUPPORTED, "%s: wanted the model's folder, with config.json and safetensors, or a GGUF file", model);
    free(path);
    return s;
}

/* The record of a folder, which a GGUF file is written from; a tie that the files do not keep is none. */
static ar_status read_arch(ar_storing *st, ar_error *err) {
    ar_buf place = {0};
    ar__buf_printf(&place, "%s/config.json", st->o->model);
    if (!st->info->names && !place.failed && st->info->model_type) {
        ar__buf_release(&place);
        return ar__fail(err, AR_ERR_UNSUPPORTED, "%s: model_type '%s', for which no GGUF file is written", st->o->model,
                        st->info->model_type);
    }
    ar_status s = place.failed ? ar__fail_memory(err, st->o->model) : ar__arch_read(&st->arch, st->config, place.data, &st->rt->log, err);
    st->has_arch = !s;
    st->arch.tied = st->info->is_tied;
    ar__buf_release(&place);
    return s;
}

static bool is_gguf_name(const char *path) {
    size_t n = strlen(path);
    return n > 5 && !strcmp(path + n - 5, ".gguf");
}

/* Model and files that may not be overwritten. */
static ar_status check_inputs_of(ar_output *output, const ar_storing *st, ar_error *err) {
    const ar_tensors *files = ar__base_files(st->base);
    int last = -1;
    bool ok = ar__strings_add(&output->inputs, st->o->model);
    for (int i = 0; ok && i < ar__tensors_count(files); i++) {
        int file = ar__tensors_at(files, i)->file;
        ok = file == last || ar__strings_add(&output->inputs, ar__tensors_path(files, file));
        last = file;
    }
    return ok ? AR_OK : ar__fail_memory(err, st->o->out);
}

static ar_status check_file(const ar_storing *st, ar_error *err) {
    ar_output output = {.path = st->o->out, .command = st->command, .overwrite = st->o->overwrite};
    if (!is_gguf_name(st->o->out))
        return ar__fail(err, AR_ERR_USAGE, "%s: what comes out is a GGUF file: wanted a name that ends in .gguf", st->o->out);
    ar_status s = check_inputs_of(&output, st, err);
    if (!s) s = ar__output_check_file(&output, err);
    ar__strings_release(&output.inputs);
    return s;
}

/* "nf4" and "nf4-dq" make a folder, every other type a file. */
static ar_status read_type(bool *folder, ar_storing *st, ar_error *err) {
    const char *type = st->o->type ? st->o->type : "";
    st->twice = !strcmp(type, "nf4-dq");
    *folder = st->twice || !strcmp(type, "nf4");
    st->type = AR_NF4;
    return *folder ? AR_OK : ar__file_type_read(&st->type, type, err);
}

static ar_status to_nf4(ar_storing *st, ar_error *err) {
    ar_output output = {.path = st->o->out, .command = st->command, .overwrite = st->o->overwrite};
    if (st->info->is_gguf)
        return ar__fail(err, AR_ERR_UNSUPPORTED,
                        "%s: nf4 is written of a Hugging Face folder: convert the file to one first (convert --to hf)", st->o->model);
    if (st->info->names && st->info->names->experts)
        return ar__fail(
            err, AR_ERR_UNSUPPORTED,
            "%s: has experts, which transformers 5 holds as no linears and so reads from no folder in 4 bits; wanted a GGUF type, such "
            "as q4_k",
            st->o->model);
    ar_status s = check_inputs_of(&output, st, err);
    if (!s) s = ar__output_check_folder(&output, err);
    ar__strings_release(&output.inputs);
    if (!s) s = ar__plan_nf4(st, err);
    return s ? s : ar__write_nf4(st, err);
}

static ar_status to_file(ar_storing *st, ar_error *err) {
    ar_status s = check_file(st, err);
    if (!s && !st->info->is_gguf) s = read_arch(st, err);
    if (!s) s = ar__plan_gguf(st, err);
    return s ? s : ar__write_gguf(st, err);
}

/* ---- in the other format -------------------------------------------------------------------------------------------------- */

/* The type that the linears have; bf16 where one of them has none of floats. */
static ar_dtype own_type(const ar_storing *st) {
    ar_dtype own = AR_DTYPE_COUNT;
    for (int i = 0; i < ar__base_count(st->base); i++) {
        const ar_base_weight *w = ar__base_at(st->base, i);
        if (w->kind != AR_MODULE_LINEAR || w->dims != 2) continue;
        if (!ar__dtype_is_float(w->type)) {
            ar__log_info(&st->rt->log, "%s: weights of %s are widened to bf16, which takes more room and holds nothing more", st->o->model,
                         w->type_name);
            return AR_BF16;
        }
        if (own == AR_DTYPE_COUNT) own = w->type;
    }
    return own == AR_DTYPE_COUNT ? AR_F32 : own;
}

static ar_status choose_dtype(ar_storing *st, ar_error *err) {
    const char *type = st->o->type;
    if (!type || !strcmp(type, "keep")) {
        st->type = own_type(st);
        return AR_OK;
    }
    ar_status s = ar__file_type_read(&st->type, type, err);
    if (s || !st->o->to_folder || ar__dtype_is_float(st->type)) return s;
    return ar__fail(err, AR_ERR_USAGE, "dtype '%s': a folder has floats, wanted f32, f16 or bf16", type);
}

static ar_status to_folder(ar_storing *st, ar_error *err) {
    ar_output output = {.path = st->o->out, .command = st->command, .overwrite = st->o->overwrite};
    if (!st->info->is_gguf) return ar__fail(err, AR_ERR_USAGE, "%s: is a folder already, wanted a GGUF file", st->o->model);
    if (is_gguf_name(st->o->out))
        return ar__fail(err, AR_ERR_USAGE, "%s: what comes out is a folder, wanted no name of a file", st->o->out);
    ar_status s = check_inputs_of(&output, st, err);
    if (!s) s = ar__output_check_folder(&output, err);
    ar__strings_release(&output.inputs);
    if (!s) s = ar__gguf_config(&st->config, ar__base_files(st->base), err);
    if (!s) s = read_arch(st, err);
    if (!s) s = ar__plan_folder(st, err);
    return s ? s : ar__write_folder(st, err);
}

static ar_status from_folder(ar_storing *st, ar_error *err) {
    return st->info->is_gguf
               ? ar__fail(err, AR_ERR_USAGE, "%s: is a GGUF file already, wanted a folder; other types are quantize's", st->o->model)
               : to_file(st, err);
}

/* ---- the report -------------------------------------------------------------------------------------------------------- */

static const char *type_before(const ar_stored *t) { return t->w ? t->w->type_name : t->raw->dtype_name; }

static ar_status report_matrix(ar_rewrite_result *r, const ar_stored *t, ar_buf *names, ar_error *err) {
    ar_rewritten *m = &r->matrices[r->count];
    *m = (ar_rewritten){
        .name = ar__strdup(t->name), .type = t->shown, .noise = t->whole > 0 ? sqrt(t->lost / t->whole) : 0, .is_other = t->is_other};
    if (!m->name) return ar__fail_memory(err, t->name);
    ar__buf_puts(names, type_before(t));
    ar__buf_add(names, "", 1);
    if (m->noise > r->matrices[r->worst].noise) r->worst = r->count;
    r->other += m->is_other;
    r->count++;
    return AR_OK;
}

static ar_status report(ar_rewrite_result *r, const ar_storing *st, ar_error *err) {
    double whole = 0, lost = 0, weights = 0, bits = 0;
    ar_buf names = {0};
    ar_status s = AR_OK;
    r->matrices = ar__alloc(st->count ? st->count : 1, sizeof *r->matrices);
    if (!r->matrices) return ar__fail_memory(err, st->command);
    r->bytes_before = ar__tensors_bytes(ar__base_files(st->base));
    for (size_t i = 0; !s && i < st->count; i++) {
        const ar_stored *t = &st->list[i];
        r->bytes_after += t->bytes;
        if (!t->is_matrix) continue;
        whole += t->whole;
        lost += t->lost;
        weights += (double)t->weights;
        bits += 8 * ((double)t->bytes + (double)t->beside);
        s = report_matrix(r, t, &names, err);
    }
    r->bits = weights > 0 ? bits / weights : 0;
    r->noise = whole > 0 ? sqrt(lost / whole) : 0;
    r->type_names = names.data;
    const char *from = names.data;
    for (size_t i = 0; from && !names.failed && i < r->count; i++, from += strlen(from) + 1) r->matrices[i].from = from;
    return s || !names.failed ? s : ar__fail_memory(err, st->command);
}

static void release(ar_storing *st) {
    for (size_t i = 0; i < st->count; i++) {
        free(st->list[i].name);
        free(st->list[i].expert);
    }
    for (size_t i = 0; i < sizeof st->values / sizeof *st->values; i++) free(st->values[i]);
    free(st->list);
    if (st->has_arch) ar__arch_release(&st->arch);
    ar__spool_free(st->spool);
    json_decref(st->config);
    ar__base_close(st->base);
}

ar_status ar_quantize(ar_rewrite_result *result, const ar_runtime *rt, const ar_rewrite_options *o, ar_error *err) {
    ar_storing st = {.rt = rt, .o = o, .command = "quantize"};
    bool folder = false;
    ar_status s;
    *result = (ar_rewrite_result){0};
    AR_ONE_CALL(rt, err);
    (void)((s = read_type(&folder, &st, err)) || (s = open_model(&st, err)) || (s = folder ? to_nf4(&st, err) : to_file(&st, err)) ||
           (s = report(result, &st, err)));
    release(&st);
    return s;
}

ar_status ar_convert_model(ar_rewrite_result *result, const ar_runtime *rt, const ar_rewrite_options *o, ar_error *err) {
    ar_storing st = {.rt = rt, .o = o, .command = "convert"};
    ar_status s;
    *result = (ar_rewrite_result){0};
    AR_ONE_CALL(rt, err);
    (void)((s = open_model(&st, err)) || (s = choose_dtype(&st, err)) || (s = o->to_folder ? to_folder(&st, err) : from_folder(&st, err)) ||
           (s = report(result, &st, err)));
    release(&st);
    return s;
}

bool ar_path_is_model(const char *path) {
    ar_gguf *g;
    ar_gguf_string type = {"model", 5};
    if (!ar__gguf_is_name(path)) return ar__dir_holds(path, "config.json") && !ar__dir_holds(path, "adapter_config.json");
    if (ar__gguf_open(&g, path, NULL)) return false;
    bool model = !ar__gguf_get_string(&type, g, "general.type", NULL) && ar__gguf_string_is(type, "model");
    ar__gguf_close(g);
    return model;
}

void ar_rewrite_result_release(ar_rewrite_result *r) {
    for (size_t i = 0; i < r->count; i++) free(r->matrices[i].name);
    free(r->matrices);
    free(r->type_names);
    *r = (ar_rewrite_result){0};
}
