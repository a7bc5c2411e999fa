/* What may be meant otherwise about templates and rows, said once. */
#include <string.h>

#include "base/log.h"
#include "data/chat.h"

/* The next <|…|> of a template from *at on; false: none. */
static bool next_mark(char mark[48], const char *source, size_t *at) {
    for (const char *s; (s = strstr(source + *at, "<|")) != NULL; *at = (size_t)(s + 2 - source)) {
        size_t n = 2 + strcspn(s + 2, "|<>'\" \n{}");
        if (n > 2 && n + 3 <= sizeof(char[48]) && s[n] == '|' && s[n + 1] == '>') {
            memcpy(mark, s, n + 2);
            mark[n + 2] = '\0';
            *at = (size_t)(s + n + 2 - source);
            return true;
        }
    }
    return false;
}

static void remark_marks(const ar_chat_template *t, const ar_tokenizer *tk, const ar_log *log) {
    char mark[48];
    for (size_t at = 0; next_mark(mark, t->source, &at);)
        if (ar_tokenizer_find(tk, mark) < 0) {
            ar__log_warn(log, "the chat template writes '%s', which is no token of this tokenizer: it is learned letter by letter", mark);
            return;
        }
}

void ar__chat_remark(const ar_chat *c, const ar_tokenizer *tk, ar_data_kind kind, const ar_log *log) {
    bool pairs = kind == AR_DATA_COMPLETION || kind == AR_DATA_ANSWER || kind == AR_DATA_ALPACA;
    if (!c || c->broken) return;
    if (pairs)
        ar__log_info(log, "these rows are learned as plain text, though the base has a chat template: --template %s writes them with it",
                     c->of[c->standard].name);
    if (kind == AR_DATA_MESSAGES) remark_marks(&c->of[c->standard], tk, log);
}
