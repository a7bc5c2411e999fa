#include "text/gguf_tokens.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/file.h"
#include "base/map.h"
#include "base/mem.h"
#include "text/config.h"
#include "text/spm.h"

#define MARK "\xE2\x96\x81"

enum { MAX_MODEL = 256 << 20 };

/* Of tokens that no merge makes; pieces of an SPM vocabulary that were added by hand. */
static const float added_score = -1000.0F, unmade_score = -1e6F;

ar_status ar__gguf_tokens_init(ar_gguf_tokens *t, size_t count, float score, ar_error *err) {
    *t = (ar_gguf_tokens){.count = count};
    t->text = ar__alloc(count, sizeof *t->text);
    t->type = ar__alloc(count, sizeof *t->type);
    t->score = ar__alloc(count, sizeof *t->score);
    if (!t->text || !t->type || !t->score) return ar__fail_memory(err, "vocabulary");
    for (size_t i = 0; i < count; i++) {
        char name[32];
        snprintf(name, sizeof name, "[PAD%zu]", i);
        if (!(t->text[i] = ar__strdup(name))) return ar__fail_memory(err, "vocabulary");
        t->type[i] = AR_SPM_UNUSED;
        t->score[i] = score;
    }
    return AR_OK;
}

void ar__gguf_tokens_release(ar_gguf_tokens *t) {
    for (size_t i = 0; t->text && i < t->count; i++) free(t->text[i]);
    free(t->text);
    free(t->type);
    free(t->score);
    ar__strings_release(&t->merges);
    *t = (ar_gguf_tokens){0};
}

int32_t ar__gguf_tokens_find(const ar_gguf_tokens *t, const char *text) {
    for (size_t i = 0; i < t->count; i++)
        if (t->type[i] != AR_SPM_UNUSED && !strcmp(t->text[i], text)) return (int32_t)i;
    return -1;
}

static ar_status set(ar_gguf_tokens *t, int64_t id, const char *text, size_t n, int32_t type, ar_error *err) {
    if (id < 0 || (size_t)id >= t->count)
        return ar__fail(err, AR_ERR_MISMATCH, "token '%.60s' has the id %lld, but the model has %zu rows for tokens", text, (long long)id,
                        t->count);
    if (memchr(text, 0, n))
        return ar__fail(err, AR_ERR_UNSUPPORTED, "token %lld holds a zero byte, which no GGUF file does", (long long)id);
    char *copy = ar__strndup(text, n);
    if (!copy) return ar__fail_memory(err, "vocabulary");
    free(t->text[id]);
    t->text[id] = copy;
    t->type[id] = type;
    return AR_OK;
}

/* ---- added tokens ------------------------------------------------------------------------------------------------------*/

static bool is_between(const char *s, const char *head, const char *tail) {
    size_t n = strlen(s), a = strlen(head), b = strlen(tail);
    return n >= a + b && !strncmp(s, head, a) && !strcmp(s + n - b, tail);
}

/* Control tokens that tokenizers forget to call special, as llama.cpp's converter knows them. */
static bool looks_special(const char *s) {
    static const char *const whole[] = {"<pad>", "<mask>", "<2mass>", "[@BOS@]"};
    for (size_t i = 0; i < sizeof whole / sizeof *whole; i++)
        if (!strcmp(s, whole[i])) return true;
    return is_between(s, "<|", "|>") || is_between(s, "<｜", "｜>") || is_between(s, "<unused", ">");
}

/* llama.cpp looks for user-defined ones in the text itself, where a space is a space. */
static ar_status set_added(ar_gguf_tokens *t, int64_t id, const char *content, bool special, bool score, ar_error *err) {
    ar_buf text = {0};
    bool control = special || looks_special(content);
    for (const char *p = content; *p;) {
        bool mark = !control && !strncmp(p, MARK, sizeof MARK - 1);
        ar__buf_add(&text, mark ? " " : p, 1);
        p += mark ? sizeof MARK - 1 : 1;
    }
    ar_status s = text.failed || !text.data ? ar__fail(err, AR_ERR_FORMAT, "added token %lld has no text", (long long)id)
                                            : set(t, id, text.data, text.len, control ? AR_SPM_CONTROL : AR_SPM_USER, err);
    if (!s && score) t->score[id] = added_score;
    ar__buf_release(&text);
    return s;
}

/* A piece that is a control or unknown one by itself needs no adding. */
static bool stands_already(const ar_gguf_tokens *t, const json_t *id, const json_t *content) {
    size_t at = (size_t)json_integer_value(id);
    if (!json_is_integer(id) || !json_is_string(content) || json_integer_value(id) < 0 || at >= t->count) return false;
    return (t->type[at] == AR_SPM_CONTROL || t->type[at] == AR_SPM_UNKNOWN) && !strcmp(t->text[at], json_string_value(content));
}

static ar_status add_listed(ar_gguf_tokens *t, const json_t *list, bool score, ar_error *err) {
    const json_t *one;
    size_t i;
    json_array_foreach(list, i, one) {
        const json_t *id = json_object_get(one, "id"), *content = json_object_get(one, "content");
        if (stands_already(t, id, content)) continue;
        if (!json_is_integer(id) || !json_is_string(content))
            return ar__fail(err, AR_ERR_FORMAT, "tokenizer.json: an added token without id or content");
        ar_status s =
            set_added(t, json_integer_value(id), json_string_value(content), json_is_true(json_object_get(one, "special")), score, err);
        if (s) return s;
    }
    return AR_OK;
}

ar_status ar__gguf_tokens_add_added(ar_gguf_tokens *t, const json_t *decoder, const json_t *by_content, const json_t *list, ar_error *err) {
    const char *key;
    json_t *one;
    ar_status s = AR_OK;
    json_object_foreach((json_t *)(uintptr_t)by_content, key, one) if (!s && json_is_integer(one)) s =
        set_added(t, json_integer_value(one), key, false, true, err);
    json_object_foreach((json_t *)(uintptr_t)decoder, key, one) {
        const char *content = json_string_value(json_object_get(one, "content"));
        if (!s && !content) s = ar__fail(err, AR_ERR_FORMAT, "tokenizer_config.json: added token %.20s has no content", key);
        if (!s) s = set_added(t, strtoll(key, NULL, 10), content, json_is_true(json_object_get(one, "special")), true, err);
    }
    return s ? s : add_listed(t, list, true, err);
}

/* ---- tokenizer.json ----------------------------------------------------------------------------------------------------*/

/* A space inside of a merge's half is written as byte-level BPE shows it, since one space parts the halves. */
static void add_half(ar_buf *line, const char *s, size_t n) {
    for (size_t i = 0; i < n; i++) ar__buf_add(line, s[i] == ' ' ? "\xC4\xA0" : s + i, s[i] == ' ' ? 2 : 1);
}

static ar_status add_merge(ar_gguf_tokens *t, const json_t *one, ar_error *err) {
    const json_t *a = json_array_get(one, 0), *b = json_array_get(one, 1);
    ar_buf line = {0};
    if (json_is_string(one) && !strncmp(json_string_value(one), "#version", 8)) return AR_OK;
    if (json_is_string(one)) {
        ar__buf_puts(&line, json_string_value(one));
    } else if (json_is_string(a) && json_is_string(b)) {
        add_half(&line, json_string_value(a), json_string_length(a));
        ar__buf_puts(&line, " ");
        add_half(&line, json_string_value(b), json_string_length(b));
    } else {
        return ar__fail(err, AR_ERR_FORMAT, "tokenizer.json: merge %zu is not two tokens", t->merges.count);
    }
    ar_status s = !line.failed && line.data && ar__strings_add(&t->merges, line.data) ? AR_OK : ar__fail_memory(err, "merges");
    ar__buf_release(&line);
    return s;
}

/* "<0x0A>" */
static bool is_byte(const char *s) { return strlen(s) == 6 && is_between(s, "<0x", ">"); }

static int32_t type_of(const char *text, const char *unknown, bool fallback) {
    if (fallback && is_byte(text)) return AR_SPM_BYTE;
    return fallback && unknown && !strcmp(text, unknown) ? AR_SPM_UNKNOWN : AR_SPM_NORMAL;
}

ar_status ar__gguf_tokens_add_json(ar_gguf_tokens *t, const json_t *root, ar_error *err) {
    const json_t *model = json_object_get(root, "model"), *one;
    json_t *vocab = json_object_get(model, "vocab");
    const char *unknown = json_string_value(json_object_get(model, "unk_token"));
    bool fallback = json_is_true(json_object_get(model, "byte_fallback"));
    ar_status s = json_is_object(vocab) ? AR_OK : ar__fail(err, AR_ERR_FORMAT, "tokenizer.json: model without 'vocab'");
    size_t i;
    for (void *it = json_object_iter(vocab); !s && it; it = json_object_iter_next(vocab, it)) {
        const json_t *id = json_object_iter_value(it);
        const char *text = json_object_iter_key(it);
        s = set(t, json_is_integer(id) ? json_integer_value(id) : -1, text, json_object_iter_key_len(it), type_of(text, unknown, fallback),
                err);
    }
    json_array_foreach(json_object_get(model, "merges"), i, one) if (!s) s = add_merge(t, one, err);
    if (s) return s;
    s = add_listed(t, json_object_get(root, "added_tokens"), fallback, err);
    int32_t id = !s && fallback && unknown ? ar__gguf_tokens_find(t, unknown) : -1;
    if (id >= 0) t->type[id] = AR_SPM_UNKNOWN;
    return s;
}

ar_status ar__gguf_tokens_rank(ar_gguf_tokens *t, ar_error *err) {
    ar_map ids = {0};
    ar_buf made = {0};
    bool ok = true;
    for (size_t i = 0; ok && i < t->count; i++) ok = ar__map_put(&ids, t->text[i], strlen(t->text[i]), i);
    for (size_t i = 0; i < t->count; i++)
        if (t->type[i] == AR_SPM_NORMAL) t->score[i] = unmade_score;
    for (size_t i = t->merges.count; ok && i-- > 0;) { /* the first merge that makes a piece counts */
        const char *line = t->merges.at[i], *space = strchr(line, ' ');
        ar__buf_clear(&made);
        ar__buf_add(&made, line, space ? (size_t)(space - line) : 0);
        if (space) ar__buf_puts(&made, space + 1);
        size_t id = made.data && !made.failed ? ar__map_find(&ids, made.data, made.len) : AR_MAP_NONE;
        if (id != AR_MAP_NONE && t->type[id] == AR_SPM_NORMAL) t->score[id] = -(float)i;
        ok = !made.failed;
    }
    ar__map_release(&ids);
    ar__buf_release(&made);
    return ok ? AR_OK : ar__fail_memory(err, "vocabulary");
}

/* ---- tokenizer.model ---------------------------------------------------------------------------------------------------*/

ar_status ar__gguf_tokens_add_model(ar_gguf_tokens *t, const char *path, ar_error *err) {
    ar_spm_file f = {0};
    ar_buf bytes = {0};
    ar_status s = ar__file_read(&bytes, path, MAX_MODEL, err);
    if (!s) s = ar__spm_parse(&f, (const unsigned char *)bytes.data, bytes.len, err);
    if (!s && f.model_type != 2)
        s = ar__fail(err, AR_ERR_UNSUPPORTED, "a SentencePiece model that is no BPE, for which GGUF's vocabulary 'llama' does not stand");
    for (size_t i = 0; !s && i < f.count; i++) {
        const ar_spm_piece *p = &f.piece[i];
        /* Of user-defined pieces with spaces the text is another than what llama.cpp seeks; by their scores they are found all the same. */
        bool user = p->type == AR_SPM_USER && memmem(p->text, p->len, MARK, sizeof MARK - 1);
        s = set(t, (int64_t)i, p->text, p->len, user ? AR_SPM_NORMAL : (int32_t)p->type, err);
        if (!s) t->score[i] = p->score;
    }
    free(f.piece);
    ar__buf_release(&bytes);
    return s ? ar__fail_at(err, s, path) : AR_OK;
}
