#include "text/track.h"

#include <stdlib.h>

#include "text/template/template.h"

static bool add(ar_track *t, size_t place, uint8_t mark) {
    size_t *source = ar__grow(t->source, &t->cap_source, t->count + 1, sizeof *source);
    if (source) t->source = source;
    size_t *now = ar__grow(t->now, &t->cap_now, t->count + 1, sizeof *now);
    if (now) t->now = now;
    uint8_t *marks = ar__grow(t->mark, &t->cap_mark, t->count + 1, sizeof *marks);
    if (marks) t->mark = marks;
    if (!source || !now || !marks) return false;
    t->source[t->count] = place;
    t->mark[t->count++] = mark;
    return true;
}

bool ar__track_begin(ar_track *t, const uint8_t *marks, size_t n, const uint8_t *control) {
    enum { COUNTS = AR_FROM_MASK | AR_LEARNED };
    t->count = t->moved = 0;
    t->control = control;
    for (size_t i = 0; i < n; i++) {
        uint8_t mark = marks[i] & COUNTS;
        if ((!i || mark != t->mark[t->count - 1]) && !add(t, i, mark)) return false;
    }
    return true;
}

void ar__track_release(ar_track *t) {
    free(t->source);
    free(t->now);
    free(t->mark);
    ar__buf_release(&t->part);
    ar__buf_release(&t->spare);
    *t = (ar_track){0};
}

/* The last place at or before `where`; 0 where there is none. */
static size_t place_of(const size_t *at, size_t count, size_t where) {
    size_t low = 0, high = count;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (at[mid] <= where)
            low = mid + 1;
        else
            high = mid;
    }
    return low ? low - 1 : 0;
}

bool ar__track_allows(const ar_track *t, const size_t *at, size_t count, size_t from, size_t to, size_t token) {
    uint8_t what = t->control[token];
    if (what == AR_TOKEN_ORDINARY || !count) return true;
    for (size_t i = place_of(at, count, from); i < count && at[i] < to; i++) {
        uint8_t origin = t->mark[i] & AR_FROM_MASK;
        if (origin == AR_FROM_OUTSIDE || (origin == AR_FROM_ASSISTANT && what == AR_TOKEN_SPECIAL)) return false;
    }
    return true;
}

/* Places that are not moved yet lie behind all that is asked for. */
bool ar__track_touches(const ar_track *t, size_t from, size_t to, size_t *cursor) {
    size_t i = *cursor, count = t->moved;
    while (i + 1 < count && t->now[i + 1] <= from) i++;
    *cursor = i;
    if (from == to) return count && t->mark[i] & AR_LEARNED && (t->now[i] < from || (i && t->mark[i - 1] & AR_LEARNED));
    for (; i < count && t->now[i] < to; i++) {
        size_t end = i + 1 < count ? t->now[i + 1] : SIZE_MAX;
        if (t->mark[i] & AR_LEARNED && t->now[i] < end && end > from) return true;
    }
    return false;
}
