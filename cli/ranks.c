#include "ranks.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "alphar/ranks.h"
#include "interrupt.h"

/* From another thread: what the command says when it comes to it would say it again. */
static void end(void *user, const char *message) {
    cli *c = user;
    c->ended = true;
    cli_interrupt_end();
    if (ar_ranks_index(c->ranks) <= 1) fprintf(stderr, "\nalphar: %s\n", message); /* rank 0, and rank 1 of rank 0's loss */
}

bool cli_helps(const cli *c) { return ar_ranks_index(c->ranks) > 0; }

/* Which process of the launcher this is, where they have not met. */
static bool is_first_launched(void) {
    static const char *const names[] = {"OMPI_COMM_WORLD_RANK", "PMI_RANK", "MV2_COMM_WORLD_RANK", "PMIX_RANK"};
    const char *text = NULL;
    for (size_t i = 0; !text && i < sizeof names / sizeof *names; i++) text = getenv(names[i]);
    return !text || !strcmp(text, "0");
}

/* What the commands agree on depends on which they are, so that comes first. */
static int agree(cli *c, const cli_command *command) {
    char *first = strdup(command->name);
    ar_error err;
    if (!first) return cli_fail_memory(c);
    int code = ar_ranks_text(c->ranks, &first, &err) ? cli_fail(c, &err) : CLI_OK;
    if (!code && strcmp(first, command->name) != 0)
        code = cli_fail_usage(c, "found this command here, and %s on rank 0; all ranks need the same", first);
    free(first);
    return code;
}

int cli_ranks_join(cli *c, const cli_command *command) {
    ar_error err;
    if (!command->shares) return CLI_OK; /* each process works for itself */
    if (ar_ranks_join(&c->ranks, end, c, &err)) {
        c->ended = !is_first_launched(); /* who is to say it */
        return cli_fail(c, &err);
    }
    int code = agree(c, command);
    if (code || !cli_helps(c)) return code;
    signal(SIGINT, SIG_IGN); /* a launcher signals all, and rank 0 says what follows from it */
    signal(SIGTERM, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    return CLI_OK;
}
