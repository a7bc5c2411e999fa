/* The prompts of a file of training data, one of each line. */
#include <stdlib.h>
#include <string.h>

#include "alphar/eval.h"
#include "base/fail.h"
#include "data/parts.h"

static ar_status add(ar_prompts *p, size_t *cap, uint32_t *met, const ar_line *line, const ar_form *form, ar_error *err) {
    ar_parts parts;
    ar_status s = ar__parts_read_prompt(&parts, line, form, err);
    if (s) return s;
    *met |= parts.mapped;
    char **list = p->count < INT32_MAX ? ar__grow(p->text, cap, (size_t)p->count + 1, sizeof *list) : NULL;
    if (list) p->text = list;
    const ar_text_span prompt = parts.count ? parts.span[0] : (ar_text_span){.text = ""};
    if (parts.kind == AR_DATA_MESSAGES)
        s = ar__fail(err, AR_ERR_UNSUPPORTED, "found a conversation, wanted a prompt: --messages FILE.json answers one");
    else if (strlen(prompt.text) < prompt.size)
        s = ar__fail(err, AR_ERR_FORMAT, "found a NUL character in the prompt, wanted text");
    else if (!list || !(list[p->count] = ar__strndup(prompt.text, prompt.size)))
        s = ar__fail_memory(err, "prompts");
    else
        p->count++;
    ar__parts_release(&parts);
    return s;
}

static ar_status load(ar_prompts *out, const char *path, const ar_form *form, ar_error *err) {
    ar_lines lines;
    ar_line line;
    size_t cap = 0;
    uint32_t met = 0;
    ar_status s = ar__lines_open(&lines, path, err);
    if (s) return s;
    while (!s && ar__lines_next(&line, &lines)) {
        if (!(s = add(out, &cap, &met, &line, form, err))) continue;
        ar_buf place = {0};
        ar__buf_printf(&place, "%s:%zu", path, line.number);
        ar__fail_at(err, s, place.data ? place.data : path);
        ar__buf_release(&place);
    }
    ar__lines_close(&lines);
    for (size_t i = 0; i < form->mapped.count; i++) { /* what would be learned may be absent */
        ar_field_role r = form->role[i];
        if (r == AR_FIELD_COMPLETION || r == AR_FIELD_ANSWER || r == AR_FIELD_OUTPUT || r == AR_FIELD_CHOSEN || r == AR_FIELD_REJECTED)
            met |= 1u << i;
    }
    return s ? s : ar__form_check_met(form, met, path, err);
}

ar_status ar_prompts_load(ar_prompts *out, const char *path, const char *map, const char *ignore_fields, ar_error *err) {
    ar_form form;
    *out = (ar_prompts){0};
    ar_status s = ar__form_read(&form, map, ignore_fields, err);
    if (s) return s;
    s = load(out, path, &form, err);
    ar__form_release(&form);
    if (s) ar_prompts_release(out);
    return s;
}

void ar_prompts_release(ar_prompts *p) {
    for (int i = 0; i < p->count; i++) free(p->text[i]);
    free(p->text);
    *p = (ar_prompts){0};
}
