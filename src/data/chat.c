#include "data/chat.h"

#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/file.h"
#include "base/rng.h"
#include "format/gguf.h"
#include "format/json.h"
#include "text/beside.h"
#include "text/templates.h"

enum { MAX_TEMPLATE_BYTES = 4 << 20 };

/* For bases without a template of their own. */
static const char chatml[] = "{%- for message in messages %}\n"
                             "{{- '<|im_start|>' + message.role + '\\n' }}\n"
                             "{%- if message.role == 'assistant' %}\n"
                             "{%- generation %}{{ message.content + '<|im_end|>\\n' }}{% endgeneration %}\n"
                             "{%- else %}\n"
                             "{{- message.content + '<|im_end|>\\n' }}\n"
                             "{%- endif %}\n"
                             "{%- endfor %}\n"
                             "{%- if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}\n";

/* ---- templates ---------------------------------------------------------------------------------------------------*/

static ar_status add(ar_chat *c, const char *name, const char *source, size_t n, const ar_tokenizer *tk, ar_error *err) {
    if (c->count == AR_CHAT_TEMPLATES)
        return ar__fail(err, AR_ERR_UNSUPPORTED, "%s: more than %d chat templates", c->place, AR_CHAT_TEMPLATES);
    ar_chat_template *t = &c->of[c->count];
    t->name = ar__strdup(name);
    t->source = ar__strndup(source, n);
    t->size = n;
    ar_status s = t->name && t->source ? ar__template_parse(&t->t, source, n, err) : ar__fail_memory(err, "template");
    if (!s) s = ar__control_init(&t->control, tk, t->t, err);
    c->count++;
    if (s != AR_ERR_FORMAT) return s;
    ar_buf place = {0};
    ar__buf_printf(&place, "%s: chat template '%s'", c->place, name);
    ar__fail_at(err, s, place.data ? place.data : name);
    ar__buf_release(&place);
    return s;
}

static ar_status add_file(ar_chat *c, const char *name, const char *path, const ar_tokenizer *tk, ar_error *err) {
    ar_buf text = {0};
    ar_status s = ar__file_read(&text, path, MAX_TEMPLATE_BYTES, err);
    if (!s) s = add(c, name, text.data ? text.data : "", text.len, tk, err);
    ar__buf_release(&text);
    return s;
}

/* Of several of one name the last counts, as in transformers. */
static int find(const ar_chat *c, const char *name) {
    for (int i = c->count; i-- > 0;)
        if (!strcmp(c->of[i].name, name)) return i;
    return -1;
}

/* folder NULL: there are no files. */
static ar_status add_own(ar_chat *c, const char *folder, const json_t *config, const ar_tokenizer *tk, ar_error *err) {
    json_t *list, *one;
    size_t i;
    ar_status s = ar__chat_templates(&list, folder, config, c->place, err);
    json_array_foreach(list, i, one) {
        const json_t *source = json_object_get(one, "template");
        if (!s) s = add(c, json_string_value(json_object_get(one, "name")), json_string_value(source), json_string_length(source), tk, err);
    }
    json_decref(list);
    return s;
}

static ar_status choose(ar_chat *c, const char *name, const ar_tokenizer *tk, ar_error *err) {
    c->tool_use = name ? -1 : find(c, "tool_use");
    c->standard = find(c, name ? name : "default");
    if (!name && c->standard < 0 && c->count == 1) c->standard = 0;
    if (c->standard >= 0) return AR_OK;
    if (!name && !c->count) return AR_OK;
    c->standard = c->count;
    if (name && ar__path_exists(name)) return add_file(c, ar__path_base(name), name, tk, err);
    if (name && !strcmp(name, "chatml")) return add(c, name, chatml, sizeof chatml - 1, tk, err);
    ar_buf list = {0};
    for (int i = 0; i < c->count; i++) ar__buf_printf(&list, ", %s", c->of[i].name);
    ar_status s = ar__fail(err, AR_ERR_NOT_FOUND, "template: found '%s', wanted a file, chatml%s", name ? name : "none named default",
                           list.data ? list.data : "");
    ar__buf_release(&list);
    return s;
}

/* ---- variables -----------------------------------------------------------------------------------------------------*/

static bool ends_in_token(const char *key) {
    size_t n = strlen(key);
    return n > 6 && !strcmp(key + n - 6, "_token");
}

/* bos_token and the like: strings, or objects with their content. */
static ar_status take_vars(ar_chat *c, const json_t *config, ar_error *err) {
    const char *key;
    json_t *v;
    json_object_foreach((json_t *)(uintptr_t)config, key, v) {
        json_t *text = json_is_object(v) ? json_object_get(v, "content") : v;
        if (ends_in_token(key) && json_is_string(text) && json_object_set(c->vars, key, text)) return ar__fail_memory(err, "template");
    }
    return AR_OK;
}

/* SOURCE_DATE_EPOCH, where set, is the time that a template sees. */
static time_t time_now(void) {
    const char *fixed = getenv("SOURCE_DATE_EPOCH");
    char *end;
    long long t = fixed ? strtoll(fixed, &end, 10) : 0;
    return fixed && *fixed && !*end ? (time_t)t : time(NULL);
}

static ar_status open_in(ar_chat *c, const char *folder, const char *name, const char *source, const ar_tokenizer *tk, ar_error *err) {
    json_t *config = NULL, *map = NULL;
    ar_status s = ar__tokenizer_beside(&config, &map, c->place, err);
    if (!s) s = take_vars(c, map, err);
    if (!s) s = take_vars(c, config, err);
    if (!s) s = take_vars(c, json_object_get(config, "extra_special_tokens"), err);
    if (!s && source) {
        s = add(c, "default", source, strlen(source), tk, err);
        c->tool_use = -1;
    } else if (!s && !(s = add_own(c, folder, config, tk, err))) {
        s = choose(c, name, tk, err);
    }
    json_decref(config);
    json_decref(map);
    return s;
}

static ar_status open_chat(ar_chat **out, const char *path, const char *name, const char *source, const ar_tokenizer *tk, ar_error *err) {
    *out = NULL;
    ar_chat *c = calloc(1, sizeof *c);
    bool gguf = ar__gguf_is_name(path);
    char *folder = gguf ? NULL : ar__tokenizer_folder(path);
    if (c) {
        c->vars = json_object();
        c->place = ar__strdup(path);
        c->now = time_now();
    }
    bool ok = c && (folder || gguf) && c->vars && c->place;
    ar_status s = ok ? open_in(c, folder, name, source, tk, name || source ? err : &c->why) : ar__fail_memory(err, path);
    free(folder);
    if (ok && s && !name && !source) {
        c->broken = s;
        *out = c;
        return AR_OK;
    }
    if (s || !c->count) {
        ar__chat_free(c);
        return s;
    }
    *out = c;
    return AR_OK;
}

ar_status ar__chat_open(ar_chat **out, const char *path, const char *name, const ar_tokenizer *tk, ar_error *err) {
    return open_chat(out, path, name, NULL, tk, err);
}

ar_status ar__chat_open_text(ar_chat **out, const char *path, const char *source, const ar_tokenizer *tk, ar_error *err) {
    return open_chat(out, path, NULL, source, tk, err);
}

void ar__chat_free(ar_chat *c) {
    if (!c) return;
    for (int i = 0; i < c->count; i++) {
        free(c->of[i].name);
        free(c->of[i].source);
        ar__template_free(c->of[i].t);
        ar__control_release(&c->of[i].control);
    }
    json_decref(c->vars);
    free(c->place);
    free(c);
}

/* ---- using -----------------------------------------------------------------------------------------------------------*/

const ar_chat_template *ar__chat_choose(const ar_chat *c, const ar_conversation *conversation) {
    return &c->of[conversation->tools && c->tool_use >= 0 ? c->tool_use : c->standard];
}

uint64_t ar__chat_hash(const ar_chat *c) {
    const ar_chat_template *t = &c->of[c->standard];
    uint64_t h = 1469598103934665603u;
    for (size_t i = 0; i < t->size; i++) h = (h ^ (unsigned char)t->source[i]) * 1099511628211u;
    return h;
}

static json_t *first_messages(const ar_conversation *conversation, size_t count) {
    if (count == json_array_size(conversation->messages)) return json_incref(conversation->messages);
    json_t *list = json_array();
    for (size_t i = 0; list && i < count; i++)
        if (json_array_append(list, json_array_get(conversation->messages, i))) return NULL;
    return list;
}

ar_status ar__chat_render(ar_rendered *out, const ar_chat *c, const ar_conversation *conversation, size_t count, bool prompt,
                          ar_error *err) {
    if (c->broken) {
        if (err) *err = c->why;
        return c->broken;
    }
    json_t *values = json_copy(c->vars), *messages = first_messages(conversation, count);
    json_t *tools = conversation->tools ? json_incref(conversation->tools) : json_null();
    bool ok = values && messages && !json_object_set(values, "messages", messages) && !json_object_set(values, "tools", tools) &&
              !json_object_set_new(values, "documents", json_null()) &&
              !json_object_set_new(values, "add_generation_prompt", json_boolean(prompt)) &&
              (!conversation->vars || !json_object_update(values, conversation->vars));
    ar_status s =
        ok ? ar__template_render(out, ar__chat_choose(c, conversation)->t, values, c->now, err) : ar__fail_memory(err, "template");
    json_decref(values);
    json_decref(messages);
    json_decref(tools);
    return s == AR_ERR_VALUE ? ar__fail_at(err, s, "chat template") : s;
}
