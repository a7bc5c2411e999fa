#include "data/preference.h"

#include <string.h>

#include "base/fail.h"

bool ar__preference_is_in(const json_t *row, const ar_form *f) {
    return ar__row_value(row, f, AR_FIELD_CHOSEN) && ar__row_value(row, f, AR_FIELD_REJECTED);
}

static bool is_message(const json_t *v) { return json_is_array(v) || json_is_object(v); }

bool ar__preference_has_messages(const json_t *row, const ar_form *f) {
    return f->turns || is_message(ar__row_value(row, f, AR_FIELD_PROMPT)) || is_message(ar__row_value(row, f, AR_FIELD_CHOSEN)) ||
           is_message(ar__row_value(row, f, AR_FIELD_REJECTED));
}

ar_status ar__preference_no_prompt(const json_t *row, const ar_form *f, ar_error *err) {
    const char *text = json_string_value(ar__row_value(row, f, AR_FIELD_CHOSEN));
    bool speakers = text && !strncmp(text, "\n\nHuman:", 8);
    return ar__fail(err, AR_ERR_FORMAT, "found '%s' and '%s' without a prompt, wanted one: %s--map prompt=FIELD names its field",
                    f->field[AR_FIELD_CHOSEN], f->field[AR_FIELD_REJECTED],
                    speakers ? "texts of several speakers (Human:, Assistant:) are not taken apart; make messages of them, or " : "");
}

/* ---- whole conversations ---------------------------------------------------------------------------------------------*/

static bool begins_with(const json_t *list, const json_t *prompt) {
    size_t n = json_array_size(prompt);
    if (!json_is_array(list) || !json_is_array(prompt) || !n || json_array_size(list) <= n) return false;
    for (size_t i = 0; i < n; i++)
        if (!json_equal(json_array_get(list, i), json_array_get(prompt, i))) return false;
    return true;
}

/* Messages that both begin with; each keeps one behind them. */
static size_t common_messages(const ar_conversation *a, const ar_conversation *b) {
    size_t n = a->count < b->count ? a->count : b->count, i = 0;
    while (i + 1 < n && json_equal(json_array_get(a->messages, i), json_array_get(b->messages, i))) i++;
    return i;
}

/* A prompt beside whole conversations repeats what one of their first messages says. */
static bool says(const ar_conversation *c, size_t count, const json_t *prompt) {
    for (size_t i = 0; i < count; i++)
        if (json_equal(json_object_get(json_array_get(c->messages, i), "content"), prompt)) return true;
    return false;
}

static bool is_answer(const ar_conversation *c, size_t i) { return ar__message_is_from(json_array_get(c->messages, i), "assistant"); }

static ar_status unlearn_common(ar_conversation *a, ar_conversation *b, const json_t *prompt, const ar_form *f, ar_error *err) {
    size_t n = common_messages(a, b);
    if (a->count != b->count && json_equal(json_array_get(a->messages, n), json_array_get(b->messages, n)))
        return ar__fail(err, AR_ERR_FORMAT, "one of '%s' and '%s' begins the other, wanted two answers at the place where they part",
                        f->field[AR_FIELD_CHOSEN], f->field[AR_FIELD_REJECTED]);
    if (!n)
        return ar__fail(err, AR_ERR_FORMAT, "'%s' and '%s' begin with different messages, wanted the same prompt in front of both",
                        f->field[AR_FIELD_CHOSEN], f->field[AR_FIELD_REJECTED]);
    if (!is_answer(a, n) || !is_answer(b, n))
        return ar__fail(err, AR_ERR_FORMAT, "'%s' and '%s' part at message %zu, wanted an answer of the assistant there",
                        f->field[AR_FIELD_CHOSEN], f->field[AR_FIELD_REJECTED], n + 1);
    if (json_is_string(prompt) && !says(a, n, prompt))
        return ar__fail(err, AR_ERR_FORMAT,
                        "'%s' is none of the messages that both conversations begin with; --ignore-fields %s reads these alone",
                        f->field[AR_FIELD_PROMPT], f->field[AR_FIELD_PROMPT]);
    memset(a->learn, 0, n);
    memset(b->learn, 0, n);
    a->given = b->given = true;
    return AR_OK;
}

static ar_status read_both(ar_conversation *chosen, ar_conversation *rejected, const json_t *row, const ar_form *f, const json_t *prompt,
                           ar_error *err) {
    ar_status s = ar__conversation_of_halves(chosen, row, f, prompt, AR_FIELD_CHOSEN, err);
    return s ? s : ar__conversation_of_halves(rejected, row, f, prompt, AR_FIELD_REJECTED, err);
}

ar_status ar__preference_read(ar_conversation *chosen, ar_conversation *rejected, const json_t *row, const ar_form *f, ar_error *err) {
    const json_t *prompt = ar__row_value(row, f, AR_FIELD_PROMPT);
    const json_t *a = ar__row_value(row, f, AR_FIELD_CHOSEN), *b = ar__row_value(row, f, AR_FIELD_REJECTED);
    bool lists = json_is_array(a) && json_is_array(b);
    if (json_is_array(a) != json_is_array(b))
        return ar__fail(err, AR_ERR_FORMAT, "'%s' and '%s': found a list of messages and something else, wanted both alike",
                        f->field[AR_FIELD_CHOSEN], f->field[AR_FIELD_REJECTED]);
    *chosen = *rejected = (ar_conversation){0};
    if (!prompt && !lists) return ar__preference_no_prompt(row, f, err);
    if (!lists || (json_is_array(prompt) && !(begins_with(a, prompt) && begins_with(b, prompt))))
        return read_both(chosen, rejected, row, f, prompt, err);
    ar_status s = read_both(chosen, rejected, row, f, NULL, err);
    if (s || !prompt || !is_answer(chosen, 0)) return s ? s : unlearn_common(chosen, rejected, prompt, f, err);
    ar__conversation_release(chosen);
    ar__conversation_release(rejected);
    return read_both(chosen, rejected, row, f, prompt, err);
}
