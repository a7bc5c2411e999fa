#include "data/conversation.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "format/json.h"

const json_t *ar__row_value(const json_t *row, const ar_form *f, ar_field_role role) {
    const json_t *v = f->field[role] ? json_object_get(row, f->field[role]) : NULL;
    return v && !json_is_null(v) ? v : NULL;
}

bool ar__message_is_from(const json_t *message, const char *role) {
    const char *r = json_string_value(json_object_get(message, "role"));
    return r && !strcmp(r, role);
}

bool ar__message_is_silent(const json_t *message) {
    static const char *const keys[] = {"content", "tool_calls", "reasoning_content"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        const json_t *v = json_object_get(message, keys[i]);
        if (json_is_string(v) ? json_string_length(v) > 0 : json_is_array(v) ? json_array_size(v) > 0 : v && !json_is_null(v)) return false;
    }
    return true;
}

/* A list that is one of messages: of objects, or empty. */
static bool is_list(const json_t *v) { return json_is_array(v) && (!json_array_size(v) || json_is_object(json_array_get(v, 0))); }

static bool is_messages(const json_t *v) { return is_list(v) || json_is_object(v); }

bool ar__conversation_is_in(const json_t *row, const ar_form *f) {
    return ar__row_value(row, f, AR_FIELD_MESSAGES) || ar__row_value(row, f, AR_FIELD_CONVERSATIONS) ||
           is_list(ar__row_value(row, f, AR_FIELD_PROMPT)) ||
           (ar__row_value(row, f, AR_FIELD_PROMPT) && is_messages(ar__row_value(row, f, AR_FIELD_COMPLETION)));
}

/* ---- one message -------------------------------------------------------------------------------------------------*/

/* train, training: true or false; weight: 0 or 1 (OpenAI's). */
static ar_status read_learn(ar_conversation *c, const json_t *m, size_t i, ar_error *err) {
    static const char *const flags[] = {"train", "training", "weight"};
    bool yes = false, no = false;
    for (size_t k = 0; k < 3; k++) {
        const json_t *v = json_object_get(m, flags[k]);
        double weight = json_is_true(v);
        if (!v || json_is_null(v)) continue;
        if (k < 2 && !json_is_boolean(v))
            return ar__fail(err, AR_ERR_FORMAT, "message %zu: '%s': found %s, wanted true or false", i + 1, flags[k], ar__json_type(v));
        if (k == 2 && (!ar__json_as_double(&weight, v) || (weight != 0 && weight != 1)))
            return ar__fail(err, AR_ERR_FORMAT, "message %zu: 'weight': wanted 0 (not learned) or 1; parts between are not supported",
                            i + 1);
        yes |= weight == 1;
        no |= weight == 0;
    }
    if (yes && no) return ar__fail(err, AR_ERR_FORMAT, "message %zu: train, training and weight say both yes and no", i + 1);
    c->learn[i] = yes ? AR_MESSAGE_NAMED : no ? AR_MESSAGE_UNLEARNED : AR_MESSAGE_LEARNED;
    c->given |= yes || no;
    return AR_OK;
}

/* The first of the names that reasoning goes by stands for all that a template may read. */
static bool alias_reasoning(json_t *m) {
    static const char *const names[] = {"reasoning_content", "thinking", "reasoning"};
    json_t *r = NULL;
    for (size_t i = 0; !r && i < 3; i++) r = json_object_get(m, names[i]);
    if (!r) return true;
    if (!json_object_get(m, "thinking") && json_object_set(m, "thinking", r)) return false;
    return !json_object_set(m, "reasoning_content", r);
}

/* A copy without keys that are null or ours. */
static json_t *cleaned(const json_t *m) {
    static const char *const ours[] = {"train", "training", "weight"};
    json_t *copy = json_copy((json_t *)(uintptr_t)m), *v;
    const char *key;
    void *next;
    if (!copy) return NULL;
    for (size_t i = 0; i < sizeof ours / sizeof *ours; i++) json_object_del(copy, ours[i]);
    json_object_foreach_safe(copy, next, key, v) {
        if (json_is_null(v)) json_object_del(copy, key);
    }
    if (alias_reasoning(copy)) return copy;
    json_decref(copy);
    return NULL;
}

/* The name that a key all but is, where no such key stands beside it; NULL. */
static const char *slip_of(const json_t *m, const char *key) {
    static const char *const known[] = {"content", "tool_calls", "reasoning_content"};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strcmp(key, known[i]) != 0 && ar_word_distance(key, known[i]) <= 2 && !json_object_get(m, known[i])) return known[i];
    return NULL;
}

/* A template may read keys of its own; but one of which nobody hears is an error, and so is what no template takes for text. */
static ar_status check_content(const json_t *m, size_t i, ar_error *err) {
    const json_t *content = json_object_get(m, "content");
    const char *key;
    json_t *v;
    if (json_is_number(content) || json_is_boolean(content))
        return ar__fail(err, AR_ERR_FORMAT, "message %zu: 'content': found %s, wanted a string or a list of parts", i + 1,
                        ar__json_type(content));
    if (!ar__message_is_silent(m)) return AR_OK;
    json_object_foreach((json_t *)(uintptr_t)m, key, v) {
        const char *meant = slip_of(m, key);
        if (meant) return ar__fail(err, AR_ERR_FORMAT, "message %zu: found '%.40s', did you mean '%s'?", i + 1, key, meant);
    }
    return AR_OK;
}

static ar_status add_message(ar_conversation *c, const json_t *m, size_t i, ar_error *err) {
    if (!json_is_object(m))
        return ar__fail(err, AR_ERR_FORMAT, "message %zu: found %s, wanted an object with role and content", i + 1, ar__json_type(m));
    const json_t *role = json_object_get(m, "role");
    if (!json_is_string(role))
        return ar__fail(err, AR_ERR_FORMAT, "message %zu: found %s as its role%s, wanted a string such as user or assistant", i + 1,
                        role ? ar__json_type(role) : "nothing", !role && json_object_get(m, "from") ? ", and 'from' without 'value'" : "");
    static const char *const other[] = {"value", "text", "message", "utterance"};
    for (size_t k = 0; k < 4; k++)
        if (json_object_get(m, other[k]) && !json_object_get(m, "content") && !json_object_get(m, "tool_calls"))
            return ar__fail(err, AR_ERR_FORMAT, "message %zu: found '%s' beside 'role', wanted 'content'", i + 1, other[k]);
    ar_status s = check_content(m, i, err);
    if (!s) s = read_learn(c, m, i, err);
    if (s) return s;
    json_t *copy = cleaned(m);
    return copy && !json_array_append_new(c->messages, copy) ? AR_OK : ar__fail_memory(err, "messages");
}

static ar_status begin(ar_conversation *c, size_t most, ar_error *err) {
    c->messages = json_array();
    c->learn = calloc(most + 1, 1);
    return c->messages && c->learn ? AR_OK : ar__fail_memory(err, "messages");
}

/* ---- ShareGPT ------------------------------------------------------------------------------------------------------*/

static const char *role_of(const char *from) {
    static const struct {
        const char *from, *role;
    } roles[] = {{"human", "user"},         {"user", "user"},        {"gpt", "assistant"},          {"assistant", "assistant"},
                 {"chatgpt", "assistant"},  {"bot", "assistant"},    {"model", "assistant"},        {"system", "system"},
                 {"tool", "tool"},          {"observation", "tool"}, {"function_response", "tool"}, {"function_call", "assistant"},
                 {"tool_call", "assistant"}};
    for (size_t i = 0; i < sizeof roles / sizeof *roles; i++)
        if (!strcmp(from, roles[i].from)) return roles[i].role;
    return NULL;
}

static json_t *call_of(const json_t *call) {
    json_t *name = json_object_get(call, "name"), *arguments = json_object_get(call, "arguments");
    return name ? json_pack("{s:s, s:{s:O, s:O?}}", "type", "function", "function", "name", name, "arguments", arguments) : NULL;
}

/* A function call is written as JSON: one object with name and arguments, or a list of them. */
static json_t *calls_of(const json_t *value) {
    json_error_t at;
    json_t *v = ar__json_decode(json_string_value(value), json_string_length(value), JSON_ALLOW_NUL, &at), *calls = json_array();
    for (size_t i = 0; calls && i < (json_is_array(v) ? json_array_size(v) : 1); i++) {
        json_t *one = call_of(json_is_array(v) ? json_array_get(v, i) : v);
        if (one && !json_array_append_new(calls, one)) continue;
        json_decref(calls);
        calls = NULL;
    }
    json_decref(v);
    return calls;
}

static ar_status add_turn(ar_conversation *c, const json_t *turn, ar_error *err) {
    size_t i = c->count;
    const json_t *from = json_object_get(turn, "from"), *value = json_object_get(turn, "value");
    if (!json_is_string(from) || !json_is_string(value)) return add_message(c, turn, i, err);
    if (json_object_get(turn, "role") || json_object_get(turn, "content"))
        return ar__fail(err, AR_ERR_FORMAT, "message %zu: found 'from' and 'value' beside 'role' or 'content', wanted one or the other",
                        i + 1);
    const char *name = json_string_value(from), *role = role_of(name);
    if (!role)
        return ar__fail(err, AR_ERR_FORMAT,
                        "message %zu: 'from': found '%.40s', wanted human, gpt, system, tool, function_call or observation", i + 1, name);
    bool calls = !strcmp(name, "function_call") || !strcmp(name, "tool_call");
    json_t *m = json_copy((json_t *)(uintptr_t)turn), *made = calls ? calls_of(value) : NULL;
    ar_status s = m ? AR_OK : ar__fail_memory(err, "messages");
    if (!s && calls && !made) s = ar__fail(err, AR_ERR_FORMAT, "message %zu: a function call: wanted JSON with name and arguments", i + 1);
    if (!s && (json_object_set_new(m, "role", json_string(role)) || (made && json_object_set(m, "tool_calls", made)) ||
               json_object_set_new(m, "content", made ? json_string("") : json_incref((json_t *)(uintptr_t)value))))
        s = ar__fail_memory(err, "messages");
    json_decref(made);
    if (!s) {
        json_object_del(m, "from");
        json_object_del(m, "value");
        s = add_message(c, m, i, err);
    }
    json_decref(m);
    return s;
}

static ar_status add_turns(ar_conversation *c, const json_t *list, ar_error *err) {
    ar_status s = AR_OK;
    for (size_t i = 0; !s && i < json_array_size(list); i++, c->count++) s = add_turn(c, json_array_get(list, i), err);
    return s;
}

/* ---- rows ----------------------------------------------------------------------------------------------------------*/

static ar_status want_list(const json_t *v, const char *field, ar_error *err) {
    if (json_is_array(v)) return AR_OK;
    return ar__fail(err, AR_ERR_FORMAT, "field '%s': found %s, wanted a list of messages", field, ar__json_type(v));
}

/* A list, or a string that is the JSON of one. */
static ar_status read_tools(json_t **out, const json_t *v, const char *field, ar_error *err) {
    json_error_t at;
    if (json_is_string(v) && !json_string_length(v)) return AR_OK;
    *out = json_is_string(v) ? ar__json_decode(json_string_value(v), json_string_length(v), JSON_ALLOW_NUL, &at)
                             : json_incref((json_t *)(uintptr_t)v);
    if (*out && json_is_array(*out)) return AR_OK;
    return ar__fail(err, AR_ERR_FORMAT, "field '%s': found %s, wanted a list of tools", field,
                    *out ? ar__json_type(*out) : "text that is no JSON");
}

static ar_status add_system(ar_conversation *c, const json_t *v, const char *field, ar_error *err) {
    if (json_is_string(v) && !json_string_length(v)) return AR_OK;
    if (!json_is_string(v)) return ar__fail(err, AR_ERR_FORMAT, "field '%s': found %s, wanted a string", field, ar__json_type(v));
    json_t *m = json_pack("{s:s, s:O}", "role", "system", "content", v);
    ar_status s = m ? add_message(c, m, 0, err) : ar__fail_memory(err, "messages");
    json_decref(m);
    c->count++;
    return s;
}

/* A list of messages, one message, or a string as one message of that role. */
static ar_status add_half(ar_conversation *c, const json_t *v, const char *field, const char *role, ar_error *err) {
    if (json_is_array(v)) return add_turns(c, v, err);
    if (!json_is_string(v) && !json_is_object(v)) return want_list(v, field, err);
    json_t *m = json_is_object(v) ? json_incref((json_t *)(uintptr_t)v) : json_pack("{s:s, s:O}", "role", role, "content", v);
    ar_status s = m ? add_turn(c, m, err) : ar__fail_memory(err, "messages");
    json_decref(m);
    c->count++;
    return s;
}

static size_t most_messages(const json_t *v) { return json_is_array(v) ? json_array_size(v) : 1; }

/* prompt and completion: only the completion is learned. */
static ar_status read_halves(ar_conversation *c, const json_t *prompt, const json_t *completion, const ar_form *f, ar_field_role role,
                             ar_error *err) {
    ar_status s = begin(c, most_messages(prompt) + most_messages(completion) + 1, err);
    if (!s && prompt) s = add_half(c, prompt, f->field[AR_FIELD_PROMPT], "user", err);
    if (s) return s;
    memset(c->learn, 0, c->count);
    c->given = true;
    return completion ? add_half(c, completion, f->field[role], "assistant", err) : AR_OK;
}

/* A list, or a string that is the JSON of one, as tables have it.  Caller json_decref's. */
static json_t *list_of(const json_t *v) {
    json_error_t at;
    json_t *list = json_is_string(v) ? ar__json_decode(json_string_value(v), json_string_length(v), JSON_ALLOW_NUL, &at) : NULL;
    return list ? list : json_incref((json_t *)(uintptr_t)v);
}

static ar_status read_list(ar_conversation *c, const json_t *row, const ar_form *f, ar_error *err) {
    const json_t *messages = ar__row_value(row, f, AR_FIELD_MESSAGES), *turns = ar__row_value(row, f, AR_FIELD_CONVERSATIONS);
    const json_t *system = ar__row_value(row, f, AR_FIELD_SYSTEM);
    if (messages && turns)
        return ar__fail(err, AR_ERR_FORMAT, "found both '%s' and '%s', wanted one conversation: --ignore-fields %s leaves one out",
                        f->field[AR_FIELD_MESSAGES], f->field[AR_FIELD_CONVERSATIONS], f->field[AR_FIELD_CONVERSATIONS]);
    json_t *list = list_of(messages ? messages : turns);
    ar_status s = want_list(list, f->field[messages ? AR_FIELD_MESSAGES : AR_FIELD_CONVERSATIONS], err);
    if (!s) s = begin(c, json_array_size(list) + 1, err);
    if (!s && system) s = add_system(c, system, f->field[AR_FIELD_SYSTEM], err);
    if (!s) s = add_turns(c, list, err);
    json_decref(list);
    return s;
}

/* Variables of the template; those that rendering sets itself are no row's. */
static ar_status take_vars(ar_conversation *c, const json_t *vars, ar_error *err) {
    static const char *const own[] = {"messages", "tools", "documents", "add_generation_prompt"};
    for (size_t i = 0; i < sizeof own / sizeof *own; i++)
        if (json_object_get(vars, own[i]))
            return ar__fail(err, AR_ERR_FORMAT, "field 'chat_template_kwargs': found '%s', which is not the row's to set", own[i]);
    c->vars = json_incref((json_t *)(uintptr_t)vars);
    return AR_OK;
}

/* What a row says of its conversation as a whole. */
static ar_status read_rest(ar_conversation *c, const json_t *row, const ar_form *f, ar_error *err) {
    const json_t *tools = ar__row_value(row, f, AR_FIELD_TOOLS), *vars = json_object_get(row, "chat_template_kwargs");
    ar_status s = tools ? read_tools(&c->tools, tools, f->field[AR_FIELD_TOOLS], err) : AR_OK;
    if (!s && json_is_object(vars)) s = take_vars(c, vars, err);
    if (!s && !c->count) s = ar__fail(err, AR_ERR_FORMAT, "found no messages, wanted at least one");
    return s;
}

ar_status ar__conversation_of_halves(ar_conversation *out, const json_t *row, const ar_form *f, const json_t *prompt,
                                     ar_field_role completion, ar_error *err) {
    *out = (ar_conversation){0};
    ar_status s = read_halves(out, prompt, ar__row_value(row, f, completion), f, completion, err);
    return s ? s : read_rest(out, row, f, err);
}

ar_status ar__conversation_read(ar_conversation *out, const json_t *row, const ar_form *f, ar_error *err) {
    bool list = ar__row_value(row, f, AR_FIELD_MESSAGES) || ar__row_value(row, f, AR_FIELD_CONVERSATIONS);
    if (!list) return ar__conversation_of_halves(out, row, f, ar__row_value(row, f, AR_FIELD_PROMPT), AR_FIELD_COMPLETION, err);
    *out = (ar_conversation){0};
    ar_status s = read_list(out, row, f, err);
    return s ? s : read_rest(out, row, f, err);
}

ar_status ar__conversation_from(ar_conversation *out, const json_t *messages, const json_t *tools, ar_error *err) {
    *out = (ar_conversation){0};
    ar_status s = want_list(messages, "messages", err);
    if (!s) s = begin(out, json_array_size(messages), err);
    if (!s) s = add_turns(out, messages, err);
    if (!s && tools && !json_is_null(tools)) s = read_tools(&out->tools, tools, "tools", err);
    return s;
}

static ar_status add_text(ar_conversation *c, const char *role, const char *text, size_t n, ar_error *err) {
    if (!text) return AR_OK;
    json_t *m = json_pack("{s:s, s:s%}", "role", role, "content", text, n);
    ar_status s = m ? add_turn(c, m, err) : ar__fail_memory(err, "messages");
    json_decref(m);
    c->count++;
    return s;
}

ar_status ar__conversation_of_texts(ar_conversation *out, const json_t *row, const ar_form *f, const ar_turn_texts *t, ar_error *err) {
    *out = (ar_conversation){0};
    ar_status s = begin(out, 3, err);
    if (!s) s = add_text(out, "system", t->system, t->system_size, err);
    if (!s) s = add_text(out, "user", t->user, t->user_size, err);
    if (!s) s = add_text(out, "assistant", t->answer, t->answer_size, err);
    return s || !row ? s : read_rest(out, row, f, err);
}

void ar__conversation_release(ar_conversation *c) {
    json_decref(c->messages);
    json_decref(c->tools);
    json_decref(c->vars);
    free(c->learn);
    *c = (ar_conversation){0};
}
