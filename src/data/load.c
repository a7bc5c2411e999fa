/* Reading samples, or finding them good.  Lines are taken in blocks, worked on by all threads, then added in file
 * order by one, so that neither the result nor the first error depends on the number of threads. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fail.h"
#include "data/reader.h"
#include "data/wrap.h"

enum { CHUNK_IDS = 1 << 16 };

/* Room for `count` ids and marks: ids first, marks behind them. */
static ar_chunk *room(ar_dataset *ds, size_t count) {
    ar_chunk *c = ds->chunks;
    if (c && c->cap - c->used >= count) return c;
    size_t cap = count > CHUNK_IDS ? count : CHUNK_IDS;
    c = malloc(sizeof *c + cap * (sizeof *c->ids + sizeof *c->learned)); /* count < 2^31 */
    if (!c) return NULL;
    *c = (ar_chunk){.next = ds->chunks, .ids = (int32_t *)(c + 1), .cap = cap};
    c->learned = (uint8_t *)(c->ids + cap);
    ds->chunks = c;
    return c;
}

/* Targets among the first `count` ids; learned [count] is filled where it is not NULL. */
static size_t mark(uint8_t *learned, const ar_encoded *e, size_t count) {
    size_t targets = 0;
    for (size_t i = 0; i < count; i++) {
        bool target = e->marked ? e->marks.data[i] : i >= e->first_target;
        if (learned) learned[i] = target;
        targets += target;
    }
    return targets;
}

static ar_status put(ar_reader *r, ar_entry *entry, const ar_encoded *encoded, size_t count, size_t line, ar_error *err) {
    ar_chunk *c = room(r->ds, count);
    if (!c) return ar__fail_memory(err, "samples");
    int32_t *ids = c->ids + c->used;
    uint8_t *learned = c->learned + c->used;
    memcpy(ids, encoded->ids.id, count * sizeof *ids);
    size_t targets = mark(learned, encoded, count);
    c->used += count;
    entry->learned = learned;
    entry->line = line;
    entry->count = (int)count;
    entry->supervised = (int)targets;
    r->stats.tokens += count;
    r->stats.supervised += targets;
    for (size_t i = 0; i < count; i++)
        if (ids[i] > r->stats.max_id) r->stats.max_id = ids[i];
    entry->ids = ids;
    return AR_OK;
}

static size_t kept_of(const ar_reader *r, const ar_encoded *e) {
    size_t limit = (size_t)r->options.max_length;
    return e->ids.count > limit ? limit : e->ids.count;
}

static bool learns(const ar_reader *r, const ar_encoded *e) { return e->first_target < kept_of(r, e); }

static void see_odd(ar_reader *r, const ar_odd *odd, size_t line) {
    ar_data_stats *st = &r->stats;
    if (*odd->role && !st->roles++) {
        memcpy(r->role, odd->role, sizeof r->role);
        r->role_line = line;
    }
    if (odd->empty && !st->empty) r->empty_line = line;
    st->empty += odd->empty;
    st->unwritten += odd->unwritten;
}

static void see(ar_reader *r, const ar_encoded *e, bool kept, size_t line) {
    size_t whole = e->ids.count, count = kept_of(r, e);
    r->stats.cut += whole > count;
    r->stats.own_bos += e->own_bos;
    r->stats.rewritten += e->rewritten;
    see_odd(r, &e->odd, line);
    if (whole > r->stats.longest) r->stats.longest = whole;
    if (r->options.on_sample && !r->enough) r->enough = !r->options.on_sample(r->options.user, e, kept ? count : 0, r->at, line);
}

static void drop(ar_reader *r, const ar_encoded *e) {
    size_t first = e->first_target;
    r->stats.dropped++;
    if (first >= e->ids.count) return;
    r->stats.dropped_cut++;
    if (!r->shortest_cut_prompt || first < r->shortest_cut_prompt) r->shortest_cut_prompt = first;
}

ar_status ar__reader_store(ar_reader *r, ar_entry *entry, const ar_encoded *encoded, const ar_encoded *rejected, size_t line, bool *kept,
                           ar_error *err) {
    r->stats.pairs += rejected != NULL;
    *kept = learns(r, encoded) && (!rejected || learns(r, rejected));
    see(r, encoded, *kept, line);
    if (rejected) see(r, rejected, *kept, line);
    if (!*kept) {
        drop(r, learns(r, encoded) ? rejected : encoded);
        return AR_OK;
    }
    ar_status s = rejected ? put(r, entry + 1, rejected, kept_of(r, rejected), line, err) : AR_OK;
    return s ? s : put(r, entry, encoded, kept_of(r, encoded), line, err);
}

static void tell_alpaca(ar_reader *r, ar_data_kind kind) {
    if (kind != AR_DATA_ALPACA || r->alpaca_told) return;
    r->alpaca_told = true;
    ar__log_info(r->options.log, "%s: instruction samples are written as: %s", r->name, ar__alpaca_text());
}

static ar_status reserve(ar_reader *r, size_t more, ar_error *err) {
    ar_dataset *ds = r->ds;
    ar_entry *entries = ar__grow(ds->entries, &ds->entry_cap, ds->count + more, sizeof *entries);
    if (entries) ds->entries = entries;
    if (!entries || !r->ahead) return entries ? AR_OK : ar__fail_memory(err, "samples");
    ar_pending *pending = ar__grow(r->pending, &r->pending_cap, ds->count + 1, sizeof *pending);
    if (pending) r->pending = pending;
    return pending ? AR_OK : ar__fail_memory(err, "samples");
}

static ar_pending pending_of(ar_reader *r, const ar_slot *slot) {
    const ar_line *l = &slot->line;
    size_t likely = l->size / 2; /* two bytes of text rarely make more than a token */
    r->pending_tokens += likely < slot->most ? likely : slot->most;
    return (ar_pending){(uint64_t)(l->text - (const char *)r->lines.map.data), l->size, l->number, (uint32_t)slot->most, l->file};
}

/* Of a comparison, the second sample. */
static const ar_encoded *rejected_of(const ar_slot *slot) {
    return !slot->sure && slot->encoded.half == AR_HALF_CHOSEN ? &slot->rejected : NULL;
}

static ar_status add(ar_reader *r, const ar_slot *slot, ar_error *err) {
    ar_dataset *ds = r->ds;
    const ar_encoded *rejected = rejected_of(slot);
    bool kept = true;
    ar_data_kind kind = slot->sure ? slot->kind : slot->encoded.kind;
    tell_alpaca(r, kind);
    ds->kinds |= 1u << kind;
    r->mapped |= slot->sure ? slot->mapped : slot->encoded.mapped;
    ar_status s = reserve(r, rejected ? 2 : 1, err);
    if (!s && !slot->sure) s = ar__reader_store(r, &ds->entries[ds->count], &slot->encoded, rejected, slot->line.number, &kept, err);
    if (s || !kept) return s;
    if (r->ahead) r->pending[ds->count] = slot->sure ? pending_of(r, slot) : (ar_pending){0};
    for (size_t end = ds->count + (rejected ? 2 : 1); ds->count < end; ds->count++)
        if (!slot->sure && ds->entries[ds->count].count > ds->longest) ds->longest = ds->entries[ds->count].count;
    return AR_OK;
}

void ar__reader_place(ar_error *e, const ar_reader *r, ar_status status, size_t file, size_t line) {
    char place[512];
    snprintf(place, sizeof place, "%s:%zu", file < r->paths.count ? r->paths.at[file] : AR_MEMORY_NAME, line);
    ar__fail_at(e, status, place);
}

/* A line that failed: the error of the whole load, or one more to skip. */
static ar_status refuse(ar_reader *r, const ar_slot *slot, ar_error *err) {
    ar_error e = slot->error;
    bool bad_line = slot->status == AR_ERR_FORMAT || slot->status == AR_ERR_VALUE;
    ar__reader_place(&e, r, bad_line ? AR_ERR_FORMAT : slot->status, slot->line.file, slot->line.number);
    if (bad_line && r->options.skip_bad) {
        if (!r->stats.bad++) r->first_bad = e;
        if (r->options.on_bad) r->options.on_bad(r->options.user, &e);
        return AR_OK;
    }
    if (err) *err = e;
    return e.status;
}

/* The next lines of the file at work. */
static size_t fill(ar_reader *r, size_t file) {
    size_t n = 0, bytes = 0;
    while (n < AR_BLOCK && bytes < AR_BLOCK_BYTES && ar__lines_next(&r->slots[n].line, &r->lines)) {
        ar_slot *slot = &r->slots[n];
        ar_chosen chosen = ar__chooser_take(&r->chooser, &slot->line);
        if (chosen == AR_LEFT_OUT) continue;
        slot->memory = NULL;
        slot->for_length = chosen == AR_CHOSEN_FOR_LENGTH;
        slot->line.file = (uint32_t)file;
        bytes += slot->line.size;
        n++;
    }
    return n;
}

static size_t fill_memory(ar_reader *r, size_t at) {
    size_t n = 0;
    for (; n < AR_BLOCK && at + n < r->sample_count; n++) {
        r->slots[n].memory = &r->samples[at + n];
        r->slots[n].for_length = false;
        r->slots[n].line = (ar_line){.number = at + n + 1, .file = (uint32_t)r->paths.count};
    }
    return n;
}

static void work_block(ar_reader *r, int n) {
#pragma omp parallel for schedule(dynamic, 4) num_threads(r->options.threads > 1 ? r->options.threads : 1)
    for (int i = 0; i < n; i++) {
        ar_slot *slot = &r->slots[i];
        slot->status = AR_OK;
        slot->sure = r->ahead && !slot->memory && ar__lines_are_mapped(&r->lines) && ar__ahead_is_sure(slot, r);
        if (slot->sure) continue;
        slot->status = slot->memory ? ar__encode_memory(&slot->encoded, &slot->rejected, slot->memory, &r->how, &slot->error)
                                    : ar__encode(&slot->encoded, &slot->rejected, &slot->line, &r->how, &slot->error);
    }
}

static void see_length(ar_reader *r, const ar_encoded *e) {
    size_t count = kept_of(r, e);
    if (e->ids.count > r->stats.longest) r->stats.longest = e->ids.count;
    if (mark(NULL, e, count) && (int)count > r->ds->longest) r->ds->longest = (int)count;
}

static ar_status take_block(ar_reader *r, size_t n, ar_error *err) {
    work_block(r, (int)n);
    for (size_t i = 0; i < n; i++) {
        if (r->slots[i].for_length) {
            const ar_encoded *rejected = rejected_of(&r->slots[i]);
            if (!r->slots[i].status) see_length(r, &r->slots[i].encoded);
            if (!r->slots[i].status && rejected) see_length(r, rejected);
            continue;
        }
        r->stats.lines++;
        ar_status s = r->slots[i].status ? refuse(r, &r->slots[i], err) : add(r, &r->slots[i], err);
        if (s) return s;
        if (r->slots[i].encoded.ids.cap > AR_KEPT_IDS) ar__encoded_release(&r->slots[i].encoded);
        if (r->slots[i].rejected.ids.cap > AR_KEPT_IDS) ar__encoded_release(&r->slots[i].rejected);
    }
    return AR_OK;
}

static ar_status read_file(ar_reader *r, size_t file, ar_error *err) {
    ar_status s = ar__lines_open(&r->lines, r->paths.at[file], &r->input, r->options.seed, err);
    if (s) return s;
    r->at = r->paths.at[file];
    if (r->ahead && ar__lines_are_mapped(&r->lines) && (r->files[file] = open(r->lines.file, O_RDONLY | O_CLOEXEC)) < 0)
        s = ar__fail(err, AR_ERR_IO, "%s: %s", r->paths.at[file], strerror(errno));
    for (size_t n; !s && (n = fill(r, file));) s = take_block(r, n, err);
    ar__lines_close(&r->lines);
    return s;
}

ar_status ar__reader_read(ar_reader *r, ar_error *err) {
    ar_status s = AR_OK;
    for (size_t i = 0; !s && i < r->paths.count; i++) s = read_file(r, i, err);
    for (size_t at = 0, n; !s && (n = fill_memory(r, at)); at += n) s = take_block(r, n, err);
    return s;
}
