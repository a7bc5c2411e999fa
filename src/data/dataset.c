/* Layout: one pool of ids and one of marks; a sample is a range of both.
 *
 *     ids     | sample 0 | sample 1 |   sample 2   | …
 *     learned | 00011111 | 01111111 | 000000011111 | …
 *
 * Lines are taken in blocks: parsed and encoded by all threads, then added in file order by one, so that neither the
 * result nor the first error depends on the number of threads. */
#include "data/dataset.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "data/encode.h"

/* A block ends at so many lines or bytes; a longer sample's ids are not kept for reuse. */
enum { BLOCK = 2048, BLOCK_BYTES = 4 << 20, KEPT_IDS = 1 << 14 };

struct entry {
    size_t at, line;
    int count, supervised;
};

struct ar_dataset {
    int32_t *ids;
    uint8_t *learned;
    struct entry *entries;
    size_t ids_cap, learned_cap, entry_cap;
    size_t used, count;
    int longest;
};

/* One line on its way; reused from block to block. */
struct slot {
    ar_line line;
    ar_encoded encoded;
    ar_status status;
    ar_error error;
};

struct loader {
    ar_dataset *ds;
    ar_lines lines;
    const ar_tokenizer *tk;
    const ar_data_options *options;
    ar_data_stats stats;
    struct slot *slots; /* [BLOCK] */
    int32_t eos;
    bool alpaca_told;
    ar_error first_bad;
    size_t shortest_cut_prompt; /* of the samples that the cut emptied */
};

static ar_status reserve(ar_dataset *ds, size_t more, ar_error *err) {
    int32_t *ids = ar__grow(ds->ids, &ds->ids_cap, ds->used + more, sizeof *ids);
    if (ids) ds->ids = ids;
    uint8_t *learned = ar__grow(ds->learned, &ds->learned_cap, ds->used + more, sizeof *learned);
    if (learned) ds->learned = learned;
    struct entry *entries = ar__grow(ds->entries, &ds->entry_cap, ds->count + 1, sizeof *entries);
    if (entries) ds->entries = entries;
    return ids && learned && entries ? AR_OK : ar__fail_memory(err, "samples");
}

/* Adds the first `count` ids, of which those from `first` on are targets. */
static ar_status keep(struct loader *l, const struct slot *slot, size_t count, ar_error *err) {
    ar_dataset *ds = l->ds;
    size_t first = slot->encoded.first_target;
    ar_status s = reserve(ds, count, err);
    if (s) return s;
    memcpy(ds->ids + ds->used, slot->encoded.ids.id, count * sizeof *ds->ids);
    memset(ds->learned + ds->used, 0, first);
    memset(ds->learned + ds->used + first, 1, count - first);
    ds->entries[ds->count++] =
        (struct entry){.at = ds->used, .line = slot->line.number, .count = (int)count, .supervised = (int)(count - first)};
    ds->used += count;
    if ((int)count > ds->longest) ds->longest = (int)count;
    l->stats.tokens += count;
    l->stats.supervised += count - first;
    for (size_t i = 0; i < count; i++)
        if (slot->encoded.ids.id[i] > l->stats.max_id) l->stats.max_id = slot->encoded.ids.id[i];
    return AR_OK;
}

static void tell_alpaca(struct loader *l, ar_data_kind kind) {
    if (kind != AR_DATA_ALPACA || l->alpaca_told) return;
    l->alpaca_told = true;
    ar__log_info(l->options->log, "%s: instruction samples are written as: %s", l->lines.path, ar__parts_alpaca_text());
}

static ar_status add(struct loader *l, const struct slot *slot, ar_error *err) {
    size_t whole = slot->encoded.ids.count, limit = (size_t)l->options->max_length;
    size_t count = whole > limit ? limit : whole, first = slot->encoded.first_target;
    tell_alpaca(l, slot->encoded.kind);
    l->stats.cut += whole > limit;
    if (whole > l->stats.longest) l->stats.longest = whole;
    if (first < count) return keep(l, slot, count, err);
    l->stats.dropped++;
    if (first < whole) {
        l->stats.dropped_cut++;
        if (!l->shortest_cut_prompt || first < l->shortest_cut_prompt) l->shortest_cut_prompt = first;
    }
    return AR_OK;
}

/* A line that failed: the error of the whole load, or one more to skip. */
static ar_status refuse(struct loader *l, const struct slot *slot, ar_error *err) {
    char place[512];
    snprintf(place, sizeof place, "%s:%zu", l->lines.path, slot->line.number);
    ar_error e = slot->error;
    bool bad_line = slot->status == AR_ERR_FORMAT || slot->status == AR_ERR_VALUE;
    ar__fail_at(&e, bad_line ? AR_ERR_FORMAT : slot->status, place);
    if (bad_line && l->options->skip_bad) {
        if (!l->stats.bad++) l->first_bad = e;
        return AR_OK;
    }
    if (err) *err = e;
    return e.status;
}

static size_t fill(struct loader *l) {
    size_t n = 0, bytes = 0;
    for (; n < BLOCK && bytes < BLOCK_BYTES && ar__lines_next(&l->slots[n].line, &l->lines); n++) bytes += l->slots[n].line.size;
    return n;
}

static void encode_block(struct loader *l, int n) {
#pragma omp parallel for schedule(dynamic, 4) num_threads(l->options->threads > 1 ? l->options->threads : 1)
    for (int i = 0; i < n; i++) {
        struct slot *slot = &l->slots[i];
        slot->status = ar__encode(&slot->encoded, &slot->line, l->tk, l->eos, l->options->train_on_all, &slot->error);
    }
}

static ar_status read_all(struct loader *l, ar_error *err) {
    size_t n;
    while ((n = fill(l))) {
        encode_block(l, (int)n);
        l->stats.lines += n;
        for (size_t i = 0; i < n; i++) {
            ar_status s = l->slots[i].status ? refuse(l, &l->slots[i], err) : add(l, &l->slots[i], err);
            if (s) return s;
            if (l->slots[i].encoded.ids.cap > KEPT_IDS) ar_ids_release(&l->slots[i].encoded.ids);
        }
    }
    return AR_OK;
}

static ar_status check_left(const struct loader *l, ar_error *err) {
    const ar_data_stats *st = &l->stats;
    const char *path = l->lines.path;
    if (l->ds->count) return AR_OK;
    if (st->bad == st->lines)
        return ar__fail(err, AR_ERR_VALUE, "%s: all %zu lines are bad, wanted samples; the first: %.700s", path, st->lines,
                        l->first_bad.message);
    if (st->dropped_cut)
        return ar__fail(
            err, AR_ERR_VALUE,
            "%s: no sample is left of %zu: in %zu the prompt alone fills the %d tokens of --max-length, so that nothing is left "
            "to learn; raise it above %zu (the shortest of these prompts)",
            path, st->lines, st->dropped_cut, l->options->max_length, l->shortest_cut_prompt);
    return ar__fail(err, AR_ERR_VALUE, "%s: no sample is left of %zu: each is a single token, wanted at least two (one to learn)", path,
                    st->lines);
}

static void report(const struct loader *l) {
    const ar_data_stats *st = &l->stats;
    const ar_log *log = l->options->log;
    const char *path = l->lines.path;
    if (l->eos < 0)
        ar__log_warn(log,
                     "%s: neither the tokenizer nor the base names an end-of-sequence token: none is appended, so the model does not "
                     "learn to stop",
                     path);
    if (st->bad)
        ar__log_warn(log, "%s: %zu of %zu lines are bad and were skipped; the first: %s", path, st->bad, st->lines, l->first_bad.message);
    if (st->cut)
        ar__log_warn(log, "%s: %zu of %zu samples were cut at --max-length %d (the longest has %zu tokens)", path, st->cut,
                     st->lines - st->bad, l->options->max_length, st->longest);
    if (st->dropped)
        ar__log_warn(log, "%s: %zu of %zu samples were dropped: nothing is left to learn (in %zu the prompt alone fills --max-length)",
                     path, st->dropped, st->lines - st->bad, st->dropped_cut);
}

/* Gives back what doubling reserved too much; a refusal does not matter. */
static void trim(ar_dataset *ds) {
    int32_t *ids = realloc(ds->ids, ds->used * sizeof *ids);
    if (ids) ds->ids = ids;
    uint8_t *learned = realloc(ds->learned, ds->used);
    if (learned) ds->learned = learned;
}

static ar_status load(struct loader *l, const char *path, ar_error *err) {
    ar_status s = ar__lines_open(&l->lines, path, err);
    if (s) return s;
    l->ds = ar__alloc(1, sizeof *l->ds);
    l->slots = ar__alloc(BLOCK, sizeof *l->slots);
    if (!l->ds || !l->slots) s = ar__fail_memory(err, path);
    if (!s && !(s = read_all(l, err)) && !(s = check_left(l, err))) {
        report(l);
        trim(l->ds);
    }
    for (size_t i = 0; l->slots && i < BLOCK; i++) ar_ids_release(&l->slots[i].encoded.ids);
    free(l->slots);
    ar__lines_close(&l->lines);
    return s;
}

ar_status ar__dataset_load(ar_dataset **out, const char *path, const ar_tokenizer *tk, const ar_data_options *options, ar_data_stats *stats,
                           ar_error *err) {
    *out = NULL;
    if (options->max_length < 1) return ar__fail(err, AR_ERR_VALUE, "--max-length: found %d, wanted at least 1", options->max_length);
    int32_t eos = ar_tokenizer_eos(tk);
    struct loader l = {.tk = tk, .options = options, .eos = eos >= 0 ? eos : options->eos_id, .stats = {.max_id = -1}};
    ar_status s = load(&l, path, err);
    if (s) {
        ar__dataset_free(l.ds);
        return s;
    }
    if (stats) *stats = l.stats;
    *out = l.ds;
    return AR_OK;
}

void ar__dataset_free(ar_dataset *ds) {
    if (!ds) return;
    free(ds->ids);
    free(ds->learned);
    free(ds->entries);
    free(ds);
}

size_t ar__dataset_count(const ar_dataset *ds) { return ds->count; }

ar_sample ar__dataset_at(const ar_dataset *ds, size_t i) {
    assert(i < ds->count);
    const struct entry *e = &ds->entries[i];
    return (ar_sample){
        .ids = ds->ids + e->at, .learned = ds->learned + e->at, .count = e->count, .supervised = e->supervised, .line = e->line};
}

int ar__dataset_longest(const ar_dataset *ds) { return ds->longest; }
