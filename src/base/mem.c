#include "base/mem.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { ALIGN = 64, HUGE_PAGE = 2 << 20 };

bool ar__mul(size_t *out, size_t a, size_t b) { return !__builtin_mul_overflow(a, b, out); }

void *ar__alloc(size_t count, size_t size) {
    size_t bytes;
    if (!ar__mul(&bytes, count, size) || bytes > SIZE_MAX / 2) return NULL;
    bytes = (bytes + ALIGN - 1) / ALIGN * ALIGN;
    if (bytes == 0) bytes = ALIGN;
    void *p = aligned_alloc(ALIGN, bytes);
    if (p) memset(p, 0, bytes);
    return p;
}

char *ar__strndup(const char *s, size_t n) {
    char *p = malloc(n + 1);
    if (p) {
        memcpy(p, s, n);
        p[n] = '\0';
    }
    return p;
}

char *ar__strdup(const char *s) { return ar__strndup(s, strlen(s)); }

static bool buf_reserve(ar_buf *b, size_t more) {
    if (b->failed) return false;
    size_t need;
    if (__builtin_add_overflow(b->len, more, &need) || __builtin_add_overflow(need, 1, &need)) {
        b->failed = true;
        return false;
    }
    if (need <= b->cap) return true;
    size_t cap = b->cap ? b->cap : 64;
    while (cap < need) cap = cap > SIZE_MAX / 2 ? need : cap * 2;
    char *p = realloc(b->data, cap);
    if (!p) {
        b->failed = true;
        return false;
    }
    b->data = p;
    b->cap = cap;
    return true;
}

void ar__buf_add(ar_buf *b, const void *bytes, size_t n) {
    if (!buf_reserve(b, n)) return;
    if (n) memcpy(b->data + b->len, bytes, n);
    b->len += n;
    b->data[b->len] = '\0';
}

void ar__buf_puts(ar_buf *b, const char *s) { ar__buf_add(b, s, strlen(s)); }

void ar__buf_printf(ar_buf *b, const char *format, ...) {
    va_list ap, again;
    va_start(ap, format);
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, format, ap);
    va_end(ap);
    if (n < 0)
        b->failed = true;
    else if (buf_reserve(b, (size_t)n)) {
        vsnprintf(b->data + b->len, (size_t)n + 1, format, again);
        b->len += (size_t)n;
    }
    va_end(again);
}

void ar__buf_clear(ar_buf *b) {
    b->len = 0;
    if (b->data) b->data[0] = '\0';
}

void ar__buf_release(ar_buf *b) {
    free(b->data);
    *b = (ar_buf){0};
}

void *ar__grow(void *array, size_t *cap, size_t need, size_t size) {
    if (array && need <= *cap) return array;
    size_t next = *cap ? *cap : 8, bytes;
    while (next < need) {
        if (next > SIZE_MAX / 2) return NULL;
        next *= 2;
    }
    if (!ar__mul(&bytes, next, size)) return NULL;
    char *p = realloc(array, bytes);
    if (!p) return NULL;
    size_t old = array ? *cap * size : 0;
    memset(p + old, 0, bytes - old);
    *cap = next;
    return p;
}

bool ar__arena_init(ar_arena *a, size_t size) {
    *a = (ar_arena){0};
    if (size == 0) return true;
    size_t align = size >= HUGE_PAGE ? HUGE_PAGE : ALIGN;
    if (size > SIZE_MAX - align) return false;
    size = (size + align - 1) / align * align;
    a->base = aligned_alloc(align, size);
    if (!a->base) return false;
#ifdef MADV_HUGEPAGE
    if (align == HUGE_PAGE) madvise(a->base, size, MADV_HUGEPAGE); /* only speed: a refusal does not matter */
#endif
    a->size = size;
    return true;
}

void ar__arena_release(ar_arena *a) {
    free(a->base);
    *a = (ar_arena){0};
}

void *ar__arena_take(ar_arena *a, size_t bytes) {
    size_t at = a->used;
    assert(bytes <= SIZE_MAX / 2 - at);
    a->used = at + (bytes + ALIGN - 1) / ALIGN * ALIGN;
    if (a->used > a->peak) a->peak = a->used;
    if (!a->base) return NULL;
    assert(a->used <= a->size && "the plan measured less than the step takes");
    return a->base + at;
}
