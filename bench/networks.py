#!/usr/bin/env python3
"""Networks in Hearth beside ONNX Runtime in Python and PyTorch, in one run.

  cargo build --release && cargo build --release -p hearth -p hearth-graph --example speed
  bench/networks.py [--rounds 5] [--threads 2]

ResNet-50 and MobileNetV2 of torchvision at batch 1 and 8, BERT-base of transformers at sequence 128, with random weights:
exported by torch.export and converted by `hearth convert`, so that all but PyTorch run the same ONNX file. The engines take turns;
the figures are medians of all runs in milliseconds. Needs torch, torchvision, transformers, onnxruntime.
"""

import argparse
import json
import os
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent


def networks():
    import torch
    import torchvision.models as tv
    import transformers as t

    image = lambda b: (torch.randn(b, 3, 224, 224),)
    ids = torch.randint(0, 30000, (1, 128))
    batch = torch.export.Dim.DYNAMIC
    yield "ResNet-50", tv.resnet50(weights=None), [("batch 1", image(1)), ("batch 8", image(8))], ({0: batch},)
    yield "MobileNetV2", tv.mobilenet_v2(weights=None), [("batch 1", image(1)), ("batch 8", image(8))], ({0: batch},)
    both = {0: batch, 1: batch}
    yield "BERT-base", t.BertModel(t.BertConfig()), [("sequence 128", (ids, torch.ones_like(ids)))], (both, both)


def export(model, args, dynamic, folder, hearth):
    import torch

    # A size of 1 would be taken for a fixed one.
    wide = tuple(x.repeat(2, *[1] * (x.dim() - 1)) for x in args)
    program, onnx = folder / "m.pt2", folder / "m.onnx"
    onnx.unlink(missing_ok=True)
    with torch.no_grad():
        torch.export.save(torch.export.export(model, wide, dynamic_shapes=dynamic, strict=False), str(program))
    subprocess.run([hearth, "convert", program, onnx], check=True, stdout=subprocess.DEVNULL)
    return onnx


class Hearth:
    """The example `speed` with an engine, which runs what it is told to."""

    def __init__(self, model, engine, threads):
        program = ROOT / "target/release/examples/speed"
        self.process = subprocess.Popen([program, model, engine, str(threads)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.load_ms = json.loads(self.process.stdout.readline())[0]

    def run(self, inputs, runs, output=None):
        self.process.stdin.write(json.dumps({"inputs": inputs, "runs": runs, "output": output}) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def memory(self):
        """Bytes that it has, and had at most."""
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        said = dict(line.split(":", 1) for line in lines)
        return tuple(int(said[name].split()[0]) * 1024 for name in ("VmRSS", "VmHWM"))

    def end(self):
        self.process.stdin.close()
        self.process.wait()


def written(args, folder):
    """Tensors as Hearth's orders name them."""
    files = []
    for i, x in enumerate(args):
        file = folder / f"{i}.bin"
        file.write_bytes(x.numpy().tobytes())
        files.append({"dtype": str(x.dtype).removeprefix("torch."), "shape": list(x.shape), "file": str(file)})
    return files


def timed(call, runs):
    took = []
    for _ in range(runs):
        start = time.perf_counter()
        call()
        took.append((time.perf_counter() - start) * 1e3)
    return took


def measure(name, model, cases, dynamic, folder, options):
    import onnxruntime
    import torch

    model.eval()
    onnx = export(model, cases[0][1], dynamic, folder, options.hearth)
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = options.threads
    session = onnxruntime.InferenceSession(str(onnx), settings, providers=["CPUExecutionProvider"])
    tract, ort = (Hearth(onnx, engine, options.threads) for engine in ("tract", "onnxruntime"))
    for case, args in cases:
        files = written(args, folder)
        feed = {i.name: x.numpy() for i, x in zip(session.get_inputs(), args)}

        def eager():
            with torch.inference_mode():
                model(*args)

        ways = {
            "ONNX Runtime in Python": lambda n: timed(lambda: session.run(None, feed), n),
            "PyTorch eager": lambda n: timed(eager, n),
            "hearth, ONNX Runtime": lambda n: ort.run(files, n),
            "hearth, tract": lambda n: tract.run(files, n),
        }
        took = {way: [] for way in ways}
        for round in range(options.rounds + 1):
            for way, run in ways.items():
                # Threads of the one before may still wait for work in a loop.
                time.sleep(0.05)
                runs = run(options.runs)
                if round:
                    took[way] += runs
        row = {way: statistics.median(runs) for way, runs in took.items()}
        print(json.dumps({"network": name, "case": case} | {way: round_ms(ms) for way, ms in row.items()}), flush=True)
    for each in (tract, ort):
        each.end()


def round_ms(ms):
    return float(f"{ms:.3g}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--runs", type=int, default=3, help="runs in a turn")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--hearth", default=str(ROOT / "target/release/hearth"))
    parser.add_argument("names", nargs="*")
    options = parser.parse_args()
    import torch

    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as folder:
        for name, model, cases, dynamic in networks():
            if not options.names or name in options.names:
                measure(name, model, cases, dynamic, Path(folder), options)


if __name__ == "__main__":
    main()
