#include "train/events.h"

#include <dirent.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/fail.h"
#include "base/file.h"
#include "base/mem.h"

#define PREFIX "events.out.tfevents."
#define SUFFIX ".alphar"
enum { FRAME = 12, TAIL = 4 }; /* bytes in front of a record's data, behind it */

/* ---- checks ----------------------------------------------------------------------------------------------------------*/

/* CRC-32C (Castagnoli), bit by bit: events are small. */
static uint32_t crc32c(const void *bytes, size_t n) {
    const unsigned char *p = bytes;
    uint32_t crc = 0xffffffffu;
    for (size_t i = 0; i < n; i++) {
        crc ^= p[i];
        for (int k = 0; k < 8; k++) crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78u : 0u);
    }
    return ~crc;
}

static uint32_t masked(uint32_t crc) { return (crc >> 15 | crc << 17) + 0xa282ead8u; }

static void put_fixed(ar_buf *b, uint64_t x, int bytes) {
    for (int i = 0; i < bytes; i++) {
        char c = (char)(x >> 8 * i);
        ar__buf_add(b, &c, 1);
    }
}

static uint64_t take_fixed(const char *p, int bytes) {
    uint64_t x = 0;
    for (int i = bytes; i-- > 0;) x = x << 8 | (unsigned char)p[i];
    return x;
}

/* ---- protocol buffers ------------------------------------------------------------------------------------------------*/

static void put_varint(ar_buf *b, uint64_t x) {
    do {
        char c = (char)((x & 0x7f) | (x > 0x7f ? 0x80 : 0));
        ar__buf_add(b, &c, 1);
        x >>= 7;
    } while (x);
}

static void put_bytes(ar_buf *b, int field, const void *bytes, size_t n) {
    put_varint(b, (uint64_t)field << 3 | 2);
    put_varint(b, n);
    ar__buf_add(b, bytes, n);
}

static void put_double(ar_buf *b, int field, double x) {
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    put_varint(b, (uint64_t)field << 3 | 1);
    put_fixed(b, bits, 8);
}

static void put_float(ar_buf *b, int field, float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    put_varint(b, (uint64_t)field << 3 | 5);
    put_fixed(b, bits, 4);
}

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void begin_event(ar_buf *event, int64_t step) {
    put_double(event, 1, now());
    if (!step) return;
    put_varint(event, 2 << 3);
    put_varint(event, (uint64_t)step);
}

/* The step of one of our own events: behind the wall time. */
static int64_t step_of(const char *event, size_t n) {
    uint64_t step = 0;
    if (n < 10 || event[9] != 2 << 3) return 0;
    for (size_t i = 10; i < n && i < 20; i++) {
        step |= (uint64_t)(event[i] & 0x7f) << 7 * (i - 10);
        if (!(event[i] & 0x80)) break;
    }
    return (int64_t)step;
}

/* ---- records ---------------------------------------------------------------------------------------------------------*/

static void put_record(ar_buf *out, const ar_buf *event) {
    size_t at = out->len;
    put_fixed(out, event->len, 8);
    if (!event->data || out->failed) return;
    put_fixed(out, masked(crc32c(out->data + at, 8)), 4);
    ar__buf_add(out, event->data, event->len);
    put_fixed(out, masked(crc32c(event->data, event->len)), 4);
}

static void write_out(ar_events *e, const ar_buf *b) {
    for (size_t done = 0; e->fd >= 0 && !b->failed && done < b->len;) {
        ssize_t k = write(e->fd, b->data + done, b->len - done);
        if (k <= 0) return;
        done += (size_t)k;
    }
}

/* The bytes of whole records up to `step`. */
static size_t kept_length(const ar_buf *b, int64_t step) {
    size_t at = 0;
    while (b->len - at > FRAME + TAIL) {
        uint64_t n = take_fixed(b->data + at, 8);
        if (n > b->len - at - FRAME - TAIL || step_of(b->data + at + FRAME, (size_t)n) > step) break;
        at += FRAME + (size_t)n + TAIL;
    }
    return at;
}

/* ---- the file --------------------------------------------------------------------------------------------------------*/

char *ar__events_find(const char *dir) {
    DIR *d = opendir(dir);
    char *found = NULL;
    for (struct dirent *e; d && !found && (e = readdir(d));) {
        size_t n = strlen(e->d_name);
        bool ours = n > sizeof PREFIX + sizeof SUFFIX && !strncmp(e->d_name, PREFIX, sizeof PREFIX - 1) &&
                    !strcmp(e->d_name + n - (sizeof SUFFIX - 1), SUFFIX);
        if (ours) found = ar__path_join(dir, e->d_name);
    }
    if (d) closedir(d);
    return found;
}

static ar_status begin_file(ar_events *e, ar_error *err) {
    static const char version[] = "brain.Event:2";
    ar_buf event = {0}, record = {0};
    begin_event(&event, 0);
    put_bytes(&event, 3, version, sizeof version - 1);
    put_record(&record, &event);
    ar_status s = record.failed || event.failed ? ar__fail_memory(err, e->path) : ar__file_write(e->path, record.data, record.len, err);
    ar__buf_release(&event);
    ar__buf_release(&record);
    return s;
}

static ar_status cut_file(const char *path, int64_t step, ar_error *err) {
    ar_buf old = {0};
    ar_status s = ar__file_read(&old, path, (size_t)1 << 32, err);
    if (!s && old.data) s = ar__file_write(path, old.data, kept_length(&old, step), err);
    ar__buf_release(&old);
    return s;
}

ar_status ar__events_open(ar_events *out, const char *dir, int64_t step, ar_error *err) {
    char name[64], *old = ar__events_find(dir);
    *out = AR_EVENTS_NONE;
    if (old && step > 0) {
        out->path = old;
        ar_status s = cut_file(old, step, err);
        if (s) return s;
    } else {
        if (old) unlink(old);
        free(old);
        snprintf(name, sizeof name, PREFIX "%lld" SUFFIX, (long long)time(NULL));
        out->path = ar__path_join(dir, name);
        ar_status s = out->path ? begin_file(out, err) : ar__fail_memory(err, dir);
        if (s) return s;
    }
    out->fd = open(out->path, O_WRONLY | O_APPEND | O_CLOEXEC);
    return out->fd < 0 ? ar__fail_errno(err, "%s: cannot open", out->path) : AR_OK;
}

void ar__events_remove(const char *dir) {
    char *old = ar__events_find(dir);
    if (old) unlink(old);
    free(old);
}

void ar__events_close(ar_events *e) {
    if (e->fd >= 0) close(e->fd);
    free(e->path);
    *e = AR_EVENTS_NONE;
}

void ar__events_add(ar_events *e, int64_t step, const ar_event_value *values, int count) {
    ar_buf event = {0}, summary = {0}, value = {0}, record = {0};
    if (e->fd < 0) return;
    for (int i = 0; i < count; i++) {
        if (!isfinite(values[i].value)) continue;
        ar__buf_clear(&value);
        put_bytes(&value, 1, values[i].tag, strlen(values[i].tag));
        put_float(&value, 2, (float)values[i].value);
        put_bytes(&summary, 1, value.data, value.len);
    }
    begin_event(&event, step);
    put_bytes(&event, 5, summary.data ? summary.data : "", summary.len);
    put_record(&record, &event);
    if (!event.failed && !summary.failed && !value.failed) write_out(e, &record);
    ar__buf_release(&event);
    ar__buf_release(&summary);
    ar__buf_release(&value);
    ar__buf_release(&record);
}
