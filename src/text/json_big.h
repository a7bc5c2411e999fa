/* The two members of a tokenizer.json that make it megabytes, read as they stream by: the document tree of a
 * vocabulary of 150,000 takes jansson a quarter of a second, and nothing of it is needed twice.
 *
 * Only the plain form is read here.  Whatever surprises makes a function return false, and the caller reads the
 * whole document with jansson, which also has the words for what is wrong. */
#ifndef AR_TEXT_JSON_BIG_H
#define AR_TEXT_JSON_BIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/mem.h"

typedef struct ar_json_span {
    const char *at, *end;
} ar_json_span;

/* Finds the values of model.vocab (an object) and model.merges (an array); appends the document with {} and [] in their
 * places to rest.  The text need not be valid JSON elsewhere: jansson will read the rest. */
bool ar__json_big_find(ar_json_span *vocab, ar_json_span *merges, ar_buf *rest, const char *s, size_t n);

/* A walk over the members of one of the two. */
typedef struct ar_json_walk {
    const char *at, *end;
    ar_buf text[2]; /* unescaped strings */
    bool started;
} ar_json_walk;

/* A string, unescaped, in the walk's buffers or in the document. */
typedef struct ar_json_text {
    const char *s;
    size_t n;
} ar_json_text;

/* 1: "key": id was read; 0: the object ends; -1: not the plain form. */
int ar__json_walk_vocab(ar_json_walk *w, ar_json_text *key, int64_t *id);
/* 1: "a b" or ["a", "b"] was read; 0: the array ends; -1: not the plain form. */
int ar__json_walk_merges(ar_json_walk *w, ar_json_text *a, ar_json_text *b);
void ar__json_walk_release(ar_json_walk *w);

#endif
