/* Names of modules in three tongues, and GGUF's row orders, the latter also on a real file pair. */
#include <stdlib.h>
#include <string.h>

#include "arch/arch.h"
#include "arch/names.h"
#include "base/file.h"
#include "format/safetensors.h"
#include "util.h"

static void expect_gguf(const ar_name_map *map, const char *hf, const char *stem) {
    ar_error err;
    ar_buf b = {0};
    assert_ok(ar__names_to_gguf(&b, map, hf, &err), err);
    assert_string_equal(b.data, stem);
    ar__buf_release(&b);
}

static void expect_hf(const ar_name_map *map, const char *stem, const char *hf) {
    ar_error err;
    ar_buf b = {0};
    assert_ok(ar__names_from_gguf(&b, map, stem, &err), err);
    assert_string_equal(b.data, hf);
    ar__buf_release(&b);
}

static void expect_mlx(const ar_name_map *map, const char *hf, bool wrapped, const char *mlx) {
    ar_buf b = {0};
    ar__names_to_mlx(&b, map, hf, wrapped);
    assert_string_equal(b.data, mlx);
    ar__buf_release(&b);
}

static void expect_from_mlx(const ar_name_map *map, const char *mlx, const char *hf) {
    ar_buf b = {0};
    ar__names_from_mlx(&b, map, mlx);
    assert_string_equal(b.data, hf);
    ar__buf_release(&b);
}

static void expect_same(const ar_name_map *map, const char *a, const char *b, bool same) {
    ar_buf key[2] = {{0}, {0}};
    ar__names_key(&key[0], map, a);
    ar__names_key(&key[1], map, b);
    assert_int_equal(!strcmp(key[0].data, key[1].data), same);
    ar__buf_release(&key[0]);
    ar__buf_release(&key[1]);
}

/* There and back through GGUF and MLX; returns how many rows it saw. */
static int check_rows(const ar_name_map *map, const ar_name_row *list, int64_t layer) {
    int n = 0;
    for (; list->hf; list++, n++) {
        ar_buf hf = {0}, stem = {0}, mlx = {0};
        ar_name name = {list, layer};
        ar__names_print(&hf, map, &name);
        assert_ptr_equal(ar__names_row(map, hf.data), list);
        if (layer >= 0) ar__buf_printf(&stem, "blk.%d.", (int)layer);
        ar__buf_puts(&stem, list->gguf);
        expect_gguf(map, hf.data, stem.data);
        bool alias = list->kind == AR_MODULE_HEAD && list[-1].kind == AR_MODULE_HEAD;
        if (!alias) expect_hf(map, stem.data, hf.data);
        ar__names_to_mlx(&mlx, map, hf.data, false);
        if (!alias) expect_from_mlx(map, mlx.data, hf.data);
        if (!alias) expect_from_mlx(NULL, mlx.data, hf.data);
        ar__buf_release(&hf);
        ar__buf_release(&stem);
        ar__buf_release(&mlx);
    }
    return n;
}

static bool has_key(const void *told_by, const char *key) { return told_by && !strcmp(key, told_by); }

static void every_row_goes_there_and_back(void **state) {
    (void)state;
    const ar_name_map *map;
    int families = 0;
    for (; (map = ar__names_at(families)); families++) {
        int rows = check_rows(map, map->top, -1);
        for (int g = 0; g < AR_NAME_GROUPS && map->group[g]; g++) rows += check_rows(map, map->group[g], g ? 131 : 0);
        assert_in_range(rows, 9, 29); /* the most: gemma 4 */
        assert_string_equal(ar__names_for_gguf(map->gguf)->gguf, map->gguf);
        if (map->told_by) assert_ptr_not_equal(ar__names_for_gguf(map->gguf), map);
        assert_ptr_equal(ar__names_for_file(map->gguf, has_key, map->told_by), map->told_by ? map : ar__names_for_gguf(map->gguf));
        for (int k = 0; k < AR_NAME_TYPES && map->model_type[k]; k++) assert_ptr_equal(ar__names_for_model_type(map->model_type[k]), map);
    }
    assert_int_equal(families, 41);
    assert_null(ar__names_at(-1));
    assert_null(ar__names_for_gguf("rwkv7"));
    assert_null(ar__names_for_model_type("gpt5"));
}

static void paths_may_be_wrapped_or_bare(void **state) {
    (void)state;
    const ar_name_map *gemma = ar__names_for_model_type("gemma3"), *gpt2 = ar__names_for_model_type("gpt2");
    expect_gguf(gemma, "language_model.model.layers.7.mlp.up_proj", "blk.7.ffn_up");
    expect_gguf(gemma, "model.language_model.layers.7.mlp.up_proj", "blk.7.ffn_up");
    expect_gguf(gemma, "layers.7.mlp.up_proj", "blk.7.ffn_up");
    expect_gguf(gemma, "language_model.lm_head", "output");
    expect_gguf(gemma, "model.language_model.embed_tokens", "token_embd");
    expect_gguf(gpt2, "h.11.attn.c_attn", "blk.11.attn_qkv");
    expect_gguf(gpt2, "wte", "token_embd");
    expect_same(NULL, "model.language_model.layers.0.x", "language_model.model.layers.0.x", true);
    expect_same(NULL, "model.layers.0.x", "model.language_model.layers.0.x", true);
    expect_same(NULL, "model.layers.0.x", "vision_tower.layers.0.x", false);
    expect_same(NULL, "model.layers.0.x", "model.layers.0.xy", false);
    expect_same(gpt2, "h.0.mlp.c_fc", "transformer.h.0.mlp.c_fc", true);
    expect_same(gpt2, "h.0.mlp.c_fc", "transformer.h.1.mlp.c_fc", false);
    expect_same(gpt2, "score", "model.score", true);
}

static void a_renamed_head_is_one_tensor(void **state) {
    (void)state;
    const ar_name_map *neox = ar__names_for_gguf("gptneox");
    expect_same(neox, "embed_out", "lm_head", true);
    expect_same(neox, "embed_out", "gpt_neox.embed_in", false);
    expect_hf(neox, "output", "lm_head");
}

static void unknown_paths_are_named(void **state) {
    (void)state;
    static const char *const bad[] = {"model.layers.3.self_attn.x_proj",
                                      "model.layers.03.self_attn.q_proj",
                                      "model.layers.-1.self_attn.q_proj",
                                      "model.layers.9999999.self_attn.q_proj",
                                      "model.layers..self_attn.q_proj",
                                      "model.layers.3",
                                      "model.layers.3.",
                                      "vision_tower.layers.3.self_attn.q_proj",
                                      "model.layers.3.self_attn.q_proj.x",
                                      "model",
                                      "",
                                      "model.model.layers.3.self_attn.q_proj"};
    static const char *const bad_stem[] = {"blk.3.attn_x", "blk.03.attn_q", "blk.x.attn_q", "attn_q", "blk.3", "", "blk.3.token_embd"};
    const ar_name_map *map = ar__names_for_model_type("llama");
    ar_error err;
    ar_buf b = {0};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_error(ar__names_to_gguf(&b, map, bad[i], &err), AR_ERR_UNSUPPORTED, err, "the family llama");
        assert_non_null(strstr(err.message, bad[i]));
        assert_null(ar__names_row(map, bad[i]));
    }
    for (size_t i = 0; i < sizeof bad_stem / sizeof *bad_stem; i++)
        assert_error(ar__names_from_gguf(&b, map, bad_stem[i], &err), AR_ERR_UNSUPPORTED, err, "architecture llama");
    assert_null(b.data);
}

static void mlx_has_its_own_paths(void **state) {
    (void)state;
    const ar_name_map *llama = ar__names_for_model_type("llama"), *gpt2 = ar__names_for_model_type("gpt2"),
                      *neox = ar__names_for_model_type("gpt_neox"), *gemma = ar__names_for_model_type("gemma3");
    expect_mlx(llama, "model.layers.3.mlp.up_proj", false, "model.layers.3.mlp.up_proj");
    expect_mlx(gpt2, "transformer.h.3.attn.c_attn", false, "model.h.3.attn.c_attn");
    expect_mlx(gpt2, "transformer.wte", false, "model.wte");
    expect_mlx(neox, "gpt_neox.layers.3.attention.dense", false, "model.h.3.attention.dense");
    expect_mlx(neox, "gpt_neox.embed_in", false, "model.embed_in");
    expect_mlx(neox, "embed_out", false, "model.embed_out");
    expect_mlx(neox, "lm_head", false, "model.embed_out");
    expect_mlx(gemma, "model.language_model.layers.3.mlp.up_proj", true, "language_model.model.layers.3.mlp.up_proj");
    expect_mlx(gemma, "language_model.model.layers.3.mlp.up_proj", true, "language_model.model.layers.3.mlp.up_proj");
    expect_mlx(gemma, "model.layers.3.mlp.up_proj", false, "model.layers.3.mlp.up_proj");
    expect_mlx(gemma, "lm_head", true, "language_model.lm_head");
    expect_mlx(gemma, "language_model.lm_head", true, "language_model.lm_head");
    expect_mlx(NULL, "model.language_model.layers.0.odd", true, "language_model.model.layers.0.odd");
    expect_mlx(NULL, "what.ever", false, "what.ever");
    expect_mlx(llama, "what.ever", false, "what.ever");
    expect_from_mlx(NULL, "model.h.3.attn.c_attn", "transformer.h.3.attn.c_attn");
    expect_from_mlx(NULL, "model.h.3.attention.query_key_value", "gpt_neox.layers.3.attention.query_key_value");
    expect_from_mlx(NULL, "model.layers.3.mlp.up_proj", "model.layers.3.mlp.up_proj");
    expect_from_mlx(NULL, "model.h.3.what", "model.h.3.what");
    expect_from_mlx(gemma, "language_model.model.layers.3.mlp.up_proj", "model.language_model.layers.3.mlp.up_proj");
    expect_from_mlx(NULL, "language_model.lm_head", "lm_head");
    assert_ptr_equal(ar__names_guess("transformer.h.3.attn.c_attn"), gpt2);
    assert_string_equal(ar__names_guess("transformer.h.3.mlp.dense_h_to_4h")->gguf, "bloom");
    assert_ptr_equal(ar__names_guess("model.language_model.layers.3.mlp.up_proj"), llama);
    assert_ptr_equal(ar__names_guess("gpt_neox.layers.3.attention.dense"), neox);
    assert_null(ar__names_guess("lm_head"));
    assert_null(ar__names_guess("unet.down.0.proj"));
}

/* The definition, as the converters have it: [o, a, b, inner] to [o, b, a, inner]; where the row comes from. */
static int64_t swapped(int64_t row, int64_t a, int64_t b, int64_t inner) {
    int64_t i = row % inner, y = row / inner % a, x = row / inner / a % b, o = row / inner / a / b;
    return ((o * a + y) * b + x) * inner + i;
}

static void row_orders_are_permutations(void **state) {
    (void)state;
    static const struct {
        ar_row_order order;
        int64_t rows, heads, kv;
    } cases[] = {{AR_ROWS_SAME, 10, 0, 0},       {AR_ROWS_LLAMA_Q, 64, 8, 4},   {AR_ROWS_LLAMA_K, 32, 8, 4},
                 {AR_ROWS_LLAMA_Q, 4096, 32, 8}, {AR_ROWS_QKV_HEADS, 48, 4, 4}, {AR_ROWS_QKV_HEADS, 90, 3, 3},
                 {AR_ROWS_QKV_HEADS, 15, 1, 1},  {AR_ROWS_LLAMA_K, 2, 8, 1}};
    ar_error err;
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        ar_row_map m;
        int64_t n = cases[c].rows, heads = cases[c].order == AR_ROWS_LLAMA_K ? cases[c].kv : cases[c].heads;
        ar_head_counts counts = {.heads = cases[c].heads, .kv_heads = cases[c].kv};
        assert_ok(ar__row_map_init(&m, cases[c].order, n, &counts, &err), err);
        for (int64_t i = 0; i < n; i++) {
            int64_t hf = ar__row_from_gguf(&m, i);
            assert_in_range(hf, 0, n - 1);
            assert_int_equal(ar__row_to_gguf(&m, hf), i);
            if (cases[c].order == AR_ROWS_SAME) assert_int_equal(hf, i);
            if (cases[c].order == AR_ROWS_LLAMA_Q || cases[c].order == AR_ROWS_LLAMA_K)
                assert_int_equal(hf, swapped(i, 2, n / heads / 2, 1));
            if (cases[c].order == AR_ROWS_QKV_HEADS) assert_int_equal(hf, swapped(i, heads, 3, n / heads / 3));
        }
    }
}

static void fused_heads_are_sorted_by_part(void **state) {
    (void)state;
    ar_error err;
    ar_row_map m;
    assert_ok(ar__row_map_init(&m, AR_ROWS_QKV_HEADS, 2 * 3 * 2, &(ar_head_counts){.heads = 2, .kv_heads = 2}, &err), err);
    /* HF: q0 q0 k0 k0 v0 v0 q1 q1 k1 k1 v1 v1 */
    static const int64_t want[] = {0, 1, 6, 7, 2, 3, 8, 9, 4, 5, 10, 11};
    for (int64_t i = 0; i < 12; i++) assert_int_equal(ar__row_from_gguf(&m, i), want[i]);
}

static void value_heads_are_sorted_by_turn(void **state) {
    (void)state;
    ar_error err;
    ar_row_map m;
    static const ar_head_counts counts = {.heads = 4, .kv_heads = 4, .key_heads = 2, .value_heads = 6, .value_dim = 2};
    /* four rows before; HF: heads 0 1 2 of the first key head, 3 4 5 of the second */
    static const int64_t want[] = {0, 1, 2, 3, 4, 5, 10, 11, 6, 7, 12, 13, 8, 9, 14, 15}, one[] = {0, 3, 1, 4, 2, 5};
    assert_ok(ar__row_map_init(&m, AR_ROWS_VALUE_HEADS, 16, &counts, &err), err);
    for (int64_t i = 0; i < 16; i++) assert_int_equal(ar__row_from_gguf(&m, i), want[i]);
    for (int64_t i = 0; i < 16; i++) assert_int_equal(ar__row_to_gguf(&m, want[i]), i);
    assert_ok(ar__row_map_init(&m, AR_ROWS_VALUE_HEADS, 6, &counts, &err), err);
    for (int64_t i = 0; i < 6; i++) assert_int_equal(ar__row_from_gguf(&m, i), one[i]);
    assert_ok(ar__row_map_init(&m, AR_ROWS_VALUE_COLUMNS, 12, &counts, &err), err);
    for (int64_t i = 0; i < 12; i++) assert_int_equal(ar__row_from_gguf(&m, i), want[i + 4] - 4);
    assert_error(ar__row_map_init(&m, AR_ROWS_VALUE_HEADS, 10, &counts, &err), AR_ERR_MISMATCH, err, "10 rows over 6 value heads of 2");
    assert_error(ar__row_map_init(&m, AR_ROWS_VALUE_HEADS, 12, &(ar_head_counts){.heads = 4}, &err), AR_ERR_NOT_FOUND, err, "value heads");
    assert_error(ar__row_map_init(&m, AR_ROWS_VALUE_HEADS, 12, &(ar_head_counts){4, 4, 4, 6, 2}, &err), AR_ERR_MISMATCH, err,
                 "4 key heads");
}

static void counts_of_heads_are_notes(void **state) {
    (void)state;
    static const char *const notes[] = {"32,8", "8,2,16,32,128"};
    char out[120];
    for (size_t i = 0; i < 2; i++) {
        ar_head_counts counts = ar__head_counts_read(notes[i]);
        ar__head_counts_print(out, sizeof out, &counts);
        assert_string_equal(out, notes[i]);
    }
    assert_int_equal(ar__head_counts_read("12").kv_heads, 12);
    assert_int_equal(ar__head_counts_read("12,-1").heads, 0);
    assert_int_equal(ar__head_counts_read("x").heads, 0);
    assert_int_equal(ar__head_counts_read("1,2,99999999999999999999").heads, 0);
}

static void shapes_that_do_not_fit_are_errors(void **state) {
    (void)state;
    ar_error err;
    ar_row_map m;
    assert_error(ar__row_map_init(&m, AR_ROWS_LLAMA_Q, 64, &(ar_head_counts){.heads = 0, .kv_heads = 0}, &err), AR_ERR_NOT_FOUND, err,
                 "--heads H,KV");
    assert_error(ar__row_map_init(&m, AR_ROWS_LLAMA_K, 64, &(ar_head_counts){.heads = 8, .kv_heads = 0}, &err), AR_ERR_NOT_FOUND, err,
                 "--heads");
    assert_error(ar__row_map_init(&m, AR_ROWS_LLAMA_Q, 64, &(ar_head_counts){.heads = 7, .kv_heads = 7}, &err), AR_ERR_MISMATCH, err,
                 "64 rows over 7 heads");
    assert_error(ar__row_map_init(&m, AR_ROWS_LLAMA_Q, 24, &(ar_head_counts){.heads = 8, .kv_heads = 8}, &err), AR_ERR_MISMATCH, err,
                 "a multiple of 2 rows");
    assert_error(ar__row_map_init(&m, AR_ROWS_QKV_HEADS, 64, &(ar_head_counts){.heads = 8, .kv_heads = 8}, &err), AR_ERR_MISMATCH, err,
                 "a multiple of 3 rows");
    assert_error(ar__row_map_init(&m, AR_ROWS_LLAMA_Q, 4, &(ar_head_counts){.heads = 8, .kv_heads = 8}, &err), AR_ERR_MISMATCH, err,
                 "4 rows over 8 heads");
    assert_error(ar__row_map_init(&m, AR_ROWS_LLAMA_Q, -4, &(ar_head_counts){.heads = 2, .kv_heads = 2}, &err), AR_ERR_MISMATCH, err,
                 "-4 rows");
    assert_ok(ar__row_map_init(&m, AR_ROWS_SAME, 5, &(ar_head_counts){.heads = 0, .kv_heads = 0}, &err), err);
}

static void expect_ends(const char *fields, const int32_t *want, int count) {
    ar_error err;
    ar_arch a;
    ar_buf text = {0};
    ar__buf_printf(&text,
                   "{\"model_type\":\"glm4\",\"vocab_size\":151552,\"hidden_size\":64,\"intermediate_size\":64,\"num_hidden_layers\":1,"
                   "\"num_attention_heads\":2%s}",
                   fields);
    json_t *config = json_loads(text.data, 0, NULL);
    assert_non_null(config);
    assert_ok(ar__arch_read(&a, config, "config.json", NULL, &err), err);
    assert_int_equal(a.eos_count, count);
    for (int i = 0; i < count; i++) assert_int_equal(a.eos[i], want[i]);
    ar__arch_release(&a);
    json_decref(config);
    ar__buf_release(&text);
}

static void a_family_may_have_several_ends_by_default(void **state) {
    (void)state;
    expect_ends("", (const int32_t[]){151329, 151336, 151338}, 3);
    expect_ends(",\"eos_token_id\":null", (const int32_t[]){151329, 151336, 151338}, 3);
    expect_ends(",\"eos_token_id\":[5,6]", (const int32_t[]){5, 6}, 2);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_row_goes_there_and_back),
        cmocka_unit_test(paths_may_be_wrapped_or_bare),
        cmocka_unit_test(a_renamed_head_is_one_tensor),
        cmocka_unit_test(unknown_paths_are_named),
        cmocka_unit_test(mlx_has_its_own_paths),
        cmocka_unit_test(row_orders_are_permutations),
        cmocka_unit_test(fused_heads_are_sorted_by_part),
        cmocka_unit_test(shapes_that_do_not_fit_are_errors),
        cmocka_unit_test(a_family_may_have_several_ends_by_default),
        cmocka_unit_test(value_heads_are_sorted_by_turn),
        cmocka_unit_test(counts_of_heads_are_notes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
