#include "text/template/markup.h"

#include <string.h>

static const char *entity(char c) {
    switch (c) {
    case '&': return "&amp;";
    case '<': return "&lt;";
    case '>': return "&gt;";
    case '"': return "&#34;";
    case '\'': return "&#39;";
    default: return NULL;
    }
}

void ar__j_put_escaped(ar_jinja *j, const ar_jstr *s, bool escape) {
    size_t from = 0;
    for (size_t i = 0; escape && i < s->size; i++) {
        const char *text = entity(s->data[i]);
        if (!text) continue;
        ar__j_put_part(j, s, from, i);
        ar__j_put(j, text, strlen(text), s->marks ? s->marks[i] : s->mark);
        from = i + 1;
    }
    ar__j_put_part(j, s, from, s->size);
}

bool ar__j_mark_safe(ar_jvalue *out, ar_jinja *j, ar_jstr *s) {
    ar_jstr *safe = ar__j_part(j, s, 0, s->size);
    if (!safe) return false;
    safe->markup = true;
    *out = ar__j_string(safe);
    return true;
}

bool ar__j_escape(ar_jvalue *out, ar_jinja *j, ar_jvalue v) {
    ar_jstr *s = ar__j_str(j, v);
    if (!s) return false;
    size_t start = ar__j_here(j);
    ar__j_put_escaped(j, s, !s->markup);
    if (!ar__j_take_value(out, j, start)) return false;
    out->s->markup = true;
    return true;
}
