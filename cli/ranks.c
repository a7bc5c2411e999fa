#include "ranks.h"

#include <signal.h>
#include <stdio.h>

#include "alphar/ranks.h"

/* From another thread: what the command says when it comes to it would say it again. */
static void end(void *user, const char *message) {
    cli *c = user;
    c->ended = true;
    fprintf(stderr, "\nalphar: %s\n", message);
}

bool cli_helps(const cli *c) { return ar_ranks_index(c->ranks) > 0; }

int cli_ranks_join(cli *c, const cli_command *command) {
    ar_error err;
    if (!command->shares) return CLI_OK; /* each process works for itself */
    if (ar_ranks_join(&c->ranks, end, c, &err)) return cli_fail(c, &err);
    if (!cli_helps(c)) return CLI_OK;
    signal(SIGINT, SIG_IGN); /* a launcher signals all, and rank 0 says what follows from it */
    signal(SIGTERM, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    return CLI_OK;
}
