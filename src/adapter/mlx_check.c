/* What mlx-lm would call the modules of an adapter, and what it has no place for: looked at before anything is written. */
#include <string.h>

#include "adapter/mlx.h"
#include "arch/names.h"
#include "arch/names_mlx.h"
#include "base/fail.h"
#include "weights/base.h"

const char *ar__mlx_type_of(const ar_base *base) { return base && !ar__base_info(base)->is_gguf ? ar__base_info(base)->model_type : NULL; }

ar_mlx_naming ar__mlx_naming_of(const ar_adapter *ad, const ar_base *base) {
    const char *type = ar__mlx_type_of(base);
    ar_mlx_naming n = {.map = base ? ar__base_info(base)->names : NULL, .family = type ? ar__mlx_family(type) : NULL};
    for (size_t i = 0; i < ad->pair_count; i++) {
        const char *site = ad->pair[i].site;
        if (!n.map && !base) n.map = ar__names_guess(site);
        n.wrapped |= ar__names_unwrap(site) != site;
    }
    if (n.family) n.wrapped = ar__mlx_is_wrapped(n.family); /* whatever the class was that the adapter was trained on */
    return n;
}

/* The module that holds the experts of all. */
void ar__mlx_print_stack(ar_buf *out, const ar_mlx_naming *n, const char *site, const ar_mlx_expert *x) {
    ar_buf stack = {0};
    ar__mlx_expert_stack(&stack, site, x);
    out->failed |= stack.failed;
    size_t begin = out->len;
    const char *rest, *part = stack.failed ? NULL : strrchr(stack.data, '.');
    int64_t block = ar__mlx_block(&rest, site);
    if (part && n->family && block >= 0) ar__mlx_switch(out, n->family, block, part + 1);
    if (part && out->len == begin) ar__mlx_print_module(out, n, stack.data);
    ar__buf_release(&stack);
}

/* The path of the site in mlx-lm: by the table of names, else as the family spells such a module. */
void ar__mlx_print_module(ar_buf *out, const ar_mlx_naming *n, const char *site) {
    ar_buf own = {0}, files = {0};
    const char *rest;
    ar__names_to_mlx(out, n->map, site, n->wrapped);
    if (!n->family || out->failed || ar__mlx_module(n->family, out->data)) return;
    int64_t block = ar__mlx_block(&rest, site);
    ar__mlx_respell(&own, n->family, site, block, rest);
    if (!own.len && n->map) ar__base_name_in_files(&files, n->map, site); /* a router's */
    if (files.len && !files.failed && (block = ar__mlx_block(&rest, files.data)) >= 0)
        ar__mlx_respell(&own, n->family, files.data, block, rest);
    own.failed |= files.failed;
    ar__buf_release(&files);
    out->failed |= own.failed;
    if (own.len) {
        ar__buf_clear(out);
        ar__buf_puts(out, own.data);
    }
    ar__buf_release(&own);
}

static ar_status check_tie(const ar_adapter *ad, const ar_pair *p, const ar_base *base, ar_error *err) {
    const ar_base_weight *w = base ? ar__base_find(base, p->site) : NULL;
    if (w && w->is_tied)
        return ar__fail(
            err, AR_ERR_UNSUPPORTED,
            "site '%s': the base's head is tied to the embedding, and then mlx-lm has no head to adapt: merge the adapter into its "
            "base instead (alphar merge)",
            p->site);
    if (!p->is_embedding || !strcmp(ad->format, "mlx")) return AR_OK;
    if (!base)
        return ar__fail(err, AR_ERR_UNSUPPORTED,
                        "site '%s': where the head is tied to the embedding mlx-lm adapts both, and only the base says whether it is: give "
                        "--model",
                        p->site);
    if (!ar__base_info(base)->is_tied) return AR_OK;
    return ar__fail(
        err, AR_ERR_UNSUPPORTED,
        "site '%s': the base's head is tied to the embedding, and mlx-lm would adapt both: merge the adapter into its base instead "
        "(alphar merge)",
        p->site);
}

static ar_status check_pair(const ar_adapter *ad, const ar_pair *p, const ar_base *base, ar_error *err) {
    if (ar__pair_in_stack(p)) return ar__pair_is_stacked(p, "MLX", err);
    const char *what = p->b_bias ? "a bias on B (lora_bias)" : p->kernel[0] ? "the pair of a convolution" : NULL;
    if (what)
        return ar__fail(err, AR_ERR_UNSUPPORTED,
                        "site '%s' has %s, which an MLX adapter cannot hold: merge the adapter into its base instead "
                        "(alphar merge)",
                        p->site, what);
    if (p->has_gguf_rows)
        return ar__fail(err, AR_ERR_UNSUPPORTED,
                        "site '%s': its rows are in llama.cpp's order, and only the base says how many heads there are: give --model or "
                        "--heads H,KV",
                        p->site);
    if (ar__pair_is_foreign(p))
        return ar__fail(err, AR_ERR_UNSUPPORTED,
                        "site '%s': only known by the name that it has in a kohya file, and MLX needs module paths; give --model", p->site);
    if (!p->magnitude != !ad->pair[0].magnitude)
        return ar__fail(err, AR_ERR_UNSUPPORTED, "site '%s': an MLX adapter has DoRA on all sites or on none; '%s' differs", p->site,
                        ad->pair[0].site);
    if (p->magnitude && p->is_embedding)
        return ar__fail(
            err, AR_ERR_UNSUPPORTED,
            "site '%s': DoRA of an embedding, whose magnitudes mlx-lm has per token and PEFT per dimension: merge the adapter into "
            "its base instead (alphar merge)",
            p->site);
    return check_tie(ad, p, base, err);
}

/* Names and stacks of what came from mlx-lm are its own. */
static bool is_from_mlx(const ar_adapter *ad) { return ad->format && !strcmp(ad->format, "mlx"); }

/* A stack has a pair of every expert: mlx-lm's layer is one for all. */
static ar_status check_expert(const ar_mlx_naming *n, const ar_adapter *ad, const ar_pair *p, const ar_mlx_expert *x, const ar_base *base,
                              ar_error *err) {
    int64_t count = 0, there = 0, highest = 0;
    bool own = !n->family && is_from_mlx(ad);
    ar_buf module = {0};
    if (!n->family && !own)
        return ar__fail(err, AR_ERR_UNSUPPORTED,
                        "site '%s': mlx-lm has the experts of a layer in one module, and only the base says how many there are: give "
                        "--model BASE (a folder)",
                        p->site);
    for (size_t i = 0; i < ad->pair_count; i++) {
        ar_mlx_expert y;
        const char *site = ad->pair[i].site;
        if (!ar__mlx_expert_read(&y, site) || y.stem != x->stem || strncmp(site, p->site, x->stem) != 0 || strcmp(y.part, x->part) != 0)
            continue;
        there++;
        if (y.index > highest) highest = y.index;
    }
    count = own ? highest + 1 : p->experts ? p->experts : ar__mlx_expert_count(base, p->site, x);
    ar__mlx_print_stack(&module, n, p->site, x);
    ar_status s = AR_OK;
    if (module.failed)
        s = ar__fail_memory(err, p->site);
    else if (!own && ar__mlx_module(n->family, module.data) != AR_MLX_SWITCH)
        s = ar__fail(err, AR_ERR_UNSUPPORTED,
                     "site '%s': '%s' is no module that is known of the experts of mlx-lm %s's %s models; leave the experts out, or merge "
                     "the adapter into its base instead (alphar merge)",
                     p->site, module.data, ar__mlx_lm_version, n->family->type);
    else if (there != count)
        s = ar__fail(
            err, AR_ERR_UNSUPPORTED,
            "site '%s': mlx-lm has the experts of a layer in one module, '%s', and the adapter has pairs for %lld of %lld of them: "
            "merge the adapter into its base instead (alphar merge), or leave the experts out",
            p->site, module.data, (long long)there, (long long)count);
    else if (p->magnitude)
        s = ar__fail(err, AR_ERR_UNSUPPORTED, "site '%s': mlx-lm has no DoRA of experts: merge the adapter instead (alphar merge)",
                     p->site);
    ar__buf_release(&module);
    return s;
}

/* What the loader would not find, before anything is written. */
static ar_status check_name(const ar_mlx_naming *n, const ar_adapter *ad, const ar_pair *p, const ar_base *base, ar_error *err) {
    ar_mlx_expert x;
    if (ar__mlx_expert_read(&x, p->site)) return check_expert(n, ad, p, &x, base, err);
    if (!n->family) return AR_OK;
    ar_buf module = {0};
    ar__mlx_print_module(&module, n, p->site);
    ar_status s = AR_OK;
    if (module.failed)
        s = ar__fail_memory(err, p->site);
    else if (ar__mlx_module(n->family, module.data) != AR_MLX_MODULE)
        s = ar__fail(err, AR_ERR_UNSUPPORTED, "site '%s': mlx-lm %s has no module '%s' in its %s models, whose layers ('%sN.') have %.600s",
                     p->site, ar__mlx_lm_version, module.data, n->family->type, n->family->prefix, n->family->inside);
    ar__buf_release(&module);
    return s;
}

ar_status ar__mlx_check(const ar_adapter *ad, const ar_write_context *c, ar_error *err) {
    const char *type = ar__mlx_type_of(c->base);
    ar_status s = AR_OK;
    if (ad->whole_count)
        return ar__fail(
            err, AR_ERR_UNSUPPORTED,
            "tensor '%s' is saved whole (%zu such: modules_to_save or bias), which an MLX adapter cannot hold: merge the adapter "
            "into its base instead (alphar merge)",
            ad->whole[0].name, ad->whole_count);
    ar_mlx_naming names = ar__mlx_naming_of(ad, c->base);
    if (names.map && names.map->mlx_lacks)
        return ar__fail(err, AR_ERR_UNSUPPORTED, "mlx-lm has no %s models, so no adapter for one either", names.map->model_type[0]);
    if (type && !names.family && !is_from_mlx(ad))
        return ar__fail(err, AR_ERR_UNSUPPORTED,
                        "%s: model type '%s' is not among the models of mlx-lm %s whose modules Alphar knows (docs/mlx.md), so that nobody "
                        "can say which names its adapters need",
                        ar__base_info(c->base)->path, type, ar__mlx_lm_version);
    for (size_t i = 0; !s && i < ad->pair_count; i++) {
        s = check_pair(ad, &ad->pair[i], c->base, err);
        if (!s) s = check_name(&names, ad, &ad->pair[i], c->base, err);
    }
    return s;
}
