"""The checked-in table of measurements, bench/results.csv: appended to by the benchmarks, never by hand.

A row is one pair that was timed in turns in one run: `ours` and `theirs` are medians in `unit`, `ratio` is the median of the
rounds' own ratios ours/theirs, `least` and `most` their spread.  Where nothing stands against it, `theirs` and what follows
is empty.  `flops_per_byte`: useful FLOP per byte of weights read, for the roofline."""
import csv, datetime, os, re, statistics, subprocess

HERE = os.path.dirname(os.path.abspath(__file__))
RESULTS = os.path.join(HERE, "results.csv")
COLUMNS = ("date", "commit", "cpu", "isa", "threads", "load", "versions", "group", "what", "rival", "unit", "ours", "theirs", "ratio", "least", "most", "rounds",
           "flops_per_byte")


def cpu_name():
    with open("/proc/cpuinfo") as f:
        info = f.read()
    field = lambda key: (re.search(rf"^{key}\s*: (.*)$", info, re.M) or [None, ""])[1]
    return f"{field('model name')} (family {field('cpu family')}, model {field('model')})" if field("cpu family") else field("model name") or "unknown"


def commit():
    """Short name of what is measured, '+' for changes on top; empty outside a repository."""
    def git(*args):
        r = subprocess.run(["git", "-C", HERE, *args], capture_output=True, text=True)
        return r.stdout.strip() if r.returncode == 0 else ""
    changed = git("status", "--porcelain", "--", "../src", "../cli", "../include", "../Makefile")
    return git("rev-parse", "--short=9", "HEAD") + ("+" if changed else "")


def isa(program):
    for line in subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout.splitlines():
        if line.startswith("cpu: "):
            return line[5:].split(" ")[0]
    return "unknown"


def short(x):
    return "" if x is None else f"{x:.4g}" if abs(x) < 1e4 else f"{x:.0f}"


class Table:
    """path None: prints only."""

    def __init__(self, path, program, threads):
        self.path, self.fixed = path, dict(commit=commit(), cpu=cpu_name(), isa=isa(program), threads=threads)

    def add(self, group, what, rival, unit, ours, theirs=None, ratios=None, versions="", rounds=None, flops_per_byte=None):
        """ours, theirs: numbers or lists of one per round; ratios: one per round, formed from the lists where they are lists."""
        if ratios is None and isinstance(ours, list) and isinstance(theirs, list):
            ratios = [o / t for o, t in zip(ours, theirs)]
        rounds = rounds or (len(ratios) if ratios else len(ours) if isinstance(ours, list) else 1)
        middle = lambda x: statistics.median(x) if isinstance(x, list) else x
        row = dict(self.fixed, date=datetime.date.today().isoformat(), load=f"{os.getloadavg()[0]:.1f}", versions=versions, group=group, what=what,
                   rival=rival, unit=unit, ours=short(middle(ours)), theirs=short(middle(theirs)), ratio=short(ratios and statistics.median(ratios)),
                   least=short(ratios and min(ratios)), most=short(ratios and max(ratios)), rounds=rounds, flops_per_byte=short(flops_per_byte))
        print(f"{what:58} {row['ours']:>9} {unit:9} {rival:24} {row['theirs']:>9}  {row['ratio']:>6} ({row['least']} … {row['most']})", flush=True)
        if self.path:
            self.append(row)

    def append(self, row):
        fresh = not os.path.exists(self.path)
        with open(self.path, "a", encoding="utf-8", newline="") as f:
            out = csv.DictWriter(f, COLUMNS, lineterminator="\n")
            if fresh:
                out.writeheader()
            out.writerow(row)


def arguments(parser):
    """What every benchmark takes."""
    root = os.path.dirname(HERE)
    parser.add_argument("--build", default=os.path.join(root, os.environ.get("BUILD", "build")))
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--results", default=RESULTS, help="the table to append to; empty: print only")


# What holds the rivals to AVX2, where ALPHAR_ISA holds us to it.
HELD_TO_AVX2 = dict(DNNL_MAX_CPU_ISA="AVX2", ATEN_CPU_CAPABILITY="avx2", MKL_ENABLE_INSTRUCTIONS="AVX2", OPENBLAS_CORETYPE="Haswell")


def open_table(a):
    if os.environ.get("ALPHAR_ISA") == "avx2":
        os.environ.update(HELD_TO_AVX2)
    return Table(a.results or None, os.path.join(a.build, "alphar"), a.threads)
