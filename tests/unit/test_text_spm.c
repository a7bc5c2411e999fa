/* SentencePiece models written byte by byte: merging by score, unknown characters, normalisation, damage. */
#include <stdlib.h>
#include <string.h>

#include "alphar/tokenizer.h"
#include "base/mem.h"
#include "util.h"

#define MARK "\xE2\x96\x81"
enum { NORMAL = 1, UNKNOWN, CONTROL, USER, UNUSED };
enum { UNIGRAM = 1, BPE };

static void put_varint(ar_buf *b, uint64_t v) {
    do {
        char byte = (char)((v & 0x7F) | (v > 0x7F ? 0x80 : 0));
        ar__buf_add(b, &byte, 1);
        v >>= 7;
    } while (v);
}

static void put_bytes(ar_buf *b, unsigned field, const char *s, size_t n) {
    put_varint(b, field << 3 | 2);
    put_varint(b, n);
    ar__buf_add(b, s, n);
}

static void put_piece(ar_buf *file, const char *text, float score, unsigned type) {
    ar_buf piece = {0};
    put_bytes(&piece, 1, text, strlen(text));
    put_varint(&piece, 2 << 3 | 5);
    ar__buf_add(&piece, &score, 4);
    put_varint(&piece, 3 << 3 | 0);
    put_varint(&piece, type);
    put_bytes(file, 1, piece.data, piece.len);
    ar__buf_release(&piece);
}

/* trainer_spec {3: type}, normalizer_spec {3: dummy prefix, 4: squeeze spaces} */
static void put_specs(ar_buf *file, unsigned type, unsigned dummy_prefix, unsigned squeeze) {
    char trainer[] = {3 << 3, (char)type}, normalizer[] = {3 << 3, (char)dummy_prefix, 4 << 3, (char)squeeze};
    put_bytes(file, 2, trainer, sizeof trainer);
    put_bytes(file, 3, normalizer, sizeof normalizer);
}

static ar_buf small_model(unsigned type, unsigned squeeze) {
    ar_buf file = {0};
    put_piece(&file, "<unk>", 0, UNKNOWN);
    put_piece(&file, "<s>", 0, CONTROL);
    put_piece(&file, "</s>", 0, CONTROL);
    put_piece(&file, "<sep>", 0, USER);
    put_piece(&file, MARK, -2, NORMAL);
    put_piece(&file, "a", -2, NORMAL);
    put_piece(&file, "b", -2, NORMAL);
    put_piece(&file, "ab", -1, NORMAL);
    put_piece(&file, MARK "a", -1.5F, NORMAL);
    put_piece(&file, MARK "ab", -3, NORMAL);
    put_specs(&file, type, 1, squeeze);
    return file;
}

static void assert_ids(const ar_tokenizer *tk, const char *text, unsigned flags, const int32_t *want, size_t count) {
    ar_ids ids = {0};
    ar_error err;
    assert_ok(ar_tokenizer_encode(&ids, tk, text, strlen(text), flags, &err), err);
    assert_int_equal(ids.count, count);
    for (size_t i = 0; i < count; i++) assert_int_equal(ids.id[i], want[i]);
    ar_ids_release(&ids);
}
#define IDS(tk, text, flags, ...)                                                                                                          \
    assert_ids(tk, text, flags, (const int32_t[]){__VA_ARGS__}, sizeof((const int32_t[]){__VA_ARGS__}) / sizeof(int32_t))

static ar_tokenizer *open_model(const char *name, ar_buf *file) {
    ar_error err;
    ar_tokenizer *tk;
    assert_ok(ar_tokenizer_open(&tk, temp_file(name, file->data, file->len), &err), err);
    ar__buf_release(file);
    return tk;
}

static void bpe_merges_the_best_score_first(void **state) {
    (void)state;
    ar_buf file = small_model(BPE, 1);
    ar_tokenizer *tk = open_model("bpe/tokenizer.model", &file);
    IDS(tk, "ab", 0, 9); /* "ab" first, then the mark */
    IDS(tk, "  aa   b ", 0, 8, 5, 4, 6);
    IDS(tk, "ab", AR_TOKENIZE_SPECIAL, 1, 9);
    IDS(tk, "ab", AR_TOKENIZE_NO_PREFIX, 7);
    IDS(tk, "axxb", 0, 8, 0, 6); /* a run of unknown characters is one */
    IDS(tk, "a<sep>b<s>", 0, 8, 3, 6, 0);
    assert_int_equal(ar_tokenizer_bos(tk), 1);
    assert_int_equal(ar_tokenizer_eos(tk), 2);
    ar_tokenizer_free(tk);
}

static void unigram_takes_the_best_sum(void **state) {
    (void)state;
    ar_buf file = small_model(UNIGRAM, 0);
    ar_tokenizer *tk = open_model("unigram/tokenizer.model", &file);
    IDS(tk, "ab", 0, 9); /* as good as the mark and "ab": the one that starts first stays */
    IDS(tk, "bab ", 0, 4, 6, 7, 4);
    IDS(tk, "b<sep>", 0, 4, 6, 3);
    ar_tokenizer_free(tk);
}

static void configuration_names_the_ends(void **state) {
    (void)state;
    ar_buf file = small_model(BPE, 1);
    temp_text("ends/tokenizer_config.json", "{\"add_bos_token\":false,\"add_eos_token\":true,\"eos_token\":{\"content\":\"</s>\"}}");
    ar_tokenizer *tk = open_model("ends/tokenizer.model", &file);
    IDS(tk, "a", AR_TOKENIZE_SPECIAL, 8, 2);
    ar_tokenizer_free(tk);
}

static void assert_whole(const ar_tokenizer *tk, const char *text, unsigned own, const int32_t *want, size_t count) {
    ar_ids ids = {0};
    unsigned got;
    ar_error err;
    assert_ok(ar_tokenizer_encode_whole(&ids, &got, tk, text, strlen(text), &err), err);
    assert_int_equal(got, own);
    assert_int_equal(ids.count, count);
    for (size_t i = 0; i < count; i++) assert_int_equal(ids.id[i], want[i]);
    ar_ids_release(&ids);
}
#define WHOLE(tk, text, own, ...)                                                                                                          \
    assert_whole(tk, text, own, (const int32_t[]){__VA_ARGS__}, sizeof((const int32_t[]){__VA_ARGS__}) / sizeof(int32_t))

static void a_whole_text_has_each_end_once(void **state) {
    (void)state;
    ar_buf file = small_model(BPE, 1);
    ar_tokenizer *tk = open_model("whole/tokenizer.model", &file);
    WHOLE(tk, "ab", 0, 1, 9);
    WHOLE(tk, "<s>ab", AR_TOKENIZE_OWN_BOS, 1, 9);
    WHOLE(tk, "<s>ab</s>", AR_TOKENIZE_OWN_BOS, 1, 9, 2); /* EOS is no part of what this tokenizer adds */
    WHOLE(tk, "<s>", AR_TOKENIZE_OWN_BOS, 1);
    WHOLE(tk, "", 0, 1);
    ar_tokenizer_free(tk);
    file = small_model(BPE, 1);
    temp_text("whole2/tokenizer_config.json", "{\"add_bos_token\":true,\"add_eos_token\":true}");
    tk = open_model("whole2/tokenizer.model", &file);
    WHOLE(tk, "a", 0, 1, 8, 2);
    WHOLE(tk, "a</s>", AR_TOKENIZE_OWN_EOS, 1, 8, 2);
    WHOLE(tk, "<s>a</s>", AR_TOKENIZE_OWN_BOS | AR_TOKENIZE_OWN_EOS, 1, 8, 2);
    ar_tokenizer_free(tk);
}

static void decoding_drops_the_dummy_prefix(void **state) {
    (void)state;
    ar_buf file = small_model(BPE, 0);
    ar_tokenizer *tk = open_model("decode/tokenizer.model", &file);
    const int32_t ids[] = {1, 8, 9, 0, 2};
    char *text;
    size_t n;
    ar_error err;
    assert_ok(ar_tokenizer_decode(&text, &n, tk, ids, 5, true, &err), err);
    assert_string_equal(text, "a ab \xE2\x81\x87 ");
    free(text);
    assert_ok(ar_tokenizer_decode(&text, &n, tk, ids, 5, false, &err), err);
    assert_string_equal(text, "<s>a ab \xE2\x81\x87 </s>");
    free(text);
    ar_tokenizer_free(tk);
}

static void damaged_models_do_not_crash(void **state) {
    (void)state;
    ar_buf file = small_model(BPE, 1);
    for (size_t i = 0; i < file.len; i++) {
        ar_tokenizer *tk;
        ar_tokenizer_open(&tk, temp_file("cut/tokenizer.model", file.data, i), NULL);
        ar_tokenizer_free(tk);
        for (unsigned flip = 1; flip < 256; flip *= 4) {
            char was = file.data[i];
            file.data[i] = (char)(was ^ (char)flip);
            ar_tokenizer_open(&tk, temp_file("cut/tokenizer.model", file.data, file.len), NULL);
            ar_ids ids = {0};
            if (tk) ar_tokenizer_encode(&ids, tk, "ab <sep> x", 10, AR_TOKENIZE_SPECIAL, NULL);
            ar_ids_release(&ids);
            ar_tokenizer_free(tk);
            file.data[i] = was;
        }
    }
    ar__buf_release(&file);
}

static void wrong_models_are_named(void **state) {
    (void)state;
    ar_error err;
    ar_tokenizer *tk;
    ar_buf file = {0};
    assert_error(ar_tokenizer_open(&tk, temp_file("x/tokenizer.model", "", 0), &err), AR_ERR_FORMAT, err, "no pieces");
    assert_error(ar_tokenizer_open(&tk, temp_file("x/tokenizer.model", "\x0A\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x01", 12), &err),
                 AR_ERR_FORMAT, err, "not a SentencePiece model");
    put_piece(&file, "a", 0, NORMAL);
    assert_error(ar_tokenizer_open(&tk, temp_file("x/tokenizer.model", file.data, file.len), &err), AR_ERR_FORMAT, err, "no unknown piece");
    put_piece(&file, "a", 0, NORMAL);
    assert_error(ar_tokenizer_open(&tk, temp_file("x/tokenizer.model", file.data, file.len), &err), AR_ERR_FORMAT, err,
                 "'a' is there twice");
    ar__buf_release(&file);
    file = small_model(4, 1);
    assert_error(ar_tokenizer_open(&tk, temp_file("x/tokenizer.model", file.data, file.len), &err), AR_ERR_UNSUPPORTED, err, "type 4");
    ar__buf_release(&file);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bpe_merges_the_best_score_first), cmocka_unit_test(unigram_takes_the_best_sum),
        cmocka_unit_test(configuration_names_the_ends),    cmocka_unit_test(a_whole_text_has_each_end_once),
        cmocka_unit_test(decoding_drops_the_dummy_prefix), cmocka_unit_test(damaged_models_do_not_crash),
        cmocka_unit_test(wrong_models_are_named),
    };
    return cmocka_run_group_tests_name("text_spm", tests, NULL, NULL);
}
