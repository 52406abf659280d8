"""Checkpoints of full size with random weights, as they are published: built, and run on both engines.

  cargo build --release -p hearth -p hearth-graph --example golden
  python oracle/checkpoint_matrix.py [NAME...]    adds lines to a file of results; all that are not there yet without a name
  python oracle/checkpoint_matrix.py --table      writes the table in docs/models.md from it

Needs torch, torchvision, transformers, timm. A checkpoint passes where an engine's answers to two batches of different sizes are those
of the library that it is from, within 1e-4 of a number and of its tensor's root mean square. ONNX Runtime is used where `hearth doctor`
finds it.
"""

import argparse
import json
import subprocess
import tempfile
from importlib.metadata import version
from pathlib import Path

import torch
import torchvision
import transformers as t

from checkpoint_golden import SEED, disturb, of_transformers
from graph_golden import flat, tensor
from graph_matrix import ENGINES, GOLDEN, PAGE, TOLERANCE, cell

BEGIN, END = "<!-- checkpoints: written by oracle/checkpoint_matrix.py -->", "<!-- end of the checkpoints -->"


def of_torchvision(name):
    model = disturb(getattr(torchvision.models, name)(weights=None))
    return model, lambda folder: torch.save(model.state_dict(), folder / "model.pth")


def images():
    return [{"pixel_values": torch.randn(b, 3, 224, 224)} for b in (2, 1)]


def texts(vocabulary):
    def make(b, s):
        mask = torch.ones(b, s, dtype=torch.long)
        ids = torch.randint(5, vocabulary, (b, s))
        ids[0, s - 9 :], mask[0, s - 9 :] = 1, 0
        return {"input_ids": ids, "attention_mask": mask}

    return lambda: [make(2, 128), make(1, 32)]


CHECKPOINTS = {  # as they are called where they are published
    "torchvision resnet18": (lambda: of_torchvision("resnet18"), images),
    "torchvision resnet50": (lambda: of_torchvision("resnet50"), images),
    "microsoft/resnet-50": (lambda: of_transformers("ResNetForImageClassification", t.ResNetConfig(num_labels=1000)), images),
    "google/vit-base-patch16-224": (lambda: of_transformers("ViTForImageClassification", t.ViTConfig(num_labels=1000)), images),
    "facebook/convnext-tiny-224": (lambda: of_transformers("ConvNextForImageClassification", t.ConvNextConfig(num_labels=1000)), images),
    "google-bert/bert-base-uncased": (lambda: of_transformers("BertForMaskedLM", t.BertConfig()), texts(30522)),
    "distilbert-base-uncased-finetuned-sst-2-english": (lambda: of_transformers("DistilBertForSequenceClassification", t.DistilBertConfig()), texts(30522)),
    "FacebookAI/roberta-base, a classifier": (
        lambda: of_transformers("RobertaForSequenceClassification", t.RobertaConfig(max_position_embeddings=514, type_vocab_size=1)), texts(50265)),
}


def check(make, cases, folder):
    torch.manual_seed(SEED)
    (model, write), cases = make(), cases()
    write(folder)
    call = lambda case: model(**case) if hasattr(model, "config") else {"logits": model(*case.values())}
    with torch.no_grad():
        rows = [{"inputs": [tensor(x) for x in case.values()], "outputs": [tensor(x) for x in flat(list(call(case).values()))]} for case in cases]
    golden, out = folder / "golden.json", folder / "built.onnx"
    golden.write_text(json.dumps({"cases": rows}))
    row = {"parameters": sum(p.numel() for p in model.parameters())}
    ran = subprocess.run([GOLDEN, folder, golden, out], capture_output=True, text=True, timeout=300)
    if ran.returncode != 0:
        return row | {"building": (ran.stderr.strip().splitlines() or ["it crashed"])[-1]}
    for line in map(json.loads, ran.stdout.splitlines()):
        row[line["engine"]] = line.get("off", line.get("error"))
    return row


def read(path):
    rows = map(json.loads, path.read_text().splitlines()) if path.exists() else []
    return {row["name"]: row for row in rows}


def table(results):
    lines = [f"| as | parameters | {' | '.join(ENGINES.values())} |", "|---|---|---|---|"]
    for name in CHECKPOINTS:
        row = results.get(name)
        if row:
            lines.append(f"| {name} | {row['parameters'] / 1e6:.2f} M | {' | '.join(cell(row, e) for e in ENGINES)} |")
    versions = ", ".join(f"{p} {version(p)}" for p in ("torch", "torchvision", "transformers"))
    return "\n".join([BEGIN, "", *lines, "", f"({versions}; up to {TOLERANCE:.0e} passes)", "", END])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("names", nargs="*")
    parser.add_argument("--table", action="store_true")
    parser.add_argument("--results", type=Path, default=Path(tempfile.gettempdir()) / "checkpoint_matrix.jsonl")
    options = parser.parse_args()
    torch.set_num_threads(1)
    done = read(options.results)
    if options.table:
        head, rest = PAGE.read_text().split(BEGIN)
        PAGE.write_text(head + table(done) + rest.split(END)[1])
        return
    for name, (make, cases) in CHECKPOINTS.items():
        if name not in options.names if options.names else name in done:
            continue
        with tempfile.TemporaryDirectory() as folder:
            row = {"name": name} | check(make, cases, Path(folder))
        with options.results.open("a") as f:
            f.write(json.dumps(row) + "\n")
        print(row, flush=True)


if __name__ == "__main__":
    main()
