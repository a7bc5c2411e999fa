/* alphar score: the log-probability of every token of a text. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "commands.h"
#include "lists.h"
#include "session.h"

struct values {
    struct session_values session;
    const char *text, *ids, *logits;
    double scale, alpha;
};
#define AT(member) offsetof(struct values, member)

static cli_option options[] = {
    CLI_SESSION_QUANTIZE(AT(session.quantize)),
    {.name = "text", .kind = CLI_STRING, .at = AT(text), .value = "T", .help = "encoded as the tokenizer does, BOS included"},
    {.name = "ids", .kind = CLI_STRING, .at = AT(ids), .value = "1,2,3", .flags = CLI_COMMAS, .help = "taken as they are"},
    {.name = "scale", .kind = CLI_NUMBER, .at = AT(scale), .value = "S", .about = "s of every site"},
    {.name = "alpha",
     .kind = CLI_NUMBER,
     .at = AT(alpha),
     .value = "X",
     .help = "another strength of the adapter",
     .about = "alpha of every site"},
    {.name = "logits",
     .kind = CLI_STRING,
     .at = AT(logits),
     .value = "FILE.safetensors",
     .help = "also write `logits` f32 [tokens, vocabulary]"},
    {0},
};

static json_t *to_json(const int32_t *ids, const double *logprobs, size_t count) {
    json_t *list = json_array(), *id_list = cli_json_ids(ids, count);
    int bad = !list || !id_list;
    for (size_t i = 0; !bad && i + 1 < count; i++) bad = json_array_append_new(list, cli_json_real(logprobs[i]));
    if (!bad) return json_pack("{s:o, s:o}", "ids", id_list, "logprobs", list);
    json_decref(list);
    json_decref(id_list);
    return NULL;
}

static void print_table(const int32_t *ids, const double *logprobs, size_t count) {
    double sum = 0;
    for (size_t i = 0; i + 1 < count; i++) {
        printf("%8d %12.6f\n", ids[i + 1], logprobs[i]);
        sum += logprobs[i];
    }
    printf("   total %12.6f, mean loss %.6f over %zu tokens\n", sum, -sum / (double)(count - 1), count - 1);
}

static int score(cli *c, ar_session *session, const struct values *v, const int32_t *ids, size_t count) {
    ar_error err;
    int code;
    double *logprobs = calloc(count + 1, sizeof *logprobs);
    if (!logprobs) return cli_fail_memory(c);
    if (ar_score(logprobs, session, ids, count, v->logits, &err)) {
        code = cli_fail(c, &err);
    } else if (c->json) {
        code = cli_print_json(c, to_json(ids, logprobs, count));
    } else {
        print_table(ids, logprobs, count);
        code = cli_finish(c);
    }
    free(logprobs);
    return code;
}

static int score_text(cli *c, ar_session *session, const struct values *v) {
    ar_error err;
    ar_ids ids = {0};
    unsigned own = 0;
    ar_status s = ar_session_need_tokenizer(session, &err);
    if (!s) s = ar_tokenizer_encode_whole(&ids, &own, ar_session_tokenizer(session), v->text, strlen(v->text), &err);
    if (!s) cli_tell_own_ends(c, own);
    int code = s ? cli_fail(c, &err) : score(c, session, v, ids.id, ids.count);
    ar_ids_release(&ids);
    return code;
}

static int run(cli *c, const cli_args *args) {
    const struct values *v = args->values;
    bool has_scale = cli_given(args, "scale"), has_alpha = cli_given(args, "alpha");
    ar_session_options so = {.has_scale = has_scale, .has_alpha = has_alpha, .scale = v->scale, .alpha = v->alpha};
    ar_session *session;
    ar_runtime *rt;
    int32_t *ids = NULL;
    size_t count = 0;
    if (!v->text == !v->ids) return cli_fail_usage(c, "wanted exactly one of --text and --ids");
    if (has_scale && has_alpha) return cli_fail_usage(c, "found --scale and --alpha, wanted one of them");
    int code = v->ids ? cli_parse_ids(&ids, &count, c, "--ids", v->ids) : CLI_OK;
    if (!code) code = cli_session_open(&session, &rt, c, args, &so);
    if (!code) {
        code = v->ids ? score(c, session, v, ids, count) : score_text(c, session, v);
        cli_session_close(session, rt);
    }
    free(ids);
    return code;
}

const cli_command cli_score = {
    .name = "score",
    .summary = "Gives the log-probability of every token of a text.",
    .usage = "alphar score --model FOLDER [--adapter PATH] (--text T | --ids 1,2,3)",
    .example = "alphar score --model demo/base --text 'Once upon a time there was a fox.'",
    .options = options,
    .borrows = options,
    .shared = cli_session_options,
    .values_size = sizeof(struct values),
    .run = run,
};
