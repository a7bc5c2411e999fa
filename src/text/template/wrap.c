/* wordwrap: Python's textwrap over each line.
 *
 *     chunks: runs of white space, words; words end behind a hyphen between letters and before two hyphens */
#include <string.h>

#include "text/template/filters.h"
#include "text/template/letters.h"
#include "text/template/text_ops.h"
#include "text/utf8.h"

typedef struct wrapper {
    ar_jinja *j;
    ar_jstr *s; /* the line */
    int64_t width;
    bool break_words, break_hyphens;
    const ar_jstr *newline;
    bool any; /* a line was written */
} wrapper;

typedef struct chunk {
    size_t from, to;
} chunk;

static bool is_blank(char c) { return c == ' ' || (c >= 9 && c <= 13); }
static uint32_t before(const ar_jstr *s, size_t at) {
    size_t len;
    return at ? ar__utf8_get(s->data + ar__utf8_back(s->data, at), &len) : 0;
}
static uint32_t at_(const ar_jstr *s, size_t at) {
    size_t len;
    return at < s->size ? ar__utf8_get(s->data + at, &len) : 0;
}
static bool is_letter(uint32_t c) { return c && ar__j_is_word(c) && !(c >= '0' && c <= '9'); }
static bool may_precede_dash(uint32_t c) { return c && (ar__j_is_word(c) || (c < 0x80 && strchr("!\"'&.,?", (int)c))); }

/* Two or more hyphens and a letter or digit behind them: their end, 0 where there are none. */
static size_t dash_end(const ar_jstr *s, size_t at) {
    size_t to = at;
    while (to < s->size && s->data[to] == '-') to++;
    return to >= at + 2 && ar__j_is_word(at_(s, to)) ? to : 0;
}

/* Whether a word may end behind the hyphen at `at`. */
static bool hyphen_ends(const ar_jstr *s, size_t at, size_t from) {
    if (s->data[at] != '-' || at == from) return false;
    size_t back = ar__utf8_back(s->data, at);
    uint32_t one = before(s, at), two = back ? before(s, back) : 0;
    size_t back2 = two ? ar__utf8_back(s->data, back) : 0;
    bool letters = is_letter(one) && (is_letter(two) || (two == '-' && is_letter(before(s, back2))));
    size_t next = at + 1, second = next + (next < s->size ? ar__utf8_size(s->data[next]) : 0);
    if (second < s->size && s->data[second] == '-') second++;
    return letters && is_letter(at_(s, next)) && is_letter(at_(s, second));
}

static chunk next_chunk(const wrapper *w, size_t from) {
    const ar_jstr *s = w->s;
    size_t to = from, dash;
    if (is_blank(s->data[from])) {
        while (to < s->size && is_blank(s->data[to])) to++;
        return (chunk){from, to};
    }
    if (!w->break_hyphens) {
        while (to < s->size && !is_blank(s->data[to])) to++;
        return (chunk){from, to};
    }
    if (may_precede_dash(before(s, from)) && (dash = dash_end(s, from)) != 0) return (chunk){from, dash};
    do {
        size_t was = to;
        to += ar__utf8_size(s->data[to]);
        if (was > from && hyphen_ends(s, was, from)) break;
    } while (to < s->size && !is_blank(s->data[to]) && !(may_precede_dash(before(s, to)) && dash_end(s, to)));
    return (chunk){from, to};
}

static int64_t length_of(const wrapper *w, size_t from, size_t to) {
    int64_t n = 0;
    for (size_t i = from; i < to; i++) n += (w->s->data[i] & 0xC0) != 0x80;
    return n;
}

static size_t forward(const wrapper *w, size_t at, int64_t points) {
    for (; points > 0; points--) at += ar__utf8_size(w->s->data[at]);
    return at;
}

/* What of a word that is longer than a line still goes onto this one. */
static size_t cut_word(const wrapper *w, chunk word, int64_t left) {
    size_t end = forward(w, word.from, left);
    if (!w->break_hyphens) return end;
    for (size_t i = end; i-- > word.from + 1;) {
        bool other = false;
        if (w->s->data[i] != '-') continue;
        for (size_t k = word.from; k < i; k++) other = other || w->s->data[k] != '-';
        return other ? i + 1 : end;
    }
    return end;
}

static void put_line(wrapper *w, size_t from, size_t to) {
    if (to > from && w->any) ar__j_put_str(w->j, w->newline);
    ar__j_put_part(w->j, w->s, from, to);
    w->any = w->any || to > from;
}

static bool is_blank_run(const wrapper *w, chunk c) { return c.from < c.to && is_blank(w->s->data[c.from]); }

static chunk following(const wrapper *w, chunk c) { return c.to < w->s->size ? next_chunk(w, c.to) : (chunk){c.to, c.to}; }

static bool wrap_line(wrapper *w) {
    chunk c = following(w, (chunk){0});
    while (c.from < w->s->size && ar__j_spend(w->j, 1)) {
        if (w->any && is_blank_run(w, c)) c = following(w, c);
        size_t from = c.from, end = from; /* end: without the white space that the line ends with */
        while (c.from < w->s->size) {
            if (!ar__j_spend(w->j, (c.to - from) / 8)) return false;
            int64_t used = length_of(w, from, c.from), need = length_of(w, c.from, c.to);
            if (used + need <= w->width) {
                if (!is_blank_run(w, c)) end = c.to;
                c = following(w, c);
                continue;
            }
            if (need <= w->width) break;
            if (w->break_words) {
                c.from = end = cut_word(w, c, w->width - used); /* what is left of it stays one */
            } else if (c.from == from) {
                end = c.to;
                c = following(w, c);
            }
            break;
        }
        put_line(w, from, end);
    }
    return !w->j->status;
}

AR_J_FILTER(wordwrap) {
    static ar_jstr newline = {.data = "\n", .size = 1, .points = 1};
    ar_jvalue v[4];
    ar_jstr *by = &newline;
    wrapper w = {.j = j, .width = 79};
    if (!ar__j_bind(v, j, "wordwrap", args, "width,break_long_words,wrapstring,break_on_hyphens", 0) ||
        !ar__j_arg_int(&w.width, j, "wordwrap", v[0]) || (v[2].type != AR_J_NONE && !ar__j_arg_str(&by, j, "wordwrap", v[2])))
        return false;
    if (in.type != AR_J_STRING) return ar__j_fail(j, "wordwrap: found %s, wanted a string", ar__j_type_name(in));
    w.break_words = v[1].type == AR_J_ABSENT || ar__j_truth(v[1]);
    w.break_hyphens = v[3].type == AR_J_ABSENT || ar__j_truth(v[3]);
    w.newline = by;
    ar_jlist *lines = ar__j_split_lines(j, in.s, false);
    size_t start = ar__j_here(j);
    if (lines && lines->count && w.width <= 0) return ar__j_fail(j, "wordwrap: the width must be above 0");
    for (size_t i = 0; lines && i < lines->count; i++) {
        if (i) ar__j_put_str(j, by);
        w.s = lines->item[i].s;
        w.any = false;
        if (!wrap_line(&w)) return false;
    }
    return lines && ar__j_take_value(out, j, start);
}
