/* The library's side of peft_files.py.
 *
 *     peft_tool targets MODULES.json < SPECS.jsonl    one line of JSON per configuration: pairs with rank and alpha,
 *                                                     whole tensors, or the error
 *     peft_tool build MODULES.json CONFIG.json OUT    an adapter on those modules, every number random, saved to OUT
 *     peft_tool resave IN OUT [config|metadata]       read and written again
 *     peft_tool show IN                               the same JSON for a folder
 */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "adapter/peft.h"
#include "adapter/targets.h"
#include "base/mem.h"
#include "base/rng.h"

static int fail(const ar_error *err) {
    fprintf(stderr, "%s: %s\n", ar_status_name(err->status), err->message);
    return 1;
}

struct modules {
    json_t *root;
    ar_module *at;
    int count;
};

static const char *const defaults[] = {"q_proj", "v_proj"};

static void load_modules(struct modules *m, const char *path) {
    static const char *const kinds[] = {"linear", "head", "embedding", "norm"};
    m->root = json_load_file(path, 0, NULL);
    m->count = (int)json_array_size(m->root);
    m->at = ar__alloc((size_t)m->count, sizeof *m->at);
    for (int i = 0; i < m->count; i++) {
        const json_t *v = json_array_get(m->root, (size_t)i);
        const char *kind = json_string_value(json_object_get(v, "kind"));
        m->at[i].path = json_string_value(json_object_get(v, "path"));
        m->at[i].n_out = json_integer_value(json_object_get(v, "n_out"));
        m->at[i].n_in = json_integer_value(json_object_get(v, "n_in"));
        m->at[i].has_bias = json_is_true(json_object_get(v, "bias"));
        for (int k = 0; k < 4; k++)
            if (!strcmp(kinds[k], kind)) m->at[i].kind = (ar_module_kind)k;
    }
}

static json_t *describe(const ar_adapter *ad) {
    json_t *pairs = json_object(), *whole = json_array(), *targets = json_array();
    for (size_t i = 0; i < ad->pair_count; i++)
        json_object_set_new(pairs, ad->pair[i].site, json_pack("[i, f, f]", ad->pair[i].rank, ad->pair[i].alpha, ad->pair[i].scale));
    for (size_t i = 0; i < ad->whole_count; i++) json_array_append_new(whole, json_string(ad->whole[i].name));
    for (size_t i = 0; i < ad->settings.targets.list.count; i++)
        json_array_append_new(targets, json_string(ad->settings.targets.list.at[i]));
    return json_pack("{s:o, s:o, s:o}", "pairs", pairs, "whole", whole, "targets", targets);
}

static ar_status build(ar_adapter **out, const struct modules *m, const char *config, ar_error *err) {
    ar_adapter_settings settings;
    *out = NULL;
    ar_status s = ar__peft_config_read(&settings, config, NULL, err);
    if (s) return s;
    s = ar__adapter_build(out, &settings, m->at, m->count, defaults, 2, 1, 1, err);
    ar__settings_release(&settings);
    return s;
}

static int targets(const char *path) {
    struct modules m;
    char name[] = "/tmp/peft_tool.XXXXXX";
    char *line = NULL;
    size_t cap = 0;
    int fd = mkstemp(name);
    load_modules(&m, path);
    if (fd < 0) return 1;
    fclose(fdopen(fd, "w"));
    while (getline(&line, &cap, stdin) > 0) {
        ar_error err;
        ar_adapter *ad;
        FILE *f = fopen(name, "w");
        fputs(line, f);
        fclose(f);
        json_t *result = build(&ad, &m, name, &err) ? json_pack("{s:s}", "error", err.message) : describe(ad);
        json_dumpf(result, stdout, JSON_COMPACT);
        puts("");
        json_decref(result);
        ar_adapter_free(ad);
    }
    remove(name);
    free(line);
    free(m.at);
    json_decref(m.root);
    return 0;
}

static void randomize(float *x, size_t n, uint64_t stream, double mean, double scale) {
    ar_rng g = ar__rng_stream(7, AR_RNG_SAMPLE, stream, 0);
    for (size_t i = 0; x && i < n; i++) x[i] = (float)(mean + scale * ar__rng_normal(&g, i));
}

static int build_folder(const char *modules, const char *config, const char *out) {
    struct modules m;
    ar_error err;
    ar_adapter *ad;
    load_modules(&m, modules);
    if (build(&ad, &m, config, &err)) return fail(&err);
    for (size_t i = 0; i < ad->pair_count; i++) {
        const ar_pair *p = &ad->pair[i];
        randomize(p->a, (size_t)p->rank * (size_t)p->n_in, 4 * i, 0, 0.1);
        randomize(p->b, (size_t)p->rank * (size_t)p->n_out, 4 * i + 1, 0, 0.1);
        randomize(p->magnitude, (size_t)p->n_out, 4 * i + 2, 1, 0.1);
        randomize(p->b_bias, (size_t)p->n_out, 4 * i + 3, 0, 0.1);
    }
    for (size_t i = 0; i < ad->whole_count; i++) randomize(ad->whole[i].data, ad->whole[i].count, 1000000 + i, 0, 0.1);
    if (ar__adapter_set_note(ad, "train.lr", "0.0002", &err) || ar__adapter_check_base(ad, m.at, m.count, defaults, 2, &err) ||
        ar_adapter_save(ad, out, false, &err))
        return fail(&err);
    ar_adapter_free(ad);
    free(m.at);
    json_decref(m.root);
    return 0;
}

static int reopen(const char *in, const char *out, const char *trust) {
    ar_error err;
    ar_adapter *ad;
    ar_adapter_options o = {.trust = !trust ? AR_TRUST_NONE : !strcmp(trust, "config") ? AR_TRUST_CONFIG : AR_TRUST_METADATA};
    if (ar_adapter_open(&ad, in, &o, &err) || (out && ar_adapter_save(ad, out, false, &err))) return fail(&err);
    json_t *result = describe(ad);
    json_dumpf(result, stdout, JSON_COMPACT);
    json_decref(result);
    ar_adapter_free(ad);
    return 0;
}

int main(int argc, char **argv) {
    if (argc == 3 && !strcmp(argv[1], "targets")) return targets(argv[2]);
    if (argc == 5 && !strcmp(argv[1], "build")) return build_folder(argv[2], argv[3], argv[4]);
    if (argc >= 4 && !strcmp(argv[1], "resave")) return reopen(argv[2], argv[3], argc > 4 ? argv[4] : NULL);
    if (argc == 3 && !strcmp(argv[1], "show")) return reopen(argv[2], NULL, NULL);
    fputs("usage: see the top of peft_tool.c\n", stderr);
    return 2;
}
