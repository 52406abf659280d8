#!/usr/bin/env python3
"""Checkpoints of full size as they are published, in Hearth beside PyTorch.

  cargo build --release && cargo build --release -p hearth -p hearth-graph --example speed
  bench/checkpoints.py [--rounds 3] [--threads 2] [NAME...]    prints a line of JSON for each
  bench/checkpoints.py --table < LINES                         prints them as the table in docs/models.md

Their weights are random; folders and files are written as transformers, timm and torchvision write theirs, as safetensors and by
torch.save. Hearth loads the folder on both of its engines. Its answers to a batch of two and to one alone are compared with
PyTorch's: the largest difference as part of a number and of the tensor's root mean square. Then PyTorch, the engines, and tract with
the same network exported by torch.export take turns with one input; medians in milliseconds. Memory is what the process has
after that. Needs torch, torchvision, transformers, timm.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

from networks import Hearth, round_ms, timed, written

IMAGE, SEQUENCE = 224, 128


def transformers_folder(model, folder, is_pickle):
    import torch

    if is_pickle:
        model.config.architectures = [type(model).__name__]
        model.config.save_pretrained(folder)
        torch.save(model.state_dict(), folder / "pytorch_model.bin")
    else:
        model.save_pretrained(folder)
    return folder


def timm_folder(model, folder, is_pickle):
    import torch
    from safetensors.torch import save_file

    told = {"input_size": [3, IMAGE, IMAGE]}
    config = {"architecture": folder.name, "num_classes": 1000, "global_pool": "avg", "pretrained_cfg": told}
    (folder / "config.json").write_text(json.dumps(config))
    if is_pickle:
        torch.save(model.state_dict(), folder / "pytorch_model.bin")
    else:
        save_file(model.state_dict(), folder / "model.safetensors")
    return folder


def torchvision_file(model, folder, is_pickle):
    import torch

    file = folder / f"{folder.name}.pth"
    torch.save(model.state_dict(), file)
    return file


def checkpoints():
    import timm
    import torchvision.models as tv
    import transformers as t

    labels = dict(num_labels=1000)
    resnet18 = dict(hidden_sizes=[64, 128, 256, 512], depths=[2, 2, 2, 2], layer_type="basic")
    small = dict(hidden_size=384, num_attention_heads=6, intermediate_size=1536)
    roberta = dict(vocab_size=50265, max_position_embeddings=514, type_vocab_size=1, layer_norm_eps=1e-5, pad_token_id=1)
    images = [
        ("resnet18", "transformers", lambda: t.ResNetForImageClassification(t.ResNetConfig(**resnet18, **labels))),
        ("resnet50", "transformers", lambda: t.ResNetForImageClassification(t.ResNetConfig(**labels))),
        ("resnet18", "timm", lambda: timm.create_model("resnet18")),
        ("resnet50", "timm", lambda: timm.create_model("resnet50")),
        ("resnet18", "torchvision", lambda: tv.resnet18(weights=None)),
        ("resnet50", "torchvision", lambda: tv.resnet50(weights=None)),
        ("vit-base-patch16-224", "transformers", lambda: t.ViTForImageClassification(t.ViTConfig(**labels))),
        ("deit-small-patch16-224", "transformers", lambda: t.DeiTForImageClassification(t.DeiTConfig(**small, **labels))),
        ("convnext-tiny-224", "transformers", lambda: t.ConvNextForImageClassification(t.ConvNextConfig(**labels))),
    ]
    texts = [
        ("bert-base", "transformers", lambda: t.BertForSequenceClassification(t.BertConfig())),
        ("distilbert-base", "transformers", lambda: t.DistilBertForSequenceClassification(t.DistilBertConfig())),
        ("roberta-base", "transformers", lambda: t.RobertaForSequenceClassification(t.RobertaConfig(**roberta))),
    ]
    yield from ((*each, "images") for each in images)
    yield from ((*each, "texts") for each in texts)


def inputs(name, kind, count):
    import torch

    if kind == "images":
        return (torch.randn(count, 3, IMAGE, IMAGE),)
    ids = torch.randint(2, 30000, (count, SEQUENCE))
    mask = torch.ones_like(ids)
    mask[0, SEQUENCE - 9 :] = 0
    types = (torch.zeros_like(ids),) if name.startswith("bert") else ()
    return ids, mask, *types


def disturb(model):
    """As they are made, norms do nothing and numbers are all alike after many layers."""
    from torch import nn

    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, 0, 0.1)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
            nn.init.uniform_(module.weight, 0.5, 1)
        if isinstance(module, nn.LayerNorm):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.1)
    return model.eval()


def off(is_, want):
    rms = want.double().pow(2).mean().sqrt()
    return float(((is_.double() - want.double()).abs() / (want.double().abs() + rms)).max())


def export(model, args, kind, file):
    import torch

    sizes = {0: torch.export.Dim.DYNAMIC} | ({1: torch.export.Dim.DYNAMIC} if kind == "texts" else {})
    wide = tuple(x.repeat(2, *[1] * (x.dim() - 1)) for x in args)
    with torch.no_grad():
        program = torch.export.export(model, wide, dynamic_shapes=tuple(sizes for _ in args), strict=False)
        torch.export.save(program, str(file))


def measure(name, origin, make, kind, is_pickle, folder, options):
    import numpy
    import torch

    torch.manual_seed(0)
    model = disturb(make())
    write = {"transformers": transformers_folder, "timm": timm_folder, "torchvision": torchvision_file}[origin]
    place = folder / name
    place.mkdir()
    path = write(model, place, is_pickle)
    row = {"name": name, "from": origin, "file": "torch.save" if is_pickle else "safetensors"}
    row["parameters"] = sum(p.numel() for p in model.parameters())

    def answer(args):
        with torch.inference_mode():
            said = model(*args)
        return said if isinstance(said, torch.Tensor) else said.logits

    engines = {"tract": None, "onnxruntime": None}
    for engine in engines:
        engines[engine] = Hearth(path, engine, options.threads)
        row[f"{engine} load"] = round_ms(engines[engine].load_ms)
        differ = []
        for count in (2, 1):
            args, file = inputs(name, kind, count), folder / "y.bin"
            engines[engine].run(written(args, folder), 1, str(file))
            want = answer(args)
            got = torch.from_numpy(numpy.fromfile(file, numpy.float32)).reshape(want.shape)
            differ.append(off(got, want))
        row[f"{engine} off"] = max(differ)
    one = inputs(name, kind, 1)
    files = written(one, folder)
    ways = {"PyTorch": lambda n: timed(lambda: answer(one), n)}
    ways |= {engine: lambda n, e=engine: engines[e].run(files, n) for engine in list(engines)}
    if options.export:
        program = folder / "m.pt2"
        export(model, one, kind, program)
        engines["tract, pt2"] = Hearth(program, "tract", options.threads)
        ways["tract, pt2"] = lambda n: engines["tract, pt2"].run(files, n)
    took = {way: [] for way in ways}
    for turn in range(options.rounds + 1):
        for way, run in ways.items():
            time.sleep(0.05)
            runs = run(options.runs)
            if turn:
                took[way] += runs
    row |= {way: round_ms(statistics.median(ms)) for way, ms in took.items()}
    for engine in engines:
        row[f"{engine} MB"], row[f"{engine} peak MB"] = (round(n / 1e6) for n in engines[engine].memory())
        engines[engine].end()
    return row


def table(rows):
    lines = ["| network | file | parameters | differs by (tract, ONNX Runtime) | loads in | memory | tract | ONNX Runtime | PyTorch | tract, as .pt2 |",
             "|---" * 10 + "|"]
    for row in rows:
        each = [f"{row['name']} ({row['from']})", row["file"], f"{row['parameters'] / 1e6:.1f} M", f"{row['tract off']:.0e}, {row['onnxruntime off']:.0e}",
                f"{row['tract load'] / 1e3:.2f} s, {row['onnxruntime load'] / 1e3:.2f} s", f"{row['tract MB']} MB, {row['onnxruntime MB']} MB",
                *(f"{row[way]} ms" if way in row else "" for way in ("tract", "onnxruntime", "PyTorch", "tract, pt2"))]
        lines.append("| " + " | ".join(each) + " |")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--runs", type=int, default=3, help="runs in a turn")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--export", action="store_true", help="the same network by torch.export as well")
    parser.add_argument("--pickle", action="store_true", help="weights by torch.save where there is a choice")
    parser.add_argument("--table", action="store_true")
    parser.add_argument("names", nargs="*")
    options = parser.parse_args()
    if options.table:
        print(table(map(json.loads, sys.stdin)))
        return
    import torch

    torch.set_num_threads(options.threads)
    for name, origin, make, kind in checkpoints():
        if options.names and name not in options.names:
            continue
        with tempfile.TemporaryDirectory() as folder:
            is_pickle = options.pickle or origin == "torchvision"
            print(json.dumps(measure(name, origin, make, kind, is_pickle, Path(folder), options)), flush=True)


if __name__ == "__main__":
    main()
