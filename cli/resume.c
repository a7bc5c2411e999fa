#include "resume.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "alphar/ranks.h"
#include "output.h"
#include "settings.h"

/* What an option's value came from when it was not given: run.json holds what it became, which is not to be asked for. */
static const char *const derived[] = {"rank", "alpha", "policy", "steps"};

/* Steps and epochs are two ways to say one thing: whichever is typed, or was, is the one. */
static bool is_wanted(const cli_args *args, const json_t *given, const char *name) {
    bool steps_typed = cli_given(args, "steps"), epochs_typed = cli_given(args, "epochs");
    if (!strcmp(name, "steps") && epochs_typed) return false;
    if (!strcmp(name, "epochs")) return !steps_typed && !cli_json_holds(given, "steps");
    for (size_t i = 0; i < sizeof derived / sizeof *derived; i++)
        if (!strcmp(name, derived[i])) return cli_json_holds(given, name);
    return true;
}

static int set_text(cli_args *args, int option, const char *text, const char *place) {
    const char *kept = cli_args_own(args, text, strlen(text));
    if (!kept) return cli_args_fail(args, CLI_FAILED, "%s: out of memory", place);
    return cli_option_set(args, option, kept, false, 1, place);
}

/* 0 stands for "not asked for" where an option's numbers begin at 1; null for an option without a value. */
static int set_value(cli_args *args, int option, const json_t *value, const char *place) {
    const cli_option *o = cli_option_at(args->command, option);
    char number[40];
    size_t i;
    json_t *item;
    int code = CLI_OK;
    if (json_is_array(value)) {
        json_array_foreach(value, i, item) if (code == CLI_OK) code = set_value(args, option, item, place);
        return code;
    }
    if (json_is_string(value)) return set_text(args, option, json_string_value(value), place);
    if (json_is_boolean(value)) return set_text(args, option, json_is_true(value) ? "true" : "false", place);
    if (!json_is_number(value)) return CLI_OK;
    double x = json_number_value(value);
    if (x == 0.0 && (o->min > 0 || o->kind == CLI_SIZE)) return CLI_OK;
    if (json_is_integer(value))
        snprintf(number, sizeof number, "%lld", (long long)json_integer_value(value));
    else
        snprintf(number, sizeof number, "%.17g", x);
    return set_text(args, option, number, place);
}

int cli_resume_take(cli_args *args, const json_t *settings, const json_t *given, const char *path) {
    const char *key;
    json_t *value;
    int code = CLI_OK;
    if (!json_is_object(settings) || !json_is_array(given))
        return cli_args_fail(args, CLI_FAILED, "%s: holds no settings to go on from (an older version wrote it?); give the options again",
                             path);
    json_object_foreach((json_t *)(uintptr_t)settings, key, value) {
        char place[4400];
        int option = cli_option_find(args->command, key);
        if (option < 0 || args->given[option] || !is_wanted(args, given, key)) continue;
        snprintf(place, sizeof place, "%.4000s: %.80s", path, key);
        if (code == CLI_OK) code = set_value(args, option, value, place);
    }
    return code;
}

/* A whole file; NULL: it cannot be read. */
static char *read_file(const char *path) {
    char *text = NULL;
    size_t n = 0;
    FILE *f = fopen(path, "r");
    if (!f) return NULL;
    if (getdelim(&text, &n, EOF, f) < 0) {
        free(text);
        text = strdup("");
    }
    fclose(f);
    return text;
}

int cli_resume_read(char **text, cli_args *args, const char *path) {
    ar_error err;
    *text = ar_ranks_index(args->ranks) == 0 ? read_file(path) : NULL;
    return ar_ranks_text(args->ranks, text, &err) ? cli_args_fail(args, CLI_FAILED, "%s", err.message) : CLI_OK;
}

static int read_run(cli_args *args, const char *dir) {
    char path[4400], *text;
    json_error_t error;
    snprintf(path, sizeof path, "%.4000s/run.json", dir);
    if (cli_resume_read(&text, args, path)) return CLI_FAILED;
    if (!text) return CLI_OK; /* a run that never began: what is typed has to do */
    json_t *run = json_loads(text, 0, &error);
    free(text);
    if (!run) return cli_args_fail(args, CLI_FAILED, "%s:%d: %s; give the options again", path, error.line, error.text);
    int code = cli_resume_take(args, json_object_get(run, "settings"), json_object_get(run, "given"), path);
    json_decref(run);
    return code;
}

int cli_resume_folder(const char **dir, cli_args *args) {
    struct train_values *v = args->values;
    *dir = args->positional_count ? args->positional[0] : v->o.run.out;
    const char *command = args->command->name;
    if (args->positional_count && !v->o.run.resume)
        return cli_args_fail(args, CLI_USAGE, "%s: found the extra argument '%.200s', wanted --resume with it, or options only: %s",
                             command, *dir, args->command->usage);
    if (args->positional_count && v->o.run.out && strcmp(v->o.run.out, *dir) != 0)
        return cli_args_fail(args, CLI_USAGE, "%s: found --resume %.200s and --out %.200s, wanted one folder", command, *dir, v->o.run.out);
    if (!v->o.run.resume) *dir = NULL;
    if (*dir) v->o.run.out = *dir;
    return CLI_OK;
}

int cli_resume_prepare(cli_args *args) {
    const char *dir;
    int code = cli_resume_folder(&dir, args);
    return code || !dir ? code : read_run(args, dir);
}
