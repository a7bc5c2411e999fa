/* `tokenizer.ggml.pre`: how a text is cut before BPE, by the names that llama.cpp's converter gives.  What stands behind a name are
 * the normalizer and the pre-tokenizer of the tokenizer.json that the name was made for, not llama.cpp's approximations: where the two
 * differ, the ids of training count. */
#include <ctype.h>
#include <string.h>

#include "base/mem.h"
#include "text/config.h"
#include "text/gguf_vocab.h"

#define SUFFIXES "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
#define SPACES "\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define WORDS(digits) SUFFIXES "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|" digits "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|" SPACES
#define UPPER "[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]"
#define LOWER "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]"
#define CASED(suffix, digits)                                                                                                              \
    "[^\\r\\n\\p{L}\\p{N}]?" UPPER "*" LOWER "+" suffix "|[^\\r\\n\\p{L}\\p{N}]?" UPPER "+" LOWER "*" suffix "|" digits                    \
    "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|" SPACES
#define DEEPSEEK                                                                                                                           \
    "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\\r\\n]*|" SPACES
#define BLOOM " ?[^(\\s|[.,!?…。，、।۔،])]+"

/* Names NULL-ended.  A cut is a regular expression, or one of the words of tokenizer.json: digits (each alone), numbers (runs),
 * punctuation, gpt2 (the expression of byte-level BPE). */
#define NAMES(...) .name = {__VA_ARGS__}
#define CUTS(...) .cut = {__VA_ARGS__}
static const ar_gguf_pretok table[] = {
    {NAMES("llama-bpe", "llama3", "llama-v3", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2"), CUTS(WORDS("\\p{N}{1,3}")),
     .whole = true, .bos = true},
    {NAMES("dbrx", "smaug-bpe", "glm4", "chatglm-bpe"), CUTS(WORDS("\\p{N}{1,3}"))},
    {NAMES("qwen2", "deepseek-r1-qwen", "kormo", "f2llmv2", "megrez"), CUTS(WORDS("\\p{N}")), .nfc = true},
    {NAMES("stablelm2", "hunyuan", "solar-open", "grok-2"), CUTS(WORDS("\\p{N}"))},
    {NAMES("gpt-2", "phi-2", "gigachat", "a.x-4.0", "mellum", "modern-bert", "jais", "trillion", "granite-docling", "exaone4"),
     CUTS("gpt2")},
    {NAMES("mpt", "olmo"), CUTS("gpt2"), .nfc = true},
    {NAMES("starcoder", "refact", "command-r", "smollm", "codeshell", "exaone", "minerva-7b", "mellum2"), CUTS("digits", "gpt2")},
    {NAMES("falcon"), CUTS("punctuation", "gpt2", "numbers", "[0-9][0-9][0-9]")},
    {NAMES("tekken"), CUTS(CASED("", "\\p{N}")), .whole = true, .bos = true},
    {NAMES("gpt-4o", "llama4", "kanana2", "minimax-m2"), CUTS(CASED(SUFFIXES "?", "\\p{N}{1,3}"))},
    {NAMES("deepseek-coder"), CUTS("[\\r\\n]", "\\s?\\p{L}+", "\\s?\\p{P}+", "[一-龥ࠀ-一가-퟿]+", "digits")},
    {NAMES("deepseek-v3", "joyai-llm", "hunyuan-dense"), CUTS("\\p{N}{1,3}", "[一-龥぀-ゟ゠-ヿ]+", DEEPSEEK)},
    {NAMES("bloom", "gpt3-finnish", "poro-chat"), CUTS(BLOOM)},
    {NAMES("viking"), CUTS(BLOOM, "digits")},
    {NAMES("seed-coder"), CUTS(SUFFIXES "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1}| ?[^\\s\\p{L}\\p{N}\\r\\n]+|" SPACES)},
    {NAMES("gemma4", "granite-embed-multi-311m"), .marks = true},
};

const ar_gguf_pretok *ar__gguf_pretok_find(const char *name, size_t n) {
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        for (int k = 0; k < AR_PRETOK_NAMES && table[i].name[k]; k++)
            if (strlen(table[i].name[k]) == n && !memcmp(table[i].name[k], name, n)) return &table[i];
    return NULL;
}

static bool put(json_t *into, const char *key, json_t *value) { return json_object_set_new(into, key, value) == 0; }

static json_t *bytes(bool regex) {
    return json_pack("{s:s, s:b, s:b, s:b}", "type", "ByteLevel", "add_prefix_space", 0, "trim_offsets", 0, "use_regex", (int)regex);
}

static json_t *one_cut(const char *cut) {
    if (!strcmp(cut, "digits")) return json_pack("{s:s, s:b}", "type", "Digits", "individual_digits", 1);
    if (!strcmp(cut, "numbers")) return json_pack("{s:s, s:b}", "type", "Digits", "individual_digits", 0);
    if (!strcmp(cut, "punctuation")) return json_pack("{s:s, s:s}", "type", "Punctuation", "behavior", "Contiguous");
    if (!strcmp(cut, "gpt2")) return bytes(true);
    return json_pack("{s:s, s:{s:s}, s:s, s:b}", "type", "Split", "pattern", "Regex", cut, "behavior", "Isolated", "invert", 0);
}

/* Without a cut of its own bytes are made visible at the end. */
static json_t *cuts_of(const ar_gguf_pretok *p) {
    json_t *list = json_array();
    bool made = false;
    for (int i = 0; list && i < AR_PRETOK_CUTS && p->cut[i]; i++) {
        made = made || !strcmp(p->cut[i], "gpt2");
        if (json_array_append_new(list, one_cut(p->cut[i]))) break;
    }
    if (!made) json_array_append_new(list, bytes(false));
    return json_pack("{s:s, s:o}", "type", "Sequence", "pretokenizers", list);
}

/* Spaces become a mark, bytes that no piece has become <0xNN>, and nothing is cut. */
static bool put_marks(json_t *root) {
    static const char mark[] = "\xE2\x96\x81";
    return put(root, "normalizer", json_pack("{s:s, s:{s:s}, s:s}", "type", "Replace", "pattern", "String", " ", "content", mark)) &&
           put(root, "decoder",
               json_pack("{s:s, s:[{s:s, s:{s:s}, s:s}, {s:s}, {s:s}]}", "type", "Sequence", "decoders", "type", "Replace", "pattern",
                         "String", mark, "content", " ", "type", "ByteFallback", "type", "Fuse"));
}

bool ar__gguf_pretok_put(json_t *root, const ar_gguf_pretok *p) {
    if (p->marks) return put_marks(root);
    if (p->nfc && !put(root, "normalizer", json_pack("{s:s}", "type", "NFC"))) return false;
    return put(root, "pre_tokenizer", cuts_of(p)) && put(root, "decoder", bytes(true));
}

/* ---- and back ------------------------------------------------------------------------------------------------------------*/

static bool flag_of(const json_t *part, const char *key, bool initial) {
    const json_t *v = json_object_get(part, key);
    return json_is_boolean(v) ? json_is_true(v) : initial;
}

/* Appends what a normalizer or a pre-tokenizer does as one text a step, the same for every way of writing it down.  Making bytes visible
 * is no step: every byte-level tokenizer does it at the end. */
static void describe(ar_buf *out, const json_t *part) {
    const char *type = ar__config_type(part), *behavior = json_string_value(json_object_get(part, "behavior"));
    const json_t *pattern = json_object_get(part, "pattern"), *one;
    const char *regex = json_string_value(json_object_get(pattern, "Regex")), *text = json_string_value(json_object_get(pattern, "String"));
    size_t i;
    if (!part || json_is_null(part)) return;
    if (type && !strcmp(type, "Sequence")) {
        json_array_foreach(json_object_get(part, "pretokenizers"), i, one) describe(out, one);
        json_array_foreach(json_object_get(part, "normalizers"), i, one) describe(out, one);
        return;
    }
    if (type && !strcmp(type, "ByteLevel") && !flag_of(part, "add_prefix_space", true) && !flag_of(part, "use_regex", true)) return;
    ar__buf_printf(out, "%s", type ? type : "?");
    if (type && !strcmp(type, "ByteLevel")) ar__buf_printf(out, " %d", flag_of(part, "add_prefix_space", true));
    if (type && !strcmp(type, "Digits")) ar__buf_printf(out, " %d", flag_of(part, "individual_digits", false));
    if (behavior) ar__buf_printf(out, " %s", behavior);
    if (pattern)
        ar__buf_printf(out, " %d %s%s", flag_of(part, "invert", false), regex ? "regex " : "text ", regex ? regex : text ? text : "");
    ar__buf_puts(out, "\n");
}

static void describe_cutting(ar_buf *out, const json_t *root) {
    describe(out, json_object_get(root, "normalizer"));
    ar__buf_puts(out, "|\n");
    describe(out, json_object_get(root, "pre_tokenizer"));
}

static bool is_like(const ar_gguf_pretok *p, const ar_buf *wanted) {
    ar_buf own = {0};
    json_t *root = json_object();
    bool same = root && ar__gguf_pretok_put(root, p);
    if (same) describe_cutting(&own, root);
    same = same && !own.failed && own.len == wanted->len && !memcmp(own.data, wanted->data, own.len);
    json_decref(root);
    ar__buf_release(&own);
    return same;
}

/* "phi2" is "phi-2". */
static bool same_letters(const char *a, const char *b) {
    for (;; a++, b++) {
        while (*a && !isalnum((unsigned char)*a)) a++;
        while (*b && !isalnum((unsigned char)*b)) b++;
        if (*a != *b || !*a) return *a == *b;
    }
}

const char *ar__gguf_pretok_name(const json_t *root, const char *architecture) {
    const ar_gguf_pretok *found = NULL;
    bool whole = flag_of(json_object_get(root, "model"), "ignore_merges", false);
    ar_buf wanted = {0};
    describe_cutting(&wanted, root);
    for (size_t i = 0; !wanted.failed && !found && i < sizeof table / sizeof *table; i++)
        if (!table[i].marks && table[i].whole == whole && is_like(&table[i], &wanted)) found = &table[i];
    ar__buf_release(&wanted);
    for (int k = 0; found && k < AR_PRETOK_NAMES && found->name[k]; k++)
        if (same_letters(found->name[k], architecture)) return found->name[k];
    return found ? found->name[0] : NULL;
}
