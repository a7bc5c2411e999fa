/* Lines that a person types: edited and with a history on a terminal (libedit), plain ones elsewhere. */
#ifndef ALPHAR_CLI_LINE_H
#define ALPHAR_CLI_LINE_H

/* The next line without its end; caller frees.  NULL at the end of the input.  Ctrl-C clears the line. */
char *cli_line_read(const char *prompt);

#endif
