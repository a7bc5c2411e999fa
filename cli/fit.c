#include "fit.h"

#include <stdio.h>
#include <stdlib.h>

enum { SHOWN = 20 };
#define EXACT 1e-6
#define LOSSY 0.1

/* What the table amounts to: the proof behind it says only that the file holds these numbers. */
static void conclude(char *out, size_t size, const ar_fit *fit) {
    const ar_site_fit *worst = NULL;
    size_t lossy = 0;
    for (size_t i = 0; i < fit->count; i++) {
        const ar_site_fit *f = &fit->sites[i];
        lossy += f->relative_error > LOSSY;
        if (!worst || f->relative_error > worst->relative_error) worst = f;
    }
    if (!worst || worst->relative_error <= EXACT)
        snprintf(out, size, "nothing of the update is lost");
    else
        snprintf(out, size, "%s keeps %.3g%% of its energy: its update is off by %.3g; %zu of %zu sites are off by more than a tenth%s",
                 worst->name, 100.0 * worst->energy, worst->relative_error, lossy, fit->count,
                 lossy ? ": a larger --rank (or --energy 0.99) keeps more" : "");
}

static json_t *to_json(const char *path, const ar_fit *fit, const ar_proof *proof) {
    json_t *sites = json_array();
    for (size_t i = 0; i < fit->count; i++) {
        const ar_site_fit *f = &fit->sites[i];
        json_array_append_new(sites, json_pack("{s:s, s:i, s:o, s:o}", "name", f->name, "rank", f->rank, "relative_error",
                                               cli_json_real(f->relative_error), "energy", cli_json_real(f->energy)));
    }
    char text[400];
    conclude(text, sizeof text, fit);
    return json_pack("{s:s, s:o, s:o, s:i, s:o, s:s}", "out", path, "sites", sites, "proof", cli_json_proof(proof), "folded", proof->folded,
                     "alpha", cli_json_real(proof->alpha), "conclusion", text);
}

static int by_error(const void *a, const void *b) {
    const ar_site_fit *x = a, *y = b;
    return (x->relative_error < y->relative_error) - (x->relative_error > y->relative_error);
}

/* The worst first. */
static void print_table(const ar_fit *fit, bool all) {
    ar_site_fit *sorted = malloc(fit->count * sizeof *sorted);
    size_t shown = all || fit->count <= SHOWN ? fit->count : SHOWN;
    int low = fit->count ? fit->sites[0].rank : 0, high = low;
    if (!sorted) return;
    for (size_t i = 0; i < fit->count; i++) {
        sorted[i] = fit->sites[i];
        low = sorted[i].rank < low ? sorted[i].rank : low;
        high = sorted[i].rank > high ? sorted[i].rank : high;
    }
    qsort(sorted, fit->count, sizeof *sorted, by_error);
    printf("%6s %12s %10s  site\n", "rank", "error", "energy");
    for (size_t i = 0; i < shown; i++)
        printf("%6d %12.4e %9.4f%%  %s\n", sorted[i].rank, sorted[i].relative_error, 100.0 * sorted[i].energy, sorted[i].name);
    if (shown < fit->count) printf("… and %zu nearer ones (--all shows them)\n", fit->count - shown);
    printf("%zu site%s, rank %d", fit->count, fit->count == 1 ? "" : "s", low);
    if (high != low) printf(" to %d", high);
    putchar('\n');
    free(sorted);
}

int cli_finish_fit(cli *c, const char *path, const ar_fit *fit, const ar_proof *proof, bool all) {
    if (c->json) return cli_print_json(c, to_json(path, fit, proof));
    char text[400];
    print_table(fit, all);
    conclude(text, sizeof text, fit);
    cli_print_proof(path, proof);
    printf("%s\n", text);
    return cli_finish(c);
}
