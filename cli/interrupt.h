/* Ctrl-C, SIGTERM, a terminal that closes: the first asks a command that has steps to finish its step, the second ends the
 * process. */
#ifndef ALPHAR_CLI_INTERRUPT_H
#define ALPHAR_CLI_INTERRUPT_H

#include <stdbool.h>

/* Without finish_step already the first signal ends the process with status 130.  over_ranks: SIGTERM is the launcher's word that another
 * rank is gone, more often than anyone's wish. */
void cli_interrupt_init(bool finish_step, bool over_ranks);
/* The command ends anyhow, and why was said: a signal has nothing to add. */
void cli_interrupt_end(void);
/* Whether a signal has come; the shape of a stop callback, user is not looked at. */
bool cli_interrupted(void *user);

#endif
