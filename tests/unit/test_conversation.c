/* Conversations: rows in their many forms, and which of the text that a template writes is learned. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/supervise.h"
#include "format/json.h"
#include "util.h"

static ar_tokenizer *tk;

static const char plain[] = "{% for m in messages %}<{{ m.role }}>{{ m.reasoning_content }}{{ m.content }}<end>{% endfor %}"
                            "{% if add_generation_prompt %}<assistant>{% endif %}";
static const char blocks[] =
    "{% for m in messages %}<{{ m.role }}>{% if m.role == 'assistant' %}{% generation %}{{ m.content }}<end>{% endgeneration %}"
    "{% else %}{{ m.content }}<end>{% endif %}{% endfor %}";
/* Reasoning of earlier turns goes, as in Qwen3. */
static const char forgetful[] = "{% for m in messages %}<{{ m.role }}>{% if m.reasoning_content and loop.last %}<think>{{ "
                                "m.reasoning_content }}</think>{% endif %}{{ m.content }}<end>"
                                "{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}";
/* The end of the text, as in Phi-3. */
static const char closing[] = "{% for m in messages %}<{{ m.role }}>{{ m.content }}<end>{% endfor %}{% if add_generation_prompt "
                              "%}<assistant>{% else %}<endoftext>{% endif %}";

/* The rendered text with the learned parts in brackets. */
static char *learned_of(const char *template, const char *row, ar_train_on on, ar_supervised *told, ar_error *err) {
    ar_chat *chat = NULL;
    ar_form form;
    ar_conversation c = {0};
    ar_rendered whole = {0}, part = {0};
    ar_frames frames = {0};
    ar_buf out = {0};
    json_t *r = json_loads(row, 0, NULL);
    ar_status s = ar__chat_open(&chat, "demo/base", temp_text("t.jinja", template), tk, err);
    if (!s) s = ar__form_read(&form, NULL, NULL, err);
    if (!s) s = ar__conversation_read(&c, r, &form, err);
    if (!s) s = ar__frames_find(&frames, chat, err);
    ar_frames without = {.header = frames.header};
    if (!s) s = ar__supervise(told, &whole, &part, chat, &without, &c, on, err);
    if (!s) {
        ar_rendered framed = {0};
        s = ar__supervise(told, &framed, &part, chat, &frames, &c, on, err);
        assert_int_equal(framed.marks.len, whole.marks.len);
        assert_memory_equal(framed.marks.data, whole.marks.data, whole.marks.len);
        ar__rendered_release(&framed);
    }
    ar__frames_release(&frames);
    for (size_t i = 0; !s && i < whole.text.len; i++) {
        bool now = whole.marks.data[i] & AR_LEARNED, was = i && whole.marks.data[i - 1] & AR_LEARNED;
        if (now != was) ar__buf_puts(&out, now ? "[" : "]");
        ar__buf_add(&out, &whole.text.data[i], 1);
        if (now && i + 1 == whole.text.len) ar__buf_puts(&out, "]");
    }
    ar__rendered_release(&whole);
    ar__rendered_release(&part);
    ar__conversation_release(&c);
    ar__form_release(&form);
    ar__chat_free(chat);
    json_decref(r);
    return out.data;
}

static void assert_learned(const char *template, const char *row, ar_train_on on, const char *want) {
    ar_supervised told;
    ar_error err = {0};
    char *got = learned_of(template, row, on, &told, &err);
    if (!got) fail_msg("%s: %s", row, err.message);
    assert_string_equal(got, want);
    free(got);
}

static void assert_refused(const char *row, const char *part) {
    ar_supervised told;
    ar_error err = {0};
    assert_null(learned_of(plain, row, AR_TRAIN_ON_COMPLETION, &told, &err));
    if (!strstr(err.message, part)) fail_msg("'%s' lacks '%s'", err.message, part);
}

#define TWO_TURNS                                                                                                                          \
    "{\"role\": \"user\", \"content\": \"a\"}, {\"role\": \"assistant\", \"content\": \"b\"}, {\"role\": \"user\", \"content\": \"c\"}, "  \
    "{\"role\": \"assistant\", \"content\": \"d\"}"

static void turns_of_the_assistant_are_learned(void **state) {
    (void)state;
    static const char row[] = "{\"messages\": [" TWO_TURNS "]}";
    const char *const templates[] = {plain, blocks};
    for (int i = 0; i < 2; i++) {
        assert_learned(templates[i], row, AR_TRAIN_ON_COMPLETION, "<user>a<end><assistant>[b<end>]<user>c<end><assistant>[d<end>]");
        assert_learned(templates[i], row, AR_TRAIN_ON_LAST, "<user>a<end><assistant>b<end><user>c<end><assistant>[d<end>]");
        assert_learned(templates[i], row, AR_TRAIN_ON_ALL, "[<user>a<end><assistant>b<end><user>c<end><assistant>d<end>]");
    }
}

static void messages_say_themselves_what_is_learned(void **state) {
    (void)state;
    static const char *const flags[] = {"\"train\": false", "\"weight\": 0", "\"training\": false"};
    char row[300];
    for (int i = 0; i < 3; i++) {
        snprintf(row, sizeof row,
                 "{\"messages\": [{\"role\": \"user\", \"content\": \"a\"}, {\"role\": \"assistant\", \"content\": \"b\", %s}, "
                 "{\"role\": \"user\", \"content\": \"c\"}, {\"role\": \"assistant\", \"content\": \"d\"}]}",
                 flags[i]);
        assert_learned(plain, row, AR_TRAIN_ON_COMPLETION, "<user>a<end><assistant>b<end><user>c<end><assistant>[d<end>]");
        assert_learned(blocks, row, AR_TRAIN_ON_COMPLETION, "<user>a<end><assistant>b<end><user>c<end><assistant>[d<end>]");
    }
    assert_refused("{\"messages\": [{\"role\": \"assistant\", \"content\": \"b\", \"weight\": 0.5}]}", "'weight': wanted 0");
}

static void rows_come_in_many_forms(void **state) {
    (void)state;
    assert_learned(
        plain, "{\"conversations\": [{\"from\": \"human\", \"value\": \"a\"}, {\"from\": \"gpt\", \"value\": \"b\"}], \"system\": \"s\"}",
        AR_TRAIN_ON_COMPLETION, "<system>s<end><user>a<end><assistant>[b<end>]");
    assert_learned(plain,
                   "{\"prompt\": [{\"role\": \"user\", \"content\": \"a\"}, {\"role\": \"assistant\", \"content\": \"x\"}, {\"role\": "
                   "\"user\", \"content\": \"c\"}], "
                   "\"completion\": [{\"role\": \"assistant\", \"content\": \"d\"}]}",
                   AR_TRAIN_ON_COMPLETION, "<user>a<end><assistant>x<end><user>c<end><assistant>[d<end>]");
    assert_learned(
        "{% for m in messages %}<{{ m.role }}>{{ m.content }}{{ m.tool_calls | tojson if m.tool_calls }}{% endfor %}",
        "{\"conversations\": [{\"from\": \"function_call\", \"value\": \"{\\\"name\\\": \\\"f\\\", \\\"arguments\\\": {\\\"x\\\": 1}}\"}, "
        "{\"from\": \"observation\", \"value\": \"o\"}]}",
        AR_TRAIN_ON_ALL, "[<assistant>[{\"type\": \"function\", \"function\": {\"name\": \"f\", \"arguments\": {\"x\": 1}}}]<tool>o]");
    assert_learned(plain,
                   "{\"messages\": [{\"role\": \"user\", \"content\": \"a\", \"name\": null}, {\"role\": \"assistant\", \"thinking\": "
                   "\"t\", \"content\": \"b\"}]}",
                   AR_TRAIN_ON_COMPLETION, "<user>a<end><assistant>[tb<end>]");
    assert_refused("{\"conversations\": [{\"from\": \"martian\", \"value\": \"a\"}]}", "message 1: 'from': found 'martian'");
    assert_refused("{\"messages\": [{\"content\": \"a\"}]}", "message 1: found nothing as its role");
    assert_refused("{\"messages\": []}", "found no messages");
    assert_refused("{\"messages\": \"a\"}", "wanted a list of messages");
    assert_refused("{\"messages\": [{\"role\": \"user\", \"content\": \"a\"}], \"tools\": \"{\"}", "'tools': found text that is no JSON");
}

static void turns_that_are_rewritten_are_learned_where_nothing_is_lost(void **state) {
    (void)state;
    ar_supervised told;
    ar_error err;
    assert_learned(closing, "{\"messages\": [" TWO_TURNS "]}", AR_TRAIN_ON_COMPLETION,
                   "<user>a<end><assistant>[b<end>]<user>c<end><assistant>[d<end><endoftext>]");
    char *got = learned_of(
        forgetful,
        "{\"messages\": [{\"role\": \"user\", \"content\": \"a\"}, {\"role\": \"assistant\", \"reasoning_content\": \"r\", \"content\": "
        "\"b\"}, "
        "{\"role\": \"user\", \"content\": \"c\"}, {\"role\": \"assistant\", \"reasoning_content\": \"q\", \"content\": \"d\"}]}",
        AR_TRAIN_ON_COMPLETION, &told, &err);
    assert_string_equal(got, "<user>a<end><assistant>b<end><user>c<end><assistant>[<think>q</think>d<end>]");
    assert_int_equal(told.turns, 2);
    assert_int_equal(told.rewritten, 1);
    free(got);
}

/* Earlier answers come without their (empty) reasoning: none is where it was. */
static const char thinking[] =
    "{% for m in messages %}<{{ m.role }}>{% if m.role == 'assistant' and loop.last %}<think>{{ m.reasoning_content or '' }}"
    "</think>{% endif %}{{ m.content }}<end>{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}";

/* What others say, and turns that are not wanted, are not learned, whatever they say and however the template writes them. */
static void turns_are_sought_where_they_are(void **state) {
    (void)state;
    assert_learned(
        thinking,
        "{\"messages\": [{\"role\": \"user\", \"content\": \"a\"}, {\"role\": \"assistant\", \"content\": \"b\", \"weight\": 0}, "
        "{\"role\": \"user\", \"content\": \"c <assistant>d<end>\"}, {\"role\": \"assistant\", \"content\": \"d\", \"name\": \"x\"}, "
        "{\"role\": \"user\", \"content\": \"e\"}, {\"role\": \"assistant\", \"content\": \"f\"}]}",
        AR_TRAIN_ON_COMPLETION,
        "<user>a<end><assistant>b<end><user>c <assistant>d<end><end><assistant>[d<end>]<user>e<end><assistant>[<think></think>f<end>]");
    /* The system's text stands in the last thing that a user says, as long as that is the last message. */
    assert_learned(
        "{% for m in messages %}{% if m.role == 'user' %}[I]{% if loop.last and messages[0].role == 'system' %}{{ messages[0].content }}+"
        "{% endif %}{{ m.content }}[/I]{% elif m.role == 'assistant' %}{{ m.content }}<end>{% endif %}{% endfor %}",
        "{\"messages\": [{\"role\": \"system\", \"content\": \"s\"}, " TWO_TURNS "]}", AR_TRAIN_ON_COMPLETION,
        "[I]a[/I][b<end>][I]c[/I][d<end>]");
    /* No header is asked for behind an answer. */
    assert_learned("{% for m in messages %}<{{ m.role }}>{{ m.content }}<end>{% endfor %}{% if add_generation_prompt and messages[-1].role "
                   "== 'user' %}"
                   "<assistant>{% endif %}",
                   "{\"messages\": [{\"role\": \"user\", \"content\": \"a\"}, {\"role\": \"assistant\", \"content\": \"b\"}, "
                   "{\"role\": \"assistant\", \"content\": \"c\"}]}",
                   AR_TRAIN_ON_COMPLETION, "<user>a<end><assistant>[b<end>]<assistant>[c<end>]");
}

/* More messages than marks tell apart, all of them alike. */
static void long_conversations_are_like_short_ones(void **state) {
    (void)state;
    enum { TURNS = 90 };
    ar_buf row = {0}, want = {0};
    ar__buf_puts(&row, "{\"messages\": [");
    for (int i = 0; i < TURNS; i++) {
        bool wanted = i % 3;
        ar__buf_printf(&row, "%s{\"role\": \"user\", \"content\": \"ok\"}, {\"role\": \"assistant\", \"content\": \"ok\"%s}", i ? ", " : "",
                       wanted ? "" : ", \"train\": false");
        ar__buf_printf(&want, "<user>ok<end><assistant>%s%sok<end>%s", wanted ? "[" : "", i == TURNS - 1 ? "<think></think>" : "",
                       wanted ? "]" : "");
    }
    ar__buf_puts(&row, "]}");
    assert_learned(thinking, row.data, AR_TRAIN_ON_COMPLETION, want.data);
    ar__buf_release(&row);
    ar__buf_release(&want);
}

/* An answer that says nothing ends; one of which the template writes nothing is not learned as silence. */
static void silence_is_learned_where_it_is_said(void **state) {
    (void)state;
    assert_learned(plain, "{\"messages\": [{\"role\": \"user\", \"content\": \"a\"}, {\"role\": \"assistant\", \"content\": \"\"}]}",
                   AR_TRAIN_ON_COMPLETION, "<user>a<end><assistant>[<end>]");
    assert_learned(
        closing,
        "{\"messages\": [{\"role\": \"user\", \"content\": \"a\"}, {\"role\": \"assistant\", \"content\": \"\", \"tool_calls\": "
        "[{\"type\": \"function\", \"function\": {\"name\": \"f\", \"arguments\": {}}}]}, {\"role\": \"tool\", \"content\": \"t\"}, "
        "{\"role\": \"assistant\", \"content\": \"d\"}]}",
        AR_TRAIN_ON_COMPLETION, "<user>a<end><assistant><end><tool>t<end><assistant>[d<end><endoftext>]");
}

static int set_up(void **state) {
    (void)state;
    return ar_tokenizer_open(&tk, "demo/base", NULL) != AR_OK;
}

static int tear_down(void **state) {
    (void)state;
    ar_tokenizer_free(tk);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(turns_of_the_assistant_are_learned),
        cmocka_unit_test(messages_say_themselves_what_is_learned),
        cmocka_unit_test(rows_come_in_many_forms),
        cmocka_unit_test(turns_that_are_rewritten_are_learned_where_nothing_is_lost),
        cmocka_unit_test(turns_are_sought_where_they_are),
        cmocka_unit_test(long_conversations_are_like_short_ones),
        cmocka_unit_test(silence_is_learned_where_it_is_said),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
