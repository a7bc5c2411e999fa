/* Several prompts answered together say what each says alone, to the bit of every logit. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "alphar/eval.h"
#include "apart.h"
#include "base/file.h"
#include "check/random_base.h"
#include "dense.h"
#include "gen/sampler.h"
#include "gen/session.h"
#include "util.h"

enum { VOCAB = 27 }; /* the blank and a to z: the tokenizer of ar__random_base_write */

#define LONG "the old bear went down to the river and sat there until the sun had gone behind the trees and the fish slept"

static const char *const prompts[] = {"a",    "the bear", "b",     "the",  LONG, "x y z", "a", "why not", LONG " too", "qq",
                                      "fish", "the bear", "river", "sun ", "mm", "n",     "o", "pp",      "q r s t u", "z"};
enum { PROMPTS = sizeof prompts / sizeof *prompts };

static const struct {
    const char *name, *config;
} bases[] = {
    {"llama", "\"model_type\":\"llama\",\"num_key_value_heads\":2,\"eos_token_id\":[3,11]"},
    {"mistral", "\"model_type\":\"mistral\",\"num_key_value_heads\":4,\"sliding_window\":7"},
    {"qwen3", "\"model_type\":\"qwen3\",\"num_key_value_heads\":1,\"head_dim\":10,\"tie_word_embeddings\":true"},
    {"qwen2", "\"model_type\":\"qwen2\",\"num_key_value_heads\":2,\"eos_token_id\":9"},
    {"qwen3_5_text",
     "\"model_type\":\"qwen3_5_text\",\"num_key_value_heads\":2,\"head_dim\":10,\"partial_rotary_factor\":0.4,\"eos_token_id\":9,"
     "\"linear_key_head_dim\":6,\"linear_value_head_dim\":7,\"linear_num_key_heads\":2,\"linear_num_value_heads\":4,"
     "\"full_attention_interval\":2"},
    {"qwen3_moe", "\"model_type\":\"qwen3_moe\",\"num_key_value_heads\":2,\"head_dim\":10,\"num_experts\":5,\"num_experts_per_tok\":2,"
                  "\"moe_intermediate_size\":12"},
    {"lfm2", "\"model_type\":\"lfm2\",\"num_key_value_heads\":2,\"eos_token_id\":9,\"full_attn_idxs\":[1],\"block_multiple_of\":8"},
    {"qwen3_5_moe_text",
     "\"model_type\":\"qwen3_5_moe_text\",\"num_key_value_heads\":2,\"head_dim\":10,\"partial_rotary_factor\":0.4,\"eos_token_id\":9,"
     "\"linear_key_head_dim\":6,\"linear_value_head_dim\":7,\"linear_num_key_heads\":2,\"linear_num_value_heads\":4,"
     "\"full_attention_interval\":2,\"num_experts\":5,\"num_experts_per_tok\":2,\"moe_intermediate_size\":12,"
     "\"shared_expert_intermediate_size\":20"},
};
enum { BASES = sizeof bases / sizeof *bases };

/* A folder with the base; made once. */
static const char *base(int which) {
    char name[64], config[800];
    ar_error err;
    snprintf(name, sizeof name, "%s/config.json", bases[which].name);
    snprintf(config, sizeof config,
             "{%s,\"vocab_size\":%d,\"hidden_size\":24,\"intermediate_size\":40,\"num_hidden_layers\":2,\"num_attention_heads\":4,"
             "\"max_position_embeddings\":256,\"hidden_act\":\"silu\"}",
             bases[which].config, VOCAB);
    snprintf(name, sizeof name, "%s.json", bases[which].name);
    const char *bare = temp_text(name, config), *dir = temp_path(bases[which].name);
    if (file_exists(dir)) return dir;
    assert_ok(ar__dir_make(dir, &err), err);
    assert_ok(ar__random_base_write(dir, bare, 3, &err), err);
    return dir;
}

static const char *adapter(void) {
    static const char *const sites[] = {"self_attn.q_proj", "self_attn.v_proj", "mlp.down_proj"};
    const int64_t in[] = {24, 24, 40}, out[] = {24, 12, 24};
    const char *dir = temp_path("adapter");
    ar_adapter *ad;
    ar_error err;
    if (file_exists(dir)) return dir;
    assert_ok(ar__adapter_new(&ad, &err), err);
    for (int l = 0; l < 2; l++)
        for (int i = 0; i < 3; i++) {
            char site[80];
            snprintf(site, sizeof site, "model.layers.%d.%s", l, sites[i]);
            ar_pair_shape shape = {.site = site, .n_in = in[i], .n_out = out[i], .rank = 3, .alpha = 0.5};
            dense_add_pair(ad, &shape, (uint64_t)(3 * l + i));
        }
    assert_ok(ar_adapter_save(ad, dir, false, &err), err);
    ar_adapter_free(ad);
    return dir;
}

typedef struct setting {
    int base, threads;
    bool adapted;
    const char *stop;
    ar_generate_options o;
} setting;

static const ar_ops *operators; /* of the next session; NULL: the CPU's */

static ar_session *open_session(ar_runtime **rt, int which, int threads, bool adapted) {
    ar_session *s;
    ar_error err;
    const char *adapters[] = {adapted ? adapter() : NULL};
    assert_ok(ar_runtime_new(rt, &(ar_runtime_options){.threads = threads}, &err), err);
    if (operators) ar__runtime_use_ops(*rt, operators);
    ar_session_options so = {.model = base(which), .adapters = adapters, .adapter_count = adapted};
    assert_ok(ar_session_open(&s, *rt, &so, &err), err);
    return s;
}

static bool in_order(void *user, int index, const ar_generate_result *r) {
    int *next = user;
    assert_int_equal(index, *next);
    assert_non_null(r->text);
    ++*next;
    return true;
}

static void assert_same(const ar_generate_result *got, const ar_generate_result *want, const char *base_name, int k) {
    bool same = got->ids.count == want->ids.count && got->stopped == want->stopped && !strcmp(got->text, want->text) &&
                (!want->ids.count || !memcmp(got->ids.id, want->ids.id, want->ids.count * sizeof *want->ids.id));
    if (!same) fail_msg("%s, prompt %d: together '%s', alone '%s'", base_name, k, got->text, want->text);
    assert_int_equal(got->prompt_ids.count, want->prompt_ids.count);
}

/* Returns how many kinds of endings there were, as bits. */
static unsigned together_as_alone(const setting *how, int count) {
    ar_runtime *rt;
    ar_session *s = open_session(&rt, how->base, how->threads, how->adapted);
    ar_generate_result results[PROMPTS];
    ar_generate_options o = how->o;
    ar_error err;
    int told = 0;
    unsigned endings = 0;
    o.stops = &how->stop;
    o.stop_count = how->stop != NULL;
    o.on_result = in_order;
    o.user = &told;
    assert_ok(ar_generate_batch(results, s, prompts, count, &o, &err), err);
    assert_int_equal(told, count);
    o.on_result = NULL;
    for (int k = 0; k < count; k++) {
        ar_generate_result alone;
        o.seed = how->o.seed + (uint64_t)k;
        assert_ok(ar_generate(&alone, s, prompts[k], &o, &err), err);
        assert_same(&results[k], &alone, bases[how->base].name, k);
        endings |= 1u << alone.stopped;
        ar_generate_result_release(&alone);
        ar_generate_result_release(&results[k]);
    }
    ar_session_free(s);
    ar_runtime_free(rt);
    return endings;
}

static ar_generate_options options(int max_tokens) {
    ar_generate_options o;
    ar_generate_options_init(&o);
    o.max_tokens = max_tokens;
    return o;
}

static void greedy_texts_are_the_same(void **state) {
    (void)state;
    for (int b = 0; b < BASES; b++)
        for (int threads = 1; threads <= 3; threads++) {
            setting how = {.base = b, .threads = threads, .o = options(70)};
            how.o.repeat_penalty = 1.02;
            together_as_alone(&how, PROMPTS);
        }
}

static void drawn_texts_are_the_same(void **state) {
    (void)state;
    for (int b = 0; b < BASES; b++) {
        setting how = {.base = b, .threads = 2, .adapted = b == 0, .o = options(40)};
        how.o.temperature = 0.3;
        how.o.top_p = 0.95;
        how.o.repeat_penalty = 1.1;
        how.o.seed = 77;
        together_as_alone(&how, PROMPTS);
    }
}

static void answers_end_one_by_one(void **state) {
    setting how = {.base = 0, .threads = 2, .stop = "e", .o = options(25)};
    (void)state;
    how.o.temperature = 1.0;
    unsigned endings = together_as_alone(&how, PROMPTS);
    assert_int_equal(endings, 1u << AR_STOPPED_EOS | 1u << AR_STOPPED_LENGTH | 1u << AR_STOPPED_STOP);
    how.o.max_tokens = 1;
    together_as_alone(&how, PROMPTS);
    how.o.max_tokens = 0;
    together_as_alone(&how, PROMPTS);
    together_as_alone(&how, 0);
}

static bool only_three(void *user, int index, const ar_generate_result *r) {
    int *told = user;
    (void)r;
    assert_int_equal(index, *told);
    return ++*told < 3;
}

static bool never(void *user, const char *text, size_t n) {
    (void)user;
    fail_msg("several prompts, and on_text was called: %.*s", (int)n, text);
    return true;
}

static void the_listener_may_stop(void **state) {
    ar_runtime *rt;
    ar_session *s = open_session(&rt, 1, 2, false);
    ar_generate_result results[PROMPTS];
    ar_generate_options o = options(6);
    ar_error err;
    int told = 0;
    (void)state;
    o.on_result = only_three;
    o.on_text = never;
    o.user = &told;
    assert_ok(ar_generate_batch(results, s, prompts, PROMPTS, &o, &err), err);
    assert_int_equal(told, 3);
    assert_int_equal(results[2].ids.count, 6);
    assert_int_equal(results[PROMPTS - 1].ids.count, 0);
    for (int k = 0; k < PROMPTS; k++) ar_generate_result_release(&results[k]);
    ar_session_free(s);
    ar_runtime_free(rt);
}

static void an_error_names_its_prompt(void **state) {
    static const char *const some[] = {"a", "", "b"};
    ar_runtime *rt;
    ar_session *s = open_session(&rt, 0, 1, false);
    ar_generate_result results[3];
    ar_generate_options o = options(6);
    ar_error err;
    (void)state;
    assert_error(ar_generate_batch(results, s, some, 3, &o, &err), AR_ERR_VALUE, err, "prompt 2: prompt: no tokens");
    for (int k = 0; k < 3; k++) ar_generate_result_release(&results[k]);
    assert_error(ar_generate_batch(results, s, some, -1, &o, &err), AR_ERR_VALUE, err, "found -1");
    ar_session_free(s);
    ar_runtime_free(rt);
}

/* ---- logits, which would differ before a text does ------------------------------------------------------------- */

typedef struct model {
    ar_session *s;
    ar_pass *pass;
    ar_kv_cache *cache;
    size_t sequences;
} model;

static model open_model(ar_session *s, size_t sequences) {
    model m = {.s = s, .sequences = sequences};
    ar_error err;
    assert_ok(ar__session_pass(&m.pass, s, 128, sequences, 128, 0, &err), err);
    assert_ok(ar__kv_new(&m.cache, s->model, sequences, 128, &err), err);
    return m;
}

static void close_model(model *m) {
    ar__kv_free(m->cache, m->s->model);
    ar__pass_free(m->pass);
}

/* The last rows' logits of samples of the given lengths. */
static void run(model *m, float *logits, const int32_t *ids, const size_t *lengths, size_t samples, const size_t *sequence) {
    size_t start[8] = {0}, last[8];
    ar_segment seg = ar__session_segment(m->s, samples);
    for (size_t i = 0; i < samples; i++) {
        start[i + 1] = start[i] + lengths[i];
        last[i] = start[i + 1] - 1;
    }
    ar_batch b = {
        .rows = {.count = start[samples], .samples = samples, .start = start, .segments = &seg, .segment_count = 1, .decoding = true},
        .ids = ids,
        .sequence = sequence};
    ar__pass_forward(m->pass, &b, m->cache);
    ar__pass_logits(m->pass, logits, &b, last, samples);
}

/* Three sequences in slots 2, 0, 1, prefilled together, then a token each, then without the middle one. */
static void logits_are_the_same(void **state) {
    static const size_t lengths[] = {5, 70, 17}, ones[] = {1, 1, 1}, slots[] = {2, 0, 1}, two[] = {2, 1};
    int32_t ids[92 + 5];
    (void)state;
    for (size_t i = 0; i < sizeof ids / sizeof *ids; i++) ids[i] = (int32_t)(i * i % VOCAB);
    for (int b = 0; b < BASES; b++)
        for (int threads = 1; threads <= 3; threads++) {
            float got[3][3 * VOCAB], want[3][3 * VOCAB] = {0};
            ar_runtime *rt;
            ar_session *s = open_session(&rt, b, threads, b == 0);
            model m = open_model(s, 3);
            run(&m, got[0], ids, lengths, 3, slots);
            run(&m, got[1], ids + 92, ones, 3, slots);
            run(&m, got[2], ids + 95, ones, 2, two);
            close_model(&m);
            for (size_t k = 0, at = 0; k < 3; at += lengths[k++]) {
                model one = open_model(s, 1);
                run(&one, want[0] + k * VOCAB, ids + at, &lengths[k], 1, NULL);
                run(&one, want[1] + k * VOCAB, ids + 92 + k, ones, 1, NULL);
                if (k != 1) run(&one, want[2] + k / 2 * VOCAB, ids + 95 + k / 2, ones, 1, NULL);
                close_model(&one);
            }
            for (int step = 0; step < 3; step++)
                assert_memory_equal(got[step], want[step], (size_t)(step < 2 ? 3 : 2) * VOCAB * sizeof(float));
            ar_session_free(s);
            ar_runtime_free(rt);
        }
}

/* A text in three calls and then token by token gives what the whole gives at once, whatever its sequence held before. */
static void steps_give_what_the_whole_gives(void **state) {
    enum { TOKENS = 100 };
    static const size_t first[] = {66}, second[] = {1}, third[] = {9}, one[] = {1};
    int32_t ids[TOKENS];
    (void)state;
    for (size_t i = 0; i < TOKENS; i++) ids[i] = (int32_t)(i * i * 7 % VOCAB);
    for (int b = 0; b < BASES; b++) {
        float got[VOCAB], want[VOCAB];
        ar_runtime *rt;
        ar_session *s = open_session(&rt, b, 2, b == 0);
        model m = open_model(s, 1), all = open_model(s, 1);
        run(&m, got, ids + 3, third, 1, NULL);
        m.cache->past[0] = 0;
        for (size_t at = 0; at < TOKENS;) {
            const size_t *n = at == 0 ? first : at == 66 ? second : at == 67 ? third : one, whole[] = {at + *n};
            run(&m, got, ids + at, n, 1, NULL);
            all.cache->past[0] = 0;
            run(&all, want, ids, whole, 1, NULL);
            for (size_t i = 0; i < VOCAB; i++)
                if (!(fabsf(got[i] - want[i]) <= 2e-6f))
                    fail_msg("%s, %zu tokens: %.8g, at once %.8g", bases[b].name, *whole, got[i], want[i]);
            at += *n;
        }
        close_model(&all);
        close_model(&m);
        ar_session_free(s);
        ar_runtime_free(rt);
    }
}

/* Logits of a text in three calls, on the operators of the next session. */
static void ask_in_steps(float *logits, const int32_t *ids, int base, const ar_ops *ops) {
    static const size_t parts[][1] = {{30}, {1}, {9}};
    ar_runtime *rt;
    operators = ops;
    ar_session *s = open_session(&rt, base, 2, base == 0);
    operators = NULL;
    model m = open_model(s, 2);
    static const size_t second[] = {1};
    for (size_t i = 0, at = 0; i < 3; at += parts[i++][0]) run(&m, logits + i * VOCAB, ids + at, parts[i], 1, second);
    close_model(&m);
    ar_session_free(s);
    ar_runtime_free(rt);
}

/* Keys, values and states in memory that is not the host's (apart.h). */
static void a_cache_apart_gives_the_same(void **state) {
    int32_t ids[40];
    (void)state;
    if (!apart_ops()) skip();
    for (size_t i = 0; i < 40; i++) ids[i] = (int32_t)(i * i * 7 % VOCAB);
    for (int b = 0; b < BASES; b++) {
        float got[3 * VOCAB], want[3 * VOCAB];
        ask_in_steps(want, ids, b, NULL);
        ask_in_steps(got, ids, b, apart_ops());
        assert_memory_equal(got, want, sizeof want);
        assert_int_equal(apart_held(), 0);
    }
}

/* ---- the sampler's order: larger logits first, lower ids first among equals, the zeros equal ------------------- */

static void the_likeliest_are_drawn_from(void **state) {
    enum { N = 300, MOST = 40 };
    float *logits = random_f32(N, 4, 2.0f), copy[N];
    uint8_t seen[N] = {0};
    ar_candidate room[2 * N];
    (void)state;
    for (size_t i = 0; i < N; i++) logits[i] = (float)(int)(logits[i] * 2.0f) * (i % 7 ? 0.5f : -0.5f) - (i % 5 ? 0.0f : 9.0f);
    for (size_t i = 0; i < N; i++)
        if (logits[i] > 0.0f) logits[i] = i % 3 ? 0.0f : -0.0f; /* the zeros come first */
    for (int top = 1; top <= MOST; top += 13) {
        bool drawn[N] = {0};
        ar_generate_options o = options(1);
        o.temperature = 3.0;
        o.top_k = top;
        for (uint64_t at = 0; at < 4000; at++) {
            memcpy(copy, logits, sizeof copy);
            drawn[ar__sample(copy, N, seen, room, &o, at)] = true;
        }
        for (size_t i = 0; i < N; i++) {
            int before = 0;
            for (size_t j = 0; j < N; j++) before += logits[j] > logits[i] || (logits[j] == logits[i] && j < i);
            assert_int_equal(drawn[i], before < top);
        }
    }
    free(logits);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(greedy_texts_are_the_same),       cmocka_unit_test(drawn_texts_are_the_same),
        cmocka_unit_test(answers_end_one_by_one),          cmocka_unit_test(the_listener_may_stop),
        cmocka_unit_test(an_error_names_its_prompt),       cmocka_unit_test(logits_are_the_same),
        cmocka_unit_test(steps_give_what_the_whole_gives), cmocka_unit_test(the_likeliest_are_drawn_from),
        cmocka_unit_test(a_cache_apart_gives_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
