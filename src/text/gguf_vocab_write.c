/* A folder's tokenizer written as the key-values that gguf_vocab.c reads. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/file.h"
#include "base/log.h"
#include "format/gguf.h"
#include "format/json.h"
#include "text/beside.h"
#include "text/gguf_tokens.h"
#include "text/gguf_vocab.h"
#include "text/post.h"
#include "text/templates.h"
#include "text/tokenizer_impl.h"

enum { MAX_JSON = 256 << 20 };

#define KEY "tokenizer.ggml."

typedef struct writer {
    ar_gguf_writer *w;
    const char *folder, *architecture;
    json_t *root, *beside, *map,
        *added; /* tokenizer.json, tokenizer_config.json, special_tokens_map.json, added_tokens.json; NULL: not there */
    const json_t *config;
    ar_tokenizer *tk;
    char *model; /* path of tokenizer.model; NULL: not there */
    ar_gguf_tokens tokens;
    const ar_log *log;
    ar_error *err;
} writer;

static ar_status load(json_t **out, const writer *r, const char *name) {
    char *path = ar__path_join(r->folder, name);
    ar_buf text = {0};
    ar_status s = path ? AR_OK : ar__fail_memory(r->err, name);
    if (path && ar__path_exists(path) && !(s = ar__file_read(&text, path, MAX_JSON, r->err)))
        s = ar__json_read(out, text.data, text.len, JSON_ALLOW_NUL, path, r->err);
    ar__buf_release(&text);
    free(path);
    return s;
}

static ar_status open_all(writer *r) {
    ar_status s;
    char *model = ar__path_join(r->folder, "tokenizer.model");
    if (!model) return ar__fail_memory(r->err, r->folder);
    if (ar__path_exists(model))
        r->model = model;
    else
        free(model);
    if ((s = load(&r->root, r, "tokenizer.json")) || (s = load(&r->added, r, "added_tokens.json")) ||
        (s = ar__tokenizer_beside(&r->beside, &r->map, r->folder, r->err)))
        return s;
    return ar_tokenizer_open(&r->tk, r->folder, r->err);
}

/* ---- special tokens ------------------------------------------------------------------------------------------------------*/

static const struct special {
    const char *name, *key;
} specials[] = {{"bos", KEY "bos_token_id"},       {"eos", KEY "eos_token_id"},     {"unk", KEY "unknown_token_id"},
                {"sep", KEY "seperator_token_id"}, {"pad", KEY "padding_token_id"}, {"cls", KEY "cls_token_id"},
                {"mask", KEY "mask_token_id"}};

/* The content of "bos_token", a string or an object; NULL: not named. */
static const char *content_of(const json_t *from, const char *key) {
    const json_t *v = json_object_get(from, key);
    return json_string_value(json_is_object(v) ? json_object_get(v, "content") : v);
}

/* The token that the tokenizer itself puts before or behind a text; -1: none, or several. */
static int64_t put_around(const writer *r, const char *name) {
    const ar_ids *post = &r->tk->post;
    bool front = !strcmp(name, "bos"), back = !strcmp(name, "eos");
    if (front && post->count > 1 && post->id[1] == AR_POST_TEXT) return post->id[0];
    if (back && post->count > 1 && post->id[post->count - 2] == AR_POST_TEXT) return post->id[post->count - 1];
    return -1;
}

/* As tokenizer_config.json names it, else as the tokenizer uses it, else as config.json says. */
static int64_t special_id(const writer *r, const char *name) {
    char token[16], id[16];
    snprintf(token, sizeof token, "%s_token", name);
    snprintf(id, sizeof id, "%s_token_id", name);
    const char *content = content_of(r->beside, token);
    if (!content) content = content_of(r->map, token);
    int64_t found = content ? ar__gguf_tokens_find(&r->tokens, content) : -1;
    if (found < 0) found = put_around(r, name);
    const json_t *v = json_object_get(r->config, id);
    if (json_is_array(v)) v = json_array_get(v, 0);
    if (found < 0 && json_is_integer(v)) found = json_integer_value(v);
    return found >= 0 && (size_t)found < r->tokens.count ? found : -1;
}

static ar_status put_specials(const writer *r) {
    ar_status s = AR_OK;
    for (size_t i = 0; !s && i < sizeof specials / sizeof *specials; i++) {
        int64_t id = special_id(r, specials[i].name);
        if (id >= 0) s = ar__gguf_writer_set_u32(r->w, specials[i].key, (uint32_t)id, r->err);
    }
    return s;
}

/* What the tokenizer itself puts around a text: a file can say BOS in front and EOS behind. */
static ar_status put_ends(const writer *r) {
    const ar_ids *post = &r->tk->post;
    size_t text = 0;
    while (text < post->count && post->id[text] != AR_POST_TEXT) text++;
    int64_t bos = special_id(r, "bos"), eos = special_id(r, "eos");
    size_t behind = text < post->count ? post->count - text - 1 : 0;
    bool front = text > 0 && post->id[0] == bos, back = behind > 0 && post->id[text + 1] == eos;
    if (text > front || behind > back)
        return ar__fail(
            r->err, AR_ERR_UNSUPPORTED,
            "the tokenizer puts %zu tokens before a text and %zu behind it, wanted BOS and EOS at most: a GGUF file cannot say so", text,
            behind);
    ar_status s = ar__gguf_writer_set_bool(r->w, KEY "add_bos_token", front, r->err);
    return s ? s : ar__gguf_writer_set_bool(r->w, KEY "add_eos_token", back, r->err);
}

/* ---- the lists -----------------------------------------------------------------------------------------------------------*/

static ar_status put_lists(const writer *r, const char *model, const char *pre, bool scores) {
    const ar_gguf_tokens *t = &r->tokens;
    ar_status s;
    if ((s = ar__gguf_writer_set_string(r->w, KEY "model", model, r->err)) ||
        (s = ar__gguf_writer_set_string(r->w, KEY "pre", pre, r->err)) ||
        (s = ar__gguf_writer_set_strings(r->w, KEY "tokens", (const char *const *)t->text, t->count, r->err)) ||
        (scores && (s = ar__gguf_writer_set_array(r->w, KEY "scores", AR_GGUF_F32, t->count, t->score, r->err))) ||
        (s = ar__gguf_writer_set_array(r->w, KEY "token_type", AR_GGUF_I32, t->count, t->type, r->err)))
        return s;
    if (scores) return AR_OK;
    return ar__gguf_writer_set_strings(r->w, KEY "merges", (const char *const *)t->merges.at, t->merges.count, r->err);
}

static ar_status put_bytes(writer *r) {
    const char *pre = ar__gguf_pretok_name(r->root, r->architecture);
    if (!pre)
        return ar__fail(
            r->err, AR_ERR_UNSUPPORTED,
            "tokenizer.json: normalizer and pre_tokenizer cut texts in a way that has no name in GGUF files (tokenizer.ggml.pre)");
    ar_status s = ar__gguf_tokens_add_json(&r->tokens, r->root, r->err);
    return s ? s : put_lists(r, "gpt2", pre, false);
}

/* Whether a step of the normalizer or the pre-tokenizer puts a space in front of a text; again: in front of one behind a control token too.
 */
static bool is_prefixing(const json_t *part, bool again) {
    const char *type = json_string_value(json_object_get(part, "type")),
               *scheme = json_string_value(json_object_get(part, "prepend_scheme"));
    const json_t *one;
    size_t i;
    bool always = !scheme || !strcmp(scheme, "always"), first = scheme && !strcmp(scheme, "first");
    bool any = type && (!strcmp(type, "Prepend") || (!strcmp(type, "Metaspace") && (always || (first && !again))));
    json_array_foreach(json_object_get(part, "normalizers"), i, one) any = any || is_prefixing(one, again);
    json_array_foreach(json_object_get(part, "pretokenizers"), i, one) any = any || is_prefixing(one, again);
    return any;
}

static bool prefixes(const writer *r, bool again) {
    return is_prefixing(json_object_get(r->root, "normalizer"), again) || is_prefixing(json_object_get(r->root, "pre_tokenizer"), again);
}

/* What a file does not say, and its readers do by rule. */
static void warn_again(const writer *r, bool space) {
    int32_t inst = ar__gguf_tokens_find(&r->tokens, AR_GGUF_NO_SPACE);
    bool file = space && !(inst >= 0 && r->tokens.type[inst] == AR_SPM_CONTROL);
    bool own = r->root ? prefixes(r, true) : r->tk->spm.legacy;
    if (own != file)
        ar__log_warn(
            r->log,
            "a text behind a control token begins with %s space here, and is read from a GGUF file of this kind with %s: conversations "
            "have other ids there",
            own ? "a" : "no", file ? "one" : "none");
}

static ar_status put_pieces(writer *r) {
    ar_status s;
    bool space = r->root ? prefixes(r, false) : r->tk->spm.dummy_prefix;
    if (r->model) {
        if (!(s = ar__gguf_tokens_add_model(&r->tokens, r->model, r->err)))
            s = ar__gguf_tokens_add_added(&r->tokens, json_object_get(r->beside, "added_tokens_decoder"), r->added,
                                          json_object_get(r->root, "added_tokens"), r->err);
    } else if (!(s = ar__gguf_tokens_add_json(&r->tokens, r->root, r->err))) {
        s = ar__gguf_tokens_rank(&r->tokens, r->err);
    }
    if (!s) s = put_lists(r, "llama", "default", true);
    if (!s) warn_again(r, space);
    return s ? s : ar__gguf_writer_set_bool(r->w, KEY "add_space_prefix", space, r->err);
}

/* ---- chat templates ------------------------------------------------------------------------------------------------------*/

static ar_status put_templates(const writer *r) {
    json_t *list = NULL, *one;
    ar_strings names = {0};
    size_t i;
    ar_status s = ar__chat_templates(&list, r->folder, r->beside, r->folder, r->err);
    json_array_foreach(list, i, one) {
        const char *name = json_string_value(json_object_get(one, "name"));
        ar_buf key = {0};
        ar__buf_puts(&key, "tokenizer.chat_template");
        bool named = strcmp(name, "default") != 0 && json_array_size(list) > 1;
        if (named) ar__buf_printf(&key, ".%s", name);
        if (!s && named && !ar__strings_add(&names, name)) s = ar__fail_memory(r->err, name);
        if (!s)
            s = key.failed ? ar__fail_memory(r->err, name)
                           : ar__gguf_writer_set_string(r->w, key.data, json_string_value(json_object_get(one, "template")), r->err);
        ar__buf_release(&key);
    }
    if (!s && names.count)
        s = ar__gguf_writer_set_strings(r->w, "tokenizer.chat_templates", (const char *const *)names.at, names.count, r->err);
    ar__strings_release(&names);
    json_decref(list);
    return s;
}

/* ------------------------------------------------------------------------------------------------------------------------- */

/* Flags of an added token that a file does not hold; of phi3 it is known that its special ones take the spaces behind them. */
static void warn_flags(const writer *r) {
    size_t count = 0;
    bool phi3 = !strcmp(r->architecture, "phi3");
    for (size_t i = 0; i < r->tk->added.count; i++) {
        const ar_added_token *t = &r->tk->added.token[i];
        count += t->lstrip || t->single_word || (t->rstrip && !(phi3 && t->special));
    }
    if (count)
        ar__log_warn(r->log,
                     "%zu added tokens take the spaces beside them or stand as words alone (lstrip, rstrip, single_word), which a GGUF "
                     "file does not say",
                     count);
}

static ar_status put_all(writer *r, size_t vocab) {
    const json_t *model = json_object_get(r->root, "model");
    const char *type = json_string_value(json_object_get(model, "type"));
    bool bpe = type ? !strcmp(type, "BPE") : json_object_get(model, "merges") != NULL;
    bool pieces = r->root ? json_is_true(json_object_get(model, "byte_fallback")) : r->model != NULL;
    ar_status s;
    if (r->root && !bpe)
        return ar__fail(r->err, AR_ERR_UNSUPPORTED, "tokenizer.json: a model of type %.40s, wanted BPE: GGUF's 'llama' and 'gpt2' are",
                        type ? type : "none");
    if ((s = ar__gguf_tokens_init(&r->tokens, vocab, pieces ? -10000.0F : 0.0F, r->err))) return s;
    if ((s = pieces ? put_pieces(r) : put_bytes(r)) || (s = put_specials(r)) || (s = put_ends(r)) || (s = put_templates(r))) return s;
    warn_flags(r);
    return AR_OK;
}

ar_status ar__gguf_put_vocab(ar_gguf_writer *w, const char *folder, const char *architecture, const json_t *config, int64_t vocab,
                             const ar_log *log, ar_error *err) {
    writer r = {.w = w, .folder = folder, .architecture = architecture, .config = config, .log = log, .err = err};
    ar_status s = open_all(&r); /* names its files itself */
    if (!s && (s = put_all(&r, (size_t)vocab))) ar__fail_at(err, s, folder);
    ar_tokenizer_free(r.tk);
    ar__gguf_tokens_release(&r.tokens);
    json_decref(r.root);
    json_decref(r.beside);
    json_decref(r.map);
    json_decref(r.added);
    free(r.model);
    return s;
}

/* ---- the proof -----------------------------------------------------------------------------------------------------------*/

/* Letters of several scripts, cases, digits, signs, spaces of all kinds, emoji with joiners, accents apart from their letters. */
static const char probe[] =
    "The quick brown fox doesn't jump; it's 1, 23, 456, 7890123 and 3.14159!  Two  spaces,\ttab\n\n\nlines \r\n end   \n"
    "ÀÉÎõü ß Straße naïve e\xCC\x81 Ελληνικά Кириллица українська עברית العربية हिन्दी ไทย 日本語のテキスト 中文字符 한국어\n"
    "def f(x):\n    return [x**2 for _ in range(10)]  # <tag/> &amp; {\"k\": null}\nDON'T I'LL WE'RE y'all x_y-z CamelCaseWORD "
    "http://a.b/c?d=e#f 👩\xE2\x80\x8D💻🏳️\xE2\x80\x8D🌈 ½ ² ٣ ，。！？「」…—–";

ar_status ar__tokenizers_agree(const char *a, const char *b, ar_error *err) {
    ar_tokenizer *tk[2] = {NULL, NULL};
    ar_ids ids[2] = {{0}, {0}};
    const char *const from[2] = {a, b};
    ar_status s = AR_OK;
    for (int i = 0; !s && i < 2; i++)
        if (!(s = ar_tokenizer_open(&tk[i], from[i], err)))
            s = ar_tokenizer_encode(&ids[i], tk[i], probe, sizeof probe - 1, AR_TOKENIZE_SPECIAL, err);
    if (!s && (ids[0].count != ids[1].count || memcmp(ids[0].id, ids[1].id, ids[0].count * sizeof *ids[0].id) != 0))
        s = ar__fail(err, AR_ERR_UNSUPPORTED,
                     "%s: the tokenizer that would be written gives other ids than this one; its kind is not known here", a);
    for (int i = 0; i < 2; i++) {
        ar_ids_release(&ids[i]);
        ar_tokenizer_free(tk[i]);
    }
    return s;
}
