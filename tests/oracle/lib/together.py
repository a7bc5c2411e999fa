"""Runs oracle scripts two at a time, each in a process of its own that is forked from this one, so that torch, transformers and PEFT are imported once.

    together.py LOGS SCRIPT...        LOGS/oracle-NAME.log, and LOGS/oracle-NAME.status: the exit status
"""
import os, runpy, signal, sys, time

AT_ONCE, SECONDS = 2, 1800
os.environ.setdefault("HF_HUB_OFFLINE", "1")


def start(logs, script):
    name = os.path.join(logs, "oracle-" + os.path.basename(script)[:-3])
    sys.stdout.flush()
    child = os.fork()
    if child:
        return child, name
    os.setpgid(0, 0)
    for number, file, how in ((0, os.devnull, os.O_RDONLY), (1, name + ".log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)):
        os.dup2(os.open(file, how, 0o644), number)
    os.dup2(1, 2)
    sys.argv = [script]
    sys.path[0] = os.path.dirname(os.path.abspath(script))
    status = 1
    try:
        runpy.run_path(script, run_name="__main__")
        status = 0
    except SystemExit as e:
        if isinstance(e.code, str):
            print(e.code, file=sys.stderr)
        status = e.code if isinstance(e.code, int) else int(e.code is not None)
    except BaseException:
        import traceback
        traceback.print_exc()
    import atexit
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status & 255)


def put(name, status):
    with open(name + ".status", "w") as f:
        f.write(f"{status}\n")


def wait(running):
    """Until one ends or has run too long."""
    while True:
        for child, (name, end) in list(running.items()):
            done, status = os.waitpid(child, os.WNOHANG)
            if not done and time.monotonic() > end:
                os.killpg(child, signal.SIGKILL)
                done, status = os.waitpid(child, 0)
            if done:
                put(name, os.waitstatus_to_exitcode(status) & 255)
                del running[child]
                return
        time.sleep(0.05)


def main(logs, *scripts):
    sys.path[0] = os.path.dirname(sys.path[0])  # no module of this folder may stand for one of theirs
    import torch, transformers, peft  # noqa: F401
    running = {}
    for script in scripts:
        if len(running) == AT_ONCE:
            wait(running)
        child, name = start(logs, script)
        running[child] = name, time.monotonic() + SECONDS
    while running:
        wait(running)


main(*sys.argv[1:])
