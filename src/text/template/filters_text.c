/* Filters of text. */
#include <string.h>

#include "text/template/filters.h"
#include "text/template/letters.h"
#include "text/template/markup.h"
#include "text/template/text_ops.h"
#include "text/utf8.h"

/* As soft_str: the text of anything. */
static bool text_of(ar_jstr **out, ar_jinja *j, ar_jvalue in) { return (*out = ar__j_str(j, in)) != NULL; }

static bool recase(ar_jvalue *out, ar_jinja *j, ar_jvalue in, const ar_jargs *args, const char *name, ar_jcase how) {
    ar_jstr *s;
    if (!ar__j_bind(NULL, j, name, args, "", 0) || !text_of(&s, j, in)) return false;
    size_t start = ar__j_here(j);
    ar__j_put_case(j, s, 0, s->size, how);
    if (!ar__j_take_value(out, j, start)) return false;
    out->s->markup = s->markup;
    return true;
}

AR_J_FILTER(upper) { return recase(out, j, in, args, "upper", AR_CASE_UPPER); }
AR_J_FILTER(lower) { return recase(out, j, in, args, "lower", AR_CASE_LOWER); }
AR_J_FILTER(capitalize) { return recase(out, j, in, args, "capitalize", AR_CASE_CAPITALIZE); }

/* Words begin behind spaces, - ( { [ <. */
static bool begins_word(uint32_t c) { return ar__j_is_space(c) || (c && c < 0x80 && strchr("-({[<", (int)c)); }

AR_J_FILTER(title) {
    ar_jstr *s;
    size_t from = 0, len, start;
    if (!ar__j_bind(NULL, j, "title", args, "", 0) || !text_of(&s, j, in)) return false;
    start = ar__j_here(j);
    while (from < s->size && !j->status) {
        size_t to = from;
        bool between = begins_word(ar__utf8_get(s->data + from, &len));
        while (to < s->size && begins_word(ar__utf8_get(s->data + to, &len)) == between) to += len;
        size_t first = ar__utf8_size(s->data[from]);
        ar__j_put_case(j, s, from, from + first, AR_CASE_UPPER);
        ar__j_put_case(j, s, from + first, to, AR_CASE_LOWER);
        from = to;
    }
    return ar__j_take_value(out, j, start);
}

AR_J_FILTER(trim) {
    ar_jvalue v;
    ar_jstr *s, *chars = NULL;
    if (!ar__j_bind(&v, j, "trim", args, "chars", 0) || !text_of(&s, j, in)) return false;
    if (v.type != AR_J_NONE && !ar__j_arg_str(&chars, j, "trim", v)) return false;
    ar_jstr *stripped = ar__j_strip(j, s, chars, AR_STRIP_LEFT | AR_STRIP_RIGHT);
    if (stripped) *out = ar__j_string(stripped);
    return stripped != NULL;
}

AR_J_FILTER(string) {
    ar_jstr *s;
    if (!ar__j_bind(NULL, j, "string", args, "", 0) || !text_of(&s, j, in)) return false;
    *out = ar__j_string(s);
    return true;
}

AR_J_FILTER(center) {
    static const ar_jstr space = {.data = " ", .size = 1, .points = 1};
    ar_jvalue v;
    ar_jstr *s;
    int64_t width = 80;
    if (!ar__j_bind(&v, j, "center", args, "width", 0) || !ar__j_arg_int(&width, j, "center", v) || !text_of(&s, j, in)) return false;
    size_t start = ar__j_here(j);
    return ar__j_put_padded(j, s, width, 'c', &space) && ar__j_take_value(out, j, start);
}

AR_J_FILTER(replace) {
    ar_jvalue v[3];
    ar_jstr *s, *old, *by;
    int64_t count = -1;
    if (!ar__j_bind(v, j, "replace", args, "old,new,count", 2) || !text_of(&s, j, in) || !text_of(&old, j, v[0]) || !text_of(&by, j, v[1]))
        return false;
    if (v[2].type != AR_J_NONE && !ar__j_arg_int(&count, j, "replace", v[2])) return false;
    size_t start = ar__j_here(j);
    return ar__j_put_replaced(j, s, old, by, count) && ar__j_take_value(out, j, start);
}

AR_J_FILTER(format) {
    ar_jstr *s;
    if (!text_of(&s, j, in)) return false;
    if (args->count && args->named_count) return ar__j_fail(j, "format: can't handle positional and keyword arguments at the same time");
    ar_jlist *l = ar__j_list_new(j, args->count);
    ar_jdict *d = ar__j_dict_new(j);
    if (!l || !d) return false;
    for (size_t i = 0; i < args->count; i++) l->item[l->count++] = args->plain[i];
    for (size_t i = 0; i < args->named_count; i++)
        if (!ar__j_dict_set(j, d, args->named[i].key, args->named[i].value)) return false;
    return ar__j_percent(out, j, s, args->named_count ? (ar_jvalue){.type = AR_J_DICT, .dict = d} : ar__j_list_value(l, AR_J_TUPLE));
}

/* ---- HTML ------------------------------------------------------------------------------------------------------------*/

AR_J_FILTER(escape) { return ar__j_bind(NULL, j, "escape", args, "", 0) && ar__j_escape(out, j, in); }

AR_J_FILTER(forceescape) {
    ar_jstr *s;
    if (!ar__j_bind(NULL, j, "forceescape", args, "", 0) || !text_of(&s, j, in)) return false;
    size_t start = ar__j_here(j);
    ar__j_put_escaped(j, s, true);
    if (!ar__j_take_value(out, j, start)) return false;
    out->s->markup = true;
    return true;
}

AR_J_FILTER(safe) {
    ar_jstr *s;
    return ar__j_bind(NULL, j, "safe", args, "", 0) && text_of(&s, j, in) && ar__j_mark_safe(out, j, s);
}

/* Writes the text without tags and comments. */
static void put_untagged(ar_jinja *j, const ar_jstr *s) {
    size_t at = 0;
    for (;;) {
        const char *open = memchr(s->data + at, '<', s->size - at);
        if (!open) break;
        size_t from = (size_t)(open - s->data);
        bool comment = s->size - from >= 4 && !memcmp(open, "<!--", 4);
        ar_jstr close = {.data = comment ? "-->" : ">", .size = comment ? 3 : 1};
        size_t end = ar__j_find(s, &close, comment ? from + 4 : from);
        if (end == SIZE_MAX) break;
        ar__j_put_part(j, s, at, from);
        at = end + close.size;
    }
    ar__j_put_part(j, s, at, s->size);
}

/* &#65; and &#x41; : the character's code point, 0 where it is none. */
static uint32_t numbered(const ar_jstr *s, size_t at, size_t *size) {
    bool hex = at + 2 < s->size && (s->data[at + 2] | 0x20) == 'x';
    size_t i = at + 2 + hex;
    uint32_t c = 0;
    for (; i < s->size && c <= 0x10FFFF; i++) {
        const char *digits = "0123456789abcdef", *d = s->data[i] ? strchr(digits, s->data[i] | 0x20) : NULL;
        if (!d || (!hex && d - digits > 9)) break;
        c = c * (hex ? 16 : 10) + (uint32_t)(d - digits);
    }
    *size = i - at + (i < s->size && s->data[i] == ';');
    return c >= ' ' && c < 0x7F ? c : 0; /* others are changed as HTML says: not supported */
}

static const char *character_of(const ar_jstr *s, size_t at, size_t *size) {
    static const char *const entities[][2] = {{"&amp;", "&"},  {"&lt;", "<"},  {"&gt;", ">"},   {"&quot;", "\""},
                                              {"&#34;", "\""}, {"&#39;", "'"}, {"&apos;", "'"}, {"&nbsp;", "\u00a0"}};
    for (size_t i = 0; i < sizeof entities / sizeof *entities; i++) {
        *size = strlen(entities[i][0]);
        if (s->size - at >= *size && !memcmp(s->data + at, entities[i][0], *size)) return entities[i][1];
    }
    return NULL;
}

/* Whether it may be one of the two thousand that are not known here. */
static bool names_entity(const ar_jstr *s, size_t at) {
    size_t i = at + (at < s->size && s->data[at] == '#');
    while (i < s->size && ((s->data[i] >= '0' && s->data[i] <= '9') || ((s->data[i] | 0x20) >= 'a' && (s->data[i] | 0x20) <= 'z'))) i++;
    return i > at && i < s->size && s->data[i] == ';';
}

static bool put_unescaped(ar_jinja *j, const ar_jstr *s) {
    size_t from = 0, size;
    for (const char *at = s->data; (at = memchr(at, '&', s->size - (size_t)(at - s->data))) != NULL;) {
        size_t i = (size_t)(at - s->data);
        const char *text = character_of(s, i, &size);
        char next = i + 1 < s->size ? s->data[i + 1] : ' ', plain[2] = {0};
        at++;
        if (!text && next == '#' && (plain[0] = (char)numbered(s, i, &size)) != 0) text = plain;
        if (!text && names_entity(s, i + 1)) return ar__j_fail(j, "striptags: found an entity other than those of & < > \" '");
        if (!text) continue;
        ar__j_put_part(j, s, from, i);
        ar__j_put(j, text, strlen(text), s->mark);
        from = i + size;
        at = s->data + from;
    }
    ar__j_put_part(j, s, from, s->size);
    return true;
}

AR_J_FILTER(striptags) {
    ar_jstr *s;
    if (!ar__j_bind(NULL, j, "striptags", args, "", 0) || !text_of(&s, j, in)) return false;
    size_t start = ar__j_here(j);
    put_untagged(j, s);
    ar_jstr *plain = ar__j_take(j, start);
    ar_jlist *words = plain ? ar__j_split(j, plain, NULL, -1, false) : NULL;
    for (size_t i = 0; words && i < words->count; i++) {
        if (i) ar__j_puts(j, " ");
        ar__j_put_str(j, words->item[i].s);
    }
    ar_jstr *joined = words ? ar__j_take(j, start) : NULL;
    return joined && put_unescaped(j, joined) && ar__j_take_value(out, j, start);
}

AR_J_FILTER(xmlattr) {
    ar_jvalue v;
    bool any = false;
    if (!ar__j_bind(&v, j, "xmlattr", args, "autospace", 0)) return false;
    if (in.type == AR_J_UNDEFINED) return ar__j_fail_undefined(j, in);
    if (in.type != AR_J_DICT) return ar__j_fail(j, "xmlattr: found %s, wanted a dict", ar__j_type_name(in));
    bool space = v.type == AR_J_ABSENT || ar__j_truth(v);
    size_t start = ar__j_here(j);
    for (size_t i = 0; i < in.dict->count; i++) {
        ar_jvalue key = in.dict->pair[i].key, value = in.dict->pair[i].value;
        if (value.type == AR_J_NONE || value.type == AR_J_UNDEFINED) continue;
        if (key.type != AR_J_STRING) return ar__j_fail(j, "xmlattr: found %s as a key, wanted a string", ar__j_type_name(key));
        for (size_t k = 0; k < key.s->size; k++)
            if (strchr(" \t\n\r\f\v/>=", key.s->data[k])) return ar__j_fail(j, "xmlattr: invalid character in an attribute's name");
        if (any || space) ar__j_puts(j, " ");
        any = true;
        if (!ar__j_escape(&key, j, key) || !ar__j_escape(&value, j, value)) return false;
        ar__j_put_str(j, key.s);
        ar__j_puts(j, "=\"");
        ar__j_put_str(j, value.s);
        ar__j_puts(j, "\"");
    }
    return ar__j_take_value(out, j, start);
}

/* ---- URLs ------------------------------------------------------------------------------------------------------------*/

static void put_quoted(ar_jinja *j, const ar_jstr *s, bool query) {
    static const char digits[] = "0123456789ABCDEF";
    for (size_t i = 0; i < s->size && !j->status && ar__j_spend(j, 4); i++) {
        char c = s->data[i], hex[3] = {'%', digits[(unsigned char)c >> 4], digits[c & 15]};
        bool word = (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z') || (c && strchr("_.-~", c));
        if (word || (c == '/' && !query))
            ar__j_put(j, &c, 1, s->marks ? s->marks[i] : s->mark);
        else if (c == ' ' && query)
            ar__j_puts(j, "+");
        else
            ar__j_put(j, hex, 3, s->marks ? s->marks[i] : s->mark);
    }
}

static bool put_pair(ar_jinja *j, ar_jvalue pair, bool first) {
    ar_jlist *both = ar__j_gather(j, pair);
    if (!both) return false;
    if (both->count != 2) return ar__j_fail(j, "urlencode: wanted pairs of a key and a value");
    ar_jstr *key = ar__j_str(j, both->item[0]), *value = key ? ar__j_str(j, both->item[1]) : NULL;
    if (!value) return false;
    if (!first) ar__j_puts(j, "&");
    put_quoted(j, key, true);
    ar__j_puts(j, "=");
    put_quoted(j, value, true);
    return true;
}

AR_J_FILTER(urlencode) {
    ar_jwalk w;
    ar_jvalue item;
    ar_jstr *s;
    if (!ar__j_bind(NULL, j, "urlencode", args, "", 0)) return false;
    if (in.type == AR_J_STRING || !ar__j_can_walk(in)) {
        if (!text_of(&s, j, in)) return false;
        size_t start = ar__j_here(j);
        put_quoted(j, s, false);
        return ar__j_take_value(out, j, start);
    }
    ar_jview *items = ar__j_new(j, 1, sizeof *items);
    if (!items) return false;
    *items = (ar_jview){in.dict, AR_J_ITEMS};
    if (in.type == AR_J_DICT) in = (ar_jvalue){.type = AR_J_VIEW, .view = items};
    size_t start = ar__j_here(j);
    bool first = true;
    if (!ar__j_walk(&w, j, in)) return false;
    for (; ar__j_next(&item, j, &w); first = false)
        if (!put_pair(j, item, first)) return false;
    return !j->status && ar__j_take_value(out, j, start);
}

/* ---- lines and words -------------------------------------------------------------------------------------------------*/

static bool put_times(ar_jinja *j, const ar_jstr *s, int64_t times) {
    for (int64_t i = 0; i < times && !j->status; i++) ar__j_put_str(j, s);
    return !j->status;
}

AR_J_FILTER(indent) {
    static const ar_jstr space = {.data = " ", .size = 1, .points = 1};
    ar_jvalue v[3];
    int64_t width = 4;
    ar_jstr *by = NULL;
    if (!ar__j_bind(v, j, "indent", args, "width,first,blank", 0)) return false;
    if (v[0].type == AR_J_STRING)
        by = v[0].s;
    else if (!ar__j_arg_int(&width, j, "indent", v[0]))
        return false;
    if (in.type == AR_J_UNDEFINED) return ar__j_fail_undefined(j, in);
    if (in.type != AR_J_STRING) return ar__j_fail(j, "indent: found %s, wanted a string", ar__j_type_name(in));
    size_t start = ar__j_here(j);
    if (!by && (!put_times(j, &space, width) || !(by = ar__j_take(j, start)))) return false;
    ar__j_put_str(j, in.s);
    ar__j_puts(j, "\n");
    ar_jstr *whole = ar__j_take(j, start);
    ar_jlist *lines = whole ? ar__j_split_lines(j, whole, false) : NULL;
    for (size_t i = 0; lines && i < lines->count; i++) {
        bool indented = i ? ar__j_truth(v[2]) || lines->item[i].s->size : ar__j_truth(v[1]);
        if (i) ar__j_puts(j, "\n");
        if (indented) ar__j_put_str(j, by);
        ar__j_put_str(j, lines->item[i].s);
    }
    if (!lines || !ar__j_take_value(out, j, start)) return false;
    out->s->markup = in.s->markup;
    return true;
}

AR_J_FILTER(truncate) {
    static ar_jstr dots = {.data = "...", .size = 3, .points = 3}, space = {.data = " ", .size = 1, .points = 1};
    ar_jvalue v[4];
    ar_jstr *end = &dots;
    int64_t length = 255, leeway = 5;
    if (!ar__j_bind(v, j, "truncate", args, "length,killwords,end,leeway", 0) || !ar__j_arg_int(&length, j, "truncate", v[0]) ||
        !ar__j_arg_str(&end, j, "truncate", v[2]) || (v[3].type != AR_J_NONE && !ar__j_arg_int(&leeway, j, "truncate", v[3])))
        return false;
    if (length < ar__j_points(end) || leeway < 0) return ar__j_fail(j, "truncate: length or leeway is too small");
    if (in.type == AR_J_UNDEFINED) {
        *out = in;
        return true;
    }
    int64_t size;
    *out = in;
    if (!ar__j_length(&size, j, in)) return false;
    if (size <= length + leeway) return true;
    if (in.type != AR_J_STRING) return ar__j_fail(j, "truncate: found %s, wanted a string", ar__j_type_name(in));
    ar_jstr *cut = ar__j_part(j, in.s, 0, ar__j_offset(in.s, length - ar__j_points(end)));
    if (cut && !ar__j_truth(v[1])) {
        ar_jlist *parts = ar__j_split(j, cut, &space, 1, true);
        cut = parts ? parts->item[0].s : NULL;
    }
    if (!cut) return false;
    size_t start = ar__j_here(j);
    ar__j_put_str(j, cut);
    ar__j_put_str(j, end);
    return ar__j_take_value(out, j, start);
}

AR_J_FILTER(wordcount) {
    ar_jstr *s;
    int64_t words = 0;
    bool inside = false;
    size_t len;
    if (!ar__j_bind(NULL, j, "wordcount", args, "", 0) || !text_of(&s, j, in) || !ar__j_spend(j, s->size)) return false;
    for (size_t i = 0; i < s->size; i += len) {
        bool word = ar__j_is_word(ar__utf8_get(s->data + i, &len));
        words += word && !inside;
        inside = word;
    }
    *out = ar__j_int(words);
    return true;
}
