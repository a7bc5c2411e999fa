/* TensorBoard's event file: records of an Event each, protocol buffers, framed as TFRecord.
 *
 *     record = u64 length | u32 masked crc32c of it | Event | u32 masked crc32c of the Event        little-endian
 *     Event  = 1: double wall_time, 2: int64 step, 3: string file_version (the first), 5: Summary
 *     Summary = 1: { 1: string tag, 2: float simple_value }…
 *
 * Formats: tensorflow/core/lib/io/record_writer, tensorflow/core/util/event.proto; masked = rotate(crc, 15) + 0xa282ead8. */
#ifndef AR_TRAIN_EVENTS_H
#define AR_TRAIN_EVENTS_H

#include <stdint.h>

#include "alphar/error.h"

typedef struct ar_events {
    int fd; /* −1: none are written */
    char *path;
} ar_events;

#define AR_EVENTS_NONE ((ar_events){.fd = -1})

/* DIR's one file, made anew, or (step > 0) the one that is there with its events up to that step. */
ar_status ar__events_open(ar_events *out, const char *dir, int64_t step, ar_error *err);
void ar__events_close(ar_events *e); /* safe on AR_EVENTS_NONE */
/* The file that a run left in DIR, malloc'ed; NULL: none. */
char *ar__events_find(const char *dir);
/* Removes it. */
void ar__events_remove(const char *dir);

typedef struct ar_event_value {
    const char *tag;
    double value;
} ar_event_value;

/* One event; what a full disk refuses is left out: metrics.jsonl is the record. */
void ar__events_add(ar_events *e, int64_t step, const ar_event_value *values, int count);

#endif
