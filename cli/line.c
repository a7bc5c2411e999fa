#include "line.h"

#include <editline/readline.h>
#include <langinfo.h>
#include <locale.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
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
    for (ssize_t i = 0; i < n; i++)
        if (!line[i]) line[i] = '\xff'; /* no text either, and whoever reads the line sees it */
    while (n > 0 && (line[n - 1] == '\n' || line[n - 1] == '\r')) line[--n] = 0;
    return line;
}

/* ---- a line that is edited: libedit is called for each key, so that Ctrl-C is seen between two of them --------------------*/

static volatile sig_atomic_t interrupted;
static char *taken;
static bool done;

static void interrupt(int number) {
    (void)number;
    interrupted = 1;
}

static void take(char *line) {
    taken = line;
    done = true;
    rl_callback_handler_remove();
}

/* Ctrl-C drops what was typed; it comes while nothing but ppoll runs. */
static void wait_for_line(const char *prompt, const sigset_t *open) {
    struct pollfd in = {.fd = STDIN_FILENO, .events = POLLIN};
    for (done = false, interrupted = 0; !done;) {
        if (ppoll(&in, 1, NULL, open) > 0) {
            rl_callback_read_char();
        } else if (interrupted) {
            interrupted = 0;
            rl_callback_handler_remove();
            puts("");
            rl_callback_handler_install(prompt, take);
        }
    }
}

/* libedit drops letters that the locale has not; what is typed here is UTF-8 in any case. */
static void read_utf8(void) {
    static bool set;
    if (!set && (!setlocale(LC_CTYPE, "") || strcmp(nl_langinfo(CODESET), "UTF-8"))) setlocale(LC_CTYPE, "C.UTF-8");
    set = true;
}

static char *read_edited(const char *prompt) {
    struct sigaction action = {.sa_handler = interrupt}, before;
    sigset_t closed, open;
    read_utf8();
    sigemptyset(&action.sa_mask);
    sigemptyset(&closed);
    sigaddset(&closed, SIGINT);
    sigprocmask(SIG_BLOCK, &closed, &open);
    sigaction(SIGINT, &action, &before);
    fflush(stdout);
    rl_callback_handler_install(prompt, take);
    wait_for_line(prompt, &open);
    if (!taken) puts(""); /* behind the end of the input */
    sigaction(SIGINT, &before, NULL);
    sigprocmask(SIG_SETMASK, &open, NULL);
    if (taken && *taken) add_history(taken);
    return taken;
}

char *cli_line_read(const char *prompt) { return isatty(STDIN_FILENO) && isatty(STDOUT_FILENO) ? read_edited(prompt) : read_plain(); }
