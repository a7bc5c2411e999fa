/* Reading a file of samples, or finding it good.  Lines are taken in blocks, worked on by all threads, then added in file
 * order by one, so that neither the result nor the first error depends on the number of threads. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fail.h"
#include "data/reader.h"

enum { CHUNK_IDS = 1 << 16 };
#define MEMORY "samples" /* stands for a file's name */

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
        bool target = e->marked ? e->marks[i] : i >= e->first_target;
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

ar_status ar__reader_store(ar_reader *r, ar_entry *entry, const ar_encoded *encoded, size_t line, bool *kept, ar_error *err) {
    size_t whole = encoded->ids.count, limit = (size_t)r->options.max_length;
    size_t count = whole > limit ? limit : whole, first = encoded->first_target;
    r->stats.cut += whole > limit;
    r->stats.own_bos += encoded->own_bos;
    if (whole > r->stats.longest) r->stats.longest = whole;
    *kept = first < count;
    if (*kept) return put(r, entry, encoded, count, line, err);
    r->stats.dropped++;
    if (first < whole) {
        r->stats.dropped_cut++;
        if (!r->shortest_cut_prompt || first < r->shortest_cut_prompt) r->shortest_cut_prompt = first;
    }
    return AR_OK;
}

static void tell_alpaca(ar_reader *r, ar_data_kind kind) {
    if (kind != AR_DATA_ALPACA || r->alpaca_told) return;
    r->alpaca_told = true;
    ar__log_info(r->options.log, "%s: instruction samples are written as: %s", r->name, ar__parts_alpaca_text());
}

static ar_status reserve(ar_reader *r, ar_error *err) {
    ar_dataset *ds = r->ds;
    ar_entry *entries = ar__grow(ds->entries, &ds->entry_cap, ds->count + 1, sizeof *entries);
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

static ar_status add(ar_reader *r, const ar_slot *slot, ar_error *err) {
    ar_dataset *ds = r->ds;
    bool kept = true;
    ar_data_kind kind = slot->sure ? slot->kind : slot->encoded.kind;
    tell_alpaca(r, kind);
    ds->kinds |= 1u << kind;
    r->mapped |= slot->sure ? slot->mapped : slot->encoded.mapped;
    ar_status s = reserve(r, err);
    if (!s && !slot->sure) s = ar__reader_store(r, &ds->entries[ds->count], &slot->encoded, slot->line.number, &kept, err);
    if (s || !kept) return s;
    if (r->ahead) r->pending[ds->count] = slot->sure ? pending_of(r, slot) : (ar_pending){0};
    if (!slot->sure && ds->entries[ds->count].count > ds->longest) ds->longest = ds->entries[ds->count].count;
    ds->count++;
    return AR_OK;
}

void ar__reader_place(ar_error *e, const ar_reader *r, ar_status status, size_t file, size_t line) {
    char place[512];
    snprintf(place, sizeof place, "%s:%zu", file < r->paths.count ? r->paths.at[file] : MEMORY, line);
    ar__fail_at(e, status, place);
}

/* A line that failed: the error of the whole load, or one more to skip. */
static ar_status refuse(ar_reader *r, const ar_slot *slot, ar_error *err) {
    ar_error e = slot->error;
    bool bad_line = slot->status == AR_ERR_FORMAT || slot->status == AR_ERR_VALUE;
    ar__reader_place(&e, r, bad_line ? AR_ERR_FORMAT : slot->status, slot->line.file, slot->line.number);
    if (bad_line && r->options.skip_bad) {
        if (!r->stats.bad++) r->first_bad = e;
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
    const ar_data_more *m = &r->options.more;
    size_t n = 0;
    for (; n < AR_BLOCK && at + n < m->sample_count; n++) {
        r->slots[n].memory = &m->samples[at + n];
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
        slot->sure = r->ahead && !slot->memory && ar__ahead_is_sure(slot, r);
        if (slot->sure) continue;
        slot->status = slot->memory ? ar__encode_memory(&slot->encoded, slot->memory, &r->how, &slot->error)
                                    : ar__encode(&slot->encoded, &slot->line, &r->how, &slot->error);
    }
}

static void see_length(ar_reader *r, const ar_slot *slot) {
    const ar_encoded *e = &slot->encoded;
    size_t limit = (size_t)r->options.max_length, count = e->ids.count < limit ? e->ids.count : limit;
    if (slot->status) return;
    if (e->ids.count > r->stats.longest) r->stats.longest = e->ids.count;
    if (mark(NULL, e, count) && (int)count > r->ds->longest) r->ds->longest = (int)count;
}

static ar_status take_block(ar_reader *r, size_t n, ar_error *err) {
    work_block(r, (int)n);
    for (size_t i = 0; i < n; i++) {
        if (r->slots[i].for_length) {
            see_length(r, &r->slots[i]);
            continue;
        }
        r->stats.lines++;
        ar_status s = r->slots[i].status ? refuse(r, &r->slots[i], err) : add(r, &r->slots[i], err);
        if (s) return s;
        if (r->slots[i].encoded.ids.cap > AR_KEPT_IDS) ar__encoded_release(&r->slots[i].encoded);
    }
    return AR_OK;
}

static ar_status read_file(ar_reader *r, size_t file, ar_error *err) {
    ar_status s = ar__lines_open(&r->lines, r->paths.at[file], err);
    if (s) return s;
    if (r->ahead && (r->files[file] = open(r->paths.at[file], O_RDONLY | O_CLOEXEC)) < 0)
        s = ar__fail(err, AR_ERR_IO, "%s: %s", r->paths.at[file], strerror(errno));
    for (size_t n; !s && (n = fill(r, file));) s = take_block(r, n, err);
    ar__lines_close(&r->lines);
    return s;
}

static ar_status read_all(ar_reader *r, ar_error *err) {
    ar_status s = AR_OK;
    for (size_t i = 0; !s && i < r->paths.count; i++) s = read_file(r, i, err);
    for (size_t at = 0, n; !s && (n = fill_memory(r, at)); at += n) s = take_block(r, n, err);
    return s;
}

static ar_status check_left(const ar_reader *r, ar_error *err) {
    const ar_data_stats *st = &r->stats;
    const char *path = r->name;
    if (r->ds->count) return AR_OK;
    if (st->bad == st->lines)
        return ar__fail(err, AR_ERR_VALUE, "%s: all %zu lines are bad, wanted samples; the first: %.700s", path, st->lines,
                        r->first_bad.message);
    if (st->dropped_cut)
        return ar__fail(
            err, AR_ERR_VALUE,
            "%s: no sample is left of %zu: in %zu the prompt alone fills the %d tokens of --max-length, so that nothing is left "
            "to learn; raise it above %zu (the shortest of these prompts)",
            path, st->lines, st->dropped_cut, r->options.max_length, r->shortest_cut_prompt);
    return ar__fail(err, AR_ERR_VALUE, "%s: no sample is left of %zu: each is a single token, wanted at least two (one to learn)", path,
                    st->lines);
}

static const char *looked_at(const ar_data_stats *st) { return st->all_lines ? " looked at" : ""; }

static void report(const ar_reader *r) {
    const ar_data_stats *st = &r->stats;
    const ar_log *log = r->options.log;
    const char *path = r->name;
    if (r->how.eos < 0)
        ar__log_warn(log,
                     "%s: neither the tokenizer nor the base names an end-of-sequence token: none is appended, so the model does not "
                     "learn to stop",
                     path);
    if (st->bad)
        ar__log_warn(log, "%s: %zu of %zu lines%s are bad and were skipped; the first: %s", path, st->bad, st->lines, looked_at(st),
                     r->first_bad.message);
    if (st->dropped)
        ar__log_warn(log, "%s: %zu of %zu samples%s were dropped: nothing is left to learn (in %zu the prompt alone fills --max-length)",
                     path, st->dropped, st->lines - st->bad, looked_at(st), st->dropped_cut);
}

void ar__reader_report_read(const ar_reader *r) {
    const ar_data_stats *st = &r->stats;
    if (st->own_bos)
        ar__log_info(r->options.log, "%s: %zu of %zu samples%s begin with the tokenizer's BOS themselves; no second one is added", r->name,
                     st->own_bos, st->lines - st->bad, looked_at(st));
    if (st->cut)
        ar__log_warn(r->options.log, "%s: %zu of %zu samples%s were cut at --max-length %d (the longest has %zu tokens)", r->name, st->cut,
                     st->lines - st->bad, looked_at(st), r->options.max_length, st->longest);
}

static void release_slots(ar_reader *r) {
    for (size_t i = 0; r->slots && i < AR_BLOCK; i++) ar__encoded_release(&r->slots[i].encoded);
    free(r->slots);
    r->slots = NULL;
}

void ar__late_release(ar_late *l) {
    ar__encoded_release(&l->encoded);
    free(l->text);
    *l = (ar_late){0};
}

void ar__reader_free(ar_reader *r) {
    if (!r) return;
    r->stop = true;
    if (r->started) pthread_join(r->thread, NULL);
    release_slots(r);
    ar__late_release(&r->asked);
    for (size_t i = 0; r->files && i < r->paths.count; i++)
        if (r->files[i] >= 0) close(r->files[i]);
    pthread_mutex_destroy(&r->lock);
    free(r->files);
    free(r->pending);
    ar__strings_release(&r->paths);
    ar__form_release(&r->form);
    free(r->name);
    free(r);
}

static uint64_t bytes_of(const ar_strings *paths) {
    uint64_t sum = 0;
    struct stat st;
    for (size_t i = 0; i < paths->count; i++)
        if (!stat(paths->at[i], &st) && st.st_size > 0) sum += (uint64_t)st.st_size;
    return sum;
}

/* Whether the files are to be read ahead: they are large, and their lines and ids can be judged without the tokenizer. */
static void decide(ar_reader *r) {
    const ar_data_options *o = &r->options;
    if (!o->ahead_bytes || bytes_of(&r->paths) < o->ahead_bytes || o->max_length < 2 || !ar__token_bound(&r->bound, r->how.tk)) return;
    if (r->bound.ids > o->vocab || r->how.eos >= o->vocab) return;
    r->ahead = true;
    r->eos_is_mark = r->how.eos >= 0 && ar__token_is_mark(r->how.tk, r->how.eos);
}

static ar_status check_met(const ar_reader *r, ar_error *err) {
    return r->paths.count && !r->chooser.want ? ar__form_check_met(&r->form, r->mapped, r->name, err) : AR_OK;
}

static ar_status load(ar_reader *r, ar_error *err) {
    decide(r);
    ar_status s = AR_OK;
    r->slots = ar__alloc(AR_BLOCK, sizeof *r->slots);
    if (!r->slots) return ar__fail_memory(err, r->name);
    if (r->options.sample_bytes && (s = ar__chooser_init(&r->chooser, &r->paths, r->options.sample_bytes, err))) return s;
    r->stats.all_lines = r->chooser.want ? r->chooser.total : 0;
    if ((s = read_all(r, err)) || (s = check_left(r, err)) || (s = check_met(r, err))) return s;
    report(r);
    if (r->ahead && (s = ar__ahead_start(r, err))) return s;
    if (!r->ahead) ar__reader_report_read(r);
    release_slots(r);
    return AR_OK;
}

/* "a.jsonl", "a.jsonl and 2 more", "samples". */
static char *name_of(const ar_strings *paths) {
    ar_buf b = {0};
    ar__buf_puts(&b, paths->count ? paths->at[0] : MEMORY);
    if (paths->count > 1) ar__buf_printf(&b, " and %zu more", paths->count - 1);
    if (!b.failed) return b.data;
    ar__buf_release(&b);
    return NULL;
}

static bool take_sources(ar_reader *r, const char *path, const ar_data_more *more) {
    bool ok = !path || ar__strings_add(&r->paths, path);
    for (int i = 0; ok && i < more->file_count; i++) ok = ar__strings_add(&r->paths, more->files[i]);
    r->files = ok ? ar__alloc(r->paths.count + 1, sizeof *r->files) : NULL;
    for (size_t i = 0; r->files && i < r->paths.count; i++) r->files[i] = -1;
    r->name = ok ? name_of(&r->paths) : NULL;
    return r->files && r->name;
}

static ar_reader *reader_new(const char *path, const ar_tokenizer *tk, const ar_data_options *options) {
    ar_reader *r = ar__alloc(1, sizeof *r);
    if (!r) return NULL;
    int32_t eos = ar_tokenizer_eos(tk);
    r->options = *options;
    r->how = (ar_encoding){.tk = tk, .form = &r->form, .eos = eos >= 0 ? eos : options->eos_id, .train_on_all = options->train_on_all};
    r->stats.max_id = -1;
    pthread_mutex_init(&r->lock, NULL);
    r->ds = ar__alloc(1, sizeof *r->ds);
    if (r->ds && take_sources(r, path, &options->more)) return r;
    ar__dataset_free(r->ds);
    ar__reader_free(r);
    return NULL;
}

ar_status ar__dataset_load(ar_dataset **out, const char *path, const ar_tokenizer *tk, const ar_data_options *options, ar_data_stats *stats,
                           ar_error *err) {
    *out = NULL;
    if (options->max_length < 1) return ar__fail(err, AR_ERR_VALUE, "--max-length: found %d, wanted at least 1", options->max_length);
    ar_reader *r = reader_new(path, tk, options);
    if (!r) return ar__fail_memory(err, path);
    ar_status s = ar__form_read(&r->form, options->map, options->ignore_fields, err);
    if (!s) s = load(r, err);
    ar_dataset *ds = r->ds;
    ds->reader = r;
    if (stats && !s && !r->ahead) *stats = r->stats;
    if (s || !r->ahead) {
        ds->reader = NULL;
        ar__reader_free(r);
    }
    if (s)
        ar__dataset_free(ds);
    else
        *out = ds;
    return s;
}
