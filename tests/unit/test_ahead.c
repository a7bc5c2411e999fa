/* Reading ahead: what the bound promises holds, and samples, counts and errors are those of reading at once. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/rng.h"
#include "data/dataset.h"
#include "text/bound.h"
#include "util.h"

enum { VOCAB = 1 << 20 };

static uint32_t pick(ar_rng *g, uint64_t *at, uint32_t n) { return (uint32_t)((ar__rng_u64(g, (*at)++) >> 32) % n); }

static ar_tokenizer *open_tokenizer(const char *path) {
    ar_tokenizer *tk;
    ar_error err;
    assert_ok(ar_tokenizer_open(&tk, path, &err), err);
    return tk;
}

/* ---- the bound -------------------------------------------------------------------------------------------------*/

static void check_bound(const char *path) {
    static const char *const pieces[] = {"a",
                                         "Hello",
                                         " ",
                                         "  ",
                                         "\n",
                                         "\t",
                                         "7",
                                         "1234567890",
                                         "'s",
                                         "\x01",
                                         "\xc3\xa9",
                                         "<s>",
                                         "</s>",
                                         "\xe2\x96\x81",
                                         "zq",
                                         "<|endoftext|>",
                                         "<|im_start|>",
                                         "\xe0\xa5\x98",
                                         "\xf0\x9d\x85\xa0",
                                         "\xf0\x9f\x98\x80",
                                         "e\xcc\x81",
                                         "\xe4\xb8\xad",
                                         "\xd9\x91",
                                         "\xc2\xa0",
                                         "."};
    ar_tokenizer *tk = open_tokenizer(path);
    ar_token_bound b;
    assert_true(ar__token_bound(&b, tk));
    ar_rng g = ar__rng_stream(5, AR_RNG_SAMPLE, 0, 0);
    uint64_t at = 0;
    ar_ids ids = {0};
    for (int round = 0; round < 3000; round++) {
        ar_buf text = {0};
        ar_error err;
        /* Some texts repeat one piece: the worst case, where there is one. */
        uint32_t n = 1 + pick(&g, &at, 24), one = pick(&g, &at, 4) ? UINT32_MAX : pick(&g, &at, sizeof pieces / sizeof *pieces);
        for (uint32_t k = 0; k < n; k++)
            ar__buf_puts(&text, pieces[one < UINT32_MAX && k % 2 ? one : pick(&g, &at, sizeof pieces / sizeof *pieces)]);
        size_t other = 0;
        for (size_t i = 0; i < text.len; i++) other += (unsigned char)text.data[i] >= 0x80;
        ids.count = 0;
        assert_ok(ar_tokenizer_encode(&ids, tk, text.data, text.len, AR_TOKENIZE_SPECIAL, &err), err);
        assert_in_range(ids.count, b.specials + 1, b.fixed + (text.len - other) + b.other * other);
        for (size_t i = 0; i < ids.count; i++) assert_in_range(ids.id[i], 0, b.ids - 1);
        ar__buf_release(&text);
    }
    ar_ids_release(&ids);
    ar_tokenizer_free(tk);
}

static void tokens_keep_to_the_bound(void **state) {
    (void)state;
    check_bound("demo/base");
}

static void tokens_of_the_material_keep_to_the_bound(void **state) {
    (void)state;
    static const char *const names[] = {"gpt-neox", "gpt2", "minimind", "phi2", "phi3", "qwen2.5", "qwen3"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char name[60];
        snprintf(name, sizeof name, "tokenizers/%s", names[i]);
        check_bound(material(name));
    }
    /* SentencePiece's own file; a vocabulary without some control characters, which vanish. */
    static const char *const without[] = {"mistral-spm/tokenizer.model.v1", "falcon"};
    for (size_t i = 0; i < 2; i++) {
        char name[60];
        ar_token_bound b;
        snprintf(name, sizeof name, "tokenizers/%s", without[i]);
        ar_tokenizer *tk = open_tokenizer(material(name));
        assert_false(ar__token_bound(&b, tk));
        ar_tokenizer_free(tk);
    }
}

/* What a second mapping of bytes makes of them is two symbols each. */
static void bytes_mapped_twice_have_no_bound(void **state) {
    (void)state;
    static const char once[] = "{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":false}";
    for (int n = 1; n <= 2; n++) {
        json_t *j = json_load_file("demo/base/tokenizer.json", 0, NULL), *list = json_array();
        for (int i = 0; i < n; i++) json_array_append_new(list, json_loads(once, 0, NULL));
        json_object_set_new(j, "pre_tokenizer", json_pack("{s:s, s:o}", "type", "Sequence", "pretokenizers", list));
        char *text = json_dumps(j, 0);
        temp_text("mapped/tokenizer.json", text);
        ar_tokenizer *tk = open_tokenizer(temp_path("mapped"));
        ar_token_bound b;
        assert_int_equal(ar__token_bound(&b, tk), n == 1);
        ar_tokenizer_free(tk);
        free(text);
        json_decref(j);
    }
}

/* ---- the dataset -----------------------------------------------------------------------------------------------*/

/* Lines of all kinds: sure ones, such as must be looked at, and with `bad` some bad ones. */
static void write_lines(ar_buf *b, int count, bool bad) {
    ar_rng g = ar__rng_stream(7, AR_RNG_SAMPLE, 0, 0);
    uint64_t at = 0;
    for (int i = 0; i < count; i++) {
        ar_buf words = {0};
        uint32_t n = pick(&g, &at, 8) ? pick(&g, &at, 12) : pick(&g, &at, 120);
        for (uint32_t k = 0; k < n; k++) ar__buf_printf(&words, "%s%s", k ? " " : "", pick(&g, &at, 3) ? "word" : "caf\xc3\xa9");
        const char *w = words.data ? words.data : "";
        switch (pick(&g, &at, bad ? 9 : 8)) {
        case 0: ar__buf_printf(b, "{\"text\":\"%s\"}\n", w); break;
        case 1: ar__buf_printf(b, "{\"text\":\"</s>%s\"}\n\n", w); break;
        case 2: ar__buf_printf(b, "{\"prompt\":\"%s%s\",\"completion\":\"\"}\n", w, i % 2 ? "</s>" : ""); break;
        case 3: ar__buf_printf(b, "{\"prompt\":\"\",\"completion\":\"%s\"}\r\n", i % 2 ? "</s>" : w); break;
        case 4: ar__buf_printf(b, "{\"question\":\"%s\",\"answer\":\"n%d\",\"x\":1e3}\n", w, i); break;
        case 5: ar__buf_printf(b, "{\"instruction\":\"%s\",\"output\":\"n%d\"}\n", w, i); break;
        case 8: ar__buf_printf(b, "{\"prompt\":\"%s\n", w); break;
        default: ar__buf_printf(b, "{\"prompt\":\"n%d\",\"completion\":\"%s.\"}\n", i, w);
        }
        ar__buf_release(&words);
    }
}

static void assert_same(const ar_dataset *x, const ar_dataset *y) {
    assert_int_equal(ar__dataset_count(x), ar__dataset_count(y));
    for (size_t i = 0; i < ar__dataset_count(x); i++) {
        ar_sample a = ar__dataset_at(x, i), b = ar__dataset_at(y, i);
        assert_int_equal(a.count, b.count);
        assert_int_equal(a.supervised, b.supervised);
        assert_int_equal(a.line, b.line);
        assert_memory_equal(a.ids, b.ids, (size_t)a.count * sizeof *a.ids);
        assert_memory_equal(a.learned, b.learned, (size_t)a.count);
    }
}

/* Both ways over one file; the thread and who asks meet somewhere in between. */
static void compare(const char *path, const ar_tokenizer *tk, ar_data_options options, bool exact) {
    ar_dataset *eager, *ahead;
    ar_data_stats a, b = {0};
    ar_error err;
    assert_ok(ar__dataset_load(&eager, ONE_FILE(path), tk, &options, &a, &err), err);
    options.ahead_bytes = 1;
    options.vocab = VOCAB;
    assert_ok(ar__dataset_load(&ahead, ONE_FILE(path), tk, &options, NULL, &err), err);
    assert_true(ar__dataset_is_reading(ahead));
    assert_false(ar__dataset_is_reading(eager));
    assert_int_equal(ar__dataset_count(eager), ar__dataset_count(ahead));
    assert_in_range(ar__dataset_longest(ahead), ar__dataset_longest(eager), exact ? ar__dataset_longest(eager) : options.max_length);
    for (size_t i = ar__dataset_count(ahead); i-- > 0;) {
        uint32_t sample = (uint32_t)(i * 7 % ar__dataset_count(ahead));
        assert_ok(ar__dataset_need(ahead, &sample, 1, &err), err);
        assert_int_equal(ar__dataset_at(ahead, sample).line, ar__dataset_at(eager, sample).line);
    }
    assert_ok(ar__dataset_finish(ahead, true, &b, &err), err);
    assert_false(ar__dataset_is_reading(ahead));
    assert_same(eager, ahead);
    assert_memory_equal(&a, &b, sizeof a);
    ar__dataset_free(eager);
    ar__dataset_free(ahead);
}

/* The demo's tokenizer, but without BOS. */
static ar_tokenizer *open_bare(void) {
    json_t *j = json_load_file("demo/base/tokenizer.json", 0, NULL);
    assert_non_null(j);
    json_object_set_new(j, "post_processor", json_null());
    char *text = json_dumps(j, 0);
    temp_text("bare/tokenizer.json", text);
    temp_text("bare/tokenizer_config.json", "{\"eos_token\":\"</s>\"}");
    free(text);
    json_decref(j);
    return open_tokenizer(temp_path("bare"));
}

static void samples_and_counts_are_the_same(void **state) {
    (void)state;
    static const int lengths[] = {2, 9, 40, 1024};
    ar_tokenizer *tk[] = {open_tokenizer("demo/base"), open_bare()};
    ar_buf b = {0};
    write_lines(&b, 1500, true);
    const char *path = temp_file("mixed.jsonl", b.data, b.len);
    for (int k = 0; k < 32; k++)
        compare(path, tk[k / 8 % 2],
                (ar_data_options){.ignore_fields = "x",
                                  .max_length = lengths[k % 4],
                                  .threads = 1 + k / 4 % 2,
                                  .eos_id = -1,
                                  .train_on = k / 16 ? AR_TRAIN_ON_ALL : AR_TRAIN_ON_COMPLETION,
                                  .skip_bad = true},
                true);
    ar__buf_release(&b);
    for (int i = 0; i < 2; i++) ar_tokenizer_free(tk[i]);
}

static void the_longest_is_bounded_where_finding_it_would_take_long(void **state) {
    (void)state;
    ar_tokenizer *tk = open_tokenizer("demo/base");
    ar_buf b = {0};
    for (int i = 0; i < 4000; i++)
        ar__buf_printf(&b,
                       "{\"prompt\":\"the little girl and the dog and the cat and the tree %d\",\"completion\":\"and the sun and the day "
                       "and the big ball in the garden\"}\n",
                       i);
    compare(temp_file("alike.jsonl", b.data, b.len), tk, (ar_data_options){.max_length = 512, .threads = 2, .eos_id = -1}, false);
    ar__buf_release(&b);
    ar_tokenizer_free(tk);
}

static void a_late_bad_line_is_refused_at_once(void **state) {
    (void)state;
    ar_tokenizer *tk = open_tokenizer("demo/base");
    ar_buf b = {0};
    write_lines(&b, 5000, false);
    ar__buf_puts(&b, "{\"text\":\"a\"\n");
    const char *path = temp_file("late.jsonl", b.data, b.len);
    ar_data_options options = {.max_length = 64, .threads = 2, .eos_id = -1, .vocab = VOCAB, .ignore_fields = "x"};
    ar_dataset *ds;
    ar_error eager, ahead;
    assert_int_equal(ar__dataset_load(&ds, ONE_FILE(path), tk, &options, NULL, &eager), AR_ERR_FORMAT);
    options.ahead_bytes = 1;
    assert_int_equal(ar__dataset_load(&ds, ONE_FILE(path), tk, &options, NULL, &ahead), AR_ERR_FORMAT);
    assert_null(ds);
    assert_string_equal(eager.message, ahead.message);
    ar__buf_release(&b);
    ar_tokenizer_free(tk);
}

static void what_cannot_be_judged_is_read_at_once(void **state) {
    (void)state;
    ar_tokenizer *tk = open_tokenizer("demo/base");
    const char *path = temp_text("one.jsonl", "{\"text\":\"one two\"}\n");
    ar_data_options options = {.max_length = 64, .threads = 1, .eos_id = -1, .ahead_bytes = 1, .vocab = 100};
    ar_dataset *ds;
    ar_error err;
    assert_error(ar__dataset_load(&ds, ONE_FILE(path), tk, &options, NULL, &err), AR_ERR_MISMATCH, err, "the base's vocabulary has 100");
    options.vocab = 2047; /* the tokenizer has 2048 ids, of which this file uses lower ones */
    assert_ok(ar__dataset_load(&ds, ONE_FILE(path), tk, &options, NULL, &err), err);
    assert_false(ar__dataset_is_reading(ds));
    ar__dataset_free(ds);
    options.vocab = VOCAB;
    options.ahead_bytes = 100; /* larger than the file */
    assert_ok(ar__dataset_load(&ds, ONE_FILE(path), tk, &options, NULL, &err), err);
    assert_false(ar__dataset_is_reading(ds));
    ar__dataset_free(ds);
    ar_tokenizer_free(tk);
}

/* What was promised of a sample holds for what is there later, or it is an error: buffers are as long as the promise. */
static void a_file_that_changes_is_told(void **state) {
    (void)state;
    ar_tokenizer *tk = open_tokenizer("demo/base");
    ar_buf before = {0}, after = {0};
    for (int i = 0; i < 20000; i++) {
        ar__buf_puts(&before, "{\"text\":\"\\u0061\\u0061\\u0061\\u0061\"}\n");
        ar__buf_puts(&after, "{\"text\":\"qzxkvjwqpzxkvjwqpzxkvjwq\"}\n");
    }
    assert_int_equal(before.len, after.len);
    ar_data_options options = {.max_length = 64, .threads = 2, .eos_id = -1, .ahead_bytes = 1, .vocab = VOCAB, .ignore_fields = "x"};
    for (int way = 0; way < 2; way++) {
        const char *path = temp_file("changed.jsonl", before.data, before.len);
        ar_dataset *ds;
        ar_data_stats stats;
        ar_error err;
        assert_ok(ar__dataset_load(&ds, ONE_FILE(path), tk, &options, NULL, &err), err);
        int longest = ar__dataset_longest(ds);
        FILE *f = fopen(path, way ? "r+b" : "wb");
        assert_non_null(f);
        if (way) assert_int_equal(fwrite(after.data, 1, after.len, f), after.len);
        fclose(f);
        assert_error(ar__dataset_finish(ds, true, &stats, &err), AR_ERR_FORMAT, err, "do not change the file");
        assert_true(longest < 24);
        ar__dataset_free(ds);
    }
    ar__buf_release(&before);
    ar__buf_release(&after);
    ar_tokenizer_free(tk);
}

static void freeing_ends_the_thread(void **state) {
    (void)state;
    ar_tokenizer *tk = open_tokenizer("demo/base");
    ar_buf b = {0};
    write_lines(&b, 5000, false);
    const char *path = temp_file("freed.jsonl", b.data, b.len);
    ar_data_options options = {.max_length = 256, .threads = 2, .eos_id = -1, .ahead_bytes = 1, .vocab = VOCAB, .ignore_fields = "x"};
    for (int i = 0; i < 3; i++) {
        ar_dataset *ds;
        ar_error err;
        assert_ok(ar__dataset_load(&ds, ONE_FILE(path), tk, &options, NULL, &err), err);
        assert_true(ar__dataset_bytes_to_come(ds) > 0);
        ar__dataset_free(ds);
    }
    ar__buf_release(&b);
    ar_tokenizer_free(tk); /* nobody uses it any more */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tokens_keep_to_the_bound),
        cmocka_unit_test(tokens_of_the_material_keep_to_the_bound),
        cmocka_unit_test(bytes_mapped_twice_have_no_bound),
        cmocka_unit_test(samples_and_counts_are_the_same),
        cmocka_unit_test(the_longest_is_bounded_where_finding_it_would_take_long),
        cmocka_unit_test(a_late_bad_line_is_refused_at_once),
        cmocka_unit_test(what_cannot_be_judged_is_read_at_once),
        cmocka_unit_test(a_file_that_changes_is_told),
        cmocka_unit_test(freeing_ends_the_thread),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
