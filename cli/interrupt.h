/* Ctrl-C, SIGTERM, a terminal that closes: the first asks a command that has steps to finish its step, the second ends the
 * process. */
#ifndef ALPHAR_CLI_INTERRUPT_H
#define ALPHAR_CLI_INTERRUPT_H

#include <stdbool.h>

/* Without finish_step already the first signal ends the process with status 130. */
void cli_interrupt_init(bool finish_step);
/* Whether a signal has come; the shape of a stop callback, user is not looked at. */
bool cli_interrupted(void *user);

#endif
