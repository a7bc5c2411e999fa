/* A base as the toolkit reads it: real files of two layouts, and made ones for what those do not show. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util.h"
#include "weights/base.h"

/* A tensor of a file to be made; the shape is Hugging Face's in GGUF too. */
struct tensor {
    const char *name;
    int dims;
    int64_t shape[4];
    const float *data;
    ar_dtype type;
};

static size_t count_of(const struct tensor *t) {
    size_t n = 1;
    for (int i = 0; i < t->dims; i++) n *= (size_t)t->shape[i];
    return n;
}

/* Bytes of the tensor's type, which live until the next call. */
static const void *bytes_of(const struct tensor *t) {
    static char *kept[16];
    static int next;
    size_t bytes;
    assert_true(ar__dtype_bytes(&bytes, t->type, count_of(t)));
    free(kept[next]);
    char *p = kept[next] = calloc(bytes ? bytes : 1, 1);
    next = (next + 1) % 16;
    if (ar__dtype(t->type)->from_f32) ar__dtype(t->type)->from_f32(p, t->data, count_of(t));
    return p;
}

static const char *make_folder(const char *name, const char *config, const struct tensor *t, int n) {
    ar_error err;
    ar_st_writer *w;
    char path[200];
    snprintf(path, sizeof path, "%s/config.json", name);
    if (config) temp_text(path, config);
    assert_ok(ar__st_writer_new(&w, &err), err);
    for (int i = 0; i < n; i++) assert_ok(ar__st_writer_add(w, t[i].name, t[i].type, t[i].dims, t[i].shape, bytes_of(&t[i]), &err), err);
    snprintf(path, sizeof path, "%s/model.safetensors", name);
    assert_ok(ar__st_writer_save(w, temp_path(path), &err), err);
    ar__st_writer_free(w);
    return temp_path(name);
}

static const char *make_gguf(const char *arch, int heads, const struct tensor *t, int n) {
    ar_error err;
    ar_gguf_writer *w;
    char key[100];
    assert_ok(ar__gguf_writer_new(&w, &err), err);
    assert_ok(ar__gguf_writer_set_string(w, "general.architecture", arch, &err), err);
    snprintf(key, sizeof key, "%s.attention.head_count", arch);
    if (heads) assert_ok(ar__gguf_writer_set_u32(w, key, (uint32_t)heads, &err), err);
    for (int i = 0; i < n; i++) {
        int64_t ne[4];
        for (int d = 0; d < t[i].dims; d++) ne[d] = t[i].shape[t[i].dims - 1 - d];
        assert_ok(ar__gguf_writer_add(w, t[i].name, t[i].type, t[i].dims, ne, bytes_of(&t[i]), &err), err);
    }
    const char *path = temp_path("made.gguf");
    assert_ok(ar__gguf_writer_save(w, path, &err), err);
    ar__gguf_writer_free(w);
    return path;
}

static ar_base *open_base(const char *path) {
    ar_error err;
    ar_base *base;
    assert_ok(ar__base_open(&base, path, &err), err);
    return base;
}

static float *read_all(const ar_base *base, const ar_base_weight *w) {
    ar_error err;
    float *x = malloc((size_t)(w->n_out * w->n_in + 1) * sizeof *x);
    assert_non_null(x);
    assert_ok(ar__base_read_rows(x, base, w, 0, w->n_out, &err), err);
    return x;
}

static void expect_rows(const ar_base *base, const char *site, const float *want) {
    const ar_base_weight *w = ar__base_find(base, site);
    assert_non_null(w);
    float *x = read_all(base, w);
    assert_memory_equal(x, want, (size_t)(w->n_out * w->n_in) * sizeof *x);
    free(x);
}

static void two_layouts_of_one_model_agree(void **state) {
    (void)state;
    ar_error err;
    ar_base *hf = open_base(material("models/stories260k")), *gguf = open_base(material("models/stories260k/stories260K.gguf"));
    const ar_base_info *a = ar__base_info(hf), *b = ar__base_info(gguf);
    assert_string_equal(a->model_type, "llama");
    assert_ptr_equal(a->names, b->names);
    assert_true(a->count.heads == 8 && b->count.heads == 8 && a->count.kv_heads == 4 && b->count.kv_heads == 4);
    assert_true(a->head_dim == 8 && b->head_dim == 8 && a->layers == 5 && b->layers == 5);
    assert_true(a->is_tied && !a->is_gguf && !b->is_tied && b->is_gguf); /* this GGUF copies the embedding */
    assert_int_equal(ar__base_count(hf), 47);
    int permuted = 0;
    for (int i = 0; i < ar__base_count(hf); i++) {
        const ar_base_weight *w = ar__base_at(hf, i), *v = ar__base_find(gguf, w->site);
        double n[2];
        assert_non_null(v);
        assert_string_equal(v->site, w->site);
        assert_true(v->n_out == w->n_out && v->n_in == w->n_in && v->kind == w->kind);
        float *x = read_all(hf, w), *y = read_all(gguf, v);
        assert_memory_equal(x, y, (size_t)(w->n_out * w->n_in) * sizeof *x);
        if (v->order != AR_ROWS_SAME) {
            assert_int_not_equal(memcmp(x, v->data, v->bytes), 0); /* the file's own order is another */
            assert_ok(ar__base_read_rows(y, gguf, v, 5, 3, &err), err);
            assert_memory_equal(y, x + 5 * w->n_in, (size_t)(3 * w->n_in) * sizeof *x);
            permuted++;
        }
        assert_ok(ar__base_norm2(&n[0], hf, w, &err), err);
        assert_ok(ar__base_norm2(&n[1], gguf, v, &err), err);
        double sum = 0;
        for (int64_t k = 0; k < w->n_out * w->n_in; k++) sum += (double)x[k] * (double)x[k];
        assert_near(n[0] / sum, 1, 1e-12);
        assert_near(n[1] / sum, 1, 1e-12);
        free(x);
        free(y);
    }
    assert_int_equal(permuted, 10);
    ar__base_close(hf);
    ar__base_close(gguf);
}

static void a_tied_head_is_the_embedding(void **state) {
    (void)state;
    ar_base *base = open_base(material("models/stories260k"));
    const ar_base_weight *head = ar__base_find(base, "lm_head"), *embedding = ar__base_find(base, "model.embed_tokens");
    assert_true(head->is_tied && !embedding->is_tied);
    assert_ptr_equal(head->data, embedding->data);
    assert_int_equal(head->kind, AR_MODULE_HEAD);
    assert_string_equal(head->site, "lm_head");
    assert_int_equal(embedding->kind, AR_MODULE_EMBEDDING);
    assert_null(ar__base_find(base, "model.layers.5.mlp.up_proj"));
    assert_null(ar__base_find(base, "model.layers.0.mlp"));
    assert_null(ar__base_find(base, ""));
    ar__base_close(base);
}

static void conv1d_is_turned(void **state) {
    (void)state;
    ar_error err;
    ar_base *base = open_base(material("models/gpt-nano-sort"));
    const ar_base_info *info = ar__base_info(base);
    assert_true(info->count.heads == 3 && info->count.kv_heads == 3 && info->head_dim == 16 && info->layers == 3 && !info->is_tied);
    const ar_base_weight *w = ar__base_find(base, "transformer.h.1.mlp.c_fc");
    assert_ptr_equal(w, ar__base_find(base, "h.1.mlp.c_fc"));
    assert_true(w->n_out == 192 && w->n_in == 48 && w->is_conv1d && w->bias_tensor);
    float *x = read_all(base, w), some[2 * 48], bias[192], stored;
    for (int64_t o = 0; o < 192; o++)
        for (int64_t i = 0; i < 48; i++) {
            memcpy(&stored, (const char *)w->data + (i * 192 + o) * 4, 4);
            assert_true(x[o * 48 + i] == stored);
        }
    assert_ok(ar__base_read_rows(some, base, w, 190, 2, &err), err);
    assert_memory_equal(some, x + 190 * 48, sizeof some);
    assert_ok(ar__base_read_bias(bias, base, w, &err), err);
    assert_memory_equal(bias, w->bias, sizeof bias);
    assert_error(ar__base_read_rows(x, base, w, 191, 2, &err), AR_ERR_VALUE, err, "has 192 rows, wanted 2 from 191");
    assert_error(ar__base_read_rows(x, base, w, -1, 2, &err), AR_ERR_VALUE, err, "wanted 2 from -1");
    assert_ok(ar__base_read_rows(x, base, w, 192, 0, &err), err);
    const ar_base_weight *head = ar__base_find(base, "lm_head");
    assert_true(!head->is_tied && !head->is_conv1d && head->n_out == 3 && head->n_in == 48);
    assert_false(ar__base_find(base, "wpe")->is_conv1d);
    free(x);
    ar__base_close(base);
}

static void ggufs_fused_rows_come_back(void **state) {
    (void)state;
    ar_error err;
    enum { HEADS = 2, SIZE = 2, ROWS = 3 * HEADS * SIZE, COLUMNS = 3 };
    float *hf = random_f32(ROWS * COLUMNS, 1, 1), *bias = random_f32(ROWS, 2, 1), gguf[ROWS * COLUMNS], gguf_bias[ROWS], got[ROWS];
    for (int h = 0; h < HEADS; h++)
        for (int t = 0; t < 3; t++)
            for (int i = 0; i < SIZE; i++) {
                int from = (h * 3 + t) * SIZE + i, to = (t * HEADS + h) * SIZE + i;
                memcpy(gguf + to * COLUMNS, hf + from * COLUMNS, COLUMNS * sizeof *hf);
                gguf_bias[to] = bias[from];
            }
    struct tensor t[] = {{"blk.0.attn_qkv.weight", 2, {ROWS, COLUMNS}, gguf, AR_F32},
                         {"blk.0.attn_qkv.bias", 1, {ROWS}, gguf_bias, AR_F32}};
    ar_base *base = open_base(make_gguf("bloom", HEADS, t, 2));
    const char *site = "transformer.h.0.self_attention.query_key_value";
    expect_rows(base, site, hf);
    assert_ok(ar__base_read_bias(got, base, ar__base_find(base, site), &err), err);
    assert_memory_equal(got, bias, sizeof got);
    assert_int_equal(ar__base_count(base), 1); /* a bias is its weight's */
    ar__base_close(base);
    base = open_base(make_gguf("bloom", 0, t, 2));
    const ar_base_weight *w = ar__base_find(base, site);
    assert_error(ar__base_read_rows(got, base, w, 0, 1, &err), AR_ERR_NOT_FOUND, err,
                 "made.gguf: blk.0.attn_qkv.weight: the order of GGUF");
    double norm;
    assert_error(ar__base_norm2(&norm, base, w, &err), AR_ERR_NOT_FOUND, err, "--heads");
    ar__base_close(base);
    base = open_base(make_gguf("bloom", 5, t, 2));
    w = ar__base_find(base, site);
    assert_error(ar__base_read_bias(got, base, w, &err), AR_ERR_MISMATCH, err, "12 rows over 5 heads");
    ar__base_close(base);
    free(hf);
    free(bias);
}

static void gemmas_norms_lose_their_one(void **state) {
    (void)state;
    static const float stored[] = {1.5f, 0.75f}, want[] = {0.5f, -0.25f};
    struct tensor t[] = {{"blk.0.attn_norm.weight", 1, {2}, stored, AR_F32},
                         {"token_embd.weight", 2, {1, 2}, stored, AR_F32},
                         {"rope_freqs.weight", 1, {2}, stored, AR_F32}};
    ar_base *base = open_base(make_gguf("gemma2", 1, t, 3));
    expect_rows(base, "model.layers.0.input_layernorm", want);
    expect_rows(base, "model.embed_tokens", stored);
    expect_rows(base, "rope_freqs", stored);
    assert_true(ar__base_info(base)->is_tied);
    expect_rows(base, "lm_head", stored);
    ar__base_close(base);
}

static void every_readable_type_is_read(void **state) {
    (void)state;
    ar_error err;
    float x[64], y[64];
    for (int i = 0; i < 64; i++) x[i] = i % 32 ? (float)(i % 32) : -127; /* exact in all of them: q8_0's step is 1 */
    static const ar_dtype types[] = {AR_F32, AR_F16, AR_BF16, AR_Q8_0};
    for (int k = 0; k < 4; k++) {
        struct tensor t[] = {{"blk.1.ffn_up.weight", 2, {2, 32}, x, types[k]}, {"blk.1.ffn_norm.weight", 1, {64}, x, AR_F32}};
        ar_base *base = open_base(make_gguf("qwen2", 1, t, 2));
        expect_rows(base, "model.layers.1.mlp.up_proj", x);
        assert_ok(ar__base_read_rows(y, base, ar__base_find(base, "model.layers.1.mlp.up_proj"), 1, 1, &err), err);
        assert_memory_equal(y, x + 32, 32 * sizeof *y);
        ar__base_close(base);
    }
    struct tensor odd[] = {{"blk.1.ffn_up.weight", 2, {2, 32}, x, AR_I8}, {"blk.1.ffn_norm.weight", 1, {64}, x, AR_Q8_0}};
    ar_base *base = open_base(make_gguf("qwen2", 1, odd, 2));
    const ar_base_weight *w = ar__base_find(base, "model.layers.1.mlp.up_proj");
    assert_error(ar__base_read_rows(y, base, w, 0, 1, &err), AR_ERR_UNSUPPORTED, err, "tensor 'blk.1.ffn_up.weight' has type I8");
    w = ar__base_find(base, "model.layers.1.post_attention_layernorm");
    assert_error(ar__base_read_rows(y, base, w, 0, 1, &err), AR_ERR_UNSUPPORTED, err, "has type Q8_0");
    ar__base_close(base);
}

/* One number, or of a stack one of each matrix; a family's own weight of such a name is none. */
static void a_scale_beside_a_weight_multiplies_it(void **state) {
    (void)state;
    ar_error err;
    float x[64], want[64], y[64], scale[2] = {-0.5F, 4.0F};
    for (int i = 0; i < 64; i++) x[i] = (float)(i + 1);
    struct tensor t[] = {{"blk.1.ffn_up.weight", 2, {2, 32}, x, AR_F32},
                         {"blk.1.ffn_up.scale", 1, {1}, scale, AR_F32},
                         {"blk.1.ffn_up.input_scale", 1, {1}, scale, AR_F32},
                         {"blk.1.ffn_up_exps.weight", 3, {2, 4, 8}, x, AR_F32},
                         {"blk.1.ffn_up_exps.scale", 1, {2}, scale, AR_F32}};
    ar_base *base = open_base(make_gguf("qwen3moe", 1, t, 5));
    assert_int_equal(ar__base_count(base), 2);
    for (int i = 0; i < 64; i++) want[i] = scale[0] * x[i];
    expect_rows(base, "model.layers.1.mlp.up_proj", want);
    for (int i = 0; i < 64; i++) want[i] = scale[i / 32] * x[i];
    assert_ok(ar__base_read_rows(y, base, ar__base_at(base, 1), 0, 2, &err), err);
    assert_memory_equal(y, want, sizeof y);
    assert_error(ar__base_read_stored(y, base, ar__base_at(base, 0), &err), AR_ERR_UNSUPPORTED, err, "blk.1.ffn_up.weight");
    ar__base_close(base);
    static const float wrong[] = {0.0F, NAN, INFINITY};
    for (size_t i = 0; i < 3; i++) {
        t[1].data = &wrong[i];
        assert_error(ar__base_open(&base, make_gguf("qwen3moe", 1, t, 2), &err), AR_ERR_FORMAT, err,
                     "tensor 'blk.1.ffn_up.scale', the scale of 'blk.1.ffn_up.weight', holds");
    }
    t[1] = (struct tensor){"blk.1.ffn_up.scale", 1, {2}, scale, AR_F32};
    assert_error(ar__base_open(&base, make_gguf("qwen3moe", 1, t, 2), &err), AR_ERR_FORMAT, err,
                 "holds 2 values of F32, wanted one of F32");
    t[1] = (struct tensor){"blk.1.ffn_up.scale", 1, {1}, scale, AR_F16};
    assert_error(ar__base_open(&base, make_gguf("qwen3moe", 1, t, 2), &err), AR_ERR_FORMAT, err, "holds 1 values of F16");
}

static void unknown_families_keep_their_names(void **state) {
    (void)state;
    float x[12];
    for (int i = 0; i < 12; i++) x[i] = (float)i;
    struct tensor t[] = {{"decoder.block.0.proj.weight", 2, {3, 4}, x, AR_F32},
                         {"decoder.block.0.proj.bias", 1, {3}, x, AR_F32},
                         {"decoder.wte.weight", 2, {3, 4}, x, AR_F32},
                         {"conv.weight", 4, {3, 2, 2, 1}, x, AR_F32},
                         {"rotary.inv_freq", 1, {4}, x, AR_F32},
                         {"lone.bias", 1, {4}, x, AR_F32}};
    ar_base *base = open_base(make_folder("unknown", "{\"model_type\":\"novel\",\"num_attention_heads\":[1,2]}", t, 6));
    const ar_base_info *info = ar__base_info(base);
    assert_string_equal(info->model_type, "novel");
    assert_true(!info->names && !info->count.heads && info->is_tied);
    expect_rows(base, "decoder.block.0.proj", x);
    expect_rows(base, "conv", x);
    assert_int_equal(ar__base_find(base, "conv")->n_in, 4);
    expect_rows(base, "rotary.inv_freq", x);
    expect_rows(base, "lone.bias", x);
    assert_ptr_equal(ar__base_find(base, "lm_head")->data, ar__base_find(base, "decoder.wte")->data);
    assert_int_equal(ar__base_count(base), 5);
    ar__base_close(base);
    base = open_base(make_folder("silent", NULL, t, 1));
    assert_null(ar__base_info(base)->model_type);
    assert_false(ar__base_info(base)->is_tied);
    assert_null(ar__base_find(base, "lm_head"));
    ar__base_close(base);
}

static void wrapped_checkpoints_are_found(void **state) {
    (void)state;
    float x[12] = {1, 2, 3};
    struct tensor t[] = {{"language_model.model.layers.0.mlp.up_proj.weight", 2, {3, 4}, x, AR_F32},
                         {"language_model.model.embed_tokens.weight", 2, {4, 3}, x, AR_F32},
                         {"vision_tower.layers.0.mlp.up_proj.weight", 2, {4, 3}, x, AR_F32}};
    const char *config = "{\"model_type\":\"gemma3\",\"text_config\":{\"model_type\":\"gemma3_text\",\"num_attention_heads\":8,"
                         "\"num_key_value_heads\":4,\"head_dim\":256,\"num_hidden_layers\":34}}";
    ar_base *base = open_base(make_folder("wrapped", config, t, 3));
    const ar_base_info *info = ar__base_info(base);
    assert_true(info->count.heads == 8 && info->count.kv_heads == 4 && info->head_dim == 256 && info->layers == 34 && info->is_tied);
    assert_string_equal(info->names->gguf, "gemma3");
    const ar_base_weight *w = ar__base_find(base, "model.language_model.layers.0.mlp.up_proj");
    assert_string_equal(w->site, "model.layers.0.mlp.up_proj");
    assert_string_equal(w->tensor, "language_model.model.layers.0.mlp.up_proj.weight");
    assert_ptr_equal(w, ar__base_find(base, "model.layers.0.mlp.up_proj"));
    assert_int_equal(ar__base_find(base, "vision_tower.layers.0.mlp.up_proj")->n_out, 4);
    assert_true(ar__base_find(base, "language_model.lm_head")->is_tied);
    ar__base_close(base);
    const char *inner = "{\"model_type\":\"llava\",\"text_config\":{\"model_type\":\"llama\"}}";
    base = open_base(make_folder("inner", inner, t, 3));
    assert_string_equal(ar__base_info(base)->names->gguf, "llama");
    assert_string_equal(ar__base_info(base)->model_type, "llava");
    ar__base_close(base);
}

static void ties_follow_configuration_and_file(void **state) {
    (void)state;
    float x[4] = {1, 2, 3, 4};
    struct tensor t[] = {{"gpt_neox.embed_in.weight", 2, {2, 2}, x, AR_F32}, {"embed_out.weight", 2, {2, 2}, x, AR_F32}};
    static const struct {
        const char *config;
        int tensors;
        bool tied;
    } cases[] = {{"{\"model_type\":\"gpt_neox\"}", 2, false},
                 {"{\"model_type\":\"gpt_neox\"}", 1, true},
                 {"{\"model_type\":\"gpt_neox\",\"tie_word_embeddings\":true}", 2, true},
                 {"{\"model_type\":\"gpt_neox\",\"tie_word_embeddings\":false}", 2, false}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ar_base *base = open_base(make_folder("tied", cases[i].config, t, cases[i].tensors));
        assert_int_equal(ar__base_info(base)->is_tied, cases[i].tied);
        assert_int_equal(ar__base_find(base, "embed_out")->is_tied, cases[i].tied);
        assert_int_equal(ar__base_find(base, "lm_head")->is_tied, cases[i].tied);
        ar__base_close(base);
    }
}

static void what_is_no_base_is_refused(void **state) {
    (void)state;
    ar_error err;
    ar_base *base;
    ar_gguf_writer *w;
    float x[2] = {0};
    assert_error(ar__base_open(&base, temp_path("nowhere"), &err), AR_ERR_NOT_FOUND, err, "nowhere");
    assert_null(base);
    struct tensor t = {"a.weight", 1, {2}, x, AR_F32};
    assert_error(ar__base_open(&base, make_folder("badjson", "{", &t, 1), &err), AR_ERR_FORMAT, err, "config.json");
    assert_ok(ar__gguf_writer_new(&w, &err), err);
    assert_ok(ar__gguf_writer_set_string(w, "general.type", "adapter", &err), err);
    assert_ok(ar__gguf_writer_set_string(w, "general.architecture", "llama", &err), err);
    assert_ok(ar__gguf_writer_save(w, temp_path("adapter.gguf"), &err), err);
    assert_error(ar__base_open(&base, temp_path("adapter.gguf"), &err), AR_ERR_MISMATCH, err, "general.type is 'adapter', wanted a model");
    assert_ok(ar__gguf_writer_set_string(w, "general.type", "model", &err), err);
    ar__gguf_writer_free(w);
    ar__base_close(NULL);
}

static void save_part(const char *name, unsigned no, unsigned count, const char *tensor, const float *x) {
    const int64_t ne[] = {2};
    ar_error err;
    ar_gguf_writer *w;
    assert_ok(ar__gguf_writer_new(&w, &err), err);
    if (no == 0) assert_ok(ar__gguf_writer_set_string(w, "general.architecture", "llama", &err), err);
    assert_ok(ar__gguf_writer_set_u32(w, "split.no", no, &err), err);
    assert_ok(ar__gguf_writer_set_u32(w, "split.count", count, &err), err);
    assert_ok(ar__gguf_writer_add(w, tensor, AR_F32, 1, ne, x, &err), err);
    assert_ok(ar__gguf_writer_save(w, temp_path(name), &err), err);
    ar__gguf_writer_free(w);
}

static void a_split_file_is_read_from_its_first_part(void **state) {
    const float x[] = {1, 2}, y[] = {3, 4};
    float row[2] = {0};
    ar_base *base;
    ar_error err;
    (void)state;
    save_part("m-00001-of-00002.gguf", 0, 2, "output_norm.weight", x);
    assert_error(ar__base_open(&base, temp_path("m-00001-of-00002.gguf"), &err), AR_ERR_NOT_FOUND, err, "m-00002-of-00002.gguf");
    save_part("m-00002-of-00002.gguf", 1, 2, "blk.0.attn_norm.weight", y);
    assert_ok(ar__base_open(&base, temp_path("m-00001-of-00002.gguf"), &err), err);
    const ar_base_weight *w = ar__base_find(base, "model.layers.0.input_layernorm");
    assert_true(w && w->file == 1 && ar__base_count(base) == 2);
    assert_ok(ar__base_read_rows(row, base, w, 0, 2, &err), err);
    assert_true(row[0] == 3 && row[1] == 4);
    ar__base_close(base);
    assert_error(ar__base_open(&base, temp_path("m-00002-of-00002.gguf"), &err), AR_ERR_USAGE, err, "part 2 of 2, wanted the first one");
    assert_non_null(strstr(err.message, "m-00001-of-00002.gguf"));
    save_part("m-00002-of-00002.gguf", 1, 2, "output_norm.weight", y);
    assert_error(ar__base_open(&base, temp_path("m-00001-of-00002.gguf"), &err), AR_ERR_FORMAT, err, "stands in an earlier part too");
    save_part("m-00002-of-00002.gguf", 2, 3, "blk.0.attn_norm.weight", y);
    assert_error(ar__base_open(&base, temp_path("m-00001-of-00002.gguf"), &err), AR_ERR_MISMATCH, err, "part 3 of 3, wanted 2 of 2");
    save_part("odd.gguf", 0, 2, "output_norm.weight", x);
    assert_error(ar__base_open(&base, temp_path("odd.gguf"), &err), AR_ERR_NOT_FOUND, err, "ends in -00001-of-00002.gguf");
    save_part("odd.gguf", 7, 2, "output_norm.weight", x);
    assert_error(ar__base_open(&base, temp_path("odd.gguf"), &err), AR_ERR_FORMAT, err, "part 8 of 2, which cannot be");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(two_layouts_of_one_model_agree),
        cmocka_unit_test(a_tied_head_is_the_embedding),
        cmocka_unit_test(conv1d_is_turned),
        cmocka_unit_test(ggufs_fused_rows_come_back),
        cmocka_unit_test(gemmas_norms_lose_their_one),
        cmocka_unit_test(every_readable_type_is_read),
        cmocka_unit_test(a_scale_beside_a_weight_multiplies_it),
        cmocka_unit_test(unknown_families_keep_their_names),
        cmocka_unit_test(wrapped_checkpoints_are_found),
        cmocka_unit_test(ties_follow_configuration_and_file),
        cmocka_unit_test(what_is_no_base_is_refused),
        cmocka_unit_test(a_split_file_is_read_from_its_first_part),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
