"""For tests of what a script makes from committed data: pages, pictures.  Prints ok / not ok lines."""
import os, sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
_failed = False


def report(good, name, why=""):
    global _failed
    _failed |= not good
    print(f"ok {name}" if good else f"not ok {name}: {why}")


def read(*path):
    with open(os.path.join(*path), "rb") as f:
        return f.read()


def finish():
    sys.exit(_failed)
