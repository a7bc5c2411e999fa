/* Tokenizers built inline: the pipeline's parts, added tokens, decoding, and files that are wrong. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "alphar/tokenizer.h"
#include "util.h"

/* A character-level BPE with a few merges over the byte alphabet (\u0120 is its space). */
#define BYTE_VOCAB                                                                                                                         \
    "\"a\":0,\"b\":1,\"c\":2,\"\\u0120\":3,\"ab\":4,\"abc\":5,\"\\u0120a\":6,\"1\":7,\"\\u00c3\":8,\"\\u00a9\":9,\"\\u00e9\":10,"          \
    "\"\\u0120ab\":11"
#define BYTE_MODEL "\"model\":{\"type\":\"BPE\",\"vocab\":{" BYTE_VOCAB "},\"merges\":[\"a b\",[\"ab\",\"c\"],\"\\u0120 ab\"]}"
#define BYTE_LEVEL "{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":true}"
/* SentencePiece-style: the mark is U+2581, unknown characters become bytes. */
#define MARK "\xE2\x96\x81"
#define MARK_DECODER                                                                                                                       \
    "{\"type\":\"Sequence\",\"decoders\":[{\"type\":\"Replace\",\"pattern\":{\"String\":\"" MARK "\"},\"content\":\" \"},"                 \
    "{\"type\":\"ByteFallback\"},{\"type\":\"Fuse\"},{\"type\":\"Strip\",\"content\":\" \",\"start\":1,\"stop\":0}]}"

static ar_tokenizer *open_text(const char *json) {
    ar_error err;
    ar_tokenizer *tk;
    assert_ok(ar_tokenizer_open(&tk, temp_text("tokenizer/tokenizer.json", json), &err), err);
    return tk;
}

static void assert_ids(const ar_tokenizer *tk, const char *text, unsigned flags, const char *want) {
    ar_ids ids = {0};
    ar_error err;
    char got[512] = "";
    assert_ok(ar_tokenizer_encode(&ids, tk, text, strlen(text), flags, &err), err);
    for (size_t i = 0; i < ids.count; i++) snprintf(got + strlen(got), sizeof got - strlen(got), "%s%d", i ? " " : "", (int)ids.id[i]);
    ar_ids_release(&ids);
    assert_string_equal(got, want);
}

static void assert_text(const ar_tokenizer *tk, const int32_t *ids, size_t count, bool skip, const char *want) {
    char *text;
    size_t n;
    ar_error err;
    assert_ok(ar_tokenizer_decode(&text, &n, tk, ids, count, skip, &err), err);
    assert_string_equal(text, want);
    assert_int_equal(n, strlen(want));
    free(text);
}

static void byte_level_merges_and_decodes(void **state) {
    (void)state;
    ar_tokenizer *tk = open_text("{" BYTE_MODEL ",\"pre_tokenizer\":" BYTE_LEVEL ",\"decoder\":" BYTE_LEVEL "}");
    assert_int_equal(ar_tokenizer_count(tk), 12);
    assert_ids(tk, "abc ab a1", 0, "5 11 3 0 7");
    assert_ids(tk, "ababab", 0, "4 4 4");
    assert_ids(tk, "\xC3\xA9", 0, "8 9");
    assert_ids(tk, "", 0, "");
    const int32_t ids[] = {5, 11, 8, 9, 8};
    assert_text(tk, ids, 5, false, "abc ab\xC3\xA9\xEF\xBF\xBD");
    assert_int_equal(ar_tokenizer_find(tk, "abc"), 5);
    assert_int_equal(ar_tokenizer_find(tk, "zzz"), -1);
    ar_tokenizer_free(tk);
}

/* The plain form is streamed, anything else goes through jansson: both must read the same. */
static void every_spelling_of_a_file_reads_the_same(void **state) {
    (void)state;
    static const char *const models[] = {
        "{\"model\":{\"merges\":[\"a b\",\"ab "
        "c\"],\"vocab\":{\"a\":0,\"b\":1,\"c\":2,\"ab\":3,\"abc\":4,\"\xC3\xA9\":5,\"\\\"\":6,\"\xF0\x9F\x98\x80\":7}}}",
        " { \"x\" : [ \"]\" , { } ] , \"model\" :\n{ \"vocab\" : { \"a\" : 0 , \"b\":1,\"c\":2,\"\\u0061b\":3 , \"abc\":4,\"\\u00e9\":5,"
        "\"\\u0022\":6,\"\\ud83d\\ude00\":7 } , \"merges\" : [ [ \"a\" , \"b\" ] , [\"\\u0061b\",\"c\"] ] } } ",
        "{\"model\":{\"vocab\":{\"a\":9,\"a\":0,\"b\":1,\"c\":2,\"ab\":3,\"abc\":4,\"\xC3\xA9\":5,\"\\\"\":6,\"\\uD83D\\uDE00\":7},"
        "\"merges\":[\"#version: 0.2\",\"a b\",\"ab c\"]}}",
    };
    for (size_t i = 0; i < sizeof models / sizeof *models; i++) {
        ar_tokenizer *tk = open_text(models[i]);
        assert_ids(tk, "abcab\xC3\xA9\"\xF0\x9F\x98\x80", 0, "4 3 5 6 7");
        assert_int_equal(ar_tokenizer_count(tk), 8);
        ar_tokenizer_free(tk);
    }
}

static void a_long_word_merges_like_a_short_one(void **state) {
    (void)state;
    ar_tokenizer *tk = open_text("{" BYTE_MODEL ",\"pre_tokenizer\":" BYTE_LEVEL "}");
    enum { COUNT = 200000 };
    char *text = malloc(COUNT * 3 + 1);
    ar_ids ids = {0};
    ar_error err;
    assert_non_null(text);
    for (size_t i = 0; i < COUNT; i++) memcpy(text + i * 3, "abc", 3);
    assert_ok(ar_tokenizer_encode(&ids, tk, text, COUNT * 3, 0, &err), err);
    assert_int_equal(ids.count, COUNT);
    for (size_t i = 0; i < COUNT; i++) assert_int_equal(ids.id[i], 5);
    free(text);
    ar_ids_release(&ids);
    ar_tokenizer_free(tk);
}

enum { THREADS = 4, ROUNDS = 300 };

/* One thread's work: the same ids every time; NULL when they were. */
static void *encode_often(void *tokenizer) {
    for (int i = 0; i < ROUNDS; i++) {
        ar_ids ids = {0};
        bool ok =
            ar_tokenizer_encode(&ids, tokenizer, "abc ab a1", 9, 0, NULL) == AR_OK && ids.count == 5 && ids.id[1] == 11 && ids.id[4] == 7;
        ar_ids_release(&ids);
        if (!ok) return tokenizer;
    }
    return NULL;
}

static void threads_share_a_tokenizer(void **state) {
    (void)state;
    ar_tokenizer *tk = open_text("{" BYTE_MODEL ",\"pre_tokenizer\":" BYTE_LEVEL "}");
    pthread_t thread[THREADS];
    for (int i = 0; i < THREADS; i++) assert_int_equal(pthread_create(&thread[i], NULL, encode_often, tk), 0);
    for (int i = 0; i < THREADS; i++) {
        void *bad;
        assert_int_equal(pthread_join(thread[i], &bad), 0);
        assert_null(bad);
    }
    ar_tokenizer_free(tk);
}

static void bytes_stand_in_for_unknown_characters(void **state) {
    (void)state;
    char vocab[8192] = "\"<unk>\":0,\"" MARK "\":1,\"a\":2,\"" MARK "a\":3";
    for (int b = 0; b < 256; b++) snprintf(vocab + strlen(vocab), sizeof vocab - strlen(vocab), ",\"<0x%02X>\":%d", (unsigned)b, 4 + b);
    char json[16384];
    snprintf(
        json, sizeof json,
        "{\"model\":{\"type\":\"BPE\",\"unk_token\":\"<unk>\",\"fuse_unk\":true,\"byte_fallback\":true,\"vocab\":{%s},\"merges\":[\"" MARK
        " a\"]},"
        "\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"Prepend\",\"prepend\":\"" MARK "\"},"
        "{\"type\":\"Replace\",\"pattern\":{\"String\":\" \"},\"content\":\"" MARK "\"}]},\"decoder\":" MARK_DECODER "}",
        vocab);
    ar_tokenizer *tk = open_text(json);
    assert_ids(tk, "a a", 0, "3 3");
    assert_ids(tk, "a\xC3\xA9", 0, "3 199 173");
    assert_ids(tk, "a", AR_TOKENIZE_NO_PREFIX, "2");
    const int32_t ids[] = {3, 199, 173, 199, 3};
    assert_text(tk, ids, 3, false, "a\xC3\xA9");
    assert_text(tk, ids + 3, 2, false, "\xEF\xBF\xBD a");
    ar_tokenizer_free(tk);
}

static void unigram_takes_the_best_cut(void **state) {
    (void)state;
    ar_tokenizer *tk =
        open_text("{\"model\":{\"type\":\"Unigram\",\"unk_id\":0,\"vocab\":[[\"<unk>\",0],[\"a\",-1],[\"b\",-1],[\"ab\",-1.5],"
                  "[\"bc\",-1],[\"" MARK "\",-2],[\"c\",-3]]},\"pre_tokenizer\":{\"type\":\"Metaspace\",\"replacement\":\"" MARK
                  "\",\"prepend_scheme\":\"first\"},\"decoder\":{\"type\":\"Metaspace\",\"replacement\":\"" MARK "\"}}");
    assert_ids(tk, "abc", 0, "5 1 4");
    assert_ids(tk, "ab xy", 0, "5 3 5 0");
    const int32_t ids[] = {5, 3, 5, 4};
    assert_text(tk, ids, 4, false, "ab bc");
    ar_tokenizer_free(tk);
}

static void added_tokens_follow_their_flags(void **state) {
    (void)state;
    ar_tokenizer *tk = open_text("{" BYTE_MODEL ",\"pre_tokenizer\":" BYTE_LEVEL ",\"decoder\":" BYTE_LEVEL
                                 ",\"normalizer\":{\"type\":\"Lowercase\"},\"added_tokens\":["
                                 "{\"id\":12,\"content\":\"<x>\",\"special\":true,\"normalized\":false},"
                                 "{\"id\":13,\"content\":\"<xy>\",\"normalized\":false,\"lstrip\":true,\"rstrip\":true},"
                                 "{\"id\":14,\"content\":\"CAB\",\"normalized\":true},"
                                 "{\"id\":15,\"content\":\"cc\",\"normalized\":false,\"single_word\":true},"
                                 "{\"id\":77,\"content\":\"a\",\"normalized\":false,\"single_word\":true}]}");
    assert_int_equal(ar_tokenizer_count(tk), 16);
    assert_ids(tk, "a<x>b", 0, "0 12 1");
    assert_ids(tk, "<x>y>", 0, "12");
    assert_ids(tk, "a  <xy>  b", 0, "0 13 1");
    assert_ids(tk, "1cab1", 0, "7 14 7");
    assert_ids(tk, "1CaB1", 0, "7 14 7");
    assert_ids(tk, "acca cc", 0, "0 2 2 0 3 15");
    const int32_t ids[] = {0, 12, 1, 13};
    assert_text(tk, ids, 4, false, "a<x>b<xy>");
    assert_text(tk, ids, 4, true, "ab<xy>");
    ar_tokenizer_free(tk);
}

static void special_tokens_come_from_the_template(void **state) {
    (void)state;
    temp_text("special/tokenizer_config.json", "{\"bos_token\":{\"content\":\"b\"},\"eos_token\":\"abc\"}");
    ar_error err;
    ar_tokenizer *tk;
    temp_text(
        "special/tokenizer.json",
        "{" BYTE_MODEL ",\"pre_tokenizer\":" BYTE_LEVEL ",\"post_processor\":{\"type\":\"Sequence\",\"processors\":[" BYTE_LEVEL
        ",{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{\"id\":\"B\",\"type_id\":0}},{\"Sequence\":{\"id\":\"A\","
        "\"type_id\":0}},{\"SpecialToken\":{\"id\":\"E\",\"type_id\":0}}],\"pair\":[],\"special_tokens\":{\"B\":{\"id\":\"B\",\"ids\":[1],"
        "\"tokens\":[\"b\"]},\"E\":{\"id\":\"E\",\"ids\":[5,2],\"tokens\":[\"abc\",\"c\"]}}}]}}");
    assert_ok(ar_tokenizer_open(&tk, temp_path("special"), &err), err);
    assert_ids(tk, "ab", AR_TOKENIZE_SPECIAL, "1 4 5 2");
    assert_ids(tk, "", AR_TOKENIZE_SPECIAL, "1 5 2");
    assert_ids(tk, "ab", 0, "4");
    assert_int_equal(ar_tokenizer_bos(tk), 1);
    assert_int_equal(ar_tokenizer_eos(tk), 5);
    ar_tokenizer_free(tk);
}

static void wrong_input_is_an_error(void **state) {
    (void)state;
    ar_tokenizer *tk = open_text("{" BYTE_MODEL ",\"pre_tokenizer\":" BYTE_LEVEL "}");
    ar_ids ids = {0};
    ar_error err;
    char *text;
    size_t n;
    const int32_t bad[] = {0, 12}, negative[] = {-1};
    assert_error(ar_tokenizer_encode(&ids, tk, "ab\xED\xA0\x80", 5, 0, &err), AR_ERR_VALUE, err, "byte 2 is not UTF-8");
    assert_error(ar_tokenizer_encode(&ids, tk, "\xC3", 1, 0, &err), AR_ERR_VALUE, err, "byte 0");
    assert_int_equal(ids.count, 0);
    assert_error(ar_tokenizer_decode(&text, &n, tk, bad, 2, false, &err), AR_ERR_VALUE, err, "id 12");
    assert_error(ar_tokenizer_decode(&text, &n, tk, negative, 1, false, &err), AR_ERR_VALUE, err, "id -1");
    ar_tokenizer_free(tk);
}

static void wrong_files_are_refused_by_name(void **state) {
    (void)state;
    static const struct {
        ar_status status;
        const char *json, *part;
    } files[] = {
        {AR_ERR_FORMAT, "{\"model\":", "tokenizer.json:1:9: not JSON"},
        {AR_ERR_FORMAT, "[]", "no 'model'"},
        {AR_ERR_UNSUPPORTED, "{\"model\":{\"type\":\"WordPiece\",\"vocab\":{}}}", "WordPiece"},
        {AR_ERR_FORMAT, "{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":-1},\"merges\":[]}}", "id of token 'a'"},
        {AR_ERR_FORMAT, "{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":99999999999},\"merges\":[]}}", "id of token 'a'"},
        {AR_ERR_FORMAT, "{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":1e30},\"merges\":[]}}", "id of token 'a'"},
        {AR_ERR_FORMAT, "{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":1,\"b\":1},\"merges\":[]}}", "same id 1"},
        {AR_ERR_FORMAT, "{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"b\":1},\"merges\":[\"a b\"]}}", "merge 0"},
        {AR_ERR_FORMAT, "{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[\"a\"]}}", "not two tokens"},
        {AR_ERR_FORMAT, "{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[],\"unk_token\":\"u\"}}", "unk_token 'u'"},
        {AR_ERR_UNSUPPORTED, "{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[],\"dropout\":0.1}}", "dropout"},
        {AR_ERR_FORMAT, "{\"model\":{\"type\":\"Unigram\",\"vocab\":[[\"a\",0]],\"unk_id\":3}}", "unk_id"},
        {AR_ERR_FORMAT, "{\"model\":{\"type\":\"Unigram\",\"vocab\":[[\"a\"]]}}", "piece 0"},
        {AR_ERR_UNSUPPORTED, "{" BYTE_MODEL ",\"normalizer\":{\"type\":\"Foo\"}}", "normalizer 'Foo'"},
        {AR_ERR_UNSUPPORTED, "{" BYTE_MODEL ",\"pre_tokenizer\":{\"type\":\"Bar\"}}", "pre-tokenizer 'Bar'"},
        {AR_ERR_UNSUPPORTED, "{" BYTE_MODEL ",\"decoder\":{\"type\":\"CTC\"}}", "decoder 'CTC'"},
        {AR_ERR_UNSUPPORTED, "{" BYTE_MODEL ",\"post_processor\":{\"type\":\"Baz\"}}", "post-processor 'Baz'"},
        {AR_ERR_FORMAT, "{" BYTE_MODEL ",\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"Regex\":\"(\"},\"behavior\":\"Isolated\"}}",
         "( without )"},
        {AR_ERR_FORMAT, "{" BYTE_MODEL ",\"normalizer\":{\"type\":\"Precompiled\",\"precompiled_charsmap\":\"////\"}}", "character map"},
        {AR_ERR_FORMAT, "{" BYTE_MODEL ",\"added_tokens\":[{\"content\":5}]}", "'content' is not a string"},
    };
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        ar_error err;
        ar_tokenizer *tk;
        assert_error(ar_tokenizer_open(&tk, temp_text("bad/tokenizer.json", files[i].json), &err), files[i].status, err, files[i].part);
        assert_null(tk);
    }
    ar_error err;
    ar_tokenizer *tk;
    assert_error(ar_tokenizer_open(&tk, temp_path("nowhere"), &err), AR_ERR_NOT_FOUND, err, "nowhere");
}

/* Every prefix of a valid file is an error or a tokenizer, never a crash; likewise with single bytes changed. */
static void damaged_files_do_not_crash(void **state) {
    (void)state;
    static const char json[] =
        "{" BYTE_MODEL ",\"pre_tokenizer\":" BYTE_LEVEL ",\"decoder\":" MARK_DECODER ",\"added_tokens\":[{\"content\":\"<x>\"}]}";
    char copy[sizeof json];
    for (size_t i = 0; i + 1 < sizeof json; i++) {
        ar_tokenizer *tk;
        ar_tokenizer_open(&tk, temp_file("cut/tokenizer.json", json, i), NULL);
        ar_tokenizer_free(tk);
        memcpy(copy, json, sizeof json);
        copy[i] = (char)(copy[i] ^ (1 << i % 7));
        ar_tokenizer_open(&tk, temp_file("cut/tokenizer.json", copy, sizeof json - 1), NULL);
        ar_ids ids = {0};
        if (tk) ar_tokenizer_encode(&ids, tk, "abc <x> ab", 10, AR_TOKENIZE_SPECIAL, NULL);
        ar_ids_release(&ids);
        ar_tokenizer_free(tk);
    }
}

/* Golden ids from the files of the material (tests/oracle/tokenizer_ids.py compares thousands of strings). */
static void material_tokenizers_give_the_known_ids(void **state) {
    (void)state;
    static const struct {
        const char *file, *text, *ids;
    } cases[] = {
        {"tokenizers/gpt2/tokenizer.json", "Hello world, it's 2024!\n", "15496 995 11 340 338 48609 0 198"},
        {"tokenizers/qwen2.5/tokenizer.json", "Hello world, it's 2024!\n", "9707 1879 11 432 594 220 17 15 17 19 4894"},
        {"tokenizers/phi3/tokenizer.json", "Hello <|end|> \xC3\xA9\xF0\x9F\x98\x80", "15043 29871 32007 904 243 162 155 131"},
        {"tokenizers/mistral-spm/tokenizer.model.v1", "Hello  \xF0\x9F\x98\x80", "22557 259 30575"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ar_error err;
        ar_tokenizer *tk;
        assert_ok(ar_tokenizer_open(&tk, material(cases[i].file), &err), err);
        assert_ids(tk, cases[i].text, 0, cases[i].ids);
        ar_tokenizer_free(tk);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(byte_level_merges_and_decodes),
        cmocka_unit_test(every_spelling_of_a_file_reads_the_same),
        cmocka_unit_test(a_long_word_merges_like_a_short_one),
        cmocka_unit_test(threads_share_a_tokenizer),
        cmocka_unit_test(bytes_stand_in_for_unknown_characters),
        cmocka_unit_test(unigram_takes_the_best_cut),
        cmocka_unit_test(added_tokens_follow_their_flags),
        cmocka_unit_test(special_tokens_come_from_the_template),
        cmocka_unit_test(wrong_input_is_an_error),
        cmocka_unit_test(wrong_files_are_refused_by_name),
        cmocka_unit_test(damaged_files_do_not_crash),
        cmocka_unit_test(material_tokenizers_give_the_known_ids),
    };
    return cmocka_run_group_tests_name("text", tests, NULL, NULL);
}
