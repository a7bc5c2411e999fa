/* The prompts of a file of training data, one of each line. */
#include <stdlib.h>
#include <string.h>

#include "alphar/eval.h"
#include "base/fail.h"
#include "base/file.h"
#include "data/parts.h"
#include "format/json.h"

/* As ar_generate_options.conversations wants it. */
static char *conversation_text(const ar_conversation *c) {
    json_t *j = json_pack("{s:O, s:O*, s:O*}", "messages", c->messages, "tools", c->tools, "chat_template_kwargs", c->vars);
    char *text = j ? json_dumps(j, JSON_COMPACT) : NULL;
    json_decref(j);
    return text;
}

static ar_status text_of(char **out, const ar_parts *parts, ar_error *err) {
    bool any = parts->count && (!parts->span[0].learned || parts->kind == AR_DATA_TEXT); /* an empty one is no span */
    const ar_text_span prompt = any ? parts->span[0] : (ar_text_span){.text = ""};
    bool conversation = parts->kind == AR_DATA_MESSAGES;
    if (!conversation && strlen(prompt.text) < prompt.size)
        return ar__fail(err, AR_ERR_FORMAT, "found a NUL character in the prompt, wanted text");
    *out = conversation ? conversation_text(&parts->conversation) : ar__strndup(prompt.text, prompt.size);
    return *out ? AR_OK : ar__fail_memory(err, "prompts");
}

typedef struct growing {
    ar_prompts *p;
    size_t cap, cap_conversation;
    uint32_t met;
} growing;

static ar_status add(growing *g, const ar_line *line, const ar_form *form, ar_error *err) {
    ar_prompts *p = g->p;
    ar_parts parts;
    ar_status s = ar__parts_read_prompt(&parts, line, form, err);
    if (s) return s;
    g->met |= parts.mapped;
    size_t need = (size_t)p->count + 1;
    char **list = p->count < INT32_MAX ? ar__grow(p->text, &g->cap, need, sizeof *list) : NULL;
    if (list) p->text = list;
    bool *which = list ? ar__grow(p->conversation, &g->cap_conversation, need, sizeof *which) : NULL;
    if (which) p->conversation = which;
    s = which ? text_of(&list[p->count], &parts, err) : ar__fail_memory(err, "prompts");
    if (!s) which[p->count++] = parts.kind == AR_DATA_MESSAGES;
    ar__parts_release(&parts);
    return s;
}

static ar_status load(ar_prompts *out, const char *path, const ar_form *form, ar_error *err) {
    ar_lines lines;
    ar_line line;
    growing g = {.p = out};
    ar_buf input = {0};
    ar_status s = strcmp(path, "-") ? AR_OK : ar__input_read(&input, err);
    if (!s) s = ar__lines_open(&lines, path, &input, 1, err);
    if (s) {
        ar__buf_release(&input);
        return s;
    }
    while (!s && ar__lines_next(&line, &lines)) {
        if (!(s = add(&g, &line, form, err))) continue;
        ar_buf place = {0};
        ar__buf_printf(&place, "%s:%zu", path, line.number);
        ar__fail_at(err, s, place.data ? place.data : path);
        ar__buf_release(&place);
    }
    ar__lines_close(&lines);
    ar__buf_release(&input);
    for (size_t i = 0; i < form->mapped.count; i++) { /* what would be learned may be absent */
        ar_field_role r = form->role[i];
        if (r == AR_FIELD_COMPLETION || r == AR_FIELD_ANSWER || r == AR_FIELD_OUTPUT || r == AR_FIELD_CHOSEN || r == AR_FIELD_REJECTED)
            g.met |= 1u << i;
    }
    return s ? s : ar__form_check_met(form, g.met, path, err);
}

ar_status ar_prompts_load(ar_prompts *out, const char *path, const char *map, const char *ignore_fields, bool turns, ar_error *err) {
    ar_form form;
    *out = (ar_prompts){0};
    ar_status s = ar__form_read(&form, map, ignore_fields, err);
    if (s) return s;
    form.turns = turns;
    s = load(out, path, &form, err);
    ar__form_release(&form);
    if (s) ar_prompts_release(out);
    return s;
}

ar_status ar_conversation_load(char **out, const char *path, ar_error *err) {
    enum { MOST = 256 << 20 };
    ar_buf text = {0};
    json_t *j = NULL;
    *out = NULL;
    ar_status s = strcmp(path, "-") ? ar__file_read(&text, path, MOST, err) : ar__input_read(&text, err);
    if (!s) s = ar__json_read(&j, text.data ? text.data : "", text.len, JSON_ALLOW_NUL, path, err);
    if (!s && !(json_is_array(j) && json_is_object(json_array_get(j, 0))) && !json_is_object(j))
        s = ar__fail(err, AR_ERR_FORMAT, "%s: found %s, wanted a list of messages, or an object with one", path,
                     json_is_array(j) && !json_array_size(j) ? "an empty list" : ar__json_type(j));
    if (!s && !(*out = json_dumps(j, JSON_COMPACT))) s = ar__fail_memory(err, path);
    json_decref(j);
    ar__buf_release(&text);
    return s;
}

void ar_prompts_release(ar_prompts *p) {
    for (int i = 0; i < p->count; i++) free(p->text[i]);
    free(p->text);
    free(p->conversation);
    *p = (ar_prompts){0};
}
