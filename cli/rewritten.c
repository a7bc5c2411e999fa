#include "rewritten.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "interrupt.h"

enum { ROWS = 20, WORTH_SHOWING = 100000000 };

bool cli_rewrite_show(void *user, uint64_t done, uint64_t total) {
    cli *c = user;
    if (total >= WORTH_SHOWING)
        cli_progress_show(&c->progress, done == total, "writing  %.2f of %.2f GB", (double)done / 1e9, (double)total / 1e9);
    return !cli_interrupted(NULL);
}

static int by_noise(const void *a, const void *b) {
    const ar_rewritten *x = a, *y = b;
    if (x->noise != y->noise) return x->noise > y->noise ? -1 : 1;
    return strverscmp(x->name, y->name);
}

static json_t *to_json(const char *out, const char *type, const ar_rewrite_result *r) {
    json_t *list = json_array();
    for (size_t i = 0; i < r->count; i++) {
        const ar_rewritten *m = &r->matrices[i];
        json_array_append_new(list, json_pack("{s:s, s:s, s:s, s:o, s:b}", "name", m->name, "from", m->from, "type", m->type, "noise",
                                              cli_json_real(m->noise), "other", m->is_other));
    }
    if (json_array_size(list) != r->count) return NULL;
    return json_pack("{s:s, s:s?, s:I, s:I, s:o, s:o, s:o, s:I, s:o}", "out", out, "type", type, "bytes_before",
                     (json_int_t)r->bytes_before, "bytes_after", (json_int_t)r->bytes_after, "bits", cli_json_real(r->bits), "noise",
                     cli_json_real(r->noise), "worst", r->count ? json_string(r->matrices[0].name) : json_null(), "other",
                     (json_int_t)r->other, "matrices", list);
}

static void print_row(const ar_rewritten *m) {
    printf("%10.6f  %-6s %s%s\n", m->noise, m->type, m->name, m->is_other ? " (another type than asked for)" : "");
}

static void print_table(const char *out, const ar_rewrite_result *r, bool all) {
    size_t rows = all || r->count < ROWS ? r->count : ROWS;
    if (rows) printf("%10s  %-6s matrix\n", "noise", "type");
    for (size_t i = 0; i < rows; i++) print_row(&r->matrices[i]);
    size_t hidden = 0;
    for (size_t i = rows; i < r->count; i++) {
        if (r->matrices[i].is_other) print_row(&r->matrices[i]);
        hidden += !r->matrices[i].is_other;
    }
    if (hidden) printf("… and %zu with less noise (--all shows them)\n", hidden);
    printf("%s: %.3f GB, before %.3f GB; %.2f bits a weight; noise %.6f", out, (double)r->bytes_after / 1e9, (double)r->bytes_before / 1e9,
           r->bits, r->noise);
    if (r->other) printf("; %zu matri%s in another type", r->other, r->other == 1 ? "x" : "ces");
    putchar('\n');
}

int cli_rewrite_tell(cli *c, const char *out, const char *type, ar_rewrite_result *r, bool all) {
    if (r->count) qsort(r->matrices, r->count, sizeof *r->matrices, by_noise);
    r->worst = 0;
    if (c->json) return cli_print_json(c, to_json(out, type, r));
    cli_progress_end(&c->progress);
    print_table(out, r, all);
    return cli_finish(c);
}
