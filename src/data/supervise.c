#include "data/supervise.h"

#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/mem.h"

typedef struct turn {
    const ar_chat *chat;
    const ar_conversation *of;
    ar_rendered *whole, *part;
    size_t at;                    /* the message */
    size_t cursor;                /* of the whole: turns before end here */
    const ar_frame *inner, *last; /* NULL: not known */
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

/* ---- turns in a frame ------------------------------------------------------------------------------------------------*/

/* The bytes of message i at or behind `from`, up to the first that is none of it, and that say its content, be it without white space
 * around. */
static bool find_content(size_t *first, size_t *end, const ar_rendered *w, size_t i, size_t from, const char *content, size_t n) {
    while (n && strchr(" \t\n\r", content[n - 1])) n--;
    while (n && strchr(" \t\n\r", *content)) content++, n--;
    const char *at = n ? memmem(w->text.data + from, w->text.len - from, content, n) : NULL;
    if (!at) return false;
    *first = (size_t)(at - w->text.data);
    *end = *first + n;
    for (size_t k = *first; k < *end; k++)
        if (!is_of((uint8_t)w->marks.data[k], i)) return false;
    return true;
}

static bool stands_at(const ar_buf *text, size_t at, const char *what, size_t n) {
    return at <= text->len && n <= text->len - at && (!n || !memcmp(text->data + at, what, n));
}

/* An answer that is only text, in the frame that the template puts around such. */
static bool learn_framed(turn *t) {
    const json_t *m = json_array_get(t->of->messages, t->at), *content = json_object_get(m, "content");
    if (!ar__message_is_from(m, "assistant")) return false;
    const ar_frame *f = t->at + 1 == t->of->count ? t->last : t->inner;
    const ar_buf *text = &t->whole->text;
    size_t first, end, from;
    if (!f || !f->known || t->of->tools || t->of->vars || json_object_size(m) != 2 || !json_is_string(content)) return false;
    if (!find_content(&first, &end, t->whole, t->at, t->cursor, json_string_value(content), json_string_length(content))) return false;
    /* White space that the template leaves around it belongs to it. */
    while (first > t->cursor && is_of((uint8_t)t->whole->marks.data[first - 1], t->at)) first--;
    while (end < text->len && is_of((uint8_t)t->whole->marks.data[end], t->at)) end++;
    if (first < f->before_n + f->given_n) return false;
    from = first - f->before_n;
    if (!stands_at(text, from - f->given_n, f->given, f->given_n) || !stands_at(text, from, f->before, f->before_n) ||
        !stands_at(text, end, f->after, f->after_n))
        return false;
    learn(t, from, end + f->after_n);
    t->cursor = end + f->after_n;
    return true;
}

/* ---- turns -------------------------------------------------------------------------------------------------------*/

/* What a model is given before message `at`; before the first one nothing, since templates fail on no messages. */
static ar_status render_given(turn *t, bool answer, ar_error *err) {
    if (t->at) return ar__chat_render(t->part, t->chat, t->of, t->at, answer, err);
    ar_status s = ar__chat_render(t->part, t->chat, t->of, 0, answer, NULL);
    if (!s) return AR_OK;
    ar__buf_clear(&t->part->text);
    ar__buf_clear(&t->part->marks);
    return s == AR_ERR_VALUE ? AR_OK : ar__fail_memory(err, "template");
}

/* Of whom is no assistant what it says, without what the template writes in front. */
static size_t own_start(const turn *t, size_t start) {
    size_t first, end;
    bytes_of(&first, &end, t->part, t->at, start);
    return first < end ? first : start;
}

static ar_status learn_turn(ar_supervised *out, turn *t, ar_error *err) {
    bool answer = ar__message_is_from(json_array_get(t->of->messages, t->at), "assistant");
    ar_status s = render_given(t, answer, err);
    if (s) return s;
    bool unknown = !t->part->text.len; /* what is given */
    ar_buf given = t->part->text;      /* kept while the next is rendered */
    t->part->text = (ar_buf){0};
    s = ar__chat_render(t->part, t->chat, t->of, t->at + 1, false, err);
    const ar_buf *with = &t->part->text;
    size_t start = s ? 0 : common(&given, with);
    if (start < given.len) start = s ? 0 : before_tag(with, 0, start); /* <think> is given, say, and not written back */
    ar__buf_release(&given);
    if (s) return s;
    if (!answer || unknown) start = own_start(t, start);
    if (!begins_with(&t->whole->text, with)) return learn_rewritten(out, t, start, err);
    learn(t, start, with->len);
    t->cursor = with->len;
    return AR_OK;
}

static ar_status learn_turns(ar_supervised *out, turn *t, const bool *wanted, ar_error *err) {
    ar_status s = AR_OK;
    for (t->at = 0; !s && t->at < t->of->count; t->at++)
        if (wanted[t->at] && !learn_framed(t)) s = learn_turn(out, t, err);
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

/* The end of the run of learned bytes at `from`, or of the first answer's where answers touch: a message's first byte ends it, with the
 * white space that the template writes in front. */
static size_t run_end(const ar_rendered *w, size_t from) {
    uint8_t of = 0;
    size_t to = from;
    for (; to < w->text.len && w->marks.data[to] & AR_LEARNED; to++) {
        uint8_t mark = (uint8_t)w->marks.data[to] & (uint8_t) ~(AR_MESSAGE_UNIT - 1);
        if (!mark || mark == of) continue;
        if (!of) {
            of = mark;
            continue;
        }
        while (to > from && strchr(" \t\r\n", w->text.data[to - 1]) && (uint8_t)w->marks.data[to - 1] < AR_MESSAGE_UNIT) to--;
        return to;
    }
    return to;
}

/* Takes back what is not wanted of what the template marked.  A run without a byte of a message is the next answer's, which says nothing.
 */
static void keep_wanted(const ar_rendered *w, const bool *wanted, const ar_conversation *c) {
    size_t message = 0;
    for (size_t from = 0, to; from < w->text.len; from = to) {
        bool learned = w->marks.data[from] & AR_LEARNED;
        for (to = from; to < w->text.len && !learned && !(w->marks.data[to] & AR_LEARNED);) to++;
        if (!learned) continue;
        to = run_end(w, from);
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
        wanted[i] = c->learn[i] == AR_MESSAGE_NAMED || (c->learn[i] && (answer || blocks));
        if (wanted[i] && answer) last = i;
    }
    for (size_t i = 0; i < c->count; i++) {
        if (on == AR_TRAIN_ON_LAST && i != last) wanted[i] = false;
        out->turns += wanted[i];
    }
}

ar_status ar__supervise(ar_supervised *out, ar_rendered *whole, ar_rendered *part, const ar_chat *c, const ar_frames *frames,
                        const ar_conversation *conversation, ar_train_on on, ar_error *err) {
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
    turn t = {.chat = c, .of = conversation, .whole = whole, .part = part};
    if (blocks) {
        keep_wanted(whole, wanted, conversation);
        for (size_t i = 0; i < conversation->count; i++) /* no block is around what others say */
            wanted[i] = wanted[i] && conversation->learn[i] == AR_MESSAGE_NAMED &&
                        !ar__message_is_from(json_array_get(conversation->messages, i), "assistant");
        s = learn_turns(out, &t, wanted, err);
    } else {
        if (frames && ar__chat_choose(c, conversation) == &c->of[c->standard]) {
            t.inner = &frames->inner;
            t.last = &frames->last;
        }
        s = learn_turns(out, &t, wanted, err);
    }
    free(wanted);
    return s;
}

/* ---- frames --------------------------------------------------------------------------------------------------------*/

enum { GIVEN_BYTES = 16 };

/* Around the content of message i in a whole of which the learned parts are marked. */
static ar_status read_frame(ar_frame *out, const ar_rendered *w, size_t i, const char *content, ar_error *err) {
    size_t first, end, from, to, n = strlen(content);
    const char *text = w->text.data;
    if (!w->text.len || !find_content(&first, &end, w, i, 0, content, n)) return AR_OK;
    for (from = first; from > 0 && w->marks.data[from - 1] & AR_LEARNED;) from--;
    for (to = first; to < w->text.len && w->marks.data[to] & AR_LEARNED;) to++;
    if (to < end) return AR_OK;
    out->given_n = from < GIVEN_BYTES ? from : GIVEN_BYTES;
    out->before_n = first - from;
    out->after_n = to - end;
    out->given = ar__strndup(text + from - out->given_n, out->given_n);
    out->before = ar__strndup(text + from, out->before_n);
    out->after = ar__strndup(text + end, out->after_n);
    out->known = out->given && out->before && out->after;
    return out->known ? AR_OK : ar__fail_memory(err, "template");
}

/* A template that refuses such a conversation has no frames. */
static ar_status find_frames(ar_frame *inner, ar_frame *last, const ar_chat *c, ar_error *err) {
    ar_rendered whole = {0}, part = {0};
    ar_supervised told;
    ar_conversation probe;
    json_t *list = json_pack("[{s:s, s:s}, {s:s, s:s}, {s:s, s:s}, {s:s, s:s}]", "role", "user", "content", "first", "role", "assistant",
                             "content", "inner answer", "role", "user", "content", "second", "role", "assistant", "content", "last answer");
    ar_status s = list ? ar__conversation_from(&probe, list, NULL, err) : ar__fail_memory(err, "template");
    json_decref(list);
    if (s) return s;
    s = ar__supervise(&told, &whole, &part, c, NULL, &probe, AR_TRAIN_ON_COMPLETION, NULL);
    if (!s && !told.rewritten) s = read_frame(inner, &whole, 1, "inner answer", err);
    if (!s && !told.rewritten) s = read_frame(last, &whole, 3, "last answer", err);
    if (s == AR_ERR_VALUE) s = AR_OK;
    ar__conversation_release(&probe);
    ar__rendered_release(&whole);
    ar__rendered_release(&part);
    return s;
}

ar_status ar__frames_find(ar_frames *out, const ar_chat *c, ar_error *err) {
    *out = (ar_frames){0};
    if (c->broken) return AR_OK;
    return find_frames(&out->inner, &out->last, c, err);
}

static void release_frame(ar_frame *f) {
    free(f->given);
    free(f->before);
    free(f->after);
}

void ar__frames_release(ar_frames *f) {
    release_frame(&f->inner);
    release_frame(&f->last);
    *f = (ar_frames){0};
}
