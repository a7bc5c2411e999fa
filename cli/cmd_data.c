/* alphar data: what training would see. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "alphar/data.h"
#include "alphar/tokenizer.h"
#include "commands.h"
#include "lists.h"

struct values {
    cli_common common;
    const char *model, *chat_template, *map, *ignore_fields;
    ar_texts data;
    int train_on, max_length;
    bool skip_bad;
    int64_t show;
};
#define AT(member) offsetof(struct values, member)

static cli_option options[] = {
    {.name = "model",
     .kind = CLI_SETTING,
     .at = AT(model),
     .flags = CLI_REQUIRED,
     .help = "the base that is to be trained, or its tokenizer"},
    {.name = "data", .kind = CLI_SETTING, .at = AT(data), .value = "FILE", .flags = CLI_REQUIRED, .help = "samples, as for train; repeat"},
    {.name = "template", .kind = CLI_SETTING, .at = AT(chat_template)},
    {.name = "train-on", .kind = CLI_SETTING, .at = AT(train_on), .help = "what is learned"},
    {.name = "max-length", .kind = CLI_SETTING, .at = AT(max_length), .help = "tokens kept of a sample"},
    {.name = "map", .kind = CLI_SETTING, .at = AT(map), .help = "names of fields that are known by others"},
    {.name = "ignore-fields", .kind = CLI_SETTING, .at = AT(ignore_fields), .help = "fields that are meant to be left out"},
    {.name = "skip-bad", .kind = CLI_SETTING, .at = AT(skip_bad), .help = "leave bad lines out, and count them"},
    {.name = "show",
     .kind = CLI_INT,
     .at = AT(show),
     .value = "N",
     .initial = "0",
     .max = 1 << 30,
     .shown = "2; with --json all",
     .help = "samples to show"},
    {0},
};

enum { BARS = 10, LONGEST_BAR = 40 };

enum { DROPPED, CUT, SAME, BOS, JOINS, ODD_KINDS };

/* Where something was met first. */
struct first {
    char file[200];
    size_t line; /* 0: nowhere */
};

struct looking {
    cli *c;
    const struct values *v;
    ar_tokenizer *tk;
    FILE *json; /* the samples, until all is well */
    int64_t shown;
    bool show_given, failed;
    enum { BRACKETS, BOLD, GREEN } style; /* of what is learned */
    uint32_t *length;                     /* of every sample */
    struct first first[ODD_KINDS];
    size_t bad;
    size_t count, cap;
};

/* ---- one sample ------------------------------------------------------------------------------------------------------*/

static bool keep_length(struct looking *l, size_t n) {
    if (l->count == l->cap) {
        size_t cap = l->cap ? 2 * l->cap : 1024;
        uint32_t *grown = realloc(l->length, cap * sizeof *grown);
        if (!grown) return false;
        l->length = grown;
        l->cap = cap;
    }
    l->length[l->count++] = n < UINT32_MAX ? (uint32_t)n : UINT32_MAX;
    return true;
}

static json_t *flags(const uint8_t *learned, size_t n) {
    json_t *a = json_array();
    for (size_t i = 0; a && i < n; i++) json_array_append_new(a, json_integer(learned[i]));
    return a;
}

static bool write_sample(struct looking *l, const ar_look_sample *s) {
    json_t *j = json_pack("{s:o, s:o, s:o, s:s, s:I}", "ids", cli_json_ids(s->ids, s->kept), "learned", flags(s->learned, s->kept), "text",
                          cli_json_text(s->text, s->text_size), "file", s->file ? s->file : "", "line", (json_int_t)s->line);
    if (j && s->half) json_object_set_new(j, "half", json_string(s->half));
    bool ok = j && (!l->shown || fputs(", ", l->json) >= 0) && !json_dumpf(j, l->json, JSON_COMPACT);
    json_decref(j);
    return ok;
}

static void print_text(const char *text, size_t n) {
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c < ' ' && c != '\n' && c != '\t')
            printf("\\x%02x", c); /* nothing of the data reaches the terminal as a command */
        else
            putchar(c);
    }
}

/* Runs of tokens that are learned, and that are not, each in its own way. */
static void print_tokens(const struct looking *l, const ar_look_sample *s) {
    static const char *const marks[][2] = {{"[[", "]]"}, {"\033[1m", "\033[0m"}, {"\033[32m", "\033[0m"}};
    const char *const *mark = marks[l->style];
    size_t n = s->kept ? s->kept : s->count;
    for (size_t from = 0, to; from < n; from = to) {
        char *text;
        size_t size;
        bool learned = s->learned[from];
        for (to = from; to < n && s->learned[to] == s->learned[from];) to++;
        if (ar_tokenizer_decode(&text, &size, l->tk, s->ids + from, to - from, false, NULL)) continue;
        if (learned) fputs(mark[0], stdout);
        print_text(text, size);
        if (learned) fputs(mark[1], stdout);
        free(text);
    }
    if (s->kept && s->kept < s->count) printf(" …cut, %zu tokens more", s->count - s->kept);
    putchar('\n');
}

static void print_sample(const struct looking *l, const ar_look_sample *s) {
    size_t learned = 0;
    for (size_t i = 0; i < (s->kept ? s->kept : s->count); i++) learned += s->learned[i];
    const char *dropped = s->half ? ", DROPPED: nothing is left to learn in this pair" : ", DROPPED: nothing is left to learn";
    printf("%s:%zu: %s%s%zu tokens, %zu learned%s%s%s\n", s->file ? s->file : "samples", s->line, s->half ? s->half : "",
           s->half ? ", " : "", s->count, learned, s->kept ? "" : dropped, s->same ? ", the same as one before" : "",
           s->joins ? ", a token of the prompt takes a part of the answer" : "");
    print_tokens(l, s);
    putchar('\n');
}

static void note(struct first *f, bool met, const ar_look_sample *s) {
    if (!met || f->line) return;
    f->line = s->line;
    snprintf(f->file, sizeof f->file, "%s", s->file ? s->file : "samples");
}

static bool look(void *user, const ar_look_sample *s) {
    struct looking *l = user;
    note(&l->first[DROPPED], !s->kept, s);
    note(&l->first[CUT], s->kept && s->kept < s->count, s);
    note(&l->first[SAME], s->same, s);
    note(&l->first[BOS], s->bos_twice, s);
    note(&l->first[JOINS], s->joins, s);
    int64_t most = l->show_given ? l->v->show : l->json ? INT64_MAX : 2;
    if (!keep_length(l, s->count)) l->failed = true;
    if (l->shown < most && (!l->json || s->kept)) {
        if (l->json && !write_sample(l, s)) l->failed = true;
        if (!l->json) print_sample(l, s);
        l->shown++;
    }
    return !l->failed;
}

/* ---- all of them -----------------------------------------------------------------------------------------------------*/

static int by_length(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

/* A round width with which at most BARS bars reach from the shortest to the longest. */
static size_t bar_width(size_t shortest, size_t longest) {
    static const size_t steps[] = {1, 2, 5};
    for (size_t unit = 1;; unit *= 10)
        for (int i = 0; i < 3; i++)
            if (longest / (unit * steps[i]) - shortest / (unit * steps[i]) < BARS) return unit * steps[i];
}

static size_t percentile(const struct looking *l, size_t percent) { return l->length[(l->count - 1) * percent / 100]; }

static void print_lengths(struct looking *l, int max_length) {
    size_t count[BARS] = {0}, most = 0;
    if (!l->count) return;
    qsort(l->length, l->count, sizeof *l->length, by_length);
    size_t shortest = l->length[0], longest = l->length[l->count - 1], width = bar_width(shortest, longest);
    size_t first = shortest / width, last = longest / width;
    for (size_t i = 0; i < l->count; i++) {
        size_t *bar = &count[l->length[i] / width - first];
        if (++*bar > most) most = *bar;
    }
    printf("tokens a sample: median %zu, 9 of 10 up to %zu, longest %zu\n", percentile(l, 50), percentile(l, 90), longest);
    for (size_t k = first; k <= last; k++) {
        size_t from = k * width, n = (count[k - first] * LONGEST_BAR + most - 1) / most;
        printf("%7zu–%-7zu %7zu ", from, from + width - 1, count[k - first]);
        for (size_t i = 0; i < n; i++) fputs("█", stdout);
        puts((size_t)max_length >= from && (size_t)max_length < from + width ? "  ← --max-length" : "");
    }
}

static void count_line(size_t n, const char *what, const struct first *f) {
    if (n) printf(f && f->line ? "%8zu %s (the first: %s:%zu)\n" : "%8zu %s\n", n, what, f ? f->file : "", f ? f->line : 0);
}

static void print_summary(struct looking *l, const ar_look_summary *m) {
    double share = m->tokens ? 100.0 * (double)m->supervised / (double)m->tokens : 0;
    printf("%8zu rows, read as %s\n%8zu tokens, %zu of them learned (%.1f %%), --max-length %d\n", m->rows, m->form, m->tokens,
           m->supervised, share, m->max_length);
    count_line(m->bad, "bad rows left out", NULL);
    count_line(m->dropped, "dropped: nothing is left to learn", &l->first[DROPPED]);
    count_line(m->cut, "cut at --max-length", &l->first[CUT]);
    count_line(m->same, "the same as one before", &l->first[SAME]);
    count_line(m->bos_twice, "with two BOS", &l->first[BOS]);
    count_line(m->joins, "where a token of the prompt takes a part of the answer: end prompts with a newline", &l->first[JOINS]);
    count_line(m->rewritten, "answers not learned, since the template drops a part of them once others follow", NULL);
    count_line(m->empty, "empty answers", NULL);
    count_line(m->unwritten, "messages of which the template writes nothing", NULL);
    print_lengths(l, m->max_length);
}

static void warn(cli *c, const ar_look_summary *m, ar_train_on on) {
    if (m->tokens && m->supervised * 200 < m->tokens) cli_log(c, AR_LOG_WARNING, "under 1 token in 200 is learned: is it what you want?");
    if (on != AR_TRAIN_ON_ALL && strcmp(m->form, "text") != 0 && m->supervised + (m->rows - m->bad - m->dropped) + m->pairs >= m->tokens)
        cli_log(c, AR_LOG_WARNING, "everything is learned, prompts too: is it what you want?");
}

static json_t *to_json(const ar_look_summary *m) {
    return json_pack("{s:I, s:I, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:i}", "rows", (json_int_t)m->rows, "pairs",
                     (json_int_t)m->pairs, "form", m->form, "tokens", (json_int_t)m->tokens, "supervised", (json_int_t)m->supervised, "bad",
                     (json_int_t)m->bad, "dropped", (json_int_t)m->dropped, "cut", (json_int_t)m->cut, "same", (json_int_t)m->same,
                     "bos_twice", (json_int_t)m->bos_twice, "joins", (json_int_t)m->joins, "rewritten", (json_int_t)m->rewritten, "longest",
                     (json_int_t)m->longest, "max_length", m->max_length);
}

/* {"samples": […], "rows": …}: the samples from where they were kept. */
static int print_json(struct looking *l, const ar_look_summary *m) {
    json_t *rest = to_json(m);
    char *text = rest ? json_dumps(rest, 0) : NULL, block[65536];
    size_t n;
    json_decref(rest);
    if (!text) return cli_fail_memory(l->c);
    fputs("{\"samples\": [", stdout);
    rewind(l->json);
    while ((n = fread(block, 1, sizeof block, l->json)) > 0) fwrite(block, 1, n, stdout);
    printf("], %s\n", text + 1);
    free(text);
    return cli_finish(l->c);
}

/* Every bad line is shown, as the error that train would end with; they are passed over with --skip-bad alone. */
static void tell_bad(void *user, const ar_error *error) {
    enum { MOST = 50 };
    struct looking *l = user;
    if (l->bad++ < MOST) cli_log(l->c, AR_LOG_WARNING, error->message);
}

static int finish(struct looking *l, const ar_look_summary *m) {
    warn(l->c, m, cli_train_on(l->v->train_on));
    if (l->json) return print_json(l, m);
    print_summary(l, m);
    int code = cli_finish(l->c);
    return code || l->v->skip_bad || !m->bad ? code : CLI_FAILED;
}

/* Whether stdout takes escape sequences. */
static bool is_screen(void) {
    const char *term = getenv("TERM");
    return isatty(STDOUT_FILENO) && term && strcmp(term, "dumb") != 0;
}

static int run(cli *c, const cli_args *args) {
    const struct values *v = args->values;
    struct looking l = {.c = c,
                        .v = v,
                        .show_given = cli_given(args, "show"),
                        .style = !is_screen()         ? BRACKETS
                                 : getenv("NO_COLOR") ? BOLD
                                                      : GREEN};
    ar_look_options o = {.model = v->model,
                         .files = v->data,
                         .chat_template = v->chat_template,
                         .map = v->map,
                         .ignore_fields = v->ignore_fields,
                         .train_on = cli_train_on(v->train_on),
                         .max_length = v->max_length,
                         .threads = (int)v->common.threads,
                         .seed = (uint64_t)v->common.seed,
                         .skip_bad = v->skip_bad || !c->json,
                         .on_sample = look,
                         .on_bad = c->json ? NULL : tell_bad,
                         .user = &l,
                         .log = cli_log,
                         .log_user = c};
    ar_look_summary m;
    ar_error err;
    if (ar_tokenizer_open(&l.tk, v->model, &err)) return cli_fail(c, &err);
    l.json = c->json ? tmpfile() : NULL;
    int code = ar_data_look(&m, &o, &err) ? cli_fail(c, &err) : l.failed || (c->json && !l.json) ? cli_fail_memory(c) : finish(&l, &m);
    if (l.json) fclose(l.json);
    free(l.length);
    ar_tokenizer_free(l.tk);
    return code;
}

const cli_command cli_data = {
    .name = "data",
    .summary = "Shows what training would see: samples, what of them is learned, and what is odd.",
    .usage = "alphar data --model FOLDER --data FILE [--template T] [--train-on assistant|last|all] [--show N]",
    .example = "alphar data --model demo/base --data demo/task/train.jsonl",
    .options = options,
    .borrows = options,
    .values_size = sizeof(struct values),
    .run = run,
};
