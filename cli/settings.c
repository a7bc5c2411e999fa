#include "settings.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "alphar/settings.h"
#include "lists.h"

cli_option cli_train_options[CLI_SETTINGS_MOST + 1], cli_sweep_options[CLI_SETTINGS_MOST + 1];

static cli_kind kind_of(const ar_setting *s) {
    switch (s->type) {
    case AR_SETTING_SECTION: return CLI_SECTION;
    case AR_SETTING_FLAG: return CLI_FLAG;
    case AR_SETTING_INT: return CLI_COUNT;
    case AR_SETTING_LONG: return CLI_INT;
    case AR_SETTING_BYTES: return CLI_SIZE;
    case AR_SETTING_NUMBER: return CLI_NUMBER;
    case AR_SETTING_CHOICE: return CLI_CHOICE;
    case AR_SETTING_TEXT:
    case AR_SETTING_NAMES:
    case AR_SETTING_PATH: return CLI_STRING;
    case AR_SETTING_TEXTS:
    case AR_SETTING_FILES: return CLI_LIST;
    }
    return CLI_STRING;
}

static unsigned flags_of(const ar_setting *s) {
    static const struct {
        unsigned theirs, ours;
    } same[] = {
        {AR_SETTING_ABOVE, CLI_ABOVE}, {AR_SETTING_BELOW, CLI_BELOW}, {AR_SETTING_NEGATABLE, CLI_NEGATABLE},
        {AR_SETTING_FIRST, CLI_FIRST}, {AR_SETTING_RANKS, CLI_RANKS},
    };
    unsigned flags = s->type == AR_SETTING_NAMES ? CLI_COMMAS : 0;
    for (size_t i = 0; i < sizeof same / sizeof *same; i++)
        if (s->flags & same[i].theirs) flags |= same[i].ours;
    return flags;
}

static cli_option option_of(const ar_setting *s, size_t at) {
    return (cli_option){.name = s->name,
                        .kind = kind_of(s),
                        .at = at,
                        .value = s->value ? s->value : s->choices,
                        .choices = s->choices,
                        .initial = s->initial,
                        .shown = s->shown,
                        .help = s->help,
                        .about = s->about,
                        .flags = flags_of(s),
                        .min = s->least,
                        .max = s->most,
                        .word = s->word};
}

/* seed is an option of every command. */
static void fill_train(void) {
    size_t count, n = 0;
    const ar_setting *rows = ar_train_settings(&count);
    for (size_t i = 0; i < count; i++) {
        if (!strcmp(rows[i].name, "seed")) continue;
        assert(n < CLI_SETTINGS_MOST);
        cli_train_options[n] = option_of(&rows[i], offsetof(struct train_values, o) + rows[i].offset);
        if (!strcmp(rows[i].name, "resume")) cli_train_options[n].flags |= CLI_NAMES;
        n++;
    }
}

cli_option cli_setting_option(const ar_setting *s) { return option_of(s, s->offset); }

/* A scalar of the learner is a list in a sweep; what changes the base that its candidates share is left out. */
static void fill_sweep(void) {
    static const char *const without[] = {"method", "init", "model-config", "modules-to-save", "bias"};
    size_t count, n = 0;
    const ar_setting *rows = ar_train_settings(&count);
    for (size_t i = 0; i < count; i++) {
        bool left_out = false;
        for (size_t k = 0; k < sizeof without / sizeof *without; k++) left_out = left_out || !strcmp(rows[i].name, without[k]);
        if (left_out) continue;
        assert(n < CLI_SETTINGS_MOST);
        cli_option *o = &cli_sweep_options[n++];
        ar_setting_type type = rows[i].type;
        bool scalar = type == AR_SETTING_INT || type == AR_SETTING_LONG || type == AR_SETTING_NUMBER || type == AR_SETTING_CHOICE;
        *o = option_of(&rows[i], offsetof(struct sweep_values, train.o) + rows[i].offset);
        if (!strcmp(rows[i].name, "resume")) o->flags |= CLI_NAMES;
        if (type == AR_SETTING_SECTION || ar_setting_part_of(&rows[i]) != AR_PART_LEARNER || !(scalar || type == AR_SETTING_NAMES))
            continue;
        if (!o->shown) o->shown = o->initial;
        *o = (cli_option){.name = o->name,
                          .kind = CLI_STRING,
                          .at = offsetof(struct sweep_values, list) + i * sizeof(const char *),
                          .value = o->value,
                          .shown = o->shown,
                          .help = o->help,
                          .about = o->about,
                          .flags = (o->flags & CLI_FIRST) | CLI_COMMAS | (scalar ? 0 : CLI_SETS)};
    }
}

static void fill_row(cli_option *row) {
    const ar_setting *s = ar_train_setting(row->name);
    assert(s && "a setting of training");
    cli_option o = option_of(s, row->at);
    if (row->help) o.help = row->help;
    if (row->about) o.about = row->about;
    if (row->value) o.value = row->value;
    if (row->shown) o.shown = row->shown;
    o.flags = (o.flags & ~(unsigned)CLI_FIRST) | row->flags;
    *row = o;
}

void cli_settings_fill(const cli_command *const *commands) {
    fill_train();
    fill_sweep();
    for (int i = 0; commands[i]; i++)
        for (cli_option *o = commands[i]->borrows; o && o->name; o++)
            if (o->kind == CLI_SETTING) fill_row(o);
}

static bool is_checkpoint(const char *dir) {
    char path[4400];
    snprintf(path, sizeof path, "%.4000s/state.safetensors", dir);
    return access(path, F_OK) == 0;
}

/* What the library cannot see: which options were typed, and what --resume was to find. */
static int check_together(cli *c, const cli_args *args, const ar_train_options *o) {
    bool nothing = o->run.resume && !o->course.model && !o->course.model_config && o->run.out;
    if (cli_given(args, "steps") && cli_given(args, "epochs")) return cli_fail_usage(c, "found --steps and --epochs, wanted one of them");
    if (nothing && is_checkpoint(o->run.out))
        return cli_fail_usage(c, "--resume: found one checkpoint, %.200s, wanted the folder of its run", o->run.out);
    if (nothing)
        return cli_fail_usage(
            c, "--resume: found no run.json in %.200s to go on from, wanted the folder of a run, or --model and --data again", o->run.out);
    if (o->run.resume && o->run.overwrite) return cli_fail_usage(c, "found --resume and --overwrite, wanted one of them");
    bool random = o->course.init && !strcmp(o->course.init, "random");
    if (!random && !o->course.model_config && !o->course.model)
        return cli_fail_usage(c, "--model is missing, wanted a Hugging Face folder or a .gguf file");
    return CLI_OK;
}

int cli_train_take(ar_train_options *out, cli *c, const cli_args *args) {
    const struct train_values *v = args->values;
    size_t count;
    const ar_setting *rows = ar_train_settings(&count);
    ar_error err;
    *out = v->o;
    if (args->in_ranks > 0) out->learner.alpha = args->in_ranks * out->learner.rank;
    out->learner.seed = (uint64_t)v->common.seed;
    out->course.train_on = cli_train_on((int)v->o.course.train_on);
    for (size_t i = 0; i < count; i++)
        if (rows[i].given) *(bool *)((char *)out + rows[i].given) = cli_given(args, rows[i].name);
    int code = check_together(c, args, out);
    return !code && ar_train_options_check(out, &err) ? cli_fail(c, &err) : code;
}
