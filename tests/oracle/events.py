#!/usr/bin/env python3
"""The event file of `train --tensorboard`, read by TensorBoard's own reader: every value of metrics.jsonl, also after a kill."""
import glob, json, os, signal, subprocess, sys, tempfile, time

try:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
except ImportError:
    print("skip events tensorboard is not installed")
    sys.exit(0)

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
ALPHAR = os.path.join(os.environ.get("BUILD", os.path.join(ROOT, "build")), "alphar")
BASE, DATA, HELD_OUT = (os.path.join(ROOT, "demo", p) for p in ("base", "task/train.jsonl", "task/eval.jsonl"))
TRAIN = [ALPHAR, "train", "--model", BASE, "--data", DATA, "--eval-data", HELD_OUT, "--batch", "2", "--max-length", "48", "--rank", "4",
         "--steps", "40", "--eval-every", "7", "--strength-every", "5", "--save-every", "4", "--tensorboard", "--quiet"]
TAGS = {"train/loss": "loss", "train/lr": "lr", "train/strength": "strength", "eval/loss": "eval_loss"}
failed = 0


def report(name, problem=None):
    global failed
    failed += problem is not None
    print(f"ok {name}" if problem is None else f"not ok {name} {problem}", flush=True)


def check(name, out):
    files = glob.glob(os.path.join(out, "events.out.tfevents.*"))
    if len(files) != 1:
        return report(name, f"found {len(files)} event files, wanted 1")
    lines = [json.loads(line) for line in open(os.path.join(out, "metrics.jsonl"))]
    events = list(EventFileLoader(files[0]).Load())
    if events[0].file_version != "brain.Event:2":
        return report(name, f"file_version is {events[0].file_version!r}")
    if any(abs(e.wall_time - time.time()) > 600 for e in events):
        return report(name, "a wall time is not of now")
    reader = EventAccumulator(out)
    reader.Reload()
    if set(reader.Tags()["scalars"]) != set(TAGS):
        return report(name, f"tags are {reader.Tags()['scalars']}")
    for tag, key in TAGS.items():
        want = [(line["step"], line[key]) for line in lines if key in line]
        got = [(e.step, e.value) for e in reader.Scalars(tag)]
        if [s for s, _ in got] != [s for s, _ in want]:
            return report(name, f"{tag}: steps {[s for s, _ in got]}, wanted {[s for s, _ in want]}")
        if any(abs(a - b) > 1e-5 * abs(b) for (_, a), (_, b) in zip(got, want)):
            return report(name, f"{tag}: values differ")
    report(name)


with tempfile.TemporaryDirectory() as work:
    whole, cut = os.path.join(work, "whole"), os.path.join(work, "cut")
    subprocess.run([*TRAIN, "--out", whole], check=True, stdout=subprocess.DEVNULL)
    check("every value of a run", whole)
    run = subprocess.Popen([*TRAIN, "--out", cut], stdout=subprocess.DEVNULL)
    while run.poll() is None and not os.path.isdir(os.path.join(cut, "checkpoints", "step-12")):
        time.sleep(0.005)
    run.send_signal(signal.SIGKILL)
    run.wait()
    subprocess.run([*TRAIN, "--out", cut, "--resume"], check=True, stdout=subprocess.DEVNULL)
    check("one file, and no step twice, after a kill", cut)
    a, b = ([json.loads(line) for line in open(os.path.join(d, "strength.jsonl"))] for d in (whole, cut))
    report("the strength of each site is the same after a kill", None if a == b and len(a) == 8 else f"{len(a)} and {len(b)} lines")
    means = {line["step"]: line["strength"] for line in map(json.loads, open(os.path.join(whole, "metrics.jsonl"))) if "strength" in line}
    far = [x["step"] for x in a if abs(sum(x["strength"].values()) / len(x["strength"]) - means[x["step"]]) > 1e-5 * means[x["step"]]]
    report("the strength of a run is the mean of its sites'", f"not at steps {far}" if far else None)
    subprocess.run([*TRAIN, "--out", whole, "--overwrite"], check=True, stdout=subprocess.DEVNULL)
    check("a run that replaces another leaves one file", whole)
sys.exit(failed > 0)
