#!/usr/bin/env python3
"""GGUF files written by the Python package and read here, and the other way round; block types bit by bit; .npz files of NumPy.

Builds gguf_tool.c against $BUILD/libalphar.a (BUILD: build), with $CC."""
import ctypes, glob, json, os, shutil, subprocess, sys, tempfile

try:
    import gguf
    from gguf import GGMLQuantizationType as Q, GGUFValueType as V
except ImportError:
    print("skip gguf_files the Python package gguf is not installed")
    sys.exit(0)
import numpy as np
from lib import llama

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get("BUILD", os.path.join(ROOT, "build"))
TMP = tempfile.mkdtemp(prefix="alphar-gguf-")
TOOL = os.path.join(TMP, "gguf_tool")
rng = np.random.default_rng(5)
failed = 0


def report(name, ok, problem=""):
    global failed
    failed += not ok
    print(f"ok {name}" if ok else f"not ok {name} {problem}", flush=True)


def build_tool():
    libs = subprocess.run(["pkg-config", "--libs", "jansson"], capture_output=True, text=True, check=True).stdout.split()
    flags = os.environ.get("TOOL_FLAGS", "").split()
    subprocess.run([os.environ.get("CC", "cc"), "-std=c17", "-D_GNU_SOURCE", "-O1", "-g", *flags, f"-I{ROOT}/include", f"-I{ROOT}/src", "-o",
                    TOOL, f"{ROOT}/tests/oracle/gguf_tool.c", f"{BUILD}/libalphar.a", *libs, "-fopenmp", "-lm"], check=True)


def tool(*args, **kw):
    return subprocess.run([TOOL, *args], capture_output=True, check=True, **kw).stdout


def temp(name):
    return os.path.join(TMP, name)


def text(s):
    return (s.encode() if isinstance(s, str) else s).hex()


NAMES = {V.UINT8: "u8", V.INT8: "i8", V.UINT16: "u16", V.INT16: "i16", V.UINT32: "u32", V.INT32: "i32", V.FLOAT32: "f32", V.BOOL: "bool",
         V.STRING: "string", V.UINT64: "u64", V.INT64: "i64", V.FLOAT64: "f64"}
EDGES = {V.UINT8: [0, 255], V.INT8: [-128, 127], V.UINT16: [0, 65535], V.INT16: [-32768, 32767], V.UINT32: [0, 2**32 - 1],
         V.INT32: [-2**31, 2**31 - 1], V.FLOAT32: [float(np.float32(0.1)), -3.4e38], V.BOOL: [True, False], V.STRING: ["", "héllo 🦙\0x"],
         V.UINT64: [0, 2**63 - 1], V.INT64: [-2**63, 2**63 - 1], V.FLOAT64: [0.1, -1e300]}


def python_file(path, alignment):
    """All values, alone and in lists, and a tensor of every type with random bytes.  Returns what the tool must show."""
    w = gguf.GGUFWriter(path, "llama")
    kv = {"general.architecture": ["string", [text("llama")]]}
    if alignment:
        w.add_custom_alignment(alignment)
        kv["general.alignment"] = ["u32", [alignment]]
    for t, values in EDGES.items():
        shown = [text(v) if t == V.STRING else float(np.float32(v)) if t == V.FLOAT32 else v for v in values]
        for i, v in enumerate(values):
            w.add_key_value(f"{t.name}.{i}", v, t)
            kv[f"{t.name}.{i}"] = [NAMES[t], [shown[i]]]
        w.add_key_value(f"{t.name}.list", values * 20, V.ARRAY, t)
        kv[f"{t.name}.list"] = ["list of " + ("strings" if t == V.STRING else NAMES[t]), shown * 20]
    tensors = []
    for t, (block, size) in gguf.GGML_QUANT_SIZES.items():
        if t == Q.Q8_1:
            continue  # the package has its size of long ago; it never stands in files
        for rows in ((3,), (2, 5)):
            name = f"{t.name}.{len(rows)}"
            data = rng.integers(0, 256, (*rows, size * 2), dtype=np.uint8)
            w.add_tensor(name, data, raw_dtype=t)
            tensors.append([name, t.name, [block * 2, *reversed(rows)], data.tobytes().hex()])
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()
    return {"kv": kv, "tensors": tensors}


def same_file(a, b):
    """The same keys, values and tensors, as the Python package reads them."""
    a, b = gguf.GGUFReader(a), gguf.GGUFReader(b)
    own = ("GGUF.version", "GGUF.tensor_count", "GGUF.kv_count", "general.alignment")
    fields = [{k: (f.types, f.contents()) for k, f in r.fields.items() if k not in own} for r in (a, b)]
    tensors = [[(t.name, t.tensor_type, t.shape.tolist(), t.data.tobytes()) for t in r.tensors] for r in (a, b)]
    return fields[0] == fields[1] and list(fields[0]) == list(fields[1]) and tensors[0] == tensors[1]


def test_read():
    for alignment in (None, 8, 1024):
        path = temp(f"python-{alignment}.gguf")
        want = python_file(path, alignment)
        got = json.loads(tool("show", path))
        for t in want["tensors"]:
            if t not in got["tensors"]:
                report(f"read {alignment} {t[0]}", False, str([x for x in got["tensors"] if x[0] == t[0]])[:300])
        for k, v in want["kv"].items():
            if got["kv"].get(k) != v:
                report(f"read {alignment} {k}", False, f"{str(got['kv'].get(k))[:200]} wanted {str(v)[:200]}")
        report(f"read {len(want['kv'])} values, {len(want['tensors'])} tensors, alignment {alignment}", got == want, "differ")
        tool("copy", path, temp("copy.gguf"))
        report(f"copy alignment {alignment}", same_file(path, temp("copy.gguf")), "differs")


def test_written():
    path = temp("written.gguf")
    tool("write", path)
    r = gguf.GGUFReader(path)
    want = {"general.architecture": "llama", "t.u32": 4000000000, "t.i32": -7, "t.u64": 2**64 - 1, "t.f32": np.float32(0.1), "t.f64": 0.1,
            "t.bool": True, "t.words": ["", "a", "héllo 🦙"], "t.none": []}
    got = {k: f.contents() for k, f in r.fields.items() if not k.startswith("GGUF.")}
    got["t.none"] = got["t.none"] or []
    report("written values", got == want and list(got) == list(want), f"{got}")
    report("written version and alignment", r.fields["GGUF.version"].contents() == 3 and r.alignment == 32 and r.data_offset % 32 == 0)
    data = (np.arange(32 * 6 * 8) * 37 % 127).astype(np.uint8).tobytes()
    types = [Q.F32, Q.F16, Q.BF16, Q.F64, Q.I64, Q.I32, Q.I16, Q.I8, Q.Q8_0]
    for i, (t, q) in enumerate(zip(r.tensors, types)):
        shape = [32, 3, 2, 1][: i % 4 + 1]
        block, size = gguf.GGML_QUANT_SIZES[q]
        n = int(np.prod(shape)) // block * size
        ok = t.tensor_type == q and t.shape.tolist() == shape and t.data.tobytes() == data[:n] and t.data_offset % 32 == 0
        report(f"written {t.name} {q.name}", ok, f"{t.tensor_type} {t.shape}")
    report("written count and size", len(r.tensors) == len(types) and os.path.getsize(path) % 32 == 0)


READ = [Q.Q8_0, Q.Q4_0, Q.Q4_1, Q.Q5_0, Q.Q5_1, Q.Q2_K, Q.Q3_K, Q.Q4_K, Q.Q5_K, Q.Q6_K, Q.IQ4_NL, Q.IQ4_XS, Q.MXFP4, Q.NVFP4, Q.TQ1_0, Q.TQ2_0,
        Q.IQ1_S, Q.IQ1_M, Q.IQ2_XXS, Q.IQ2_XS, Q.IQ2_S, Q.IQ3_XXS, Q.IQ3_S]
LIBGGML_ONLY = {"Q1_0": (41, 128, 18), "Q2_0": (42, 64, 18)}  # gguf-py 0.19 has the sizes, no code
WRITTEN = [Q.Q8_0, Q.Q4_0, Q.Q4_1, Q.Q5_0, Q.Q5_1]


def libggml():
    """libggml itself, of the npm package that the other tests ask llama.cpp by; None where that is not there."""
    found = sorted(glob.glob(os.path.join(llama.NODE, "node_modules/@node-llama-cpp/*/bins/*/libggml-base.*")))
    return ctypes.CDLL(found[0]) if found else None


def by_libggml(lib, name, blocks, block):
    fn = getattr(lib, f"dequantize_row_{name[:-1].lower() + 'K' if name.endswith('_K') else name.lower()}")
    out = np.zeros(len(blocks) * block, np.float32)
    fn(ctypes.c_void_p(np.ascontiguousarray(blocks).ctypes.data), ctypes.c_void_p(out.ctypes.data), ctypes.c_int64(out.size))
    return out


def same_bits(a, b):
    return bool(((a.view(np.uint32) == b.view(np.uint32)) | (np.isnan(a) & np.isnan(b))).all())


def test_blocks_read():
    """Random bytes: every code, scales of any kind, infinities and NaN among them."""
    lib = libggml()
    if not lib:
        print("skip gguf_files blocks by libggml: no node-llama-cpp")
    sizes = {q.name: (int(q), *gguf.GGML_QUANT_SIZES[q]) for q in READ} | LIBGGML_ONLY
    for name, (number, block, size) in sizes.items():
        blocks = rng.integers(0, 256, (6000, size), dtype=np.uint8)
        back = np.frombuffer(tool("dequantize", name.lower(), input=blocks.tobytes()), np.float32)
        if name not in LIBGGML_ONLY:
            with np.errstate(all="ignore"):
                reference = gguf.quants.dequantize(blocks, Q(number)).reshape(-1).astype(np.float32)
            report(f"{name} dequantised as by gguf-py", same_bits(back, reference), "differs")
        if lib:
            report(f"{name} dequantised as by libggml", same_bits(back, by_libggml(lib, name, blocks, block)), "differs")


def test_blocks_written():
    lib = libggml()
    for q in WRITTEN:
        block, size = gguf.GGML_QUANT_SIZES[q]
        x = np.concatenate([rng.standard_normal(32 * 4000) * 10.0 ** rng.integers(-9, 9, 4000).repeat(32), np.zeros(32), -np.ones(32),
                            (np.arange(32 * 64) % 255 - 127) / 2, np.repeat(np.float32([1e-44, 1e30, 6e-8, 60000]), 32)]).astype(np.float32)
        ours = np.frombuffer(tool("quantize", q.name.lower(), input=x.tobytes()), np.uint8).reshape(-1, size)
        with np.errstate(all="ignore"):
            want = gguf.quants.quantize(x.reshape(-1, 32), q)
            tiny = np.ptp(np.append(x.reshape(-1, 32), np.zeros((len(ours), 1), np.float32), axis=1), axis=1) < 127 * 3e-39  # 1/d overflows
        bad = (ours != want).any(axis=1) & ~tiny
        report(f"{q.name} quantised as by gguf-py", not bad.any(), f"{bad.sum()} blocks of {len(bad)} differ")
        if lib:
            by = np.zeros_like(ours)
            getattr(lib, f"quantize_row_{q.name.lower()}_ref")(ctypes.c_void_p(x.ctypes.data), ctypes.c_void_p(by.ctypes.data), ctypes.c_int64(x.size))
            bad = (ours != by).any(axis=1) & ~tiny
            report(f"{q.name} quantised as by libggml", not bad.any(), f"{bad.sum()} blocks of {len(bad)} differ")


def test_k_types():
    """No byte is asked for: the error in the values that are read, beside libggml's own, on values of every distribution that weights have."""
    lib = libggml()
    if not lib:
        print("skip gguf_files K types: no node-llama-cpp")
        return
    lib.ggml_quantize_chunk.restype = ctypes.c_size_t
    lib.ggml_quantize_chunk.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p] + [ctypes.c_int64] * 3 + [ctypes.c_void_p]
    rows = 2000
    kinds = dict(normal=rng.standard_normal((rows, 256)), laplace=rng.laplace(size=(rows, 256)), uniform=rng.uniform(-1, 3, (rows, 256)),
                 outliers=rng.standard_normal((rows, 256)) * np.where(rng.random((rows, 256)) < 0.01, 12, 1),
                 scaled=rng.standard_normal((rows, 256)) * 10.0 ** rng.uniform(-3, 0, (rows, 16)).repeat(16, axis=1))
    for q in (Q.Q2_K, Q.Q3_K, Q.Q4_K, Q.Q5_K, Q.Q6_K):
        block, size = gguf.GGML_QUANT_SIZES[q]
        for name, x in kinds.items():
            x = np.ascontiguousarray(x, np.float32)
            ours = np.frombuffer(tool("quantize", q.name.lower(), input=x.tobytes()), np.uint8).reshape(-1, size)
            theirs = np.zeros((rows, size), np.uint8)
            assert lib.ggml_quantize_chunk(int(q), x.ctypes.data, theirs.ctypes.data, 0, rows, 256, None) == theirs.size
            a, b = (float(np.sqrt(((gguf.dequantize(c, q) - x) ** 2).mean())) for c in (ours, theirs))
            report(f"{q.name} of {name} values: error {a:.4e}, libggml's {b:.4e}, ratio {a / b:.3f}", a <= 1.01 * b, "more than 1 % larger")


def test_npz():
    arrays = {"model.layers.0.q_proj.lora_a": rng.standard_normal((8, 3)).astype("f4"), "h": rng.standard_normal(7).astype("f2"),
              "d": np.float64(0.1), "i": np.arange(6).reshape(1, 2, 3), "s": np.array([True, False]), "e": np.zeros((0, 4), "f4"),
              "column": np.asfortranarray(np.ones((5, 1), "f4")), "u": np.arange(3, dtype="u4"), "b": np.arange(4, dtype="u2").view("V2")}
    kinds = dict(zip(arrays, ["f32", "f16", "f64", "i64", "bool", "f32", "f32", "<u4", "bf16"]))
    np.savez(temp("a.npz"), **arrays)
    want = [[k, kinds[k], list(a.shape), a.tobytes().hex()] for k, a in arrays.items()]
    got = json.loads(tool("npz", temp("a.npz")))
    report("npz of NumPy", got == want, f"{got}")
    np.savez_compressed(temp("c.npz"), **arrays)
    p = subprocess.run([TOOL, "npz", temp("c.npz")], capture_output=True, text=True)
    report("npz compressed is refused", p.returncode == 1 and "is compressed" in p.stderr, p.stderr)
    np.savez(temp("f.npz"), a=np.asfortranarray(arrays["model.layers.0.q_proj.lora_a"]))
    p = subprocess.run([TOOL, "npz", temp("f.npz")], capture_output=True, text=True)
    report("npz in Fortran order is refused", p.returncode == 1 and "Fortran order" in p.stderr, p.stderr)


try:
    build_tool()
    for test in (test_read, test_written, test_blocks_read, test_blocks_written, test_k_types, test_npz):
        test()
finally:
    shutil.rmtree(TMP, ignore_errors=True)
sys.exit(failed > 0)
