#include "adapters.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "session.h"

#define AT(member) offsetof(struct adapter_values, member)

#define READ_OPTIONS                                                                                                                       \
    {.name = "model", .kind = CLI_STRING, .at = AT(model), .value = "BASE", .help = "the base, a folder or .gguf: names, heads, weights"}, \
        {.name = "heads", .kind = CLI_STRING, .at = AT(heads), .value = "H,KV", .help = "of a llama base, where BASE is not at hand"}, {   \
        .name = "trust", .kind = CLI_CHOICE, .at = AT(trust), .value = "neither|config|metadata",                                          \
        .help = "where an adapter's files disagree on s"                                                                                   \
    }

const cli_option cli_adapter_options[] = {READ_OPTIONS, {0}};

const cli_option cli_adapter_write_options[] = {
    READ_OPTIONS,
    {.name = "to", .kind = CLI_STRING, .at = AT(to), .value = "peft|gguf|mlx|kohya", .help = "format of OUT"},
    {.name = "dtype", .kind = CLI_STRING, .at = AT(dtype), .value = "keep|f32|f16|bf16", .help = "of the numbers in OUT"},
    {.name = "fold", .kind = CLI_FLAG, .at = AT(fold), .help = "multiply s into B, so that the file's scale is 1"},
    {.name = "overwrite", .kind = CLI_FLAG, .at = AT(overwrite), .help = "replace an adapter that is there"},
    {0},
};

static int parse_heads(int *heads, int *kv_heads, cli *c, const char *text) {
    char *end;
    if (!text) return CLI_OK;
    long h = strtol(text, &end, 10), kv = h;
    if (*end == ',') kv = strtol(end + 1, &end, 10);
    if (end == text || *end || h < 1 || kv < 1 || h > 1 << 20 || kv > h || h % kv)
        return cli_fail_usage(c, "--heads: found '%.40s', wanted H,KV: attention heads and key/value heads, as in 32,8", text);
    *heads = (int)h;
    *kv_heads = (int)kv;
    return CLI_OK;
}

static bool ends_with(const char *text, const char *end) {
    size_t n = strlen(text), m = strlen(end);
    return n >= m && !strcmp(text + n - m, end);
}

static const char *format_by_name(const char *path) {
    return ends_with(path, ".gguf") ? "gguf" : ends_with(path, ".safetensors") ? "kohya" : NULL;
}

/* What goes back into PEFT's format keeps its stacks of experts, which that has as one pair of tensors. */
static bool writes_peft(const cli_args *args) {
    const struct adapter_values *v = args->values;
    if (cli_option_find(args->command, "to") < 0 || !args->positional_count) return false;
    int out = strcmp(args->command->name, "combine") != 0 ? args->positional_count - 1 : 0;
    const char *to = v->to ? v->to : format_by_name(args->positional[out]);
    return !to || !strcmp(to, "peft");
}

int cli_adapter_read_options(ar_adapter_options *out, cli *c, const cli_args *args) {
    const struct adapter_values *v = args->values;
    *out = (ar_adapter_options){.trust = (ar_trust)v->trust, .model = v->model, .log = cli_log, .log_user = c};
    out->leaves_base_unsaid = !strcmp(args->command->name, "inspect"); /* one of its own warnings */
    out->keeps_stacks = writes_peft(args);
    if (cli_option_find(args->command, "alpha") >= 0 && cli_given(args, "alpha")) {
        out->has_alpha = true;
        out->alpha = v->alpha;
    }
    return parse_heads(&out->heads, &out->kv_heads, c, v->heads);
}

int cli_adapter_open(ar_adapter **out, cli *c, const cli_args *args, const char *path) {
    ar_error err;
    ar_adapter_options o;
    int code = cli_adapter_read_options(&o, c, args);
    *out = NULL;
    if (code) return code;
    return ar_adapter_open(out, path, &o, &err) ? cli_fail(c, &err) : CLI_OK;
}

int cli_adapter_check_free(cli *c, const cli_args *args, const char *path) {
    const struct adapter_values *v = args->values;
    static const char *const inside[] = {"adapter_config.json", "adapter_model.safetensors", "adapters.safetensors"};
    struct stat st;
    if (!*path) return cli_fail_usage(c, "the output has no name: found an empty argument");
    if (v->overwrite || stat(path, &st)) return CLI_OK;
    bool taken = !S_ISDIR(st.st_mode);
    for (size_t i = 0; !taken && i < sizeof inside / sizeof *inside; i++) {
        char file[4200];
        snprintf(file, sizeof file, "%s/%s", path, inside[i]);
        taken = stat(file, &st) == 0;
    }
    if (!taken) return CLI_OK;
    ar_error err = {.status = AR_ERR_EXISTS};
    snprintf(err.message, sizeof err.message, "%.900s: is there already; give another name or --overwrite", path);
    return cli_fail(c, &err);
}

int cli_adapter_write(ar_proof *proof, cli *c, const cli_args *args, ar_adapter *ad, const ar_runtime *rt, const char *path,
                      const char *dtype) {
    const struct adapter_values *v = args->values;
    ar_error err;
    ar_write_options o = {.format = v->to ? v->to : format_by_name(path),
                          .dtype = v->dtype ? v->dtype : dtype,
                          .model = v->model,
                          .fold = v->fold,
                          .overwrite = v->overwrite};
    int code = parse_heads(&o.heads, &o.kv_heads, c, v->heads);
    if (code) return code;
    /* A folder's format is its adapter's own where that is kept in folders. */
    if (!o.format && (!strcmp(ar_adapter_format(ad), "gguf") || !strcmp(ar_adapter_format(ad), "kohya"))) o.format = "peft";
    return ar_adapter_write(proof, ad, rt, path, &o, &err) ? cli_fail(c, &err) : CLI_OK;
}

json_t *cli_json_proof(const ar_proof *p) {
    return json_pack("{s:i, s:o, s:o, s:o, s:s, s:s?}", "sites", p->sites, "max_relative", cli_json_real(p->max_relative), "max_abs",
                     cli_json_real(p->max_abs), "bound", cli_json_real(p->bound), "worst", p->worst, "names", *p->names ? p->names : NULL);
}

void cli_print_proof(const char *path, const ar_proof *p) {
    printf("%s: %d site%s, read back: s·B·A within %.2g (bound %.2g), worst at %s\n", path, p->sites, p->sites == 1 ? "" : "s",
           p->max_relative, p->bound, p->worst);
    if (*p->names) printf("names: all modules are in the list of %s\n", p->names);
    if (p->folded)
        printf("%d site%s folded: B was multiplied, because the format holds one value (%.9g)\n", p->folded,
               p->folded == 1 ? " was" : "s were", p->alpha);
}

const char *cli_folder_of(char *buffer, size_t size, const char *path) {
    size_t n = strlen(path);
    while (n > 1 && path[n - 1] == '/') n--;
    while (n && path[n - 1] != '/') n--;
    if (!n || n >= size) return ".";
    memcpy(buffer, path, n);
    buffer[n] = '\0';
    return buffer;
}

int cli_need_positional(cli *c, const cli_args *args, int count) {
    if (args->positional_count == count) return CLI_OK;
    return cli_fail_usage(c, "found %d argument%s without dashes, wanted %d: %s", args->positional_count,
                          args->positional_count == 1 ? "" : "s", count, args->command->usage);
}

int cli_with_adapter(cli *c, const cli_args *args, int (*work)(cli *c, const cli_args *args, ar_adapter *ad, const ar_runtime *rt)) {
    ar_adapter *ad = NULL;
    ar_runtime *rt = NULL;
    bool writes = cli_option_find(args->command, "overwrite") >= 0;
    int code = writes ? cli_adapter_check_free(c, args, args->positional[1]) : CLI_OK;
    if (!code) code = cli_adapter_open(&ad, c, args, args->positional[0]);
    if (!code) code = cli_runtime_open(&rt, c, args, AR_COMPUTE_F32, NULL);
    if (!code) code = work(c, args, ad, rt);
    ar_adapter_free(ad);
    ar_runtime_free(rt);
    return code;
}

int cli_adapter_check_noise(cli *c, const cli_args *args) {
    const struct adapter_values *v = args->values;
    if (v->quantize && v->original) return cli_fail_usage(c, "found --quantize and --original, wanted one of them");
    if ((v->quantize || v->original) && !v->model)
        return cli_fail_usage(c, "--%s: wanted --model with it", v->quantize ? "quantize" : "original");
    return CLI_OK;
}

bool cli_adapter_noise(ar_noise_options *out, const cli_args *args) {
    const struct adapter_values *v = args->values;
    *out = (ar_noise_options){v->model, v->quantize, v->original};
    return v->quantize || v->original;
}

json_t *cli_json_noise(const ar_noise_range *r) {
    if (!r->sites) return json_null();
    return json_pack("{s:I, s:o, s:o, s:o}", "sites", (json_int_t)r->sites, "least", cli_json_real(r->least), "median",
                     cli_json_real(r->median), "most", cli_json_real(r->most));
}

void cli_print_noise(const char *what, const ar_noise_range *r) {
    if (r->sites)
        printf("%s is %.3g times what quantising took off W, by the median of %zu site%s (%.3g to %.3g)\n", what, r->median, r->sites,
               r->sites == 1 ? "" : "s", r->least, r->most);
    else
        puts("quantising takes nothing off these sites");
}
