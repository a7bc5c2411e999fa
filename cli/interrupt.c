#include "interrupt.h"

#include <signal.h>
#include <stddef.h>
#include <unistd.h>

#include "options.h"

static volatile sig_atomic_t signals, patience, ending, ranks;

/* A terminal that closes may be told by the kernel and by its shell: a hangup is no second wish. */
static void take(int number) {
    static const char note[] = "\nalphar: stopping where nothing gets lost; again to stop now\n",
                      lost[] = "\nalphar: told to stop by the launcher (SIGTERM): where nobody asked for that, another rank was lost or "
                               "killed; stopping, and what is "
                               "in checkpoints is whole: --resume goes on from there\n";
    bool by_launcher = ranks && number == SIGTERM;
    if (number == SIGHUP && signals > 0) return;
    if (signals >= patience) _exit(CLI_INTERRUPTED);
    signals = signals + 1;
    if (!ending) (void)!write(STDERR_FILENO, by_launcher ? lost : note, (by_launcher ? sizeof lost : sizeof note) - 1);
}

void cli_interrupt_end(void) { ending = 1; }

void cli_interrupt_init(bool finish_step, bool over_ranks) {
    struct sigaction action = {.sa_handler = take, .sa_flags = SA_RESTART}, before;
    sigemptyset(&action.sa_mask);
    patience = finish_step;
    ranks = over_ranks;
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    if (sigaction(SIGHUP, NULL, &before) == 0 && before.sa_handler != SIG_IGN) sigaction(SIGHUP, &action, NULL); /* not under nohup */
    if (finish_step) signal(SIGPIPE, SIG_IGN); /* nobody reads the progress any more: the work goes on */
}

bool cli_interrupted(void *user) {
    (void)user;
    return signals > 0;
}
