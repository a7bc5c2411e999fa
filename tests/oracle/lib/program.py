"""Runs the program, and reports results in the form that tests/run counts."""
import json, os, shutil, subprocess, sys, tempfile, time, traceback

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
PROGRAM = os.path.join(os.path.abspath(os.path.join(ROOT, os.environ.get("BUILD", "build"))), "alphar")
MATERIAL = os.path.join(os.path.dirname(ROOT), "shared", "material")
_failed = 0
_only = sys.argv[1:]


class Skip(Exception):
    pass


def run(*args, status=0):
    """The finished process; another exit status than `status` is a failure that quotes the program."""
    r = subprocess.run([PROGRAM, *map(str, args)], capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if status is not None:
        assert r.returncode == status, f"exit {r.returncode}, wanted {status}: alphar {' '.join(map(str, args))}: {(r.stderr or r.stdout).strip()[-400:]}"
    return r


def ask(*args, status=0):
    """The JSON object that the command prints with --json."""
    out = run(*args, "--json", status=status).stdout
    try:
        return json.loads(out)
    except ValueError:
        raise AssertionError(f"alphar {' '.join(map(str, args))} --json printed {out[:200]!r}")


def refuses(out, words, *args):
    """The command fails with status 1, its message holds every one of the words (case ignored), and `out` is not there after."""
    message = run(*args, status=1).stderr
    missing = [w for w in words if w.lower() not in message.lower()]
    assert not missing, f"the message lacks {missing}: {message.strip()[-400:]}"
    assert "alphar: " in message, f"no message of the program: {message[-200:]}"
    assert not os.path.exists(out), f"{os.path.basename(out)} was left behind"
    folder = os.path.dirname(out)
    stray = [f for f in os.listdir(folder) if ".tmp" in f or f.startswith(".")]
    assert not stray, f"left behind: {stray}"
    return message.strip()


def check(name, body, *args):
    """Runs one check; with names on the command line only those that contain one of them."""
    global _failed
    if _only and not any(w in name for w in _only):
        return
    start = time.monotonic()
    try:
        said = body(*args)
        print(f"ok {name}{': ' + said if isinstance(said, str) else ''}", flush=True)
    except Skip as e:
        print(f"skip {name} {e}", flush=True)
    except Exception as e:
        _failed += 1
        where = traceback.extract_tb(e.__traceback__)
        line = next((f"{os.path.basename(f.filename)}:{f.lineno}" for f in reversed(where) if "/lib/" not in f.filename or "oracle" in f.filename), "")
        text = str(e).replace("\n", " | ")[:600]
        print(f"not ok {name}: {type(e).__name__ + ': ' if not isinstance(e, AssertionError) else ''}{text} ({line})", flush=True)
    if os.environ.get("ALPHAR_TEST_TIMES"):
        print(f"   {time.monotonic() - start:.1f} s", file=sys.stderr)


def finish(work):
    shutil.rmtree(work, ignore_errors=True)
    sys.exit(1 if _failed else 0)


def workspace():
    return tempfile.mkdtemp(prefix="alphar-oracle-")
