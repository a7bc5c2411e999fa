/* Samples from JSON Lines: fields, masks, EOS, cutting and dropping, hostile files.  The tokenizer made here gives
 * every ASCII character its byte as id; 1 is BOS, put in front of every text, and 2 is EOS. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "alphar/eval.h"
#include "alphar/tokenizer.h"
#include "base/mem.h"
#include "data/dataset.h"
#include "data/lines.h"
#include "util.h"

enum { BOS = 1, EOS = 2 };

struct fixture {
    ar_tokenizer *tk, *no_eos;
    ar_buf told;
    ar_log log;
    ar_data_options options;
    ar_data_stats stats;
};

static void take_line(void *user, ar_log_level level, const char *line) {
    ar__buf_printf(user, "%s %s\n", level == AR_LOG_WARNING ? "warning" : "info", line);
}

static void add_piece(ar_buf *b, int c) {
    if (c == ' ')
        ar__buf_printf(b, ",\"\\u0120\":%d", c);
    else if (c == '\n')
        ar__buf_printf(b, ",\"\\u010a\":%d", c);
    else if (c > 32 && c < 127)
        ar__buf_printf(b, ",\"%s%c\":%d", c == '"' || c == '\\' ? "\\" : "", c, c);
}

static ar_tokenizer *make_tokenizer(const char *folder, const char *config) {
    ar_buf b = {0};
    char name[100];
    ar_tokenizer *tk;
    ar_error err;
    ar__buf_puts(
        &b,
        "{\"version\":\"1.0\",\"added_tokens\":["
        "{\"id\":1,\"content\":\"<s>\",\"single_word\":false,\"lstrip\":false,\"rstrip\":false,\"normalized\":false,\"special\":true},"
        "{\"id\":2,\"content\":\"</s>\",\"single_word\":false,\"lstrip\":false,\"rstrip\":false,\"normalized\":false,\"special\":true}],"
        "\"normalizer\":null,\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"trim_offsets\":true,"
        "\"use_regex\":true},\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{\"id\":\"<s>\","
        "\"type_id\":0}},{\"Sequence\":{\"id\":\"A\",\"type_id\":0}}],\"pair\":[],\"special_tokens\":{\"<s>\":{\"id\":\"<s>\","
        "\"ids\":[1],\"tokens\":[\"<s>\"]}}},\"decoder\":{\"type\":\"ByteLevel\"},\"model\":{\"type\":\"BPE\",\"merges\":[],"
        "\"vocab\":{\"<s>\":1,\"</s>\":2");
    for (int c = 0; c < 127; c++) add_piece(&b, c);
    ar__buf_puts(&b, "}}}");
    snprintf(name, sizeof name, "%s/tokenizer.json", folder);
    temp_file(name, b.data, b.len);
    snprintf(name, sizeof name, "%s/tokenizer_config.json", folder);
    temp_text(name, config);
    assert_ok(ar_tokenizer_open(&tk, temp_path(folder), &err), err);
    ar__buf_release(&b);
    return tk;
}

static int set_up(void **state) {
    struct fixture *f = calloc(1, sizeof *f);
    f->tk = make_tokenizer("bytes", "{\"bos_token\":\"<s>\",\"eos_token\":\"</s>\"}");
    f->no_eos = make_tokenizer("plain", "{}");
    f->log = (ar_log){take_line, &f->told};
    *state = f;
    return 0;
}

static int reset(void **state) {
    struct fixture *f = *state;
    ar__buf_clear(&f->told);
    ar__buf_puts(&f->told, "");
    f->options = (ar_data_options){.max_length = 100, .threads = 2, .eos_id = -1, .log = &f->log};
    return 0;
}

static int tear_down(void **state) {
    struct fixture *f = *state;
    ar_tokenizer_free(f->tk);
    ar_tokenizer_free(f->no_eos);
    ar__buf_release(&f->told);
    free(f);
    return 0;
}

static ar_dataset *load_bytes(struct fixture *f, const void *bytes, size_t n) {
    ar_dataset *ds;
    ar_error err;
    assert_ok(ar__dataset_load(&ds, ONE_FILE(temp_file("data.jsonl", bytes, n)), f->tk, &f->options, &f->stats, &err), err);
    return ds;
}

static ar_dataset *load(struct fixture *f, const char *text) { return load_bytes(f, text, strlen(text)); }

static void refused_bytes(struct fixture *f, const void *bytes, size_t n, ar_status status, const char *part) {
    ar_dataset *ds;
    ar_error err;
    assert_error(ar__dataset_load(&ds, ONE_FILE(temp_file("data.jsonl", bytes, n)), f->tk, &f->options, NULL, &err), status, err, part);
    assert_null(ds);
}

static void refused(struct fixture *f, const char *text, ar_status status, const char *part) {
    refused_bytes(f, text, strlen(text), status, part);
}

/* `want` spells the ids: '^' BOS, '$' EOS; `learned` marks targets with '1'. */
static void assert_sample(const ar_dataset *ds, size_t i, const char *want, const char *learned) {
    ar_sample s = ar__dataset_at(ds, i);
    char got[512], marks[512];
    int supervised = 0;
    assert_true(s.count < 511);
    for (int k = 0; k < s.count; k++) {
        got[k] = (char)(s.ids[k] == BOS ? '^' : s.ids[k] == EOS ? '$' : s.ids[k]);
        marks[k] = s.learned[k] ? '1' : '0';
        supervised += s.learned[k];
        assert_int_equal(ar__sample_target(&s, k), k + 1 < s.count && s.learned[k + 1] ? s.ids[k + 1] : -1);
    }
    got[s.count] = marks[s.count] = '\0';
    assert_string_equal(got, want);
    assert_string_equal(marks, learned);
    assert_int_equal(s.supervised, supervised);
    assert_int_equal(s.learned[0], 0);
}

static void assert_told(const struct fixture *f, const char *part) {
    if (!strstr(f->told.data, part)) fail_msg("log lacks '%s':\n%s", part, f->told.data);
}

static void fields_are_told_in_order(void **state) {
    struct fixture *f = *state;
    ar_dataset *ds = load(f, "{\"text\":\"abc\"}\n"
                             "{\"prompt\":\"ab\",\"completion\":\"cd\",\"text\":\"\",\"x\":[]}\n"
                             "{\"question\":\"q?\",\"answer\":\"a\",\"instruction\":null,\"output\":\"\",\"x\":{}}\n"
                             "{\"prompt\":null,\"completion\":null,\"text\":\"t\"}\n");
    assert_int_equal(ar__dataset_count(ds), 4);
    assert_sample(ds, 0, "^abc$", "01111");
    assert_sample(ds, 1, "^abcd$", "000111");
    assert_sample(ds, 2, "^q?\na$", "000011");
    assert_sample(ds, 3, "^t$", "011");
    assert_int_equal(f->stats.tokens, 20);
    assert_int_equal(f->stats.supervised, 11);
    assert_int_equal(f->stats.max_id, 't');
    assert_int_equal(ar__dataset_longest(ds), 6);
    assert_string_equal(f->told.data, "");
    ar__dataset_free(ds);
}

/* The field that is left out is what the options are about, not the line: skip_bad does not pass over it. */
static void a_field_that_nobody_uses_is_an_error(void **state) {
    struct fixture *f = *state;
    f->options.skip_bad = true;
    static const char *const rows[][2] = {
        {"{\"prompt\":\"a\",\"completion\":\"b\",\"system\":\"s\"}", "leaves out system: add --ignore-fields system if that is meant, or "
                                                                     "--map context=system to put 'system' before the prompt"},
        {"{\"question\":\"a\",\"answer\":\"b\",\"context\":\"s\",\"id\":7}", "leaves out context,id: add --ignore-fields context,id"},
        {"{\"instruction\":\"a\",\"output\":\"b\",\"history\":[[\"x\",\"y\"]]}", "leaves out history: add --ignore-fields history if that"},
        {"{\"prompt\":\"a\",\"completion\":\"b\",\"input\":\"c\"}", "found the fields 'prompt', 'completion', 'input'; read as prompt"},
        {"{\"text\":\"a\",\"source\":\"web\"}", "leaves out source: add --ignore-fields source if that is meant, or --map prompt=FIELD"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char text[300];
        snprintf(text, sizeof text, "{\"text\":\"a\"}\n%s\n", rows[i][0]);
        refused(f, text, AR_ERR_MISMATCH, rows[i][1]);
        refused(f, text, AR_ERR_MISMATCH, "data.jsonl:2: ");
    }
    refused(f, "{\"text\":\"a\"}\n{\"text\":\"a\",\"text\":\"b\"}\n{\"text\":\"a\",\"x\":1}\n", AR_ERR_MISMATCH, "data.jsonl:3: ");
    f->options.skip_bad = false;
    refused(f, "{\"text\":\"a\",\"text\":\"b\"}\n", AR_ERR_FORMAT, "data.jsonl:1: found bad JSON at column");
}

static void fields_are_mapped_and_ignored(void **state) {
    struct fixture *f = *state;
    f->options.map = " prompt = q , completion=sql,context=schema,context=note";
    f->options.ignore_fields = "id, prompt";
    ar_dataset *ds = load(f, "{\"id\":1,\"q\":\"Q\",\"sql\":\"S\",\"note\":\"N\",\"schema\":\"T\",\"prompt\":\"x\"}\n"
                             "{\"id\":2,\"q\":\"Q\",\"sql\":\"S\",\"schema\":\"\",\"note\":null}\n{\"question\":\"a\",\"answer\":\"b\"}\n");
    assert_sample(ds, 0, "^T\n\nN\n\nQS$", "0000000011");
    assert_sample(ds, 1, "^QS$", "0011");
    assert_sample(ds, 2, "^a\nb$", "00011");
    assert_int_equal(ar__dataset_kind(ds), AR_DATA_KINDS);
    ar__dataset_free(ds);
    f->options.map = "question=instruction,answer=response";
    f->options.ignore_fields = NULL;
    ds = load(f, "{\"instruction\":\"a\",\"response\":\"b\"}\n");
    assert_sample(ds, 0, "^a\nb$", "00011");
    assert_int_equal(ar__dataset_kind(ds), AR_DATA_ANSWER);
    ar__dataset_free(ds);
}

static void a_map_that_cannot_be_meant_is_refused(void **state) {
    struct fixture *f = *state;
    static const struct {
        const char *map, *ignored, *part;
    } bad[] = {
        {"promt=a", NULL, "map: found 'promt=a', wanted NAME=FIELD, where NAME is one of prompt, completion"},
        {"prompt", NULL, "map: found 'prompt', wanted NAME=FIELD"},
        {"prompt=", NULL, "map: found 'prompt=', wanted NAME=FIELD"},
        {"prompt=a,,completion=b", NULL, "with one comma between them"},
        {"prompt=a,prompt=b", NULL, "mapped already"},
        {"prompt=a,completion=a", NULL, "mapped already"},
        {"prompt=a", "a", "both name 'a'"},
        {NULL, "a,", "with one comma between them"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        f->options.map = bad[i].map;
        f->options.ignore_fields = bad[i].ignored;
        refused(f, "{\"text\":\"a\"}", AR_ERR_USAGE, bad[i].part);
    }
    f->options.map = "context=shema";
    f->options.ignore_fields = "schema";
    refused(f, "{\"prompt\":\"a\",\"completion\":\"b\",\"schema\":\"s\"}", AR_ERR_MISMATCH,
            "data.jsonl: --map context=shema: no row has a field 'shema'");
    f->options.map = "answer=a";
    f->options.ignore_fields = NULL;
    refused(f, "{\"question\":\"q\",\"reply\":\"r\"}", AR_ERR_FORMAT,
            "found 'question' without 'a', wanted both; the fields are 'question', 'reply': --map answer=FIELD names another");
}

static void files_are_read_in_order(void **state) {
    struct fixture *f = *state;
    const char *const files[] = {temp_text("one.jsonl", "{\"text\":\"a\"}\n"),
                                 temp_text("two.jsonl", "{\"text\":\"b\"}\n{\"text\":\"c\"}\n"),
                                 temp_text("three.jsonl", "{\"text\":\"d\"}")};
    const ar_data_source from = {.files = {files, 3}};
    ar_dataset *ds;
    ar_error err;
    assert_ok(ar__dataset_load(&ds, &from, f->tk, &f->options, &f->stats, &err), err);
    assert_int_equal(ar__dataset_count(ds), 4);
    for (size_t i = 0; i < 4; i++) assert_int_equal(ar__dataset_at(ds, i).ids[1], 'a' + (int)i);
    ar__dataset_free(ds);
    temp_text("three.jsonl", "{\"text\":\"d\"}\n{");
    assert_error(ar__dataset_load(&ds, &from, f->tk, &f->options, NULL, &err), AR_ERR_FORMAT, err, "three.jsonl:2: found bad JSON");
    temp_text("three.jsonl", "");
    assert_error(ar__dataset_load(&ds, &from, f->tk, &f->options, NULL, &err), AR_ERR_FORMAT, err, "three.jsonl: found no samples");
}

static void samples_may_lie_in_memory(void **state) {
    struct fixture *f = *state;
    const int32_t ids[] = {'x', 'y', 'z', 'w'};
    const uint8_t learned[] = {1, 0, 1, 0}, none[] = {1, 0, 0, 0};
    ar_memory_sample samples[] = {{.text = "ab"},
                                  {.prompt = "p", .completion = "c"},
                                  {.ids = ids, .count = 4},
                                  {.ids = ids, .learned = learned, .count = 4},
                                  {.ids = ids, .learned = none, .count = 4}};
    ar_dataset *ds;
    ar_error err;
    const ar_data_source from = {.samples = samples, .sample_count = 5};
    assert_ok(ar__dataset_load(&ds, &from, f->tk, &f->options, &f->stats, &err), err);
    assert_int_equal(ar__dataset_count(ds), 4);
    assert_sample(ds, 0, "^ab$", "0111");
    assert_sample(ds, 1, "^pc$", "0011");
    assert_sample(ds, 2, "xyzw", "0111");
    assert_sample(ds, 3, "xyzw", "0010");
    assert_int_equal(f->stats.dropped, 1);
    assert_int_equal(f->stats.supervised, 3 + 2 + 3 + 1);
    ar__dataset_free(ds);
    samples[1].completion = NULL;
    assert_error(ar__dataset_load(&ds, &from, f->tk, &f->options, NULL, &err), AR_ERR_FORMAT, err, "samples:2: wanted one of text, prompt");
    samples[1] = (ar_memory_sample){.ids = (const int32_t[]){3, -1}, .count = 2};
    assert_error(ar__dataset_load(&ds, &from, f->tk, &f->options, NULL, &err), AR_ERR_FORMAT, err, "samples:2: id 1 is -1");
}

/* Rows of 4 to 99 letters, and one of 90 more than any. */
static void a_part_of_the_lines_tells_the_whole(void **state) {
    struct fixture *f = *state;
    enum { ROWS = 20000 };
    ar_buf b = {0};
    for (unsigned i = 0; i < ROWS; i++) {
        unsigned n = i == 12345 ? 190 : 4 + i * 2654435761u % 96;
        ar__buf_printf(&b, "{\"text\":\"%0*d\"}\n", (int)n, 0);
    }
    f->options.max_length = 150;
    ar_dataset *all = load(f, b.data);
    ar_data_stats whole = f->stats;
    f->options.sample_bytes = 100000;
    ar_dataset *part = load(f, b.data);
    size_t n = ar__dataset_count(part);
    assert_int_equal(f->stats.all_lines, ROWS);
    assert_int_equal(f->stats.lines, n);
    assert_true(n > 500 && n < 1500);
    assert_int_equal(ar__dataset_longest(part), ar__dataset_longest(all));
    assert_int_equal(f->stats.longest, whole.longest);
    double mean = (double)whole.tokens / ROWS, got = (double)f->stats.tokens / (double)n;
    assert_true(got > mean - 4 && got < mean + 4); /* 28 / sqrt(n) is a standard error */
    for (size_t i = 1; i < n; i++) assert_true(ar__dataset_at(part, i).line > ar__dataset_at(part, i - 1).line);
    ar__dataset_free(part);
    f->options.sample_bytes = b.len; /* what is no larger is read whole */
    part = load(f, b.data);
    assert_int_equal(ar__dataset_count(part), ROWS);
    assert_int_equal(f->stats.all_lines, 0);
    ar__dataset_free(part);
    ar__dataset_free(all);
    ar__buf_release(&b);
}

static void prompts_are_learned_too_when_asked(void **state) {
    struct fixture *f = *state;
    f->options.train_on = AR_TRAIN_ON_ALL;
    ar_dataset *ds = load(f, "{\"prompt\":\"ab\",\"completion\":\"cd\"}");
    assert_sample(ds, 0, "^abcd$", "011111");
    ar__dataset_free(ds);
}

static void alpaca_text_is_the_known_one_and_told_once(void **state) {
    struct fixture *f = *state;
    f->options.max_length = 500;
    ar_dataset *ds =
        load(f, "{\"instruction\":\"I\",\"input\":\"\",\"output\":\"O\"}\n{\"instruction\":\"I\",\"input\":\"N\",\"output\":\"O\"}\n");
    const char *plain = "^Below is an instruction that describes a task. Write a response that appropriately completes the request.\n\n"
                        "### Instruction:\nI\n\n### Response:\nO$";
    const char *paired = "^Below is an instruction that describes a task, paired with an input that provides further context. Write a "
                         "response that appropriately completes the request.\n\n### Instruction:\nI\n\n### Input:\nN\n\n### Response:\nO$";
    char marks[512];
    const char *texts[] = {plain, paired};
    for (size_t i = 0; i < 2; i++) {
        size_t n = strlen(texts[i]);
        memset(marks, '0', n);
        marks[n - 2] = marks[n - 1] = '1';
        marks[n] = '\0';
        assert_sample(ds, i, texts[i], marks);
    }
    assert_told(f, "info ");
    assert_null(strstr(strstr(f->told.data, "### Response") + 1, "### Response"));
    ar__dataset_free(ds);
}

static void end_of_sequence_is_not_doubled(void **state) {
    struct fixture *f = *state;
    ar_dataset *ds =
        load(f, "{\"text\":\"ab</s>\"}\n{\"prompt\":\"p\",\"completion\":\"c</s>\"}\n{\"prompt\":\"p\",\"completion\":\"\"}\n");
    assert_sample(ds, 0, "^ab$", "0111");
    assert_sample(ds, 1, "^pc$", "0011");
    assert_sample(ds, 2, "^p$", "001");
    ar__dataset_free(ds);
}

static void begin_of_sequence_is_not_doubled(void **state) {
    struct fixture *f = *state;
    ar_dataset *ds = load(f, "{\"text\":\"<s>ab</s>\"}\n{\"prompt\":\"<s>p\",\"completion\":\"c</s>\"}\n"
                             "{\"prompt\":\"\",\"completion\":\"<s>c\"}\n{\"text\":\"a<s>\"}\n{\"text\":\"<s>\"}\n");
    assert_sample(ds, 0, "^ab$", "0111");
    assert_sample(ds, 1, "^pc$", "0011");
    assert_sample(ds, 2, "^c$", "011");
    assert_sample(ds, 3, "^a^$", "0111");
    assert_sample(ds, 4, "^$", "01");
    assert_int_equal(f->stats.own_bos, 4);
    assert_told(f, "info ");
    assert_told(f, "data.jsonl: 4 of 5 samples begin with the tokenizer's BOS");
    ar__dataset_free(ds);
}

static void end_of_sequence_comes_from_the_base_or_is_missed(void **state) {
    struct fixture *f = *state;
    const char *path = temp_text("data.jsonl", "{\"text\":\"ab\"}\n");
    ar_dataset *ds;
    ar_error err;
    f->options.eos_id = 7;
    assert_ok(ar__dataset_load(&ds, ONE_FILE(path), f->no_eos, &f->options, NULL, &err), err);
    assert_sample(ds, 0, "^ab\7", "0111");
    ar__dataset_free(ds);
    assert_string_equal(f->told.data, "");
    f->options.eos_id = -1;
    assert_ok(ar__dataset_load(&ds, ONE_FILE(path), f->no_eos, &f->options, NULL, &err), err);
    assert_sample(ds, 0, "^ab", "011");
    ar__dataset_free(ds);
    assert_told(f, "warning ");
    assert_told(f, "end-of-sequence");
}

static void long_samples_are_cut_and_counted(void **state) {
    struct fixture *f = *state;
    f->options.max_length = 4;
    ar_dataset *ds = load(
        f,
        "{\"text\":\"abcdef\"}\n{\"prompt\":\"abc\",\"completion\":\"x\"}\n{\"prompt\":\"ab\",\"completion\":\"xy\"}\n{\"text\":\"ab\"}\n");
    assert_int_equal(ar__dataset_count(ds), 3);
    assert_sample(ds, 0, "^abc", "0111");
    assert_sample(ds, 1, "^abx", "0001");
    assert_sample(ds, 2, "^ab$", "0111");
    assert_int_equal(ar__dataset_at(ds, 1).line, 3);
    assert_int_equal(f->stats.cut, 3);
    assert_int_equal(f->stats.dropped, 1);
    assert_int_equal(f->stats.dropped_cut, 1);
    assert_int_equal(f->stats.longest, 8);
    assert_told(f, "3 of 4 samples were cut at --max-length 4 (the longest has 8 tokens)");
    assert_told(f, "1 of 4 samples were dropped");
    ar__dataset_free(ds);
}

static void nothing_left_is_an_error_that_says_why(void **state) {
    struct fixture *f = *state;
    f->options.max_length = 4;
    refused(f, "{\"prompt\":\"abcdef\",\"completion\":\"x\"}\n{\"prompt\":\"abcd\",\"completion\":\"x\"}\n", AR_ERR_VALUE,
            "raise it above 5");
    f->options.max_length = 1;
    refused(f, "{\"text\":\"abcdef\"}\n", AR_ERR_VALUE, "raise it above 1");
    f->options.max_length = 0;
    refused(f, "{\"text\":\"a\"}\n", AR_ERR_VALUE, "--max-length");
}

static void byte_order_mark_crlf_and_blank_lines_are_fine(void **state) {
    struct fixture *f = *state;
    ar_dataset *ds = load(f, "\xef\xbb\xbf{\"text\":\"a\"}\r\n\r\n   \n  {\"text\":\"b\"} \n\n{\"text\":\"c\"}");
    assert_int_equal(ar__dataset_count(ds), 3);
    assert_int_equal(f->stats.lines, 3);
    assert_int_equal(ar__dataset_at(ds, 2).line, 6);
    assert_sample(ds, 2, "^c$", "011");
    ar__dataset_free(ds);
}

static void bad_lines_name_file_and_line(void **state) {
    struct fixture *f = *state;
    const char *good = "{\"text\":\"a\"}\n\n";
    static const struct {
        const char *line, *part;
    } bad[] = {
        {"{\"text\":\"a\"", "data.jsonl:3: found bad JSON"},
        {"{\"text\":\"a\"} x", "data.jsonl:3: found bad JSON"},
        {"17", "data.jsonl:3: found a number"},
        {"[{\"text\":\"a\"}]", "data.jsonl:3: found an array"},
        {"{\"text\":17}", "data.jsonl:3: field 'text': found a number"},
        {"{\"prompt\":\"a\",\"completion\":[\"b\"]}", "data.jsonl:3: field 'completion': found an array"},
        {"{\"instruction\":\"a\",\"output\":\"b\",\"input\":{}}", "data.jsonl:3: field 'input': found an object"},
        {"{\"prompt\":\"a\"}", "data.jsonl:3: found 'prompt' without 'completion'"},
        {"{\"answer\":\"a\"}", "data.jsonl:3: found 'answer' without 'question'"},
        {"{\"body\":\"a\",\"title\":\"b\"}", "data.jsonl:3: found the fields 'body', 'title'"},
        {"{}", "data.jsonl:3: found no fields"},
        {"{\"text\":\"\xff\"}", "data.jsonl:3: found byte 0xff at column 10"},
        {"{\"text\":\"\xed\xa0\x80\"}", "data.jsonl:3: found byte 0xed"},
        {"{\"text\":\"\\ud800\"}", "data.jsonl:3: found bad JSON"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char text[300];
        snprintf(text, sizeof text, "%s%s\n", good, bad[i].line);
        refused(f, text, AR_ERR_FORMAT, bad[i].part);
        f->options.skip_bad = true;
        ar_dataset *ds = load(f, text);
        assert_int_equal(ar__dataset_count(ds), 1);
        assert_int_equal(f->stats.bad, 1);
        assert_told(f, "skipped 1 bad line of 2; the first: ");
        ar__dataset_free(ds);
        reset(state);
    }
}

static void the_first_bad_line_is_the_one_told(void **state) {
    struct fixture *f = *state;
    ar_buf b = {0};
    for (int i = 1; i <= 3000; i++) ar__buf_puts(&b, i == 2097 || i == 2099 ? "{\n" : "{\"text\":\"a\"}\n");
    refused(f, b.data, AR_ERR_FORMAT, "data.jsonl:2097: ");
    ar__buf_release(&b);
    f->options.skip_bad = true;
    refused(f, "{\n[\n", AR_ERR_VALUE, "all 2 lines are bad");
}

static void messages_want_a_template(void **state) {
    struct fixture *f = *state;
    f->options.skip_bad = true;
    refused(f, "{\"text\":\"a\"}\n{\"messages\":[{\"role\":\"user\",\"content\":\"b\"}]}\n", AR_ERR_UNSUPPORTED,
            "data.jsonl:2: found a conversation, and the base has no chat template");
}

static void other_files_are_told_by_name(void **state) {
    struct fixture *f = *state;
    refused(f, "", AR_ERR_FORMAT, "found no samples");
    refused(f, "\n  \r\n", AR_ERR_FORMAT, "found no samples");
    refused(f, "\xef\xbb\xbf", AR_ERR_FORMAT, "found no samples");
    refused(f, "\x1f\x8b\x08", AR_ERR_FORMAT, "gunzip");
    refused(f, "PAR1xxxx", AR_ERR_FORMAT, "pandas.read_parquet");
    refused_bytes(f, "\xff\xfe{\0", 4, AR_ERR_FORMAT, "iconv");
    refused_bytes(f, "{\0\"\0", 4, AR_ERR_FORMAT, "iconv -f UTF-16LE");
    refused_bytes(f, "\0{\0\"", 4, AR_ERR_FORMAT, "iconv -f UTF-16BE");
    refused_bytes(f, "\xff\xfe\0\0{\0\0\0", 8, AR_ERR_FORMAT, "iconv -f UTF-32");
    refused(f, "ARROW1\n", AR_ERR_FORMAT, "Arrow");
    refused(f, "question,answer\n", AR_ERR_FORMAT, "found a table without a row under its names");
    refused(f, "question,answer\nq,a\nq\n", AR_ERR_FORMAT, "data.jsonl:3: found 1 columns, wanted the 2 that the first line names");
    refused(f, "question,answer\n\"q,a\n", AR_ERR_FORMAT, "data.jsonl:2: found a quote that is not closed");
    refused(f, "question,answer\n\"q\"x,a\n", AR_ERR_FORMAT, "found text behind a closing quote");
    refused(f, "question,question\nq,a\n", AR_ERR_FORMAT, "found two columns 'question'");
    refused(f, "question,\nq,a\n", AR_ERR_FORMAT, "the fields are 'question', 'Unnamed: 1'");
    refused(f, "question,reply\nq,a\n", AR_ERR_FORMAT, "found 'question' without 'answer'");
    refused(f, "[{\"text\":\"a\"},\n\n{\"text\":1}]", AR_ERR_FORMAT, "data.jsonl:3: field 'text': found a number");
    refused(f, "[{\"text\":\"a\"},\n 7]", AR_ERR_FORMAT, "data.jsonl:2: found a number, wanted one JSON object a line");
    refused(f, "[{\"text\":\"a\"},\n{\"text\":\"b\"", AR_ERR_FORMAT, "data.jsonl:2: found bad JSON");
    refused(f, "Once upon a time\n", AR_ERR_FORMAT,
            "found plain text, wanted one JSON object a line: jq -Rc 'select(length > 0) | {text: .}'");
    refused(f, "\"one, two\"\n", AR_ERR_FORMAT, "found a string, wanted one JSON object a line: jq -c '{text: .}'");
    refused(f, "{\"text\":\"a\"}\r{\"text\":\"b\"}\r", AR_ERR_FORMAT, "found lines that end in CR alone");
    refused(f, "version https://git-lfs.github.com/spec/v1\n", AR_ERR_FORMAT, "git lfs pull");
    ar_dataset *ds;
    ar_error err;
    assert_error(ar__dataset_load(&ds, ONE_FILE(temp_path("absent.jsonl")), f->tk, &f->options, NULL, &err), AR_ERR_IO, err,
                 "absent.jsonl");
}

static void odd_but_valid_json_is_read(void **state) {
    struct fixture *f = *state;
    f->options.ignore_fields = "x, id";
    ar_dataset *ds = load(f, "{\"id\":123456789012345678901234567890,\"text\":\"a\\u0062\\n\",\"messages\":null,\"x\":{\"y\":[1e3]}}");
    assert_sample(ds, 0, "^ab\n$", "01111");
    ar__dataset_free(ds);
}

static void a_very_long_line_is_one_sample(void **state) {
    struct fixture *f = *state;
    ar_buf b = {0};
    ar__buf_puts(&b, "{\"text\":\"");
    for (int i = 0; i < 100000; i++) ar__buf_puts(&b, "abcd efgh ");
    ar__buf_puts(&b, "\"}\n");
    ar_dataset *ds = load(f, b.data);
    assert_int_equal(ar__dataset_at(ds, 0).count, 100);
    assert_int_equal(f->stats.longest, 1000002);
    ar__dataset_free(ds);
    ar__buf_release(&b);
}

static void threads_change_nothing(void **state) {
    struct fixture *f = *state;
    ar_buf b = {0};
    for (int i = 0; i < 5000; i++) ar__buf_printf(&b, "{\"prompt\":\"p%d\",\"completion\":\"c%d\"}\n", i, i * 7);
    ar_dataset *two = load(f, b.data);
    f->options.threads = 1;
    ar_dataset *one = load(f, b.data);
    assert_int_equal(ar__dataset_count(one), 5000);
    for (size_t i = 0; i < 5000; i++) {
        ar_sample x = ar__dataset_at(one, i), y = ar__dataset_at(two, i);
        assert_int_equal(x.count, y.count);
        assert_memory_equal(x.ids, y.ids, (size_t)x.count * sizeof *x.ids);
        assert_memory_equal(x.learned, y.learned, (size_t)x.count);
    }
    ar__dataset_free(one);
    ar__dataset_free(two);
    ar__buf_release(&b);
}

static void utf8_is_checked_as_the_standard_says(void **state) {
    (void)state;
    static const char *const good[] = {
        "", "a", "\xc2\x80", "\xe0\xa0\x80", "\xed\x9f\xbf", "\xee\x80\x80", "\xf0\x90\x80\x80", "\xf4\x8f\xbf\xbf"};
    static const char *const bad[] = {
        "\x80", "\xc1\xbf", "\xe0\x9f\xbf", "\xed\xa0\x80", "\xf0\x8f\xbf\xbf", "\xf4\x90\x80\x80", "\xf5\x80\x80\x80",
        "\xc2", "\xe1\x80", "\xf1\x80\x80", "\xe1\x80x"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) assert_int_equal(ar__utf8_bad_at(good[i], strlen(good[i])), strlen(good[i]));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) assert_int_equal(ar__utf8_bad_at(bad[i], strlen(bad[i])), 0);
}

static void arrays_and_tables_are_read(void **state) {
    struct fixture *f = *state;
    ar_dataset *ds = load(f, " [ {\"text\":\"a]\\\"b\"} ,\n{\"prompt\":\"p\",\n \"completion\":\"c,[\"}\n]\n");
    assert_int_equal(ar__dataset_count(ds), 2);
    assert_sample(ds, 0, "^a]\"b$", "011111");
    assert_sample(ds, 1, "^pc,[$", "001111");
    assert_int_equal(ar__dataset_at(ds, 1).line, 2);
    ar__dataset_free(ds);
    ds = load(f, "\xef\xbb\xbfprompt,completion\r\n\"a \"\"b\"\",\nc\",d\r\n\r\ne,f");
    assert_int_equal(ar__dataset_count(ds), 2);
    assert_sample(ds, 0, "^a \"b\",\ncd$", "00000000011");
    assert_sample(ds, 1, "^ef$", "0011");
    assert_int_equal(ar__dataset_at(ds, 1).line, 5);
    ar__dataset_free(ds);
    ds = load(f, "prompt\tcompletion\na,b\tc\n");
    assert_sample(ds, 0, "^a,bc$",
                  "00001"
                  "1");
    ar__dataset_free(ds);
}

static void a_share_of_a_file_is_taken(void **state) {
    struct fixture *f = *state;
    char text[40 * 16 + 1] = "";
    for (int i = 0; i < 40; i++) snprintf(text + strlen(text), 20, "{\"text\":\"%c%c\"}\n", 'a' + i / 26, 'a' + i % 26);
    const char *path = temp_text("data.jsonl", text);
    static const struct {
        const char *share;
        size_t count;
    } cases[] = {{"", 40}, {":0.25", 10}, {":1", 40}, {":2", 80}, {":1.5", 60}};
    for (int seed = 1; seed < 3; seed++)
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
            ar_buf with = {0};
            ar_dataset *ds;
            ar_error err;
            ar__buf_printf(&with, "%s%s", path, cases[i].share);
            f->options.seed = (uint64_t)seed;
            assert_ok(ar__dataset_load(&ds, ONE_FILE(with.data), f->tk, &f->options, &f->stats, &err), err);
            assert_int_equal(ar__dataset_count(ds), cases[i].count);
            for (size_t k = 1; k < cases[i].count && k < 40; k++) assert_true(ar__dataset_at(ds, k).line > ar__dataset_at(ds, k - 1).line);
            ar__dataset_free(ds);
            ar__buf_release(&with);
        }
    ar_dataset *ds;
    ar_error err;
    assert_error(ar__dataset_load(&ds, ONE_FILE("missing.jsonl:0.5"), f->tk, &f->options, NULL, &err), AR_ERR_IO, err, "missing.jsonl");
}

static void prompts_are_those_of_training(void **state) {
    (void)state;
    const char *path = temp_text("prompts.jsonl", "\xef\xbb\xbf{\"prompt\":\"ab\",\"completion\":\"cd\"}\r\n\n{\"prompt\":\"\"}\n"
                                                  "{\"question\":\"q\",\"answer\":null}\n{\"instruction\":\"I\",\"input\":\"N\"}\n"
                                                  "{\"prompt\":null,\"text\":\"t \\u00e9\"}");
    static const char alpaca[] =
        "Below is an instruction that describes a task, paired with an input that provides further context. Write a response that "
        "appropriately completes the request.\n\n### Instruction:\nI\n\n### Input:\nN\n\n### Response:\n";
    static const char *const want[] = {"ab", "", "q\n", alpaca, "t \xc3\xa9"};
    ar_prompts got;
    ar_error err;
    assert_ok(ar_prompts_load(&got, path, NULL, NULL, false, &err), err);
    assert_int_equal(got.count, 5);
    for (int i = 0; i < 5; i++) assert_string_equal(got.text[i], want[i]);
    ar_prompts_release(&got);
    path = temp_text("prompts.jsonl", "{\"text\":\"a\"}\n\n{\"answer\":\"a\"}\n");
    assert_error(ar_prompts_load(&got, path, NULL, NULL, false, &err), AR_ERR_FORMAT, err,
                 "prompts.jsonl:3: found the fields 'answer', wanted prompt");
    assert_int_equal(got.count, 0);
    path = temp_text("prompts.jsonl", "[{\"text\":\"a\"}, {\"prompt\":\"\",\"completion\":\"c\"}]");
    assert_ok(ar_prompts_load(&got, path, NULL, NULL, false, &err), err);
    assert_int_equal(got.count, 2);
    assert_string_equal(got.text[0], "a");
    assert_string_equal(got.text[1], "");
    ar_prompts_release(&got);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(fields_are_told_in_order, reset),
        cmocka_unit_test_setup(a_field_that_nobody_uses_is_an_error, reset),
        cmocka_unit_test_setup(fields_are_mapped_and_ignored, reset),
        cmocka_unit_test_setup(a_map_that_cannot_be_meant_is_refused, reset),
        cmocka_unit_test_setup(files_are_read_in_order, reset),
        cmocka_unit_test_setup(samples_may_lie_in_memory, reset),
        cmocka_unit_test_setup(a_part_of_the_lines_tells_the_whole, reset),
        cmocka_unit_test_setup(prompts_are_learned_too_when_asked, reset),
        cmocka_unit_test_setup(alpaca_text_is_the_known_one_and_told_once, reset),
        cmocka_unit_test_setup(end_of_sequence_is_not_doubled, reset),
        cmocka_unit_test_setup(begin_of_sequence_is_not_doubled, reset),
        cmocka_unit_test_setup(end_of_sequence_comes_from_the_base_or_is_missed, reset),
        cmocka_unit_test_setup(long_samples_are_cut_and_counted, reset),
        cmocka_unit_test_setup(nothing_left_is_an_error_that_says_why, reset),
        cmocka_unit_test_setup(byte_order_mark_crlf_and_blank_lines_are_fine, reset),
        cmocka_unit_test_setup(bad_lines_name_file_and_line, reset),
        cmocka_unit_test_setup(the_first_bad_line_is_the_one_told, reset),
        cmocka_unit_test_setup(messages_want_a_template, reset),
        cmocka_unit_test_setup(other_files_are_told_by_name, reset),
        cmocka_unit_test_setup(odd_but_valid_json_is_read, reset),
        cmocka_unit_test_setup(a_very_long_line_is_one_sample, reset),
        cmocka_unit_test_setup(threads_change_nothing, reset),
        cmocka_unit_test(utf8_is_checked_as_the_standard_says),
        cmocka_unit_test_setup(arrays_and_tables_are_read, reset),
        cmocka_unit_test_setup(a_share_of_a_file_is_taken, reset),
        cmocka_unit_test(prompts_are_those_of_training),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
