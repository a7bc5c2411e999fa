/* Training data: the first byte says what the file is (c: CSV, t: TSV, else JSON), the rest is its content.  Rows are read with a chat
 * template at hand, bad ones left out, and looked at as `alphar data` does.  The tokenizer is the demo's. */
#include <stdio.h>
#include <string.h>

#include "data/dataset.h"
#include "fuzz.h"

static ar_tokenizer *tk;
static ar_chat *chat;

static bool look(void *user, const ar_encoded *e, size_t kept, const char *file, size_t line) {
    (void)user, (void)file, (void)line;
    fuzz_check(kept <= e->ids.count, "more is kept than there is");
    fuzz_check(!e->marked || e->marks.len == e->ids.count, "each token is learned or not");
    fuzz_touch(e->marks.data, e->marks.len);
    fuzz_touch(e->ids.id, e->ids.count * sizeof *e->ids.id);
    return true;
}

static void open_once(void) {
    fuzz_check(!ar_tokenizer_open(&tk, "demo/base", NULL), "the demo's tokenizer opens");
    fuzz_check(!ar__chat_open(&chat, "demo/base", "chatml", tk, NULL), "chatml is built in");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char *const names[] = {"rows.jsonl", "rows.csv", "rows.tsv"};
    static const ar_log silence = {0};
    if (!tk) open_once();
    if (!size || memchr(data, 0, size)) return 0; /* a folder's files are parted by NUL */
    const char *name = names[data[0] == 'c' ? 1 : data[0] == 't' ? 2 : 0];
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", fuzz_folder(data + 1, size - 1, &name, 1), name);
    ar_data_options d = {.max_length = 256,
                         .seed = 1,
                         .threads = 1,
                         .skip_bad = true,
                         .log = &silence,
                         .eos_id = -1,
                         .rows = AR_ROWS_ANY,
                         .chat = chat,
                         .chat_for_plain = true,
                         .keep_text = true,
                         .on_sample = look};
    ar_data_stats stats;
    ar_dataset *ds;
    if (!ar__dataset_load(&ds, &(ar_data_source){.files = {(const char *const[]){path}, 1}}, tk, &d, &stats, NULL)) ar__dataset_free(ds);
    return 0;
}
