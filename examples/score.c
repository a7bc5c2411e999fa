/* How surprised is a base by a text?  Prints each token with its log-probability, and the mean.
 *
 *     cc -o score examples/score.c $(pkg-config --cflags --libs alphar)
 *     ./score MODEL TEXT [ADAPTER]
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "alphar/eval.h"

static ar_status print_token(const ar_tokenizer *tk, int32_t id, double logprob, ar_error *err) {
    char *text = NULL;
    size_t n;
    ar_status s = ar_tokenizer_decode(&text, &n, tk, &id, 1, false, err);
    if (!s) printf("%8.3f  '%s'\n", logprob, text);
    free(text);
    return s;
}

static ar_status score(ar_session *session, const char *text, ar_error *err) {
    const ar_tokenizer *tk = ar_session_tokenizer(session);
    ar_ids ids = {0};
    double *logprobs = NULL, sum = 0;
    ar_status s = ar_tokenizer_encode_whole(&ids, NULL, tk, text, strlen(text), err);
    if (!s && !(logprobs = calloc(ids.count + 1, sizeof *logprobs))) s = AR_ERR_MEMORY;
    if (!s) s = ar_score(logprobs, session, ids.id, ids.count, NULL, err);
    for (size_t i = 1; !s && i < ids.count; i++) { /* nothing stands before the first token */
        s = print_token(tk, ids.id[i], logprobs[i - 1], err);
        sum += logprobs[i - 1];
    }
    if (!s) printf("%8.3f  mean over %zu tokens\n", sum / (double)(ids.count - 1), ids.count - 1);
    free(logprobs);
    ar_ids_release(&ids);
    return s;
}

int main(int argc, char **argv) {
    if (argc < 3) return fprintf(stderr, "usage: %s MODEL TEXT [ADAPTER…]\n", argv[0]), 2;
    ar_error err = {.message = "out of memory"};
    ar_runtime *rt = NULL;
    ar_session *session = NULL;
    ar_session_options options = {.model = argv[1], .adapters = (const char *const *)argv + 3, .adapter_count = argc - 3};
    ar_status s = ar_runtime_new(&rt, NULL, &err);
    if (!s) s = ar_session_open(&session, rt, &options, &err);
    if (!s) s = score(session, argv[2], &err);
    if (s) fprintf(stderr, "%s\n", err.message);
    ar_session_free(session);
    ar_runtime_free(rt);
    return s != AR_OK;
}
