/* What commands on adapters share: how one is read and written, and their options. */
#ifndef ALPHAR_CLI_ADAPTERS_H
#define ALPHAR_CLI_ADAPTERS_H

#include "alphar/algebra.h"
#include "output.h"

/* Follows cli_common in the values of such a command.  `alpha` is an option of the command's own table. */
struct adapter_values {
    cli_common common;
    const char *model, *heads;
    int trust;
    double alpha;
    const char *to, *dtype;
    bool fold, overwrite;
    const char *quantize, *original;
};

/* --quantize and --original, rows of `borrows` of the commands that set updates beside what quantising took. */
#define CLI_ADAPTER_NOISE(place)                                                                                                           \
    {.name = "quantize", .kind = CLI_SETTING, .at = place(adapter.quantize), .help = "set it beside W − Q(W), for nf4, q4_k …"}, {         \
        .name = "original", .kind = CLI_STRING, .at = place(adapter.original), .value = "DIR",                                             \
        .help = "or: what a quantised BASE was made from"                                                                                  \
    }

/* --model, --heads and --trust, for commands that read; with --to, --dtype, --fold and --overwrite for those that write. */
extern const cli_option cli_adapter_options[], cli_adapter_write_options[];

/* Opens an adapter as the options say; --alpha supplies one that the file lacks.  Returns the exit status, told already. */
int cli_adapter_read_options(ar_adapter_options *out, cli *c, const cli_args *args);
int cli_adapter_open(ar_adapter **out, cli *c, const cli_args *args, const char *path);
/* Writes it as the options say, by the format that --to, or the name of `path`, or the adapter's own asks for.  dtype: the
 * command's default. */
int cli_adapter_write(ar_proof *proof, cli *c, const cli_args *args, ar_adapter *ad, const ar_runtime *rt, const char *path,
                      const char *dtype);
/* Refuses to go on where `path` is taken and --overwrite is missing: before work that takes time. */
int cli_adapter_check_free(cli *c, const cli_args *args, const char *path);

/* Before anything is opened: the exit status, told already.  Then the options, and whether noise is asked for. */
int cli_adapter_check_noise(cli *c, const cli_args *args);
bool cli_adapter_noise(ar_noise_options *out, const cli_args *args);
/* {"sites":N, "least":…, "median":…, "most":…}, null where there is none; and as a sentence. */
json_t *cli_json_noise(const ar_noise_range *r);
void cli_print_noise(const char *what, const ar_noise_range *r);

/* {"sites":…, "max_relative":…, …} */
json_t *cli_json_proof(const ar_proof *proof);
void cli_print_proof(const char *path, const ar_proof *proof);

/* The folder that holds a path, for intermediate numbers: "." or what stands before the last '/'. */
const char *cli_folder_of(char *buffer, size_t size, const char *path);
/* Opens the first argument's adapter and a runtime, and calls work; releases both.  A command with --overwrite writes its
 * second argument, which must then be free. */
int cli_with_adapter(cli *c, const cli_args *args, int (*work)(cli *c, const cli_args *args, ar_adapter *ad, const ar_runtime *rt));
/* Exactly `count` arguments without dashes, named by the usage line. */
int cli_need_positional(cli *c, const cli_args *args, int count);

#endif
