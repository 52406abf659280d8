#!/usr/bin/env python3
"""Predictions of a small MLP over HTTP, beside LitServe.

    bench/predict.py [--clients 32] [--seconds 5] [--rounds 3] [--hearth target/release/hearth] [--json]

A network of 64, 256, 256 and 10 numbers is exported by PyTorch and served by Hearth as it comes, and by LitServe as a
module (`bench/predict_litserve.py`); both get one core, the load another, and batches of at most 32. In turn, `--rounds` times: `--clients` connections, each of
which sends a request of one input as soon as it has the answer to the one before. Hearth is also asked in the Open Inference
Protocol with bytes, LitServe also without batches. Needs Linux with taskset, nghttp2's h2load (Debian: nghttp2-client), and for the
Python that runs this the packages torch and litserve.
"""

import argparse
import json
import os
import pathlib
import re
import shutil
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[1]
SERVER_CORE, LOAD_CORE = "0", "1"
BATCH = 32


def export(folder):
    """The network as a model of Hearth's; the name of its input."""
    import torch
    from predict_litserve import WIDTH, network

    layers = network()
    folder.mkdir(parents=True)
    dynamic = ({0: torch.export.Dim.DYNAMIC},)
    program = torch.export.export(layers, (torch.randn(3, WIDTH),), dynamic_shapes=dynamic)
    torch.export.save(program, folder / "model.pt2")
    (folder / "config.toml").write_text(f"max_batch_size = {BATCH}\n")
    return program.graph_signature.user_inputs[0]


def ask(url, body, headers):
    request = urllib.request.Request(url, body, headers)
    with urllib.request.urlopen(request) as answer:
        return answer.read()


class Server:
    """A server on its core; ends with the block."""

    def __init__(self, home, command, path="/predict"):
        self.home, self.command, self.path = home, command, path

    def __enter__(self):
        self.log = open(self.home / "output", "w+")
        environment = dict(os.environ, HEARTH_HOME=str(self.home), OMP_NUM_THREADS="1")
        command = ["taskset", "-c", SERVER_CORE, *map(str, self.command)]
        self.process = subprocess.Popen(command, stdout=self.log, stderr=self.log, cwd=self.home, env=environment,
                                        start_new_session=True)
        return self

    def __exit__(self, *_):
        # LitServe has processes of its own.
        os.killpg(self.process.pid, 9)
        self.process.wait()

    def wait(self, find):
        """What `find` gives once it gives something."""
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and self.process.poll() is None:
            if found := find():
                return found
            time.sleep(0.1)
        self.log.seek(0)
        sys.exit(f"{self.command[0]} did not come up: {self.log.read()}")


def hearth(args, home):
    server = Server(home, [args.hearth.resolve(), "serve", "--host", "127.0.0.1", "--port", "0"])

    def address():
        found = re.search(r"http://[\d.]+:\d+", (home / "output").read_text(errors="replace"))
        return found and found.group()
    return server, address


def peer(home, batch):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = Server(home, [sys.executable, ROOT / "bench/predict_litserve.py", port, batch])

    def address():
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=1):
                return f"http://127.0.0.1:{port}"
        except OSError:
            return None
    return server, address


def load(args, url, body, headers):
    """Requests a second, and the 50th and 99th percentile of their times in milliseconds."""
    with tempfile.NamedTemporaryFile() as data, tempfile.NamedTemporaryFile() as times:
        pathlib.Path(data.name).write_bytes(body)
        command = ["taskset", "-c", LOAD_CORE, "h2load", "--h1", "--threads", "1", "--clients", str(args.clients),
                   "--duration", str(args.seconds), "--warm-up-time", "1", "--data", data.name, "--log-file", times.name]
        for name, value in headers.items():
            command += ["--header", f"{name}: {value}"]
        out = subprocess.run([*command, url], check=True, capture_output=True, text=True).stdout
        done = re.search(r"finished in [\d.]+\w+, ([\d.]+) req/s", out)
        bad = re.search(r"status codes: (\d+) 2xx, (\d+) 3xx, (\d+) 4xx, (\d+) 5xx", out)
        if not done or any(int(count) for count in bad.groups()[1:]):
            sys.exit(f"not every answer was a good one:\n{out}")
        took = sorted(int(line.split("\t")[2]) / 1e3 for line in pathlib.Path(times.name).read_text().splitlines())
        return {"per_s": float(done.group(1)), "p50_ms": took[len(took) // 2], "p99_ms": took[len(took) * 99 // 100]}


def requests(name):
    """The same input as JSON, and as bytes in the Open Inference Protocol: path, body and headers."""
    from predict_litserve import WIDTH

    numbers = [round(-1 + 2 * i / (WIDTH - 1), 4) for i in range(WIDTH)]
    plain = json.dumps({"inputs": numbers}).encode()
    head = json.dumps({"inputs": [{"name": name, "shape": [1, WIDTH], "datatype": "FP32",
                                   "parameters": {"binary_data_size": 4 * WIDTH}}],
                       "parameters": {"binary_data_output": True}}).encode()
    packed = head + struct.pack(f"<{WIDTH}f", *numbers)
    return ({"Content-Type": "application/json"}, plain,
            {"Content-Type": "application/octet-stream", "Inference-Header-Content-Length": str(len(head))}, packed)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--hearth", type=pathlib.Path, default=ROOT / "target/release/hearth")
    p.add_argument("--clients", type=int, default=32)
    p.add_argument("--seconds", type=int, default=5)
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--alone", action="store_true", help="Hearth only")
    p.add_argument("--json", action="store_true")
    args = p.parse_args()
    for tool in ("taskset", "h2load"):
        if not shutil.which(tool):
            sys.exit(f"predict.py: there is no {tool}")
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        homes = {name: folder / name for name in ("hearth", "litserve", "litserve one by one")}
        for home in homes.values():
            home.mkdir()
        name = export(homes["hearth"] / "models/mlp")
        headers, plain, packed_headers, packed = requests(name)
        rounds = {}
        answers = {}

        def measure(server, address, runs):
            with server:
                base = server.wait(address)
                for label, path, body, headers in runs:
                    answers[label] = ask(base + path, body, headers)
                    rounds.setdefault(label, []).append(load(args, base + path, body, headers))

        for _ in range(args.rounds):
            measure(*hearth(args, homes["hearth"]), [
                ("hearth", "/mlp/predict", plain, headers),
                ("hearth, bytes", "/v2/models/mlp/infer", packed, packed_headers),
            ])
            if not args.alone:
                for label, batch in (("litserve", BATCH), ("litserve one by one", 1)):
                    measure(*peer(homes[label], batch), [(label, "/predict", plain, headers)])
    # Both serve the same network.
    results = [json.loads(answers[label])["result"] for label in answers if label != "hearth, bytes"]
    if any(abs(a - b) > 1e-4 for other in results for a, b in zip(results[0], other)):
        sys.exit(f"predict.py: the answers differ: {results}")
    middle = {label: {name: statistics.median(one[name] for one in runs) for name in runs[0]}
              for label, runs in rounds.items()}
    if args.json:
        return print(json.dumps({"median": middle, "rounds": rounds}))
    for label, figures in middle.items():
        each = ", ".join(f"{one['per_s']:.0f}" for one in rounds[label])
        print(f"{label:20} {figures['per_s']:9.0f} a second   p50 {figures['p50_ms']:7.2f} ms   "
              f"p99 {figures['p99_ms']:7.2f} ms   of {each}")


main()
