"""llama.cpp through node and the npm package node-llama-cpp, which carries libllama.  The folder with node_modules is ALPHAR_NODE,
by default ~/.cache/alphar-node (or $XDG_CACHE_HOME/alphar-node); it is made by
  npm install --omit=optional --ignore-scripts node-llama-cpp@3.22.1 @node-llama-cpp/linux-x64@3.22.1"""
import json, os, shutil, subprocess

import numpy as np

from .program import Skip

NODE = os.environ.get("ALPHAR_NODE") or os.path.join(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "alphar-node")
DRIVER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "llama.mjs")


def missing():
    """Why llama.cpp cannot be asked, or None."""
    if not shutil.which("node"):
        return "node is missing"
    if not os.path.exists(os.path.join(NODE, "node_modules", "node-llama-cpp")):
        return f"{NODE} has no node-llama-cpp (ALPHAR_NODE names another folder)"
    return None


def ask(model, ids, jobs):
    """For each (adapter file or None, user's scale), all in one process: log p of ids[1:], or what llama.cpp says against it."""
    if missing():
        raise Skip(missing())
    asked = [dict(model=model, ids=ids, **(dict(lora=lora, scale=scale) if lora else {})) for lora, scale in jobs]
    r = subprocess.run(["node", DRIVER, NODE], input=json.dumps(asked), capture_output=True, text=True, timeout=300)
    if r.returncode == 0:
        return [np.array(x["logprobs"]) if "logprobs" in x else x["error"] for x in json.loads(r.stdout)]
    if len(jobs) > 1:  # one that brings llama.cpp down must not hide the others
        return [ask(model, ids, [job])[0] for job in jobs]
    return [f"ended with {r.returncode}: {r.stderr.strip()[-300:]}"]
