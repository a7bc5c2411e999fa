/* Encoding speed: one thread, one text per line, as a data set is read.
 *
 *     bench_tokenize [TOKENIZER TEXTS [PASSES]]     median megabytes per second; PASSES 0: one pass for every line on stdin
 *
 * Without arguments: the tokenizers and the data of ../shared/material.  bench/tokenize_rival.py drives this program and
 * Hugging Face's library in turns. */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "alphar/tokenizer.h"

enum { MAX_PASSES = 99 };

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static char *read_file(const char *path, size_t *n) {
    FILE *f = fopen(path, "rb");
    char *data = NULL;
    *n = 0;
    if (!f) return NULL;
    for (size_t cap = 1 << 20;; cap *= 2) {
        char *grown = realloc(data, cap + 1);
        if (!grown) break;
        data = grown;
        *n += fread(data + *n, 1, cap - *n, f);
        if (*n < cap) break;
    }
    fclose(f);
    return data;
}

/* Encodes every line; returns the seconds, and the ids in *count. */
static double pass(const ar_tokenizer *tk, const char *data, size_t n, size_t *count) {
    ar_ids ids = {0};
    double start = now();
    *count = 0;
    for (const char *line = data, *end = data + n; line < end;) {
        const char *stop = memchr(line, '\n', (size_t)(end - line));
        size_t len = stop ? (size_t)(stop - line) : (size_t)(end - line);
        ids.count = 0;
        if (ar_tokenizer_encode(&ids, tk, line, len, 0, NULL)) {
            fprintf(stderr, "bench_tokenize: a line cannot be encoded\n");
            exit(1);
        }
        *count += ids.count;
        line += len + 1;
    }
    double seconds = now() - start;
    ar_ids_release(&ids);
    return seconds;
}

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static int run(const char *tokenizer, const char *texts, int passes) {
    ar_tokenizer *tk;
    ar_error err;
    size_t n, count;
    double opened = now(), seconds[MAX_PASSES];
    if (ar_tokenizer_open(&tk, tokenizer, &err)) {
        fprintf(stderr, "%s\n", err.message);
        return 1;
    }
    opened = now() - opened;
    char *data = read_file(texts, &n), line[64];
    if (!data) {
        fprintf(stderr, "%s: cannot read\n", texts);
        ar_tokenizer_free(tk);
        return 1;
    }
    if (passes == 0) {
        printf("opened %.4f\n", opened);
        fflush(stdout);
        while (fgets(line, sizeof line, stdin)) {
            double s = pass(tk, data, n, &count);
            printf("%.6f %zu\n", s, count);
            fflush(stdout);
        }
    } else {
        for (int i = 0; i < passes; i++) seconds[i] = pass(tk, data, n, &count);
        qsort(seconds, (size_t)passes, sizeof *seconds, ascending);
        printf("%-60s open %6.1f ms  %7.1f MB/s  %zu tokens\n", tokenizer, opened * 1e3, (double)n / seconds[passes / 2] * 1e-6, count);
    }
    free(data);
    ar_tokenizer_free(tk);
    return 0;
}

int main(int argc, char **argv) {
    static const char *const files[] = {"tokenizers/qwen2.5/tokenizer.json", "tokenizers/gpt2/tokenizer.json",
                                        "tokenizers/phi3/tokenizer.json", "tokenizers/falcon/tokenizer.json",
                                        "tokenizers/mistral-spm/tokenizer.model.v1"};
    const char *texts = "../shared/material/datasets/gsm8k/train.jsonl";
    if (argc >= 3) {
        int passes = argc > 3 ? (int)strtol(argv[3], NULL, 10) : 5;
        return run(argv[1], argv[2], passes < 0 || passes > MAX_PASSES ? 5 : passes);
    }
    FILE *probe = fopen(texts, "rb");
    if (!probe) {
        printf("bench_tokenize: skipped, %s is not there\n", texts);
        return 0;
    }
    fclose(probe);
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        char path[256];
        snprintf(path, sizeof path, "../shared/material/%s", files[i]);
        if (run(path, texts, 5)) return 1;
    }
    return 0;
}
