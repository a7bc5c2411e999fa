#include "train/batcher.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/size.h"

size_t ar__batcher_tokens(size_t longest, size_t max_samples, int row_tokens, int micro_rows, bool pack) {
    size_t row = longest;
    if (pack && row < (size_t)row_tokens) row = (size_t)row_tokens;
    return ar__min(row * (size_t)micro_rows, longest * max_samples);
}

ar_status ar__batcher_init(ar_batcher *out, const ar_dataset *data, size_t max_samples, size_t max_tokens, int row_tokens, int micro_rows,
                           bool pack, ar_error *err) {
    *out = (ar_batcher){.data = data,
                        .max_samples = max_samples,
                        .max_tokens = max_tokens,
                        .row_tokens = row_tokens,
                        .micro_rows = micro_rows,
                        .pack = pack};
    out->lengths = ar__alloc(max_samples, sizeof *out->lengths);
    out->owner = ar__alloc(max_samples, sizeof *out->owner);
    out->rows = ar__alloc(max_samples, sizeof *out->rows);
    out->ids = ar__alloc(max_tokens, sizeof *out->ids);
    out->targets = ar__alloc(max_tokens, sizeof *out->targets);
    out->start = ar__alloc(max_samples + 1, sizeof *out->start);
    out->key = ar__alloc(max_samples, sizeof *out->key);
    if (out->lengths && out->owner && out->rows && out->ids && out->targets && out->start && out->key) return AR_OK;
    ar__batcher_release(out);
    return ar__fail_memory(err, "batches");
}

void ar__batcher_release(ar_batcher *b) {
    free(b->lengths);
    free(b->owner);
    free(b->rows);
    free(b->ids);
    free(b->targets);
    free(b->start);
    free(b->key);
    *b = (ar_batcher){0};
}

void ar__batcher_begin(ar_batcher *b, ar_part *parts, size_t count) {
    int n = 0;
    for (size_t p = 0; p < count; p++) {
        ar_part *part = &parts[p];
        part->first = (size_t)n;
        part->tokens = part->supervised = 0;
        for (int i = 0; i < part->count; i++, n++) {
            ar_sample s = ar__dataset_at(b->data, part->sample[i]);
            b->lengths[n] = s.count;
            b->owner[n] = (uint32_t)p;
            part->supervised += (size_t)s.supervised;
            part->tokens += (size_t)s.count;
        }
    }
    assert((size_t)n <= b->max_samples);
    b->part = parts;
    b->count = n;
    b->next = b->next_row = 0;
    b->row_count = ar__pack_rows(b->rows, b->lengths, n, b->row_tokens, b->pack, b->pairs);
}

/* Whether sample i may come behind those of the batch: its segment is there, or there is room for it. */
static bool take_segment(ar_batcher *b, int i, size_t samples) {
    size_t n = b->batch.rows.segment_count, part = b->owner[i];
    if (!n || b->segment_part[n - 1] != part) {
        if (n == AR_SEGMENTS) return false;
        b->segment_part[n] = part;
        b->segments[n] = (ar_segment){samples, samples, b->part[part].pairs};
        b->batch.rows.segment_count = ++n;
    }
    b->segments[n - 1].last = samples + 1;
    return true;
}

const ar_batch *ar__batcher_next(ar_batcher *b) {
    if (b->next >= b->count) return NULL;
    int last_row = b->next_row + b->micro_rows < b->row_count ? b->next_row + b->micro_rows : b->row_count;
    int end = b->rows[last_row - 1].first + b->rows[last_row - 1].count, i = b->next;
    size_t at = 0, samples = 0;
    b->batch = (ar_batch){.rows = {.start = b->start, .key = b->key, .segments = b->segments}, .ids = b->ids, .targets = b->targets};
    for (; i < end && take_segment(b, i, samples); i++) {
        const ar_part *part = &b->part[b->owner[i]];
        size_t own = (size_t)i - part->first;
        ar_sample s = ar__dataset_at(b->data, part->sample[own]);
        b->start[samples] = at;
        b->key[samples++] = part->first_key + own;
        memcpy(b->ids + at, s.ids, (size_t)s.count * sizeof *b->ids);
        for (int q = 0; q < s.count; q++) b->targets[at + (size_t)q] = ar__sample_target(&s, q);
        at += (size_t)s.count;
    }
    b->start[samples] = at;
    b->batch.rows.count = at;
    b->batch.rows.samples = samples;
    b->first_sample = (size_t)b->next;
    b->next = i;
    while (b->next_row < b->row_count && b->rows[b->next_row].first + b->rows[b->next_row].count <= i) b->next_row++;
    return &b->batch;
}
