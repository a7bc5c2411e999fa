#include "data/form.h"

#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/mem.h"

static const char *const names[AR_FIELDS] = {"prompt",   "completion",    "question", "answer",   "instruction", "input", "output", "text",
                                             "messages", "conversations", "chosen",   "rejected", "system",      "tools", "context"};

const char *ar__field_name(ar_field_role role) { return names[role]; }

static bool is_space(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }

/* A copy of text[0..n) without spaces around it. */
static char *trimmed(const char *text, size_t n) {
    while (n && is_space(text[n - 1])) n--;
    while (n && is_space(*text)) text++, n--;
    return ar__strndup(text, n);
}

static int find(const ar_strings *list, const char *name) {
    for (size_t i = 0; i < list->count; i++)
        if (!strcmp(list->at[i], name)) return (int)i;
    return -1;
}

bool ar__form_ignores(const ar_form *f, const char *field) { return find(&f->ignored, field) >= 0; }
int ar__form_mapped(const ar_form *f, const char *field) { return find(&f->mapped, field); }

/* Calls take for each part between commas; an empty part is a slip. */
static ar_status each(ar_form *f, const char *text, const char *option, ar_status (*take)(ar_form *, const char *, ar_error *),
                      ar_error *err) {
    for (const char *p = text; p;) {
        const char *comma = strchr(p, ',');
        char *part = trimmed(p, comma ? (size_t)(comma - p) : strlen(p));
        ar_status s = AR_OK;
        if (!part)
            s = ar__fail_memory(err, option);
        else if (!*part)
            s = ar__fail(err, AR_ERR_USAGE, "%s: found '%s', wanted names with one comma between them", option, text);
        else
            s = take(f, part, err);
        free(part);
        if (s) return s;
        p = comma ? comma + 1 : NULL;
    }
    return AR_OK;
}

static ar_status take_ignored(ar_form *f, const char *field, ar_error *err) {
    return ar__strings_add(&f->ignored, field) ? AR_OK : ar__fail_memory(err, "ignore-fields");
}

static ar_status unknown_role(const char *part, ar_error *err) {
    ar_buf list = {0};
    for (int i = 0; i < AR_FIELDS; i++) ar__buf_printf(&list, "%s%s", i ? ", " : "", names[i]);
    ar_status s =
        ar__fail(err, AR_ERR_USAGE, "map: found '%s', wanted NAME=FIELD, where NAME is one of %s", part, list.data ? list.data : "");
    ar__buf_release(&list);
    return s;
}

static ar_status take_mapped(ar_form *f, const char *part, ar_error *err) {
    const char *eq = strchr(part, '=');
    char *role = eq ? trimmed(part, (size_t)(eq - part)) : NULL, *field = eq ? trimmed(eq + 1, strlen(eq + 1)) : NULL;
    size_t r = 0, n = f->mapped.count;
    while (role && r < AR_FIELDS && strcmp(role, names[r]) != 0) r++;
    bool twice = field && find(&f->mapped, field) >= 0;
    for (size_t i = 0; r != AR_FIELD_CONTEXT && i < n; i++) twice = twice || f->role[i] == (ar_field_role)r;
    ar_status s = AR_OK;
    if (!eq || (role && r == AR_FIELDS) || (field && !*field))
        s = unknown_role(part, err);
    else if (twice)
        s = ar__fail(err, AR_ERR_USAGE, "map: '%s': its name or its field is mapped already; only context may be given again", part);
    else if (n == AR_FORM_MAPPED)
        s = ar__fail(err, AR_ERR_USAGE, "map: found more than %d fields", AR_FORM_MAPPED);
    else if (!role || !field || !ar__strings_add(&f->mapped, field))
        s = ar__fail_memory(err, "map");
    else
        f->role[n] = (ar_field_role)r;
    free(role);
    free(field);
    return s;
}

/* Who plays each role: the field mapped to it, else the one of its name, where that has nothing else to do. */
static ar_status cast(ar_form *f, ar_error *err) {
    for (int r = 0; r < AR_FIELD_CONTEXT; r++)
        f->field[r] = find(&f->mapped, names[r]) < 0 && find(&f->ignored, names[r]) < 0 ? names[r] : NULL;
    for (size_t i = 0; i < f->mapped.count; i++) {
        if (find(&f->ignored, f->mapped.at[i]) >= 0)
            return ar__fail(err, AR_ERR_USAGE, "map and ignore-fields: both name '%s', wanted one of them", f->mapped.at[i]);
        if (f->role[i] != AR_FIELD_CONTEXT) f->field[f->role[i]] = f->mapped.at[i];
    }
    return AR_OK;
}

ar_status ar__form_read(ar_form *out, const char *map, const char *ignored, ar_error *err) {
    *out = (ar_form){0};
    ar_status s = each(out, map, "map", take_mapped, err);
    if (!s) s = each(out, ignored, "ignore-fields", take_ignored, err);
    if (!s) s = cast(out, err);
    if (s) ar__form_release(out);
    return s;
}

void ar__form_release(ar_form *f) {
    ar__strings_release(&f->mapped);
    ar__strings_release(&f->ignored);
    *f = (ar_form){0};
}

ar_status ar__form_check_met(const ar_form *f, uint32_t met, const char *place, ar_error *err) {
    for (size_t i = 0; i < f->mapped.count; i++)
        if (!(met & 1u << i))
            return ar__fail(err, AR_ERR_MISMATCH, "%s: --map %s=%s: no row has a field '%s'", place, names[f->role[i]], f->mapped.at[i],
                            f->mapped.at[i]);
    return AR_OK;
}
