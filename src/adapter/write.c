/* Writing an adapter: check, stage, prove by reading back, and only then take the name. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "adapter/algebra/compare.h"
#include "adapter/algebra/fold.h"
#include "adapter/formats.h"
#include "adapter/restack.h"
#include "arch/names.h"
#include "base/fail.h"
#include "base/file.h"
#include "base/lock.h"
#include "base/mem.h"
#include "weights/base.h"

/* Where the new files stand until they are proven: a folder inside the target, or a file beside it. */
struct stage {
    const ar_format *format;
    const char *path;
    char *temporary;
    bool made_folder;
};

static ar_status keep_input(const struct stage *st, const char *input, ar_error *err) {
    bool over = input && (ar__path_lies_in(input, st->path) || (st->format->files && ar__path_lies_in(st->path, input)));
    return over ? ar__fail(err, AR_ERR_EXISTS, "%s: is, holds or lies in the input %s; give another name", st->path, input) : AR_OK;
}

/* No input is ever written over, whatever --overwrite says. */
static ar_status check_inputs(const struct stage *st, const ar_adapter *ad, const ar_write_options *o, ar_error *err) {
    ar_status s = keep_input(st, o->model, err);
    for (size_t i = 0; !s && i < ad->inputs.count; i++) s = keep_input(st, ad->inputs.at[i], err);
    return s;
}

static bool has_files(const struct stage *st) {
    for (const char *const *f = st->format->files; *f; f++) {
        char *file = ar__path_join(st->path, *f);
        bool there = file && ar__path_exists(file);
        free(file);
        if (!there) return false;
    }
    return true;
}

/* A new name, an empty folder, or with overwrite an adapter of the same format. */
static ar_status check_free(const struct stage *st, bool overwrite, ar_error *err) {
    const char *name = st->format->name;
    bool folder = ar__path_is_dir(st->path);
    if (!*st->path) return ar__fail(err, AR_ERR_USAGE, "the output has no name");
    if (!ar__path_exists(st->path) || (folder && st->format->files && ar__dir_is_empty(st->path))) return AR_OK;
    if (st->format->files && !folder)
        return ar__fail(err, AR_ERR_EXISTS, "%s: is a file, %s adapters are folders; give another name", st->path, name);
    if (!st->format->files && folder)
        return ar__fail(err, AR_ERR_EXISTS, "%s: is a folder, %s adapters are files; give another name", st->path, name);
    bool same = ar__format_of(st->path) == st->format && (!folder || has_files(st));
    if (!same) return ar__fail(err, AR_ERR_EXISTS, "%s: is there already and is no %s adapter; give another name", st->path, name);
    return overwrite ? AR_OK : ar__fail(err, AR_ERR_EXISTS, "%s: there is an adapter already; give another name or --overwrite", st->path);
}

static ar_status stage_open(struct stage *st, ar_error *err) {
    ar_buf name = {0};
    ar__buf_printf(&name, st->format->files ? "%s/.new-%ld" : "%s.new-%ld", st->path, (long)getpid());
    st->temporary = name.data;
    if (name.failed) return ar__fail_memory(err, st->path);
    if (!st->format->files) {
        char *above = ar__path_parent(st->path);
        ar_status s = above ? ar__dir_make(above, err) : ar__fail_memory(err, st->path);
        free(above);
        return s;
    }
    st->made_folder = !ar__path_exists(st->path);
    return ar__dir_make(st->temporary, err);
}

static void stage_close(struct stage *st, bool failed) {
    if (st->temporary) ar__dir_remove(st->temporary, NULL);
    if (failed && st->made_folder) rmdir(st->path);
    free(st->temporary);
}

/* The folder's last file, its configuration, goes first and comes last: a failure leaves none without its weights. */
static ar_status install_folder(const struct stage *st, ar_error *err) {
    ar_status s = AR_OK;
    const char *const *f = st->format->files;
    while (f[1]) f++;
    char *last = ar__path_join(st->path, *f);
    s = last ? ar__dir_remove(last, err) : ar__fail_memory(err, st->path);
    free(last);
    for (f = st->format->files; !s && *f; f++) {
        char *from = ar__path_join(st->temporary, *f), *to = ar__path_join(st->path, *f);
        s = from && to ? ar__path_rename(from, to, err) : ar__fail_memory(err, st->path);
        free(from);
        free(to);
    }
    return s;
}

static ar_status install(const struct stage *st, ar_error *err) {
    return st->format->files ? install_folder(st, err) : ar__path_rename(st->temporary, st->path, err);
}

/* 2^-9 is half a step of bf16; rounding both factors of a product doubles it. */
static double bound_of(const ar_adapter *ad, const ar_write_context *c) {
    double bound = 1e-6;
    for (size_t i = 0; i < ad->pair_count; i++)
        for (int f = 0; f < 2; f++) {
            ar_dtype from = ad->pair[i].stored[f].is_there ? ad->pair[i].stored[f].type : AR_F32;
            ar_dtype to = ar__write_dtype(c, &ad->pair[i], (ar_factor)f);
            bool rounded = to != from || (f == AR_FACTOR_B && c->folded);
            double own = !rounded ? 0 : to == AR_BF16 ? 0x1p-8 : to == AR_F16 ? 0x1p-11 : 0;
            if (own > bound) bound = own;
        }
    return bound;
}

/* The pair that was written as p: the reader may name its module as newer or older libraries do. */
/* One name of a module that transformers 5 and files call differently. */
static void print_key(ar_buf *out, const ar_name_map *names, const char *site) {
    ar_buf name = {0};
    if (names) ar__base_name_in_files(&name, names, site);
    ar__names_key(out, names, name.len ? name.data : site);
    out->failed |= name.failed;
    ar__buf_release(&name);
}

static ar_pair *find_written(const ar_adapter *back, const ar_pair *p, const ar_name_map *names) {
    ar_pair *q = ar__adapter_find_pair(back, p->site);
    ar_buf key[2] = {{0}, {0}};
    print_key(&key[0], names, p->site);
    for (size_t i = 0; !q && !key[0].failed && i < back->pair_count; i++) {
        ar__buf_clear(&key[1]);
        print_key(&key[1], names, back->pair[i].site);
        if (!key[1].failed && !strcmp(key[0].data, key[1].data)) q = &back->pair[i];
    }
    ar__buf_release(&key[0]);
    ar__buf_release(&key[1]);
    return q;
}

static ar_status compare_all(ar_proof *proof, const ar_runtime *rt, ar_adapter *ad, ar_adapter *back, const ar_name_map *names,
                             ar_error *err) {
    for (size_t i = 0; i < ad->pair_count; i++) {
        ar_pair *p = &ad->pair[i], *q = find_written(back, p, names);
        ar_distance d;
        if (!q) return ar__fail(err, AR_ERR_MISMATCH, "site '%s' is lost: reading the file back does not find it", p->site);
        ar_status s = ar__pair_distance(&d, rt, ad, p, back, q, err);
        if (s) return s;
        if (!(d.max_abs <= proof->max_abs)) proof->max_abs = d.max_abs;
        if (i && d.relative <= proof->max_relative) continue;
        proof->max_relative = d.relative;
        snprintf(proof->worst, sizeof proof->worst, "%s", p->site);
    }
    if (back->pair_count != ad->pair_count || back->whole_count != ad->whole_count)
        return ar__fail(err, AR_ERR_MISMATCH, "%zu sites and %zu whole tensors were written, reading back finds %zu and %zu",
                        ad->pair_count, ad->whole_count, back->pair_count, back->whole_count);
    return AR_OK;
}

static ar_status prove(ar_proof *proof, const struct stage *st, const ar_runtime *rt, ar_adapter *ad, ar_write_context *c, ar_error *err) {
    ar_read_context rc = {.path = st->temporary, .base = c->base};
    rc.options.heads = c->heads;
    rc.options.kv_heads = c->kv_heads;
    for (size_t i = 0; i < ad->pair_count; i++) rc.options.keeps_stacks |= ar__pair_in_stack(&ad->pair[i]);
    ar_adapter *back = NULL;
    *proof = (ar_proof){.sites = (int)ad->pair_count, .folded = c->folded, .alpha = c->alpha, .bound = bound_of(ad, c)};
    ar_status s = st->format->read(&back, &rc, err);
    if (!s) s = compare_all(proof, rt, ad, back, c->base ? ar__base_info(c->base)->names : NULL, err);
    if (!s && st->format->prove_names) s = st->format->prove_names(c, err);
    memcpy(proof->names, c->names, sizeof proof->names);
    ar_adapter_free(back);
    if (s) return ar__fail_at(err, s, "proof of what was written");
    if (proof->max_relative <= proof->bound) return AR_OK;
    return ar__fail(err, AR_ERR_MISMATCH,
                    "%s: reading back gives an update that differs by %.3g at '%s', the bound is %.3g; nothing is left", st->path,
                    proof->max_relative, proof->worst, proof->bound);
}

static ar_status read_options(ar_write_context *c, const ar_write_options *o, ar_error *err) {
    c->heads = o->heads;
    c->kv_heads = o->kv_heads;
    c->keep = !o->dtype || !strcmp(o->dtype, "keep");
    if (c->keep) return AR_OK;
    if (!ar__dtype_from_name(&c->dtype, o->dtype) || (c->dtype != AR_F32 && c->dtype != AR_F16 && c->dtype != AR_BF16))
        return ar__fail(err, AR_ERR_USAGE, "dtype '%s': wanted keep, f32, f16 or bf16", o->dtype);
    return AR_OK;
}

/* ad: what the file must be equal to; source: what is written, the same or its folded copy. */
static ar_status write_staged(ar_proof *proof, struct stage *st, const ar_runtime *rt, ar_adapter *ad, const ar_adapter *source,
                              ar_write_context *c, ar_error *err) {
    ar_status s;
    if ((s = stage_open(st, err))) return s;
    c->path = st->temporary;
    if ((s = st->format->write(c, source, err)) || (s = prove(proof, st, rt, ad, c, err))) return s;
    if (c->unrun)
        ar__log_warn(&rt->log,
                     "%s: llama.cpp loads the pair of '%s' and does not run it; merge the adapter into the base instead, or train without "
                     "that module",
                     st->path, c->unrun);
    return install(st, err);
}

/* The base's names and heads: of the model given, else of the folder that the adapter names, where it is at hand. */
static ar_status open_base(ar_base **out, const ar_adapter *ad, const ar_write_options *o, ar_error *err) {
    *out = NULL;
    if (o->model) return ar__base_open(out, o->model, err);
    const char *named = ad->settings.base;
    if (!o->heads && named && ar__path_is_dir(named) && ar__base_open(out, named, NULL)) *out = NULL;
    return AR_OK;
}

/* The base's family, or the one that a GGUF adapter remembers. */
static const ar_name_map *family_of(const ar_adapter *ad, const ar_base *base) {
    const char *note = ar__adapter_note(ad, AR_NOTE_ARCHITECTURE);
    return base ? ar__base_info(base)->names : note ? ar__names_for_gguf(note) : NULL;
}

/* A GGUF file's and mlx-lm's experts are apart whatever the base's files hold, but where GGUF has gate and up in one; of PEFT's format they
 * are stacks. */
static ar_status stack_as_format(ar_adapter **out, const struct stage *st, const ar_adapter *ad, const ar_base *base, const char *dir,
                                 ar_error *err) {
    const ar_name_map *names = family_of(ad, base);
    bool turns = names && names->turned_stacks, fused = names && names->fused_stacks, gguf = st->format == &ar__format_gguf;
    *out = NULL;
    if ((st->format == &ar__format_peft || (gguf && fused)) && ar__adapter_has_apart(ad))
        return ar__adapter_restacked(out, ad, turns, dir, err);
    bool apart = (gguf && !fused) || st->format == &ar__format_mlx;
    if (apart && base && ar__adapter_has_stacks(ad)) return ar__adapter_unstacked(out, ad, turns, dir, err);
    return AR_OK;
}

static ar_status write_checked(ar_proof *proof, struct stage *st, const ar_runtime *rt, ar_adapter *ad, ar_write_context *c, bool fold,
                               ar_error *err) {
    ar_adapter *folded = NULL, *stacked = NULL;
    char *dir = ar__path_parent(st->path);
    ar_status s = dir ? stack_as_format(&stacked, st, ad, c->base, dir, err) : ar__fail_memory(err, st->path);
    if (stacked) ad = stacked;
    if (!s && fold) s = ar__adapter_folded(&folded, ad, dir, err);
    const ar_adapter *source = fold ? folded : ad;
    if (!s) s = st->format->check(source, c, err);
    if (!s) s = write_staged(proof, st, rt, ad, source, c, err);
    if (!s && fold) proof->folded = (int)ad->pair_count;
    ar_adapter_free(folded);
    ar_adapter_free(stacked);
    free(dir);
    return s;
}

ar_status ar_adapter_write(ar_proof *proof, ar_adapter *ad, const ar_runtime *rt, const char *path, const ar_write_options *options,
                           ar_error *err) {
    static const ar_write_options none;
    const ar_write_options *o = options ? options : &none;
    const char *name = o->format ? o->format : ad->format;
    struct stage st = {.format = ar__format_named(name), .path = path};
    ar_write_context c = {0};
    ar_base *base = NULL;
    ar_lock lock = AR_LOCK_NONE;
    ar_proof own;
    ar_status s;
    AR_ONE_CALL(rt, err);
    if (!st.format) return ar__fail(err, AR_ERR_USAGE, "format '%s': wanted peft, gguf, mlx or kohya (or hf, of a whole model)", name);
    if ((s = read_options(&c, o, err)) || (s = check_inputs(&st, ad, o, err)) || (s = check_free(&st, o->overwrite, err)) ||
        (s = open_base(&base, ad, o, err)))
        return s;
    c.base = base;
    /* A run that writes into the folder has it for itself. */
    if (ar__path_is_dir(path)) s = ar__lock_take(&lock, path, err);
    if (!s) s = write_checked(proof ? proof : &own, &st, rt, ad, &c, o->fold, err);
    if (s && st.temporary) ar__fail_rename(err, st.temporary, st.path);
    stage_close(&st, s != AR_OK);
    ar__lock_drop(&lock);
    ar__base_close(base);
    return s;
}

/* A training's folder holds its other files too, and which folders a training may take is its own rule. */
static ar_status check_save(const struct stage *st, bool overwrite, ar_error *err) {
    if (ar__path_exists(st->path) && !ar__path_is_dir(st->path))
        return ar__fail(err, AR_ERR_EXISTS, "%s: is a file, peft adapters are folders", st->path);
    for (const char *const *f = st->format->files; *f; f++) {
        char *file = ar__path_join(st->path, *f);
        bool taken = file && ar__path_exists(file);
        free(file);
        if (taken && !overwrite)
            return ar__fail(err, AR_ERR_EXISTS, "%s: there is an adapter already; give another folder or --overwrite", st->path);
    }
    return AR_OK;
}

ar_status ar_adapter_save(const ar_adapter *ad, const char *dir, bool overwrite, ar_error *err) {
    struct stage st = {.format = &ar__format_peft, .path = dir};
    ar_write_context c = {.dtype = AR_F32};
    ar_status s;
    if ((s = check_save(&st, overwrite, err)) || (s = st.format->check(ad, &c, err))) return s;
    if (!(s = stage_open(&st, err))) {
        c.path = st.temporary;
        if (!(s = st.format->write(&c, ad, err))) s = install(&st, err);
    }
    stage_close(&st, s != AR_OK);
    return s;
}
