/* alphar eval: the loss over a file, at one alpha or at several. */
#include <stdio.h>
#include <stdlib.h>

#include "commands.h"
#include "lists.h"
#include "session.h"

struct values {
    struct session_values session;
    ar_texts data;
    const char *map, *ignore_fields, *alpha, *scale;
    int max_length, train_on;
    bool pack, skip_bad;
    const char *reference;
    ar_preference preference;
};
#define AT(member) offsetof(struct values, member)

static cli_option options[] = {
    {.name = "data", .kind = CLI_SETTING, .at = AT(data), .flags = CLI_REQUIRED, .help = "samples, as in train; may repeat"},
    {.name = "skip-bad", .kind = CLI_SETTING, .at = AT(skip_bad), .help = "leave bad lines out, and count them"},
    {.name = "map", .kind = CLI_SETTING, .at = AT(map)},
    {.name = "ignore-fields", .kind = CLI_SETTING, .at = AT(ignore_fields)},
    {.name = "alpha",
     .kind = CLI_STRING,
     .at = AT(alpha),
     .value = "LIST",
     .flags = CLI_COMMAS,
     .about = "a result for each alpha, as in 0,8,16,32"},
    {.name = "scale",
     .kind = CLI_STRING,
     .at = AT(scale),
     .value = "LIST",
     .flags = CLI_COMMAS,
     .help = "a result for each, as in 0,8,16,32",
     .about = "a result for each s"},
    {.name = "max-length", .kind = CLI_SETTING, .at = AT(max_length), .shown = "the adapter's"},
    {.name = "pack", .kind = CLI_SETTING, .at = AT(pack)},
    {.name = "train-on", .kind = CLI_SETTING, .at = AT(train_on), .help = "what counts", .about = "what counts"},
    {.name = "objective", .kind = CLI_SETTING, .at = AT(preference.objective)},
    {.name = "beta", .kind = CLI_SETTING, .at = AT(preference.beta)},
    {.name = "gamma", .kind = CLI_SETTING, .at = AT(preference.gamma)},
    {.name = "label-smoothing", .kind = CLI_SETTING, .at = AT(preference.label_smoothing)},
    {.name = "reference", .kind = CLI_STRING, .at = AT(reference), .value = "PATH", .help = "dpo: against this adapter, not the base"},
    {0},
};

static json_t *result_json(const ar_eval_result *r) {
    json_t *j = json_pack("{s:o, s:o, s:o, s:o}", "alpha", r->has_alpha ? cli_json_real(r->alpha) : json_null(), "scale",
                          cli_json_real(r->scale), "scale_most", cli_json_real(r->scale_most), "loss", cli_json_real(r->loss));
    json_t *rest = r->pairs ? json_pack("{s:o, s:o, s:I}", "margin", cli_json_real(r->margin), "accuracy", cli_json_real(r->accuracy),
                                        "pairs", (json_int_t)r->pairs)
                            : json_pack("{s:o}", "perplexity", cli_json_real(r->perplexity));
    json_t *counts = json_pack("{s:I, s:I}", "tokens", (json_int_t)r->tokens, "supervised", (json_int_t)r->supervised);
    bool ok = j && rest && counts && !json_object_update(j, rest) && !json_object_update(j, counts);
    json_decref(rest);
    json_decref(counts);
    if (ok) return j;
    json_decref(j);
    return NULL;
}

static json_t *to_json(const ar_eval_result *r, int count) {
    json_t *list = json_array();
    for (int i = 0; list && i < count; i++) {
        if (json_array_append_new(list, result_json(&r[i])) == 0) continue;
        json_decref(list);
        list = NULL;
    }
    return list ? json_pack("{s:o}", "results", list) : NULL;
}

static void print_table(const ar_eval_result *r, int count) {
    bool pairs = r->pairs > 0;
    printf("%10s %10s %12s ", "alpha", "s", "loss");
    puts(pairs ? "      margin     accuracy        pairs" : "  perplexity   supervised");
    for (int i = 0; i < count; i++) {
        char alpha[40] = "-", scale[60];
        if (r[i].has_alpha) snprintf(alpha, sizeof alpha, "%.6g", r[i].alpha);
        int n = snprintf(scale, sizeof scale, "%.6g", r[i].scale);
        if (r[i].scale_most != r[i].scale) snprintf(scale + n, sizeof scale - (size_t)n, " to %.6g", r[i].scale_most);
        printf("%10s %10s %12.6f ", alpha, scale, r[i].loss);
        if (pairs)
            printf("%12.6f %12.4f %12lld\n", r[i].margin, r[i].accuracy, (long long)r[i].pairs);
        else
            printf("%12.4f %12lld\n", r[i].perplexity, (long long)r[i].supervised);
    }
}

static int evaluate(cli *c, const cli_args *args, const ar_eval_options *o) {
    ar_session_options so = {.adapter_options = {.has_alpha = o->alphas != NULL, .alpha = o->alphas ? o->alphas[0] : 0}};
    ar_session *session;
    ar_runtime *rt;
    ar_error err;
    int code = cli_session_open(&session, &rt, c, args, &so), count = o->count ? o->count : 1;
    if (code) return code;
    ar_eval_result *results = calloc((size_t)count, sizeof *results);
    if (!results) {
        code = cli_fail_memory(c);
    } else if (ar_eval(results, session, o, &err)) {
        code = cli_fail(c, &err);
    } else if (c->json) {
        code = cli_print_json(c, to_json(results, count));
    } else {
        print_table(results, count);
        code = cli_finish(c);
    }
    free(results);
    cli_session_close(session, rt);
    return code;
}

static int run(cli *c, const cli_args *args) {
    const struct values *v = args->values;
    const char *text = v->alpha ? v->alpha : v->scale, *option = v->alpha ? "--alpha" : "--scale";
    double *numbers = NULL;
    size_t count = 0;
    ar_eval_options o;
    if (v->alpha && v->scale) return cli_fail_usage(c, "found --alpha and --scale, wanted one of them");
    if (text && !v->session.adapter.count) return cli_fail_usage(c, "%s: wanted --adapter with it", option);
    int code = text ? cli_parse_numbers(&numbers, &count, c, option, text) : CLI_OK;
    if (code) return code;
    ar_eval_options_init(&o);
    o.data.files = v->data;
    o.map = v->map;
    o.ignore_fields = v->ignore_fields;
    o.max_length = v->max_length;
    o.pack = v->pack;
    o.train_on = cli_train_on(v->train_on);
    o.chat_for_pairs = v->session.chat_template != NULL;
    o.skip_bad = v->skip_bad;
    o.preference = v->preference;
    o.preference.gamma_given = cli_given(args, "gamma");
    o.reference = v->reference;
    o.alphas = v->alpha ? numbers : NULL;
    o.scales = v->scale ? numbers : NULL;
    o.count = (int)count;
    code = evaluate(c, args, &o);
    free(numbers);
    return code;
}

const cli_command cli_eval = {
    .name = "eval",
    .summary = "Measures the loss on a file, at one alpha or at several.",
    .usage = "alphar eval --model FOLDER [--adapter PATH] --data FILE.jsonl [--alpha LIST | --scale LIST]",
    .example = "alphar eval --model demo/base --adapter my-adapter --data demo/task/eval.jsonl --alpha 0,8,16,32",
    .options = options,
    .borrows = options,
    .shared = cli_session_options,
    .values_size = sizeof(struct values),
    .run = run,
};
