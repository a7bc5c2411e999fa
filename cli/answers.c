#include "answers.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int fail(cli *c, const char *code, const char *format, ...) {
    char message[700];
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    return cli_fail_code(c, CLI_FAILED, code, message);
}

/* FNV-1a, 64 bits. */
static int name_run(cli_answers *a, const json_t *settings) {
    char *text = json_dumps(settings, JSON_COMPACT | JSON_SORT_KEYS);
    uint64_t h = UINT64_C(14695981039346656037);
    for (const char *s = text; s && *s; s++) h = (h ^ (unsigned char)*s) * UINT64_C(1099511628211);
    snprintf(a->run, sizeof a->run, "%016" PRIx64, h);
    free(text);
    return text != NULL;
}

static bool is_answer(const json_t *line) {
    return json_is_string(json_object_get(line, "run")) && json_is_string(json_object_get(line, "prompt")) &&
           json_is_string(json_object_get(line, "text"));
}

/* Whether the n-th line (from 0) is the answer that this run would have written there. */
static int check_line(const cli_answers *a, cli *c, const char *text, int n, const char *const *prompts, int count) {
    json_t *line = json_loads(text, JSON_ALLOW_NUL, NULL);
    const char *run = json_string_value(json_object_get(line, "run")), *prompt = json_string_value(json_object_get(line, "prompt"));
    int code = CLI_OK;
    if (!is_answer(line))
        code =
            fail(c, "exists", "%.400s:%d: no answer of an earlier run, wanted a new file; --overwrite replaces this one", a->path, n + 1);
    else if (strcmp(run, a->run) != 0)
        code =
            fail(c, "mismatch",
                 "%.400s:%d: was answered with other settings (adapter, alpha, sampling, …), wanted the same or another file; --overwrite "
                 "replaces this one",
                 a->path, n + 1);
    else if (n >= count || strcmp(prompt, prompts[n]) != 0)
        code =
            fail(c, "mismatch", "%.400s:%d: answers another prompt, wanted the same prompts or another file; --overwrite replaces this one",
                 a->path, n + 1);
    json_decref(line);
    return code;
}

/* A line that was cut short is ours if it begins as ours do. */
static bool is_ours(const cli_answers *a, const char *text, size_t n) {
    char begin[40];
    size_t size = (size_t)snprintf(begin, sizeof begin, "{\"run\":\"%s\",", a->run);
    return !memcmp(text, begin, n < size ? n : size);
}

static int check_lines(cli_answers *a, cli *c, const char *const *prompts, int count) {
    char *text = NULL;
    size_t room = 0;
    long whole = 0;
    int code = CLI_OK;
    for (ssize_t n; !code && (n = getline(&text, &room, a->file)) > 0;) {
        if (text[n - 1] != '\n') {
            if (!is_ours(a, text, (size_t)n)) code = check_line(a, c, text, a->done, prompts, count);
            break;
        }
        code = check_line(a, c, text, a->done, prompts, count);
        if (!code) a->done++, whole = ftell(a->file);
    }
    free(text);
    if (!code && (ferror(a->file) || ftruncate(fileno(a->file), whole) || fseek(a->file, 0, SEEK_END)))
        code = fail(c, "io", "%.500s: %s", a->path, strerror(errno));
    return code;
}

/* One run at a time writes. */
static int open_file(cli_answers *a, cli *c, bool overwrite) {
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    struct stat st;
    a->file = fopen(a->path, "a+");
    if (!a->file) return fail(c, "io", "%.500s: %s", a->path, strerror(errno));
    if (fstat(fileno(a->file), &st) || !S_ISREG(st.st_mode))
        return fail(c, "io", "%.500s: no ordinary file, wanted one that can be read again; without --out answers go to stdout", a->path);
    if (fcntl(fileno(a->file), F_SETLK, &lock) && (errno == EACCES || errno == EAGAIN))
        return fail(c, "busy", "%.500s: another run writes here", a->path);
    if (overwrite && ftruncate(fileno(a->file), 0)) return fail(c, "io", "%.500s: %s", a->path, strerror(errno));
    rewind(a->file);
    return CLI_OK;
}

int cli_answers_open(cli_answers *out, cli *c, const char *path, bool overwrite, const json_t *settings, const char *const *prompts,
                     int count) {
    *out = (cli_answers){.path = path};
    if (!settings || !name_run(out, settings)) return cli_fail_memory(c);
    int code = open_file(out, c, overwrite);
    return code ? code : check_lines(out, c, prompts, count);
}

int cli_answers_add(cli_answers *a, cli *c, const char *prompt, json_t *answer) {
    json_t *line = json_pack("{s:s, s:s}", "run", a->run, "prompt", prompt);
    char *text = line && answer && !json_object_update(line, answer) ? json_dumps(line, JSON_COMPACT) : NULL;
    bool made = text != NULL, ok = made && fprintf(a->file, "%s\n", text) > 0 && !fflush(a->file);
    free(text);
    json_decref(line);
    json_decref(answer);
    if (!made) return cli_fail_memory(c);
    return ok ? CLI_OK : fail(c, "io", "%.500s: %s", a->path, strerror(errno));
}

int cli_answers_close(cli_answers *a, cli *c, int code) {
    if (a->file && fclose(a->file) && !code) code = fail(c, "io", "%.500s: %s", a->path, strerror(errno));
    a->file = NULL;
    return code;
}
