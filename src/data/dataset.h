/* All usable samples of a JSONL file as token ids, in file order. */
#ifndef AR_DATA_DATASET_H
#define AR_DATA_DATASET_H

#include "alphar/data.h"
#include "alphar/tokenizer.h"
#include "base/log.h"
#include "data/chat.h"
#include "data/encode.h"
#include "data/parts.h"

/* Tokens kept of a sample where nobody asks for another number, in a base of so many positions. */
enum { AR_LENGTH = 1024 };
static inline int ar__length_default(int64_t positions) { return positions >= 2 && positions < AR_LENGTH ? (int)positions : AR_LENGTH; }

typedef struct ar_data_options {
    int max_length; /* tokens kept of a sample; ≥ 1 */
    uint64_t seed;  /* of the rows that a share takes */
    int threads;    /* that parse and encode; 0 counts as 1.  No influence on the result */
    int32_t eos_id; /* the base's first eos id, used where the tokenizer names none; -1: none */
    ar_train_on train_on;
    bool skip_bad;                   /* count bad lines instead of failing at the first */
    size_t ahead_bytes;              /* files from this size on are tokenized by a thread while their first samples are used; 0: none */
    int32_t vocab;                   /* the base's, a greater id is an error; 0: not known */
    size_t sample_bytes;             /* more data than that is judged by a part of its lines (data/choose.h); 0: all is read */
    const ar_log *log;               /* NULL: silence */
    const char *map, *ignore_fields; /* data/form.h */
    ar_rows_wanted rows;
    const ar_chat *chat; /* NULL: none; outlives the dataset */
    bool chat_for_plain; /* pairs of plain texts too are written as it says */
    bool keep_text;      /* ar_encoded.whole.text of plain rows too, for who looks */
    /* Receives each sample in order before it is stored; kept: tokens that are.  NULL: none.  false: enough. */
    bool (*on_sample)(void *user, const ar_encoded *encoded, size_t kept, const char *file, size_t line);
    /* Receives what is wrong with each line that skip_bad leaves out, in order; NULL: none. */
    void (*on_bad)(void *user, const ar_error *error);
    void *user;
} ar_data_options;

typedef struct ar_data_stats {
    size_t pairs;              /* rows of two samples, dropped ones too */
    size_t lines;              /* that are not blank, of those looked at */
    size_t all_lines;          /* more than these: the rest was not looked at */
    size_t bad;                /* skipped */
    size_t cut;                /* longer than max_length */
    size_t dropped;            /* rows left without a target (of two samples: one of these) */
    size_t dropped_cut;        /* of these, by the cut: the prompt alone fills max_length */
    size_t tokens, supervised; /* of the samples kept, after the cut */
    size_t longest;            /* tokens, before the cut */
    size_t rewritten;          /* turns of the assistant that are not learned, since the template drops a part of them (data/supervise.h) */
    size_t roles, empty,
        unwritten;  /* samples with a message of a role that none is taught; empty answers; messages left out (data/odd.h) */
    size_t own_bos; /* begin with BOS themselves, where the tokenizer adds one */
    int32_t max_id; /* over the samples kept */
} ar_data_stats;

/* A view into the dataset.  Of pairs the chosen one is sample 2k, the rejected one 2k + 1. */
typedef struct ar_sample {
    const int32_t *ids;
    const uint8_t *learned; /* [count]: 1 where ids[i] is a target, predicted at position i - 1; learned[0] is 0 */
    int count;              /* 2 … max_length */
    int supervised;         /* targets: ≥ 1 */
    size_t line;            /* in its file, from 1; in memory: its number from 1 */
} ar_sample;

/* What position i has to predict: the next id, or -1 for nothing (always so at the last position). */
static inline int32_t ar__sample_target(const ar_sample *s, int i) { return i + 1 < s->count && s->learned[i + 1] ? s->ids[i + 1] : -1; }

typedef struct ar_dataset ar_dataset;

/* All of it is read, or (ahead) found to be good: the same samples in the same order, the
 * same errors.  What is known only of samples that were tokenized may come later: their ids (ar__dataset_need), what was cut, stats
 * (ar__dataset_finish).  Ahead, longest is a bound where finding it would take long.
 * Errors: AR_ERR_FORMAT `FILE:LINE: …` for a bad line, an empty file, a JSON array; AR_ERR_UNSUPPORTED for a conversation without a
 * template; AR_ERR_MISMATCH for a field that is neither used nor ignored, or mapped and in no row; AR_ERR_VALUE when no sample is left.
 * Warns about what was cut, dropped and skipped, and about a missing EOS. stats (may be NULL) is filled on success.  Caller frees with
 * ar__dataset_free. */
ar_status ar__dataset_load(ar_dataset **out, const ar_data_source *from, const ar_tokenizer *tk, const ar_data_options *options,
                           ar_data_stats *stats, ar_error *err);
void ar__dataset_free(ar_dataset *ds); /* NULL is fine; ends the thread */
/* Before ar__dataset_at while the dataset is being read.  One thread at a time. */
ar_status ar__dataset_need(ar_dataset *ds, const uint32_t *sample, int count, ar_error *err);
bool ar__dataset_is_reading(const ar_dataset *ds);
/* Once all is read, which `wait` sees to: warns about what was cut, completes stats, and the dataset is not being read any
 * more.  Otherwise, or where it was not being read, nothing happens.  Errors: those of the thread. */
ar_status ar__dataset_finish(ar_dataset *ds, bool wait, ar_data_stats *stats, ar_error *err);
size_t ar__dataset_bytes_to_come(const ar_dataset *ds); /* a guess */
size_t ar__dataset_count(const ar_dataset *ds);
ar_sample ar__dataset_at(const ar_dataset *ds, size_t i); /* asserts i < count */
/* What the samples have in common: one kind of row, or AR_DATA_KINDS where there are several. */
ar_data_kind ar__dataset_kind(const ar_dataset *ds);
int ar__dataset_longest(const ar_dataset *ds); /* tokens of the longest sample kept */
/* Every n-th sample (taken), or the others, as a dataset of its own, which the first one has to outlive.  All of it must be there. */
ar_status ar__dataset_part(ar_dataset **out, const ar_dataset *ds, size_t n, bool taken, ar_error *err);

#endif
