/* The inside of ar_dataset: its samples, and what reads them from the file.
 *
 *     eager    block of lines → parsed and encoded by all threads → added in file order
 *     ahead    block of lines → parsed by all threads → entries without ids, which a thread fills in file order
 *              while the samples of a step are encoded by who asks for them, where the thread has not come by yet
 *
 * An entry's ids are written once, under the reader's lock, and are the last that is written of it. */
#ifndef AR_DATA_READER_H
#define AR_DATA_READER_H

#include <pthread.h>
#include <stdatomic.h>

#include "data/choose.h"
#include "data/dataset.h"
#include "data/encode.h"
#include "text/bound.h"

typedef struct ar_entry {
    _Atomic(const int32_t *) ids; /* NULL: still to be read */
    const uint8_t *learned;
    size_t line;
    int count, supervised;
} ar_entry;

/* Samples lie one behind the other in chunks that stay where they are. */
typedef struct ar_chunk {
    struct ar_chunk *next;
    int32_t *ids;
    uint8_t *learned;
    size_t used, cap;
} ar_chunk;

/* One line on its way; reused from block to block. */
typedef struct ar_slot {
    ar_line line;
    const ar_memory_sample *memory; /* not NULL: instead of the line, of which only the number counts */
    ar_encoded encoded, rejected;
    bool for_length; /* only to see how long it is */
    bool sure;       /* a sample, whatever its tokens are… */
    size_t most;     /* …of which there are at most so many */
    ar_data_kind kind;
    uint32_t mapped;
    ar_status status;
    ar_error error;
} ar_slot;

/* A sample that is still to be read: a line of the file, without its end. */
typedef struct ar_pending {
    uint64_t at;
    size_t size, number;
    uint32_t most; /* tokens, after the cut; 0: was read with the index */
    uint32_t file;
} ar_pending;

/* What whoever reads such a sample needs; reused. */
typedef struct ar_late {
    ar_encoded encoded;
    char *text;
    size_t cap;
} ar_late;

typedef struct ar_reader {
    ar_dataset *ds;
    ar_lines lines; /* of the file at work */
    ar_strings paths;
    const ar_memory_sample *samples; /* in memory, behind the files */
    size_t sample_count;
    ar_buf input; /* what came on standard input */
    char *name;   /* of all of them, for messages */
    ar_chooser chooser;
    ar_form form;
    ar_encoding how;
    ar_frames frames;
    ar_data_options options;
    ar_data_stats stats;
    ar_slot *slots;
    bool alpaca_told, enough; /* enough: on_sample wants no more */
    const char *at;           /* the file at work */
    uint32_t mapped;          /* fields of --map that some row has */
    ar_error first_bad;
    char role[24]; /* of the first message whose role none is taught */
    size_t role_line, empty_line;
    size_t shortest_cut_prompt; /* of the samples that the cut emptied */

    bool ahead, eos_is_mark; /* eos_is_mark: no text that starts with a letter or digit is EOS */
    ar_token_bound bound;
    int *files;          /* of each path, once ahead is set; whoever writes to one meanwhile gets an error, not a fault */
    ar_pending *pending; /* [ds->count] */
    size_t pending_cap, pending_tokens;
    ar_late asked; /* of the thread that uses the samples */
    pthread_t thread;
    bool started;
    pthread_mutex_t lock; /* chunks, stats */
    atomic_bool stop, done;
    ar_status status; /* of the thread, and its error */
    ar_error error;
} ar_reader;

struct ar_dataset {
    ar_chunk *chunks;
    ar_entry *entries;
    size_t entry_cap, count;
    unsigned kinds; /* bit k: a sample of that ar_data_kind was read */
    int longest;
    ar_reader *reader; /* NULL: everything is there */
};

/* A block ends at so many lines or bytes; a longer sample's ids are not kept for reuse. */
enum { AR_BLOCK = 2048, AR_BLOCK_BYTES = 4 << 20, AR_KEPT_IDS = 1 << 14 };

#define AR_MEMORY_NAME "samples" /* stands for a file's name */

/* All files, then the samples in memory.  Lines are taken in blocks. */
ar_status ar__reader_read(ar_reader *r, ar_error *err);
/* Counts what was encoded and stores what is left after the cut in the entry; *kept false: nothing to learn is left.  rejected:
 * the second sample of a comparison, for the entry behind it, kept where both are; NULL: there is none. */
ar_status ar__reader_store(ar_reader *r, ar_entry *entry, const ar_encoded *encoded, const ar_encoded *rejected, size_t line, bool *kept,
                           ar_error *err);
/* Puts FILE:LINE in front of an error. */
void ar__reader_place(ar_error *e, const ar_reader *r, ar_status status, size_t file, size_t line);
void ar__reader_report_read(const ar_reader *r); /* what is known once all samples were tokenized */
void ar__reader_free(ar_reader *r);              /* ends its thread; NULL is fine */
void ar__late_release(ar_late *l);

/* Sets ds->longest, reading what could be longest, and starts the thread; the map is not needed any more. */
ar_status ar__ahead_start(ar_reader *r, ar_error *err);
/* Whether a line is a usable sample for certain, and its most tokens. */
bool ar__ahead_is_sure(ar_slot *slot, const ar_reader *r);

#endif
