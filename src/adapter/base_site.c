/* The weight that a pair sits on; and where there is none that fits, why.  "Another base" is the last thing to say: the
 * base may be quantised, lack files, fuse its projections, or have another vocabulary. */
#include <stdlib.h>
#include <string.h>

#include "adapter/formats.h"
#include "base/fail.h"
#include "base/mem.h"
#include "weights/base.h"

/* Are there tensors below this module (`.weight.absmax`, `.qweight`)? */
bool ar__base_has_parts(const ar_base *base, const char *site) {
    size_t n = strlen(site);
    for (int i = 0; i < ar__base_count(base); i++) {
        const char *name = ar__base_at(base, i)->tensor, *path = strstr(name, site);
        if (path && (path == name || path[-1] == '.') && path[n] == '.') return true;
    }
    return false;
}

ar_status ar__base_is_packed(const ar_base *base, const char *site, ar_error *err) {
    const ar_base_info *info = ar__base_info(base);
    return ar__fail(err, AR_ERR_UNSUPPORTED,
                    "site '%s': the base %s is quantised (%s), so that its weights are packed and no matrices to work on: name the "
                    "unquantised model that it was made from",
                    site, info->path, info->quantised);
}

/* Modules that other models keep apart, by one of the parts; the other way round is base_fused.c's. */
static const struct {
    const char *fused, *part;
} fusions[] = {{".self_attn.qkv_proj", ".self_attn.q_proj"}, {".mlp.gate_up_proj", ".mlp.gate_proj"}};

/* A part of the module, into out, where the base has its parts; false: it has not. */
static bool find_part(ar_buf *out, const ar_base *base, const char *site) {
    for (size_t i = 0; i < sizeof fusions / sizeof *fusions; i++) {
        size_t n = strlen(site), k = strlen(fusions[i].fused);
        if (n < k || strcmp(site + n - k, fusions[i].fused) != 0) continue;
        ar__buf_clear(out);
        ar__buf_printf(out, "%.*s%s", (int)(n - k), site, fusions[i].part);
        if (!out->failed && ar__base_find(base, out->data)) return true;
    }
    return false;
}

/* N of the first `.N.` in a path; -1: none. */
static long long layer_of(const char *site) {
    for (const char *p = strchr(site, '.'); p; p = strchr(p + 1, '.')) {
        char *end;
        long long n = strtoll(p + 1, &end, 10);
        if (end > p + 1 && *end == '.') return n;
    }
    return -1;
}

static ar_status no_weight(const ar_base *base, const ar_pair *p, ar_error *err) {
    const ar_base_info *info = ar__base_info(base);
    long long layer = layer_of(p->site);
    const char *whole = ar__base_fused(base, p->site);
    ar_buf part = {0};
    ar_status s;
    if (info->quantised && ar__base_has_parts(base, p->site)) return ar__base_is_packed(base, p->site, err);
    if (whole) return ar__base_fail_fused(base, p->site, whole, err);
    if (find_part(&part, base, p->site))
        s = ar__fail(err, AR_ERR_MISMATCH,
                     "site '%s': the base %s has it split, as '%s' and others: use the base that the adapter was trained on, whose modules "
                     "have the adapter's names",
                     p->site, info->path, part.data);
    else if (info->layers && layer >= info->layers)
        s = ar__fail(err, AR_ERR_MISMATCH, "site '%s': the base has layers 0 to %lld: the adapter was made for another base", p->site,
                     (long long)info->layers - 1);
    else if (info->names && ar__names_row(info->names, p->site) && ar__names_row(info->names, p->site)->kind == AR_MODULE_LINEAR)
        s = ar__fail(err, AR_ERR_MISMATCH,
                     "site '%s': the base has no such weight, though models of its family (%s) have: is a file of %s missing, or are its "
                     "tensors renamed? If not, the adapter was made for another base",
                     p->site, info->model_type, info->path);
    else
        s = ar__fail(err, AR_ERR_MISMATCH, "site '%s': the base has no such weight: the adapter was made for another base", p->site);
    ar__buf_release(&part);
    return s;
}

const ar_base_weight *ar__base_expert_part(const ar_base *base, const ar_pair *p, int part) {
    const char *bracket = strrchr(p->site, '['), *dot = bracket;
    while (dot && dot > p->site && *dot != '.') dot--;
    bool both = dot && !strncmp(dot, ".gate_up_proj[", 14);
    if (!dot || (!both && (part || strncmp(dot, ".down_proj[", 11) != 0))) return NULL;
    ar_buf path = {0};
    ar__buf_printf(&path, "%.*s.%d.%s", (int)(dot - p->site), p->site, p->expert, !both ? "down_proj" : part ? "up_proj" : "gate_proj");
    const ar_base_weight *w = path.failed ? NULL : ar__base_find(base, path.data);
    ar__buf_release(&path);
    return w && w->dims == 2 ? w : NULL;
}

/* Of experts apart: one below the other they are the pair's matrix. */
static ar_status check_apart(const ar_base *base, const ar_pair *p, const ar_base_weight *w, ar_error *err) {
    const ar_base_weight *more = ar__base_expert_part(base, p, 1);
    int64_t rows = w->n_out + (more ? more->n_out : 0);
    bool fits = (rows == p->n_out && w->n_in == p->n_in) || (rows == p->n_in && w->n_in == p->n_out);
    if (fits && (!more || more->n_in == w->n_in)) return AR_OK;
    return ar__fail(err, AR_ERR_MISMATCH,
                    "site '%s': the adapter is for experts of [%lld, %lld], the base's are [%lld, %lld]: it was made for another base",
                    p->site, (long long)p->n_out, (long long)p->n_in, (long long)rows, (long long)w->n_in);
}

/* `PATH.gate_up_proj` of `PATH.gate_up_proj[3]`: E matrices, either way round; or the first of those that the expert has apart. */
static ar_status need_stack(const ar_base_weight **out, const ar_base *base, const ar_pair *p, ar_error *err) {
    const char *bracket = strrchr(p->site, '['), *path = ar__base_info(base)->path;
    char *stem = ar__strndup(p->site, bracket ? (size_t)(bracket - p->site) : strlen(p->site));
    if (!stem) return ar__fail_memory(err, p->site);
    const ar_base_weight *w = *out = ar__base_find(base, stem);
    char *dot = strrchr(stem, '.');
    if (dot) *dot = '\0';
    bool apart = !w && ar__base_has_parts(base, stem);
    free(stem);
    const ar_base_weight *own = w ? NULL : ar__base_expert_part(base, p, 0);
    if (own) {
        *out = own;
        return check_apart(base, p, own, err);
    }
    if (apart)
        return ar__fail(err, AR_ERR_UNSUPPORTED,
                        "site '%s': the base %s has its experts packed or under names that are not known here, and no weights as the "
                        "adapter's to work on: give the unquantised model, whose files hold them stacked or as one .weight each",
                        p->site, path);
    if (!w && ar__base_info(base)->is_gguf)
        return ar__fail(err, AR_ERR_UNSUPPORTED,
                        "site '%s': the experts of a GGUF file are run and trained on, and no more: give the folder that %s was made from",
                        p->site, path);
    if (!w)
        return ar__fail(err, AR_ERR_MISMATCH, "site '%s': the base %s has no such experts: the adapter was made for another base", p->site,
                        path);
    bool plain = w->dims == 3 && w->shape[1] == p->n_out && w->shape[2] == p->n_in;
    bool turned = w->dims == 3 && w->shape[1] == p->n_in && w->shape[2] == p->n_out;
    if ((plain || turned) && w->shape[0] == p->experts) return AR_OK;
    return ar__fail(err, AR_ERR_MISMATCH,
                    "site '%s': the adapter is for %d experts of [%lld, %lld], the base has %lld of [%lld, %lld]: it was made for another "
                    "base",
                    p->site, p->experts, (long long)p->n_out, (long long)p->n_in, w->dims ? (long long)w->shape[0] : 0LL,
                    w->dims > 1 ? (long long)w->shape[1] : 0LL, w->dims > 2 ? (long long)w->shape[2] : 0LL);
}

ar_status ar__base_need(const ar_base_weight **out, const ar_base *base, const ar_pair *p, ar_error *err) {
    if (ar__pair_in_stack(p)) return need_stack(out, base, p, err);
    const ar_base_weight *w = ar__base_find(base, p->site);
    int64_t rows = p->is_embedding ? p->n_in : p->n_out, columns = p->is_embedding ? p->n_out : p->n_in;
    *out = w;
    if (!w) return no_weight(base, p, err);
    bool is_number = ar__dtype(w->type)->to_f32 || ar__base_info(base)->is_gguf;
    if (!is_number && ar__base_info(base)->quantised && (w->n_out != rows || w->n_in != columns))
        return ar__base_is_packed(base, p->site, err);
    if (w->n_out == rows && w->n_in == columns) return AR_OK;
    bool vocabulary = w->kind == AR_MODULE_EMBEDDING || w->kind == AR_MODULE_HEAD;
    if (vocabulary && w->n_in == columns)
        return ar__fail(err, AR_ERR_MISMATCH,
                        "site '%s': the adapter is for a vocabulary of %lld, the base has %lld: it was extended for the training; use a "
                        "base that was saved so (resize_token_embeddings)",
                        p->site, (long long)rows, (long long)w->n_out);
    return ar__fail(err, AR_ERR_MISMATCH,
                    "site '%s': the adapter is for a weight of [%lld, %lld], the base has [%lld, %lld]: it was made for another base",
                    p->site, (long long)rows, (long long)columns, (long long)w->n_out, (long long)w->n_in);
}
