#include "interrupt.h"

#include <signal.h>
#include <stddef.h>
#include <unistd.h>

#include "options.h"

static volatile sig_atomic_t signals, patience;

static void take(int number) {
    (void)number;
    static const char note[] = "\nalphar: stopping where nothing gets lost; again to stop now\n";
    if (signals >= patience) _exit(CLI_INTERRUPTED);
    signals = signals + 1;
    (void)!write(STDERR_FILENO, note, sizeof note - 1);
}

void cli_interrupt_init(bool finish_step) {
    struct sigaction action = {.sa_handler = take, .sa_flags = SA_RESTART};
    sigemptyset(&action.sa_mask);
    patience = finish_step;
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

bool cli_interrupted(void *user) {
    (void)user;
    return signals > 0;
}
