#include "session.h"

#include <string.h>

#include "alphar/ranks.h"

#define AT(member) offsetof(struct session_values, member)

const cli_option cli_session_options[] = {
    {.name = "model",
     .kind = CLI_STRING,
     .at = AT(model),
     .value = "FOLDER",
     .flags = CLI_REQUIRED,
     .help = "the base: a folder or a .gguf file"},
    {.name = "adapter",
     .kind = CLI_LIST,
     .at = AT(adapter),
     .value = "PATH[:X]",
     .help = "an adapter of any format, its s times X; may repeat"},
    {.name = "trust",
     .kind = CLI_CHOICE,
     .at = AT(trust),
     .value = "neither|config|metadata",
     .help = "where an adapter's files disagree on s"},
    {.name = "compute", .kind = CLI_CHOICE, .at = AT(compute), .value = "f32|bf16|auto", .help = "arithmetic of the products"},
    {.name = "device",
     .kind = CLI_STRING,
     .at = AT(device),
     .value = "auto|cpu|cuda:N",
     .initial = "auto",
     .shown = "auto|cpu|cuda:N",
     .help = "what computes; auto: a GPU where there is one"},
    {.name = "template",
     .kind = CLI_STRING,
     .at = AT(chat_template),
     .value = "FILE|NAME",
     .help = "write conversations so, not as trained",
     .about = "a chat template: a file, the name of one of the base's, or chatml"},
    {0},
};

int cli_runtime_open(ar_runtime **out, cli *c, const cli_args *args, ar_compute compute, const char *device) {
    ar_error err;
    int threads = (int)cli_common_of(args)->threads;
    ar_runtime_options o = {
        .threads = threads ? threads : ar_ranks_threads(c->ranks), .compute = compute, .device = device, .log = cli_log, .log_user = c};
    return ar_runtime_new(out, &o, &err) ? cli_fail(c, &err) : CLI_OK;
}

bool cli_step_down(cli *c, const char **device, ar_runtime **rt, const ar_error *err) {
    bool chosen = !*device || !strcmp(*device, "auto");
    if (!chosen || err->status != AR_ERR_MEMORY || !strcmp(ar_runtime_device(*rt), "cpu")) return false;
    char line[sizeof err->message + 48];
    snprintf(line, sizeof line, "%s; the CPU computes", err->message);
    cli_log(c, AR_LOG_WARNING, line);
    ar_runtime_free(*rt);
    *rt = NULL;
    *device = "cpu";
    return true;
}

static int open_on(ar_session **out, ar_runtime **rt, cli *c, const cli_args *args, const ar_session_options *o, const char *device) {
    const struct session_values *v = args->values;
    ar_error err;
    int code = cli_runtime_open(rt, c, args, (ar_compute)v->compute, device);
    if (code || !ar_session_open(out, *rt, o, &err)) return code;
    if (cli_step_down(c, &device, rt, &err)) return open_on(out, rt, c, args, o, device);
    code = cli_fail(c, &err);
    cli_session_close(NULL, *rt);
    *out = NULL;
    *rt = NULL;
    return code;
}

int cli_session_open(ar_session **out, ar_runtime **rt, cli *c, const cli_args *args, ar_session_options *o) {
    const struct session_values *v = args->values;
    *out = NULL;
    *rt = NULL;
    if ((o->has_scale || o->has_alpha) && !v->adapter.count)
        return cli_fail_usage(c, "--%s: wanted --adapter with it", o->has_scale ? "scale" : "alpha");
    o->model = v->model;
    o->chat_template = v->chat_template;
    o->quantize = v->quantize;
    o->adapter_options.trust = (ar_trust)v->trust;
    if (o->has_alpha) {
        o->adapter_options.has_alpha = true;
        o->adapter_options.alpha = o->alpha;
    }
    o->adapters = v->adapter.items;
    o->adapter_count = (int)v->adapter.count;
    return open_on(out, rt, c, args, o, v->device);
}

void cli_session_close(ar_session *s, ar_runtime *rt) {
    ar_session_free(s);
    ar_runtime_free(rt);
}
