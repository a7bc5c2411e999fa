#include "adapter/targets.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "arch/names.h"
#include "base/fail.h"
#include "base/mem.h"

/* The settings with their patterns compiled, once for all modules. */
struct matcher {
    const ar_adapter_settings *s;
    ar_strings list; /* targets as a list; empty where a regex or all-linear decides */
    bool all_linear;
    ar_regex *target, *exclude;
    ar_regex **save, **layer;
    size_t layer_count;
};

static void free_all(ar_regex **at, size_t n) {
    for (size_t i = 0; at && i < n; i++) ar__regex_free(at[i]);
    free(at);
}

static ar_status compile_all(ar_regex ***out, const char *format, char *const *text, size_t n, ar_error *err) {
    *out = ar__alloc(n, sizeof(ar_regex *));
    if (!*out) return ar__fail_memory(err, "patterns");
    for (size_t i = 0; i < n; i++) {
        ar_status s = ar__regex_new(&(*out)[i], format, text[i], AR_REGEX_PREFIX, err);
        if (s) return s;
    }
    return AR_OK;
}

static void matcher_release(struct matcher *m) {
    ar__strings_release(&m->list);
    ar__regex_free(m->target);
    ar__regex_free(m->exclude);
    free_all(m->save, m->s->save.count);
    free_all(m->layer, m->layer_count);
}

static ar_status compile_targets(struct matcher *m, const ar_module_list *base, ar_error *err) {
    const ar_adapter_settings *s = m->s;
    bool given = s->targets.regex || s->targets.list.count || s->targets.is_empty;
    m->all_linear = s->targets.regex && !strcasecmp(s->targets.regex, "all-linear");
    if (s->targets.regex && !m->all_linear) {
        if (s->layer_count || s->layers_pattern.count)
            return ar__fail(err, AR_ERR_VALUE, "targets '%s': a pattern cannot be narrowed by layers; put them into it, or give names",
                            s->targets.regex);
        return ar__regex_new(&m->target, NULL, s->targets.regex, AR_REGEX_FULL, err);
    }
    for (int i = 0; !given && i < base->default_count; i++)
        if (!ar__strings_add(&m->list, base->defaults[i])) return ar__fail_memory(err, "targets");
    return ar__strings_copy(&m->list, &s->targets.list) ? AR_OK : ar__fail_memory(err, "targets");
}

static ar_status matcher_init(struct matcher *m, const ar_adapter_settings *s, const ar_module_list *base, ar_error *err) {
    static char any[] = "[^.]*";
    static char *const any_layer[] = {any};
    bool named = s->layers_pattern.count > 0;
    ar_status st;
    *m = (struct matcher){.s = s, .layer_count = named ? s->layers_pattern.count : 1};
    if (named && !s->layer_count) return ar__fail(err, AR_ERR_VALUE, "layers_pattern: given without layers_to_transform");
    if ((st = compile_targets(m, base, err))) return st;
    if (s->exclude.regex && (st = ar__regex_new(&m->exclude, NULL, s->exclude.regex, AR_REGEX_FULL, err))) return st;
    if ((st = compile_all(&m->save, "(^|.*\\.)%s($|\\..*)", s->save.at, s->save.count, err))) return st;
    return named ? compile_all(&m->layer, "(?:^|.*?\\.)%s\\.(?P<idx>\\d+)\\.", s->layers_pattern.at, m->layer_count, err)
                 : compile_all(&m->layer, ".*?\\.%s\\.(?P<idx>\\d+)\\.", any_layer, 1, err);
}

static bool ends_with(const char *path, const char *end) {
    size_t n = strlen(path), k = strlen(end);
    return k <= n && !strcmp(path + n - k, end);
}

bool ar__targets_in_list(const ar_strings *list, const char *path, bool *exact) {
    size_t n = strlen(path);
    bool suffix = false;
    *exact = false;
    for (size_t i = 0; i < list->count; i++) {
        size_t k = strlen(list->at[i]);
        *exact |= !strcmp(path, list->at[i]);
        suffix |= k < n && path[n - k - 1] == '.' && ends_with(path, list->at[i]);
    }
    return suffix || *exact;
}

static ar_status in_layers(bool *out, const struct matcher *m, const char *path, ar_error *err) {
    long index = -1;
    bool hit = false;
    *out = m->s->layer_count == 0;
    if (*out) return AR_OK;
    for (size_t i = 0; i < m->layer_count && !hit; i++) {
        ar_status s = ar__regex_match(&hit, &index, m->layer[i], path, err);
        if (s) return s;
    }
    for (size_t i = 0; hit && i < m->s->layer_count; i++) *out |= index >= 0 && m->s->layers[i] == index;
    return AR_OK;
}

static ar_status excluded(bool *out, const struct matcher *m, const char *path, ar_error *err) {
    bool exact;
    ar_status s = AR_OK;
    *out = false;
    if (m->exclude)
        s = ar__regex_match(out, NULL, m->exclude, path, err);
    else
        *out = ar__targets_in_list(&m->s->exclude.list, path, &exact);
    for (size_t i = 0; !s && !*out && i < m->s->save.count; i++) s = ar__regex_match(out, NULL, m->save[i], path, err);
    return s;
}

/* Would PEFT put a pair on a module of this path?  mod: NULL for a module that only holds others. */
static ar_status targeted(bool *out, const struct matcher *m, const char *path, const ar_module *mod, ar_error *err) {
    bool no, exact;
    ar_status s = excluded(&no, m, path, err);
    *out = false;
    if (s || no) return s;
    if (m->target) return ar__regex_match(out, NULL, m->target, path, err);
    if (m->all_linear) {
        *out = mod && (mod->kind == AR_MODULE_LINEAR || mod->kind == AR_MODULE_EXPERTS) && !mod->is_left_out;
        return *out ? in_layers(out, m, path, err) : AR_OK;
    }
    *out = ar__targets_in_list(&m->list, path, &exact);
    return *out && !exact ? in_layers(out, m, path, err) : AR_OK;
}

static ar_status no_pair(const char *path, const char *what, ar_error *err) {
    return ar__fail(err, AR_ERR_UNSUPPORTED, "targets: '%s' is %s, wanted a linear layer or an embedding; name those", path, what);
}

/* The containers above a module must not be targets: PEFT stops there. */
static ar_status check_containers(const struct matcher *m, const char *path, const char *previous, ar_error *err) {
    for (const char *dot = strchr(path, '.'); dot; dot = strchr(dot + 1, '.')) {
        size_t n = (size_t)(dot - path) + 1;
        if (previous && !strncmp(path, previous, n)) continue;
        char *above = ar__strndup(path, n - 1);
        if (!above) return ar__fail_memory(err, path);
        bool hit;
        ar_status s = targeted(&hit, m, above, NULL, err);
        if (!s && hit) s = no_pair(above, "a module that holds others", err);
        free(above);
        if (s) return s;
    }
    return AR_OK;
}

/* Saved whole: the path, or one above it, ends with a name to save (no dot needed, as in PEFT). */
static bool saved_whole(const ar_strings *save, const char *path, bool *used) {
    bool whole = false;
    size_t n = strlen(path);
    for (size_t end = 1; end <= n; end++) {
        if (path[end] != '.' && path[end] != '\0') continue;
        for (size_t i = 0; i < save->count; i++) {
            size_t k = strlen(save->at[i]);
            if (k > end || strncmp(path + end - k, save->at[i], k)) continue;
            used[i] = whole = true;
        }
    }
    return whole;
}

static const char *last_name(const char *path) {
    const char *dot = strrchr(path, '.');
    return dot ? dot + 1 : path;
}

static ar_status nothing_matches(const struct matcher *m, const ar_module_list *base, ar_error *err) {
    ar_buf wanted = {0}, names = {0};
    if (m->s->targets.regex) ar__buf_puts(&wanted, m->s->targets.regex);
    for (size_t i = 0; i < m->list.count; i++) ar__buf_printf(&wanted, "%s%s", i ? ", " : "", m->list.at[i]);
    ar__targets_list(&names, base, m->s->targets.regex ? "" : wanted.data, false);
    bool narrowed = m->s->exclude.regex || m->s->exclude.list.count || m->s->layer_count || m->s->save.count;
    ar_status s =
        ar__fail(err, AR_ERR_NOT_FOUND, "targets: '%.300s' matches no module%s; there are: %.500s", wanted.data ? wanted.data : "",
                 narrowed ? " that exclude, layers and modules_to_save leave" : "", names.data ? names.data : "");
    ar__buf_release(&wanted);
    ar__buf_release(&names);
    return s;
}

/* Where a family's experts are stacks PEFT reads gate_proj, up_proj and down_proj as their parameters, under any name that is asked for: a
 * pair on the MLP of a layer without experts would be dropped there without a word. */
static ar_status check_dense(const struct matcher *m, const ar_module *mod, ar_error *err) {
    if (m->all_linear || !mod->is_left_out || mod->kind != AR_MODULE_LINEAR || mod->is_parameter) return AR_OK;
    return ar__fail(
        err, AR_ERR_UNSUPPORTED,
        "targets: '%s' is the MLP of a layer without experts, on which PEFT would drop the pair, since it reads that name as the "
        "experts' parameter in this family; name experts.gate_up_proj and experts.down_proj for the experts alone",
        mod->path);
}

static ar_status resolve_one(ar_target *out, const struct matcher *m, const ar_module *mod, bool *used, ar_error *err) {
    bool hit, whole = saved_whole(&m->s->save, mod->path, used);
    ar_status s = targeted(&hit, m, mod->path, mod, err);
    if (s) return s;
    if (hit && whole)
        return ar__fail(err, AR_ERR_VALUE, "modules_to_save: '%s' would be both adapted and saved whole; write the whole name", mod->path);
    if (hit && mod->kind == AR_MODULE_NORM) return no_pair(mod->path, "a norm", err);
    if (hit && (s = check_dense(m, mod, err))) return s;
    if (whole && mod->kind == AR_MODULE_EXPERTS)
        return ar__fail(err, AR_ERR_UNSUPPORTED, "modules_to_save: '%s' holds all experts, which cannot be saved whole", mod->path);
    *out = hit ? AR_TARGET_PAIR : whole ? AR_TARGET_WHOLE : AR_TARGET_NONE;
    return AR_OK;
}

static ar_status resolve_all(ar_target *out, const struct matcher *m, const ar_module_list *base, bool *used, ar_error *err) {
    int pairs = 0;
    for (int i = 0; i < base->count; i++) {
        ar_status s;
        if ((s = resolve_one(&out[i], m, &base->at[i], used, err)) ||
            (s = check_containers(m, base->at[i].path, i ? base->at[i - 1].path : NULL, err)))
            return s;
        pairs += out[i] == AR_TARGET_PAIR;
    }
    for (size_t i = 0; i < m->s->save.count; i++)
        if (!used[i]) return ar__targets_no_such("modules_to_save", m->s->save.at[i], base, true, err);
    return pairs ? AR_OK : nothing_matches(m, base, err);
}

ar_status ar__targets_resolve(ar_target *out, const ar_adapter_settings *s, const ar_module_list *base, ar_error *err) {
    struct matcher m;
    bool *used = ar__alloc(s->save.count, sizeof *used);
    if (!used) return ar__fail_memory(err, "targets");
    ar_status st = matcher_init(&m, s, base, err);
    if (!st) st = resolve_all(out, &m, base, used, err);
    matcher_release(&m);
    free(used);
    return st;
}

/* Chosen, and by target_modules: what PEFT sees as a parameter is not. */
static bool is_listed(const ar_target *chosen, const ar_module_list *base, int i) {
    return chosen[i] == AR_TARGET_PAIR && !base->at[i].is_parameter;
}

/* The longest end of a path that all parameters of its kind share: behind the number of the layer. */
static const char *below_layer(const char *path) {
    const char *at = path;
    for (const char *p = strchr(path, '.'); p; p = strchr(p + 1, '.'))
        if (p[1] >= '0' && p[1] <= '9') at = strchr(p + 1, '.') ? strchr(p + 1, '.') + 1 : at;
    return at;
}

/* Does `again` choose the listed modules of `chosen` and no others, parameters apart? */
static bool same_pairs(const ar_target *again, const ar_target *chosen, const ar_module_list *base) {
    for (int i = 0; i < base->count; i++)
        if (!base->at[i].is_parameter && (again[i] == AR_TARGET_PAIR) != is_listed(chosen, base, i)) return false;
    return true;
}

/* target_parameters, which PEFT chooses whatever the layers: ends of names where all that have them are chosen, else whole names. */
static bool list_parameters(ar_strings *out, const ar_target *chosen, const ar_module_list *base) {
    for (int i = 0; i < base->count; i++) {
        if (chosen[i] != AR_TARGET_PAIR || !base->at[i].is_parameter) continue;
        const char *path = base->at[i].path, *end = below_layer(path);
        bool all = true;
        for (int k = 0; k < base->count; k++)
            all = all && (!base->at[k].is_parameter || chosen[k] == AR_TARGET_PAIR || strcmp(below_layer(base->at[k].path), end) != 0);
        ar_buf name = {0};
        ar__buf_printf(&name, "%s%s", all ? end : path, base->at[i].kind == AR_MODULE_EXPERTS ? "" : ".weight");
        bool ok = !name.failed && (ar__strings_has(out, name.data) || ar__strings_add(out, name.data));
        ar__buf_release(&name);
        if (!ok) return false;
    }
    return true;
}

static bool list_targets(ar_strings *out, const ar_target *chosen, const ar_module_list *base, bool suffixes) {
    for (int i = 0; i < base->count; i++) {
        const char *name = suffixes ? last_name(base->at[i].path) : base->at[i].path;
        if (is_listed(chosen, base, i) && !ar__strings_has(out, name) && !ar__strings_add(out, name)) return false;
    }
    return true;
}

ar_status ar__targets_describe(ar_adapter_settings *s, const ar_target *chosen, const ar_module_list *base, ar_error *err) {
    bool all_linear = s->targets.regex && !strcasecmp(s->targets.regex, "all-linear");
    bool wrapped = base->count > 0 && ar__names_unwrap(base->at[0].path) != base->at[0].path; /* other parts have such names too */
    if (!list_parameters(&s->parameters, chosen, base)) return ar__fail_memory(err, "targets");
    bool parameters = s->parameters.count > 0, listed = false;
    for (int i = 0; i < base->count; i++) listed = listed || is_listed(chosen, base, i);
    if ((s->targets.regex || s->targets.is_empty || (s->targets.list.count && !wrapped)) && !all_linear && !parameters) return AR_OK;
    ar__strings_release(&s->targets.list);
    free(s->targets.regex);
    s->targets.regex = NULL;
    s->targets.is_empty = !listed;
    if (!listed) return AR_OK;
    ar_target *again = ar__alloc((size_t)base->count, sizeof *again);
    if (!again || !list_targets(&s->targets.list, chosen, base, true)) {
        free(again);
        return ar__fail_memory(err, "targets");
    }
    /* Suffixes that select too much, or a container, are no error here: they are just not used. */
    bool exact = !wrapped && ar__targets_resolve(again, s, base, NULL) == AR_OK && same_pairs(again, chosen, base);
    free(again);
    if (exact) return AR_OK;
    ar__strings_release(&s->targets.list);
    ar__strings_release(&s->layers_pattern);
    s->layer_count = 0; /* full paths are chosen whatever the layers */
    return list_targets(&s->targets.list, chosen, base, false) ? AR_OK : ar__fail_memory(err, "targets");
}
