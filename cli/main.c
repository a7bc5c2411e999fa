/* alphar COMMAND [options]: finds the command, reads its options, runs it. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "alphar/ranks.h"
#include "alphar/runtime.h"
#include "commands.h"
#include "interrupt.h"
#include "output.h"
#include "ranks.h"
#include "record.h"
#include "settings.h"

static const cli_command *const commands[] = {
    &cli_train,    &cli_sweep,    &cli_data,    &cli_plan,   &cli_bench,    /* a line each: training, */
    &cli_eval,     &cli_generate, &cli_chat,    &cli_score,  &cli_tokenize, /* asking a model, */
    &cli_tune,     &cli_inspect,  &cli_diff,    &cli_advise,                /* looking at adapters, */
    &cli_convert,  &cli_rescale,  &cli_resize,                              /* changing one, */
    &cli_combine,  &cli_merge,    &cli_extract,                             /* making one of several, a model of one, one of two models */
    &cli_quantize,                                                          /* writing a model anew */
    &cli_runs,     &cli_report,                                             /* what was run, as a list and as a page */
    NULL,
};

static int print_overview(cli *c) {
    cli_help_overview(commands);
    return cli_finish(c);
}

static int print_version(cli *c) {
    ar_runtime *rt;
    ar_error err;
    if (ar_runtime_new(&rt, NULL, &err)) return cli_fail(c, &err);
    char device[256];
    int code;
    ar_device_describe(device, sizeof device);
    if (c->json) {
        code = cli_print_json(c, json_pack("{s:s, s:s, s:s, s:i, s:s?, s:s}", "version", ar_version(), "cpu", ar_runtime_isa(rt),
                                           "backends", ar_runtime_backends(rt), "threads", ar_runtime_threads(rt), "ranks",
                                           ar_ranks_engine(), "devices", device));
    } else {
        printf("alphar %s\ncpu: %s\nproducts: %s\nthreads: %d\n", ar_version(), ar_runtime_isa(rt), ar_runtime_backends(rt),
               ar_runtime_threads(rt));
        printf("devices: %s\n", device);
        printf("ranks: %s\n", ar_ranks_engine() ? ar_ranks_engine() : "none (a build with make MPI=1 has them)");
        code = cli_finish(c);
    }
    ar_runtime_free(rt);
    return code;
}

static const cli_command *find(const char *name) {
    for (int i = 0; commands[i]; i++)
        if (!strcmp(commands[i]->name, name)) return commands[i];
    return NULL;
}

static int unknown_command(cli *c, const char *name) {
    const char *near = NULL, *ours = cli_foreign_command(name);
    size_t best = SIZE_MAX;
    if (ours && find(ours)) return cli_fail_usage(c, "unknown command '%.60s', here it is '%s'", name, ours);
    for (int i = 0; commands[i]; i++) near = cli_nearest(name, commands[i]->name, near, &best);
    if (near) return cli_fail_usage(c, "unknown command '%.60s', did you mean '%s'?", name, near);
    return cli_fail_usage(c, "unknown command '%.60s', wanted one that 'alphar --help' lists", name);
}

static int unknown_page(cli *c, const char *found, const char *wanted) {
    return cli_fail_usage(c, "help: found '%.60s', wanted %s", found, wanted);
}

/* help [COMMAND], help --man [COMMAND], help --completion SHELL */
static int help(cli *c, int argc, char **argv) {
    const char *what = argc > 0 ? argv[0] : NULL, *of = argc > 1 ? argv[1] : NULL;
    if (!what) return print_overview(c);
    if (!strcmp(what, "--completion")) {
        if (!of || !cli_completion_print(commands, of)) return unknown_page(c, of ? of : "", "--completion bash, zsh or fish");
        return cli_finish(c);
    }
    bool man = !strcmp(what, "--man");
    const char *name = man ? of : what;
    const cli_command *command = name ? find(name) : NULL;
    if (name && !command) return unknown_command(c, name);
    if (man)
        cli_man_print(commands, command);
    else
        cli_help_command(command);
    return cli_finish(c);
}

/* Whether --json stands among the options: needed before they are read, for messages about them. */
static bool wants_json(int argc, char **argv) {
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++)
        if (!strcmp(argv[i], "--json")) return true;
    return false;
}

static int run_joined(cli *c, const cli_command *command, int argc, char **argv) {
    cli_args args;
    int code = cli_args_read(&args, command, c->ranks, argc, argv);
    if (code != CLI_OK) {
        code = cli_fail_code(c, code, code == CLI_USAGE ? "usage" : "io", args.message);
    } else if (cli_common_of(&args)->help) {
        if (!cli_helps(c)) cli_help_command(command);
        code = cli_finish(c);
    } else {
        c->json = cli_common_of(&args)->json;
        c->quiet = cli_common_of(&args)->quiet || cli_helps(c);
        cli_progress_init(&c->progress, c->quiet);
        if (!cli_helps(c)) cli_interrupt_init(command->finishes_step, ar_ranks_count(c->ranks) > 1);
        cli_record record;
        cli_record_begin(&record, c, &args, argc, argv);
        code = command->run(c, &args);
        cli_progress_end(&c->progress);
        cli_record_end(&record, c, &args, code);
    }
    cli_args_release(&args);
    return code;
}

static int run(cli *c, const cli_command *command, int argc, char **argv) {
    c->command = command;
    int code = cli_ranks_join(c, command);
    if (code == CLI_OK) code = run_joined(c, command, argc, argv);
    ar_ranks_leave(c->ranks);
    return code;
}

int main(int argc, char **argv) {
    ar_process_settle(argv);
#ifdef SIGXFSZ
    signal(SIGXFSZ, SIG_IGN); /* a file size limit is then a write that fails, with a message, not a death */
#endif
    cli_settings_fill(commands);
    cli c = {.json = wants_json(argc, argv)};
    const char *name = argc > 1 ? argv[1] : "--help";
    if (!strcmp(name, "--version")) return print_version(&c);
    if (!strcmp(name, "help")) return help(&c, argc - 2, argv + 2);
    if (!strcmp(name, "--help") || !strcmp(name, "-h")) {
        int code = print_overview(&c);
        return argc > 1 ? code : CLI_USAGE;
    }
    const cli_command *command = find(name);
    if (!command) return unknown_command(&c, name);
    return run(&c, command, argc - 2, argv + 2);
}
