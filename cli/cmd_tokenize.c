/* alphar tokenize: text to ids, ids to text. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "alphar/tokenizer.h"
#include "commands.h"
#include "lists.h"
#include "output.h"

struct values {
    cli_common common;
    const char *model, *text, *file, *decode;
    bool special;
};
#define AT(member) offsetof(struct values, member)

static const cli_option options[] = {
    {.name = "model",
     .kind = CLI_STRING,
     .at = AT(model),
     .value = "PATH",
     .flags = CLI_REQUIRED,
     .help = "a folder, a tokenizer.json or a .model file"},
    {.name = "text", .kind = CLI_STRING, .at = AT(text), .value = "T", .help = "the text to encode"},
    {.name = "file", .kind = CLI_STRING, .at = AT(file), .value = "FILE", .help = "encode this file's whole text"},
    {.name = "decode", .kind = CLI_STRING, .at = AT(decode), .value = "IDS", .flags = CLI_COMMAS, .help = "the other way: 1,2,3 to text"},
    {.name = "special",
     .kind = CLI_FLAG,
     .at = AT(special),
     .initial = "true",
     .flags = CLI_NEGATABLE,
     .help = "BOS and EOS as the tokenizer adds them, each once"},
    {0},
};

/* The whole file; *n bytes.  NULL: errno says why. */
static char *read_file(size_t *n, const char *path) {
    FILE *f = fopen(path, "rb");
    if (!f) return NULL;
    size_t cap = 65536, got;
    char *data = malloc(cap);
    *n = 0;
    while (data && (got = fread(data + *n, 1, cap - *n, f)) > 0) {
        *n += got;
        if (*n < cap) continue;
        char *grown = cap > SIZE_MAX / 2 ? NULL : realloc(data, cap *= 2);
        if (!grown) free(data);
        data = grown;
    }
    int code = ferror(f) ? EIO : data ? 0 : ENOMEM;
    fclose(f);
    if (code) {
        free(data);
        errno = code;
        return NULL;
    }
    return data;
}

static int print(cli *c, const int32_t *ids, size_t count, const char *text, size_t n, bool decoded) {
    if (c->json) {
        json_t *array = cli_json_ids(ids, count), *string = cli_json_text(text, n);
        if (array && string) return cli_print_json(c, json_pack("{s:o, s:o}", "ids", array, "text", string));
        json_decref(array);
        json_decref(string);
        return cli_fail_memory(c);
    }
    if (decoded) fwrite(text, 1, n, stdout);
    for (size_t i = 0; !decoded && i < count; i++) printf(i ? " %d" : "%d", ids[i]);
    putchar('\n');
    return cli_finish(c);
}

static int encode(cli *c, const ar_tokenizer *tk, const struct values *v) {
    ar_error err;
    ar_ids ids = {0};
    size_t n = v->text ? strlen(v->text) : 0;
    char *read = v->file ? read_file(&n, v->file) : NULL;
    if (v->file && !read) {
        char message[600];
        snprintf(message, sizeof message, "%.500s: cannot read: %s", v->file, strerror(errno));
        return cli_fail_code(c, CLI_FAILED, "io", message);
    }
    const char *text = read ? read : v->text;
    unsigned own = 0;
    ar_status s = v->special ? ar_tokenizer_encode_whole(&ids, &own, tk, text, n, &err) : ar_tokenizer_encode(&ids, tk, text, n, 0, &err);
    if (!s) cli_tell_own_ends(c, own);
    int code = s ? cli_fail(c, &err) : print(c, ids.id, ids.count, text, n, false);
    ar_ids_release(&ids);
    free(read);
    return code;
}

static int decode(cli *c, const ar_tokenizer *tk, const struct values *v) {
    ar_error err;
    int32_t *ids;
    size_t count, n;
    char *text;
    int code = cli_parse_ids(&ids, &count, c, "--decode", v->decode);
    if (code) return code;
    if (ar_tokenizer_decode(&text, &n, tk, ids, count, !v->special, &err)) {
        code = cli_fail(c, &err);
    } else {
        code = print(c, ids, count, text, n, true);
        free(text);
    }
    free(ids);
    return code;
}

static int run(cli *c, const cli_args *args) {
    const struct values *v = args->values;
    ar_tokenizer *tk;
    ar_error err;
    if ((v->text != NULL) + (v->file != NULL) + (v->decode != NULL) != 1)
        return cli_fail_usage(c, "wanted exactly one of --text, --file and --decode");
    if (ar_tokenizer_open(&tk, v->model, &err)) return cli_fail(c, &err);
    int code = v->decode ? decode(c, tk, v) : encode(c, tk, v);
    ar_tokenizer_free(tk);
    return code;
}

const cli_command cli_tokenize = {
    .name = "tokenize",
    .summary = "Shows the token ids of a text, or the text of token ids.",
    .usage = "alphar tokenize --model PATH (--text T | --file FILE | --decode IDS)",
    .example = "alphar tokenize --model demo/base --text 'Once upon a time'",
    .options = options,
    .values_size = sizeof(struct values),
    .run = run,
};
