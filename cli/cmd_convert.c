/* alphar convert: another tool's format, proven by reading it back.  Adapters, and whole models between folder and GGUF file. */
#include <stdio.h>
#include <string.h>

#include "adapters.h"
#include "commands.h"
#include "rewritten.h"
#include "session.h"

struct values {
    struct adapter_values adapter;
    int prove;
};

enum { PROVE_UPDATE, PROVE_LOGITS };

static const cli_option options[] = {
    {.name = "alpha", .kind = CLI_NUMBER, .at = offsetof(struct adapter_values, alpha), .value = "X", .help = "where IN has none"},
    {.name = "prove",
     .kind = CLI_CHOICE,
     .at = offsetof(struct values, prove),
     .value = "update|logits",
     .help = "compare s·B·A, or what the base says too"},
    {0},
};

enum { PROMPTS = 8 };

/* What the base says with IN and with OUT.  The adapters are read anew, each by its own format's rule. */
static int prove_logits(ar_session_difference *out, cli *c, const cli_args *args, const ar_runtime *rt) {
    const struct values *v = args->values;
    ar_session *session[2] = {NULL, NULL};
    ar_error err;
    ar_status s = AR_OK;
    for (int i = 0; !s && i < 2; i++) {
        const char *adapters[] = {args->positional[i]};
        ar_session_options o = {.model = v->adapter.model, .adapters = adapters, .adapter_count = 1};
        if (i == 0) cli_adapter_read_options(&o.adapter_options, c, args);
        s = ar_session_open(&session[i], rt, &o, &err);
    }
    if (!s) s = ar_sessions_compare(out, session[0], session[1], PROMPTS, (uint64_t)cli_common_of(args)->seed, &err);
    ar_session_free(session[0]);
    ar_session_free(session[1]);
    return s ? cli_fail(c, &err) : CLI_OK;
}

static int finish(cli *c, const char *path, const ar_proof *proof, const ar_session_difference *logits, const char *format) {
    if (c->json) {
        json_t *p = cli_json_proof(proof);
        if (logits->prompts)
            json_object_set_new(p, "logits",
                                json_pack("{s:i, s:o, s:o}", "prompts", logits->prompts, "max_logprob_difference",
                                          cli_json_real(logits->largest), "mean", cli_json_real(logits->mean)));
        return cli_print_json(c, json_pack("{s:s, s:s, s:o, s:i, s:o}", "out", path, "format", format, "proof", p, "folded", proof->folded,
                                           "alpha", cli_json_real(proof->alpha)));
    }
    cli_print_proof(path, proof);
    if (logits->prompts)
        printf("on %d prompts, log-probabilities with IN and with OUT differ by at most %.2g, %.2g on average\n", logits->prompts,
               logits->largest, logits->mean);
    return cli_finish(c);
}

static int convert(cli *c, const cli_args *args, ar_adapter *ad, const ar_runtime *rt) {
    const struct values *v = args->values;
    ar_proof proof;
    ar_session_difference logits = {0};
    int code = cli_adapter_write(&proof, c, args, ad, rt, args->positional[1], "keep");
    if (!code && !*proof.names && !strcmp(v->adapter.to, "mlx"))
        cli_log(c, AR_LOG_WARNING,
                "module names are as the adapter spells them: no base says which model of mlx-lm is meant; --model BASE "
                "checks them against what that one has");
    if (!code && v->prove == PROVE_LOGITS) code = prove_logits(&logits, c, args, rt);
    return code ? code : finish(c, args->positional[1], &proof, &logits, v->adapter.to);
}

/* A whole model in the other format. */
static int convert_model(cli *c, const cli_args *args, bool to_folder) {
    const struct values *v = args->values;
    const char *type = v->adapter.dtype, *out = args->positional[1];
    ar_rewrite_options o = {.model = args->positional[0],
                            .out = out,
                            .type = type,
                            .to_folder = to_folder,
                            .overwrite = v->adapter.overwrite,
                            .on_progress = cli_rewrite_show,
                            .user = c};
    ar_rewrite_result r;
    ar_runtime *rt;
    ar_error err;
    static const char *const of_adapters[] = {"model", "heads", "trust", "fold", "alpha", "prove"};
    for (size_t i = 0; i < sizeof of_adapters / sizeof *of_adapters; i++)
        if (cli_given(args, of_adapters[i]))
            return cli_fail_usage(c, "--%s is about adapters, and %s is a whole model", of_adapters[i], args->positional[0]);
    int code = cli_runtime_open(&rt, c, args, AR_COMPUTE_F32, NULL);
    if (code) return code;
    code = ar_convert_model(&r, rt, &o, &err) ? cli_fail(c, &err) : cli_rewrite_tell(c, out, type, &r, false);
    ar_rewrite_result_release(&r);
    ar_runtime_free(rt);
    return code;
}

static int run(cli *c, const cli_args *args) {
    const struct values *v = args->values;
    int code = cli_need_positional(c, args, 2);
    if (code) return code;
    if (!v->adapter.to) return cli_fail_usage(c, "--to is missing, wanted --to peft, gguf, mlx, kohya or hf");
    bool to_folder = !strcmp(v->adapter.to, "hf");
    if (to_folder || (!strcmp(v->adapter.to, "gguf") && ar_path_is_model(args->positional[0]))) return convert_model(c, args, to_folder);
    if (v->prove == PROVE_LOGITS && !v->adapter.model) return cli_fail_usage(c, "--prove logits: wanted --model with it");
    return cli_with_adapter(c, args, convert);
}

const cli_command cli_convert = {
    .name = "convert",
    .summary = "Writes an adapter, or a whole model, in another tool's format, with proof.",
    .usage = "alphar convert IN OUT --to peft|gguf|mlx|kohya|hf [--model BASE | --heads H,KV]",
    .example = "alphar convert my-adapter my-adapter.gguf --to gguf --model demo/base",
    .options = options,
    .shared = cli_adapter_write_options,
    .values_size = sizeof(struct values),
    .positional_count = 2,
    .finishes_step = true,
    .run = run,
};
