#include "line.h"

#include <editline/readline.h>
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char *read_plain(void) {
    char *line = NULL;
    size_t cap = 0;
    ssize_t n = getline(&line, &cap, stdin);
    if (n < 0) {
        free(line);
        return NULL;
    }
    while (n > 0 && (line[n - 1] == '\n' || line[n - 1] == '\r')) line[--n] = 0;
    return line;
}

static sigjmp_buf again;

static void leave(int number) {
    (void)number;
    siglongjmp(again, 1); /* out of read(2), which is where a person types */
}

static char *read_edited(const char *prompt) {
    struct sigaction action = {.sa_handler = leave}, before;
    sigemptyset(&action.sa_mask);
    if (sigsetjmp(again, 1)) fputs("\n", stdout);
    fflush(stdout);
    sigaction(SIGINT, &action, &before);
    char *line = readline(prompt);
    if (before.sa_handler != leave) sigaction(SIGINT, &before, NULL);
    if (line && *line) add_history(line);
    return line;
}

char *cli_line_read(const char *prompt) { return isatty(STDIN_FILENO) && isatty(STDOUT_FILENO) ? read_edited(prompt) : read_plain(); }
