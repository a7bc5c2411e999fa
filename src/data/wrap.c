#include "data/wrap.h"

#include <string.h>

#define ALPACA_TASK "Below is an instruction that describes a task"
#define ALPACA_INPUT "\n\n### Input:\n"
#define ALPACA_RESPONSE "\n\n### Response:\n"
#define ALPACA_WRITE " Write a response that appropriately completes the request.\n\n### Instruction:\n"

static void wrap_alpaca(ar_buf *out, const char *text, size_t n, const char *input, size_t n_input) {
    ar__buf_puts(out, ALPACA_TASK);
    ar__buf_puts(out, n_input ? ", paired with an input that provides further context." ALPACA_WRITE : "." ALPACA_WRITE);
    ar__buf_add(out, text, n);
    if (n_input) {
        ar__buf_puts(out, ALPACA_INPUT);
        ar__buf_add(out, input, n_input);
    }
    ar__buf_puts(out, ALPACA_RESPONSE);
}

void ar__wrap(ar_buf *out, ar_data_kind kind, const char *text, size_t n, const char *input, size_t n_input) {
    if (kind == AR_DATA_ALPACA) {
        wrap_alpaca(out, text, n, input, n_input);
        return;
    }
    ar__buf_add(out, text, n);
    if (kind == AR_DATA_ANSWER) ar__buf_puts(out, "\n");
}

bool ar__is_wrapped(ar_data_kind kind, const char *text, size_t n) {
    const char *end = kind == AR_DATA_ALPACA ? ALPACA_RESPONSE : kind == AR_DATA_ANSWER ? "\n" : "";
    size_t size = strlen(end);
    return n >= size && !memcmp(text + n - size, end, size);
}

const char *ar__alpaca_text(void) {
    return ALPACA_TASK "[, paired with an input that provides further context]. Write a response that appropriately completes the request."
                       "\\n\\n### Instruction:\\n{instruction}[\\n\\n### Input:\\n{input}]\\n\\n### Response:\\n{output}";
}
