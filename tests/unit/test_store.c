/* Whole models written anew: which type a matrix gets, what a vocabulary becomes, and what a GGUF file has no place for.  Files of whole
 * models are in tests/oracle/model_files.py. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "alphar/quantize.h"
#include "arch/gguf_write.h"
#include "format/gguf.h"
#include "format/json.h"
#include "store/types.h"
#include "text/gguf_tokens.h"
#include "text/gguf_vocab.h"
#include "text/spm.h"
#include "util.h"

/* ---- types ------------------------------------------------------------------------------------------------------------ */

static void rows_of_no_whole_block_get_a_smaller_block(void **state) {
    (void)state;
    assert_int_equal(ar__file_type_for(AR_Q4_K, AR_BF16, 512), AR_Q4_K);
    assert_int_equal(ar__file_type_for(AR_Q4_K, AR_BF16, 288), AR_Q5_0);
    assert_int_equal(ar__file_type_for(AR_Q5_K, AR_BF16, 288), AR_Q5_1);
    assert_int_equal(ar__file_type_for(AR_Q6_K, AR_BF16, 288), AR_Q8_0);
    assert_int_equal(ar__file_type_for(AR_Q2_K, AR_BF16, 288), AR_Q4_0);
    assert_int_equal(ar__file_type_for(AR_Q4_K, AR_BF16, 100), AR_BF16); /* whose range f16 lacks */
    assert_int_equal(ar__file_type_for(AR_Q8_0, AR_F16, 100), AR_F16);
    assert_int_equal(ar__file_type_for(AR_Q8_0, AR_F32, 100), AR_F16);
}

static void the_head_keeps_six_bits(void **state) {
    (void)state;
    assert_int_equal(ar__file_type_of_head(AR_Q4_K, AR_BF16, 512), AR_Q6_K);
    assert_int_equal(ar__file_type_of_head(AR_Q2_K, AR_BF16, 288), AR_Q8_0);
    assert_int_equal(ar__file_type_of_head(AR_Q8_0, AR_BF16, 512), AR_Q8_0);
    assert_int_equal(ar__file_type_of_head(AR_BF16, AR_F32, 100), AR_BF16);
}

static void types_that_are_only_read_are_not_asked_for(void **state) {
    (void)state;
    ar_error err;
    ar_dtype t;
    assert_ok(ar__file_type_read(&t, "q5_k", &err), err);
    assert_int_equal(t, AR_Q5_K);
    assert_error(ar__file_type_read(&t, "iq2_xs", &err), AR_ERR_USAGE, err, "type 'iq2_xs': wanted one of f32, f16");
    assert_error(ar__file_type_read(&t, "i8", &err), AR_ERR_USAGE, err, "nf4-dq");
}

/* ---- vocabularies -------------------------------------------------------------------------------------------------------- */

static json_t *parse(const char *text) {
    ar_error err;
    json_t *root;
    assert_ok(ar__json_parse(&root, text, strlen(text), "test", &err), err);
    return root;
}

/* What a name stands for is recognised as that name's way of cutting, whoever wrote it down. */
static void every_way_of_cutting_is_recognised(void **state) {
    (void)state;
    static const char *const names[] = {"llama-bpe", "dbrx",   "qwen2", "stablelm2", "gpt-2", "mpt",         "starcoder", "falcon",
                                        "tekken",    "gpt-4o", "bloom", "viking",    "phi-2", "deepseek-v3", "seed-coder"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const ar_gguf_pretok *p = ar__gguf_pretok_find(names[i], strlen(names[i]));
        json_t *root = json_pack("{s:{s:b}}", "model", "ignore_merges", (int)p->whole);
        assert_true(ar__gguf_pretok_put(root, p));
        const char *found = ar__gguf_pretok_name(root, "none");
        assert_non_null(found);
        assert_ptr_equal(ar__gguf_pretok_find(found, strlen(found)), p);
        json_decref(root);
    }
}

static const char *name_of(const char *text, const char *architecture) {
    json_t *root = parse(text);
    const char *name = ar__gguf_pretok_name(root, architecture);
    json_decref(root);
    return name;
}

static void spellings_of_one_way_are_one_and_others_are_none(void **state) {
    (void)state;
    assert_string_equal(
        name_of("{\"model\":{},\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"trim_offsets\":true}}", "gpt2"),
        "gpt-2");
    assert_string_equal(name_of("{\"model\":{},\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":[]},\"pre_tokenizer\":{\"type\":"
                                "\"Sequence\",\"pretokenizers\":"
                                "[{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":true}]}}",
                                "phi2"),
                        "phi-2");
    assert_string_equal(
        name_of("{\"model\":{},\"normalizer\":{\"type\":\"NFC\"},\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"add_prefix_space\":false}}",
                "olmo"),
        "olmo");
    assert_null(name_of("{\"model\":{},\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"add_prefix_space\":true}}", "gpt2"));
    assert_null(
        name_of("{\"model\":{\"ignore_merges\":true},\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"add_prefix_space\":false}}", "gpt2"));
    assert_null(name_of(
        "{\"model\":{},\"normalizer\":{\"type\":\"Lowercase\"},\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"add_prefix_space\":false}}",
        "gpt2"));
    assert_null(name_of(
        "{\"model\":{},\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"Regex\":\"x\"},\"behavior\":\"Isolated\",\"invert\":false}}",
        "gpt2"));
}

static void ranks_become_scores_of_what_merges_make(void **state) {
    (void)state;
    ar_gguf_tokens t;
    ar_error err;
    json_t *root = parse(
        "{\"model\":{\"type\":\"BPE\",\"byte_fallback\":true,\"unk_token\":\"<unk>\",\"vocab\":{\"<unk>\":0,\"<0x0A>\":1,\"a\":2,\"b\":3,"
        "\"ab\":4,\"bb\":5,\"abb\":6},\"merges\":[\"b b\",[\"a\",\"b\"],\"ab b\",\"a bb\"]},"
        "\"added_tokens\":[{\"id\":0,\"content\":\"<unk>\",\"special\":true},{\"id\":7,\"content\":\"\xE2\x96\x81x\",\"special\":false}]}");
    assert_ok(ar__gguf_tokens_init(&t, 9, 0, &err), err);
    assert_ok(ar__gguf_tokens_add_json(&t, root, &err), err);
    assert_ok(ar__gguf_tokens_rank(&t, &err), err);
    assert_true(t.score[5] == 0 && t.score[4] == -1 && t.score[6] == -2 && t.score[2] < -1000 && t.score[3] < -1000);
    assert_int_equal(t.type[0], AR_SPM_UNKNOWN);
    assert_int_equal(t.type[1], AR_SPM_BYTE);
    assert_int_equal(t.type[7], AR_SPM_USER);
    assert_string_equal(t.text[7], " x"); /* llama.cpp seeks these in the text itself */
    assert_int_equal(t.type[8], AR_SPM_UNUSED);
    assert_string_equal(t.text[8], "[PAD8]");
    assert_string_equal(t.merges.at[1], "a b");
    ar__gguf_tokens_release(&t);
    json_decref(root);
}

static void tokens_without_a_row_are_refused(void **state) {
    (void)state;
    ar_gguf_tokens t;
    ar_error err;
    json_t *root = parse("{\"model\":{\"vocab\":{\"a\":0,\"b\":1,\"c\":2}}}");
    assert_ok(ar__gguf_tokens_init(&t, 2, 0, &err), err);
    assert_error(ar__gguf_tokens_add_json(&t, root, &err), AR_ERR_MISMATCH, err, "token 'c' has the id 2, but the model has 2 rows");
    ar__gguf_tokens_release(&t);
    json_decref(root);
}

/* ---- architectures --------------------------------------------------------------------------------------------------------- */

static ar_arch read_arch(const char *more) {
    char text[1000];
    ar_error err;
    ar_arch a;
    snprintf(text, sizeof text,
             "{\"model_type\":\"mistral\",\"vocab_size\":8,\"hidden_size\":16,\"intermediate_size\":8,\"num_hidden_layers\":2,"
             "\"num_attention_heads\":2,\"num_key_value_heads\":2%s}",
             more);
    json_t *config = parse(text);
    assert_ok(ar__arch_read(&a, config, "config.json", NULL, &err), err);
    json_decref(config);
    return a;
}

static void what_a_file_lacks_is_named(void **state) {
    (void)state;
    static const struct {
        const char *more, *named;
    } cases[] = {{",\"rms_norm_eps\":1e-4", "norm_eps"},
                 {",\"hidden_act\":\"gelu\"", "activation function"},
                 {",\"rope_theta\":5e5", "frequencies"},
                 {",\"tie_word_embeddings\":true", "tied"},
                 {",\"max_position_embeddings\":77", "max_positions"},
                 {",\"sliding_window\":5", "window"}};
    ar_arch plain = read_arch(",\"sliding_window\":4");
    ar_error err;
    bool windowless;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char more[100];
        snprintf(more, sizeof more, "%s%s", i < 5 ? ",\"sliding_window\":4" : "", cases[i].more);
        ar_arch other = read_arch(more);
        assert_error(ar__arch_check_same(&windowless, &other, &plain, "base", &err), AR_ERR_UNSUPPORTED, err, cases[i].named);
        ar__arch_release(&other);
    }
    ar_arch none = read_arch(",\"sliding_window\":null");
    assert_ok(ar__arch_check_same(&windowless, &plain, &none, "base", &err), err);
    assert_true(windowless);
    assert_ok(ar__arch_check_same(&windowless, &plain, &plain, "base", &err), err);
    assert_false(windowless);
    ar__arch_release(&none);
    ar__arch_release(&plain);
}

/* ---- what is a model --------------------------------------------------------------------------------------------------------- */

static void models_and_adapters_are_told_apart(void **state) {
    (void)state;
    ar_error err;
    ar_gguf_writer *w;
    temp_text("model/config.json", "{}");
    temp_text("adapter/adapter_config.json", "{}");
    temp_text("both/config.json", "{}");
    temp_text("both/adapter_config.json", "{}");
    assert_true(ar_path_is_model(temp_path("model")));
    assert_false(ar_path_is_model(temp_path("adapter")));
    assert_false(ar_path_is_model(temp_path("both")));
    assert_false(ar_path_is_model(temp_path("absent.gguf")));
    for (int i = 0; i < 2; i++) {
        const int32_t list[] = {1, -2, 3};
        const ar_gguf_kv *kv = NULL;
        int64_t second = 0;
        ar_gguf *g;
        assert_ok(ar__gguf_writer_new(&w, &err), err);
        assert_ok(ar__gguf_writer_set_string(w, "general.type", i ? "adapter" : "model", &err), err);
        assert_ok(ar__gguf_writer_set_array(w, "list", AR_GGUF_I32, 3, list, &err), err);
        assert_ok(ar__gguf_writer_save(w, temp_path("file.gguf"), &err), err);
        ar__gguf_writer_free(w);
        assert_int_equal(ar_path_is_model(temp_path("file.gguf")), !i);
        assert_ok(ar__gguf_open(&g, temp_path("file.gguf"), &err), err);
        assert_ok(ar__gguf_get_array(&kv, g, "list", AR_GGUF_I32, &err), err);
        assert_true(kv->count == 3 && ar__gguf_int_at(&second, kv, 1) && second == -2);
        ar__gguf_close(g);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(rows_of_no_whole_block_get_a_smaller_block),
                                       cmocka_unit_test(the_head_keeps_six_bits),
                                       cmocka_unit_test(types_that_are_only_read_are_not_asked_for),
                                       cmocka_unit_test(every_way_of_cutting_is_recognised),
                                       cmocka_unit_test(spellings_of_one_way_are_one_and_others_are_none),
                                       cmocka_unit_test(ranks_become_scores_of_what_merges_make),
                                       cmocka_unit_test(tokens_without_a_row_are_refused),
                                       cmocka_unit_test(what_a_file_lacks_is_named),
                                       cmocka_unit_test(models_and_adapters_are_told_apart)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
