#include "data/parts.h"

#include <string.h>

#include "base/fail.h"

/* Longer lines are no samples; the bound keeps a file without newlines from being parsed as one tree. */
enum { MAX_LINE_BYTES = 256 << 20 };

#define ALPACA_TASK "Below is an instruction that describes a task"
#define ALPACA_WRITE " Write a response that appropriately completes the request.\n\n### Instruction:\n"

typedef struct field {
    const char *text;
    size_t size;
} field;

static bool has(const json_t *root, const char *name) {
    const json_t *v = json_object_get(root, name);
    return v && !json_is_null(v);
}

static const char *type_name(const json_t *v) {
    switch (json_typeof(v)) {
    case JSON_OBJECT: return "an object";
    case JSON_ARRAY: return "an array";
    case JSON_STRING: return "a string";
    case JSON_INTEGER:
    case JSON_REAL: return "a number";
    case JSON_TRUE:
    case JSON_FALSE: return "true or false";
    case JSON_NULL: return "null";
    }
    return "something else";
}

/* Absent and null leave *out empty. */
static ar_status get(field *out, const json_t *root, const char *name, ar_error *err) {
    *out = (field){"", 0};
    if (!has(root, name)) return AR_OK;
    const json_t *v = json_object_get(root, name);
    if (!json_is_string(v)) return ar__fail(err, AR_ERR_FORMAT, "field '%s': found %s, wanted a string", name, type_name(v));
    *out = (field){json_string_value(v), json_string_length(v)};
    return AR_OK;
}

static ar_status read_two(ar_parts *out, ar_data_kind kind, const char *first, const char *second, ar_error *err) {
    field a, b;
    ar_status s;
    if ((s = get(&a, out->root, first, err)) || (s = get(&b, out->root, second, err))) return s;
    out->kind = kind;
    out->prompt = a.text;
    out->prompt_size = a.size;
    out->learned = b.text;
    out->learned_size = b.size;
    return AR_OK;
}

/* Replaces the prompt by what `made` holds. */
static ar_status take_made(ar_parts *out, ar_error *err) {
    if (out->made.failed) return ar__fail_memory(err, "prompt");
    out->prompt = out->made.data;
    out->prompt_size = out->made.len;
    return AR_OK;
}

static ar_status read_question(ar_parts *out, ar_error *err) {
    ar_status s = read_two(out, AR_DATA_ANSWER, "question", "answer", err);
    if (s) return s;
    ar__buf_add(&out->made, out->prompt, out->prompt_size);
    ar__buf_puts(&out->made, "\n");
    return take_made(out, err);
}

static ar_status read_alpaca(ar_parts *out, ar_error *err) {
    field input;
    ar_status s;
    if ((s = read_two(out, AR_DATA_ALPACA, "instruction", "output", err)) || (s = get(&input, out->root, "input", err))) return s;
    ar__buf_puts(&out->made, ALPACA_TASK);
    ar__buf_puts(&out->made, input.size ? ", paired with an input that provides further context." ALPACA_WRITE : "." ALPACA_WRITE);
    ar__buf_add(&out->made, out->prompt, out->prompt_size);
    if (input.size) {
        ar__buf_puts(&out->made, "\n\n### Input:\n");
        ar__buf_add(&out->made, input.text, input.size);
    }
    ar__buf_puts(&out->made, "\n\n### Response:\n");
    return take_made(out, err);
}

const char *ar__parts_alpaca_text(void) {
    return ALPACA_TASK "[, paired with an input that provides further context]. Write a response that appropriately completes the request."
                       "\\n\\n### Instruction:\\n{instruction}[\\n\\n### Input:\\n{input}]\\n\\n### Response:\\n{output}";
}

static ar_status read_text(ar_parts *out, ar_error *err) {
    field text;
    ar_status s = get(&text, out->root, "text", err);
    out->kind = AR_DATA_TEXT;
    out->learned = text.text;
    out->learned_size = text.size;
    return s;
}

static ar_status no_fields(const json_t *root, const char *wanted, ar_error *err) {
    ar_buf names = {0};
    void *it = json_object_iter((json_t *)(uintptr_t)root);
    for (; it && names.len < 200; it = json_object_iter_next((json_t *)(uintptr_t)root, it))
        ar__buf_printf(&names, "%s'%.60s'", names.len ? ", " : "", json_object_iter_key(it));
    ar_status s = ar__fail(err, AR_ERR_FORMAT, "found %s%s, wanted %s", names.len ? "the fields " : "no fields",
                           names.data ? names.data : "", wanted);
    ar__buf_release(&names);
    return s;
}

/* Says which half of a pair is missing, or what the object has instead. */
static ar_status no_parts(const json_t *root, ar_error *err) {
    static const char *const pairs[][2] = {{"prompt", "completion"}, {"question", "answer"}, {"instruction", "output"}};
    for (size_t i = 0; i < 3; i++)
        for (int k = 0; k < 2; k++)
            if (has(root, pairs[i][k]))
                return ar__fail(err, AR_ERR_FORMAT, "found '%s' without '%s', wanted both", pairs[i][k], pairs[i][1 - k]);
    return no_fields(root, "prompt + completion, question + answer, instruction + output, or text", err);
}

static ar_status refuse_messages(const json_t *root, ar_error *err) {
    if (!has(root, "messages")) return AR_OK;
    return ar__fail(err, AR_ERR_UNSUPPORTED,
                    "found 'messages', wanted prompt + completion or text: chat templates are not read, write each conversation out");
}

static ar_status read_fields(ar_parts *out, ar_error *err) {
    const json_t *root = out->root;
    ar_status s = refuse_messages(root, err);
    if (s) return s;
    if (has(root, "prompt") && has(root, "completion")) return read_two(out, AR_DATA_COMPLETION, "prompt", "completion", err);
    if (has(root, "question") && has(root, "answer")) return read_question(out, err);
    if (has(root, "instruction") && has(root, "output")) return read_alpaca(out, err);
    if (has(root, "text")) return read_text(out, err);
    return no_parts(root, err);
}

/* Absent halves are empty to the readers of pairs. */
static ar_status read_prompt(ar_parts *out, ar_error *err) {
    const json_t *root = out->root;
    ar_status s = refuse_messages(root, err);
    if (s) return s;
    if (has(root, "prompt")) return read_two(out, AR_DATA_COMPLETION, "prompt", "completion", err);
    if (has(root, "question")) return read_question(out, err);
    if (has(root, "instruction")) return read_alpaca(out, err);
    if (!has(root, "text")) return no_fields(root, "prompt, question, instruction or text", err);
    s = read_text(out, err);
    out->prompt = out->learned;
    out->prompt_size = out->learned_size;
    return s;
}

static ar_status parse(ar_parts *out, const ar_line *line, ar_error *err) {
    if (line->size > MAX_LINE_BYTES)
        return ar__fail(err, AR_ERR_FORMAT, "found a line of %zu bytes, wanted at most %d", line->size, (int)MAX_LINE_BYTES);
    size_t bad = ar__utf8_bad_at(line->text, line->size);
    if (bad < line->size)
        return ar__fail(err, AR_ERR_FORMAT, "found byte 0x%02x at column %zu, wanted UTF-8", (unsigned char)line->text[bad], bad + 1);
    /* Integers become reals so that an id of thirty digits, which nothing here reads, is no error. */
    size_t flags = JSON_ALLOW_NUL | JSON_DECODE_INT_AS_REAL | JSON_DECODE_ANY;
    json_error_t at;
    out->root = json_loadb(line->text, line->size, flags, &at);
    if (!out->root && json_error_code(&at) == json_error_out_of_memory) return ar__fail_memory(err, "JSON");
    if (!out->root) {
        bool open = json_error_code(&at) == json_error_premature_end_of_input;
        return ar__fail(err, AR_ERR_FORMAT, "found bad JSON at column %d (%s), wanted one JSON object a line%s", at.column, at.text,
                        open ? ": jq -c . joins samples that span lines" : "");
    }
    if (!json_is_object(out->root)) return ar__fail(err, AR_ERR_FORMAT, "found %s, wanted one JSON object a line", type_name(out->root));
    return AR_OK;
}

ar_status ar__parts_read(ar_parts *out, const ar_line *line, ar_error *err) {
    ar_status s;
    *out = (ar_parts){0};
    if ((s = parse(out, line, err)) || (s = read_fields(out, err))) ar__parts_release(out);
    return s;
}

ar_status ar__parts_read_prompt(ar_parts *out, const ar_line *line, ar_error *err) {
    ar_status s;
    *out = (ar_parts){0};
    if ((s = parse(out, line, err)) || (s = read_prompt(out, err))) ar__parts_release(out);
    return s;
}

void ar__parts_release(ar_parts *p) {
    json_decref(p->root);
    ar__buf_release(&p->made);
    *p = (ar_parts){0};
}
