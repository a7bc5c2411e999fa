"""Ids of many texts through one process that has the tokenizer open: tokenize_ids.c, compiled against the library that the build made."""
import os, struct, subprocess

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
ENCODE, SPECIAL, DECODE, DECODE_SKIP = range(4)


class Driver:
    """tokenize_ids with one tokenizer open; requests go out in batches so that the pipe never fills on both sides."""

    def __init__(self, program, path):
        self.process = subprocess.Popen([program, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def ask(self, kind, data):
        self.process.stdin.write(struct.pack("<II", kind, len(data)) + data)
        self.process.stdin.flush()
        head = self.process.stdout.read(8)
        if len(head) != 8:
            raise RuntimeError(f"the driver died (status {self.process.wait()})")
        status, n = struct.unpack("<II", head)
        answer = self.process.stdout.read(n)
        if status:
            raise RuntimeError(answer.decode())
        return answer

    def encode(self, text, special):
        answer = self.ask(SPECIAL if special else ENCODE, text.encode())
        return list(struct.unpack(f"<{len(answer) // 4}i", answer))

    def decode(self, ids, skip):
        return self.ask(DECODE_SKIP if skip else DECODE, struct.pack(f"<{len(ids)}i", *ids)).decode()

    def close(self):
        self.process.stdin.close()
        return self.process.wait()


def build_driver(folder):
    """Compiles tokenize_ids.c against the library that the build made."""
    build = os.environ.get("BUILD") or os.path.join(ROOT, "build")
    library, program = os.path.join(build, "libalphar.a"), os.path.join(folder, "tokenize_ids")
    libs = subprocess.run(["pkg-config", "--libs", "jansson", "yaml-0.1", "libpcre2-8", "libutf8proc", "openblas", "lapacke"],
                          capture_output=True, text=True).stdout.split()
    subprocess.run([os.environ.get("CC", "gcc"), "-std=c17", "-O2", "-I" + os.path.join(ROOT, "include"),
                    os.path.join(ROOT, "tests", "oracle", "tokenize_ids.c"), library, "-o", program, "-fopenmp", *libs, "-lm", "-lpthread"],
                   check=True)
    return program
