#include "data/supervise.h"

#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/mem.h"

enum { NO_MESSAGE = -1 };

/* Which message each byte of a text is of.  Marks say that but for multiples of AR_MESSAGE_CYCLE: of messages that are so far apart it is
 * the one nearest to those before. */
typedef struct owners {
    const ar_rendered *of;
    int32_t *exact; /* [of->text.len]; NULL: the marks do */
} owners;

static bool owners_find(owners *out, const ar_rendered *r, size_t count) {
    *out = (owners){.of = r};
    if (count <= AR_MESSAGE_CYCLE) return true;
    out->exact = malloc((r->text.len + 1) * sizeof *out->exact);
    int32_t at = 0;
    for (size_t k = 0; out->exact && k < r->text.len; k++) {
        int32_t mark = (uint8_t)r->marks.data[k] / AR_MESSAGE_UNIT - 1,
                step = (mark - at % AR_MESSAGE_CYCLE + AR_MESSAGE_CYCLE) % AR_MESSAGE_CYCLE;
        if (mark >= 0 && step > AR_MESSAGE_CYCLE / 2 && at + step >= AR_MESSAGE_CYCLE) step -= AR_MESSAGE_CYCLE;
        if (mark >= 0) at += step;
        out->exact[k] = mark < 0 ? NO_MESSAGE : at;
    }
    return out->exact;
}

static void owners_release(owners *o) {
    free(o->exact);
    *o = (owners){0};
}

static int32_t owner(const owners *o, size_t k) { return o->exact ? o->exact[k] : (uint8_t)o->of->marks.data[k] / AR_MESSAGE_UNIT - 1; }

typedef struct turn {
    const ar_chat *chat;
    const ar_conversation *of;
    ar_rendered *whole, *part;
    owners whose;            /* of the whole */
    int32_t at;              /* the message */
    size_t cursor;           /* of the whole: turns before end here */
    const ar_frames *frames; /* NULL: not known */
} turn;

static size_t common(const char *a, size_t n, const char *b, size_t m) {
    size_t least = n < m ? n : m, i = 0;
    while (i < least && a[i] == b[i]) i++;
    return i;
}

static bool begins_with(const ar_buf *whole, const ar_buf *part) {
    return part->len <= whole->len && (!part->len || !memcmp(whole->data, part->data, part->len));
}

/* Two texts part in mid-tag (<|end|> from <|endoftext|>): the place before that. */
static size_t before_tag(const char *text, size_t from, size_t to) {
    while (to > from && !strchr(">]\n", text[to - 1])) to--;
    return to;
}

/* What is another message's is never learned in this turn. */
static void learn(const turn *t, size_t from, size_t to) {
    for (size_t i = from; i < to; i++) {
        int32_t of = owner(&t->whose, i);
        if (of == t->at || of == NO_MESSAGE) t->whole->marks.data[i] |= AR_LEARNED;
    }
}

/* ---- where a turn lies in a text -------------------------------------------------------------------------------------*/

/* before | what the template writes | first … own … end | what it writes behind */
typedef struct place {
    size_t before;     /* behind the last byte of another message in front */
    size_t first, end; /* of the message's own bytes, up to the next byte of another one; equal where there are none */
} place;

/* Of a text that ends with the turn. */
static place last_place(const owners *o, int32_t i) {
    size_t n = o->of->text.len, k = n;
    while (k > 0 && (owner(o, k - 1) == NO_MESSAGE || owner(o, k - 1) == i)) k--;
    place p = {.before = k, .first = n, .end = n};
    while (k < n && owner(o, k) != i) k++;
    if (k == n) return p;
    p.first = k;
    while (owner(o, p.end - 1) != i) p.end--;
    return p;
}

/* Of a text in which other turns follow: the first bytes of the message. */
static bool find_place(place *out, const owners *o, int32_t i) {
    size_t n = o->of->text.len, k = 0;
    *out = (place){0};
    for (; k < n && owner(o, k) != i; k++)
        if (owner(o, k) != NO_MESSAGE) out->before = k + 1;
    if (k == n) return false;
    out->first = k;
    for (; k < n && (owner(o, k) == i || owner(o, k) == NO_MESSAGE); k++)
        if (owner(o, k) == i) out->end = k + 1;
    return true;
}

/* Behind the last place where `what` stands in text[from, to); 0: nowhere. */
static size_t behind_last(const char *text, size_t from, size_t to, const char *what, size_t n) {
    for (size_t k = to; n && k >= from + n; k--)
        if (!memcmp(text + k - n, what, n)) return k;
    return 0;
}

/* What a model is given before the turn. */
typedef struct given {
    bool known;
    char *tail; /* behind the last byte of a message: the end of the turn before, and the header */
    size_t tail_n;
    size_t header; /* where the header begins in it: what add_generation_prompt adds */
} given;

static void given_release(given *g) {
    free(g->tail);
    *g = (given){0};
}

/* Where in text[p->before, p->first) the learned part begins: behind what a model is given.  Templates write that differently around some
 * turns: <think> is given and not written back; the end of the turn before is another, or missing.  Then the header decides, or as much
 * of it as is there.  SIZE_MAX: not to be told. */
static size_t begin_of(const char *text, const place *p, const given *g, const ar_frames *frames) {
    size_t n = p->first - p->before, same = common(text + p->before, n, g->tail, g->tail_n), header_n = g->tail_n - g->header;
    const char *header = g->tail + g->header;
    const char *usual = frames && !header_n ? frames->header : NULL; /* none is given behind another answer, or behind a system alone */
    size_t at = usual ? behind_last(text, p->before, p->first, usual, strlen(usual)) : 0;
    if (at) return at;
    if (same == g->tail_n || same == n) return p->before + same;
    if ((at = behind_last(text, p->before, p->first, header, header_n))) return at;
    size_t cut = before_tag(g->tail, 0, same);
    if (cut > g->header) return p->before + cut;
    for (size_t part = before_tag(header, 0, header_n - 1); header_n && part > 0; part = before_tag(header, 0, part - 1))
        if ((at = behind_last(text, p->before, p->first, header, part))) return at;
    return p->first < p->end ? p->first : SIZE_MAX;
}

/* Whether all that the message says in a (bytes of p) is said in b (bytes of q), in this order; b may say more. */
static bool says_all(const owners *a, const place *p, const owners *b, const place *q, int32_t i) {
    size_t k = q->first;
    for (size_t n = p->first; n < p->end; n++) {
        if (owner(a, n) != i) continue;
        while (k < q->end && (owner(b, k) != i || b->of->text.data[k] != a->of->text.data[n])) k++;
        if (k++ == q->end) return false;
    }
    return true;
}

/* ---- turns in a frame ------------------------------------------------------------------------------------------------*/

/* Bytes of message i at or behind `from` that say its content, be it without white space around. */
static bool find_content(size_t *first, size_t *end, const owners *o, int32_t i, size_t from, const char *content, size_t n) {
    const ar_buf *text = &o->of->text;
    while (n && strchr(" \t\n\r", content[n - 1])) n--;
    while (n && strchr(" \t\n\r", *content)) content++, n--;
    const char *at = n ? memmem(text->data + from, text->len - from, content, n) : NULL;
    if (!at) return false;
    *first = (size_t)(at - text->data);
    *end = *first + n;
    for (size_t k = *first; k < *end; k++)
        if (owner(o, k) != i) return false;
    return true;
}

static bool stands_at(const ar_buf *text, size_t at, const char *what, size_t n) {
    return at <= text->len && n <= text->len - at && (!n || !memcmp(text->data + at, what, n));
}

/* An answer that is only text, in the frame that the template puts around such. */
static bool learn_framed(turn *t) {
    const json_t *m = json_array_get(t->of->messages, (size_t)t->at), *content = json_object_get(m, "content");
    if (!ar__message_is_from(m, "assistant")) return false;
    const ar_frame *f = !t->frames ? NULL : (size_t)t->at + 1 == t->of->count ? &t->frames->last : &t->frames->inner;
    const ar_buf *text = &t->whole->text;
    size_t first, end, from;
    if (!f || !f->known || t->of->tools || t->of->vars || json_object_size(m) != 2 || !json_is_string(content)) return false;
    if (!find_content(&first, &end, &t->whose, t->at, t->cursor, json_string_value(content), json_string_length(content))) return false;
    /* White space that the template leaves around it belongs to it. */
    while (first > t->cursor && owner(&t->whose, first - 1) == t->at) first--;
    while (end < text->len && owner(&t->whose, end) == t->at) end++;
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

/* The conversation before the turn; before the first message nothing, since templates fail on no messages. */
static ar_status render_before(turn *t, bool prompt, ar_error *err) {
    if (t->at) return ar__chat_render(t->part, t->chat, t->of, (size_t)t->at, prompt, err);
    ar_status s = ar__chat_render(t->part, t->chat, t->of, 0, prompt, NULL);
    if (!s) return AR_OK;
    ar__buf_clear(&t->part->text);
    ar__buf_clear(&t->part->marks);
    return s == AR_ERR_VALUE ? AR_OK : ar__fail_memory(err, "template");
}

/* What a model is given before an answer; nothing is known of what others say. */
static ar_status find_given(given *out, turn *t, ar_error *err) {
    owners o;
    ar_buf *text = &t->part->text;
    ar_status s = render_before(t, false, err);
    ar_buf bare = *text; /* kept while the next is rendered */
    *text = (ar_buf){0};
    if (!s) s = render_before(t, true, err);
    if (!s && !owners_find(&o, t->part, t->of->count)) s = ar__fail_memory(err, "template");
    if (!s) {
        size_t from = text->len, header = common(text->data, text->len, bare.data, bare.len);
        while (from > 0 && owner(&o, from - 1) == NO_MESSAGE) from--;
        if (header < bare.len) header = before_tag(text->data, 0, header);
        out->known = text->len > 0;
        out->tail_n = text->len - from;
        out->header = header > from ? header - from : 0;
        out->tail = ar__strndup(text->len ? text->data + from : "", out->tail_n);
        if (!out->tail) s = ar__fail_memory(err, "template");
        owners_release(&o);
    }
    ar__buf_release(&bare);
    return s;
}

/* In the whole the turn is written differently from where it ends the conversation (with: its place in t->part). */
static bool learn_rewritten(turn *t, const owners *o, const place *with, const given *g) {
    place p;
    const ar_buf *whole = &t->whole->text, *part = &t->part->text;
    if (with->first == with->end || !find_place(&p, &t->whose, t->at) || !says_all(o, with, &t->whose, &p, t->at)) return false;
    size_t from = g->known ? begin_of(whole->data, &p, g, t->frames) : p.first, behind = part->len - with->end;
    size_t same = common(whole->data + p.end, whole->len - p.end, part->data + with->end, behind);
    learn(t, from, same == behind ? p.end + same : before_tag(whole->data, p.end, p.end + same));
    t->cursor = p.end;
    return true;
}

/* The turn in the conversation up to it, and from there in the whole.  What an answer says nothing of, or of which nothing is written,
 * is no answer. */
static ar_status learn_turn(ar_supervised *out, turn *t, ar_error *err) {
    const json_t *m = json_array_get(t->of->messages, (size_t)t->at);
    bool answer = ar__message_is_from(m, "assistant");
    given g = {0};
    owners o = {0};
    ar_status s = answer ? find_given(&g, t, err) : AR_OK;
    if (!s) s = ar__chat_render(t->part, t->chat, t->of, (size_t)t->at + 1, false, err);
    if (!s && !owners_find(&o, t->part, t->of->count)) s = ar__fail_memory(err, "template");
    if (!s) {
        const ar_buf *with = &t->part->text;
        place p = last_place(&o, t->at);
        bool written = p.first < p.end;
        size_t from = g.known ? begin_of(with->data, &p, &g, t->frames) : written ? p.first : SIZE_MAX;
        bool told = !written && !ar__message_is_silent(m); /* nothing is written of it: counted with the odd ones */
        if (!told && from != SIZE_MAX && begins_with(&t->whole->text, with)) {
            learn(t, from, with->len);
            t->cursor = with->len;
        } else if (!told && (from == SIZE_MAX || !learn_rewritten(t, &o, &p, &g))) {
            out->rewritten++;
        }
    }
    owners_release(&o);
    given_release(&g);
    return s;
}

static ar_status learn_turns(ar_supervised *out, turn *t, const bool *wanted, ar_error *err) {
    ar_status s = AR_OK;
    for (t->at = 0; !s && (size_t)t->at < t->of->count; t->at++)
        if (wanted[t->at] && !learn_framed(t)) s = learn_turn(out, t, err);
    return s;
}

/* ---- {% generation %} --------------------------------------------------------------------------------------------------*/

/* The message that bytes [from, to) are of; count where they say none. */
static size_t message_of(const owners *o, size_t from, size_t to, size_t count) {
    for (size_t k = from; k < to; k++)
        if (owner(o, k) != NO_MESSAGE) return (size_t)owner(o, k);
    return count;
}

/* The end of the run of learned bytes at `from`, or of the first answer's where answers touch: a message's first byte ends it, with the
 * white space that the template writes in front. */
static size_t run_end(const owners *o, size_t from) {
    const ar_rendered *w = o->of;
    int32_t of = NO_MESSAGE;
    size_t to = from;
    for (; to < w->text.len && w->marks.data[to] & AR_LEARNED; to++) {
        int32_t mine = owner(o, to);
        if (mine == NO_MESSAGE || mine == of) continue;
        if (of == NO_MESSAGE) {
            of = mine;
            continue;
        }
        while (to > from && strchr(" \t\r\n", w->text.data[to - 1]) && owner(o, to - 1) == NO_MESSAGE) to--;
        return to;
    }
    return to;
}

/* Takes back what is not wanted of what the template marked.  A run without a byte of a message is the next answer's, which says nothing.
 */
static void keep_wanted(const owners *o, ar_rendered *w, const bool *wanted, const ar_conversation *c) {
    size_t message = 0;
    for (size_t from = 0, to; from < w->text.len; from = to) {
        bool learned = w->marks.data[from] & AR_LEARNED;
        for (to = from; to < w->text.len && !learned && !(w->marks.data[to] & AR_LEARNED);) to++;
        if (!learned) continue;
        to = run_end(o, from);
        size_t of = message_of(o, from, to, c->count);
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
    if (!owners_find(&t.whose, whole, conversation->count)) s = ar__fail_memory(err, "messages");
    if (s) {
        free(wanted);
        return s;
    }
    if (blocks) {
        keep_wanted(&t.whose, whole, wanted, conversation);
        for (size_t i = 0; i < conversation->count; i++) /* no block is around what others say */
            wanted[i] = wanted[i] && conversation->learn[i] == AR_MESSAGE_NAMED &&
                        !ar__message_is_from(json_array_get(conversation->messages, i), "assistant");
        s = learn_turns(out, &t, wanted, err);
    } else {
        if (frames && ar__chat_choose(c, conversation) == &c->of[c->standard]) t.frames = frames;
        s = learn_turns(out, &t, wanted, err);
    }
    owners_release(&t.whose);
    free(wanted);
    return s;
}

/* ---- frames --------------------------------------------------------------------------------------------------------*/

enum { GIVEN_BYTES = 16 };

/* Around the content of message i in a whole of which the learned parts are marked. */
static ar_status read_frame(ar_frame *out, const ar_rendered *w, int32_t i, const char *content, ar_error *err) {
    size_t first, end, from, to, n = strlen(content);
    const char *text = w->text.data;
    const owners o = {.of = w};
    if (!w->text.len || !find_content(&first, &end, &o, i, 0, content, n)) return AR_OK;
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

static ar_status find_header(char **out, const ar_chat *c, ar_error *err) {
    ar_rendered bare = {0}, asked = {0};
    ar_conversation probe;
    json_t *list = json_pack("[{s:s, s:s}]", "role", "user", "content", "first");
    ar_status s = list ? ar__conversation_from(&probe, list, NULL, err) : ar__fail_memory(err, "template");
    json_decref(list);
    if (s) return s;
    s = ar__chat_render(&bare, c, &probe, 1, false, NULL);
    if (!s) s = ar__chat_render(&asked, c, &probe, 1, true, NULL);
    bool adds = !s && begins_with(&asked.text, &bare.text) && asked.text.len > bare.text.len;
    if (adds) *out = ar__strndup(asked.text.data + bare.text.len, asked.text.len - bare.text.len);
    ar__conversation_release(&probe);
    ar__rendered_release(&bare);
    ar__rendered_release(&asked);
    return adds && !*out ? ar__fail_memory(err, "template") : AR_OK;
}

ar_status ar__frames_find(ar_frames *out, const ar_chat *c, ar_error *err) {
    *out = (ar_frames){0};
    if (c->broken) return AR_OK;
    ar_status s = find_header(&out->header, c, err);
    return s ? s : find_frames(&out->inner, &out->last, c, err);
}

static void release_frame(ar_frame *f) {
    free(f->given);
    free(f->before);
    free(f->after);
}

void ar__frames_release(ar_frames *f) {
    release_frame(&f->inner);
    release_frame(&f->last);
    free(f->header);
    *f = (ar_frames){0};
}
