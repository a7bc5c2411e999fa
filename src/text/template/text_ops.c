#include "text/template/text_ops.h"

#include <string.h>

#include "text/utf8.h"

static bool among(uint32_t c, const ar_jstr *chars) {
    size_t len;
    if (!chars) return ar__j_is_space(c);
    for (size_t i = 0; i < chars->size; i += len)
        if (ar__utf8_get(chars->data + i, &len) == c) return true;
    return false;
}

ar_jstr *ar__j_strip(ar_jinja *j, ar_jstr *s, const ar_jstr *chars, int sides) {
    size_t from = 0, to = s->size, len, cost = chars ? 1 + chars->size / 16 : 1; /* of a character */
    while ((sides & AR_STRIP_LEFT) && from < to && ar__j_spend(j, cost) && among(ar__utf8_get(s->data + from, &len), chars)) from += len;
    while ((sides & AR_STRIP_RIGHT) && to > from && ar__j_spend(j, cost)) {
        size_t back = ar__utf8_back(s->data, to);
        if (!among(ar__utf8_get(s->data + back, &len), chars)) break;
        to = back;
    }
    return j->status ? NULL : ar__j_part(j, s, from, to);
}

bool ar__j_put_replaced(ar_jinja *j, const ar_jstr *s, const ar_jstr *old, const ar_jstr *by, int64_t count) {
    size_t from = 0, len;
    if (!ar__j_spend(j, s->size / 64)) return false;
    if (!old->size) { /* before each character and at the end */
        for (size_t i = 0; i < s->size && count && !j->status; i += len, count -= count > 0) {
            ar__utf8_get(s->data + i, &len);
            ar__j_put_str(j, by);
            ar__j_put_part(j, s, i, i + len);
            from = i + len;
        }
        ar__j_put_part(j, s, from, s->size);
        if (count && from == s->size) ar__j_put_str(j, by);
        return !j->status;
    }
    for (size_t at; count && !j->status && (at = ar__j_find(s, old, from)) != SIZE_MAX; count -= count > 0) {
        ar__j_put_part(j, s, from, at);
        ar__j_put_str(j, by);
        from = at + old->size;
    }
    ar__j_put_part(j, s, from, s->size);
    return !j->status;
}

/* ---- splitting -------------------------------------------------------------------------------------------------------*/

static bool add_part(ar_jinja *j, ar_jlist *l, ar_jstr *s, size_t from, size_t to) {
    ar_jstr *part = ar__j_part(j, s, from, to);
    return part && ar__j_list_add(j, l, ar__j_string(part));
}

static void turn_around(ar_jlist *l) {
    for (size_t i = 0, k = l->count; i + 1 < k; i++) {
        ar_jvalue v = l->item[i];
        l->item[i] = l->item[--k];
        l->item[k] = v;
    }
}

static size_t skip(const ar_jstr *s, size_t at, bool space) {
    size_t len;
    while (at < s->size && ar__j_is_space(ar__utf8_get(s->data + at, &len)) == space) at += len;
    return at;
}

static size_t skip_back(const ar_jstr *s, size_t to, bool space) {
    while (to > 0) {
        size_t back = ar__utf8_back(s->data, to), len;
        if (ar__j_is_space(ar__utf8_get(s->data + back, &len)) != space) break;
        to = back;
    }
    return to;
}

/* At runs of white space; none are left at the ends. */
static bool split_words(ar_jinja *j, ar_jlist *l, ar_jstr *s, int64_t most) {
    for (size_t at = skip(s, 0, true); at<s->size; most -= most> 0) {
        size_t end = most ? skip(s, at, false) : s->size; /* the rest as it stands, spaces at its end included */
        if (!add_part(j, l, s, at, end)) return false;
        at = skip(s, end, true);
    }
    return true;
}

static bool split_words_back(ar_jinja *j, ar_jlist *l, ar_jstr *s, int64_t most) {
    for (size_t to = skip_back(s, s->size, true); to > 0; most -= most > 0) {
        size_t from = most ? skip_back(s, to, false) : 0;
        if (!add_part(j, l, s, from, to)) return false;
        to = skip_back(s, from, true);
    }
    turn_around(l);
    return true;
}

static bool split_at(ar_jinja *j, ar_jlist *l, ar_jstr *s, const ar_jstr *separator, int64_t most) {
    size_t from = 0;
    for (size_t at; most && (at = ar__j_find(s, separator, from)) != SIZE_MAX; most -= most > 0) {
        if (!add_part(j, l, s, from, at)) return false;
        from = at + separator->size;
    }
    return add_part(j, l, s, from, s->size);
}

static size_t find_back(const ar_jstr *s, const ar_jstr *what, size_t to) {
    for (size_t at = to >= what->size ? to - what->size + 1 : 0; at-- > 0;)
        if (!memcmp(s->data + at, what->data, what->size)) return at;
    return SIZE_MAX;
}

static bool split_at_back(ar_jinja *j, ar_jlist *l, ar_jstr *s, const ar_jstr *separator, int64_t most) {
    size_t to = s->size;
    for (size_t at; most && (at = find_back(s, separator, to)) != SIZE_MAX; most -= most > 0) {
        if (!add_part(j, l, s, at + separator->size, to)) return false;
        to = at;
    }
    if (!add_part(j, l, s, 0, to)) return false;
    turn_around(l);
    return true;
}

ar_jlist *ar__j_split(ar_jinja *j, ar_jstr *s, const ar_jstr *separator, int64_t most, bool from_right) {
    ar_jlist *l = ar__j_list_new(j, 0);
    if (!l || !ar__j_spend(j, s->size / 32)) return NULL;
    if (separator && !separator->size) {
        ar__j_fail(j, "split: empty separator");
        return NULL;
    }
    bool ok = !separator ? (from_right ? split_words_back : split_words)(j, l, s, most)
                         : (from_right ? split_at_back : split_at)(j, l, s, separator, most);
    return ok ? l : NULL;
}

static bool ends_line(uint32_t c) { return (c >= 10 && c <= 13) || (c >= 28 && c <= 30) || c == 0x85 || c == 0x2028 || c == 0x2029; }

ar_jlist *ar__j_split_lines(ar_jinja *j, ar_jstr *s, bool keep_ends) {
    ar_jlist *l = ar__j_list_new(j, 0);
    size_t from = 0, len;
    for (size_t i = 0; l && i < s->size; i += len) {
        if (!ends_line(ar__utf8_get(s->data + i, &len))) continue;
        if (s->data[i] == '\r' && i + 1 < s->size && s->data[i + 1] == '\n') len = 2;
        if (!add_part(j, l, s, from, keep_ends ? i + len : i)) return NULL;
        from = i + len;
    }
    if (l && from < s->size && !add_part(j, l, s, from, s->size)) return NULL;
    return l && ar__j_spend(j, s->size / 16) ? l : NULL;
}

bool ar__j_put_padded(ar_jinja *j, ar_jstr *s, int64_t width, char align, const ar_jstr *fill) {
    int64_t pad = width - ar__j_points(s), left = 0;
    if (pad < 0) pad = 0;
    if (align == '>') left = pad;
    if (align == '^') left = pad / 2;
    if (align == 'c') left = pad / 2 + (pad & width & 1);
    ar__j_put_times(j, fill, left);
    ar__j_put_str(j, s);
    ar__j_put_times(j, fill, pad - left);
    return !j->status;
}
