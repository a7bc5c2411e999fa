#include "data/choose.h"

#include "base/rng.h"

enum { MOST_LINES = 4000, LEAST_LINES = 32, LONGEST = 8 };

static size_t place(const ar_chooser *c, size_t stretch) {
    ar_rng rng = ar__rng_stream(1, AR_RNG_SAMPLE, 0, 0);
    size_t at = (size_t)(((double)stretch + ar__rng_uniform(&rng, stretch)) * (double)c->total / (double)c->want);
    return at < c->total ? at : c->total - 1;
}

/* Keeps the LONGEST sizes, the least of them first. */
static void keep_long(size_t *longest, size_t size) {
    if (size <= longest[0]) return;
    int i = 0;
    for (; i + 1 < LONGEST && longest[i + 1] < size; i++) longest[i] = longest[i + 1];
    longest[i] = size;
}

ar_status ar__chooser_init(ar_chooser *out, const ar_strings *paths, const ar_buf *input, uint64_t seed, size_t bytes, ar_error *err) {
    size_t longest[LONGEST] = {0}, sum = 0;
    *out = (ar_chooser){0};
    for (size_t i = 0; i < paths->count; i++) {
        ar_lines lines;
        ar_line line;
        ar_status s = ar__lines_open(&lines, paths->at[i], input, seed, err);
        if (s) return s;
        for (; ar__lines_next(&line, &lines); out->total++) {
            sum += line.size;
            keep_long(longest, line.size);
        }
        ar__lines_close(&lines);
    }
    if (sum <= bytes) return AR_OK;
    size_t want = bytes / 2 / (sum / out->total + 1);
    out->want = want > MOST_LINES ? MOST_LINES : want < LEAST_LINES ? LEAST_LINES : want;
    if (out->want >= out->total) out->want = 0;
    out->long_from = longest[0];
    out->shortest_left = true;
    out->next = out->want ? place(out, 0) : 0;
    return AR_OK;
}

ar_chosen ar__chooser_take(ar_chooser *c, const ar_line *line) {
    if (!c->want) return AR_CHOSEN;
    size_t at = c->at++;
    if (at == c->next) {
        do c->next = ++c->stretch < c->want ? place(c, c->stretch) : SIZE_MAX;
        while (c->next <= at);
        return AR_CHOSEN;
    }
    if (line->size < c->long_from || (line->size == c->long_from && !c->shortest_left)) return AR_LEFT_OUT;
    if (line->size == c->long_from) c->shortest_left = false; /* many may have that length */
    return AR_CHOSEN_FOR_LENGTH;
}
