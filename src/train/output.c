#include "train/output.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fail.h"
#include "base/file.h"
#include "format/json.h"

static ar_status check_inputs(const ar_train_options *o, ar_error *err) {
    const struct {
        const char *option, *path;
    } inputs[] = {{"model", o->model},
                  {"data", o->data},
                  {"eval-data", o->eval_data},
                  {"model-config", o->model_config},
                  {"init-adapter", o->init_adapter}};
    for (size_t i = 0; i < sizeof inputs / sizeof *inputs; i++)
        if (inputs[i].path && ar__path_lies_in(inputs[i].path, o->out))
            return ar__fail(err, AR_ERR_EXISTS, "%s: is or holds --%s %s, which this run reads; give another --out", o->out,
                            inputs[i].option, inputs[i].path);
    return AR_OK;
}

void ar__output_abandon(const ar_train_options *o) {
    static const char *const begun[] = {"metrics.jsonl", "run.json", "checkpoints"};
    for (size_t i = 0; i < sizeof begun / sizeof *begun; i++) {
        char *path = ar__path_join(o->out, begun[i]);
        if (path) ar__dir_remove(path, NULL);
        free(path);
    }
    rmdir(o->out); /* stays where something else is in it */
}

/* The settings of the run that left the folder; NULL where none of ours did. */
static json_t *run_settings(const char *dir) {
    char *path = ar__path_join(dir, "run.json");
    json_t *run = NULL, *settings = NULL;
    if (path && ar__path_exists(path) && ar__json_load_object(&run, path, 1 << 24, NULL) == AR_OK && json_object_get(run, "alphar"))
        settings = json_incref(json_object_get(run, "settings"));
    json_decref(run);
    free(path);
    return settings;
}

/* Holds nothing but what a killed run was about to write. */
static bool is_empty_dir(const char *dir) {
    DIR *d = opendir(dir);
    bool empty = d != NULL;
    for (struct dirent *e; d && empty && (e = readdir(d));)
        empty = !strcmp(e->d_name, ".") || !strcmp(e->d_name, "..") || strstr(e->d_name, ".tmp-");
    if (d) closedir(d);
    return empty;
}

ar_status ar__output_check(const ar_train_options *o, ar_error *err) {
    if (!ar__path_exists(o->out)) return AR_OK;
    if (!o->resume && !o->overwrite)
        return ar__fail(err, AR_ERR_EXISTS, "%s: exists already; give another --out, or --overwrite, or --resume", o->out);
    ar_status s = check_inputs(o, err);
    if (s || is_empty_dir(o->out)) return s;
    json_t *settings = run_settings(o->out);
    if (!settings)
        return ar__fail(err, AR_ERR_EXISTS, "%s: exists and was not left by a run of alphar (no run.json of its own); give another --out",
                        o->out);
    json_decref(settings);
    return AR_OK;
}

ar_status ar__output_clear(const ar_train_options *o, ar_error *err) {
    static const char *const lora[] = {"adapter_config.json", "adapter_model.safetensors", NULL},
                             *const full[] = {"config.json", "model.safetensors", NULL},
                             *const every[] = {"README.md", "metrics.jsonl", "checkpoints", "run.json", NULL};
    json_t *settings = run_settings(o->out);
    const char *method = json_string_value(json_object_get(settings, "method"));
    const char *const *lists[] = {method && !strcmp(method, "full") ? full : lora, every};
    ar_status s = AR_OK;
    for (int k = 0; settings && k < 2; k++)
        for (int i = 0; !s && lists[k][i]; i++) { /* run.json last: until then the folder is known as ours */
            char *path = ar__path_join(o->out, lists[k][i]);
            s = path ? ar__dir_remove(path, err) : ar__fail_memory(err, o->out);
            free(path);
        }
    json_decref(settings);
    return s;
}
