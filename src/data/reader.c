/* A reader of samples: what it reads, from opening to the last word on what was found. */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fail.h"
#include "data/reader.h"

static ar_status check_left(const ar_reader *r, ar_error *err) {
    const ar_data_stats *st = &r->stats;
    const char *path = r->name;
    if (r->ds->count) return AR_OK;
    if (!st->lines) return ar__fail(err, AR_ERR_VALUE, "%s: found no samples, wanted at least one", path);
    if (st->bad == st->lines)
        return ar__fail(err, AR_ERR_VALUE, "%s: all %zu lines are bad, wanted samples; the first: %.700s", path, st->lines,
                        r->first_bad.message);
    if (st->dropped_cut)
        return ar__fail(
            err, AR_ERR_VALUE,
            "%s: no sample is left of %zu: in %zu the prompt alone fills the %d tokens of --max-length, so that nothing is left "
            "to learn; raise it above %zu (the shortest of these prompts)",
            path, st->lines, st->dropped_cut, r->options.max_length, r->shortest_cut_prompt);
    if (st->roles)
        return ar__fail(err, AR_ERR_VALUE, "%s: no sample is left of %zu: no message is an assistant's; line %zu has the role '%s'", path,
                        st->lines, r->role_line, r->role);
    return ar__fail(err, AR_ERR_VALUE,
                    "%s: no sample is left of %zu: nothing in them is to be learned (no answer of an assistant, or a single token)", path,
                    st->lines);
}

/* Of what is read already; lines that are left for later have no such id (decide). */
static ar_status check_ids(const ar_reader *r, ar_error *err) {
    int32_t vocab = r->options.vocab;
    if (!vocab || r->stats.max_id < vocab) return AR_OK;
    return ar__fail(err, AR_ERR_MISMATCH, "%s: found id %d, the base's vocabulary has %d; the %s for another model than the base", r->name,
                    r->stats.max_id, vocab, r->paths.count ? "tokenizer is" : "ids or the tokenizer are");
}

static const char *looked_at(const ar_data_stats *st) { return st->all_lines ? " looked at" : ""; }

/* A comparison has two. */
static size_t samples_in(const ar_data_stats *st) { return st->lines - st->bad + st->pairs; }

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
        ar__log_warn(log, "%s: skipped %zu bad line%s of %zu%s; the first: %s", path, st->bad, st->bad == 1 ? "" : "s", st->lines,
                     looked_at(st), r->first_bad.message);
    if (st->dropped) {
        char cut[80] = "";
        if (st->dropped_cut) snprintf(cut, sizeof cut, " (in %zu the prompt alone fills --max-length)", st->dropped_cut);
        ar__log_warn(log, "%s: %zu of %zu %s%s were dropped: nothing is left to learn%s", path, st->dropped, st->lines - st->bad,
                     st->pairs ? "pairs" : "samples", looked_at(st), cut);
    }
}

void ar__reader_report_read(const ar_reader *r) {
    const ar_data_stats *st = &r->stats;
    if (st->own_bos)
        ar__log_info(r->options.log, "%s: %zu of %zu samples%s begin with the tokenizer's BOS themselves; no second one is added", r->name,
                     st->own_bos, samples_in(st), looked_at(st));
    if (st->rewritten)
        ar__log_warn(
            r->options.log,
            "%s: the chat template drops a part of %zu turn%s of the assistant that others follow (its reasoning, say); %s not learned",
            r->name, st->rewritten, st->rewritten == 1 ? "" : "s", st->rewritten == 1 ? "it is" : "they are");
    if (st->roles)
        ar__log_warn(r->options.log,
                     "%s: line %zu has a message of the role '%s', one of %zu such: wanted user, assistant, system, tool, …", r->name,
                     r->role_line, r->role, st->roles);
    if (st->empty)
        ar__log_warn(r->options.log, "%s: %zu answer%s empty, as in line %zu: what is learned there is to say nothing", r->name, st->empty,
                     st->empty == 1 ? " is" : "s are", r->empty_line);
    if (st->cut)
        ar__log_warn(r->options.log, "%s: %zu of %zu samples%s were cut at --max-length %d (the longest has %zu tokens)", r->name, st->cut,
                     samples_in(st), looked_at(st), r->options.max_length, st->longest);
}

static void release_slots(ar_reader *r) {
    for (size_t i = 0; r->slots && i < AR_BLOCK; i++) {
        ar__encoded_release(&r->slots[i].encoded);
        ar__encoded_release(&r->slots[i].rejected);
    }
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
    ar__buf_release(&r->input);
    ar__strings_release(&r->paths);
    ar__form_release(&r->form);
    ar__frames_release(&r->frames);
    free(r->name);
    free(r);
}

static uint64_t bytes_of(const ar_strings *paths) {
    uint64_t sum = 0;
    struct stat st;
    for (size_t i = 0; i < paths->count; i++) {
        double share;
        char *file = ar__share_split(&share, paths->at[i]);
        if (file && !stat(file, &st) && st.st_size > 0) sum += (uint64_t)st.st_size;
        free(file);
    }
    return sum;
}

/* Whether the files are to be read ahead: they are large, and their lines and ids can be judged without the tokenizer. */
static void decide(ar_reader *r) {
    const ar_data_options *o = &r->options;
    if (o->rows != AR_ROWS_SAMPLES || !o->ahead_bytes || bytes_of(&r->paths) < o->ahead_bytes || o->max_length < 2 ||
        !ar__token_bound(&r->bound, r->how.tk))
        return;
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
    if (r->options.sample_bytes && (s = ar__chooser_init(&r->chooser, &r->paths, &r->input, r->options.seed, r->options.sample_bytes, err)))
        return s;
    r->stats.all_lines = r->chooser.want ? r->chooser.total : 0;
    if ((s = ar__reader_read(r, err)) || (s = check_left(r, err)) || (s = check_ids(r, err)) || (s = check_met(r, err))) return s;
    report(r);
    if (r->ahead && (s = ar__ahead_start(r, err))) return s;
    if (!r->ahead) ar__reader_report_read(r);
    release_slots(r);
    return AR_OK;
}

/* "a.jsonl", "a.jsonl and 2 more", "samples". */
static char *name_of(const ar_strings *paths) {
    ar_buf b = {0};
    ar__buf_puts(&b, paths->count ? paths->at[0] : AR_MEMORY_NAME);
    if (paths->count > 1) ar__buf_printf(&b, " and %zu more", paths->count - 1);
    if (!b.failed) return b.data;
    ar__buf_release(&b);
    return NULL;
}

static bool take_sources(ar_reader *r, const ar_data_source *from) {
    bool ok = true;
    for (size_t i = 0; ok && i < from->files.count; i++) ok = ar__strings_add(&r->paths, from->files.items[i]);
    r->samples = from->samples;
    r->sample_count = from->sample_count;
    r->files = ok ? ar__alloc(r->paths.count + 1, sizeof *r->files) : NULL;
    for (size_t i = 0; r->files && i < r->paths.count; i++) r->files[i] = -1;
    r->name = ok ? name_of(&r->paths) : NULL;
    return r->files && r->name;
}

static ar_reader *reader_new(const ar_data_source *from, const ar_tokenizer *tk, const ar_data_options *options) {
    ar_reader *r = ar__alloc(1, sizeof *r);
    if (!r) return NULL;
    int32_t eos = ar_tokenizer_eos(tk);
    r->options = *options;
    r->how = (ar_encoding){.tk = tk,
                           .form = &r->form,
                           .eos = eos >= 0 ? eos : options->eos_id,
                           .chat = options->chat,
                           .train_on = options->train_on,
                           .keep_text = options->keep_text};
    r->stats.max_id = -1;
    pthread_mutex_init(&r->lock, NULL);
    r->ds = ar__alloc(1, sizeof *r->ds);
    if (r->ds && take_sources(r, from)) return r;
    ar__dataset_free(r->ds);
    ar__reader_free(r);
    return NULL;
}

ar_status ar__dataset_load(ar_dataset **out, const ar_data_source *from, const ar_tokenizer *tk, const ar_data_options *options,
                           ar_data_stats *stats, ar_error *err) {
    *out = NULL;
    if (options->max_length < 1) return ar__fail(err, AR_ERR_VALUE, "--max-length: found %d, wanted at least 1", options->max_length);
    ar_reader *r = reader_new(from, tk, options);
    if (!r) return ar__fail_memory(err, "samples");
    ar_status s = ar__form_read(&r->form, options->map, options->ignore_fields, err);
    r->form.wanted = options->rows;
    r->form.turns = options->chat_for_plain;
    for (size_t i = 0; !s && i < r->paths.count; i++)
        if (r->paths.at[i][0] == '-' && (!r->paths.at[i][1] || r->paths.at[i][1] == ':'))
            s = r->input.len ? AR_OK : ar__input_read(&r->input, err);
    if (!s && options->chat) s = ar__frames_find(&r->frames, options->chat, err);
    r->how.frames = &r->frames;
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
