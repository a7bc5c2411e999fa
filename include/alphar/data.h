/* Samples that are in memory already, for training and evaluating without files. */
#ifndef ALPHAR_DATA_H
#define ALPHAR_DATA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "alphar/error.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What of a sample is learned. */
typedef enum ar_train_on {
    AR_TRAIN_ON_COMPLETION, /* what follows a prompt; in conversations every turn of the assistant */
    AR_TRAIN_ON_LAST,       /* of conversations the assistant's last turn alone */
    AR_TRAIN_ON_ALL         /* everything */
} ar_train_on;

/* One sample, in one of these ways:
 *   - text: all of it is learned; BOS and EOS come as from a file;
 *   - prompt and completion: the completion is learned;
 *   - ids, just as they are: nothing is added; learned [count] marks the targets with 1 (NULL: all but the first);
 *   - prompt, chosen and rejected, where an objective compares them (alphar/preference.h), and only there.
 * Texts are UTF-8 and end with NUL.  What is not used is NULL.  The caller keeps everything until the call returns. */
typedef struct ar_memory_sample {
    const char *text;
    const char *prompt, *completion;
    const char *chosen, *rejected;
    const int32_t *ids;
    const uint8_t *learned;
    size_t count;
} ar_memory_sample;

/* Several texts: files, patterns.  The caller keeps them. */
typedef struct ar_texts {
    const char *const *items;
    size_t count;
} ar_texts;

/* Where samples come from: files ("-" is standard input, FILE:0.3 a share of one), read in this order, then samples in memory. */
typedef struct ar_data_source {
    ar_texts files;
    const ar_memory_sample *samples;
    size_t sample_count;
} ar_data_source;

/* ---- looking before training ----------------------------------------------------------------------------------- */

/* A sample as training would see it.  Pointers are good until the callback returns. */
typedef struct ar_look_sample {
    const int32_t *ids;
    const uint8_t *learned; /* [count] 1: the model learns to say this token */
    size_t count;           /* before the cut at max_length */
    size_t kept;            /* after it; 0: nothing is left to learn, the sample is dropped */
    const char *text;       /* all of it, as it was encoded; a conversation as its template writes it */
    size_t text_size;
    const char *file;
    size_t line;
    bool joins;       /* a plain pair would be other tokens in one text; or what stands before a conversation's answer, alone */
    bool same;        /* the ids of a sample that came before */
    const char *half; /* "chosen", "rejected": of a row that compares two completions; NULL */
    bool bos_twice;
} ar_look_sample;

typedef struct ar_look_options {
    const char *model; /* a base, or what has a tokenizer */
    ar_texts files;
    const char *chat_template, *map, *ignore_fields; /* as in ar_train_options */
    ar_train_on train_on;
    int max_length; /* 0: 1024, or the base's positions where these are fewer */
    int threads;    /* 0 counts as 1 */
    uint64_t seed;  /* of the rows that FILE:0.3 takes; 0 counts as 1 */
    bool skip_bad;
    bool (*on_sample)(void *user, const ar_look_sample *sample); /* in order; NULL: none.  false: enough, no more calls */
    void (*on_bad)(void *user, const ar_error *error);           /* each line that skip_bad leaves out; NULL: none */
    void *user;
    ar_log_fn log; /* NULL: silence */
    void *log_user;
} ar_look_options;

typedef struct ar_look_summary {
    size_t rows, bad, dropped, cut, same, joins, bos_twice;
    size_t empty;              /* answers without a word */
    size_t unwritten;          /* messages of which the template writes nothing */
    size_t tokens, supervised; /* of what is kept */
    size_t longest;            /* before the cut */
    size_t pairs;              /* rows that compare two completions */
    size_t rewritten;          /* turns that are not learned since the template drops a part of them */
    const char *form;          /* what the rows are: messages, prompt, text, …, preference, mixed; static */
    int max_length;
} ar_look_summary;

/* Errors: as training has them for this data. */
AR_API ar_status ar_data_look(ar_look_summary *out, const ar_look_options *o, ar_error *err);

#ifdef __cplusplus
}
#endif
#endif
