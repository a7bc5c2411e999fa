/* Looking at data before training: the samples as training has them, and what is odd about them. */
#include <stdlib.h>
#include <string.h>

#include "arch/arch.h"
#include "base/fail.h"
#include "base/file.h"
#include "data/dataset.h"
#include "format/gguf.h"
#include "format/json.h"
#include "text/vocab.h"

enum { MAX_CONFIG_BYTES = 64 << 20 };

typedef struct looking {
    const ar_look_options *o;
    ar_tokenizer *tk;
    ar_chat *chat;
    ar_look_summary *sum;
    uint64_t *seen; /* hashes of ids; 0: free */
    size_t seen_count, seen_slots;
    ar_ids joined;
    ar_buf learned;
    ar_status status;
    ar_error *err;
    bool enough;
} looking;

/* ---- samples that are the same ---------------------------------------------------------------------------------------*/

static bool seen_grow(looking *l) {
    size_t slots = l->seen_slots ? 2 * l->seen_slots : 1024;
    uint64_t *table = calloc(slots, sizeof *table);
    if (!table) return false;
    for (size_t i = 0; i < l->seen_slots; i++) {
        size_t at = l->seen[i] & (slots - 1);
        if (!l->seen[i]) continue;
        while (table[at]) at = (at + 1) & (slots - 1);
        table[at] = l->seen[i];
    }
    free(l->seen);
    l->seen = table;
    l->seen_slots = slots;
    return true;
}

/* Whether ids with that hash came before; the hash has 64 bits, so two samples that differ do not meet. */
static bool seen_before(looking *l, const int32_t *ids, size_t n) {
    uint64_t hash = ar__hash_bytes((const char *)ids, n * sizeof *ids) | 1;
    if (2 * l->seen_count >= l->seen_slots && !seen_grow(l)) {
        l->status = ar__fail_memory(l->err, "data");
        return false;
    }
    size_t at = hash & (l->seen_slots - 1);
    for (; l->seen[at]; at = (at + 1) & (l->seen_slots - 1))
        if (l->seen[at] == hash) return true;
    l->seen[at] = hash;
    l->seen_count++;
    return false;
}

/* ---- one sample ------------------------------------------------------------------------------------------------------*/

/* Whether the first n bytes become other tokens alone than they are within the conversation. */
static bool joins_at(looking *l, const ar_encoded *e, size_t n) {
    const uint8_t *marks = (const uint8_t *)e->whole.marks.data;
    l->joined.count = 0;
    ar__buf_clear(&l->learned);
    ar_status s = ar__tokenizer_encode_marked(&l->joined, &l->learned, l->tk, e->whole.text.data, marks, n,
                                              &l->chat->of[l->chat->standard].control, NULL);
    size_t given = l->joined.count;
    return !s && (given > e->ids.count || memcmp(l->joined.id, e->ids.id, given * sizeof *e->ids.id) != 0);
}

/* At any place where a model is to answer: what it is given ends there. */
static bool joins_answer(looking *l, const ar_encoded *e) {
    const char *marks = e->whole.marks.data;
    for (size_t n = 1; n < e->whole.text.len; n++)
        if (marks[n] & AR_LEARNED && !(marks[n - 1] & AR_LEARNED) && joins_at(l, e, n)) return true;
    return false;
}

/* Whether both halves, encoded as one text, are other tokens than one by one. */
static bool joins(looking *l, const ar_encoded *e) {
    int32_t eos = ar_tokenizer_eos(l->tk);
    size_t n = e->ids.count;
    if (e->marked && l->chat) return joins_answer(l, e);
    if (e->kind == AR_DATA_TEXT || !e->whole.text.len || e->first_target <= 1) return false;
    l->joined.count = 0;
    ar_status s = ar_tokenizer_encode_whole(&l->joined, NULL, l->tk, e->whole.text.data, e->whole.text.len, NULL);
    if (s) return false;
    while (n && e->ids.id[n - 1] == eos) n--;
    while (l->joined.count && l->joined.id[l->joined.count - 1] == eos) l->joined.count--;
    return l->joined.count != n || memcmp(l->joined.id, e->ids.id, n * sizeof *e->ids.id) != 0;
}

static const uint8_t *learned_of(looking *l, const ar_encoded *e) {
    if (e->marked) return (const uint8_t *)e->marks.data;
    ar__buf_clear(&l->learned);
    for (size_t i = 0; i < e->ids.count; i++) {
        char learned = i >= e->first_target;
        ar__buf_add(&l->learned, &learned, 1);
    }
    return (const uint8_t *)l->learned.data;
}

static const char *half_name(ar_half half) { return half == AR_HALF_CHOSEN ? "chosen" : half == AR_HALF_REJECTED ? "rejected" : NULL; }

static void bad(void *user, const ar_error *error) {
    const ar_look_options *o = ((looking *)user)->o;
    o->on_bad(o->user, error);
}

static bool look(void *user, const ar_encoded *e, size_t kept, const char *file, size_t line) {
    looking *l = user;
    int32_t bos = ar_tokenizer_bos(l->tk);
    ar_look_sample s = {.ids = e->ids.id,
                        .learned = learned_of(l, e),
                        .count = e->ids.count,
                        .kept = kept,
                        .text = e->whole.text.len ? e->whole.text.data : "",
                        .text_size = e->whole.text.len,
                        .file = file,
                        .line = line,
                        .half = half_name(e->half),
                        .joins = joins(l, e),
                        .same = seen_before(l, e->ids.id, e->ids.count),
                        .bos_twice = bos >= 0 && e->ids.count > 1 && e->ids.id[0] == bos && e->ids.id[1] == bos};
    l->sum->joins += s.joins;
    l->sum->same += s.same;
    l->sum->bos_twice += s.bos_twice;
    if (l->o->on_sample && !l->enough) l->enough = !l->o->on_sample(l->o->user, &s);
    return !l->status;
}

/* ---- all -----------------------------------------------------------------------------------------------------------*/

/* What the base's configuration says, where there is one: its positions, ids and EOS. */
static void read_base(ar_data_options *d, const char *path) {
    static const ar_log silence = {0};
    ar_arch arch;
    d->eos_id = -1;
    bool gguf = ar__gguf_is_name(path);
    char *file = gguf ? ar__strdup(path) : ar__path_join(path, "config.json");
    json_t *config = NULL;
    ar_tensors *tensors = NULL;
    bool there = file && ar__path_exists(file);
    if (gguf)
        there = there && !ar__tensors_open(&tensors, path, NULL) && !ar__gguf_config(&config, tensors, NULL);
    else
        there = there && !ar__json_load_object(&config, file, MAX_CONFIG_BYTES, NULL);
    there = there && !ar__arch_read(&arch, config, file, &silence, NULL);
    json_decref(config);
    ar__tensors_close(tensors);
    free(file);
    if (!there) return;
    if (arch.eos_count) d->eos_id = arch.eos[0];
    d->vocab = (int32_t)(arch.vocab < INT32_MAX ? arch.vocab : INT32_MAX);
    if (!d->max_length) d->max_length = ar__length_default(arch.max_positions);
    ar__arch_release(&arch);
}

static const char *form_of(const ar_data_stats *st, const ar_dataset *ds) {
    if (!st->pairs) return ar__parts_kind_name(ar__dataset_kind(ds));
    return st->pairs == st->lines - st->bad ? "preference" : ar__parts_kind_name(AR_DATA_KINDS);
}

static void sum_up(ar_look_summary *m, const ar_data_stats *st, const ar_dataset *ds, int max_length) {
    m->rows = st->lines;
    m->bad = st->bad;
    m->dropped = st->dropped;
    m->cut = st->cut;
    m->tokens = st->tokens;
    m->supervised = st->supervised;
    m->longest = st->longest;
    m->rewritten = st->rewritten;
    m->empty = st->empty;
    m->unwritten = st->unwritten;
    m->pairs = st->pairs;
    m->form = form_of(st, ds);
    m->max_length = max_length;
}

static ar_status run(looking *l, ar_error *err) {
    const ar_look_options *o = l->o;
    ar_log log = {o->log, o->log_user};
    ar_data_options d = {.max_length = o->max_length,
                         .seed = o->seed ? o->seed : 1,
                         .threads = o->threads,
                         .train_on = o->train_on,
                         .skip_bad = o->skip_bad,
                         .log = &log,
                         .map = o->map,
                         .ignore_fields = o->ignore_fields,
                         .rows = AR_ROWS_ANY,
                         .chat = l->chat,
                         .chat_for_plain = o->chat_template != NULL,
                         .keep_text = true,
                         .on_sample = look,
                         .on_bad = o->on_bad ? bad : NULL,
                         .user = l};
    ar_data_stats stats;
    ar_dataset *ds = NULL;
    read_base(&d, o->model);
    if (!d.max_length) d.max_length = AR_LENGTH;
    ar_status s = ar__dataset_load(&ds, &(ar_data_source){.files = o->files}, l->tk, &d, &stats, err);
    if (!s) s = l->status;
    if (!s) sum_up(l->sum, &stats, ds, d.max_length);
    if (!s) ar__chat_remark(l->chat, l->tk, ar__dataset_kind(ds), &log);
    ar__dataset_free(ds);
    return s;
}

ar_status ar_data_look(ar_look_summary *out, const ar_look_options *o, ar_error *err) {
    looking l = {.o = o, .sum = out, .err = err};
    *out = (ar_look_summary){0};
    if (!o->files.count) return ar__fail(err, AR_ERR_VALUE, "data: not given");
    ar_status s = ar_tokenizer_open(&l.tk, o->model, err);
    if (!s) s = ar__chat_open(&l.chat, o->model, o->chat_template, l.tk, err);
    if (!s) s = run(&l, err);
    ar__chat_free(l.chat);
    ar_tokenizer_free(l.tk);
    ar_ids_release(&l.joined);
    ar__buf_release(&l.learned);
    free(l.seen);
    return s;
}
