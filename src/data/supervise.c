#include "data/supervise.h"

#include <stdlib.h>
#include <string.h>

#include "base/fail.h"

typedef struct turn {
    const ar_chat *chat;
    const ar_conversation *of;
    ar_rendered *whole, *part;
    size_t at;     /* the message */
    size_t cursor; /* of the whole: turns before end here */
} turn;

static uint8_t message_bits(size_t i) { return (uint8_t)(AR_MESSAGE_UNIT * (1 + i % AR_MESSAGE_CYCLE)); }
static bool is_of(uint8_t mark, size_t i) { return (mark & ~(AR_MESSAGE_UNIT - 1)) == message_bits(i); }

static size_t common(const ar_buf *a, const ar_buf *b) {
    size_t n = a->len < b->len ? a->len : b->len, i = 0;
    while (i < n && a->data[i] == b->data[i]) i++;
    return i;
}

static bool begins_with(const ar_buf *whole, const ar_buf *part) {
    return part->len <= whole->len && (!part->len || !memcmp(whole->data, part->data, part->len));
}

/* Two texts part in mid-tag (<|end|> from <|endoftext|>): the place before that. */
static size_t before_tag(const ar_buf *text, size_t from, size_t to) {
    while (to > from && !strchr(">]\n", text->data[to - 1])) to--;
    return to;
}

static void learn(const turn *t, size_t from, size_t to) {
    for (size_t i = from; i < to; i++) t->whole->marks.data[i] |= AR_LEARNED;
}

/* ---- turns that are written differently in the whole -----------------------------------------------------------------*/

/* The first and behind the last byte of message i at or behind `from`; equal where there is none. */
static void bytes_of(size_t *first, size_t *end, const ar_rendered *r, size_t i, size_t from) {
    *first = *end = r->text.len;
    for (size_t k = from; k < r->text.len; k++) {
        if (!is_of((uint8_t)r->marks.data[k], i)) continue;
        if (*first == r->text.len) *first = k;
        *end = k + 1;
        if (k - *first > r->text.len) break;
    }
    if (*first == r->text.len) *first = *end = from;
}

/* Whether both say the same of message i from those places on. */
static bool says_same(const ar_rendered *a, size_t from_a, size_t to_a, const ar_rendered *b, size_t from_b, size_t to_b, size_t i) {
    for (;;) {
        while (from_a < to_a && !is_of((uint8_t)a->marks.data[from_a], i)) from_a++;
        while (from_b < to_b && !is_of((uint8_t)b->marks.data[from_b], i)) from_b++;
        if (from_a == to_a || from_b == to_b) return from_a == to_a && from_b == to_b;
        if (a->text.data[from_a++] != b->text.data[from_b++]) return false;
    }
}

/* What the template writes to begin an answer: the text behind [0, count) messages with the prompt.  *out is released by the caller. */
static ar_status read_header(ar_buf *out, const turn *t, ar_error *err) {
    ar_rendered bare = {0};
    ar_status s = ar__chat_render(&bare, t->chat, t->of, t->at, false, err);
    if (!s) s = ar__chat_render(t->part, t->chat, t->of, t->at, true, err);
    const ar_buf *given = &t->part->text;
    size_t from = s ? 0 : common(given, &bare.text);
    if (!s && from < bare.text.len) from = before_tag(given, 0, from);
    if (!s && from < given->len) ar__buf_add(out, given->data + from, given->len - from);
    ar__rendered_release(&bare);
    return s;
}

/* part: the conversation up to the turn, which begins at `start` of it. */
static bool find_turn(size_t *from, size_t *to, const turn *t, const ar_buf *header, size_t start) {
    const ar_rendered *w = t->whole, *p = t->part;
    size_t first, end, own_first, own_end;
    const char *at = header->len ? memmem(w->text.data + t->cursor, w->text.len - t->cursor, header->data, header->len) : NULL;
    if (!at) return false;
    *from = (size_t)(at - w->text.data) + header->len;
    bytes_of(&first, &end, w, t->at, *from);
    bytes_of(&own_first, &own_end, p, t->at, start);
    size_t behind = p->text.len - own_end, left = w->text.len - end, n = behind < left ? behind : left, same = 0;
    while (same < n && w->text.data[end + same] == p->text.data[own_end + same]) same++;
    *to = same == behind ? end + same : before_tag(&w->text, end, end + same);
    return says_same(w, *from, end, p, start, own_end, t->at);
}

static ar_status learn_rewritten(ar_supervised *out, turn *t, size_t start, ar_error *err) {
    ar_buf header = {0};
    size_t from, to;
    ar_status s = read_header(&header, t, err);
    if (!s) s = ar__chat_render(t->part, t->chat, t->of, t->at + 1, false, err);
    if (!s && header.failed) s = ar__fail_memory(err, "template");
    if (!s && find_turn(&from, &to, t, &header, start)) {
        learn(t, from, to);
        t->cursor = to;
    } else if (!s) {
        out->rewritten++;
    }
    ar__buf_release(&header);
    return s;
}

/* ---- turns -------------------------------------------------------------------------------------------------------*/

static ar_status learn_turn(ar_supervised *out, turn *t, ar_error *err) {
    ar_status s = ar__chat_render(t->part, t->chat, t->of, t->at, true, err);
    if (s) return s;
    ar_buf given = t->part->text; /* kept while the next is rendered */
    t->part->text = (ar_buf){0};
    s = ar__chat_render(t->part, t->chat, t->of, t->at + 1, false, err);
    const ar_buf *with = &t->part->text;
    size_t start = s ? 0 : common(&given, with);
    if (start < given.len) start = s ? 0 : before_tag(with, 0, start); /* <think> is given, say, and not written back */
    ar__buf_release(&given);
    if (s) return s;
    if (!begins_with(&t->whole->text, with)) return learn_rewritten(out, t, start, err);
    learn(t, start, with->len);
    t->cursor = with->len;
    return AR_OK;
}

static ar_status learn_turns(ar_supervised *out, turn *t, const bool *wanted, ar_error *err) {
    ar_status s = AR_OK;
    for (t->at = 0; !s && t->at < t->of->count; t->at++)
        if (wanted[t->at]) s = learn_turn(out, t, err);
    return s;
}

/* ---- {% generation %} --------------------------------------------------------------------------------------------------*/

/* The message that bytes [from, to) are of, sought from `i` on; count where they say none. */
static size_t message_of(const ar_rendered *w, size_t from, size_t to, size_t i, size_t count) {
    for (size_t k = from; k < to; k++) {
        uint8_t mark = (uint8_t)w->marks.data[k];
        if (mark < AR_MESSAGE_UNIT) continue;
        while (i < count && !is_of(mark, i)) i++;
        return i;
    }
    return count;
}

/* Takes back what is not wanted of what the template marked.  A run without a byte of a message is the next answer's, which says nothing.
 */
static void keep_wanted(const ar_rendered *w, const bool *wanted, const ar_conversation *c) {
    size_t message = 0;
    for (size_t from = 0, to; from < w->text.len; from = to) {
        bool learned = w->marks.data[from] & AR_LEARNED;
        for (to = from; to < w->text.len && ((w->marks.data[to] & AR_LEARNED) != 0) == learned;) to++;
        if (!learned) continue;
        size_t of = message_of(w, from, to, message, c->count);
        for (size_t i = message + 1; of == c->count && i < c->count; i++)
            if (ar__message_is_from(json_array_get(c->messages, i), "assistant")) of = i;
        if (of < c->count) message = of;
        if (of == c->count || wanted[of]) continue;
        for (size_t k = from; k < to; k++) w->marks.data[k] &= (char)~AR_LEARNED;
    }
}

/* ---- all -----------------------------------------------------------------------------------------------------------*/

/* blocks: the template says itself what is learned, of whomever. */
static void choose(bool *wanted, ar_supervised *out, const ar_conversation *c, ar_train_on on, bool blocks) {
    size_t last = c->count;
    for (size_t i = 0; i < c->count; i++) {
        bool answer = ar__message_is_from(json_array_get(c->messages, i), "assistant");
        wanted[i] = c->learn[i] && (answer || blocks);
        if (wanted[i] && answer) last = i;
    }
    for (size_t i = 0; i < c->count; i++) {
        if (on == AR_TRAIN_ON_LAST && i != last) wanted[i] = false;
        out->turns += wanted[i];
    }
}

ar_status ar__supervise(ar_supervised *out, ar_rendered *whole, ar_rendered *part, const ar_chat *c, const ar_conversation *conversation,
                        ar_train_on on, ar_error *err) {
    *out = (ar_supervised){0};
    ar_status s = ar__chat_render(whole, c, conversation, conversation->count, false, err);
    if (s) return s;
    if (on == AR_TRAIN_ON_ALL) {
        for (size_t i = 0; i < whole->marks.len; i++) whole->marks.data[i] |= AR_LEARNED;
        return AR_OK;
    }
    bool *wanted = calloc(conversation->count + 1, sizeof *wanted);
    if (!wanted) return ar__fail_memory(err, "messages");
    bool blocks = ar__template_has_generation(ar__chat_choose(c, conversation)->t);
    choose(wanted, out, conversation, on, blocks);
    if (blocks) {
        keep_wanted(whole, wanted, conversation);
    } else {
        turn t = {.chat = c, .of = conversation, .whole = whole, .part = part};
        s = learn_turns(out, &t, wanted, err);
    }
    free(wanted);
    return s;
}
