/* Reading ahead: samples that are known to be good are tokenized by a thread while the first of them are trained.
 *
 * Whoever tokenizes a sample, it comes out the same, and what is counted are sums and maxima: nothing depends on who was
 * first.  Should the file change meanwhile, a line may turn out bad after all; that is an error then. */
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "base/fail.h"
#include "data/reader.h"

/* So much text is tokenized at most to find the longest sample; so many samples at a time. */
enum { SEARCH_BYTES = 256 << 10, SEARCH_AT_ONCE = 16, LOWEST_PRIORITY = 19 };

static size_t most_tokens(const ar_token_bound *b, const char *text, size_t n) {
    size_t other = 0;
    for (size_t i = 0; i < n; i++) other += (unsigned char)text[i] >= 0x80;
    return b->fixed + (n - other) + b->other * other;
}

/* Whether something is left to learn, whatever the tokens are. */
static bool judge(size_t *most, const ar_parts *p, const ar_reader *r) {
    size_t limit = (size_t)r->options.max_length;
    if (!p->learned_size) return false;
    *most = most_tokens(&r->bound, p->learned, p->learned_size) + 1; /* EOS */
    if (p->kind == AR_DATA_TEXT) {
        /* Two tokens, of which the second is learned: one of the text and a special one, be it the EOS that is appended. */
        if (!r->bound.specials && !(r->eos_is_mark && ar__token_starts_word(p->learned[0]))) return false;
    } else {
        size_t prompt = most_tokens(&r->bound, p->prompt, p->prompt_size);
        if (!p->prompt_size || prompt >= limit) return false; /* perhaps nothing is left */
        *most += prompt;
    }
    if (*most > limit) *most = limit;
    return true;
}

bool ar__ahead_is_sure(ar_slot *slot, const ar_reader *r) {
    ar_parts parts;
    ar_error err; /* a bad line is read again, by whom its error counts */
    if (ar__parts_read(&parts, &slot->line, &err)) return false;
    slot->kind = parts.kind;
    bool sure = judge(&slot->most, &parts, r);
    ar__parts_release(&parts);
    return sure;
}

/* ---- one sample ------------------------------------------------------------------------------------------------*/

static ar_status store(ar_reader *r, size_t i, const ar_encoded *encoded, ar_error *err) {
    ar_entry *e = &r->ds->entries[i];
    size_t line = r->pending[i].line.number;
    bool kept = true;
    pthread_mutex_lock(&r->lock);
    ar_status s = e->ids ? AR_OK : ar__reader_store(r, e, encoded, line, &kept, err);
    pthread_mutex_unlock(&r->lock);
    if (s || kept) return s;
    return ar__fail(err, AR_ERR_FORMAT, "%s:%zu: found nothing to learn, but had found something before; do not change the file meanwhile",
                    r->path, line);
}

static ar_status encode(ar_reader *r, size_t i, ar_encoded *encoded, ar_error *err) {
    const ar_line *line = &r->pending[i].line;
    ar_error e;
    ar_status s = ar__encode(encoded, line, r->tk, r->eos, r->options.train_on_all, &e);
    if (!s) return AR_OK;
    ar__reader_place(&e, r, s, line->number);
    if (err) *err = e;
    return s;
}

static ar_status read_one(ar_reader *r, size_t i, ar_encoded *encoded, ar_error *err) {
    if (r->ds->entries[i].ids) return AR_OK;
    ar_status s = encode(r, i, encoded, err);
    return s ? s : store(r, i, encoded, err);
}

/* ---- the longest -----------------------------------------------------------------------------------------------*/

static int by_most(const void *a, const void *b, void *pending) {
    uint32_t i = *(const uint32_t *)a, k = *(const uint32_t *)b;
    uint32_t x = ((ar_pending *)pending)[i].most, y = ((ar_pending *)pending)[k].most;
    return x != y ? (x < y) - (x > y) : (i > k) - (i < k);
}

static ar_status read_some(ar_reader *r, const uint32_t *which, int count, ar_error *err) {
#pragma omp parallel for schedule(dynamic, 1) num_threads(r->options.threads > 1 ? r->options.threads : 1)
    for (int k = 0; k < count; k++) r->slots[k].status = encode(r, which[k], &r->slots[k].encoded, &r->slots[k].error);
    for (int k = 0; k < count; k++) {
        ar_status s = r->slots[k].status;
        if (s && err) *err = r->slots[k].error;
        if (!s) s = store(r, which[k], &r->slots[k].encoded, err);
        if (s) return s;
        int length = r->ds->entries[which[k]].count;
        if (length > r->ds->longest) r->ds->longest = length;
    }
    return AR_OK;
}

/* Reads those that could be longest until none is left that could be longer, or enough is read: then the bound stands. */
static ar_status find_longest(ar_reader *r, ar_error *err) {
    ar_dataset *ds = r->ds;
    uint32_t *order = ar__alloc(ds->count, sizeof *order);
    if (!order) return ar__fail_memory(err, "samples");
    size_t n = 0, at = 0, bytes = 0;
    for (size_t i = 0; i < ds->count; i++)
        if (r->pending[i].most > (uint32_t)ds->longest) order[n++] = (uint32_t)i;
    qsort_r(order, n, sizeof *order, by_most, r->pending);
    ar_status s = AR_OK;
    while (!s && at < n && bytes < SEARCH_BYTES && r->pending[order[at]].most > (uint32_t)ds->longest) {
        int count = n - at < SEARCH_AT_ONCE ? (int)(n - at) : SEARCH_AT_ONCE;
        for (int k = 0; k < count; k++) bytes += r->pending[order[at + (size_t)k]].line.size;
        s = read_some(r, order + at, count, err);
        at += (size_t)count;
    }
    if (!s && at < n && r->pending[order[at]].most > (uint32_t)ds->longest) ds->longest = (int)r->pending[order[at]].most;
    free(order);
    return s;
}

/* ---- the thread ------------------------------------------------------------------------------------------------*/

/* After PACE_BYTES of text the thread rests for so many times as long as they took: it must not slow the training, and a step
 * asks for its own samples anyway. */
enum { PACE_BYTES = 64 << 10, PACE_REST = 7 };

static int64_t cpu_nanoseconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void rest(const ar_reader *r, int64_t took) {
    struct timespec t = {.tv_sec = took * PACE_REST / 1000000000, .tv_nsec = took * PACE_REST % 1000000000};
    if (!r->stop) nanosleep(&t, NULL);
}

static void *read_behind(void *user) {
    ar_reader *r = user;
    ar_encoded encoded = {0};
    size_t bytes = 0;
    int64_t began = cpu_nanoseconds();
    setpriority(PRIO_PROCESS, (id_t)gettid(), LOWEST_PRIORITY);
    for (size_t i = 0; !r->status && i < r->ds->count && !r->stop; i++) {
        if (r->ds->entries[i].ids) continue;
        r->status = read_one(r, i, &encoded, &r->error);
        if (encoded.ids.cap > AR_KEPT_IDS) ar_ids_release(&encoded.ids);
        if ((bytes += r->pending[i].line.size) < PACE_BYTES) continue;
        rest(r, cpu_nanoseconds() - began);
        bytes = 0;
        began = cpu_nanoseconds();
    }
    ar_ids_release(&encoded.ids);
    r->done = true;
    return NULL;
}

/* With all threads: somebody waits. */
static ar_status read_rest(ar_reader *r, ar_error *err) {
    ar_status first = AR_OK;
#pragma omp parallel num_threads(r->options.threads > 1 ? r->options.threads : 1)
    {
        ar_encoded mine = {0};
        ar_error e;
#pragma omp for schedule(dynamic, 16)
        for (size_t i = 0; i < r->ds->count; i++) {
            ar_status s = read_one(r, i, &mine, &e);
            if (!s) continue;
#pragma omp critical(ar_read_rest)
            if (!first) {
                first = s;
                if (err) *err = e;
            }
        }
        ar_ids_release(&mine.ids);
    }
    return first;
}

ar_status ar__ahead_start(ar_reader *r, ar_error *err) {
    if (r->ds->count > UINT32_MAX)
        return ar__fail(err, AR_ERR_UNSUPPORTED, "%s: found %zu samples, wanted at most %u", r->path, r->ds->count, UINT32_MAX);
    ar_status s = find_longest(r, err);
    if (s) return s;
    r->started = pthread_create(&r->thread, NULL, read_behind, r) == 0;
    r->done = !r->started; /* then the rest is read when the first step is done */
    return AR_OK;
}

ar_status ar__dataset_need(ar_dataset *ds, const uint32_t *sample, int count, ar_error *err) {
    ar_status s = AR_OK;
    for (int i = 0; ds->reader && !s && i < count; i++) s = read_one(ds->reader, sample[i], &ds->reader->asked, err);
    return s;
}

bool ar__dataset_is_reading(const ar_dataset *ds) { return ds->reader != NULL; }

ar_status ar__dataset_finish(ar_dataset *ds, bool wait, ar_data_stats *stats, ar_error *err) {
    ar_reader *r = ds->reader;
    if (!r || (!wait && !r->done)) return AR_OK;
    if (wait) r->stop = true;
    if (r->started) pthread_join(r->thread, NULL);
    r->started = false;
    if (r->status && err) *err = r->error;
    ar_status s = r->status ? r->status : read_rest(r, err);
    if (s) return s;
    ar__reader_report_cut(r);
    *stats = r->stats;
    ds->reader = NULL;
    ar__reader_free(r);
    return AR_OK;
}

size_t ar__dataset_bytes_to_come(const ar_dataset *ds) {
    /* Five bytes a token, of which text of two bytes rarely makes more. */
    return ds->reader ? ds->reader->pending_bytes / 2 * (sizeof(int32_t) + sizeof(uint8_t)) : 0;
}
