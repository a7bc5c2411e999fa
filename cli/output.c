#include "output.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "alphar/ranks.h"
#include "alphar/tokenizer.h"
#include "interrupt.h"

int cli_fail_code(cli *c, int exit_status, const char *code, const char *message) {
    ar_status status = exit_status == CLI_USAGE ? AR_ERR_USAGE : exit_status == CLI_INTERRUPTED ? AR_ERR_INTERRUPTED : AR_ERR_IO;
    ar_ranks_fail(c->ranks, status, message);
    bool silent = ar_ranks_index(c->ranks) > ar_ranks_is_lost(c->ranks); /* rank 0 speaks, of its own loss rank 1 */
    cli_interrupt_end();
    if (silent || c->ended) return exit_status;
    cli_progress_end(&c->progress);
    fprintf(stderr, "alphar: %s\n", message);
    if (!c->json) return exit_status;
    json_t *object = json_pack("{s:{s:s, s:s%}}", "error", "code", code, "message", message, strlen(message));
    if (!object) object = json_pack("{s:{s:s, s:s}}", "error", "code", code, "message", "the message is not UTF-8; it is on stderr");
    if (object) json_dumpf(object, stdout, JSON_COMPACT);
    json_decref(object);
    putchar('\n');
    fflush(stdout);
    return exit_status;
}

int cli_fail(cli *c, const ar_error *err) {
    int code = err->status == AR_ERR_INTERRUPTED ? CLI_INTERRUPTED : err->status == AR_ERR_USAGE ? CLI_USAGE : CLI_FAILED;
    return cli_fail_code(c, code, ar_status_name(err->status), err->message);
}

int cli_fail_usage(cli *c, const char *format, ...) {
    char message[1024];
    va_list ap;
    va_start(ap, format);
    int n = c->command ? snprintf(message, sizeof message, "%s: ", c->command->name) : 0;
    vsnprintf(message + n, sizeof message - (size_t)n, format, ap);
    va_end(ap);
    return cli_fail_code(c, CLI_USAGE, "usage", message);
}

int cli_fail_memory(cli *c) { return cli_fail_code(c, CLI_FAILED, ar_status_name(AR_ERR_MEMORY), "out of memory"); }

int cli_print_json(cli *c, json_t *object) {
    if (!object) return cli_fail_memory(c);
    int bad = json_dumpf(object, stdout, JSON_COMPACT | JSON_REAL_PRECISION(17));
    json_decref(object);
    if (bad) return cli_fail_code(c, CLI_FAILED, "io", "stdout: cannot write the result");
    putchar('\n');
    return cli_finish(c);
}

int cli_keep_result(bool *more, cli *c, json_t *object) {
    *more = !c->json && object;
    json_decref(c->result);
    c->result = object ? json_incref(object) : NULL;
    if (c->json || !object) return cli_print_json(c, object);
    json_decref(object);
    return CLI_OK;
}

int cli_finish(cli *c) {
    cli_progress_end(&c->progress);
    if (fflush(stdout) == 0 && !ferror(stdout)) return CLI_OK;
    char message[200];
    snprintf(message, sizeof message, "stdout: cannot write: %s", strerror(errno));
    return cli_fail_code(c, CLI_FAILED, "io", message);
}

json_t *cli_json_real(double x) { return isfinite(x) ? json_real(x) : json_null(); }

bool cli_json_holds(const json_t *array, const char *text) {
    for (size_t i = 0; i < json_array_size(array); i++) {
        const char *item = json_string_value(json_array_get(array, i));
        if (item && !strcmp(item, text)) return true;
    }
    return false;
}

json_t *cli_json_text(const char *text, size_t n) { return json_stringn(text, n); }

void cli_log(void *user, ar_log_level level, const char *line) {
    cli *c = user;
    if (ar_ranks_index(c->ranks) > 0) return; /* as rank 0 does */
    if (c->quiet && level != AR_LOG_WARNING) return;
    cli_progress_clear(&c->progress);
    fprintf(stderr, "%s%s\n", level == AR_LOG_WARNING ? "warning: " : "", line);
}

void cli_tell_own_ends(cli *c, unsigned own) {
    if (own & AR_TOKENIZE_OWN_BOS) cli_log(c, AR_LOG_INFO, "the text begins with the tokenizer's BOS; no second one is added");
    if (own & AR_TOKENIZE_OWN_EOS) cli_log(c, AR_LOG_INFO, "the text ends with the tokenizer's EOS; no second one is added");
}
