/* Conversations to ids: one thread, a row of messages per line.
 *
 *     bench_conversations FOLDER ROWS.jsonl      FOLDER: a tokenizer and its chat template
 *
 * For every line on stdin, one pass over all rows, timed.  "given": the messages are parsed; they are rendered and encoded, which is what
 * apply_chat_template of transformers does.  "rows": from the line of the file on, with the spans that are learned, which is what training
 * does.  bench/conversations_rival.py drives this program and transformers in turns. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "data/encode.h"

typedef struct bench {
    ar_tokenizer *tk;
    ar_chat *chat;
    ar_frames frames;
    ar_form form;
    ar_line *line; /* [count] */
    ar_parts *row; /* [count] parsed */
    size_t count, cap;
} bench;

static void must(ar_status s, const ar_error *err) {
    if (!s) return;
    fprintf(stderr, "bench_conversations: %s\n", err->message);
    exit(1);
}

static void read_rows(bench *b, const char *path) {
    FILE *f = fopen(path, "r");
    char *text = NULL;
    size_t room = 0;
    ssize_t n;
    ar_error err;
    for (; f && (n = getline(&text, &room, f)) > 0; b->count++) {
        if (b->count == b->cap) {
            size_t cap = b->cap;
            b->line = ar__grow(b->line, &cap, b->count + 1, sizeof *b->line);
            b->row = ar__grow(b->row, &b->cap, b->count + 1, sizeof *b->row);
        }
        b->line[b->count] = (ar_line){.text = ar__strndup(text, (size_t)n), .size = (size_t)n, .number = b->count + 1};
        must(ar__parts_read(&b->row[b->count], &b->line[b->count], &b->form, &err), &err);
    }
    free(text);
    if (f) fclose(f);
}

static size_t pass_given(bench *b) {
    ar_rendered whole = {0};
    ar_buf learned = {0};
    ar_ids ids = {0};
    ar_error err;
    size_t tokens = 0;
    for (size_t i = 0; i < b->count; i++, tokens += ids.count) {
        const ar_conversation *c = &b->row[i].conversation;
        ids.count = 0;
        ar__buf_clear(&learned);
        must(ar__chat_render(&whole, b->chat, c, c->count, false, &err), &err);
        must(ar__tokenizer_encode_marked(&ids, &learned, b->tk, whole.text.data, (const uint8_t *)whole.marks.data, whole.text.len,
                                         &ar__chat_choose(b->chat, c)->control, &err),
             &err);
    }
    ar__rendered_release(&whole);
    ar__buf_release(&learned);
    ar_ids_release(&ids);
    return tokens;
}

static size_t pass_rows(bench *b) {
    ar_encoding how = {.tk = b->tk, .form = &b->form, .chat = b->chat, .frames = &b->frames, .eos = -1};
    ar_encoded e = {0};
    ar_error err;
    size_t tokens = 0;
    for (size_t i = 0; i < b->count; i++, tokens += e.ids.count) must(ar__encode(&e, NULL, &b->line[i], &how, &err), &err);
    ar__encoded_release(&e);
    return tokens;
}

int main(int argc, char **argv) {
    bench b = {0};
    ar_error err;
    char *command = NULL;
    size_t room = 0;
    if (argc != 3) return fputs("usage: bench_conversations FOLDER ROWS.jsonl\n", stderr), 2;
    must(ar_tokenizer_open(&b.tk, argv[1], &err), &err);
    must(ar__chat_open(&b.chat, argv[1], NULL, b.tk, &err), &err);
    must(ar__frames_find(&b.frames, b.chat, &err), &err);
    must(ar__form_read(&b.form, NULL, NULL, &err), &err);
    read_rows(&b, argv[2]);
    while (getline(&command, &room, stdin) > 0) {
        double start = ar__clock_seconds();
        size_t tokens = pass_given(&b);
        double given = ar__clock_seconds() - start;
        start = ar__clock_seconds();
        pass_rows(&b);
        printf("%.6f %.6f %zu\n", given, ar__clock_seconds() - start, tokens);
        fflush(stdout);
    }
    free(command);
    for (size_t i = 0; i < b.count; i++) {
        ar__parts_release(&b.row[i]);
        free((char *)b.line[i].text);
    }
    free(b.line);
    free(b.row);
    ar__form_release(&b.form);
    ar__frames_release(&b.frames);
    ar__chat_free(b.chat);
    ar_tokenizer_free(b.tk);
    return 0;
}
