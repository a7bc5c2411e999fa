/* A tokenizer as a filter, for the comparison with Hugging Face: many strings through one process.
 *
 *     tokenize_ids FILE < requests > answers
 *     request:  u32 kind | u32 n | n bytes      kind 0: encode, 1: with special tokens, 2: decode, 3: without special tokens, 4: no prefix
 *     answer:   u32 status | u32 n | n bytes    ids as i32, text, or the error's message */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "alphar/tokenizer.h"

enum { ENCODE, ENCODE_SPECIAL, DECODE, DECODE_SKIP, ENCODE_NO_PREFIX };

static int answer(uint32_t status, const void *bytes, size_t n) {
    uint32_t head[2] = {status, (uint32_t)n};
    return fwrite(head, sizeof head, 1, stdout) == 1 && fwrite(bytes, 1, n, stdout) == n && fflush(stdout) == 0;
}

static int serve(const ar_tokenizer *tk, uint32_t kind, const char *data, size_t n) {
    ar_error err = {0};
    if (kind == DECODE || kind == DECODE_SKIP) {
        char *text;
        size_t len;
        const int32_t *ids = (const void *)data;
        if (ar_tokenizer_decode(&text, &len, tk, ids, n / sizeof *ids, kind == DECODE_SKIP, &err)) {
            return answer(err.status, err.message, strlen(err.message));
        }
        int ok = answer(0, text, len);
        free(text);
        return ok;
    }
    ar_ids ids = {0};
    unsigned flags = kind == ENCODE_SPECIAL ? AR_TOKENIZE_SPECIAL : kind == ENCODE_NO_PREFIX ? AR_TOKENIZE_NO_PREFIX : 0;
    int ok = ar_tokenizer_encode(&ids, tk, data, n, flags, &err) ? answer(err.status, err.message, strlen(err.message))
                                                                 : answer(0, ids.id, ids.count * sizeof *ids.id);
    ar_ids_release(&ids);
    return ok;
}

int main(int argc, char **argv) {
    ar_tokenizer *tk;
    ar_error err;
    if (argc != 2 || ar_tokenizer_open(&tk, argv[1], &err)) {
        fprintf(stderr, "%s\n", argc == 2 ? err.message : "usage: tokenize_ids FILE");
        return 1;
    }
    uint32_t head[2];
    int ok = 1;
    while (ok && fread(head, sizeof head, 1, stdin) == 1) {
        char *data = malloc(head[1] + 1u);
        ok = data && fread(data, 1, head[1], stdin) == head[1] && serve(tk, head[0], data, head[1]);
        free(data);
    }
    ar_tokenizer_free(tk);
    return !ok;
}
