#include "data/parts.h"

#include <string.h>
#include <strings.h>

#include "base/fail.h"
#include "data/preference.h"
#include "data/wrap.h"
#include "format/json.h"

/* Longer lines are no samples; the bound keeps a file without newlines from being parsed as one tree. */
enum { MAX_LINE_BYTES = 256 << 20 };

typedef struct field {
    const char *text;
    size_t size;
} field;

/* What each kind is told by: both of its fields, or the one of a text. */
typedef struct shape {
    ar_data_kind kind;
    ar_field_role first, second;
} shape;

static const shape shapes[] = {{AR_DATA_COMPLETION, AR_FIELD_PROMPT, AR_FIELD_COMPLETION},
                               {AR_DATA_ANSWER, AR_FIELD_QUESTION, AR_FIELD_ANSWER},
                               {AR_DATA_ALPACA, AR_FIELD_INSTRUCTION, AR_FIELD_OUTPUT},
                               {AR_DATA_TEXT, AR_FIELD_TEXT, AR_FIELD_TEXT}};
enum { SHAPES = sizeof shapes / sizeof *shapes, LISTED_BYTES = 240 };

const char *ar__parts_kind_name(ar_data_kind kind) {
    for (size_t i = 0; i < SHAPES; i++)
        if (shapes[i].kind == kind) return ar__field_name(shapes[i].first);
    return kind == AR_DATA_MESSAGES ? "messages" : "mixed";
}

/* ---- fields --------------------------------------------------------------------------------------------------------*/

static const char *type_name(const json_t *v) {
    if (ar__json_number_note(v)) return "a number";
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

static bool present(const json_t *v) { return v && !json_is_null(v); }

/* Nothing that could be missed. */
static bool is_blank(const json_t *v) {
    return json_is_null(v) || (json_is_string(v) && !json_string_length(v)) || (json_is_array(v) && !json_array_size(v)) ||
           (json_is_object(v) && !json_object_size(v));
}

static ar_status get_text(field *out, const json_t *v, const char *name, ar_error *err) {
    if (json_is_string(v)) {
        *out = (field){json_string_value(v), json_string_length(v)};
        return AR_OK;
    }
    return ar__fail(err, AR_ERR_FORMAT, "field '%s': found %s, wanted a string%s", name, type_name(v),
                    json_is_array(v) ? "; a list of messages is read as `messages`, or as `prompt` with a `completion` that is one too"
                                     : "");
}

/* Absent and null leave *out empty. */
static ar_status get(field *out, const json_t *root, const ar_form *f, ar_field_role role, ar_error *err) {
    const json_t *v = ar__row_value(root, f, role);
    *out = (field){"", 0};
    return v ? get_text(out, v, f->field[role], err) : AR_OK;
}

/* "'a', 'b', …" of all fields of the row. */
static void list_fields(ar_buf *out, const json_t *root) {
    void *it = json_object_iter((json_t *)(uintptr_t)root);
    for (; it && out->len < LISTED_BYTES; it = json_object_iter_next((json_t *)(uintptr_t)root, it))
        ar__buf_printf(out, "%s'%.60s'", out->len ? ", " : "", json_object_iter_key(it));
    if (it) ar__buf_puts(out, ", …");
}

/* ---- rows ------------------------------------------------------------------------------------------------------------*/

/* Every mapped context of the row, in the order of --map, each with an empty line behind it. */
static ar_status add_contexts(ar_parts *out, const ar_form *f, ar_error *err) {
    for (size_t i = 0; i < f->mapped.count; i++) {
        const json_t *v = f->role[i] == AR_FIELD_CONTEXT ? json_object_get(out->root, f->mapped.at[i]) : NULL;
        field text = {"", 0};
        ar_status s = present(v) ? get_text(&text, v, f->mapped.at[i], err) : AR_OK;
        if (s) return s;
        ar__buf_add(&out->made, text.text, text.size);
        if (text.size) ar__buf_puts(&out->made, "\n\n");
    }
    return AR_OK;
}

/* Both halves of a pair; the prompt is put together where it is not the field alone. */
static ar_status read_pair(ar_parts *out, const ar_form *f, const shape *h, ar_error *err) {
    field first, second, input = {"", 0};
    ar_status s = get(&first, out->root, f, h->first, err);
    if (!s) s = get(&second, out->root, f, h->second, err);
    if (!s && h->kind == AR_DATA_ALPACA) s = get(&input, out->root, f, AR_FIELD_INPUT, err);
    if (!s) s = add_contexts(out, f, err);
    if (s) return s;
    if (h->kind != AR_DATA_COMPLETION || out->made.len || out->made.failed) {
        ar__wrap(&out->made, h->kind, first.text, first.size, input.text, input.size);
        if (out->made.failed) return ar__fail_memory(err, "prompt");
        first = (field){out->made.data, out->made.len};
    }
    if (first.size) out->span[out->count++] = (ar_text_span){first.text, first.size, false};
    out->span[out->count++] = (ar_text_span){second.text, second.size, true};
    return AR_OK;
}

/* The same as a conversation of one turn.  prompt: the answer is left out. */
static ar_status read_turns(ar_parts *out, const ar_form *f, const shape *h, bool prompt, ar_error *err) {
    field system, first, second = {0}, input = {"", 0};
    ar_status s = get(&system, out->root, f, AR_FIELD_SYSTEM, err);
    if (!s) s = get(&first, out->root, f, h->first, err);
    if (!s && !prompt) s = get(&second, out->root, f, h->second, err);
    if (!s && h->kind == AR_DATA_ALPACA) s = get(&input, out->root, f, AR_FIELD_INPUT, err);
    if (!s) s = add_contexts(out, f, err);
    if (s) return s;
    ar__buf_add(&out->made, first.text, first.size);
    if (input.size) ar__buf_puts(&out->made, "\n\n");
    ar__buf_add(&out->made, input.text, input.size);
    if (out->made.failed) return ar__fail_memory(err, "prompt");
    out->kind = AR_DATA_MESSAGES;
    return ar__conversation_of_texts(&out->conversation, out->root, f,
                                     &(ar_turn_texts){.system = system.size ? system.text : NULL,
                                                      .system_size = system.size,
                                                      .user = out->made.data ? out->made.data : "",
                                                      .user_size = out->made.len,
                                                      .answer = second.text,
                                                      .answer_size = second.size},
                                     err);
}

/* Both texts of a comparison. */
static ar_status read_texts(ar_parts *out, const ar_form *f, ar_error *err) {
    static const shape chosen = {AR_DATA_COMPLETION, AR_FIELD_PROMPT, AR_FIELD_CHOSEN};
    field rejected;
    if (!ar__row_value(out->root, f, AR_FIELD_PROMPT)) return ar__preference_no_prompt(out->root, f, err);
    ar_status s = read_pair(out, f, &chosen, err);
    if (!s) s = get(&rejected, out->root, f, AR_FIELD_REJECTED, err);
    if (!s) out->rejected = (ar_text_span){rejected.text, rejected.size, true};
    return s;
}

static ar_status read_text(ar_parts *out, const ar_form *f, ar_error *err) {
    field text;
    ar_status s = get(&text, out->root, f, AR_FIELD_TEXT, err);
    out->span[out->count++] = (ar_text_span){text.text, text.size, true};
    return s;
}

static bool plays(const ar_form *f, ar_field_role role, const char *name) { return f->field[role] && !strcmp(f->field[role], name); }

static bool is_beside_turns(const ar_form *f, const char *name) {
    return plays(f, AR_FIELD_SYSTEM, name) || plays(f, AR_FIELD_TOOLS, name) || !strcmp(name, "chat_template_kwargs");
}

static bool is_used_in_conversation(const json_t *root, const ar_form *f, const char *name) {
    bool list = ar__row_value(root, f, AR_FIELD_MESSAGES) || ar__row_value(root, f, AR_FIELD_CONVERSATIONS);
    bool half = plays(f, AR_FIELD_PROMPT, name) || plays(f, AR_FIELD_COMPLETION, name);
    bool turns = plays(f, AR_FIELD_MESSAGES, name) || plays(f, AR_FIELD_CONVERSATIONS, name) || plays(f, AR_FIELD_SYSTEM, name);
    return (list ? turns : half) || plays(f, AR_FIELD_TOOLS, name) || !strcmp(name, "chat_template_kwargs");
}

static bool is_used_in_preference(const json_t *root, const ar_form *f, const char *name) {
    int mapped = ar__form_mapped(f, name);
    bool messages = ar__preference_has_messages(root, f);
    bool rest = messages ? plays(f, AR_FIELD_TOOLS, name) || !strcmp(name, "chat_template_kwargs")
                         : mapped >= 0 && f->role[mapped] == AR_FIELD_CONTEXT;
    return rest || plays(f, AR_FIELD_PROMPT, name) || plays(f, AR_FIELD_CHOSEN, name) || plays(f, AR_FIELD_REJECTED, name);
}

/* h NULL: of a pair that is compared. */
static bool is_used(const json_t *root, const ar_form *f, const shape *h, const char *name) {
    if (!h) return is_used_in_preference(root, f, name);
    if (h->kind == AR_DATA_MESSAGES) return is_used_in_conversation(root, f, name);
    int mapped = ar__form_mapped(f, name);
    bool context = mapped >= 0 && f->role[mapped] == AR_FIELD_CONTEXT && h->kind != AR_DATA_TEXT;
    bool turns = f->turns && h->kind != AR_DATA_TEXT && is_beside_turns(f, name);
    return context || turns || plays(f, h->first, name) || plays(f, h->second, name) ||
           (h->kind == AR_DATA_ALPACA && plays(f, AR_FIELD_INPUT, name));
}

/* A text that says something: not the name of a row or its origin, and not what is to be learned. */
static bool may_be_context(const char *name, const json_t *v) {
    static const char *const labels[] = {"id",     "_id", "idx",  "index",    "uuid",    "hash",
                                         "source", "url", "lang", "language", "license", "date"};
    for (size_t i = 0; i < sizeof labels / sizeof *labels; i++)
        if (!strcasecmp(name, labels[i])) return false;
    return json_is_string(v);
}

/* The error for `unused`, names with commas between them; context: the first that could stand before the prompt. */
static ar_status refuse_unused(const json_t *root, const shape *h, const char *unused, const char *context, ar_error *err) {
    ar_buf all = {0}, way = {0};
    list_fields(&all, root);
    if (h && h->kind == AR_DATA_TEXT)
        ar__buf_puts(&way, ", or --map prompt=FIELD,completion=FIELD to learn others than 'text'");
    else if (context && (!h || h->kind != AR_DATA_MESSAGES))
        ar__buf_printf(&way, ", or --map context=%.60s to put '%.60s' before the prompt", context, context);
    ar_status s = ar__fail(
        err, AR_ERR_MISMATCH, "found the fields %s; read as %s, which leaves out %.300s: add --ignore-fields %.300s if that is meant%s",
        all.data ? all.data : "", h ? ar__parts_kind_name(h->kind) : "preference", unused, unused, way.data ? way.data : "");
    ar__buf_release(&all);
    ar__buf_release(&way);
    return s;
}

/* Every field must be used or ignored, but for those with nothing in them. */
static ar_status check_used(ar_parts *out, const ar_form *f, const shape *h, ar_error *err) {
    ar_buf unused = {0};
    const char *name, *context = NULL;
    json_t *v;
    json_object_foreach(out->root, name, v) {
        int mapped = ar__form_mapped(f, name);
        if (mapped >= 0) out->mapped |= 1u << mapped;
        if (is_blank(v) || is_used(out->root, f, h, name) || ar__form_ignores(f, name)) continue;
        ar__buf_printf(&unused, "%s%s", unused.len ? "," : "", name);
        if (!context && mapped < 0 && may_be_context(name, v)) context = name;
    }
    ar_status s = unused.len ? refuse_unused(out->root, h, unused.data, context, err) : AR_OK;
    ar__buf_release(&unused);
    return s;
}

static ar_status no_fields(const json_t *root, const char *wanted, ar_error *err) {
    ar_buf names = {0};
    list_fields(&names, root);
    const char *hint = names.len ? "; --map prompt=FIELD,completion=FIELD names others, --map messages=FIELD a list of messages" : "";
    if (present(json_object_get(root, "input_ids"))) hint = "; token ids are not read from files: give the text that they come from";
    ar_status s = ar__fail(err, AR_ERR_FORMAT, "found %s%s, wanted %s%s", names.len ? "the fields " : "no fields",
                           names.data ? names.data : "", wanted, hint);
    ar__buf_release(&names);
    return s;
}

static const char *label(const ar_form *f, ar_field_role role) { return f->field[role] ? f->field[role] : ar__field_name(role); }

/* Says which half of a pair is missing, or what the object has instead. */
static ar_status no_parts(const json_t *root, const ar_form *f, ar_error *err) {
    for (size_t i = 0; i < SHAPES; i++)
        for (int k = 0; k < 2; k++) {
            ar_field_role has = k ? shapes[i].second : shapes[i].first, lacks = k ? shapes[i].first : shapes[i].second;
            if (!ar__row_value(root, f, has)) continue;
            ar_buf names = {0};
            list_fields(&names, root);
            ar_status s =
                ar__fail(err, AR_ERR_FORMAT, "found '%s' without '%s', wanted both; the fields are %s: --map %s=FIELD names another",
                         label(f, has), label(f, lacks), names.data ? names.data : "", ar__field_name(lacks));
            ar__buf_release(&names);
            return s;
        }
    return no_fields(root, "messages, prompt + completion, question + answer, instruction + output, or text", err);
}

/* The first shape that the row has, both halves or (prompt) the first; NULL: none. */
static const shape *find_shape(const json_t *root, const ar_form *f, bool prompt) {
    for (size_t i = 0; i < SHAPES; i++)
        if (ar__row_value(root, f, shapes[i].first) && (prompt || ar__row_value(root, f, shapes[i].second))) return &shapes[i];
    return NULL;
}

/* All fields that a conversation may bring; those that it has play their parts. */
static ar_status read_conversation(ar_parts *out, const ar_form *f, ar_error *err) {
    static const shape conversation = {AR_DATA_MESSAGES, AR_FIELD_MESSAGES, AR_FIELD_CONVERSATIONS};
    out->kind = AR_DATA_MESSAGES;
    ar_status s = ar__conversation_read(&out->conversation, out->root, f, err);
    return s ? s : check_used(out, f, &conversation, err);
}

static ar_status read_preference(ar_parts *out, const ar_form *f, ar_error *err) {
    bool messages = ar__preference_has_messages(out->root, f);
    out->pair = true;
    out->kind = messages ? AR_DATA_MESSAGES : AR_DATA_COMPLETION;
    ar_status s =
        messages ? ar__preference_read(&out->conversation, &out->rejected_conversation, out->root, f, err) : read_texts(out, f, err);
    return s ? s : check_used(out, f, NULL, err);
}

static ar_status no_pair(const json_t *root, const ar_form *f, ar_error *err) {
    ar_buf names = {0};
    list_fields(&names, root);
    ar_status s = ar__fail(
        err, AR_ERR_FORMAT, "found %s%s, wanted '%s' and '%s', which an objective compares; --map chosen=FIELD,rejected=FIELD names others",
        names.len ? "the fields " : "no fields", names.data ? names.data : "", label(f, AR_FIELD_CHOSEN), label(f, AR_FIELD_REJECTED));
    ar__buf_release(&names);
    return s;
}

static ar_status unexpected_pair(const ar_form *f, ar_error *err) {
    return ar__fail(err, AR_ERR_MISMATCH,
                    "found '%s' and '%s', two completions to compare, and no objective: add --objective dpo (or orpo, simpo), or "
                    "--ignore-fields %s,%s",
                    f->field[AR_FIELD_CHOSEN], f->field[AR_FIELD_REJECTED], f->field[AR_FIELD_CHOSEN], f->field[AR_FIELD_REJECTED]);
}

/* prompt: for that alone, for which a pair is as good as a sample. */
static ar_status read_fields(ar_parts *out, const ar_form *f, bool prompt, ar_error *err) {
    bool pair = ar__preference_is_in(out->root, f);
    if (pair && f->wanted == AR_ROWS_SAMPLES && !prompt) return unexpected_pair(f, err);
    if (pair) return read_preference(out, f, err);
    if (f->wanted == AR_ROWS_PAIRS) return no_pair(out->root, f, err);
    if (ar__conversation_is_in(out->root, f)) return read_conversation(out, f, err);
    const shape *h = find_shape(out->root, f, prompt);
    if (!h && prompt) return no_fields(out->root, "prompt, question, instruction or text", err);
    if (!h) return no_parts(out->root, f, err);
    out->kind = h->kind;
    ar_status s = h->kind == AR_DATA_TEXT ? read_text(out, f, err)
                  : f->turns              ? read_turns(out, f, h, prompt, err)
                                          : read_pair(out, f, h, err);
    return s ? s : check_used(out, f, h, err);
}

/* What people write who write JSON by hand. */
static const char *guess(const json_error_t *at) {
    if (json_error_code(at) == json_error_premature_end_of_input)
        return "; is the line whole? (jq -c . FILE > data.jsonl joins samples that span lines)";
    if (strstr(at->text, "near ']'") || strstr(at->text, "near '}'") || strstr(at->text, "near ','")) return "; is there a comma too many?";
    return strstr(at->text, "near '"
                            "'")
               ? "; strings stand in double quotes"
               : "";
}

static ar_status parse(ar_parts *out, const ar_line *line, ar_error *err) {
    if (line->broken) return ar__fail(err, AR_ERR_FORMAT, "%s", line->broken);
    if (line->size > MAX_LINE_BYTES)
        return ar__fail(err, AR_ERR_FORMAT, "found a line of %zu bytes, wanted at most %d", line->size, (int)MAX_LINE_BYTES);
    size_t bad = ar__utf8_bad_at(line->text, line->size);
    if (bad < line->size)
        return ar__fail(err, AR_ERR_FORMAT, "found byte 0x%02x at column %zu, wanted UTF-8", (unsigned char)line->text[bad], bad + 1);
    json_error_t at;
    out->root = ar__json_decode(line->text, line->size, JSON_ALLOW_NUL | JSON_REJECT_DUPLICATES | AR_JSON_NOTE_INTEGERS, &at);
    if (!out->root && json_error_code(&at) == json_error_out_of_memory) return ar__fail_memory(err, "JSON");
    if (!out->root) {
        return ar__fail(err, AR_ERR_FORMAT, "found bad JSON at column %d (%s), wanted one JSON object a line%s", at.column, at.text,
                        guess(&at));
    }
    if (json_is_string(out->root))
        return ar__fail(err, AR_ERR_FORMAT,
                        "found a string, wanted one JSON object a line: jq -c '{text: .}' FILE > data.jsonl makes it one");
    if (!json_is_object(out->root)) return ar__fail(err, AR_ERR_FORMAT, "found %s, wanted one JSON object a line", type_name(out->root));
    return AR_OK;
}

static ar_status read_line(ar_parts *out, const ar_line *line, const ar_form *form, bool prompt, ar_error *err) {
    *out = (ar_parts){0};
    ar_status s = parse(out, line, err);
    if (!s) s = read_fields(out, form, prompt, err);
    if (s) ar__parts_release(out);
    return s;
}

ar_status ar__parts_read(ar_parts *out, const ar_line *line, const ar_form *form, ar_error *err) {
    return read_line(out, line, form, false, err);
}

ar_status ar__parts_read_prompt(ar_parts *out, const ar_line *line, const ar_form *form, ar_error *err) {
    return read_line(out, line, form, true, err);
}

void ar__parts_release(ar_parts *p) {
    ar__conversation_release(&p->conversation);
    ar__conversation_release(&p->rejected_conversation);
    json_decref(p->root);
    ar__buf_release(&p->made);
    *p = (ar_parts){0};
}
