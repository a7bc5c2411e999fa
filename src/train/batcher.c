#include "train/batcher.h"

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
    out->rows = ar__alloc(max_samples, sizeof *out->rows);
    out->ids = ar__alloc(max_tokens, sizeof *out->ids);
    out->targets = ar__alloc(max_tokens, sizeof *out->targets);
    out->start = ar__alloc(max_samples + 1, sizeof *out->start);
    out->key = ar__alloc(max_samples, sizeof *out->key);
    if (out->lengths && out->rows && out->ids && out->targets && out->start && out->key) return AR_OK;
    ar__batcher_release(out);
    return ar__fail_memory(err, "batches");
}

void ar__batcher_release(ar_batcher *b) {
    free(b->lengths);
    free(b->rows);
    free(b->ids);
    free(b->targets);
    free(b->start);
    free(b->key);
    *b = (ar_batcher){0};
}

size_t ar__batcher_begin(ar_batcher *b, const uint32_t *sample, int count, uint64_t first_key, size_t *tokens) {
    size_t supervised = 0, all = 0;
    b->sample = sample;
    b->count = count;
    b->first_key = first_key;
    b->next_row = 0;
    for (int i = 0; i < count; i++) {
        ar_sample s = ar__dataset_at(b->data, sample[i]);
        b->lengths[i] = s.count;
        supervised += (size_t)s.supervised;
        all += (size_t)s.count;
    }
    b->row_count = ar__pack_rows(b->rows, b->lengths, count, b->row_tokens, b->pack, b->pairs);
    if (tokens) *tokens = all;
    return supervised;
}

const ar_batch *ar__batcher_next(ar_batcher *b, const ar_pair_op *pairs) {
    if (b->next_row >= b->row_count) return NULL;
    int last_row = b->next_row + b->micro_rows < b->row_count ? b->next_row + b->micro_rows : b->row_count;
    int first = b->rows[b->next_row].first, end = b->rows[last_row - 1].first + b->rows[last_row - 1].count;
    size_t at = 0, samples = 0;
    for (int i = first; i < end; i++) {
        ar_sample s = ar__dataset_at(b->data, b->sample[i]);
        b->start[samples] = at;
        b->key[samples++] = b->first_key + (uint64_t)i;
        memcpy(b->ids + at, s.ids, (size_t)s.count * sizeof *b->ids);
        for (int q = 0; q < s.count; q++) b->targets[at + (size_t)q] = ar__sample_target(&s, q);
        at += (size_t)s.count;
    }
    b->start[samples] = at;
    b->first_sample = first;
    b->next_row = last_row;
    b->segment = (ar_segment){0, samples, pairs};
    b->batch =
        (ar_batch){.rows = {.count = at, .samples = samples, .start = b->start, .key = b->key, .segments = &b->segment, .segment_count = 1},
                   .ids = b->ids,
                   .targets = b->targets};
    return &b->batch;
}

double ar__mean_loss(ar_pass *p, ar_batcher *b, const ar_pair_op *pairs, size_t *tokens, size_t *supervised) {
    size_t n = ar__dataset_count(b->data), all = 0, targets = 0;
    double sum = 0.0, nll[256];
    uint32_t list[256];
    size_t take = ar__min(b->max_samples, 256);
    for (size_t at = 0; at < n; at += take) {
        int count = (int)ar__min(take, n - at);
        size_t part;
        for (int i = 0; i < count; i++) list[i] = (uint32_t)(at + (size_t)i);
        targets += ar__batcher_begin(b, list, count, 0, &part);
        all += part;
        for (const ar_batch *batch; (batch = ar__batcher_next(b, pairs));) {
            ar__pass_forward(p, batch, NULL);
            ar__pass_loss(p, batch, nll, NULL, 0.0f);
            for (size_t s = 0; s < batch->rows.samples; s++) sum += nll[s];
        }
    }
    if (tokens) *tokens = all;
    if (supervised) *supervised = targets;
    return sum / (double)targets;
}
