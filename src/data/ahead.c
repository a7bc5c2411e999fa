/* Reading ahead: samples that are known to be good are tokenized by a thread while the first of them are trained.
 *
 * Whoever tokenizes a sample, it comes out the same, and what is counted are sums and maxima: nothing depends on who was
 * first.  Should the file change meanwhile, a line may turn out bad after all; that is an error then. */
#include <errno.h>
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

/* Whether the text may be a special token and nothing else, but for spaces, which some such tokens take in. */
static bool may_be_mark(const char *text, size_t n, size_t longest) {
    while (n && (unsigned char)text[n - 1] <= ' ') n--;
    while (n && (unsigned char)*text <= ' ') text++, n--;
    return !n || (n <= longest && !ar__token_starts_word(*text));
}

/* Whether something is left to learn, whatever the tokens are. */
static bool judge(size_t *most, const ar_parts *p, const ar_reader *r) {
    size_t limit = (size_t)r->options.max_length;
    const ar_text_span *prompt = &p->span[0], *learned = &p->span[p->count - 1];
    if (!p->count || !learned->size) return false;                    /* what a conversation comes to is not known before */
    *most = most_tokens(&r->bound, learned->text, learned->size) + 1; /* EOS */
    if (p->kind == AR_DATA_TEXT) {
        /* Two tokens, of which the second is learned: one of the text and a special one, be it the EOS that is appended. */
        if (!r->bound.specials && !(r->eos_is_mark && ar__token_starts_word(learned->text[0]))) return false;
        if (may_be_mark(learned->text, learned->size, r->bound.longest)) return false; /* which is not added again */
    } else {
        if (p->count < 2) return false;
        size_t before = most_tokens(&r->bound, prompt->text, prompt->size);
        if (before >= limit) return false; /* perhaps nothing is left */
        *most += before;
    }
    if (*most > limit) *most = limit;
    return true;
}

bool ar__ahead_is_sure(ar_slot *slot, const ar_reader *r) {
    ar_parts parts;
    ar_error err; /* a bad line is read again, by whom its error counts */
    if (ar__parts_read(&parts, &slot->line, &r->form, &err)) return false;
    slot->kind = parts.kind;
    slot->mapped = parts.mapped;
    bool sure = judge(&slot->most, &parts, r);
    ar__parts_release(&parts);
    return sure;
}

/* ---- one sample ------------------------------------------------------------------------------------------------*/

static ar_status changed(const ar_reader *r, const ar_pending *p, const char *what, ar_error *err) {
    return ar__fail(err, AR_ERR_FORMAT, "%s:%zu: %s than before; do not change the file while it is read", r->paths.at[p->file], p->number,
                    what);
}

static ar_status store(ar_reader *r, size_t i, const ar_encoded *encoded, ar_error *err) {
    ar_entry *e = &r->ds->entries[i];
    const ar_pending *p = &r->pending[i];
    size_t limit = (size_t)r->options.max_length, count = encoded->ids.count < limit ? encoded->ids.count : limit;
    bool kept = true;
    if (count > p->most) return changed(r, p, "found a longer sample", err); /* buffers are as long as was promised */
    pthread_mutex_lock(&r->lock);
    ar_status s = e->ids ? AR_OK : ar__reader_store(r, e, encoded, NULL, p->number, &kept, err);
    pthread_mutex_unlock(&r->lock);
    return s || kept ? s : changed(r, p, "found less to learn", err);
}

static ar_status fetch(ar_late *l, const ar_reader *r, const ar_pending *p, ar_error *err) {
    if (l->cap < p->size) {
        char *grown = ar__grow(l->text, &l->cap, p->size, 1);
        if (!grown) return ar__fail_memory(err, r->paths.at[p->file]);
        l->text = grown;
    }
    for (size_t done = 0; done < p->size;) {
        ssize_t n = pread(r->files[p->file], l->text + done, p->size - done, (off_t)(p->at + done));
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return ar__fail(err, AR_ERR_IO, "%s: %s", r->paths.at[p->file], strerror(errno));
        if (n == 0) return changed(r, p, "found less of the line", err);
        done += (size_t)n;
    }
    return AR_OK;
}

static ar_status read_one(ar_reader *r, size_t i, ar_late *l, ar_error *err) {
    const ar_pending *p = &r->pending[i];
    if (r->ds->entries[i].ids) return AR_OK;
    ar_status s = fetch(l, r, p, err);
    if (s) return s;
    ar_line line = {.text = l->text, .size = p->size, .number = p->number, .file = p->file};
    ar_error e;
    if ((s = ar__encode(&l->encoded, NULL, &line, &r->how, &e))) {
        ar__reader_place(&e, r, s, line.file, line.number);
        if (err) *err = e;
        return s;
    }
    s = store(r, i, &l->encoded, err);
    if (l->encoded.ids.cap > AR_KEPT_IDS) ar__late_release(l);
    return s;
}

/* With all threads; which NULL: the first `count`. */
static ar_status read_these(ar_reader *r, const uint32_t *which, size_t count, ar_error *err) {
    ar_status first = AR_OK;
#pragma omp parallel num_threads(r->options.threads > 1 ? r->options.threads : 1)
    {
        ar_late mine = {0};
        ar_error e;
#pragma omp for schedule(dynamic, 1)
        for (size_t k = 0; k < count; k++) {
            ar_status s = read_one(r, which ? which[k] : k, &mine, &e);
            if (!s) continue;
#pragma omp critical(ar_read_these)
            if (!first) {
                first = s;
                if (err) *err = e;
            }
        }
        ar__late_release(&mine);
    }
    return first;
}

/* ---- the longest -----------------------------------------------------------------------------------------------*/

static int by_most(const void *a, const void *b, void *pending) {
    uint32_t i = *(const uint32_t *)a, k = *(const uint32_t *)b;
    uint32_t x = ((ar_pending *)pending)[i].most, y = ((ar_pending *)pending)[k].most;
    return x != y ? (x < y) - (x > y) : (i > k) - (i < k);
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
        size_t count = n - at < SEARCH_AT_ONCE ? n - at : SEARCH_AT_ONCE;
        s = read_these(r, order + at, count, err);
        for (size_t end = at + count; !s && at < end; at++) {
            bytes += r->pending[order[at]].size;
            if (ds->entries[order[at]].count > ds->longest) ds->longest = ds->entries[order[at]].count;
        }
    }
    if (!s && at < n && r->pending[order[at]].most > (uint32_t)ds->longest) ds->longest = (int)r->pending[order[at]].most;
    free(order);
    return s;
}

/* ---- the thread ------------------------------------------------------------------------------------------------*/

/* After PACE_BYTES of text the thread rests for so many times as long as they took: it must not slow the training, and a step
 * asks for its own samples anyway.  In short sleeps: whoever ends the training waits for one. */
enum { PACE_BYTES = 64 << 10, PACE_REST = 7, REST_ONCE = 20 * 1000 * 1000, REST_MOST = 1000 * 1000 * 1000 };

static int64_t cpu_nanoseconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void rest(const ar_reader *r, int64_t took) {
    int64_t left = took < REST_MOST / PACE_REST ? took * PACE_REST : REST_MOST;
    for (; left > 0 && !r->stop; left -= REST_ONCE) nanosleep(&(struct timespec){.tv_nsec = left < REST_ONCE ? left : REST_ONCE}, NULL);
}

static void *read_behind(void *user) {
    ar_reader *r = user;
    ar_late mine = {0};
    size_t bytes = 0;
    int64_t began = cpu_nanoseconds();
    setpriority(PRIO_PROCESS, (id_t)gettid(), LOWEST_PRIORITY);
    for (size_t i = 0; !r->status && i < r->ds->count && !r->stop; i++) {
        if (r->ds->entries[i].ids) continue;
        r->status = read_one(r, i, &mine, &r->error);
        if ((bytes += r->pending[i].size) < PACE_BYTES) continue;
        rest(r, cpu_nanoseconds() - began);
        bytes = 0;
        began = cpu_nanoseconds();
    }
    ar__late_release(&mine);
    r->done = true;
    return NULL;
}

ar_status ar__ahead_start(ar_reader *r, ar_error *err) {
    if (r->ds->count > UINT32_MAX)
        return ar__fail(err, AR_ERR_UNSUPPORTED, "%s: found %zu samples, wanted at most %u", r->name, r->ds->count, UINT32_MAX);
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
    ar_status s = r->status ? r->status : read_these(r, NULL, r->ds->count, err);
    if (s) return s;
    ar__reader_report_read(r);
    *stats = r->stats;
    ds->reader = NULL;
    ar__reader_free(r);
    return AR_OK;
}

size_t ar__dataset_bytes_to_come(const ar_dataset *ds) {
    return ds->reader ? ds->reader->pending_tokens * (sizeof(int32_t) + sizeof(uint8_t)) : 0;
}
