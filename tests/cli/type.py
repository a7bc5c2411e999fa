#!/usr/bin/env python3
"""Types into a program on a terminal of 80 columns: its steps are arguments, the last one of them for the end of the input.

    type.py PROGRAM ARGUMENT… -- 'expect TEXT' 'type TEXT' 'key c' …

expect TEXT waits (a minute) until the program has written it, after what was expected before; `type` sends the text and Return, `key`
Ctrl and the letter, `left N` the arrow key, `up N` likewise.  What the program wrote goes to stdout; the status is its own, 99 where
something expected did not come.  Then `stty: cooked` or what else the terminal is in."""
import fcntl
import os
import pty
import select
import signal
import struct
import sys
import termios
import time


def main():
    at = sys.argv.index("--")
    program, steps = sys.argv[1:at], sys.argv[at + 1 :]
    pid, fd = pty.fork()
    if pid == 0:
        os.environ["TERM"] = "xterm"
        os.execvp(program[0], program)
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    before = termios.tcgetattr(fd)[3]
    seen, done = b"", 0

    def more(seconds):
        nonlocal seen
        if not select.select([fd], [], [], seconds)[0]:
            return True
        try:
            part = os.read(fd, 4096)
        except OSError:
            part = b""
        seen += part
        return bool(part)

    for step in steps:
        kind, _, text = step.partition(" ")
        if kind == "expect":
            limit = time.monotonic() + 60
            while (found := seen.find(text.encode(), done)) < 0:
                if time.monotonic() > limit or not more(1):
                    sys.stdout.write(seen.decode("utf-8", "replace") + f"\n[{text!r} did not come]\n")
                    os.kill(pid, signal.SIGKILL)
                    return 99
            done = found + len(text.encode())
            continue
        keys = {"type": text.encode() + b"\r", "key": bytes([ord(text[:1] or "@") & 31]), "left": b"\x1b[D", "up": b"\x1b[A"}
        times = int(text) if kind in ("left", "up") else 1
        time.sleep(0.2)  # behind its prompt a program still changes the terminal's mode
        os.write(fd, keys[kind] * times)
    after = termios.tcgetattr(fd)[3]
    limit = time.monotonic() + 20
    while more(1):
        after = termios.tcgetattr(fd)[3]
        if time.monotonic() > limit:
            sys.stdout.write(seen.decode("utf-8", "replace") + "\n[it does not end]\n")
            os.kill(pid, signal.SIGKILL)
            return 99
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    flags = termios.ICANON | termios.ECHO
    sys.stdout.write(seen.decode("utf-8", "replace"))
    print(f"\nstatus {status}; the terminal as before: {after & flags == before & flags}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
