#include "store/json_edit.h"

#include <string.h>

static const char *skip_space(const char *p) { return p + strspn(p, " \t\r\n"); }

static const char *skip_string(const char *p) {
    for (p++; *p && *p != '"'; p++)
        if (*p == '\\' && p[1]) p++;
    return *p ? p + 1 : p;
}

static const char *skip_value(const char *p) {
    int depth = 0;
    do {
        if (*p == '"') {
            p = skip_string(p);
            continue;
        }
        depth += (*p == '{' || *p == '[') - (*p == '}' || *p == ']');
        p++;
    } while (*p && (depth > 0 || !strchr(",}] \t\r\n", *p)));
    return p;
}

/* The member's value in the object at p, NULL if absent; *close: where the object ends; *last: behind its last member. */
static const char *find_member(const char *p, const char *key, const char **last) {
    size_t n = strlen(key);
    *last = p + 1;
    for (p = skip_space(p + 1); *p == '"';) {
        const char *name = p + 1, *end = skip_string(p);
        const char *value = skip_space(skip_space(end) + 1);
        if ((size_t)(end - 1 - name) == n && !memcmp(name, key, n)) return value;
        p = *last = skip_value(value);
        p = skip_space(p);
        if (*p == ',') p = skip_space(p + 1);
    }
    return NULL;
}

void ar__json_splice(ar_buf *text, size_t at, size_t length, const char *with) {
    ar_buf out = {0};
    ar__buf_add(&out, text->data, at);
    ar__buf_puts(&out, with);
    ar__buf_add(&out, text->data + at + length, text->len - at - length);
    out.failed |= text->failed;
    ar__buf_release(text);
    *text = out;
}

bool ar__json_edit(ar_buf *text, const char *inside, const char *key, const char *value, bool add) {
    const char *last, *object = skip_space(text->data);
    if (inside && (!(object = find_member(object, inside, &last)) || *object != '{')) return true;
    const char *old = find_member(object, key, &last);
    if (old) {
        ar__json_splice(text, (size_t)(old - text->data), (size_t)(skip_value(old) - old), value);
    } else if (add) {
        ar_buf member = {0};
        ar__buf_printf(&member, "%s\n  \"%s\": %s", last == object + 1 ? "" : ",", key, value);
        ar__json_splice(text, (size_t)(last - text->data), 0, member.failed ? "" : member.data);
        text->failed |= member.failed;
        ar__buf_release(&member);
    }
    return !text->failed;
}
