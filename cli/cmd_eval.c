/* alphar eval: the loss over a file, at one alpha or at several. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "alphar/tune.h"
#include "commands.h"
#include "lists.h"
#include "ranks.h"
#include "session.h"

struct values {
    struct session_values session;
    ar_texts data;
    const char *map, *ignore_fields, *alpha, *scale;
    int max_length, train_on;
    bool pack, skip_bad;
    const char *reference;
    ar_preference preference;
    ar_texts retention;
    double max_forgetting;
    bool refine, overwrite;
    const char *write_best;
};
#define AT(member) offsetof(struct values, member)

static cli_option options[] = {
    CLI_SESSION_QUANTIZE(AT(session.quantize)),
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
    {.name = "retention",
     .kind = CLI_LIST,
     .at = AT(retention),
     .value = "FILE",
     .help = "with a list: samples that should not be forgotten"},
    {.name = "max-forgetting",
     .kind = CLI_NUMBER,
     .at = AT(max_forgetting),
     .value = "F",
     .max = 1e6,
     .help = "the best is one whose loss there is at most 1+F times that at 0"},
    {.name = "refine", .kind = CLI_FLAG, .at = AT(refine), .about = "look closer around the best of the list"},
    {.name = "write-best",
     .kind = CLI_STRING,
     .at = AT(write_best),
     .value = "OUT",
     .about = "write the adapter at the best one, as a PEFT folder"},
    {.name = "overwrite",
     .kind = CLI_FLAG,
     .at = AT(overwrite),
     .help = "look closer; write the adapter at the best",
     .about = "OUT may exist"},
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

static void print_result(const ar_eval_result *r) {
    char scale[60];
    int n = snprintf(scale, sizeof scale, "%.6g", r->scale);
    if (r->scale_most != r->scale) snprintf(scale + n, sizeof scale - (size_t)n, " to %.6g", r->scale_most);
    printf("loss %.6f", r->loss);
    if (r->pairs)
        printf(", margin %.4f, accuracy %.4f over %lld pairs", r->margin, r->accuracy, (long long)r->pairs);
    else
        printf(", perplexity %.4f over %lld supervised tokens", r->perplexity, (long long)r->supervised);
    if (r->scale != 0 || r->has_alpha) printf("; s %s", scale);
    if (r->has_alpha) printf(", alpha %.6g", r->alpha);
    putchar('\n');
}

static int one(cli *c, ar_session *session, const ar_eval_options *o) {
    ar_eval_result r;
    ar_error err;
    if (ar_eval(&r, session, o, &err)) return cli_fail(c, &err);
    if (cli_helps(c)) return CLI_OK;
    bool more;
    int code = cli_keep_result(&more, c, json_pack("{s:[o]}", "results", result_json(&r)));
    if (!more) return code;
    print_result(&r);
    return cli_finish(c);
}

/* ---- a list --------------------------------------------------------------------------------------------------------- */

static json_t *points_json(const ar_strength_point *p, int count, bool retention) {
    json_t *list = json_array();
    for (int i = 0; list && i < count; i++)
        if (json_array_append_new(list, result_json(retention ? &p[i].retention : &p[i].task))) {
            json_decref(list);
            list = NULL;
        }
    return list;
}

static json_t *best_json(const ar_strengths *s) {
    const ar_eval_result *r = s->best < 0 ? NULL : &s->points[s->best].task;
    if (!r) return json_null();
    return json_pack("{s:o, s:o, s:o}", "scale", cli_json_real(r->scale), "alpha", r->has_alpha ? cli_json_real(r->alpha) : json_null(),
                     "loss", cli_json_real(r->loss));
}

static json_t *list_json(const ar_strengths *s, const struct values *v, bool bounded) {
    json_t *j = json_pack("{s:o, s:o}", "results", points_json(s->points, s->given, false), "best", best_json(s));
    bool ok = j != NULL;
    if (ok && v->refine) ok = !json_object_set_new(j, "refined", points_json(s->points + s->given, s->count - s->given, false));
    if (ok && s->at_zero_known)
        ok = !json_object_set_new(j, "retention", points_json(s->points, s->given, true)) &&
             !json_object_set_new(j, "retention_at_zero", cli_json_real(s->at_zero.loss));
    if (ok && bounded) ok = !json_object_set_new(j, "max_forgetting", cli_json_real(v->max_forgetting));
    if (ok && s->at_zero_known && v->refine)
        ok = !json_object_set_new(j, "refined_retention", points_json(s->points + s->given, s->count - s->given, true));
    if (ok) return j;
    json_decref(j);
    return NULL;
}

/* A bar of eighths, `share` of BAR columns long, and text behind it. */
static void print_bar(double share, const char *behind) {
    enum { BAR = 18 };
    static const char *const eighth[] = {"", "▏", "▎", "▍", "▌", "▋", "▊", "▉"};
    int n = (int)(share * BAR * 8 + 0.5), full = n / 8;
    for (int i = 0; i < full; i++) fputs("█", stdout);
    fputs(eighth[n % 8], stdout);
    if (*behind) printf("%*s %s", BAR - full - (n % 8 > 0), "", behind);
    putchar('\n');
}

/* The points in order of their strength, those that were refined among the others. */
static int by_value(const void *a, const void *b) {
    double x = (*(const ar_strength_point *const *)a)->value, y = (*(const ar_strength_point *const *)b)->value;
    return (x > y) - (x < y);
}

static void print_row(const ar_strengths *s, const ar_strength_point *p, double least, double most) {
    const ar_eval_result *r = &p->task;
    char alpha[40] = "-", scale[60];
    if (r->has_alpha) snprintf(alpha, sizeof alpha, "%.5g", r->alpha);
    snprintf(scale, sizeof scale, r->scale_most != r->scale ? "%.4g…%.4g" : "%.5g", r->scale, r->scale_most);
    printf("%8s %8s %10.5f ", alpha, scale, r->loss);
    if (s->at_zero_known) {
        double change = p->retention.loss / s->at_zero.loss - 1.0;
        printf("%10.5f %+7.2f %% ", p->retention.loss, fabs(change) < 5e-5 ? 0.0 : 100.0 * change);
    }
    if (r->pairs) printf("%9.4f %8.4f ", r->margin, r->accuracy);
    bool best = s->best >= 0 && p == &s->points[s->best];
    print_bar(most > least ? (r->loss - least) / (most - least) : 0.0, best ? "best" : p->allowed ? "" : "forgets");
}

static int print_list(cli *c, const ar_strengths *s) {
    const ar_strength_point **order = calloc((size_t)s->count, sizeof(const ar_strength_point *));
    double least = INFINITY, most = -INFINITY;
    if (!order) return cli_fail_memory(c);
    for (int i = 0; i < s->count; i++) {
        order[i] = &s->points[i];
        least = fmin(least, s->points[i].task.loss);
        most = fmax(most, s->points[i].task.loss);
    }
    qsort(order, (size_t)s->count, sizeof(const ar_strength_point *), by_value);
    printf("%8s %8s %10s", "alpha", "s", "loss");
    if (s->at_zero_known) printf(" %10s %9s", "retention", "change");
    if (s->points[0].task.pairs) printf(" %9s %8s", "margin", "accuracy");
    putchar('\n');
    for (int i = 0; i < s->count; i++) print_row(s, order[i], least, most);
    free(order);
    const ar_eval_result *r = &s->points[0].task;
    if (r->pairs)
        printf("over %lld pairs", (long long)r->pairs);
    else
        printf("over %lld supervised tokens", (long long)r->supervised);
    if (s->at_zero_known) printf("; retention over %lld, %.5f without the adapter", (long long)s->at_zero.supervised, s->at_zero.loss);
    putchar('\n');
    return cli_finish(c);
}

static int write_best(cli *c, ar_session *session, const ar_strengths *s, const struct values *v) {
    ar_error err;
    if (s->best < 0) {
        ar_error none = {.status = AR_ERR_VALUE};
        snprintf(none.message, sizeof none.message,
                 "--write-best: nothing is written, since each of these forgets more than --max-forgetting %g; try smaller ones",
                 v->max_forgetting);
        return cli_fail(c, &none);
    }
    double value = s->points[s->best].value;
    if (ar_session_write_adapter(session, v->write_best, v->alpha != NULL, value, v->overwrite, &err)) return cli_fail(c, &err);
    if (!c->json && !c->quiet) printf("%s: the adapter at %s %g\n", v->write_best, v->alpha ? "alpha" : "s =", value);
    return CLI_OK;
}

static int many(cli *c, ar_session *session, const ar_eval_options *o, const struct values *v, bool bounded) {
    ar_strengths_options so = {.eval = *o,
                               .retention.files = v->retention,
                               .has_max_forgetting = bounded,
                               .max_forgetting = v->max_forgetting,
                               .refine = v->refine};
    ar_strengths s;
    ar_error err;
    int code = ar_eval_strengths(&s, session, &so, &err) ? cli_fail(c, &err) : CLI_OK;
    bool more = false, none = v->write_best && s.best < 0;
    if (cli_helps(c)) {
        ar_strengths_release(&s);
        return code;
    }
    if (!code && none && !c->json) code = print_list(c, &s); /* what there was to choose from, before the error */
    if (!code && v->write_best) code = write_best(c, session, &s, v);
    if (!code) code = cli_keep_result(&more, c, list_json(&s, v, bounded));
    if (more) code = print_list(c, &s);
    ar_strengths_release(&s);
    return code;
}

/* Before work that takes time. */
static int check_list(cli *c, const cli_args *args, const struct values *v, bool list) {
    static const char *const with_list[] = {"retention", "max-forgetting", "refine", "write-best"};
    if (v->alpha && v->scale) return cli_fail_usage(c, "found --alpha and --scale, wanted one of them");
    for (size_t i = 0; !list && i < sizeof with_list / sizeof *with_list; i++)
        if (cli_given(args, with_list[i])) return cli_fail_usage(c, "--%s: wanted --alpha LIST or --scale LIST with it", with_list[i]);
    if (v->overwrite && !v->write_best) return cli_fail_usage(c, "--overwrite: wanted --write-best with it");
    if (cli_given(args, "max-forgetting") && !v->retention.count) return cli_fail_usage(c, "--max-forgetting: wanted --retention with it");
    ar_error err;
    if (v->write_best && !cli_helps(c) && ar_session_check_folder(v->write_best, v->overwrite, &err)) return cli_fail(c, &err);
    if (list && !v->session.adapter.count) return cli_fail_usage(c, "%s: wanted --adapter with it", v->alpha ? "--alpha" : "--scale");
    return CLI_OK;
}

static int evaluate(cli *c, const cli_args *args, const ar_eval_options *o) {
    const struct values *v = args->values;
    ar_session_options so = {.adapter_options = {.has_alpha = o->alphas != NULL, .alpha = o->alphas ? o->alphas[0] : 0}};
    ar_session *session;
    ar_runtime *rt;
    int code = cli_session_open(&session, &rt, c, args, &so);
    if (code) return code;
    code = o->alphas || o->scales ? many(c, session, o, v, cli_given(args, "max-forgetting")) : one(c, session, o);
    cli_session_close(session, rt);
    return code;
}

static int run(cli *c, const cli_args *args) {
    const struct values *v = args->values;
    const char *text = v->alpha ? v->alpha : v->scale, *option = v->alpha ? "--alpha" : "--scale";
    double *numbers = NULL;
    size_t count = 0;
    ar_eval_options o;
    int code = check_list(c, args, v, text != NULL);
    if (code) return code;
    code = text ? cli_parse_numbers(&numbers, &count, c, option, text) : CLI_OK;
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
    o.ranks = c->ranks;
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
    .shares = true,
    .run = run,
};
