/* Allocation with overflow checks, a growing byte buffer, and the arena.
 *
 * Four lifetimes: process, object (malloc/free here), step and scratch (arena).  All results of ar__alloc are
 * 64-byte aligned so that any of them may be a kernel's operand. */
#ifndef AR_BASE_MEM_H
#define AR_BASE_MEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* count * size zeroed bytes, 64-byte aligned; NULL on overflow or exhaustion.  Release with free(). */
void *ar__alloc(size_t count, size_t size);
/* Copies a string or n bytes of it (with a closing NUL).  NULL when memory runs out. */
char *ar__strdup(const char *s);
char *ar__strndup(const char *s, size_t n);
/* *out = a * b; false on overflow. */
bool ar__mul(size_t *out, size_t a, size_t b);

/* Bytes that grow.  `failed` stays set once memory ran out, so that callers check once at the end.
 * data is always NUL-terminated behind len, or NULL while nothing was ever added. */
typedef struct ar_buf {
    char *data;
    size_t len, cap;
    bool failed;
} ar_buf;

void ar__buf_add(ar_buf *b, const void *bytes, size_t n);
void ar__buf_puts(ar_buf *b, const char *s);
void ar__buf_printf(ar_buf *b, const char *format, ...) __attribute__((format(printf, 2, 3)));
void ar__buf_clear(ar_buf *b);   /* len = 0, memory kept */
void ar__buf_release(ar_buf *b); /* frees; safe on a zeroed or released buffer */

/* Grows an array kept as (pointer, capacity) so that it holds `need` elements; new memory is zeroed.
 * Returns the (possibly moved) array, or NULL with the old one untouched. */
void *ar__grow(void *array, size_t *cap, size_t need, size_t size);

/* A fixed block from which a step takes its memory:
 *
 *     base |<---- used ---->|<-- free -->| size          mark = used, reset = used back to a mark
 *
 * With base == NULL the arena only measures: it hands out NULL and `peak` says what a real one must hold, so the
 * planner runs the very code that later allocates. */
typedef struct ar_arena {
    char *base;
    size_t size, used, peak;
} ar_arena;
typedef size_t ar_mark;

bool ar__arena_init(ar_arena *a, size_t size); /* false when memory runs out; size 0 makes a measuring arena */
void ar__arena_release(ar_arena *a);
void *ar__arena_take(ar_arena *a, size_t bytes); /* 64-byte aligned, not zeroed; asserts that it fits */
static inline float *ar__arena_f32(ar_arena *a, size_t count) { return (float *)ar__arena_take(a, count * sizeof(float)); }
static inline ar_mark ar__arena_mark(const ar_arena *a) { return a->used; }
static inline void ar__arena_reset(ar_arena *a, ar_mark m) { a->used = m; }

#endif
